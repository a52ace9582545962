"""The instants at which envelopes are asked for their values.

Conventions: instants are sample positions, whole numbers from sample 0 of the stems; events (a note, a
controller, a marker) are placed on their nearest sample when an envelope is built, and compared as whole
numbers, so an edge appears at exactly its sample whatever the chunking.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from bridge.arrays import BoolArray, Float64Array, Int64Array
from bridge.clock.tempo_map import TempoMap

__all__ = ["Grid", "SampleSet", "crossings", "fill_pieces"]

_FEW_ROWS = 512  # pieces longer than this are filled one by one
_NEAR = 1e-9  # cycles; far more than rounding, far less than a sample


class Grid:
    """Equally spaced samples of a song, with their times in every unit, worked out once and on demand.

    Args:
        start: First sample.
        n: How many.
        step: Distance in samples; 1 is every sample.
        sample_rate: Hz.
        tempo_map: The clock.
    """

    def __init__(self, start: int, n: int, sample_rate: float, tempo_map: TempoMap, step: int = 1) -> None:
        self.start, self.n, self.step = start, n, step
        self.sample_rate, self.tempo_map = sample_rate, tempo_map
        self.cache: dict[str, Float64Array] = {}

    @property
    def last(self) -> int:
        """The last sample."""
        return self.start + (self.n - 1) * self.step

    @cached_property
    def samples(self) -> Float64Array:
        """(n,) sample positions, whole numbers as float64."""
        return np.arange(self.start, self.start + self.n * self.step, self.step, dtype=np.float64)

    @cached_property
    def seconds(self) -> Float64Array:
        """(n,) seconds of the stems."""
        return self.samples / self.sample_rate

    @cached_property
    def beats(self) -> Float64Array:
        """(n,) quarter notes from the song's start."""
        return self.tempo_map.rising_seconds_to_beats(self.seconds)

    @cached_property
    def scratch(self) -> Float64Array:
        """(n,) room for a passing result."""
        return np.empty(self.n)

    def rows_from(self, samples: Int64Array) -> Int64Array:
        """Return the first row at or after each sample, 0..n."""
        rows = -((self.start - samples) // self.step)
        return np.minimum(np.maximum(rows, 0), self.n)

    def cells_of(self, samples: Float64Array | Int64Array) -> BoolArray:
        """Return in which cells, from one instant to the next, any of some rising positions lies.

        A position close to an instant counts on both of its sides, for what rounding may have done to it.

        Shape:
            ``(k,)`` -> ``(n - 1,)``.
        """
        cells = np.zeros(self.n - 1, np.bool_)
        low, high = np.searchsorted(samples, (self.start - 2, self.last + 2))
        for nudge in (-1.0, 1.0):
            index = ((np.floor(samples[low:high]) + nudge - self.start) // self.step).astype(np.int64)
            cells[index[(index >= 0) & (index < self.n - 1)]] = True
        return cells

    @property
    def clock_breaks(self) -> BoolArray:
        """(n - 1,) cells in which a tempo or a meter begins, where all that follows the beat may break."""
        return self.cells_of(self.tempo_map.changes_s * self.sample_rate)


class SampleSet(Grid):
    """Any rising samples of a song, as a grid.

    Args:
        samples: (n,) positions.
        sample_rate: Hz.
        tempo_map: The clock.
    """

    def __init__(self, samples: Int64Array, sample_rate: float, tempo_map: TempoMap) -> None:
        super().__init__(int(samples[0]), len(samples), sample_rate, tempo_map, step=0)
        self._positions = samples

    @property
    def last(self) -> int:
        """The last sample."""
        return int(self._positions[-1])

    @cached_property
    def samples(self) -> Float64Array:
        """(n,) sample positions, whole numbers as float64."""
        return self._positions.astype(np.float64)

    def rows_from(self, samples: Int64Array) -> Int64Array:
        """Return the first row at or after each sample, 0..n."""
        return np.searchsorted(self._positions, samples)


def crossings(cycles: Float64Array, parts: Sequence[float]) -> BoolArray:
    """Return between which instants and their next a count of cycles passes any of some parts of a cycle.

    One that falls on an instant, or so near that rounding decides, counts on both sides of it.

    Args:
        cycles: (n,) the count.
        parts: Places in the cycle, 0..1.

    Shape:
        ``(n,)`` -> ``(n - 1,)``.
    """
    crossed = np.zeros(len(cycles) - 1, np.bool_)
    moves = cycles[1:] != cycles[:-1]
    low, high = np.minimum(cycles[1:], cycles[:-1]) - _NEAR, np.maximum(cycles[1:], cycles[:-1]) + _NEAR
    for part in parts:
        crossed |= moves & (np.floor(high - part) != np.floor(low - part))
    return crossed


def fill_pieces(grid: Grid, starts: Int64Array, values: Float64Array, before: float) -> Float64Array:
    """Return a staircase: from each start on its value, `before` ahead of the first.

    Args:
        grid: Where to evaluate.
        starts: (k,) rising or equal sample positions; of equal ones the last counts.
        values: (k,) one value a piece.
        before: Value ahead of the first start.
    """
    first = int(np.searchsorted(starts, grid.start, side="right"))
    last = int(np.searchsorted(starts, grid.last, side="right"))
    now = float(values[first - 1]) if first else before
    if first == last:
        return np.full(grid.n, now)
    if (last - first) * _FEW_ROWS > grid.n:
        counts = np.diff(grid.rows_from(starts[first:last]), prepend=0, append=grid.n)
        return np.repeat(np.concatenate(([now], values[first:last])), counts)
    edges = [0, *grid.rows_from(starts[first:last]).tolist(), grid.n]
    filled = np.empty(grid.n)
    for low, high, value in zip(edges, edges[1:], [now, *values[first:last].tolist()], strict=False):
        filled[low:high] = value
    return filled
