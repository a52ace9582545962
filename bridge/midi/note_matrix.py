"""A song's notes as a matrix: how hard each key is pressed in every frame of time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from bridge.arrays import Float32Array
from bridge.clock.tempo_map import TempoMap
from bridge.midi.file import MidiFile
from bridge.midi.keyswitch_lines import pressed_any
from bridge.midi.notes import read_pitched_notes

__all__ = ["FRAME_S", "NoteMatrix", "chord_matrix", "note_matrix", "track_named"]

FRAME_S = 0.01
"""How long a frame is; notes that begin or end within one take their share of it."""

_N_KEYS = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoteMatrix:
    """How hard keys are pressed over time.

    Args:
        values: (128, frames), 0..1.
        frame_s: How long a frame is; the first begins with the sound.
    """

    values: Float32Array
    frame_s: float = FRAME_S

    @classmethod
    def empty(cls, length_s: float) -> NoteMatrix:
        """Return a matrix without notes."""
        return cls(values=np.zeros((_N_KEYS, int(np.ceil(length_s / FRAME_S))), np.float32))

    def add(self, keys: Iterable[int], start_s: float, end_s: float, value: float) -> None:
        """Press keys from one instant to another; where one is pressed already the harder counts."""
        rows = list(keys)
        n_frames = self.values.shape[1]
        start, end = (min(max(edge_s / self.frame_s, 0.0), n_frames) for edge_s in (start_s, end_s))
        if not rows or end <= start:
            return
        first, last = int(start), min(int(end), n_frames - 1)
        covered = np.ones(last - first + 1, np.float32)
        covered[0] -= start - first
        covered[-1] -= last + 1 - end
        part = self.values[rows, first : last + 1]
        # Notes that follow each other within a frame share it.
        self.values[rows, first : last + 1] = np.where(
            covered < 1.0, np.minimum(part + covered * value, 1.0), np.maximum(part, value)
        )


def note_matrix(
    midi: MidiFile,
    tempo_map: TempoMap,
    length_s: float,
    *,
    channel: int | None = None,
    track: int | str | None = None,
    without: Collection[tuple[int, int | None]] = (),
) -> NoteMatrix:
    """Read the notes of a song, or of a part of it, without drums; the sustain pedal prolongs them.

    Args:
        midi: The song.
        tempo_map: Its clock.
        length_s: How much of it, from where the sound begins.
        channel: Only this one's, 1..16.
        track: Only this one's, by number from 1 or by name.
        without: Keyswitches, which are not played: see `keyswitch_lines.pressed_any`.

    Raises:
        MidiFileError: No such track.
    """
    notes = read_pitched_notes(midi, channel=channel, track=track)
    matrix = NoteMatrix.empty(length_s)
    starts, ends = (
        np.asarray(tempo_map.ticks_to_seconds(ticks)).tolist() for ticks in (notes.start_tick, notes.end_tick)
    )
    is_switch = pressed_any(notes, without).tolist()
    for key, start_s, end_s, velocity, is_left_out in zip(
        notes.note.tolist(), starts, ends, notes.velocity.tolist(), is_switch, strict=True
    ):
        if not is_left_out:
            matrix.add([key], start_s, end_s, velocity / 127.0)
    return matrix


def track_named(text: str) -> int | str | None:
    """Return the track a text means: its number from 1, or its name; of no text, None.

    >>> track_named("3"), track_named("Keys"), track_named("")
    (3, 'Keys', None)
    """
    return int(text) if text.isascii() and text.isdecimal() else text or None


def chord_matrix(bars: list[list[frozenset[int]]], tempo_map: TempoMap, length_s: float) -> NoteMatrix:
    """Lay chords onto the bar grid, one bar after the other, from the last one on again from the first.

    Args:
        bars: Pitch classes for each place in each bar, which share the bar evenly.
        tempo_map: The song's clock.
        length_s: How much of it, from where the sound begins.
    """
    matrix = NoteMatrix.empty(length_s)
    n_bars = int(np.ceil(float(tempo_map.beats_to_bars(tempo_map.seconds_to_beats(length_s))) + 1e-9))
    for index in range(max(n_bars, 0)):
        chords = bars[index % len(bars)]
        edges = index + np.arange(len(chords) + 1) / len(chords)
        edges_s = np.asarray(tempo_map.beats_to_seconds(tempo_map.bars_to_beats(edges))).tolist()
        for chord, start_s, end_s in zip(chords, edges_s[:-1], edges_s[1:], strict=True):
            matrix.add((key for key in range(_N_KEYS) if key % 12 in chord), start_s, end_s, 1.0)
    return matrix
