"""How a DAWproject counts: numbers, units, stretches of the timeline, and what is around a timeline in it.

Conventions: a unit is ``beats`` (quarter notes) or ``seconds``; what says none has that of what it lies in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import ClipFade, GainLine
from bridge.daw.places import place_text
from bridge.daw.untrusted import parse_number
from bridge.daw.untrusted_xml import Table
from bridge.errors import SessionError

__all__ = [
    "Around",
    "FrameClock",
    "Notebook",
    "TimeFrame",
    "crop_lines",
    "fades_as_lines",
    "number_of",
    "table_rows",
]

_UNITS: Final = ("beats", "seconds")


def number_of(element: Element | None, name: str, default: float, where: str) -> float:
    """Return an attribute as a number."""
    text = None if element is None else element.get(name)
    if element is None or text is None:
        return default
    try:
        return parse_number(text, "")
    except SessionError as error:
        raise SessionError(f"{where}: <{element.tag} {name}>{error}") from None


def table_rows(element: Element, defaults: tuple[float, ...]) -> Float64Array:
    """Return the (rows, columns) of a table; what a row does not say is its default."""
    if not isinstance(element, Table):
        return np.zeros((0, len(defaults)))
    rows = np.array(element.rows).reshape(-1, len(defaults))
    return np.where(np.isnan(rows), defaults, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFrame:
    """A stretch of the timeline in which local times count from an origin, in one unit; cut at both ends."""

    unit: str = "beats"
    origin_beats: float = 0.0
    origin_s: float = 0.0
    start_s: float = -math.inf
    end_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is around a timeline.

    Args:
        track: Id of its track; empty where it has none.
        name: Of the clip it plays in, or of the one around that.
        depth: How many clips it lies in.
        start_s: Where the innermost of them begins.
        fade_in: Of the clip it plays in, from the start of its frame.
        fade_out: The same, to the end.
        gain_lines: What is on the way multiplied with its sound, in seconds of the session.
    """

    track: str = ""
    name: str = ""
    depth: int = 0
    start_s: float = 0.0
    fade_in: ClipFade | None = None
    fade_out: ClipFade | None = None
    gain_lines: tuple[GainLine, ...] = ()


class FrameClock:
    """Tell when local times of a frame are."""

    def __init__(self, tempo_map: TempoMap, where: str) -> None:
        self.tempo_map, self.where = tempo_map, where

    def number(self, element: Element, name: str, default: float = 0.0) -> float:
        """Return an attribute as a number."""
        return number_of(element, name, default, self.where)

    def seconds(self, frame: TimeFrame, times: npt.ArrayLike) -> Float64Array:
        """Return local times in seconds of the session."""
        times = np.asarray(times, np.float64)
        if frame.unit == "seconds":
            return frame.origin_s + times
        return self.tempo_map.beats_to_seconds(frame.origin_beats + times)

    def beats(self, frame: TimeFrame, times: npt.ArrayLike) -> Float64Array:
        """Return local times in beats of the session."""
        times = np.asarray(times, np.float64)
        if frame.unit == "seconds":
            return self.tempo_map.seconds_to_beats(frame.origin_s + times)
        return frame.origin_beats + times

    def fade_s(self, clip: Element, name: str, unit: str, at_s: float) -> float:
        """Return how long a fade at a time is, in seconds; negative where it reaches out of its clip."""
        length = self.number(clip, name)
        if not length or not math.isfinite(at_s):
            return 0.0
        if clip.get("fadeTimeUnit", unit) == "seconds":
            return length
        beats = float(self.tempo_map.seconds_to_beats(at_s))
        inwards = length if name == "fadeInTime" else -length
        near_s = self.tempo_map.beats_to_seconds([beats, beats + inwards])
        return math.copysign(abs(float(near_s[1] - near_s[0])), length)


class Notebook:
    """Collect what cannot be taken over, each thing once; loops come by it with every pass.

    Args:
        warnings: Gets the lines.
        tracks: Names of the tracks by their ids.
    """

    def __init__(self, warnings: list[str], tracks: dict[str, str]) -> None:
        self._warnings, self._seen = warnings, set(warnings)
        self.tracks = tracks

    def say(self, text: str) -> None:
        """Note something of the whole arrangement."""
        if text not in self._seen:
            self._seen.add(text)
            self._warnings.append(text)

    def say_of(self, around: Around, text: str) -> None:
        """Note something of a clip, or of a track where it lies in none."""
        track = self.tracks.get(around.track, "")
        if around.depth:
            self.say(f"{place_text(track, around.start_s, 'clip', around.name)} {text}")
        else:
            self.say(f"track {track!r} {text}")

    def unit_of(self, element: Element, name: str, default: str) -> str:
        """Return the unit that an element says; one that there is not is noted and taken for the default."""
        unit = element.get(name, default)
        if unit in _UNITS:
            return unit
        self.say(f"<{element.tag}> counts {unit!r}, which is neither beats nor seconds: read as {default}")
        return default


def fades_as_lines(
    start_s: float, fade_in: ClipFade | None, end_s: float, fade_out: ClipFade | None
) -> tuple[GainLine, ...]:
    """Return fades as lines in seconds of the session, for what begins or ends elsewhere than they do."""
    lines: list[GainLine] = []
    if fade_in is not None:
        lines.append(((start_s, 0.0), (start_s + fade_in.length_s, 1.0)))
    if fade_out is not None:
        lines.append(((end_s - fade_out.length_s, 1.0), (end_s, 0.0)))
    return tuple(lines)


def crop_lines(lines: Sequence[GainLine], start_s: float, end_s: float) -> tuple[float, tuple[GainLine, ...]]:
    """Return what lines are over a clip: a constant factor, and those that move, from the clip's start on."""
    gain, moving = 1.0, []
    for line in lines:
        at, factors = np.array(line).T
        ends = [start_s, end_s if math.isfinite(end_s) else max(start_s, at[-1])]
        inside = (at > ends[0]) & (at < ends[1])
        held = np.interp(ends, at, factors)
        if np.all(factors[inside] == held[0]) and held[1] == held[0]:
            gain *= float(held[0])
            continue
        times = [0.0, *(at[inside] - start_s).tolist(), float(ends[1] - start_s)]
        values = [float(held[0]), *factors[inside].tolist(), float(held[1])]
        moving.append(tuple(zip(times, values, strict=True)))
    return gain, tuple(moving)
