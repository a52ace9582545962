"""A musical clock that counts cycles, swung where asked."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bridge.arrays import BoolArray, Float64Array
from bridge.clock.durations import Duration
from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.grid import Grid, crossings

__all__ = ["CyclePhase"]


@dataclass(frozen=True, kw_only=True)
class CyclePhase:
    """A musical clock that counts cycles of one length, swung where asked.

    Args:
        cycle: Length of a cycle.
        tempo_map: The clock beneath.
        swing: Part of each pair of `swing_grid` steps that the first one takes; 0.5 is straight.
        swing_grid: Length of a swung step, in quarter notes; None where nothing swings.
    """

    cycle: Duration
    tempo_map: TempoMap
    swing: float = 0.5
    swing_grid: Fraction | None = None

    @cached_property
    def _per_unit(self) -> float:
        return float(1 / self.cycle.amount)

    def on(self, grid: Grid) -> Float64Array:
        """Return how many cycles have passed since the song's start, at each instant."""
        if self.cycle.unit == "seconds":
            return (grid.seconds - self.tempo_map.offset_s) * self._per_unit
        return self._of_beats(grid.beats)

    def at(self, seconds: npt.ArrayLike) -> Float64Array:
        """Return how many cycles have passed since the song's start, at any times of the stems."""
        if self.cycle.unit == "seconds":
            return (np.asarray(seconds, np.float64) - self.tempo_map.offset_s) * self._per_unit
        return self._of_beats(self.tempo_map.seconds_to_beats(seconds))

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants a swung step begins; where tempos do is the grid's to know."""
        if self.swing_grid is None or self.cycle.unit == "seconds":
            return np.zeros(points.n - 1, np.bool_)
        pairs = points.beats / float(2 * self.swing_grid)
        return crossings(pairs, (0.0, self.swing))

    def starts(self, first_s: float, last_s: float, limit: int) -> Float64Array:
        """Return when cycles start, from the one under way at a time up to another time, at most `limit`."""
        first, last = float(self.at(first_s)), float(self.at(last_s))
        cycles = np.arange(np.floor(first + 1e-9), min(last + 1e-9, first + limit))
        amount = cycles * float(self.cycle.amount)
        if self.cycle.unit == "seconds":
            return amount + self.tempo_map.offset_s
        beats = amount if self.cycle.unit == "beats" else self.tempo_map.bars_to_beats(amount)
        return self.tempo_map.beats_to_seconds(self._swing_back(beats))

    def _of_beats(self, beats: Float64Array) -> Float64Array:
        if self.swing_grid is not None:
            beats = self._swing(beats)
        if self.cycle.unit == "bars":
            beats = self.tempo_map.beats_to_bars(beats)
        return beats * self._per_unit

    def _swing(self, beats: Float64Array) -> Float64Array:
        """Give the first step of each pair `swing` of the pair's time."""
        assert self.swing_grid is not None
        pairs = beats / float(2 * self.swing_grid)
        whole = np.floor(pairs)
        part, swing = pairs - whole, self.swing
        swung = np.where(part < swing, part / (2 * swing), 0.5 + (part - swing) / (2 * (1 - swing)))
        return (whole + swung) * float(2 * self.swing_grid)

    def _swing_back(self, beats: Float64Array) -> Float64Array:
        if self.swing_grid is None:
            return beats
        pairs = beats / float(2 * self.swing_grid)
        whole = np.floor(pairs)
        part, swing = pairs - whole, self.swing
        straight = np.where(part < 0.5, part * 2 * swing, swing + (part - 0.5) * 2 * (1 - swing))
        return (whole + straight) * float(2 * self.swing_grid)
