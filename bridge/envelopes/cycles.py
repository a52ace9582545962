"""Sources that repeat: oscillators and step sequencers.

Conventions: a cycle count says how far a source has come, whole numbers at the starts of cycles; where it
comes from (the song's position, the stem's start or a trigger) is settled when the source is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bridge.envelopes.grid import Floats, Grid, Integers, Pulse, fill_pieces
from bridge.envelopes.shapes import hash_unit, sine, smooth_step, triangle, wave_noise

__all__ = ["Counter", "LfoSource", "StepSource"]

_TRIGGER_STRIDE = 1 << 32  # cycles between the chance of one trigger and that of the next


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

    pulse: Pulse
    origin: float = 0.0
    starts: Integers | None = None
    start_cycles: Floats | None = None
    is_one_shot: bool = False
    n_once: int = 1

    def count(self, grid: Grid) -> Floats:
        """Return cycles passed at each instant; none before the first trigger."""
        cycles = self.pulse.on(grid)
        if self.starts is None or self.start_cycles is None:
            return cycles - self.origin if self.origin else cycles
        cycles = cycles - fill_pieces(grid, self.starts, self.start_cycles, np.inf)
        cycles = np.maximum(cycles, 0.0)
        return np.minimum(cycles, self.n_once) if self.is_one_shot else cycles

    def turn(self, grid: Grid) -> Floats | float:
        """Return a number that tells triggers apart, for chance that differs from one to the next."""
        if self.starts is None:
            return 0.0
        return fill_pieces(grid, self.starts, np.arange(1.0, len(self.starts) + 1), 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fade:
    """Come in after a delay, over a fade, from each start on.

    Args:
        starts: (k,) samples.
        delay_samples: (k,) how long nothing comes.
        fade_samples: (k,) how long it then takes to come in.
    """

    starts: Integers
    delay_samples: Floats
    fade_samples: Floats

    @cached_property
    def is_trivial(self) -> bool:
        """Whether there is neither delay nor fade."""
        return not np.any(self.delay_samples) and not np.any(self.fade_samples)

    def at(self, grid: Grid) -> Floats:
        """Return 0..1: how far it has come in."""
        if self.is_trivial:
            return fill_pieces(grid, self.starts, np.ones(len(self.starts)), 0.0)
        opened = fill_pieces(grid, self.starts, self.starts + self.delay_samples, np.inf)
        since = grid.samples - opened
        fade = fill_pieces(grid, self.starts, np.maximum(self.fade_samples, 1e-9), 1.0)
        return np.where(since >= 0, np.minimum(since / fade, 1.0), 0.0)


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

    def at(self, grid: Grid) -> Floats:
        """Return the value at each instant."""
        cycles = self.counter.count(grid)
        values = self._wave(cycles, grid)
        if self.is_bipolar:
            values = values * 2.0 - 1.0
        return values if self.fade is None else values * self.fade.at(grid)

    def _wave(self, cycles: Floats, grid: Grid) -> Floats:
        cycles = cycles + self.phase
        if self.counter.is_one_shot:
            # The end of the one cycle is its last value, not the first of a next one.
            cycles = np.minimum(cycles, np.nextafter(self.counter.n_once + self.phase, 0.0))
        if self.shape == "sine":
            return sine(cycles)
        if self.shape == "triangle":
            return triangle(cycles)
        if self.shape in ("sample_hold", "random_smooth", "perlin"):
            return self._chance(cycles, grid)
        part = cycles - np.floor(cycles)
        if self.shape == "saw_up":
            return part
        if self.shape == "saw_down":
            return 1.0 - part
        return (part < (0.5 if self.shape == "square" else self.width)).astype(np.float64)

    def _chance(self, cycles: Floats, grid: Grid) -> Floats:
        whole = np.floor(cycles)
        index = (whole + self.counter.turn(grid) * _TRIGGER_STRIDE).astype(np.int64)
        if self.shape == "perlin":
            return wave_noise(self.seed, index, cycles - whole)
        here = _look_up(self.seed, index)
        if self.shape == "sample_hold":
            return here
        return here + (_look_up(self.seed, index + 1) - here) * smooth_step(cycles - whole)


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
        is_sounding: What is 1 once the first trigger has come, or None.
    """

    values: Floats
    counter: Counter
    direction: str
    gate: float
    glide: float
    seed: int
    fade: Fade | None

    def at(self, grid: Grid) -> Floats:
        """Return the value at each instant."""
        cycles = self.counter.count(grid)
        if self.counter.is_one_shot:
            cycles = np.minimum(cycles, np.nextafter(float(self.counter.n_once), 0.0))
        whole = np.floor(cycles)
        turn = self.counter.turn(grid) * _TRIGGER_STRIDE
        values = self.values[self._index(whole, turn)]
        part = cycles - whole
        if self.glide > 0:
            previous = self.values[self._index(whole - 1, turn)]
            values = previous + (values - previous) * np.minimum(part / self.glide, 1.0)
        if self.gate < 1.0:
            values = np.where(part < self.gate, values, 0.0)
        return values if self.fade is None else values * self.fade.at(grid)

    def _index(self, step: Floats, turn: Floats | float) -> Integers:
        n = len(self.values)
        if self.direction == "random":
            chance = _look_up(self.seed, (step + turn).astype(np.int64))
            return np.minimum((chance * n).astype(np.int64), n - 1)
        index = step.astype(np.int64)
        if self.direction == "backward":
            return (n - 1 - index) % n
        if self.direction == "ping_pong" and n > 1:
            folded = index % (2 * n - 2)
            return np.minimum(folded, 2 * n - 2 - folded)
        return index % n


def _look_up(seed: int, index: Integers) -> Floats:
    """Hash each whole number once, however many instants share it."""
    changes = np.flatnonzero(np.diff(index)) + 1
    edges = np.concatenate(([0], changes, [len(index)]))
    return np.repeat(hash_unit(seed, index[edges[:-1]]), np.diff(edges))
