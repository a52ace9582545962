"""A rendered stem to a finished file that waits for its name: levelled, faded, dithered, tagged, measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.formats import SUBTYPE_BITS
from bridge.audio.limiter import Limiter
from bridge.audio.loudness import LoudnessMeter
from bridge.audio.metadata import AudioMetadata
from bridge.audio.quantiser import stem_dither_seed
from bridge.audio.reader import read_info, read_metadata
from bridge.audio.writer import AudioWriter
from bridge.files import hash_file
from bridge.plan.model import Plan, StemPlan
from bridge.plan.output_names import rung_path
from bridge.render.gain import GainDecision
from bridge.render.manifest import StemRecord
from bridge.render.progress import Progress
from bridge.render.results import DeliveredStem, RenderedStem, StemResult
from bridge.render.scratch import read_scratch
from bridge.render.tail import fade_out

__all__ = ["Level", "deliver_stem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How a rendered stem is delivered.

    Args:
        decision: Its gain.
        n_samples: Its length, which others may share.
        ladder: The same for each depth of its ladder.
    """

    decision: GainDecision
    n_samples: int
    ladder: Mapping[int, Level] = field(default_factory=dict)


def deliver_stem(
    plan: Plan,
    stem: StemPlan,
    rendered: RenderedStem,
    level: Level,
    tell: Callable[[Progress], None],
) -> DeliveredStem:
    """Write a rendered stem at its level, and at every depth of its ladder, beside its scratch files.

    Raises:
        ReverieError: It cannot be written; nothing is left of it.
    """
    tell(Progress(stem=stem.name, target=Path(stem.target), fraction=1.0, phase="deliver"))
    record = _write(plan, stem, rendered, level)
    rungs: dict[int, StemRecord] = {}
    for depth, rung in rendered.rungs.items():
        at = stem.model_copy(update={"target": str(rung_path(stem.target, depth))})
        rungs[depth] = _write(plan, at, rung, level.ladder[depth])
    record = record.model_copy(update={"ladder": rungs})
    below = [f"at depth {depth}: {one}" for depth, rung in rungs.items() for one in rung.warnings]
    tell(Progress(stem=stem.name, target=Path(stem.target), fraction=1.0, phase="done"))
    result = StemResult(
        name=stem.name,
        status="done",
        target=Path(stem.target),
        record=record,
        warnings=(*record.warnings, *below),
        steps=rendered.steps,
    )
    parts = {depth: rung.part for depth, rung in rendered.rungs.items()}
    return DeliveredStem(result=result, part=rendered.part, rungs=parts)


def _write(plan: Plan, stem: StemPlan, rendered: RenderedStem, level: Level) -> StemRecord:
    """Write one file, and return what is known of it."""
    decision, n_samples = level.decision, level.n_samples + stem.lead_samples
    preset = plan.preset
    target = Path(stem.target)
    warnings = (*rendered.warnings, *([decision.warning] if decision.warning else []))
    n_channels = rendered.meter.n_channels
    final = LoudnessMeter(stem.sample_rate, n_channels)
    # What only a gain is done to, with no tail cut or faded, need not be measured again.
    is_only_amplified = not decision.is_limited and rendered.meter.n_samples == n_samples == stem.out_samples
    foretold = rendered.meter.result(decision.gain) if is_only_amplified else None
    metadata = _placed_metadata(stem).processed(
        sample_rate=stem.sample_rate,
        n_channels=n_channels,
        bits=SUBTYPE_BITS[stem.target_subtype],
        text=f"Reverie, {preset.meta.name}",
        loudness=foretold,
    )
    limiter = None
    if decision.is_limited:
        limiter = Limiter(preset.level.ceiling_dbtp, sample_rate=stem.sample_rate, n_channels=n_channels)
    with AudioWriter(
        target,
        sample_rate=stem.sample_rate,
        n_channels=n_channels,
        subtype=stem.target_subtype,
        overwrite=True,
        n_samples=n_samples,
        dither_seed=stem_dither_seed(plan.seed, stem.name),
        metadata=metadata,
        part=rendered.part,
    ) as writer:
        for block in _levelled(rendered, stem.lead_samples, n_samples, decision, limiter):
            faded = fade_out(
                block,
                writer.n_samples,
                policy=preset.tail,
                sample_rate=stem.sample_rate,
                n_stem=stem.out_samples,
                n_total=n_samples,
            )
            if foretold is None:
                final.push(faded)
            writer.write(faded)
    return StemRecord.build(
        key=plan.stem_key(stem),
        sha256_samples=writer.sha256_samples,
        sha256_file=hash_file(rendered.part),
        n_samples=n_samples,
        n_channels=n_channels,
        before=rendered.before,
        after=foretold or final.result(),
        decision=decision,
        n_clipped=writer.n_clipped,
        wall_s=rendered.wall_s,
        warnings=warnings,
        plugins=rendered.plugins,
        steps=rendered.steps,
    )


def _levelled(
    rendered: RenderedStem, n_lead: int, n_samples: int, decision: GainDecision, limiter: Limiter | None
) -> Iterator[AudioArray]:
    """Go through a stem at its level after the silence in front, cut to a length or with silence up to it."""
    n_left = n_samples
    silence = np.zeros((rendered.meter.n_channels, BLOCK_SAMPLES), np.float32)
    lead = (silence[:, : min(BLOCK_SAMPLES, n_lead - at)] for at in range(0, n_lead, BLOCK_SAMPLES))
    for block in itertools.chain(lead, _sound(rendered, decision, limiter), itertools.repeat(silence)):
        if not n_left:
            break
        yield block[:, :n_left]
        n_left -= min(n_left, block.shape[1])


def _sound(rendered: RenderedStem, decision: GainDecision, limiter: Limiter | None) -> Iterator[AudioArray]:
    """Go through a stem's own samples at its level; the limiter has heard those before and after."""
    gain, n_before, n_own = np.float32(decision.gain), rendered.n_before, rendered.meter.n_samples
    for block in _limited(rendered, gain, limiter):
        own = block[:, n_before : n_before + n_own]
        n_before = max(0, n_before - block.shape[1])
        n_own -= own.shape[1]
        yield own


def _limited(rendered: RenderedStem, gain: np.float32, limiter: Limiter | None) -> Iterator[AudioArray]:
    for block in read_scratch(rendered.scratch):
        yield block * gain if limiter is None else limiter.push(block * gain)
    if limiter is not None:
        yield limiter.flush()


def _placed_metadata(stem: StemPlan) -> AudioMetadata:
    """Return what the source says beside its samples, as it holds on the session's timeline."""
    if stem.is_silence:
        return AudioMetadata()
    metadata = read_metadata(stem.source)
    ratio = stem.sample_rate / read_info(stem.source).sample_rate
    cut = stem.span[0] if stem.is_cropped else 0
    if stem.start_samples is None and ratio == 1.0 and not cut:
        return metadata
    # A cropped section is stamped with its place, from the session's start where that is not known.
    start = stem.start_samples + cut if stem.start_samples is not None else cut or None
    return metadata.moved(start, stem.head_samples - cut, ratio)
