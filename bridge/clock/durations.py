"""What people write for times: text to exact values.

Musical times stay exact fractions until a tempo map turns them into seconds, so a triplet never drifts.

Conventions: a *beat* is a quarter note wherever a number of beats is written; in ``bar:beat:tick`` it is the
meter's own denominator, bars and beats count from 1, and a beat has 960 ticks whatever the file's resolution.

==========  ========================================================================================
durations   ``1/4`` ``1/8D`` (dotted) ``1/8T`` (triplet) ``2 bars`` ``3 beats`` ``3x1/16`` ``250 ms``
rates       every duration (one cycle takes that long) and ``2 Hz``
positions   ``9:1`` ``9:2:480`` ``24 beats`` ``12.5 s`` ``@Chorus+2 bars`` ``start`` ``end-4 bars``
==========  ========================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from bridge.errors import TempoError

__all__ = [
    "TICKS_PER_BAR_BEAT",
    "Duration",
    "Position",
    "parse_duration",
    "parse_position",
    "parse_rate",
]

TICKS_PER_BAR_BEAT = 960
"""Ticks of one denominator beat in ``bar:beat:tick``."""


DURATION_HELP = "'1/4', '1/8D', '1/8T', '2 bars', '3 beats', '3x1/16', '250 ms' and '1.5 s' are accepted"


POSITION_HELP = (
    "'9:1', '9:2:480', '24 beats', '12.5 s', '@Chorus', '@Chorus+2 bars' and 'end-4 bars' are accepted"
)


_NUMBER = r"\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}"


_NOTE = re.compile(r"(?:(\d{1,6})\s*x\s*)?(\d{1,6})/(\d{1,6})\s*([dDtT.]?)")


_COUNTED = re.compile(rf"({_NUMBER})\s*(bars?|beats?|ms|s|Hz)", re.IGNORECASE)


_BAR_BEAT_TICK = re.compile(rf"(-?\d{{1,7}}):(\d{{1,4}})(?::({_NUMBER}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A length of time, exact, in the unit it was written in.

    Args:
        amount: How many of the unit, never negative.
        unit: ``beats`` are quarter notes, ``bars`` follow the meter, ``seconds`` follow nothing.

    >>> parse_duration("1/8T")
    Duration(amount=Fraction(1, 3), unit='beats')
    """

    amount: Fraction
    unit: Literal["beats", "bars", "seconds"]

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise TempoError(f"a duration of {self.amount} {self.unit} is negative; 0 or more is accepted")

    def __str__(self) -> str:
        value = f"{float(self.amount):g}" if self.amount.denominator in _DECIMAL else str(self.amount)
        return f"{value} s" if self.unit == "seconds" else f"{value} {self.unit}"


