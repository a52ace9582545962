"""Notes and tracks of a MIDI file: pairs of on and off, and messages in order of time.

Conventions: ticks are the file's; channels are 1..16, velocities 1..127.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bridge.arrays import BoolArray, Int64Array
from bridge.clock.tempo_map import fold_name
from bridge.errors import MidiFileError, nearest_names
from bridge.midi.file import MidiFile
from bridge.midi.messages import (
    ALL_SOUND_OFF,
    CONTROLLER,
    ENDS_NOTES,
    NOTE_OFF,
    NOTE_ON,
    RESET_CONTROLLERS,
    SUSTAIN_PEDAL,
)

if TYPE_CHECKING:
    from bridge.clock.tempo_map import TempoMap

__all__ = [
    "DRUM_CHANNEL",
    "N_CHANNELS",
    "Notes",
    "part_keys",
    "read_notes",
    "read_pitched_notes",
    "select_rows",
    "timed_messages",
    "track_index",
]

N_CHANNELS = 16

DRUM_CHANNEL = 10
"""Where keys are drums by convention (General MIDI), and have no pitch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Notes:
    """Notes as columns, in order of their starts; channels are 1..16, velocities 1..127."""

    start_tick: Int64Array
    end_tick: Int64Array
    note: Int64Array
    velocity: Int64Array
    channel: Int64Array
    track: Int64Array

    def __len__(self) -> int:
        return len(self.start_tick)


def track_index(midi: MidiFile, track: int | str | None, where: str = "track") -> int | None:
    """Return the 0-based index of a track given by 1-based number or by name.

    Raises:
        MidiFileError: No such track.
    """
    if track is None:
        return None
    if isinstance(track, int):
        if 1 <= track <= len(midi.tracks):
            return track - 1
        raise MidiFileError(f"{where}: {midi.name} has no track {track}; 1 to {len(midi.tracks)} are there")
    folded = fold_name(track)
    for index, known in enumerate(midi.tracks):
        if fold_name(known.name) == folded:
            return index
    names = [known.name for known in midi.tracks if known.name]
    raise MidiFileError(f"{where}: {midi.name} has no track named {track!r}; {nearest_names(track, names)}")


def read_notes(
    midi: MidiFile, *, channel: int | None = None, track: int | None = None, pedal: bool = False
) -> Notes:
    """Pair note-ons with note-offs, first in first out; what still sounds at the end ends there.

    All-notes-off and its like (CC 120, 123..127) end what sounds; an off that comes later is nothing then.

    Args:
        midi: The file.
        channel: 1..16, or None for all.
        track: 0-based index, or None for all.
        pedal: Let a held sustain pedal (CC 64) prolong notes until it is lifted, reset (CC 121) or all sound
            is cut off (CC 120); all-notes-off waits for it, as the specification has it.
    """
    is_note = (midi.message == NOTE_ON) | (midi.message == NOTE_OFF)
    # A controller holds for its channel, whichever track it is recorded on.
    heard = [*ENDS_NOTES, SUSTAIN_PEDAL, RESET_CONTROLLERS] if pedal else ENDS_NOTES
    chosen = (midi.message == CONTROLLER) & np.isin(midi.data1, heard) & select_rows(midi, channel, None)
    chosen |= is_note & select_rows(midi, channel, track)
    pairs = _Pairs(plays=set(np.unique(part_keys(midi)[midi.message == NOTE_ON]).tolist()))
    pairs.play(midi, np.flatnonzero(chosen))
    table = np.array(pairs.starts, np.int64).reshape(-1, 5)
    end_tick = np.array(pairs.ends, np.int64)
    return Notes(
        start_tick=table[:, 0],
        end_tick=np.where(end_tick < 0, max(midi.end_tick, 0), end_tick),
        note=table[:, 1],
        velocity=table[:, 2],
        channel=table[:, 3],
        track=table[:, 4],
    )


def read_pitched_notes(
    midi: MidiFile, *, channel: int | None = None, track: int | str | None = None
) -> Notes:
    """Read the notes that have a pitch, prolonged by the sustain pedal.

    Args:
        midi: The file.
        channel: Only this one's, 1..16.
        track: Only this one's, by number from 1 or by name.

    Where neither is given the drum channel is left out: its keys are drums.

    Raises:
        MidiFileError: No such track.
    """
    notes = read_notes(midi, channel=channel, track=track_index(midi, track), pedal=True)
    if channel is not None or track is not None:
        return notes
    pitched = notes.channel != DRUM_CHANNEL
    return Notes(**{column.name: getattr(notes, column.name)[pitched] for column in fields(notes)})


