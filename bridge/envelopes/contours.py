"""Sources that are drawn: envelopes and breakpoint contours as a row of segments.

Conventions: a segment goes from one value to another over whole samples and may be bent, stepped or pulsed
on the way; segments follow each other in time, and the last value of one holds until the next begins.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bridge.envelopes.grid import Floats, Grid, Integers
from bridge.envelopes.shapes import bend, smooth_step

__all__ = ["Contour", "ContourPoint", "Segment", "curve_between"]


class Segment(NamedTuple):
    """A way from one value to another.

    Attributes:
        start: First sample.
        n: Length in samples; at `start` + `n` the segment is at its end.
        low: Value at the start.
        high: Value at the end.
        curve: ``hold``, ``linear``, ``curve``, ``s_curve``, ``stairs`` or ``pulse``.
        tension: Bend of a ``curve``, -1..1.
        steps: Number of stairs or pulses.
    """

    start: int
    n: int
    low: float
    high: float
    curve: str = "linear"
    tension: float = 0.0
    steps: int = 4


class ContourPoint(NamedTuple):
    """A point of a contour in samples from its start, and the curve to the next."""

    at: int
    value: float
    curve: str = "linear"
    tension: float = 0.0
    steps: int = 4


def curve_between(position: Floats, curve: str, tension: float, steps: int) -> Floats:
    """Return how far a segment has come, 0..1, at positions 0..1 of its length."""
    if curve == "hold":
        return np.zeros_like(position)
    if curve == "curve":
        return bend(position, tension)
    if curve == "s_curve":
        return smooth_step(position)
    if curve == "stairs":
        return np.minimum(np.floor(position * steps) / steps, 1.0)
    if curve == "pulse":
        part = position * steps
        return ((part - np.floor(part)) >= 0.5).astype(np.float64)
    return position


@dataclass(frozen=True, kw_only=True, eq=False)
class Contour:
    """Segments in order of time, as a source.

    Args:
        segments: In order; one that begins before another has ended cuts it short.
        before: Value ahead of the first.
    """

    segments: Sequence[Segment]
    before: float = 0.0

    def __post_init__(self) -> None:
        """Keep the starts as a column, to be searched."""
        object.__setattr__(self, "_starts", np.array([segment.start for segment in self.segments], np.int64))

    @property
    def starts(self) -> Integers:
        """(k,) first samples."""
        starts: Integers = self._starts  # type: ignore[attr-defined]
        return starts

    def at(self, grid: Grid) -> Floats:
        """Return the value at each instant."""
        first = int(np.searchsorted(self.starts, grid.start, side="right"))
        last = int(np.searchsorted(self.starts, grid.last, side="right"))
        edges = [0, *grid.rows_from(self.starts[first:last]).tolist(), grid.n]
        values = np.empty(grid.n)
        for index, (low, high) in enumerate(itertools.pairwise(edges), start=first - 1):
            if low == high:
                continue
            if index < 0:
                values[low:high] = self.before
            else:
                self._draw(values[low:high], self.segments[index], grid, low)
        return values

    def value_at(self, sample: int) -> float:
        """Return the value at one sample."""
        index = int(np.searchsorted(self.starts, sample, side="right")) - 1
        if index < 0:
            return self.before
        return segment_value(self.segments[index], sample)

    @staticmethod
    def _draw(out: Floats, segment: Segment, grid: Grid, row: int) -> None:
        """Fill rows that lie in one segment or after it."""
        begun = grid.start + row * grid.step - segment.start
        n_moving = min(max(-((begun - segment.n) // grid.step), 0), len(out)) if segment.n else 0
        out[n_moving:] = segment.low if segment.curve == "hold" else segment.high
        if n_moving == 0:
            return
        if segment.curve == "hold" or segment.low == segment.high:
            out[:n_moving] = segment.low
            return
        position = grid.samples[row : row + n_moving] - float(segment.start)
        position *= 1.0 / segment.n
        moved = curve_between(position, segment.curve, segment.tension, segment.steps)
        out[:n_moving] = segment.low + (segment.high - segment.low) * moved


def segment_value(segment: Segment, sample: int) -> float:
    """Return the value of a segment at a sample."""
    if segment.curve == "hold":
        return segment.low
    if sample >= segment.start + segment.n:
        return segment.high
    position = np.array([(sample - segment.start) / segment.n])
    moved = curve_between(position, segment.curve, segment.tension, segment.steps)
    return segment.low + (segment.high - segment.low) * float(moved[0])
