"""Render one stem: through its chain into a scratch file, measured, then to its place at its level.

Both passes stream in constant memory. What goes wrong leaves nothing behind under the final name.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.alignment import AlignedReader
from bridge.audio.formats import SUBTYPE_BITS
from bridge.audio.limiter import Limiter
from bridge.audio.loudness import Loudness, LoudnessMeter
from bridge.audio.metadata import AudioMetadata
from bridge.audio.quantiser import stem_dither_seed
from bridge.audio.reader import read_info, read_metadata
from bridge.audio.writer import AudioWriter
from bridge.delivery import GainDecision, TailMeter, fade_out, tail_input_samples
from bridge.envelopes import Song
from bridge.errors import RenderError, RenderStoppedError
from bridge.manifest import StemRecord
from bridge.opening import Callbacks, OpenStem, open_stem, open_stem_sound
from bridge.plan.model import Plan, StemPlan
from bridge.plan.plan_envelopes import read_song
from bridge.scratch import ScratchWriter, read_scratch
from bridge.workmeter import Progress, WorkMeter

if TYPE_CHECKING:
    from dream_core.companions import Companions

__all__ = ["RenderedStem", "StemResult", "deliver_stem", "render_stem", "scratch_path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StemResult:
    """What became of a stem.

    Args:
        name: The stem.
        status: ``done``, ``kept`` (finished by an earlier render of the same plan) or ``failed``.
        target: Where it is.
        error: Why it failed, in one line.
        record: What was measured, where it is done.
        warnings: What the user should know.
    """

    name: str
    status: Literal["done", "kept", "failed"]
    target: Path
    error: str = ""
    record: StemRecord | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedStem:
    """A stem in its scratch file, before its level is decided.

    Args:
        scratch: The file.
        before: The stem as it came.
        meter: Has heard the whole scratch file.
        n_samples: How much of it is to be delivered.
        wall_s: How long it took.
        warnings: What the user should know.
        plugins: Who they are, by node.
    """

    scratch: Path
    before: Loudness
    meter: LoudnessMeter
    n_samples: int
    wall_s: float
    warnings: tuple[str, ...]
    plugins: dict[str, dict[str, str]]

    @property
    def after(self) -> Loudness:
        """The stem as it left its chain."""
        return self.meter.result()


def render_stem(
    plan: Plan,
    stem: StemPlan,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
    companions: Companions | None = None,
) -> RenderedStem:
    """Stream a stem through its chain into a scratch file beside its target, measuring before and after.

    Raises:
        ReverieError: The stem failed; the scratch file is gone.
    """
    started = time.perf_counter()
    warnings: list[str] = []
    tell(Progress(stem=stem.name, target=Path(stem.target), fraction=0.0, phase="open"))
    _fix_threads(plan)
    meter = WorkMeter(stem, tell)
    callbacks = Callbacks(
        on_step=meter.on_step,
        is_cancelled=is_cancelled,
        on_warning=warnings.append,
        companions=companions,
    )
    song = read_song(plan, stem)
    opened = open_stem(plan, stem, song, callbacks)
    meter.expect(opened)
    try:
        n_tail = _tail_samples(opened, song)
        scratch = scratch_path(stem)
        measured = _Measurements(stem, opened)
        _write_scratch(opened, scratch, n_tail, measured, meter, is_cancelled)
        warnings += [str(fault) for plugin in opened.plugins.values() for fault in plugin.faults]
        plugins = {node_id: plugin.identity for node_id, plugin in opened.plugins.items()}
    finally:
        opened.close()
    return RenderedStem(
        scratch=scratch,
        before=measured.before.result(),
        meter=measured.after_meter(),
        n_samples=measured.tail.n_samples,
        wall_s=time.perf_counter() - started,
        warnings=tuple(warnings),
        plugins=plugins,
    )


def scratch_path(stem: StemPlan) -> Path:
    """Return where a stem waits between its chain and its level: hidden, beside its target."""
    target = Path(stem.target)
    return target.with_name(f".{target.name}.scratch")


def _tail_samples(opened: OpenStem, song: Song) -> int:
    stem, tail = opened.stem, opened.plan.read_preset().tail
    next_bar_s = None
    if tail.mode == "to_bar":
        clock = song.tempo_map
        bars = np.ceil(clock.beats_to_bars(clock.seconds_to_beats(stem.duration_s)) - 1e-9)
        next_bar_s = float(clock.beats_to_seconds(clock.bars_to_beats(bars)))
    n_tail = tail_input_samples(tail, stem.sample_rate, stem.n_samples, next_bar_s)
    if tail.mode == "auto":
        return min(n_tail, round(opened.chain.tail_seconds * stem.sample_rate))
    return n_tail


class _Measurements:
    """All that is learnt of a stem while it streams."""

    def __init__(self, stem: StemPlan, opened: OpenStem) -> None:
        self.before = LoudnessMeter(stem.sample_rate, stem.n_channels)
        self.tail = TailMeter(opened.plan.read_preset().tail, stem.sample_rate, stem.n_samples)
        self.comparison = _Comparison()
        self._after: LoudnessMeter | None = None
        self._sample_rate = stem.sample_rate

    def push_input(self, block: AudioArray) -> None:
        self.before.push(block)
        self.comparison.push_input(block)

    def push_output(self, block: AudioArray) -> None:
        # How many channels come out is known once the first block has.
        self._after = self._after or LoudnessMeter(self._sample_rate, block.shape[0])
        self._after.push(block)
        self.comparison.push_output(block)
        self.tail.push(block)

    def after_meter(self) -> LoudnessMeter:
        if self._after is None:
            raise RenderError(
                "the chain gave no sound at all; disable its nodes in turn to find which is mute"
            )
        return self._after


def _write_scratch(
    opened: OpenStem,
    scratch: Path,
    n_tail: int,
    measured: _Measurements,
    meter: WorkMeter,
    is_cancelled: Callable[[], bool] | None,
) -> None:
    stem = opened.stem
    n_bytes = (stem.n_samples + n_tail) * stem.n_channels * np.dtype(np.float32).itemsize
    with ScratchWriter(scratch, n_bytes) as writer, open_stem_sound(stem) as reader:
        for block in _stream(opened, reader, n_tail, measured, meter):
            if is_cancelled is not None and is_cancelled():
                raise RenderStoppedError("stopped while rendering")
            if block.shape[1]:
                measured.push_output(block)
                writer.write(block)


def _stream(
    opened: OpenStem,
    reader: AlignedReader,
    n_tail: int,
    measured: _Measurements,
    meter: WorkMeter,
) -> Iterator[AudioArray]:
    position = 0
    n_channels = reader.info.n_channels
    while True:
        block = reader.read(BLOCK_SAMPLES)
        if not block.shape[1]:
            break
        measured.push_input(block)
        yield _process(opened, block, position)
        position += block.shape[1]
        meter.on_input(position)
    end = position + n_tail
    while position < end:
        silence = np.zeros((n_channels, min(BLOCK_SAMPLES, end - position)), np.float32)
        yield _process(opened, silence, position)
        position += silence.shape[1]
    yield opened.chain.flush()


def _process(opened: OpenStem, block: AudioArray, position: int) -> AudioArray:
    lanes = opened.lanes(position, block.shape[1])
    return opened.chain.process(block, opened.stem.sample_rate, reset=False, automation=lanes)


def deliver_stem(
    plan: Plan,
    stem: StemPlan,
    rendered: RenderedStem,
    decision: GainDecision,
    n_samples: int,
    overwrite: bool,
    tell: Callable[[Progress], None],
) -> StemResult:
    """Write a rendered stem to its place at its level.

    Raises:
        ReverieError: It cannot be written; nothing stands under its name.
    """
    tell(Progress(stem=stem.name, target=Path(stem.target), fraction=1.0, phase="deliver"))
    preset = plan.read_preset()
    target = Path(stem.target)
    warnings = (*rendered.warnings, *([decision.warning] if decision.warning else []))
    n_channels = rendered.meter.n_channels
    final = LoudnessMeter(stem.sample_rate, n_channels)
    # What only a gain is done to, with no tail cut or faded, need not be measured again.
    is_only_amplified = not decision.is_limited and rendered.meter.n_samples == n_samples == stem.n_samples
    foretold = rendered.meter.result(decision.gain) if is_only_amplified else None
    metadata = _placed_metadata(stem).processed(
        sample_rate=stem.sample_rate,
        n_channels=n_channels,
        bits=SUBTYPE_BITS[stem.target_subtype],
        text=f"Reverie, {plan.preset['meta']['name']}",
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
        overwrite=overwrite,
        n_samples=n_samples,
        dither_seed=stem_dither_seed(plan.seed, stem.name),
        metadata=metadata,
    ) as writer:
        for block in _levelled(rendered, n_samples, decision, limiter):
            faded = fade_out(
                block,
                writer.n_samples,
                policy=preset.tail,
                sample_rate=stem.sample_rate,
                n_stem=stem.n_samples,
                n_total=n_samples,
            )
            if foretold is None:
                final.push(faded)
            writer.write(faded)
    record = StemRecord.build(
        key=plan.stem_key(stem),
        sha256_samples=writer.sha256_samples,
        n_samples=n_samples,
        n_channels=n_channels,
        before=rendered.before,
        after=foretold or final.result(),
        decision=decision,
        n_clipped=writer.n_clipped,
        wall_s=rendered.wall_s,
        warnings=warnings,
        plugins=rendered.plugins,
    )
    tell(Progress(stem=stem.name, target=Path(stem.target), fraction=1.0, phase="done"))
    return StemResult(name=stem.name, status="done", target=target, record=record, warnings=warnings)


def _levelled(
    rendered: RenderedStem, n_samples: int, decision: GainDecision, limiter: Limiter | None
) -> Iterator[AudioArray]:
    """Go through a stem at its level, cut to a length or with silence up to it."""
    gain, n_left = np.float32(decision.gain), n_samples
    silence = np.zeros((rendered.meter.n_channels, BLOCK_SAMPLES), np.float32)
    for block in itertools.chain(read_scratch(rendered.scratch), itertools.repeat(silence)):
        if not n_left:
            break
        block = block[:, :n_left] * gain
        n_left -= block.shape[1]
        yield block if limiter is None else limiter.push(block)
    if limiter is not None:
        yield limiter.flush()


def _placed_metadata(stem: StemPlan) -> AudioMetadata:
    """Return what the source says beside its samples, as it holds on the session's timeline."""
    metadata = read_metadata(stem.source)
    ratio = stem.sample_rate / read_info(stem.source).sample_rate
    if stem.start_samples is None and ratio == 1.0:
        return metadata
    return metadata.moved(stem.start_samples, stem.head_samples, ratio)


def _fix_threads(plan: Plan) -> None:
    if any(node["use"] == "dream" and node["enabled"] for node in plan.preset["chain"]):
        from dream_core.runtime import set_threads

        set_threads(plan.threads)


class _Comparison:
    """Tells whether what came out is what went in, whatever is withheld on the way."""

    def __init__(self) -> None:
        self.is_equal = True
        self._waiting: list[AudioArray] = []

    def push_input(self, block: AudioArray) -> None:
        if self.is_equal:
            self._waiting.append(block)

    def push_output(self, block: AudioArray) -> None:
        if not self.is_equal or not block.shape[1]:
            return
        expected = np.concatenate(self._waiting, axis=1)
        self.is_equal = expected.shape[0] == block.shape[0] and np.array_equal(
            expected[:, : block.shape[1]], block
        )
        self._waiting = [expected[:, block.shape[1] :]] if self.is_equal else []
