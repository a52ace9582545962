"""The arithmetic beneath the tempo map: tempo segments to seconds, meter segments to bars.

Conventions: a grid tick is ``1 / ticks_per_beat`` of a quarter note, from the song's start. Tempos are exact
fractions and segment starts exact integer sums, turned to float64 once; so hours bring no drift.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array
from bridge.clock.durations import TICKS_PER_BAR_BEAT
from bridge.errors import TempoError

__all__ = [
    "BarGrid",
    "BarPositions",
    "Meter",
    "RampLaw",
    "Tempo",
    "TempoGrid",
    "bpm_to_us",
    "check_meter",
]

RampLaw = Literal["hold", "beats", "time"]

MIN_BPM, MAX_BPM = 1.0, 1000.0
_US_PER_MINUTE = 60_000_000
_FINEST_SCALE = 1 << 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """A tempo from a tick on.

    Args:
        tick: Where it starts.
        us_per_beat: Microseconds a quarter note, exact.
        ramp: ``hold`` until the next tempo, or a line to it: straight over ``beats`` or over ``time``.
    """

    tick: int
    us_per_beat: Fraction
    ramp: RampLaw = "hold"

    @property
    def bpm(self) -> float:
        """Quarter notes a minute."""
        us = self.us_per_beat
        return _US_PER_MINUTE * us.denominator / us.numerator


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A meter from a tick on: `numerator` beats of one `denominator`-th each."""

    tick: int
    numerator: int
    denominator: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"


