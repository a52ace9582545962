"""Notes out of the pitch of one voice: split at rests, at new pitches, at new strokes."""

from __future__ import annotations

import itertools

import numpy as np

from bridge.arrays import Float64Array
from bridge.midi.note_bends import make_bends
from bridge.midi.note_track import PlayedNote
from bridge.midi.pick_notes import PickSettings, scale_velocities

__all__ = ["split_line"]

GAP_S = 0.03
"""A rest so short is a slip of whoever hears the pitch."""

LEFT_SEMITONES = 0.6
LEFT_S = 0.05
"""A note is left by a pitch that is so far from its key for so long."""

STRUCK_DB = 9.0
STRUCK_S = 0.05
"""A voice that grows by so much in so little time begins a note."""

ATTACK_S = 0.2
"""A note is as loud as its loudest moment in so long."""


def split_line(
    keys: Float64Array, level_db: Float64Array, hop_s: float, settings: PickSettings | None = None
) -> list[PlayedNote]:
    """Split a line of pitch into notes.

    Args:
        keys: (n,) MIDI keys, not rounded, in frames; NaN where there is no pitch.
        level_db: (n,) level of the sound there.
        hop_s: From one frame to the next; the first is at the first sample.
        settings: `shortest_s` and `has_bends` count; no probabilities are asked for.

    >>> keys = np.repeat([np.nan, 60.0, 62.1, np.nan], 20)
    >>> [(note.key, round(note.start_s, 2)) for note in split_line(keys, np.full(80, -20.0), 0.01)]
    [(60, 0.2), (62, 0.4)]
    """
    settings = settings or PickSettings()
    line = _bridged(keys, round(GAP_S / hop_s))
    struck = set(_strikes(level_db, max(round(STRUCK_S / hop_s), 1)))
    spans = [
        (start, end)
        for first, last in _stretches(np.isfinite(line))
        for start, end in _split(line, struck, first, last, max(round(LEFT_S / hop_s), 1))
        if (end - start) * hop_s >= settings.shortest_s
    ]
    attack = round(ATTACK_S / hop_s)
    velocities = scale_velocities(
        [float(level_db[start : min(end, start + attack)].max()) for start, end in spans]
    )
    notes: list[PlayedNote] = []
    for (start, end), velocity in zip(spans, velocities, strict=True):
        key = min(max(round(float(np.median(line[start:end]))), 0), 127)
        bends = make_bends(line[start:end] - key, start * hop_s, hop_s) if settings.has_bends else ()
        note = PlayedNote(start_s=start * hop_s, end_s=end * hop_s, key=key, velocity=velocity, bends=bends)
        notes.append(note)
    return notes


def _stretches(is_on: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    steps = np.diff(np.pad(is_on.astype(np.int8), 1))
    return list(zip(np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True))


def _bridged(keys: Float64Array, longest_gap: int) -> Float64Array:
    """Fill short rests between pitches with a straight line."""
    line = keys.copy()
    for start, end in _stretches(~np.isfinite(keys)):
        if start > 0 and end < len(keys) and end - start <= longest_gap:
            line[start:end] = np.linspace(keys[start - 1], keys[end], end - start + 2)[1:-1]
    return line


def _strikes(level_db: Float64Array, reach: int) -> list[int]:
    """Return frames by which the level has risen so fast that something was struck."""
    if len(level_db) <= reach:
        return []
    rise = level_db[reach:] - level_db[:-reach]
    is_up = rise >= STRUCK_DB
    return [start + reach for start, _ in _stretches(is_up)]


def _split(line: Float64Array, struck: set[int], first: int, last: int, n_left: int) -> list[tuple[int, int]]:
    """Return the notes of a stretch of pitch without a rest."""
    starts = [first]
    key = _key(line, first, last)
    n_away = 0
    for frame in range(first, last):
        n_away = n_away + 1 if abs(line[frame] - key) > LEFT_SEMITONES else 0
        is_struck = frame in struck and frame - starts[-1] >= n_left
        if n_away == n_left or is_struck:
            start = frame if is_struck else frame - n_left + 1
            starts.append(max(start, starts[-1]))
            key, n_away = _key(line, frame, last), 0
    edges = [*starts, last]
    return [(start, end) for start, end in itertools.pairwise(edges) if end > start]


def _key(line: Float64Array, start: int, last: int) -> float:
    """Return the key that a note which begins here comes to."""
    return float(np.rint(np.median(line[start : min(start + 8, last)])))
