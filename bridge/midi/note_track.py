"""Notes with bends as a track of MIDI: which channel plays what, and the messages.

Where no note that is bent sounds together with another, all play on channel 1. Else each bent note has a
channel to itself while it sounds, as MPE has it, and all others share channel 2; channel 10 is left out:
General MIDI gives it to drums. The bend range is 2 semitones and is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridge.arrays import Float64Array, Int64Array
from bridge.errors import MidiFileError

__all__ = ["BEND_SEMITONES", "Message", "NoteTrack", "PlayedNote", "assign_channels", "track_messages"]

BEND_SEMITONES = 2
"""How far a full bend reaches."""

SHARED_CHANNEL = 2
BENT_CHANNELS = (*range(3, 10), *range(11, 17))

FINEST_BEND = 0.02
"""Semitones: bends closer than this to what was said last are left out."""

_REST = 8192

Message = tuple[int, bytes]
"""Tick and bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedNote:
    """A note to write.

    Args:
        start_s: Seconds of the stem.
        end_s: Seconds of the stem, after the start.
        key: 0..127; 60 is middle C.
        velocity: 1..127.
        bends: Seconds of the stem, rising, and semitones from the key; none where the note is not bent.

    >>> PlayedNote(start_s=0.5, end_s=1.0, key=60, velocity=80).is_bent
    False
    """

    start_s: float
    end_s: float
    key: int
    velocity: int
    bends: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not (0 <= self.key <= 127 and 1 <= self.velocity <= 127 and self.start_s < self.end_s):
            raise MidiFileError(
                f"a note of key {self.key}, velocity {self.velocity}, {self.start_s:g} to {self.end_s:g} s "
                "cannot be written; keys 0..127, velocities 1..127 and an end after the start can"
            )

    @property
    def is_bent(self) -> bool:
        """Whether it is anywhere told to leave its key."""
        return bool(self.bends)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteTrack:
    """A track of notes to write.

    Args:
        name: Its name.
        notes: In any order.
    """

    name: str
    notes: Sequence[PlayedNote]


def assign_channels(notes: Sequence[PlayedNote]) -> tuple[list[PlayedNote], list[int]]:
    """Give every note a channel, 1..16, so that a bend moves no other note.

    Of free channels the one that has been so for longest is taken: what still rings there is not bent with
    the next note. Where more than 13 bent notes sound together, what begins then is left unbent.

    Returns:
        The notes in order of their starts, those without a channel for their bend without it; and their
        channels.

    >>> low, high = (PlayedNote(start_s=0.0, end_s=1.0, key=key, velocity=80) for key in (48, 60))
    >>> assign_channels([low, high])[1]
    [1, 1]
    """
    ordered = sorted(notes, key=lambda note: (note.start_s, note.key))
    if not _bent_overlap(ordered):
        return ordered, [1] * len(ordered)
    free_since = dict.fromkeys(BENT_CHANNELS, -1.0)
    placed: list[PlayedNote] = []
    channels: list[int] = []
    for note in ordered:
        idle = min(BENT_CHANNELS, key=lambda channel: free_since[channel])
        if note.is_bent and free_since[idle] <= note.start_s:
            free_since[idle] = note.end_s
            channels.append(idle)
            placed.append(note)
        else:
            channels.append(SHARED_CHANNEL)
            placed.append(_unbent(note))
    return placed, channels


def track_messages(track: NoteTrack, to_ticks: Callable[[Float64Array], Int64Array]) -> list[Message]:
    """Return a track's messages in order.

    At one tick notes end before bends move and bends move before notes begin. A key that begins again on its
    channel ends first; what lies before the song's start begins at it, or is left out.

    Args:
        track: The notes.
        to_ticks: The song's clock: seconds of the stem to ticks.
    """
    notes, channels = assign_channels(
        [note for note in track.notes if to_ticks(np.array([note.end_s]))[0] > 0]
    )
    bent = {channel for note, channel in zip(notes, channels, strict=True) if note.is_bent}
    messages = [(0, 0, message) for channel in sorted(bent) for message in _bend_range(channel)]
    starts = np.maximum(to_ticks(np.array([note.start_s for note in notes])), 0).tolist()
    ends = to_ticks(np.array([note.end_s for note in notes])).tolist()
    until: dict[tuple[int, int], int] = {}
    for index in reversed(range(len(notes))):
        note, channel, start = notes[index], channels[index], starts[index]
        following = until.get((channel, note.key), ends[index])
        end = max(min(ends[index], following), start + 1)
        until[channel, note.key] = start
        status = channel - 1
        if following > start:  # else two are one
            messages.append((start, 3, bytes([0x90 | status, note.key, note.velocity])))
            messages.append((end, 1, bytes([0x80 | status, note.key, 64])))
        if channel in bent:
            bends = _bends(note, start, end, to_ticks)
            messages += [(tick, 2, _bend(channel, value)) for tick, value in bends]
    messages.sort(key=lambda message: message[:2])
    return [(tick, data) for tick, _, data in messages]


def _bent_overlap(ordered: Sequence[PlayedNote]) -> bool:
    """Say whether a note that is bent sounds together with another."""
    latest: PlayedNote | None = None
    bent_until = 0.0
    for note in ordered:
        is_together = latest is not None and latest.end_s > note.start_s
        if (is_together and note.is_bent) or bent_until > note.start_s:
            return True
        if note.is_bent:
            bent_until = max(bent_until, note.end_s)
        latest = note if latest is None or note.end_s > latest.end_s else latest
    return False


def _unbent(note: PlayedNote) -> PlayedNote:
    return replace(note, bends=()) if note.is_bent else note


def _bends(
    note: PlayedNote, start: int, end: int, to_ticks: Callable[[Float64Array], Int64Array]
) -> list[tuple[int, int]]:
    """Return ticks and values of a note's bends, thinned; a note that is not bent is at rest."""
    if not note.is_bent:
        return [(start, _REST)]
    found: list[tuple[int, int]] = []
    said = np.inf
    ticks = to_ticks(np.array([time_s for time_s, _ in note.bends])).tolist()
    for tick, (_, semitones) in zip(ticks, note.bends, strict=True):
        at = max(tick, start)
        if at < end and abs(semitones - said) > FINEST_BEND:
            value = round(_REST + semitones / BEND_SEMITONES * _REST)
            found.append((at, min(max(value, 0), 2 * _REST - 1)))
            said = semitones
    if not found or found[0][0] > start:  # the note before has left the bend where it was
        found.insert(0, (start, found[0][1] if found else _REST))
    return found


def _bend(channel: int, value: int) -> bytes:
    return bytes([0xE0 | channel - 1, value & 0x7F, value >> 7])


def _bend_range(channel: int) -> list[bytes]:
    """Say RPN 0, and then that no parameter is meant any more."""
    status = 0xB0 | channel - 1
    pairs = ((101, 0), (100, 0), (6, BEND_SEMITONES), (38, 0), (101, 127), (100, 127))
    return [bytes([status, controller, value]) for controller, value in pairs]
