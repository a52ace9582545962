"""Sources that repeat: oscillators and step sequencers.

Conventions: a cycle count says how far a source has come, whole numbers at the starts of cycles; where it
comes from (the song's position, the stem's start or a trigger) is settled when the source is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bridge.arrays import BoolArray, Float64Array, Int64Array
from bridge.envelopes.cycle_phase import CyclePhase
from bridge.envelopes.grid import Grid, crossings, fill_pieces
from bridge.envelopes.waveforms import hash_unit, sine, smooth_step, triangle, wave_noise

__all__ = ["Counter", "LfoSource", "StepSource"]

_NO_GLIDE = 1e-6  # part of a step that is over before any sample
_FEW_ROWS = 512  # runs longer than this are filled one by one
_TRIGGER_STRIDE = 1 << 32  # cycles between the chance of one trigger and that of the next
_MAX_CUBIC_SPAN = 1.0 / 64.0  # part of a cycle a cubic can span: 2e-6 off in a sine
_CORNERS = {"sine": (), "triangle": (0.25, 0.75), "square": (0.0, 0.5)}  # of the others: where a cycle starts


@dataclass(frozen=True, kw_only=True, eq=False)
class Counter:
    """Count cycles from the song's position, the stem's start, or each trigger.

    Args:
        pulse: The clock.
        origin: Cycles already passed where counting starts, in free and synced modes.
        starts: (k,) samples at which triggers restart the count; None where nothing does.
        start_cycles: (k,) what the clock shows at each of them, delay included.
        is_one_shot: Whether the count stops at `n_once`.
        n_once: Cycles of one shot.
    """

    pulse: CyclePhase
    origin: float = 0.0
    starts: Int64Array | None = None
    start_cycles: Float64Array | None = None
    is_one_shot: bool = False
    n_once: int = 1

    @property
    def is_rising(self) -> bool:
        """Whether the count never goes back."""
        return self.starts is None

    def count(self, grid: Grid) -> Float64Array:
        """Return cycles passed at each instant; none before the first trigger."""
        cycles = self.pulse.on(grid)
        if self.starts is None or self.start_cycles is None:
            return cycles - self.origin if self.origin else cycles
        cycles = cycles - fill_pieces(grid, self.starts, self.start_cycles, np.inf)
        cycles = np.maximum(cycles, 0.0)
        return np.minimum(cycles, self.n_once) if self.is_one_shot else cycles

    def breaks(self, points: Grid, corners: Sequence[float], phase: float = 0.0) -> BoolArray:
        """Return between which instants the count restarts, stops, is quick or passes corners of a cycle."""
        cycles = self.count(points) + phase
        breaks = crossings(cycles, corners)
        breaks |= np.abs(np.diff(cycles)) > _MAX_CUBIC_SPAN
        breaks |= self.pulse.breaks(points)
        if self.starts is not None:
            breaks |= points.cells_of(self.starts)
        if self.is_one_shot:
            is_over = cycles >= self.n_once + phase
            breaks |= is_over[1:] != is_over[:-1]
        return breaks

    def turn(self, grid: Grid) -> Float64Array | float:
        """Return a number that tells triggers apart, for chance that differs from one to the next."""
        if self.starts is None:
            return 0.0
        return fill_pieces(grid, self.starts, self._turns, 0.0)

    @cached_property
    def _turns(self) -> Float64Array:
        return np.arange(1.0, (0 if self.starts is None else len(self.starts)) + 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fade:
    """Come in after a delay, over a fade, from each start on.

    Args:
        starts: (k,) samples.
        delay_samples: (k,) how long nothing comes.
        fade_samples: (k,) how long it then takes to come in.
    """

    starts: Int64Array
    delay_samples: Float64Array
    fade_samples: Float64Array

    @cached_property
    def is_trivial(self) -> bool:
        """Whether there is neither delay nor fade."""
        return not np.any(self.delay_samples) and not np.any(self.fade_samples)

    def at(self, grid: Grid) -> Float64Array:
        """Return 0..1: how far it has come in."""
        if self.is_trivial:
            return (
                (grid.samples >= self.starts[0]).astype(np.float64) if len(self.starts) else np.zeros(grid.n)
            )
        since = grid.samples - fill_pieces(grid, self.starts, self._begun, np.inf)
        fade = fill_pieces(grid, self.starts, self._lengths, 1.0)
        return np.where(since >= 0, np.minimum(since / fade, 1.0), 0.0)

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants it begins or ends."""
        breaks = points.cells_of(self.starts)
        for corners in self._corners:
            breaks |= points.cells_of(corners)
        return breaks

    @cached_property
    def _begun(self) -> Float64Array:
        return self.starts + self.delay_samples

    @cached_property
    def _lengths(self) -> Float64Array:
        return np.maximum(self.fade_samples, 1e-9)

    @cached_property
    def _corners(self) -> tuple[Float64Array, Float64Array]:
        """When it comes in and when it has come in, rising."""
        return np.sort(self._begun), np.sort(self._begun + self.fade_samples)


