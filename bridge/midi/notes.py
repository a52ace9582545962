"""Notes and tracks of a MIDI file: pairs of on and off, and messages in order of time.

Conventions: ticks are the file's; channels are 1..16, velocities 1..127.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bridge.arrays import BoolArray, Int64Array
from bridge.errors import MidiFileError, nearest_names
from bridge.midi.file import MidiFile
from bridge.midi.messages import CONTROLLER, NOTE_OFF, NOTE_ON, SUSTAIN_PEDAL

if TYPE_CHECKING:
    from bridge.clock.tempo_map import TempoMap

__all__ = ["Notes", "read_notes", "select_rows", "timed_messages", "track_index"]


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
    folded = track.strip().casefold()
    for index, known in enumerate(midi.tracks):
        if known.name.strip().casefold() == folded:
            return index
    names = [known.name for known in midi.tracks if known.name]
    raise MidiFileError(f"{where}: {midi.name} has no track named {track!r}; {nearest_names(track, names)}")


def read_notes(
    midi: MidiFile, *, channel: int | None = None, track: int | None = None, pedal: bool = False
) -> Notes:
    """Pair note-ons with note-offs, first in first out; what still sounds at the end ends there.

    Args:
        midi: The file.
        channel: 1..16, or None for all.
        track: 0-based index, or None for all.
        pedal: Let a held sustain pedal (CC 64) prolong notes until it is lifted.
    """
    is_note = (midi.message == NOTE_ON) | (midi.message == NOTE_OFF)
    chosen = is_note & select_rows(midi, channel, track)
    if pedal:
        # A pedal holds its channel, whichever track it is recorded on.
        is_pedal = (midi.message == CONTROLLER) & (midi.data1 == SUSTAIN_PEDAL)
        chosen |= is_pedal & select_rows(midi, channel, None)
    rows = np.flatnonzero(chosen)
    columns = (midi.tick, midi.status, midi.data1, midi.data2, midi.track)
    held: dict[tuple[int, int, int], deque[int]] = defaultdict(deque)
    pedalled: dict[int, list[int]] = defaultdict(list)
    is_down: dict[int, bool] = defaultdict(bool)
    starts: list[tuple[int, int, int, int, int]] = []
    ends: list[int] = []
    for tick, status, data1, data2, number in zip(
        *(column[rows].tolist() for column in columns), strict=True
    ):
        message, on_channel = status & 0xF0, status & 0x0F
        if message == NOTE_ON and data2:
            held[number, on_channel, data1].append(len(starts))
            starts.append((tick, data1, data2, on_channel + 1, number))
            ends.append(-1)
        elif message == CONTROLLER:
            is_down[on_channel] = data2 >= 64
            if not is_down[on_channel]:
                for index in pedalled.pop(on_channel, []):
                    ends[index] = tick
        elif waiting := held[number, on_channel, data1]:
            index = waiting.popleft()
            if is_down[on_channel]:
                pedalled[on_channel].append(index)
            else:
                ends[index] = tick
    table = np.array(starts, np.int64).reshape(-1, 5)
    end_tick = np.array(ends, np.int64)
    return Notes(
        start_tick=table[:, 0],
        end_tick=np.where(end_tick < 0, max(midi.end_tick, 0), end_tick),
        note=table[:, 1],
        velocity=table[:, 2],
        channel=table[:, 3],
        track=table[:, 4],
    )


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
