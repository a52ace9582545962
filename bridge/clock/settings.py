"""What a user says of a song's time, and what a file's name says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.clock.tempo_segments import Meter, check_meter
from bridge.errors import TempoError

__all__ = ["ClockSettings", "bpm_from_name", "parse_meter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSettings:
    """Say of a song's time what its files do not, or say wrongly.

    Args:
        bpm: Quarter notes a minute; wins over the MIDI file's tempo.
        meter: Wins over the file's, such as ``(7, 8)``.
        offset_s: Seconds of the stems at which the file's first tick sounds.
        first_bar: Number of the first bar; 0 where it is a pick-up.
        pattern: Which track of a type 2 file to read, from 1.
        ppq: Ticks a quarter note, for a file that says 0.
        text_markers: Take the texts of the first track for markers, where the file has none.
    """

    bpm: float | None = None
    meter: tuple[int, int] | None = None
    offset_s: float = 0.0
    first_bar: int = 1
    pattern: int | None = None
    ppq: int | None = None
    text_markers: bool = False


def parse_meter(text: str, where: str = "meter") -> tuple[int, int]:
    """Read a meter such as ``7/8``.

    Raises:
        TempoError: Not a meter.

    >>> parse_meter("7/8")
    (7, 8)
    """
    matched = re.fullmatch(r"\s*(\d{1,3})\s*/\s*(\d{1,3})\s*", text)
    if not matched:
        raise TempoError(f"{where}: {text!r} is not a meter; '4/4', '7/8' and the like are accepted")
    meter = check_meter(Meter(tick=0, numerator=int(matched[1]), denominator=int(matched[2])))
    return meter.numerator, meter.denominator


def bpm_from_name(name: str) -> float | None:
    """Return the tempo that a file's name states, or None.

    >>> bpm_from_name("drums_128bpm.wav"), bpm_from_name("take 5.wav")
    (128.0, None)
    """
    matched = re.search(r"(?<![\d.])(\d{2,3}(?:\.\d{1,3})?)[ _-]?bpm(?![a-z])", name, re.IGNORECASE)
    return float(matched[1]) if matched else None