@dataclass(frozen=True, kw_only=True, eq=False)
class LfoSource:
    """A low-frequency oscillator.

    Args:
        shape: Name of the wave.
        counter: Where in its cycle it is.
        phase: Where in the wave a cycle starts, 0..1.
        width: Part of the cycle a pulse is up.
        seed: Of the random shapes.
        fade: Delay and fade, or None.
        is_bipolar: Whether it swings -1..1 instead of 0..1.
    """

    shape: str
    counter: Counter
    phase: float
    width: float
    seed: int
    fade: Fade | None
    is_bipolar: bool

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        values = self._wave(self.counter.count(grid), grid)
        if self.is_bipolar:
            values *= 2.0
            values -= 1.0
        return values if self.fade is None else values * self.fade.at(grid)

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants it is not smooth."""
        corners = (0.0, self.width) if self.shape == "pulse" else _CORNERS.get(self.shape, (0.0,))
        breaks = self.counter.breaks(points, corners, self.phase)
        return breaks if self.fade is None else breaks | self.fade.breaks(points)

    def _wave(self, cycles: Float64Array, grid: Grid) -> Float64Array:
        if self.phase:
            cycles = cycles + self.phase
        if self.counter.is_one_shot:
            # The end of the one cycle is its last value, not the first of a next one.
            cycles = np.minimum(cycles, np.nextafter(self.counter.n_once + self.phase, 0.0))
        if self.shape == "sine":
            return sine(cycles)
        if self.shape == "triangle":
            return triangle(cycles)
        if self.shape == "saw_up" or self.shape == "saw_down":
            part = np.floor(cycles)
            np.subtract(cycles, part, out=part)
            return part if self.shape == "saw_up" else np.subtract(1.0, part, out=part)
        runs = Runs(cycles, self.counter, grid)
        if self.shape in ("square", "pulse"):
            part = cycles - runs.whole
            return (part < (0.5 if self.shape == "square" else self.width)).astype(np.float64)
        here = hash_unit(self.seed, runs.key)
        if self.shape == "sample_hold":
            return runs.spread(here)
        following = hash_unit(self.seed, runs.key + 1)
        part = cycles - runs.whole
        if self.shape == "perlin":
            return wave_noise(runs.spread(here * 2.0 - 1.0), runs.spread(following * 2.0 - 1.0), part)
        part = smooth_step(part)
        part *= runs.spread(following - here)
        part += runs.spread(here)
        return part


class Runs:
    """Rows that share a cycle, so that what depends on the cycle alone is worked out once for each.

    Args:
        cycles: (n,) cycles passed at each row.
        counter: Where they come from.
        grid: Where the rows are.

    Attributes:
        key: (k,) a whole number for each run: its cycle, and which trigger it counts from.
    """

    def __init__(self, cycles: Float64Array, counter: Counter, grid: Grid) -> None:
        if counter.is_rising:
            # Rising counts pass each whole number once: to look them up costs next to nothing.
            first, last = int(np.floor(cycles[0])), int(np.floor(cycles[-1]))
            self.key: Int64Array = np.arange(first, last + 1)
            self._edges = [0, *np.searchsorted(cycles, self.key[1:]).tolist(), len(cycles)]
            self._cycle = self.key.astype(np.float64)
            return
        whole = np.floor(cycles)
        turned = whole + counter.turn(grid) * _TRIGGER_STRIDE
        starts = np.flatnonzero(turned[1:] != turned[:-1]) + 1
        self._edges = [0, *starts.tolist(), len(whole)]
        self._cycle = whole[self._edges[:-1]]
        self.key = turned[self._edges[:-1]].astype(np.int64)

    @cached_property
    def whole(self) -> Float64Array | float:
        """The cycle of each row."""
        return self.spread(self._cycle) if len(self._cycle) > 1 else float(self._cycle[0])

    def spread(self, values: Float64Array) -> Float64Array:
        """Return one value a row out of one value a run."""
        if len(values) * _FEW_ROWS > self._edges[-1]:
            return np.repeat(values, np.diff(self._edges))
        filled = np.empty(self._edges[-1])
        for low, high, value in zip(self._edges, self._edges[1:], values.tolist(), strict=False):
            filled[low:high] = value
        return filled


@dataclass(frozen=True, kw_only=True, eq=False)
class StepSource:
    """A step sequencer.

    Args:
        values: (k,) the steps, 0..1.
        counter: How many steps have passed.
        direction: ``forward``, ``backward``, ``ping_pong`` or ``random``.
        gate: Part of a step that sounds; the rest is 0.
        glide: Part of a step spent sliding from the one before.
        seed: Of the random direction.
        fade: What is 1 once the first trigger has come, or None.
    """

    values: Float64Array
    counter: Counter
    direction: str
    gate: float
    glide: float
    seed: int
    fade: Fade | None

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        cycles = self.counter.count(grid)
        if self.counter.is_one_shot:
            cycles = np.minimum(cycles, np.nextafter(float(self.counter.n_once), 0.0))
        runs = Runs(cycles, self.counter, grid)
        here = self.values[self._index(runs.key)]
        values = runs.spread(here)
        if self.glide > _NO_GLIDE or self.gate < 1.0:
            part = cycles - runs.whole
            if self.glide > _NO_GLIDE:
                previous = self.values[self._index(runs.key, back=1)]
                slid = np.minimum(part * (1.0 / self.glide), 1.0)
                slid *= runs.spread(here - previous)
                slid += runs.spread(previous)
                values = slid
            if self.gate < 1.0:
                values *= part < self.gate
        return values if self.fade is None else values * self.fade.at(grid)

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants it is not smooth."""
        breaks = self.counter.breaks(points, (0.0, min(self.glide, 1.0), self.gate))
        return breaks if self.fade is None else breaks | self.fade.breaks(points)

    def _index(self, key: Int64Array, back: int = 0) -> Int64Array:
        """Return which step each run is at, or was so many steps before."""
        n = len(self.values)
        if self.direction == "random":
            return np.minimum((hash_unit(self.seed, key - back) * n).astype(np.int64), n - 1)
        index = (key % _TRIGGER_STRIDE if self.counter.starts is not None else key) - back
        if self.direction == "backward":
            return (n - 1 - index) % n
        if self.direction == "ping_pong" and n > 1:
            folded = index % (2 * n - 2)
            return np.minimum(folded, 2 * n - 2 - folded)
        return index % n
