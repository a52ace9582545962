"""Render one stem: through its chain into a scratch file, measured, then to its place at its level.

Both passes stream in constant memory. What goes wrong leaves nothing behind under the final name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, AudioArray
from bridge.audio.alignment import AlignedReader
from bridge.audio.loudness import LoudnessMeter
from bridge.errors import RenderError, RenderStoppedError
from bridge.hosts.faults import HostedPluginError
from bridge.midi.file import MidiFile
from bridge.plan.model import Plan, StemPlan
from bridge.render.dream_steps import sort_steps
from bridge.render.heard_stems import HeardStems
from bridge.render.inputs import check_after
from bridge.render.ladder import LadderWriter
from bridge.render.loss import LossWatch
from bridge.render.open_stem import OpenStem, RenderHooks, open_stem
from bridge.render.progress import Progress, WorkMeter
from bridge.render.results import RenderedStem
from bridge.render.scratch import ScratchWriter
from bridge.render.section import heard_span
from bridge.render.stem_input import SilentReader, open_stem_sound
from bridge.render.tail import TailMeter, tail_input_samples

if TYPE_CHECKING:
    from dream_core.loop.shared_batches import SharedBatches

__all__ = ["render_stem"]


def render_stem(
    plan: Plan,
    stem: StemPlan,
    scratch: Path,
    midi: MidiFile | None,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
    batches: SharedBatches | None = None,
    heard: HeardStems | None = None,
) -> RenderedStem:
    """Stream a stem through its chain into a scratch file, measuring before and after.

    Args:
        plan: The plan.
        stem: One of its stems.
        scratch: The file it waits in.
        midi: From ``plan.load_midi()``.
        tell: Called as the stem gets on.
        is_cancelled: Asked often; true stops.
        batches: Shared with the dreams of stems in other threads.
        heard: What modulators listen for, from `hear_stems`; None hears it now.

    Raises:
        ReverieError: The stem failed; the scratch file is gone.
    """
    started = time.perf_counter()
    warnings: list[str] = []
    tell(Progress(stem=stem.name, target=Path(stem.target), fraction=0.0, phase="open"))
    _fix_threads(plan)
    meter = WorkMeter(stem, tell)
    hooks = RenderHooks(on_step=meter.on_step, is_cancelled=is_cancelled, on_warning=warnings.append)
    opened = open_stem(plan, stem, midi, hooks, batches, heard)
    meter.expect(opened)
    try:
        n_tail = _tail_samples(opened)
        measured = _Measurements(stem, opened)
        ladder = _write_scratch(opened, scratch, n_tail, measured, meter, is_cancelled)
        warnings += measured.loss.warnings(measured.before.result(), measured.after_meter().result())
        hosted = [*opened.plugins.values(), *opened.copies]
        warnings += [fault.told(plan.tempo_map) for plugin in hosted for fault in plugin.faults]
        plugins = {node_id: plugin.identity for node_id, plugin in opened.plugins.items()}
    except HostedPluginError as error:
        raise HostedPluginError(error.fault, plan.tempo_map) from error
    finally:
        opened.close()
    check_after(plan, stem, plugins)
    rendered = RenderedStem(
        scratch=scratch,
        before=measured.before.result(),
        meter=measured.after_meter(),
        n_samples=measured.tail.n_samples,
        is_section=stem.section is not None,
        n_before=stem.span[0] - heard_span(plan, stem)[0],
        wall_s=time.perf_counter() - started,
        warnings=tuple(warnings),
        plugins=plugins,
        steps=sort_steps(meter.steps, [node.id for node in plan.preset.chain]),
    )
    return replace(rendered, rungs=ladder.rendered(rendered))


def _tail_samples(opened: OpenStem) -> int:
    stem, tail = opened.stem, opened.plan.preset.tail
    next_bar_s = None
    if tail.mode == "to_bar":
        clock = opened.plan.tempo_map
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
        first, last = stem.span
        self.tail = TailMeter(opened.plan.preset.tail, stem.sample_rate, last - first)
        self.loss = LossWatch(opened)
        self._after: LoudnessMeter | None = None
        self._sample_rate = stem.sample_rate

    def push_input(self, block: AudioArray) -> None:
        self.before.push(block)
        self.loss.push_input(block)

    def push_output(self, block: AudioArray) -> None:
        # How many channels come out is known once the first block has.
        self._after = self._after or LoudnessMeter(self._sample_rate, block.shape[0])
        self._after.push(block)
        self.tail.push(block)
        self.loss.push_output(block)

    def after_meter(self) -> LoudnessMeter:
        if self._after is None:
            raise RenderError(
                "the chain gave no output; disable its nodes in turn to find which one is silent"
            )
        return self._after


def _write_scratch(
    opened: OpenStem,
    scratch: Path,
    n_tail: int,
    measured: _Measurements,
    meter: WorkMeter,
    is_cancelled: Callable[[], bool] | None,
) -> LadderWriter:
    stem = opened.stem
    first, last = heard_span(opened.plan, stem)
    n_bytes = (last - first + n_tail) * stem.n_channels * np.dtype(np.float32).itemsize
    with (
        ScratchWriter(scratch, n_bytes) as writer,
        LadderWriter(opened, scratch, n_bytes) as ladder,
        open_stem_sound(stem) as reader,
    ):
        for block, own in _cut(_stream(opened, reader, n_tail, measured, meter), stem, first, last):
            if is_cancelled is not None and is_cancelled():
                raise RenderStoppedError("stopped while rendering")
            if own.shape[1]:
                measured.push_output(own)
            if block.shape[1]:
                writer.write(block)
            ladder.push()
        ladder.finish()
    return ladder


def _stream(
    opened: OpenStem,
    reader: AlignedReader | SilentReader,
    n_tail: int,
    measured: _Measurements,
    meter: WorkMeter,
) -> Iterator[AudioArray]:
    position = 0
    n_channels = opened.stem.n_channels
    first, last = opened.stem.span
    while True:
        block = reader.read(BLOCK_SAMPLES)
        if not block.shape[1]:
            break
        measured.push_input(block[:, max(0, first - position) : max(0, last - position)])
        if opened.feed is not None:
            block[:, : max(0, opened.feed.first - position)] = 0.0
        yield _process(opened, block, position)
        position += block.shape[1]
        meter.on_input(position)
    end = position + n_tail
    while position < end:
        silence = np.zeros((n_channels, min(BLOCK_SAMPLES, end - position)), np.float32)
        yield _process(opened, silence, position)
        position += silence.shape[1]
    yield opened.chain.flush()


def _cut(
    blocks: Iterator[AudioArray], stem: StemPlan, heard_first: int, heard_last: int
) -> Iterator[tuple[AudioArray, AudioArray]]:
    """Let through what a section's limiter hears, each block with what of it is the section's own.

    A section that ends with its stem has its tail after it.
    """
    first, last = stem.span
    ends_early = last < stem.n_samples
    position = 0
    for block in blocks:
        start, position = position, position + block.shape[1]
        if not ends_early:
            yield block[:, max(0, heard_first - start) :], block[:, max(0, first - start) :]
            continue
        yield (
            block[:, max(0, heard_first - start) : max(0, heard_last - start)],
            block[:, max(0, first - start) : max(0, last - start)],
        )
        if position >= heard_last:
            return


def _process(opened: OpenStem, block: AudioArray, position: int) -> AudioArray:
    lanes = opened.lanes(position, block.shape[1])
    return opened.chain.process(block, opened.stem.sample_rate, reset=False, automation=lanes)


def _fix_threads(plan: Plan) -> None:
    if plan.preset.dream_nodes:
        from dream_core.runtime import set_threads

        set_threads(plan.threads)
