"""Where in a song something acts: sections as people write them, and what is read of them.

Conventions: ``17:1..25:1`` goes from one place to another; a marker alone, ``@Chorus``, goes from there to
the next marker, or to the end. Texts stay texts, so that a preset written back reads as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bridge.clock.durations import Position, parse_duration, parse_position
from bridge.envelopes.song import Song, check_marker
from bridge.errors import EnvelopeError, InputError, TempoError

__all__ = ["During", "Stretch", "find_stretches"]

_TO = ".."


class Stretch(NamedTuple):
    """A section of a song, in seconds of the stems; the end is None where it goes on past the song's end."""

    start_s: float
    end_s: float | None


def _parse(text: str, where: str) -> tuple[Position, Position | None]:
    first, mark, last = text.partition(_TO)
    start = parse_position(first, where)
    if mark:
        return start, parse_position(last, where)
    if start.anchor != "marker":
        raise TempoError(
            f"{where}: {text!r} is one place, not a section; write both ends, as '17:1..25:1', or a marker "
            "alone, as '@Chorus', which goes to the next marker"
        )
    return start, None


def _check_place(text: str) -> str:
    try:
        _parse(text, "during")
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


def _check_fade(text: str) -> str:
    try:
        parse_duration(text, "fade")
    except InputError as error:
        raise ValueError(str(error)) from None
    return text


class During(BaseModel):
    """What can act in some sections of a song alone: a node, a route."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    during: tuple[Annotated[str, AfterValidator(_check_place)], ...] = Field(
        default=(),
        max_length=1000,
        description="where it acts, and nowhere else: sections as '17:1..25:1', or '@Chorus', from a marker "
        "to the next; empty: everywhere",
    )
    fade: Annotated[str, AfterValidator(_check_fade)] = Field(
        default="0 s",
        description="how long it fades in before each section and out after it, as '1/4' or '50 ms'",
    )

    @model_validator(mode="after")
    def _fade_has_sections(self) -> During:
        if not self.during and parse_duration(self.fade).amount:
            raise ValueError(
                f"fade = {self.fade!r} fades at the ends of sections, and there are none; give during = "
                "['@Chorus'], or leave fade out"
            )
        return self


def find_stretches(places: Sequence[str], song: Song, where: str) -> tuple[list[Stretch], list[str]]:
    """Return the sections in order, those that touch or overlap as one, and what is doubtful about them.

    Args:
        places: As a preset gives them.
        song: With the markers and the length.
        where: Put at the start of an error.

    Raises:
        EnvelopeError: There is no such marker, or a section has no length.

    >>> from bridge.clock.tempo_map import TempoMap
    >>> song = Song(tempo_map=TempoMap.constant(120), length_s=60.0)
    >>> find_stretches(["3:1..5:1", "2:1..4:1"], song, "during")[0]
    [Stretch(start_s=2.0, end_s=8.0)]
    """
    found: list[Stretch] = []
    warnings: list[str] = []
    for index, text in enumerate(places):
        one = _find(text, song, f"{where}[{index}]")
        if one.start_s >= song.length_s or (one.end_s is not None and one.end_s <= 0):
            warnings.append(f"{where}[{index}]: {text!r} lies outside the song, so nothing acts there")
        found.append(one)
    merged: list[Stretch] = []
    for start_s, end_s in sorted(found, key=lambda one: one.start_s):
        before = merged[-1] if merged else None
        if before is None or (before.end_s is not None and before.end_s < start_s):
            merged.append(Stretch(start_s, end_s))
        elif before.end_s is not None:
            merged[-1] = Stretch(before.start_s, None if end_s is None else max(before.end_s, end_s))
    return merged, warnings


def _find(text: str, song: Song, where: str) -> Stretch:
    start, end = _parse(text, where)
    for place in (start, end):
        if place is not None and place.anchor == "marker":
            check_marker(place.marker, song, where)
    try:
        start_s = song.tempo_map.locate(start, song.length_s, where)
        if end is not None:
            end_s = song.tempo_map.locate(end, song.length_s, where)
        else:
            later = (m.time_s for m in song.tempo_map.markers if m.time_s > start_s)
            end_s = next(later, max(song.length_s, start_s))
    except TempoError as error:
        raise EnvelopeError(str(error)) from None
    if end is not None and end_s <= start_s:
        raise EnvelopeError(
            f"{where}: {text!r} goes from {start_s:.3f} s to {end_s:.3f} s and has no length; the end lies "
            "after the start"
        )
    # What lasts to the song's end acts on what rings on after it, too.
    return Stretch(start_s, None if end_s >= song.length_s else end_s)