class _Pairs:
    """Notes as they are struck and end.

    Args:
        plays: Parts that play notes: see `part_keys`.

    Attributes:
        starts: Tick, note, velocity, channel and track of each.
        ends: The tick at which each ends; -1 while it sounds.
    """

    def __init__(self, plays: set[int]) -> None:
        self.starts: list[tuple[int, int, int, int, int]] = []
        self.ends: list[int] = []
        self._plays = plays
        # Channel, track, note: all of a channel or of a track is let go at once.
        self._held: dict[int, dict[int, dict[int, deque[int]]]] = defaultdict(dict)
        self._pedalled: dict[int, list[int]] = defaultdict(list)
        self._is_down: dict[int, bool] = defaultdict(bool)

    def play(self, midi: MidiFile, rows: npt.NDArray[np.intp]) -> None:
        """Take messages in order of time."""
        starts, ends, held, is_down = self.starts, self.ends, self._held, self._is_down
        columns = (midi.tick, midi.status, midi.data1, midi.data2, midi.track)
        for tick, status, data1, data2, track in zip(
            *(column[rows].tolist() for column in columns), strict=True
        ):
            message, channel = status & 0xF0, status & 0x0F
            if message == CONTROLLER:
                self._control(tick, channel, track, data1, data2)
                continue
            part = held[channel].get(track)
            if message == NOTE_ON and data2:
                if part is None:
                    part = held[channel][track] = defaultdict(deque)
                part[data1].append(len(starts))
                starts.append((tick, data1, data2, channel + 1, track))
                ends.append(-1)
            elif part and (waiting := part.get(data1)):
                index = waiting.popleft()
                if is_down[channel]:
                    self._pedalled[channel].append(index)
                else:
                    ends[index] = tick

    def _control(self, tick: int, channel: int, track: int, controller: int, value: int) -> None:
        if controller == SUSTAIN_PEDAL:
            self._is_down[channel] = value >= 64
        elif controller == RESET_CONTROLLERS:
            self._is_down[channel] = False
        else:
            self._pedalled[channel] += self._let_go(channel, track)
        if not self._is_down[channel] or controller == ALL_SOUND_OFF:
            for index in self._pedalled.pop(channel, []):
                self.ends[index] = tick

    def _let_go(self, channel: int, track: int) -> list[int]:
        """Return what sounds on a channel: of one track if that plays there itself, else of all tracks."""
        if track * N_CHANNELS + channel in self._plays:
            parts = [self._held[channel].pop(track, {})]
        else:
            parts = list(self._held.pop(channel, {}).values())
        return [index for part in parts for waiting in part.values() for index in waiting]


def part_keys(midi: MidiFile) -> Int64Array:
    """Return (n,) one number for each channel of each track.

    Tracks that both play notes on a channel are instruments of their own, as DAWs write them that leave all
    tracks on channel 1: what one is told to stop or reset is not the other's. Any other track speaks for the
    whole channel.
    """
    keys: Int64Array = midi.track.astype(np.int64) * N_CHANNELS + midi.channel
    return keys


def timed_messages(
    midi: MidiFile, tempo_map: TempoMap, *, channel: int | None = None, track: int | str | None = None
) -> list[tuple[float, bytes]]:
    """Return channel messages as an instrument takes them: seconds and bytes, from the start of the song.

    Args:
        midi: The file.
        tempo_map: The song's clock.
        channel: Take only this one, 1..16.
        track: Take only this one, by number from 1 or by name.

    Raises:
        MidiFileError: No such track.

    Notes from before the start are left out; controllers, bends and programs set by then count from it.
    """
    rows = np.flatnonzero(select_rows(midi, channel, track_index(midi, track)))
    seconds = np.asarray(tempo_map.ticks_to_seconds(midi.tick[rows]))
    columns = (midi.status, midi.data1, midi.data2)
    return [
        (max(time_s, 0.0), bytes((status, data1, data2)[: 2 if 0xC0 <= status < 0xE0 else 3]))
        for time_s, status, data1, data2 in zip(
            seconds.tolist(), *(column[rows].tolist() for column in columns), strict=True
        )
        if time_s >= 0.0 or status >= 0xB0
    ]


def select_rows(midi: MidiFile, channel: int | None, track: int | None) -> BoolArray:
    """Return which rows are of a channel (1..16) and a track (from 0); None takes all."""
    chosen = np.ones(midi.n_events, np.bool_)
    if channel is not None:
        chosen &= midi.channel == channel - 1
    if track is not None:
        chosen &= midi.track == track
    return chosen
