"""Render a plan: stems through chains, measured, brought to level, and written whole or not at all.

Each stem is streamed twice, in constant memory: through its chain into a scratch file while loudness is
measured before and after, then from the scratch file at its final level into the output, which appears by an
atomic rename. A stem its chain left untouched is delivered untouched, bit for bit.

What is finished stays: the manifest is written after every stem, and a render of the same plan takes up
where the last one stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np

from bridge.audiofile import AudioReader, AudioWriter, hash_samples
from bridge.delivery import (
    GainDecision,
    TailMeter,
    decide_gain,
    fade_out,
    share_gains,
    tail_input_samples,
)
from bridge.errors import AudioFileError, OutputError, RenderError, ReverieError
from bridge.loudness import Loudness, LoudnessMeter
from bridge.manifest import Manifest, StemRecord, read_manifest, write_manifest
from bridge.opening import Callbacks, OpenStem, open_stem, read_song
from bridge.plan import Plan, StemPlan, hash_file
from bridge.records import AudioArray

__all__ = ["Progress", "RenderReport", "StemResult", "render_plan"]

BLOCK_SAMPLES = 1 << 16
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stem is.

    Args:
        stem: Its name.
        fraction: 0..1.
        phase: ``open``, ``render``, ``deliver`` or ``done``.
    """

    stem: str
    fraction: float
    phase: Literal["open", "render", "deliver", "done"]


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
class RenderReport:
    """What became of a render."""

    stems: tuple[StemResult, ...]
    manifest: Path

    @property
    def failed(self) -> tuple[StemResult, ...]:
        """The stems that failed."""
        return tuple(stem for stem in self.stems if stem.status == "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendered:
    scratch: Path
    before: Loudness
    after: Loudness
    n_samples: int
    is_unchanged: bool
    wall_s: float
    warnings: tuple[str, ...]


def render_plan(
    plan: Plan,
    *,
    overwrite: bool = False,
    jobs: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> RenderReport:
    """Render every stem of a plan.

    Args:
        plan: From :func:`bridge.build_plan`, or read from a manifest.
        overwrite: Replace outputs that exist.
        jobs: Stems rendered at the same time, each in a process of its own.
        on_progress: Called as stems get on.
        is_cancelled: Asked often; true stops. Finished stems stay.

    Returns:
        What became of each stem; a stem that failed does not touch the others.

    Raises:
        InputError: An output exists, or something the plan needs is not there; nothing was written.
    """
    out_dir = Path(plan.out_dir)
    manifest = _begin_manifest(plan, out_dir, overwrite)
    waiting = [stem for stem in plan.stems if stem.name not in manifest.stems]
    _check_before(plan, waiting, overwrite)
    results = {
        stem.name: StemResult(
            name=stem.name, status="kept", target=Path(stem.target), record=manifest.stems[stem.name]
        )
        for stem in plan.stems
        if stem.name in manifest.stems
    }

    def keep(result: StemResult) -> None:
        nonlocal manifest
        results[result.name] = result
        if result.record is not None:
            manifest = manifest.with_stem(result.name, result.record)
            write_manifest(manifest, out_dir / MANIFEST_NAME)

    tell = on_progress or (lambda _progress: None)
    if plan.read_preset().level.common_trim:
        _render_together(plan, waiting, overwrite, tell, is_cancelled, keep)
    elif jobs > 1 and len(waiting) > 1:
        _render_in_pool(plan, waiting, overwrite, jobs, tell, keep)
    else:
        for stem in waiting:
            keep(_render_alone(plan, stem, overwrite, tell, is_cancelled))
    ordered = tuple(results[stem.name] for stem in plan.stems if stem.name in results)
    return RenderReport(stems=ordered, manifest=out_dir / MANIFEST_NAME)


def _begin_manifest(plan: Plan, out_dir: Path, overwrite: bool) -> Manifest:
    fresh = Manifest.begin(plan)
    path = out_dir / MANIFEST_NAME
    if overwrite or not path.exists():
        return fresh
    earlier = read_manifest(path)
    for stem in plan.stems:
        record = earlier.stems.get(stem.name)
        if record is None or record.key != plan.stem_key(stem):
            continue
        target = Path(stem.target)
        # Only what is still there, as it was written, counts as done.
        if target.exists() and hash_samples(target) == record.sha256_samples:
            fresh = fresh.with_stem(stem.name, record)
    return fresh


def _check_before(plan: Plan, stems: list[StemPlan], overwrite: bool) -> None:
    existing = [stem.target for stem in stems if Path(stem.target).exists()]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise OutputError(
            f"{existing[0]} exists already{more}; use --overwrite to replace it, or another --out"
        )
    for stem in stems:
        if not Path(stem.source).exists() or hash_file(Path(stem.source)) != stem.sha256:
            raise AudioFileError(f"{stem.source}: is gone or has changed since the plan was made; plan again")
    song = read_song(plan)
    for stem in stems[:1]:
        # Every processor is opened once before any output is created.
        open_stem(plan, stem, song, Callbacks()).close()
    out_dir = Path(plan.out_dir)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        probe = out_dir / ".reverie-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{out_dir}: cannot be written to ({error.strerror}); choose another --out") from None


def _render_alone(
    plan: Plan,
    stem: StemPlan,
    overwrite: bool,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
) -> StemResult:
    try:
        rendered = _render_to_scratch(plan, stem, tell, is_cancelled)
        decision = decide_gain(plan.read_preset().level, rendered.before, rendered.after)
        return _deliver(plan, stem, rendered, decision, overwrite, tell)
    except ReverieError as error:
        return StemResult(name=stem.name, status="failed", target=Path(stem.target), error=str(error))


def _render_together(
    plan: Plan,
    stems: list[StemPlan],
    overwrite: bool,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
    keep: Callable[[StemResult], None],
) -> None:
    """Render all stems before any is delivered, because they share one trim."""
    policy = plan.read_preset().level
    rendered: dict[str, _Rendered] = {}
    try:
        for stem in stems:
            try:
                rendered[stem.name] = _render_to_scratch(plan, stem, tell, is_cancelled)
            except ReverieError as error:
                keep(
                    StemResult(name=stem.name, status="failed", target=Path(stem.target), error=str(error))
                )
        done = [stem for stem in stems if stem.name in rendered]
        alone = [decide_gain(policy, rendered[s.name].before, rendered[s.name].after) for s in done]
        for stem, decision in zip(done, share_gains(policy, alone), strict=True):
            keep(_deliver(plan, stem, rendered[stem.name], decision, overwrite, tell))
    finally:
        for one in rendered.values():
            one.scratch.unlink(missing_ok=True)


def _render_in_pool(
    plan: Plan,
    stems: list[StemPlan],
    overwrite: bool,
    jobs: int,
    tell: Callable[[Progress], None],
    keep: Callable[[StemResult], None],
) -> None:
    # Spawned, never forked: Torch and pedalboard do not survive a fork.
    with ProcessPoolExecutor(min(jobs, len(stems)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_render_in_worker, plan, stem, overwrite): stem for stem in stems}
        try:
            for future in as_completed(futures):
                result = future.result()
                tell(Progress(stem=result.name, fraction=1.0, phase="done"))
                keep(result)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _render_in_worker(plan: Plan, stem: StemPlan, overwrite: bool) -> StemResult:
    return _render_alone(plan, stem, overwrite, lambda _progress: None, None)


def _render_to_scratch(
    plan: Plan,
    stem: StemPlan,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
) -> _Rendered:
    started = time.perf_counter()
    warnings: list[str] = []
    tell(Progress(stem=stem.name, fraction=0.0, phase="open"))
    _fix_threads(plan)
    meter = _WorkMeter(stem, tell)
    callbacks = Callbacks(
        on_step=meter.on_step, is_cancelled=is_cancelled, on_warning=warnings.append
    )
    song = read_song(plan)
    opened = open_stem(plan, stem, song, callbacks)
    target = Path(stem.target)
    scratch = target.with_name(f".{target.name}.scratch.wav")
    tail = plan.read_preset().tail
    next_bar_s = None
    if tail.mode == "to_bar":
        clock = song.tempo_map
        bars = np.ceil(clock.beats_to_bars(clock.seconds_to_beats(stem.duration_s)) - 1e-9)
        next_bar_s = float(clock.beats_to_seconds(clock.bars_to_beats(bars)))
    n_tail = tail_input_samples(tail, stem.sample_rate, stem.n_samples, next_bar_s)
    if tail.mode == "auto":
        n_tail = min(n_tail, round(opened.chain.tail_seconds * stem.sample_rate))
    before, tail_meter = LoudnessMeter(stem.sample_rate, stem.n_channels), TailMeter(
        tail, stem.sample_rate, stem.n_samples
    )
    after: LoudnessMeter | None = None
    compare = _Comparison()
    try:
        with AudioReader(stem.source) as reader:
            writer: AudioWriter | None = None
            try:
                for block in _stream(opened, reader, n_tail, before, compare, meter):
                    if writer is None:
                        writer = _open_scratch(scratch, stem, block.shape[0], n_tail)
                        after = LoudnessMeter(stem.sample_rate, block.shape[0])
                    compare.push_output(block)
                    assert after is not None
                    after.push(block)
                    tail_meter.push(block)
                    writer.write(block)
                if writer is None or after is None:
                    raise RenderError(f"{stem.source}: the chain gave no sound at all")
                writer.close()
            except BaseException:
                if writer is not None:
                    writer.abort()
                raise
    finally:
        opened.close()
    return _Rendered(
        scratch=scratch,
        before=before.result(),
        after=after.result(),
        n_samples=tail_meter.n_samples,
        is_unchanged=compare.is_equal and n_tail == 0,
        wall_s=time.perf_counter() - started,
        warnings=tuple(warnings),
    )


def _stream(
    opened: OpenStem,
    reader: AudioReader,
    n_tail: int,
    before: LoudnessMeter,
    compare: _Comparison,
    meter: _WorkMeter,
) -> Iterator[AudioArray]:
    position = 0
    n_channels = reader.info.n_channels
    while True:
        block = reader.read(BLOCK_SAMPLES)
        if not block.shape[1]:
            break
        before.push(block)
        compare.push_input(block)
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


def _deliver(
    plan: Plan,
    stem: StemPlan,
    rendered: _Rendered,
    decision: GainDecision,
    overwrite: bool,
    tell: Callable[[Progress], None],
) -> StemResult:
    if rendered.is_unchanged:
        decision = replace(decision, level_db=0.0, trim_db=0.0, reason="unchanged: left alone")
    tell(Progress(stem=stem.name, fraction=1.0, phase="deliver"))
    tail = plan.read_preset().tail
    gain = np.float32(decision.gain)
    target = Path(stem.target)
    try:
        with AudioReader(rendered.scratch) as reader:
            n_channels = reader.info.n_channels
            final = LoudnessMeter(stem.sample_rate, n_channels)
            with AudioWriter(
                target,
                sample_rate=stem.sample_rate,
                n_channels=n_channels,
                subtype=stem.target_subtype,
                overwrite=overwrite,
                n_samples=rendered.n_samples,
                dither_seed=plan.seed,
            ) as writer:
                position = 0
                while position < rendered.n_samples:
                    block = reader.read(min(BLOCK_SAMPLES, rendered.n_samples - position))
                    block = fade_out(
                        block * gain,
                        position,
                        policy=tail,
                        sample_rate=stem.sample_rate,
                        n_stem=stem.n_samples,
                        n_total=rendered.n_samples,
                    )
                    final.push(block)
                    writer.write(block)
                    position += block.shape[1]
    finally:
        rendered.scratch.unlink(missing_ok=True)
    record = StemRecord.build(
        key=plan.stem_key(stem),
        sha256_samples=hash_samples(target),
        n_samples=rendered.n_samples,
        n_channels=n_channels,
        before=rendered.before,
        after=final.result(),
        decision=decision,
        n_clipped=writer.n_clipped,
        wall_s=rendered.wall_s,
        warnings=rendered.warnings,
    )
    tell(Progress(stem=stem.name, fraction=1.0, phase="done"))
    return StemResult(
        name=stem.name, status="done", target=target, record=record, warnings=rendered.warnings
    )


def _open_scratch(scratch: Path, stem: StemPlan, n_channels: int, n_tail: int) -> AudioWriter:
    return AudioWriter(
        scratch,
        sample_rate=stem.sample_rate,
        n_channels=n_channels,
        subtype="FLOAT",
        overwrite=True,
        n_samples=stem.n_samples + n_tail,
    )


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


class _WorkMeter:
    """Turns dream steps and samples read into one fraction."""

    def __init__(self, stem: StemPlan, tell: Callable[[Progress], None]) -> None:
        self._stem, self._tell = stem, tell
        # A window takes whole steps, so the integral of depth underestimates a little.
        self._n_steps = stem.depth_integral_s * 1.15 / 4.0
        self._taken, self._read = 0, 0.0

    def on_step(self, _report: object) -> None:
        self._taken += 1
        self._report()

    def on_input(self, position: int) -> None:
        self._read = position / self._stem.n_samples
        self._report()

    def _report(self) -> None:
        dreamed = min(1.0, self._taken / self._n_steps) if self._n_steps > 0 else self._read
        fraction = min(0.99, 0.1 * self._read + 0.9 * dreamed)
        self._tell(Progress(stem=self._stem.name, fraction=fraction, phase="render"))