class BarPositions(NamedTuple):
    """``bar:beat:tick`` of many places: bar and beat count from the map's first bar and from 1."""

    bar: npt.NDArray[np.int64]
    beat: npt.NDArray[np.int64]
    tick: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TempoGrid:
    """Tempo segments as columns; each reaches to the next one's start, the outer ones for ever.

    Args:
        tick: Where each starts, in grid ticks.
        start_s: When each starts, in seconds.
        s_per_tick: Seconds a grid tick at its start.
        bpm: Quarter notes a minute at its start.
        ramp_rate: Change of bpm a beat, or a second where `is_time_ramp`; 0 holds.
        is_time_ramp: Whether the ramp is straight over time.
        ticks_per_beat: Grid ticks a quarter note.
    """

    tick: Float64Array
    start_s: Float64Array
    s_per_tick: Float64Array
    bpm: Float64Array
    ramp_rate: Float64Array
    is_time_ramp: npt.NDArray[np.bool_]
    ticks_per_beat: int

    @classmethod
    def build(cls, tempos: Sequence[Tempo], ticks_per_beat: int, offset_s: float) -> TempoGrid:
        """Sum the segments' times as whole numbers of 1 / (ticks_per_beat x scale) microseconds."""
        scale = _common_scale(tempos)
        per_second = 1_000_000 * scale * ticks_per_beat
        start, starts, rates = 0, [0.0], []
        bpms = [tempo.bpm for tempo in tempos]
        pairs = zip(itertools.pairwise(tempos), itertools.pairwise(bpms), strict=True)
        for (tempo, following), (bpm, following_bpm) in pairs:
            ticks = following.tick - tempo.tick
            if tempo.ramp == "hold" or following_bpm == bpm:
                length = tempo.us_per_beat
                start += ticks * length.numerator * scale // length.denominator
                rates.append(0.0)
            else:
                beats = ticks / ticks_per_beat
                duration_s = _ramp_seconds(bpm, following_bpm, beats, tempo.ramp)
                rates.append((following_bpm - bpm) / (beats if tempo.ramp == "beats" else duration_s))
                start += _round_product(duration_s, per_second)
            starts.append(start / per_second)
        us = np.array([tempo.us_per_beat.numerator / tempo.us_per_beat.denominator for tempo in tempos])
        return cls(
            tick=np.array([float(tempo.tick) for tempo in tempos]),
            start_s=np.array(starts) + offset_s,
            s_per_tick=us / (1e6 * ticks_per_beat),
            bpm=_US_PER_MINUTE / us,
            ramp_rate=np.array([*rates, 0.0]),
            is_time_ramp=np.array([tempo.ramp == "time" for tempo in tempos]),
            ticks_per_beat=ticks_per_beat,
        )

    def to_seconds(self, ticks: Float64Array) -> Float64Array:
        """Return the time of grid ticks."""
        index = segment_index(self.tick, ticks)
        into = ticks - self.tick[index]
        held: Float64Array = self.start_s[index] + into * self.s_per_tick[index]
        rate = self.ramp_rate[index]
        if not np.any(rate):
            return held
        beats, start = into / self.ticks_per_beat, self.bpm[index]
        safe_rate = np.where(rate == 0.0, 1.0, rate)
        is_time = self.is_time_ramp[index] | (rate == 0.0)
        over_beats = 60.0 / safe_rate * np.log1p(np.where(is_time, 0.0, rate * beats / start))
        over_time = 120.0 * beats / (start + np.sqrt(np.maximum(start**2 + 120.0 * rate * beats, 0.0)))
        return np.where(rate == 0.0, held, self.start_s[index] + np.where(is_time, over_time, over_beats))

    def to_ticks(self, seconds: Float64Array) -> Float64Array:
        """Return the grid tick at a time, not rounded."""
        index = segment_index(self.start_s, seconds)
        into = seconds - self.start_s[index]
        held: Float64Array = self.tick[index] + into / self.s_per_tick[index]
        rate = self.ramp_rate[index]
        if not np.any(rate):
            return held
        start, safe_rate = self.bpm[index], np.where(rate == 0.0, 1.0, rate)
        is_time = self.is_time_ramp[index] | (rate == 0.0)
        over_beats = start / safe_rate * np.expm1(np.where(is_time, 0.0, rate * into / 60.0))
        over_time = (start * into + 0.5 * rate * into**2) / 60.0
        beats = np.where(is_time, over_time, over_beats)
        return np.where(rate == 0.0, held, self.tick[index] + beats * self.ticks_per_beat)

    def bpm_at(self, ticks: Float64Array) -> Float64Array:
        """Return the tempo at a grid tick, ramps included."""
        index = segment_index(self.tick, ticks)
        beats = (ticks - self.tick[index]) / self.ticks_per_beat
        start, rate = self.bpm[index], self.ramp_rate[index]
        over_time = np.sqrt(np.maximum(start**2 + 120.0 * rate * beats, 0.0))
        return np.where(self.is_time_ramp[index], over_time, start + rate * beats)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarGrid:
    """Meter segments as columns; a bar is cut short where the meter changes within it.

    Args:
        beat: Where each starts, in quarter notes.
        n_bars: How many bars came before it.
        bar_beats: Quarter notes in one of its bars.
        unit_beats: Quarter notes in one of its beats.
    """

    beat: Float64Array
    n_bars: Float64Array
    bar_beats: Float64Array
    unit_beats: Float64Array

    @classmethod
    def build(cls, meters: Sequence[Meter], ticks_per_beat: int) -> BarGrid:
        """Count the bars before each meter; a bar that is cut short counts."""
        n_bars = [0]
        for meter, following in itertools.pairwise(meters):
            bar_ticks = Fraction(4 * ticks_per_beat * meter.numerator, meter.denominator)
            n_bars.append(n_bars[-1] + math.ceil((following.tick - meter.tick) / bar_ticks))
        return cls(
            beat=np.array([meter.tick / ticks_per_beat for meter in meters]),
            n_bars=np.array(n_bars, np.float64),
            bar_beats=np.array([4.0 * meter.numerator / meter.denominator for meter in meters]),
            unit_beats=np.array([4.0 / meter.denominator for meter in meters]),
        )

    def to_bars(self, beats: Float64Array) -> Float64Array:
        """Return how many bars have passed: 2.5 is halfway through the third."""
        index = segment_index(self.beat, beats)
        return np.asarray(self.n_bars[index] + (beats - self.beat[index]) / self.bar_beats[index])

    def to_beats(self, bars: Float64Array) -> Float64Array:
        """Return the beat at which so many bars have passed."""
        index = segment_index(self.n_bars, bars)
        beats = self.beat[index] + (bars - self.n_bars[index]) * self.bar_beats[index]
        return np.asarray(np.minimum(beats, np.append(self.beat[1:], np.inf)[index]))

    def to_positions(self, beats: Float64Array, first_bar: int) -> BarPositions:
        """Return bar, beat and tick."""
        index = segment_index(self.beat, beats)
        into = beats - self.beat[index]
        whole = np.floor(into / self.bar_beats[index] + 1e-12)
        within = np.maximum(into - whole * self.bar_beats[index], 0.0) / self.unit_beats[index]
        beat = np.floor(within + 1e-9)  # a beat reached but for rounding is reached
        tick = np.maximum(within - beat, 0.0) * TICKS_PER_BAR_BEAT
        bar = np.asarray(self.n_bars[index] + whole).astype(np.int64) + first_bar
        return BarPositions(bar, beat.astype(np.int64) + 1, tick)

    def from_positions(self, bar: Float64Array, beat: Float64Array, tick: Float64Array) -> Float64Array:
        """Return the beat of 0-based bar, 1-based beat and tick."""
        index = segment_index(self.n_bars, bar)
        start = self.beat[index] + (bar - self.n_bars[index]) * self.bar_beats[index]
        return np.asarray(start + (beat - 1 + tick / TICKS_PER_BAR_BEAT) * self.unit_beats[index])


