"""Values at every sample out of values at a few, where nothing jumps or has a kink between them.

What moves is smooth most of the time. It is worked out at every sixteenth sample and joined by cubics; only
the cells in which something jumps, has a kink or is quick, and their neighbours, are worked out sample by
sample.
Cells are counted from sample 0, so that any chunking gives the same numbers.

Source: Lagrange's cubic through four equally spaced points; it is at most 3/128 of the fourth derivative off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bridge.arrays import BoolArray, Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.grid import Grid, SampleSet

__all__ = ["CELL", "Lattice"]

CELL = 16
"""Samples between the points of the lattice."""


class Lattice(NamedTuple):
    """The points that a block of samples is joined from.

    Attributes:
        points: From one cell before the block to two after it.
        n_cells: Cells in the block.
        start: The block's first sample, where a cell begins.
    """

    points: Grid
    n_cells: int
    start: int

    @classmethod
    def of(cls, start: int, n_cells: int, sample_rate: float, tempo_map: TempoMap) -> Lattice:
        """Lay a lattice under a block."""
        before = min(start, CELL)
        n_points = before // CELL + n_cells + 2
        return cls(Grid(start - before, n_points, sample_rate, tempo_map, step=CELL), n_cells, start)

    @property
    def is_first(self) -> bool:
        """Whether the block begins with sample 0, before which there is nothing."""
        return self.start == 0

    @property
    def samples(self) -> Grid:
        """Every sample of the block."""
        return Grid(self.start, self.n_cells * CELL, self.points.sample_rate, self.points.tempo_map)

    def join(self, values: Float64Array) -> Float64Array:
        """Return cubics through values at the points, (n_cells x 16,)."""
        if self.is_first:
            values = np.concatenate((values[:1], values))
        before, here, after, beyond = (values[row : row + self.n_cells] for row in range(4))
        cubic = (beyond - before) / 6.0 + (here - after) / 2.0
        square = (before + after) / 2.0 - here
        line = (after - here) - (square + cubic)  # so written, what is level stays level to the last bit
        part = (np.arange(CELL) / CELL)[:, None]
        joined = cubic * part
        joined += square
        joined *= part
        joined += line
        joined *= part
        joined += here
        return joined.T.reshape(-1)

    def needs_samples(self, breaks: BoolArray) -> Grid | None:
        """Return the samples of cells that no cubic fits, given where sources break between the points."""
        if self.is_first:
            breaks = np.concatenate(([True], breaks))
        cells = np.flatnonzero(breaks[:-2] | breaks[1:-1] | breaks[2:])
        if not len(cells):
            return None
        samples = (self.start + cells * CELL)[:, None] + np.arange(CELL)
        return SampleSet(samples.reshape(-1), self.points.sample_rate, self.points.tempo_map)
