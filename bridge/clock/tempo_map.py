"""The song's one clock: ticks, beats, bars, seconds and samples, in every direction.

Goal: every node of every chain asks the same map, so that nothing ever drifts apart.

Conventions: a beat is a quarter note; beat 0, tick 0 and bar 1 are the start of the song, which lies at
`TempoMap.offset_s` seconds of the stems; ``bar:beat:tick`` counts the meter's own beats. Tempos are exact
fractions and their times exact integer sums; floats appear only at the end, so hours bring no drift. All
conversions take numbers or arrays and return float64.

`bridge.midi.song_clock` builds maps from MIDI files; `bridge.clock.tempo_segments` holds the arithmetic.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array
from bridge.clock.durations import TICKS_PER_BAR_BEAT, Duration, Position, parse_position
from bridge.clock.plain_values import HIGHEST, fraction, number, ramp_law, text, whole
from bridge.clock.tempo_segments import (
    BarGrid,
    BarPositions,
    Meter,
    RampLaw,
    Tempo,
    TempoGrid,
    bpm_to_us,
    check_meter,
    segment_index,
    sorted_to_beats,
)
from bridge.errors import TempoError, nearest_names

__all__ = ["SongMarker", "TempoMap", "fold_name"]

_POINTS_TICKS_PER_BEAT = 40320  # 960 x 42: every note value down to 1/128 and its triplets is whole


def fold_name(name: str) -> str:
    """Return what is compared of the name of a marker or a track: neither case nor width of spaces counts.

    >>> fold_name("  Été\u3000 2") == fold_name("e\u0301te\u0301 2")
    True
    """
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class SongMarker:
    """A named place of the song: seconds of the stems, and quarter notes from the song's start."""

    name: str
    time_s: float
    beats: float