def bpm_to_us(bpm: float) -> Fraction:
    """Return exact microseconds a beat of a tempo written in decimals.

    Raises:
        TempoError: Outside 1..1000.
    """
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise TempoError(f"a tempo of {bpm} BPM is outside {MIN_BPM:g}..{MAX_BPM:g} quarter notes a minute")
    whole, _, part = str(bpm).partition(".")  # of such a number no exponent is written
    return Fraction(_US_PER_MINUTE * 10 ** len(part), int(whole + part))


def check_meter(meter: Meter) -> Meter:
    """Return the meter, or say what is accepted.

    Raises:
        TempoError: Not 1..255 beats of a power of two up to 256.
    """
    denominator = meter.denominator
    if not 1 <= meter.numerator <= 255 or not 1 <= denominator <= 256 or denominator & (denominator - 1):
        raise TempoError(
            f"the meter {meter} is not valid; 1..255 beats of a 1, 2, 4, 8, .. 256th are accepted, as 7/8"
        )
    return meter


def _common_scale(tempos: Sequence[Tempo]) -> int:
    """Return a denominator in which every tempo is whole, or so fine a one that rounding to it is not seen.

    Thousands of odd tempos have a common denominator of thousands of digits; in 2^-96 of a microsecond a
    million segments round off less than a float does.
    """
    scale = 1
    for denominator in {tempo.us_per_beat.denominator for tempo in tempos}:
        scale = math.lcm(scale, denominator)
        if scale > _FINEST_SCALE:
            return _FINEST_SCALE
    return scale


def _round_product(value: float, times: int) -> int:
    """Return the whole number nearest to the exact product: what a fraction gives, sooner."""
    numerator, denominator = value.as_integer_ratio()
    whole, rest = divmod(numerator * times, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2))


def _ramp_seconds(start_bpm: float, end_bpm: float, beats: float, law: RampLaw) -> float:
    if law == "beats":
        return 60.0 * beats * math.log(end_bpm / start_bpm) / (end_bpm - start_bpm)
    return 120.0 * beats / (start_bpm + end_bpm)


def sorted_to_beats(grid: TempoGrid, seconds: Float64Array) -> Float64Array:
    """Return beats of rising times: the numbers of `TempoGrid.to_ticks`, sooner where the tempo holds."""
    index = np.searchsorted(grid.start_s, seconds[[0, -1]], side="right") - 1
    first = max(int(index[0]), 0)
    if first != max(int(index[1]), 0) or grid.ramp_rate[first]:
        return grid.to_ticks(seconds) / grid.ticks_per_beat
    beats: Float64Array = seconds - grid.start_s[first]
    beats /= grid.s_per_tick[first]
    beats += grid.tick[first]
    beats /= grid.ticks_per_beat
    return beats


def segment_index(starts: Float64Array, values: Float64Array) -> npt.NDArray[np.intp]:
    """Return the segment of each value; one number where all lie in the same, which is nearly free."""
    if values.size == 0:
        return np.zeros(values.shape, np.intp)
    low, high = np.searchsorted(starts, (values.min(), values.max()), side="right")
    if low == high:
        return np.asarray(max(int(low) - 1, 0))
    return np.maximum(np.searchsorted(starts, values, side="right") - 1, 0)
