"""Sources that are drawn: envelopes and breakpoint contours as a row of segments.

Conventions: a segment goes from one value to another over whole samples and may be bent, stepped or pulsed
on the way; segments follow each other in time, and the last value of one holds until the next begins.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from bridge.arrays import BoolArray, Float64Array, Int64Array
from bridge.envelopes.grid import Grid
from bridge.envelopes.waveforms import BEND_STRENGTH, bend, bend_one, smooth_step

__all__ = ["Contour", "Segment", "SegmentList", "curve_between"]

_CURVES = ("hold", "linear", "curve", "s_curve", "stairs", "pulse")
_CURVE_NUMBERS = {name: number for number, name in enumerate(_CURVES)}

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


class SegmentList(Sequence[Segment]):
    """Segments in columns, which take a tenth of the memory: a file of notes may make millions."""

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self._start, self._n, self._steps = array("q"), array("q"), array("q")
        self._low, self._high, self._tension = array("d"), array("d"), array("d")
        self._curve = bytearray()
        for segment in segments:
            self.append(segment)

    def __len__(self) -> int:
        return len(self._start)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> SegmentList: ...
    def __getitem__(self, index: int | slice) -> Segment | SegmentList:
        if isinstance(index, slice):
            return SegmentList(self[row] for row in range(*index.indices(len(self))))
        return Segment(
            self._start[index],
            self._n[index],
            self._low[index],
            self._high[index],
            _CURVES[self._curve[index]],
            self._tension[index],
            self._steps[index],
        )

    def append(self, segment: Segment) -> None:
        """Add a segment that begins where the last one does, or later."""
        start, n, low, high, curve, tension, steps = segment
        self._start.append(start)
        self._n.append(n)
        self._low.append(low)
        self._high.append(high)
        self._curve.append(_CURVE_NUMBERS[curve])
        self._tension.append(tension)
        self._steps.append(steps)

    def extend(self, segments: Iterable[Segment]) -> None:
        """Add segments in order."""
        for segment in segments:
            self.append(segment)

    def cut(self, sample: int) -> float:
        """Drop what begins at or after a sample; return the level reached there."""
        n_all = n_kept = len(self._start)
        while n_kept and self._start[n_kept - 1] >= sample:
            n_kept -= 1
        columns = (self._start, self._n, self._low, self._high, self._curve, self._tension, self._steps)
        for column in columns if n_kept < n_all else ():
            del column[n_kept:]
        return segment_value(self[-1], sample) if n_kept else 0.0

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return a copy of the columns by the names of a segment's attributes."""
        return {
            "start": np.array(self._start, np.int64),
            "n": np.array(self._n, np.int64),
            "low": np.array(self._low, np.float64),
            "high": np.array(self._high, np.float64),
            "curve": np.array(self._curve, np.uint8),
            "tension": np.array(self._tension, np.float64),
        }


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
    def of(cls, segments: SegmentList) -> _Columns:
        """Turn segments into columns; those that hold keep their value from start to end."""
        columns = segments.columns()
        curve, low, n = columns["curve"], columns["low"], columns["n"].astype(np.float64)
        is_hold, is_curve = curve == _CURVES.index("hold"), curve == _CURVES.index("curve")
        strength = np.where(is_curve, columns["tension"] * BEND_STRENGTH, 0.0)
        strength[np.abs(strength) < 1e-6] = 0.0
        strengths, which = np.unique(strength, return_inverse=True)
        scales = np.array([1.0 / math.expm1(one) if one else 0.0 for one in strengths.tolist()])
        is_linear = curve == _CURVES.index("linear")
        is_stepped = (curve == _CURVES.index("stairs")) | (curve == _CURVES.index("pulse"))
        return cls(
            start=columns["start"],
            n=n,
            per_sample=1.0 / np.maximum(n, 1.0),
            low=low,
            high=np.where(is_hold, low, columns["high"]),
            strength=strength,
            scale=scales[which] if len(scales) else strength,
            is_bent=is_linear | is_curve | is_hold | (low == columns["high"]),
            is_rough=is_stepped | (is_curve & (n < _SHORTEST_CUBIC_SAMPLES)),
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
        kept = self.segments if isinstance(self.segments, SegmentList) else SegmentList(self.segments)
        object.__setattr__(self, "segments", kept)
        object.__setattr__(self, "_columns", _Columns.of(kept))

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
    position = (sample - segment.start) / segment.n
    if segment.curve == "linear":
        moved = position
    elif segment.curve == "curve":
        moved = bend_one(position, segment.tension)
    else:
        moved = float(curve_between(np.array([position]), segment.curve, 0.0, segment.steps)[0])
    return segment.low + (segment.high - segment.low) * moved
