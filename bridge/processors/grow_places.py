"""Where a network plays on in a song, and for how long: needs no Torch, so that plans may ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bridge.clock.durations import Duration, Position, parse_duration, parse_position
from bridge.clock.tempo_map import TempoMap
from bridge.errors import ProcessorError, TempoError
from bridge.parameters import ParamSpec

__all__ = ["GROW_PARAMETERS", "NOTES", "GrowPlace", "Lengths", "find_places", "parse_from"]

NOTES: Final = "notes"
"""What `from` says where every note begins a growth."""

GROW_PARAMETERS: Final[Mapping[str, ParamSpec]] = {
    spec.name: spec
    for spec in (
        ParamSpec(
            name="network",
            default="",
            help="who plays on, by name or file: `reverie networks train-frames STEM --name NAME` makes one",
        ),
        ParamSpec(
            name="from",
            default="4 bars",
            help="where: each 4 bars or 1/2, at @Chorus, 9:1, end-2 bars, start (once seed_beats are heard), "
            "end (in the tail), or at every one of the notes",
        ),
        ParamSpec(
            name="seed_beats",
            default=1.0,
            minimum=0.0625,
            maximum=256.0,
            unit="beats",
            help="how much of the sound it hears before it plays",
        ),
        ParamSpec(
            name="length_beats",
            default=4.0,
            minimum=0.0625,
            maximum=1024.0,
            unit="beats",
            help="how long it plays, unless it begins anew",
        ),
        ParamSpec(
            name="tail_beats",
            default=0.0,
            minimum=0.0,
            maximum=256.0,
            unit="beats",
            help="how long it is then left to its own feedback",
        ),
        ParamSpec(
            name="feedback",
            default=1.0,
            minimum=0.0,
            maximum=2.0,
            help="how much louder each beat of that is than it would be: below 1 it fades, above it rises",
        ),
        ParamSpec(
            name="temperature",
            default=0.0,
            minimum=0.0,
            maximum=4.0,
            automation="sample",
            help="how far it strays from what it learnt; as it is where the network begins to play",
        ),
        ParamSpec(
            name="fade_s",
            default=0.02,
            minimum=0.0,
            maximum=2.0,
            unit="s",
            help="cross-fade between the sound and what is played",
        ),
        ParamSpec(
            name="memory_frames",
            default=0.0,
            minimum=0.0,
            maximum=1000.0,
            unit="frames",
            help="how far back it remembers; 0: all of it",
        ),
        ParamSpec(
            name="denormalise",
            default="both",
            choices=("both", "mean", "scale", "none"),
            help="what of each number's mean and deviation its output gets back; none: whitened, alive",
        ),
        ParamSpec(name="seed", default=0.0, minimum=0.0, maximum=2.0**31, help="chooses how it strays"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowPlace:
    """Where a network begins to play: seconds of the stem.

    Args:
        start_s: Where.
        seed_s: How much before it is heard.
        length_s: How long it plays, with its tail.
        tail_s: How much of that is the tail.
        beat_s: A beat's length in the tail.
    """

    start_s: float
    seed_s: float
    length_s: float
    tail_s: float
    beat_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Lengths of a growth in beats: what is heard, what is played, and the tail after it."""

    seed_beats: float
    length_beats: float
    tail_beats: float = 0.0


def parse_from(text: str, where: str = "grow.from") -> Duration | Position | str:
    """Read where a network plays on: how often, or a place, or `NOTES`.

    A plain length such as ``4 bars`` says how often; places are ``start``, ``end``, ``@Marker``, ``9:1``.

    Args:
        text: What the parameter says.
        where: Put at the start of an error.

    Raises:
        ProcessorError: It is none of these.

    >>> parse_from("4 bars").unit, parse_from("@Chorus").marker, parse_from("notes")
    ('bars', 'Chorus', 'notes')
    """
    if text.strip() == NOTES:
        return NOTES
    try:
        every = parse_duration(text, where)
    except TempoError:
        pass
    else:
        if every.amount == 0:
            raise ProcessorError(f"{where} = {text!r} is no length of time; more than 0 is accepted")
        return every
    try:
        return parse_position(text, where)
    except TempoError:
        raise ProcessorError(
            f"{where} = {text!r} says neither how often nor where: '4 bars', '1/2', 'start', 'end', "
            "'@Chorus', '9:1', 'end-2 bars' and 'notes' are accepted"
        ) from None


def find_places(
    where: Duration | Position | str,
    clock: TempoMap,
    lengths: Lengths,
    *,
    length_s: float = 0.0,
    note_starts_s: Sequence[float] = (),
) -> Iterator[GrowPlace]:
    """Go through the places where a network plays on, in order; those of a duration have no end.

    Args:
        where: From `parse_from`.
        clock: The song's.
        lengths: Of each growth.
        length_s: Of the stem, for places counted from its end.
        note_starts_s: Where notes begin, for `NOTES`.

    Raises:
        TempoError: A marker that does not exist.

    >>> lengths = Lengths(seed_beats=1, length_beats=2)
    >>> first = next(find_places(parse_from("1 bars"), TempoMap.constant(120), lengths))
    >>> first.start_s, first.seed_s, first.length_s
    (2.0, 0.5, 1.0)
    """
    for start_s in _starts(where, clock, lengths, length_s, note_starts_s):
        if start_s < 0.0:
            continue
        beat = float(clock.seconds_to_beats(start_s))
        ends = [beat - lengths.seed_beats, beat + lengths.length_beats]
        ends.append(ends[1] + lengths.tail_beats)
        seed, over, silent = clock.beats_to_seconds(np.array(ends)).tolist()
        tail_s = silent - over
        yield GrowPlace(
            start_s=start_s,
            seed_s=start_s - seed,
            length_s=silent - start_s,
            tail_s=tail_s,
            beat_s=tail_s / lengths.tail_beats if tail_s else 1.0,
        )


def _starts(
    where: Duration | Position | str,
    clock: TempoMap,
    lengths: Lengths,
    length_s: float,
    note_starts_s: Sequence[float],
) -> Iterator[float]:
    if isinstance(where, str):
        yield from sorted(set(note_starts_s))
    elif isinstance(where, Duration):
        begin_s, times = float(clock.beats_to_seconds(0.0)), 0
        while True:
            times += 1
            yield float(clock.advance(begin_s, where, times))
    elif where.anchor == "start" and not where.offset.amount:
        # Nothing stands before the beginning: what is heard comes first.
        yield float(clock.beats_to_seconds(clock.seconds_to_beats(0.0) + lengths.seed_beats))
    else:
        yield clock.locate(where, length_s, "grow.from")