@dataclass(frozen=True, kw_only=True)
class TempoMap:
    """Tempo, meter and markers of a song, and every conversion between its times.

    Args:
        tempos: At least one, the first at tick 0, in order.
        meters: At least one, the first at tick 0, in order.
        ticks_per_beat: Ticks a quarter note.
        markers: Named places in order.
        offset_s: Seconds of the stems at which the song starts; negative where they start later.
        ticks_per_second: Ticks a second of a file that counts SMPTE time, whose ticks are no parts of beats.
        first_bar: Number of the first bar; 0 where it is a pick-up.
        source: Who said the tempo: ``midi``, ``--bpm``, ``session``, ``preset default``, ``default``.
        warnings: What was doubtful.
        file_ticks_per_beat: Ticks a quarter note of the MIDI file, where the clock is not the file's own.

    >>> song = TempoMap.constant(120)
    >>> float(song.beats_to_seconds(8)), float(song.seconds_to_beats(4.0))
    (4.0, 8.0)
    """

    tempos: tuple[Tempo, ...]
    meters: tuple[Meter, ...]
    ticks_per_beat: int
    markers: tuple[SongMarker, ...] = ()
    offset_s: float = 0.0
    ticks_per_second: Fraction | None = None
    first_bar: int = 1
    source: str = "midi"
    warnings: tuple[str, ...] = ()
    file_ticks_per_beat: int | None = None

    def __post_init__(self) -> None:
        for kind, events in (("tempo", self.tempos), ("meter", self.meters)):
            ticks = [event.tick for event in events]
            if not ticks or ticks[0] != 0 or any(a >= b for a, b in itertools.pairwise(ticks)):
                raise TempoError(f"{kind} events must start at tick 0 and rise; got ticks {ticks[:6]}")
        if any(tempo.us_per_beat.numerator <= 0 for tempo in self.tempos):
            raise TempoError("a tempo of 0 microseconds a beat was given; more than 0 is accepted")
        if self.ticks_per_second is not None and self.ticks_per_second <= 0:
            raise TempoError("0 SMPTE ticks a second were given; more than 0 are accepted")
        if not math.isfinite(self.offset_s):
            raise TempoError(f"offset_s = {self.offset_s} is not a time; a finite number is accepted")

    @classmethod
    def constant(
        cls,
        bpm: float,
        meter: tuple[int, int] = (4, 4),
        *,
        offset_s: float = 0.0,
        source: str = "--bpm",
        warnings: tuple[str, ...] = (),
    ) -> TempoMap:
        """Build a map of one tempo and one meter.

        Args:
            bpm: Quarter notes a minute, 1 to 1000.
            meter: Beats in a bar and their note value, such as ``(7, 8)``.
            offset_s: Where the song starts in the stems, in seconds.
            source: Who said so.
            warnings: What was doubtful.

        Raises:
            TempoError: A tempo or a meter that makes no sense.
        """
        return cls(
            tempos=(Tempo(tick=0, us_per_beat=bpm_to_us(bpm)),),
            meters=(check_meter(Meter(tick=0, numerator=meter[0], denominator=meter[1])),),
            ticks_per_beat=TICKS_PER_BAR_BEAT,
            offset_s=offset_s,
            source=source,
            warnings=warnings,
        )

    @classmethod
    def from_points(
        cls,
        tempos: Iterable[tuple[float, float, RampLaw]],
        meters: Iterable[tuple[float, int, int]] = ((0.0, 4, 4),),
        markers: Iterable[tuple[float, str]] = (),
        *,
        offset_s: float = 0.0,
        source: str = "session",
    ) -> TempoMap:
        """Build a map from tempo automation, ramps and all.

        Args:
            tempos: (beats, bpm, ramp to the next) in order; a ramp is straight over ``beats`` or ``time``. Of
                several on one beat the first is where a ramp arrives, the last is what counts from there.
            meters: (beats, numerator, denominator) in order.
            markers: (beats, name).
            offset_s: Where the song starts in the stems, in seconds.
            source: Who said so.

        Raises:
            TempoError: Points that do not rise, or values that make no sense.

        >>> ramp = TempoMap.from_points([(0, 120, "beats"), (8, 90, "hold")])
        >>> round(float(ramp.beats_to_seconds(8)), 3)
        4.603
        """
        tpb = _POINTS_TICKS_PER_BEAT
        tempos = list(tempos)
        meters = list(meters)
        most_beats = HIGHEST / tpb
        for beats in (point[0] for point in (*tempos, *meters)):
            if not abs(beats) < most_beats:
                raise TempoError(f"beat {beats} is no place for a tempo or a meter; a song's are accepted")
        laws = get_args(RampLaw)
        for beats, _, ramp in tempos:
            if ramp not in laws:
                raise TempoError(
                    f"the tempo at beat {beats:g} has ramp {ramp!r}; hold, beats, time are accepted"
                )
        bare = cls(
            tempos=_rising_tempos(tempos),
            meters=tuple(
                check_meter(Meter(tick=round(beats * tpb), numerator=upper, denominator=lower))
                for beats, upper, lower in meters
            ),
            ticks_per_beat=tpb,
            offset_s=offset_s,
            source=source,
        )
        return bare.with_markers(markers)

    def with_markers(self, markers: Iterable[tuple[float, str]]) -> TempoMap:
        """Return the same map with these markers, given as (beats, name)."""
        markers = [(float(beats), name) for beats, name in markers]
        if not markers:
            return self if not self.markers else replace(self, markers=())
        times = self.beats_to_seconds([beats for beats, _ in markers]).tolist()
        placed = [
            SongMarker(name=name, time_s=time_s, beats=beats)
            for (beats, name), time_s in zip(markers, times, strict=True)
        ]
        marked = replace(self, markers=tuple(sorted(placed, key=lambda marker: marker.time_s)))
        vars(marked)["_grid"] = self._grid  # of the same tempos: a long one takes a second to sum
        return marked

    # Beats and seconds

    def beats_to_seconds(self, beats: npt.ArrayLike) -> Float64Array:
        """Return when a beat sounds, in seconds of the stems."""
        return self._grid.to_seconds(np.multiply(beats, float(self.ticks_per_beat)))

    def seconds_to_beats(self, seconds: npt.ArrayLike) -> Float64Array:
        """Return the beat that sounds at a time of the stems."""
        return self._grid.to_ticks(np.asarray(seconds, np.float64)) / self.ticks_per_beat

    def rising_seconds_to_beats(self, seconds: Float64Array) -> Float64Array:
        """Return what `seconds_to_beats` does for times that rise, sooner."""
        return sorted_to_beats(self._grid, seconds)

    def bpm_at(self, beats: npt.ArrayLike) -> Float64Array:
        """Return the tempo at a beat, ramps included."""
        return self._grid.bpm_at(np.multiply(beats, float(self.ticks_per_beat)))

    # Ticks of the file

    def ticks_to_seconds(self, ticks: npt.ArrayLike) -> Float64Array:
        """Return when a tick of the file sounds, in seconds of the stems."""
        if self.ticks_per_second is not None:
            rate = self.ticks_per_second
            return np.asarray(ticks, np.float64) * rate.denominator / rate.numerator + self.offset_s
        if self.file_ticks_per_beat is not None:
            return self.beats_to_seconds(np.asarray(ticks, np.float64) / self.file_ticks_per_beat)
        return self._grid.to_seconds(np.asarray(ticks, np.float64))

    def seconds_to_ticks(self, seconds: npt.ArrayLike) -> Float64Array:
        """Return the tick of the file at a time of the stems, not rounded."""
        if self.ticks_per_second is not None:
            return (np.asarray(seconds, np.float64) - self.offset_s) * float(self.ticks_per_second)
        if self.file_ticks_per_beat is not None:
            return self.seconds_to_beats(seconds) * self.file_ticks_per_beat
        return self._grid.to_ticks(np.asarray(seconds, np.float64))

    def ticks_to_beats(self, ticks: npt.ArrayLike) -> Float64Array:
        """Return the beat of a tick of the file."""
        if self.ticks_per_second is not None:
            return self.seconds_to_beats(self.ticks_to_seconds(ticks))
        return np.asarray(ticks, np.float64) / (self.file_ticks_per_beat or self.ticks_per_beat)

    def beats_to_ticks(self, beats: npt.ArrayLike) -> Float64Array:
        """Return the tick of the file of a beat, not rounded."""
        if self.ticks_per_second is not None:
            return self.seconds_to_ticks(self.beats_to_seconds(beats))
        return np.multiply(beats, float(self.file_ticks_per_beat or self.ticks_per_beat))

    def ticks_to_samples(self, ticks: npt.ArrayLike, sample_rate: float) -> npt.NDArray[np.int64]:
        """Return the sample nearest to a tick of the file."""
        return np.rint(self.ticks_to_seconds(ticks) * sample_rate).astype(np.int64)

    def samples_to_beats(self, samples: npt.ArrayLike, sample_rate: float) -> Float64Array:
        """Return the beat at a sample of the stems."""
        return self.seconds_to_beats(np.asarray(samples, np.float64) / sample_rate)

    # Bars

    def beats_to_bars(self, beats: npt.ArrayLike) -> Float64Array:
        """Return how many bars have passed at a beat, as a number: 2.5 is halfway through the third bar."""
        return self._bars.to_bars(np.asarray(beats, np.float64))

    def bars_to_beats(self, bars: npt.ArrayLike) -> Float64Array:
        """Return the beat at which so many bars have passed; the inverse of `beats_to_bars`."""
        return self._bars.to_beats(np.asarray(bars, np.float64))

    def beats_to_positions(self, beats: npt.ArrayLike) -> BarPositions:
        """Return ``bar:beat:tick`` of a beat."""
        return self._bars.to_positions(np.asarray(beats, np.float64), self.first_bar)

    def positions_to_beats(
        self, bar: npt.ArrayLike, beat: npt.ArrayLike = 1, tick: npt.ArrayLike = 0.0
    ) -> Float64Array:
        """Return the beat of ``bar:beat:tick``."""
        count, beats, ticks = (np.asarray(value, np.float64) for value in (bar, beat, tick))
        return self._bars.from_positions(count - self.first_bar, beats, ticks)

    def meter_at(self, beats: float) -> Meter:
        """Return the meter in force at a beat."""
        return self.meters[int(segment_index(self._bars.beat, np.asarray(beats + 1e-9)))]

    def position_text(self, beats: float) -> str:
        """Write a beat as ``bar:beat:tick``, to the nearest of 960 ticks.

        >>> TempoMap.constant(120, (3, 4)).position_text(7.5)
        '3:2:480'
        """
        return self.position_texts(np.array([beats]))[0]

    def position_texts(self, beats: Float64Array) -> list[str]:
        """Write many beats as `position_text` does one."""
        bar, beat, tick = self.beats_to_positions(beats)
        nearest = self.positions_to_beats(bar, beat, np.rint(tick))
        # A hair past it: rounding must not put a whole beat back into the one before.
        bar, beat, tick = self.beats_to_positions(nearest + 1e-9)
        columns = (bar.tolist(), beat.tolist(), np.rint(tick).astype(np.int64).tolist())
        return [f"{b}:{q}:{t:03d}" for b, q, t in zip(*columns, strict=True)]

    # What people write

    def advance(self, seconds: npt.ArrayLike, duration: Duration, times: npt.ArrayLike = 1.0) -> Float64Array:
        """Return the time a duration (so many `times`) after a time, following tempo and meter on the way."""
        amount = float(duration.amount) * np.asarray(times, np.float64)
        if duration.unit == "seconds":
            return np.asarray(seconds, np.float64) + amount
        beats = self.seconds_to_beats(seconds)
        if duration.unit == "beats":
            return self.beats_to_seconds(beats + amount)
        return self.beats_to_seconds(self.bars_to_beats(self.beats_to_bars(beats) + amount))

    def locate(self, position: Position | str, length_s: float, where: str = "position") -> float:
        """Return the time of a position in seconds of the stems.

        Args:
            position: A position or its text, such as ``@Chorus+2 bars``.
            length_s: Where ``end`` is.
            where: Put at the start of an error.

        Raises:
            TempoError: Not a position, or a marker that does not exist.
        """
        place = parse_position(position, where) if isinstance(position, str) else position
        if place.anchor == "seconds":
            return float(place.offset.amount)
        if place.anchor == "beats":
            return float(self.beats_to_seconds(float(place.offset.amount)))
        if place.anchor == "marker":
            start = self.marker(place.marker, where).time_s
        elif place.anchor == "end":
            start = length_s
        elif place.anchor == "start":
            start = float(self.beats_to_seconds(0.0))
        else:
            start = float(
                self.beats_to_seconds(self.positions_to_beats(place.bar, place.beat, float(place.tick)))
            )
        return float(self.advance(start, place.offset, -1.0 if place.is_before else 1.0))

    def marker(self, name: str, where: str = "marker") -> SongMarker:
        """Return a marker by name, whatever its case; ``Chorus#2`` is the second of that name.

        Raises:
            TempoError: No such marker; those that exist are listed.
        """
        wanted, nth = fold_name(name), 1
        found = [marker for marker in self.markers if fold_name(marker.name) == wanted]
        numbered = re.fullmatch(r"(.+)#(\d{1,6})", wanted)
        if not found and numbered:
            nth = int(numbered[2])
            found = [marker for marker in self.markers if fold_name(marker.name) == numbered[1].strip()]
        if not 1 <= nth <= len(found):
            known = nearest_names(name, [marker.name for marker in self.markers])
            if not self.markers:
                known = "it has no markers (--text-markers takes the texts of its first MIDI track for some)"
            raise TempoError(f"{where}: there is no marker {name!r} in the song; {known}")
        return found[nth - 1]

    # As plain data

    def to_dict(self) -> dict[str, Any]:
        """Return the map as plain JSON data; `from_dict` gives back an equal map."""
        own = {} if self.file_ticks_per_beat is None else {"file_ticks_per_beat": self.file_ticks_per_beat}
        return {
            **own,
            "source": self.source,
            "ticks_per_beat": self.ticks_per_beat,
            "ticks_per_second": None if self.ticks_per_second is None else str(self.ticks_per_second),
            "offset_s": self.offset_s,
            "first_bar": self.first_bar,
            "tempos": [[tempo.tick, str(tempo.us_per_beat), tempo.ramp] for tempo in self.tempos],
            "meters": [[meter.tick, meter.numerator, meter.denominator] for meter in self.meters],
            "markers": [[marker.name, marker.time_s, marker.beats] for marker in self.markers],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TempoMap:
        """Build the map that `to_dict` described.

        Raises:
            TempoError: The data does not describe a tempo map.
        """
        try:
            rate, own = data["ticks_per_second"], data.get("file_ticks_per_beat")
            return cls(
                tempos=tuple(
                    Tempo(tick=whole(tick), us_per_beat=fraction(us), ramp=ramp_law(ramp))
                    for tick, us, ramp in data["tempos"]
                ),
                meters=tuple(
                    check_meter(Meter(tick=whole(tick), numerator=whole(upper), denominator=whole(lower)))
                    for tick, upper, lower in data["meters"]
                ),
                ticks_per_beat=whole(data["ticks_per_beat"], 1),
                markers=tuple(
                    SongMarker(name=text(name), time_s=number(time_s), beats=number(beats))
                    for name, time_s, beats in data["markers"]
                ),
                offset_s=number(data["offset_s"]),
                ticks_per_second=None if rate is None else fraction(rate),
                first_bar=whole(data["first_bar"], -HIGHEST),
                source=text(data["source"]),
                warnings=tuple(text(warning) for warning in data["warnings"]),
                file_ticks_per_beat=None if own is None else whole(own, 1),
            )
        except KeyError as error:
            raise TempoError(f"this is not a tempo map ({error} is missing); build it again") from None
        except (TypeError, ValueError) as error:
            raise TempoError(f"this is not a tempo map ({error}); build it again") from None

    @cached_property
    def changes_s(self) -> Float64Array:
        """When tempos and meters begin, in rising seconds of the stems."""
        meters = np.array([meter.tick / self.ticks_per_beat for meter in self.meters])
        return np.unique(np.concatenate((self._grid.start_s, self.beats_to_seconds(meters))))

    @cached_property
    def _grid(self) -> TempoGrid:
        return TempoGrid.build(self.tempos, self.ticks_per_beat, self.offset_s)

    @cached_property
    def _bars(self) -> BarGrid:
        return BarGrid.build(self.meters, self.ticks_per_beat)


def _rising_tempos(points: Sequence[tuple[float, float, RampLaw]]) -> tuple[Tempo, ...]:
    """Return tempos whose ticks rise: points on one tick are a jump, and a ramp to it ends a tick before."""
    tempos: list[Tempo] = []
    for beats, bpm, ramp in points:
        tick = round(beats * _POINTS_TICKS_PER_BEAT)
        try:
            us = bpm_to_us(bpm)
        except TempoError as error:
            raise TempoError(f"at beat {beats:g}, {error}") from None
        if tempos and tempos[-1].tick == tick:
            arrived = tempos.pop()
            if tempos and tempos[-1].ramp != "hold" and tempos[-1].tick < tick - 1:
                tempos.append(replace(arrived, tick=tick - 1, ramp="hold"))
        tempos.append(Tempo(tick=tick, us_per_beat=us, ramp=ramp))
    return tuple(tempos)
