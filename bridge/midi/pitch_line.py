"""The pitch that a MIDI file plays, as one line: the newest note that sounds, bent as its channel is bent."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from bridge.arrays import Float64Array, Int64Array
from bridge.clock.tempo_map import TempoMap, fold_name
from bridge.midi.file import MidiFile
from bridge.midi.lanes import read_lane
from bridge.midi.notes import Notes, read_pitched_notes

__all__ = ["PitchLine", "read_pitch_line", "track_of_stem"]

_WIDEST_BEND = 128.0
"""Semitones: no bend range reaches further."""

_NO_NOTE = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PitchLine:
    """A pitch over time, in stairs.

    Args:
        starts: (n,) samples from which each pitch holds, rising.
        f0_hz: (n,) pitches, 0 where nothing sounds.
    """

    starts: Int64Array
    f0_hz: Float64Array

    def values(self, start: int, n_samples: int) -> Float64Array:
        """Return the pitch at each of some samples.

        >>> PitchLine(starts=np.array([2, 4]), f0_hz=np.array([440.0, 0.0])).values(0, 5).tolist()
        [0.0, 0.0, 440.0, 440.0, 0.0]
        """
        index = np.searchsorted(self.starts, np.arange(start, start + n_samples), side="right") - 1
        return np.concatenate((self.f0_hz, [0.0]))[index]


def track_of_stem(midi: MidiFile, stem: str) -> str | None:
    """Return the name of the track that is called as a stem; None where there is none."""
    folded = fold_name(stem)
    return next((track.name for track in midi.tracks if track.name and fold_name(track.name) == folded), None)


def read_pitch_line(
    midi: MidiFile,
    tempo_map: TempoMap,
    sample_rate: float,
    *,
    channel: int | None = None,
    track: int | str | None = None,
) -> PitchLine:
    """Read the pitch of the newest sounding note, the highest of those that start together.

    Args:
        midi: The file.
        tempo_map: The song's clock.
        sample_rate: Hz.
        channel: Only this one's notes, 1..16.
        track: Only this one's, by number from 1 or by name.

    Raises:
        MidiFileError: No such track.
    """
    notes = read_pitched_notes(midi, channel=channel, track=track)

    def samples(ticks: Int64Array) -> Int64Array:
        return np.rint(tempo_map.ticks_to_seconds(ticks) * sample_rate).astype(np.int64)

    since, newest = _newest(notes, samples(notes.start_tick), samples(notes.end_tick))
    bends = {one: _bends(midi, one) for one in np.unique(notes.channel).tolist()}
    bent = [samples(ticks) for ticks, _ in bends.values()]
    starts = np.unique(np.concatenate([since, *bent])) if len(since) else since
    starts = starts[starts >= since[0]] if len(since) else since
    playing = newest[np.searchsorted(since, starts, side="right") - 1]
    key = np.append(notes.note, 0)[playing].astype(np.float64)
    for one, (ticks, semitones) in bends.items():
        here = np.searchsorted(samples(ticks), starts, side="right")
        key += np.where(np.append(notes.channel, 0)[playing] == one, np.append(0.0, semitones)[here], 0.0)
    f0_hz = np.where(playing == _NO_NOTE, 0.0, 440.0 * 2.0 ** ((key - 69.0) / 12.0))
    return PitchLine(starts=starts, f0_hz=f0_hz)


def _bends(midi: MidiFile, channel: int) -> tuple[Int64Array, Float64Array]:
    """Return when a channel is bent, and by how many semitones."""
    lane = read_lane(midi, "pitch_bend", channel=channel, bend_range=_WIDEST_BEND)
    return lane.ticks, (lane.values - 0.5) * 2.0 * _WIDEST_BEND


def _newest(notes: Notes, starts: Int64Array, ends: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return from which samples on which note is the newest that sounds; -1 for none."""
    order = np.lexsort((notes.note, starts)).tolist()
    rank = {note: place for place, note in enumerate(order)}
    events = sorted(set(starts.tolist()) | set(ends.tolist()))
    sounding: list[tuple[int, int]] = []
    newest, place = [], 0
    for sample in events:
        while place < len(order) and starts[order[place]] <= sample:
            heapq.heappush(sounding, (-rank[order[place]], order[place]))
            place += 1
        while sounding and ends[sounding[0][1]] <= sample:
            heapq.heappop(sounding)
        newest.append(sounding[0][1] if sounding else _NO_NOTE)
    return np.array(events, np.int64), np.array(newest, np.int64)
