"""Sources that are drawn: envelopes and breakpoint contours as a row of segments.

Conventions: a segment goes from one value to another over whole samples and may be bent, stepped or pulsed
on the way; segments follow each other in time, and the last value of one holds until the next begins.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.arrays import BoolArray, Float64Array, Int64Array
from bridge.envelopes.grid import Grid
from bridge.envelopes.waveforms import BEND_STRENGTH, bend, smooth_step

__all__ = ["Contour", "Segment", "curve_between"]

_FEW_ROWS = 512  # segments shorter than this are drawn together
_SHORTEST_CUBIC_SAMPLES = 1024  # a bent segment shorter than this is too quick for a cubic


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


def curve_between(position: Float64Array, curve: str, tension: float, steps: int) -> Float64Array:
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


class _Columns(NamedTuple):
    """Segments as columns, to draw many short ones at once; the arithmetic is that of `curve_between`."""

    start: Int64Array
    n: Float64Array
    per_sample: Float64Array
    low: Float64Array
    high: Float64Array
    strength: Float64Array
    scale: Float64Array
    is_bent: BoolArray
    is_rough: BoolArray

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> _Columns:
        """Turn segments into columns; those that hold keep their value from start to end."""
        holds = [segment.curve == "hold" or segment.low == segment.high for segment in segments]
        strength = np.array([s.tension * BEND_STRENGTH if s.curve == "curve" else 0.0 for s in segments])
        strength[np.abs(strength) < 1e-6] = 0.0
        n = np.array([float(segment.n) for segment in segments])
        return cls(
            start=np.array([segment.start for segment in segments], np.int64),
            n=n,
            per_sample=1.0 / np.maximum(n, 1.0),
            low=np.array([segment.low for segment in segments]),
            high=np.array([s.low if s.curve == "hold" else s.high for s in segments]),
            strength=strength,
            scale=np.array([1.0 / math.expm1(one) if one else 0.0 for one in strength.tolist()]),
            is_bent=np.array(
                [s.curve in ("linear", "curve") or hold for s, hold in zip(segments, holds, strict=True)]
            ),
            is_rough=np.array(
                [
                    s.curve in ("stairs", "pulse") or (s.curve == "curve" and s.n < _SHORTEST_CUBIC_SAMPLES)
                    for s in segments
                ]
            ),
        )

    def draw(self, grid: Grid, first: int, counts: npt.NDArray[np.intp]) -> Float64Array:
        """Draw segments from `first` on, each over so many rows of the grid."""
        index = np.repeat(np.arange(first, first + len(counts)), counts)
        since = grid.samples - self.start[index]
        is_over = since >= self.n[index]
        since *= self.per_sample[index]
        np.minimum(since, 1.0, out=since)
        strength = self.strength[index]
        bent = np.exp(since * strength)
        bent -= 1.0
        bent *= self.scale[index]
        moved = np.where(strength == 0.0, since, bent)
        low, high = self.low[index], self.high[index]
        return np.where(is_over | (low == high), high, low + (high - low) * moved)


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
        """Keep what is looked up for many segments at once as columns."""
        object.__setattr__(self, "_columns", _Columns.of(self.segments))

    @property
    def starts(self) -> Int64Array:
        """(k,) first samples."""
        columns: _Columns = self._columns  # type: ignore[attr-defined]
        return columns.start

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        first = int(np.searchsorted(self.starts, grid.start, side="right"))
        last = int(np.searchsorted(self.starts, grid.last, side="right"))
        rows = grid.rows_from(self.starts[first:last])
        columns: _Columns = self._columns  # type: ignore[attr-defined]
        if first > 0 and (last - first) * _FEW_ROWS > grid.n and np.all(columns.is_bent[first - 1 : last]):
            return columns.draw(grid, first - 1, np.diff(rows, prepend=0, append=grid.n))
        values = np.empty(grid.n)
        edges = [0, *rows.tolist(), grid.n]
        for index, (low, high) in enumerate(itertools.pairwise(edges), start=first - 1):
            if low == high:
                continue
            if index < 0:
                values[low:high] = self.before
            else:
                self._draw(values[low:high], self.segments[index], grid, low)
        return values

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants segments begin or end, or are too quick."""
        columns: _Columns = self._columns  # type: ignore[attr-defined]
        first = max(int(np.searchsorted(self.starts, points.start - 2, side="right")) - 1, 0)
        last = int(np.searchsorted(self.starts, points.last + 2, side="right"))
        starts, n = self.starts[first:last], columns.n[first:last]
        breaks = points.cells_of(starts) | points.cells_of(np.sort(starts + n))
        if np.any(columns.is_rough[first:last]):
            index = np.searchsorted(starts, points.samples, side="right") - 1
            is_rough = (index >= 0) & columns.is_rough[first:last][index]
            is_rough &= points.samples < starts[index] + n[index]
            breaks |= is_rough[1:] | is_rough[:-1]
        return breaks

    @staticmethod
    def _draw(out: Float64Array, segment: Segment, grid: Grid, row: int) -> None:
        """Fill rows that lie in one segment or after it."""
        until = int(grid.rows_from(np.array([segment.start + segment.n]))[0]) - row
        n_moving = min(max(until, 0), len(out)) if segment.n else 0
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
