"""A stem at several depths from one pass: one dream, and what follows it once for each depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.arrays import AudioArray
from bridge.audio.loudness import LoudnessMeter
from bridge.processors.chain import Chain
from bridge.render.dream_steps import hold_steps
from bridge.render.open_stem import OpenStem
from bridge.render.results import RenderedStem
from bridge.render.scratch import ScratchWriter
from bridge.render.tail import TailMeter

__all__ = ["LadderWriter", "scratch_of"]


def scratch_of(scratch: Path, depth: int) -> Path:
    """Return where one depth of a ladder waits: beside the file that the stem itself waits in."""
    return scratch.with_name(f"{scratch.name}.depth{depth}")


@dataclass(slots=True, kw_only=True)
class _Rung:
    """One depth on its way into its scratch file."""

    chain: Chain
    scratch: Path
    writer: ScratchWriter
    tail: TailMeter
    meter: LoudnessMeter | None = None
    position: int = 0

    def write(self, block: AudioArray, sample_rate: int) -> None:
        if block.shape[1]:
            self.meter = self.meter or LoudnessMeter(sample_rate, block.shape[0])
            self.meter.push(block)
            self.tail.push(block)
            self.writer.write(block)


class LadderWriter:
    """Write what a stem's chain gives at each depth of its ladder, each into a scratch file of its own.

    Args:
        opened: The stem, ready to stream.
        scratch: The file that the stem itself waits in; those of the ladder lie beside it.
        n_bytes: How large each is going to be.
    """

    def __init__(self, opened: OpenStem, scratch: Path, n_bytes: int) -> None:
        self._opened, self._n_bytes, self._scratch = opened, n_bytes, scratch
        self._rungs: dict[int, _Rung] = {}
        self._held = ExitStack()

    def __enter__(self) -> LadderWriter:
        stem, policy = self._opened.stem, self._opened.plan.preset.tail
        for depth, chain in self._opened.after.items():
            path = scratch_of(self._scratch, depth)
            self._rungs[depth] = _Rung(
                chain=chain,
                scratch=path,
                writer=self._held.enter_context(ScratchWriter(path, self._n_bytes)),
                tail=TailMeter(policy, stem.sample_rate, stem.n_samples),
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._held.__exit__(*error)  # type: ignore[arg-type]

    def push(self) -> None:
        """Take what the stem's chain has given since the last call."""
        rate = self._opened.stem.sample_rate
        for depth, block in self._opened.chain.take_ladder().items():
            if not block.shape[1]:
                continue
            rung = self._rungs[depth]
            own = {f"{node.name}." for node in rung.chain.nodes}
            lanes = {
                name: lane
                for name, lane in self._opened.lanes(rung.position, block.shape[1]).items()
                if any(name.startswith(prefix) for prefix in own)
            }
            rung.position += block.shape[1]
            rung.write(rung.chain.process(block, rate, reset=False, automation=lanes), rate)

    def finish(self) -> None:
        """End the sound."""
        self.push()
        for rung in self._rungs.values():
            rung.write(rung.chain.flush(), self._opened.stem.sample_rate)

    def rendered(self, stem: RenderedStem) -> Mapping[int, RenderedStem]:
        """Return each depth as a stem that is rendered.

        Args:
            stem: The whole of it.
        """
        return dict(self._each(stem))

    def _each(self, stem: RenderedStem) -> Iterator[tuple[int, RenderedStem]]:
        climbed = self._opened.plan.preset.dream_nodes[-1].id if self._rungs else ""
        for depth, rung in self._rungs.items():
            assert rung.meter is not None
            n_samples = rung.tail.n_samples
            own = replace(
                stem,
                scratch=rung.scratch,
                meter=rung.meter,
                n_samples=n_samples,
                warnings=(),
                rungs={},
                steps=hold_steps(stem.steps, climbed, depth),
            )
            yield depth, own