_DECIMAL = frozenset({1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500, 1000})


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in the song, before a tempo map says at how many seconds it is.

    Args:
        anchor: ``bar`` (of ``bar``, ``beat``, ``tick``), ``beats`` or ``seconds`` from the start,
            ``marker`` (by name), ``start`` or ``end`` of the song.
        bar: 1-based bar, where the anchor is ``bar``.
        beat: 1-based denominator beat.
        tick: Ticks into the beat, 0 up to 960.
        marker: Marker name, where the anchor is ``marker``.
        offset: What is added to the anchor.
        is_before: Whether the offset is taken away instead of added.
    """

    anchor: Literal["bar", "beats", "seconds", "marker", "start", "end"]
    bar: int = 1
    beat: int = 1
    tick: Fraction = Fraction(0)
    marker: str = ""
    offset: Duration = Duration(amount=Fraction(0), unit="beats")
    is_before: bool = False


def parse_duration(text: str, where: str = "duration") -> Duration:
    """Read a length of time.

    Args:
        text: Such as ``1/8T``, ``2 bars`` or ``250 ms``.
        where: Put at the start of an error.

    Raises:
        TempoError: Not a duration.

    >>> parse_duration("3x1/16").amount, str(parse_duration("250 ms"))
    (Fraction(3, 4), '0.25 s')
    """
    duration = _match_duration(text)
    if duration is None:
        hint = " A rate in Hz is accepted only where a rate is asked for." if "hz" in text.lower() else ""
        raise TempoError(f"{where}: {text!r} is not a duration; {DURATION_HELP}.{hint}")
    return duration


def parse_rate(text: str, where: str = "rate") -> Duration:
    """Read how long one cycle takes: a duration, or a frequency in Hz.

    Raises:
        TempoError: Neither, or a cycle of no length.

    >>> parse_rate("2 Hz")
    Duration(amount=Fraction(1, 2), unit='seconds')
    """
    counted = _COUNTED.fullmatch(text.strip())
    if counted and counted[2].lower() == "hz":
        frequency = Fraction(counted[1])
        if frequency == 0:
            raise TempoError(f"{where}: {text!r} never completes a cycle; more than 0 Hz is accepted")
        return Duration(amount=1 / frequency, unit="seconds")
    duration = _match_duration(text)
    if duration is None:
        raise TempoError(f"{where}: {text!r} is not a rate; {DURATION_HELP}, also '2 Hz'")
    if duration.amount == 0:
        raise TempoError(f"{where}: {text!r} is a cycle of no length; more than 0 is accepted")
    return duration


def parse_position(text: str, where: str = "position") -> Position:
    """Read a place in the song.

    Args:
        text: Such as ``9:2:480``, ``@Chorus+2 bars`` or ``end-4 bars``. A marker name may hold spaces and
            dashes; only what reads as a duration after the last ``+`` or ``-`` is an offset.
        where: Put at the start of an error.

    Raises:
        TempoError: Not a position.

    >>> parse_position("@Pre-Chorus+2 bars").marker
    'Pre-Chorus'
    """
    stripped = text.strip()
    anchor, offset, is_before = _split_offset(stripped)
    if anchor.lower() == "end":
        return Position(anchor="end", offset=offset, is_before=is_before)
    if anchor.lower() == "start":
        return Position(anchor="start", offset=offset, is_before=is_before)
    if anchor.startswith("@") and len(anchor) > 1:
        return Position(
            anchor="marker", marker=anchor[1:].strip().strip("\"'"), offset=offset, is_before=is_before
        )
    bar_beat = _BAR_BEAT_TICK.fullmatch(anchor)
    if bar_beat:
        beat, tick = int(bar_beat[2]), Fraction(bar_beat[3] or 0)
        if beat < 1 or tick >= TICKS_PER_BAR_BEAT:
            raise TempoError(
                f"{where}: {text!r}: beats count from 1 and ticks run 0 to {TICKS_PER_BAR_BEAT - 1}; "
                "the first beat of bar 9 is '9:1'"
            )
        return Position(
            anchor="bar", bar=int(bar_beat[1]), beat=beat, tick=tick, offset=offset, is_before=is_before
        )
    duration = _match_duration(stripped)
    if duration is not None and duration.unit != "bars" and "/" not in stripped:
        return Position(anchor="seconds" if duration.unit == "seconds" else "beats", offset=duration)
    hint = " Bars count from 1 in a position: '9:1' is the start of bar 9." if duration else ""
    raise TempoError(f"{where}: {text!r} is not a position; {POSITION_HELP}.{hint}")


def _match_duration(text: str) -> Duration | None:
    stripped = text.strip()
    note = _NOTE.fullmatch(stripped)
    if note:
        count, numerator, denominator = int(note[1] or 1), int(note[2]), int(note[3])
        if denominator == 0:
            return None
        feel = {"d": Fraction(3, 2), ".": Fraction(3, 2), "t": Fraction(2, 3)}.get(
            note[4].lower(), Fraction(1)
        )
        return Duration(amount=count * Fraction(4 * numerator, denominator) * feel, unit="beats")
    counted = _COUNTED.fullmatch(stripped)
    if not counted or counted[2].lower() == "hz":
        return None
    amount, unit = Fraction(counted[1]), counted[2].lower()
    if unit.startswith("bar"):
        return Duration(amount=amount, unit="bars")
    if unit.startswith("beat"):
        return Duration(amount=amount, unit="beats")
    return Duration(amount=amount / 1000 if unit == "ms" else amount, unit="seconds")


def _split_offset(text: str) -> tuple[str, Duration, bool]:
    """Split ``@Chorus+2 bars`` into anchor, offset and whether it is subtracted."""
    for sign in reversed([*re.finditer(r"[+-]", text)]):
        offset = _match_duration(text[sign.end() :])
        if offset is not None and sign.start() > 0:
            return text[: sign.start()].strip(), offset, sign[0] == "-"
    return text, Duration(amount=Fraction(0), unit="beats"), False
