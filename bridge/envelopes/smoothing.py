"""Smoothing by one pole, as synthesisers do it, yet without a memory that depends on the blocks.

Conventions: the time constant is the time to go 63% of the way, in samples; before sample 0 a source is taken
to have rested at its first value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bridge.arrays import BoolArray, Float64Array, Int64Array
from bridge.envelopes.curve import Curve
from bridge.envelopes.grid import Grid, SampleSet, fill_pieces

__all__ = ["SmoothStairs", "Smoothed"]

_SETTLED = 20.0  # time constants after which a step is complete to 2e-9
_MAX_LATTICE = 64
_RUNS_AT_ONCE = 1024  # cells run sample by sample together, which keeps them in the caches
_NEGLIGIBLE = 1e-12
_MAX_CUBIC_SPAN = 1.0 / 16.0  # part of a time constant a cubic can span: 4e-7 of a step off


@dataclass(frozen=True, kw_only=True, eq=False)
class SmoothStairs:
    """A staircase through one pole, in closed form: exact at any instant.

    Args:
        starts: (k,) rising sample positions of the steps.
        values: (k,) where each step goes.
        before: Value ahead of the first step.
        tau_samples: Time constant; 0 leaves the staircase as it is.
    """

    starts: Int64Array
    values: Float64Array
    before: float
    tau_samples: float
    _distances: Float64Array = field(init=False)
    _starts_at: Float64Array = field(init=False)

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
        object.__setattr__(self, "_starts_at", self.starts.astype(np.float64))

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        stairs = fill_pieces(grid, self.starts, self.values, self.before)
        if self.tau_samples <= 0:
            return stairs
        distance = fill_pieces(grid, self.starts, self._distances, 0.0)
        if not np.any(distance):
            return stairs
        since = grid.samples - fill_pieces(grid, self.starts, self._starts_at, 0.0)
        since *= -1.0 / self.tau_samples
        np.exp(since, out=since)
        since *= distance
        stairs += since
        return stairs

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants a step comes, or all where the pole is quick."""
        if 0 < self.tau_samples * _MAX_CUBIC_SPAN < points.step:
            return np.ones(points.n - 1, np.bool_)
        return points.cells_of(self.starts)


class _PoleFrame(NamedTuple):
    """Lattice points of a source and of what the pole makes of it.

    Attributes:
        source: (n + 1,) the source at each point, and at the one after the last.
        smooth: (n,) the pole at each point.
        breaks: (n,) whether the source is not smooth up to the next point.
    """

    source: Float64Array
    smooth: Float64Array
    breaks: BoolArray


@dataclass(kw_only=True, eq=False)
class Smoothed:
    """Any source through one pole.

    The pole runs over a lattice fixed from sample 0, in frames that each start far enough back to have
    forgotten what was before; so the value at a sample does not depend on which samples are asked for. From
    one point to the next the source is taken as a straight line, for which the pole has a closed form; where
    it jumps, has a kink or is quick, the pole goes sample by sample.

    Args:
        source: What to smooth.
        tau_samples: Time constant, above 0.
    """

    source: Curve
    tau_samples: float
    _frames: dict[int, _PoleFrame] = field(default_factory=dict)

    @property
    def _lattice(self) -> int:
        """Samples between lattice points: a sixteenth of the time constant, as a power of two up to 64."""
        return int(min(2 ** max(math.floor(math.log2(max(self.tau_samples / 16, 1))), 0), _MAX_LATTICE))

    def at(self, grid: Grid) -> Float64Array:
        """Return the smoothed value at each instant."""
        lattice = self._lattice
        first = grid.start // lattice
        frame = self._points(first, grid.last // lattice, grid)
        if grid.step and not grid.step % lattice and not grid.start % lattice:
            return frame.smooth[:: grid.step // lattice][: grid.n].copy()
        cell = (grid.samples * (1.0 / lattice)).astype(np.int64) - first
        offset = grid.samples - (cell + first) * lattice
        here, slope = frame.source[cell], (np.diff(frame.source) / lattice)[cell]
        smooth = frame.smooth[cell]
        # The way to where a straight source leads, less what is left of the distance from it.
        values = np.expm1(offset * (-1.0 / self.tau_samples))
        values *= smooth - here + self.tau_samples * slope
        values += smooth + slope * offset
        rough = np.flatnonzero(frame.breaks[cell] & (offset > 0))
        if len(rough):
            values[rough] = self._sample_by_sample(frame, first, cell[rough], offset[rough], grid)
        return values

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants the source breaks, or all where the pole is quick."""
        if self.tau_samples * _MAX_CUBIC_SPAN < points.step:
            return np.ones(points.n - 1, np.bool_)
        return self.source.breaks(points)

    def _sample_by_sample(
        self, frame: _PoleFrame, first: int, cell: Int64Array, offset: Float64Array, grid: Grid
    ) -> Float64Array:
        """Return the pole within cells in which the source is not smooth."""
        cells, row = np.unique(cell, return_inverse=True)
        run = self._runs((cells + first) * self._lattice, frame.smooth[cells], grid)
        values: Float64Array = run[row, offset.astype(np.intp) - 1]
        return values

    def _runs(self, starts: Int64Array, before: Float64Array, grid: Grid) -> Float64Array:
        """Run the pole over every sample after some lattice points, up to the next: (k, lattice)."""
        from scipy.signal import lfilter

        samples = starts[:, None] + np.arange(1, self._lattice + 1)
        heard = self.source.at(SampleSet(samples.reshape(-1), grid.sample_rate, grid.tempo_map))
        keep = math.exp(-1.0 / self.tau_samples)
        # Counted from where it begins: what is level stays level to the last bit.
        moved = lfilter([1.0 - keep], [1.0, -keep], heard.reshape(samples.shape) - before[:, None], axis=1)
        smooth: Float64Array = before[:, None] + moved
        return smooth

    def _points(self, first: int, last: int, grid: Grid) -> _PoleFrame:
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
        stop = start + last - first + 1
        source = np.concatenate([*(frame.source[:-1] for frame in frames), frames[-1].source[-1:]])
        return _PoleFrame(
            source=source[start : stop + 1],
            smooth=np.concatenate([frame.smooth for frame in frames])[start:stop],
            breaks=np.concatenate([frame.breaks for frame in frames])[start:stop],
        )

    def _frame(self, index: int, n_frame: int, n_warm: int, grid: Grid) -> _PoleFrame:
        from scipy.signal import lfilter

        lattice, begin = self._lattice, index * n_frame
        warm = max(begin - n_warm, 0)
        points = Grid(
            warm * lattice, begin + n_frame - warm + 1, grid.sample_rate, grid.tempo_map, step=lattice
        )
        source, breaks = self.source.at(points), self.source.breaks(points)
        keep = math.exp(-lattice / self.tau_samples)
        # How far behind the source a straight line from one point to the next leaves the pole.
        behind = np.diff(source) * ((keep - 1.0) * self.tau_samples / lattice)
        rough = np.flatnonzero(breaks)
        for part in np.array_split(rough, -(-len(rough) // _RUNS_AT_ONCE)) if len(rough) else ():
            behind[part] = self._runs((part + warm) * lattice, source[part], grid)[:, -1] - source[part + 1]
        smooth = source[:-1].copy()
        smooth[1:] += lfilter([1.0], [1.0, -keep], behind[:-1])
        return _PoleFrame(source[begin - warm :], smooth[begin - warm :], breaks[begin - warm :])
