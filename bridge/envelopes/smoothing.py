"""Smoothing by one pole, as synthesisers do it, yet without a memory that depends on the blocks.

Conventions: the time constant is the time to go 63% of the way, in samples; before sample 0 a source is taken
to have rested at its first value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from bridge.envelopes.grid import Bools, Curve, Floats, Grid, Integers, fill_pieces

__all__ = ["SmoothStairs", "Smoothed"]

_SETTLED = 20.0  # time constants after which a step is complete to 2e-9
_MAX_LATTICE = 64
_NEGLIGIBLE = 1e-12
_QUICK = 1.0 / 16.0  # part of a time constant a cubic can span: 4e-7 of a step off


@dataclass(frozen=True, kw_only=True, eq=False)
class SmoothStairs:
    """A staircase through one pole, in closed form: exact at any instant.

    Args:
        starts: (k,) rising sample positions of the steps.
        values: (k,) where each step goes.
        before: Value ahead of the first step.
        tau_samples: Time constant; 0 leaves the staircase as it is.
    """

    starts: Integers
    values: Floats
    before: float
    tau_samples: float
    _distances: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Work out how far from its goal each step begins."""
        distances = np.zeros(len(self.starts))
        if self.tau_samples > 0 and len(self.starts):
            decays = np.exp(-np.diff(self.starts, prepend=self.starts[0]) / self.tau_samples)
            goal, distance, found = self.before, 0.0, []
            for value, decay in zip(self.values.tolist(), decays.tolist(), strict=True):
                distance = goal + distance * decay - value
                goal = value
                found.append(distance)
            distances = np.array(found)
            distances[np.abs(distances) < _NEGLIGIBLE] = 0.0
        object.__setattr__(self, "_distances", distances)

    def at(self, grid: Grid) -> Floats:
        """Return the value at each instant."""
        stairs = fill_pieces(grid, self.starts, self.values, self.before)
        if self.tau_samples <= 0:
            return stairs
        distance = fill_pieces(grid, self.starts, self._distances, 0.0)
        if not np.any(distance):
            return stairs
        since = grid.samples - fill_pieces(grid, self.starts, self.starts.astype(np.float64), 0.0)
        since *= -1.0 / self.tau_samples
        np.exp(since, out=since)
        since *= distance
        stairs += since
        return stairs

    def turns(self, points: Grid) -> Bools:
        """Return between which instants a step comes, or all where the pole is quick."""
        if 0 < self.tau_samples * _QUICK < points.step:
            return np.ones(points.n - 1, np.bool_)
        return points.cells_of(self.starts)


@dataclass(kw_only=True, eq=False)
class Smoothed:
    """Any source through one pole.

    The pole runs over a lattice fixed from sample 0, in frames that each start far enough back to have
    forgotten what was before; so the value at a sample does not depend on which samples are asked for.

    Args:
        source: What to smooth.
        tau_samples: Time constant, above 0.
    """

    source: Curve
    tau_samples: float
    _frames: dict[int, Floats] = field(default_factory=dict)

    @property
    def _lattice(self) -> int:
        """Samples between lattice points: a sixteenth of the time constant, as a power of two up to 64."""
        return int(min(2 ** max(math.floor(math.log2(max(self.tau_samples / 16, 1))), 0), _MAX_LATTICE))

    def at(self, grid: Grid) -> Floats:
        """Return the smoothed value at each instant, straight between lattice points."""
        lattice = self._lattice
        first, last = grid.start // lattice, grid.last // lattice + 1
        return _between(self._points(first, last, grid), lattice, first, grid)

    def turns(self, points: Grid) -> Bools:
        """Return between which instants the source turns, and where the lattice passes that on."""
        if self.tau_samples * _QUICK < points.step:
            return np.ones(points.n - 1, np.bool_)
        late = -(-self._lattice // points.step)
        before = min(late, points.start // points.step)
        around = Grid(
            points.start - before * points.step,
            points.n + before + late,
            points.sample_rate,
            points.tempo_map,
            step=points.step,
        )
        turns = self.source.turns(around)
        spread = np.convolve(turns, np.ones(2 * late + 1), "same") > 0
        return spread[before : before + points.n - 1]

    def _points(self, first: int, last: int, grid: Grid) -> Floats:
        """Return lattice points `first` to `last`, both included, out of whole frames."""
        n_warm = math.ceil(_SETTLED * self.tau_samples / self._lattice)
        n_frame = max(2 * n_warm, 4096)
        wanted = range(first // n_frame, last // n_frame + 1)
        frames = [
            self._frames[index] if index in self._frames else self._frame(index, n_frame, n_warm, grid)
            for index in wanted
        ]
        self._frames = dict(zip(wanted, frames, strict=True))  # the next block most likely goes on here
        start = first - wanted[0] * n_frame
        return np.concatenate(frames)[start : start + last - first + 1]

    def _frame(self, index: int, n_frame: int, n_warm: int, grid: Grid) -> Floats:
        from scipy.signal import lfilter

        lattice = self._lattice
        begin = index * n_frame
        warm = max(begin - n_warm, 0)
        values = self.source.at(
            Grid(warm * lattice, begin + n_frame - warm, grid.sample_rate, grid.tempo_map, step=lattice)
        )
        keep = math.exp(-lattice / self.tau_samples)
        smoothed, _ = lfilter([1.0 - keep], [1.0, -keep], values, zi=[keep * values[0]])
        result: Floats = smoothed[begin - warm :]
        return result


def _between(points: Floats, lattice: int, first: int, grid: Grid) -> Floats:
    """Return values on straight lines between lattice points, the first of which is number `first`."""
    if lattice == 1 and grid.step == 1:
        return points[: grid.n]
    if grid.step == 1:
        cells = np.diff(points)[:, None] * (np.arange(lattice) * (1.0 / lattice))
        cells += points[:-1, None]
        offset = grid.start - first * lattice
        return cells.reshape(-1)[offset : offset + grid.n]
    position = grid.samples * (1.0 / lattice)
    position -= first
    index = position.astype(np.intp)
    position -= index
    low = points[index]
    return low + position * (points[index + 1] - low)
