"""How far a stem is: what has been done of what its plan asks for."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

from bridge.envelopes.evaluate import Envelopes
from bridge.plan.model import StemPlan
from bridge.presets.keyswitches import dreams_of
from bridge.presets.model import NodeSpec, node_parameters
from bridge.processors.dream_parameters import cross_fade_s
from bridge.render.dream_steps import DreamStep
from bridge.render.open_stem import OpenStem

__all__ = ["Progress", "WorkMeter"]

_STRIDE = 64
"""Depths are looked at once in so many samples: this is an estimate."""

_READING = 0.1
"""What all beside the dreams weighs, where a stem dreams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stem is.

    Args:
        stem: Its name.
        target: Where it will be; tells stems of one name in several renders apart.
        fraction: 0..1.
        step: What a step of a dream did, where that is why it is told.
        phase: ``hear`` (a network listens to it before anything is rendered), ``open``, ``render``,
            ``deliver`` or ``done``.
    """

    stem: str
    target: Path
    fraction: float
    phase: Literal["hear", "open", "render", "deliver", "done"]
    step: DreamStep | None = None


@dataclass(frozen=True, slots=True)
class _Window:
    """A window of a dream: when it must be over at the latest, and the steps its deepest sample asks for."""

    over_at_sample: int
    n_steps: int


class WorkMeter:
    """Turns dream steps and samples read into one fraction.

    Args:
        stem: What is rendered.
        tell: Called whenever the fraction may have moved.
    """

    def __init__(self, stem: StemPlan, tell: Callable[[Progress], None]) -> None:
        self._stem, self._tell = stem, tell
        self._over_at: list[int] = []
        self._due: list[int] = []
        self._taken, self._read = 0, 0.0
        self.steps: list[DreamStep] = []

    def expect(self, opened: OpenStem) -> None:
        """Learn how many steps every window of every dream will take."""
        windows = [
            window
            for node in opened.plan.preset.dream_nodes
            for _ in dreams_of(opened.plan.preset, node)
            for window in _windows(node, opened.envelopes, opened.stem)
        ]
        windows.sort(key=lambda window: window.over_at_sample)
        self._over_at = [window.over_at_sample for window in windows]
        self._due = list(accumulate(window.n_steps for window in windows))

    @property
    def n_steps(self) -> int:
        """How many steps all windows of all dreams will take, where none of them is silent."""
        return self._due[-1] if self._due else 0

    def on_step(self, step: DreamStep) -> None:
        """Count one step of one window, and keep what it did."""
        self._taken += 1
        self.steps.append(step)
        self._report(step)

    def on_input(self, position: int) -> None:
        """Note that the stem has been read, and its chain has run, up to a sample."""
        self._read = position / self._stem.n_samples
        # Windows of silence take no steps; where the sound has long passed them they are not waited for.
        n_over = bisect_right(self._over_at, position)
        if n_over:
            self._taken = max(self._taken, self._due[n_over - 1])
        self._report()

    def _report(self, step: DreamStep | None = None) -> None:
        dreamed = min(1.0, self._taken / self.n_steps) if self.n_steps else self._read
        fraction = min(0.99, _READING * self._read + (1.0 - _READING) * dreamed)
        target = Path(self._stem.target)
        self._tell(
            Progress(stem=self._stem.name, target=target, fraction=fraction, phase="render", step=step)
        )


def _windows(node: NodeSpec, envelopes: Envelopes, stem: StemPlan) -> Iterator[_Window]:
    """Lay a dream's windows over a stem, as the loop does."""

    def setting(name: str) -> float:
        return float(node.params.get(name, node_parameters(node)[name].default))

    fade = round(cross_fade_s(setting("window_s"), setting("fade_s")) * stem.sample_rate)
    length = round(setting("window_s") * stem.sample_rate)
    hop = length - fade
    is_moving = (node.id, "depth") in envelopes.moving
    for start in range(0, max(stem.n_samples - fade, 1), hop):
        n_samples = min(length, stem.n_samples - start)
        depth = setting("depth")
        if is_moving:
            depth = float(envelopes.values(node.id, "depth", start, n_samples, _STRIDE).max())
        n_steps = math.ceil(depth)
        # Each step waits for the next window's step before it, and so for one more window of sound.
        yield _Window(start + length + (n_steps + 1) * hop, n_steps)
