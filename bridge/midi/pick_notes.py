"""Notes out of probabilities that a network gives frame by frame.

An onset is a peak of a key's onsets. From there the key is followed while its probability stays high, over
short gaps; what is high without an onset is a note too, if it is clear and long. A sound that glides from key
to key is one note that bends.

Source:
    Bittner et al. 2022, "A lightweight instrument-agnostic model for polyphonic note transcription and
    multipitch estimation": thresholds on onsets and on notes, a shortest note, notes without an onset last.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bridge.arrays import BoolArray, Float64Array, FloatArray
from bridge.errors import InputError
from bridge.midi.note_bends import follow_pitch, make_bends
from bridge.midi.note_track import BEND_SEMITONES, PlayedNote

__all__ = ["NoteFrames", "PickSettings", "pick_notes", "scale_velocities"]

ONSET_APART_S = 0.05
"""Two onsets of a key are at least so far apart."""

ATTACK_S = 0.1
"""So soon after its onset a note must be heard; and so long its loudest moment is looked for."""

GAP_S = 0.08
"""A gap in a note that is bridged."""

AGAIN, AGAIN_DIP, AGAIN_RISE_DB = 0.22, 0.6, 12.0
"""A key that sounds begins anew where its onset is so much surer than asked, where its probability had fallen
to such a share of what follows, or where it grows by so much: what told struck notes from others on six
instruments."""

PARTIALS = (12, 19, 24, 28, 31, 34, 36)
PARTIAL_SHARE, PARTIAL_MOST = 0.62, 0.45
"""A key a partial above another is that partial where it is less probable than such a share of the other, and
than so much."""

MISSING_DB = 15.0
"""A key whose own pitch is softer than its partials by so much is none, where one of them is a likelier note
that begins with it."""

UNHEARD_S = 0.12
"""A note without an onset is at least so long."""

SILENT_DB = -70.0
"""A key whose loudest partial is softer has no note, whatever the network says: it knows no level."""

GLIDE_FRAMES = 4
"""A pitch that is for so many frames far from both keys glides; else it steps."""

LOUDEST_VELOCITY = 112
VELOCITY_DB = 40.0
"""What a velocity 10 times as small is softer: General MIDI level 2's square law."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoteFrames:
    """What is heard in each frame of a sound, the lowest pitch first.

    Args:
        notes: (keys, frames) probability that a key sounds.
        onsets: (keys, frames) probability that it begins.
        contours: (3 keys, frames) probability of a pitch; in tune key ``k`` is bin ``3 k + 1``.
        level_db: (keys, frames) of the sound at the key's pitch; a full-scale sine is 0.
        frame_s: From one frame to the next; the first is at the first sample.
        lowest_key: MIDI key of the first row.
    """

    notes: FloatArray
    onsets: FloatArray
    contours: FloatArray
    level_db: FloatArray
    frame_s: float
    lowest_key: int = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class PickSettings:
    """How sure notes must be, and how long.

    Args:
        onset: Probability of an onset, 0..1, from which a note begins.
        note: Probability of a note, 0..1, down to which it goes on.
        shortest_s: Shortest note in seconds, more than 0.
        has_bends: Whether notes that stray from their keys are bent.

    Raises:
        InputError: Out of range.

    >>> PickSettings(onset=0.6).note
    0.3
    """

    onset: float = 0.5
    note: float = 0.3
    shortest_s: float = 0.06
    has_bends: bool = True

    def __post_init__(self) -> None:
        for name, value in (("onset", self.onset), ("note", self.note)):
            if not 0.0 < value < 1.0:
                raise InputError(
                    f"{name} = {value:g} is no probability; more than 0 and less than 1 is accepted"
                )
        if not 0.0 < self.shortest_s <= 10.0:
            raise InputError(f"shortest = {self.shortest_s:g} s; more than 0 and at most 10 s is accepted")


@dataclass(frozen=True, slots=True)
class _Segment:
    """Frames ``start..end`` of a row; `parts` are those of a note that glides from row to row."""

    row: int
    start: int
    end: int
    has_onset: bool
    parts: tuple[_Segment, ...] = ()

    def __len__(self) -> int:
        return self.end - self.start

    def rows(self, frames: NoteFrames) -> Float64Array:
        """Return the row of each frame: of parts that sound together the likeliest."""
        rows = np.full(len(self), self.row, np.float64)
        highest = np.zeros(len(self))
        for part in self.parts:
            at = slice(part.start - self.start, part.end - self.start)
            likely = frames.notes[part.row, part.start : part.end]
            rows[at] = np.where(likely > highest[at], part.row, rows[at])
            highest[at] = np.maximum(highest[at], likely)
        return rows


def pick_notes(frames: NoteFrames, settings: PickSettings | None = None) -> list[PlayedNote]:
    """Pick notes in order of their starts.

    Args:
        frames: What was heard.
        settings: How sure notes must be.
    """
    settings = settings or PickSettings()
    pitch_db = frames.level_db
    frames = replace(frames, level_db=_loudest_partials(pitch_db))
    segments = [segment for row in range(len(frames.notes)) for segment in _follow_key(frames, row, settings)]
    joined = _join_glides(segments, frames)
    kept = [one for one in joined if _is_note(one, frames, settings)]
    rows = _by_row(kept)
    kept = [one for one in kept if one.has_onset or not _is_shadow(one, rows, frames)]
    rows = _by_row(kept)
    kept = [one for one in kept if not _is_partial(one, rows, frames)]
    rows = _by_row(kept)
    kept = [one for one in kept if not _is_sum(one, rows, pitch_db, frames)]
    loudness = [_level(one, frames) for one in kept]
    velocities = scale_velocities(loudness)
    notes = [
        _to_note(one, velocity, frames, settings) for one, velocity in zip(kept, velocities, strict=True)
    ]
    return sorted(notes, key=lambda note: (note.start_s, note.key))


def scale_velocities(levels_db: Sequence[float]) -> list[int]:
    """Turn levels into velocities: the loudest is 112, and 12 dB less are half as much.

    >>> scale_velocities([-20.0, -32.04])
    [112, 56]
    """
    top = max(levels_db, default=0.0)
    scaled = [LOUDEST_VELOCITY * 10.0 ** ((level - top) / VELOCITY_DB) for level in levels_db]
    return [min(max(round(velocity), 1), 127) for velocity in scaled]


def _loudest_partials(pitch_db: FloatArray) -> FloatArray:
    """Return the level of each key's loudest partial, of the first four."""
    loudest = pitch_db.copy()
    for partial in PARTIALS[:3]:
        np.maximum(loudest[:-partial], pitch_db[partial:], out=loudest[:-partial])
    return loudest


def _follow_key(frames: NoteFrames, row: int, settings: PickSettings) -> list[_Segment]:
    """Return where a key sounds: from onset to onset, or as long as it lasts."""
    is_heard = frames.level_db[row] > SILENT_DB
    is_on = (frames.notes[row] >= settings.note) & is_heard
    if not is_on.any():
        return []
    attack = round(ATTACK_S / frames.frame_s)
    onsets = _peaks(np.where(is_heard, frames.onsets[row], 0.0), settings.onset, frames.frame_s)
    found: list[_Segment] = []
    for start, end in _runs(is_on, round(GAP_S / frames.frame_s)):
        inside = [onset for onset in onsets if start - attack <= onset < end - 1]
        inside = [*inside[:1], *(one for one in inside[1:] if _begins_again(frames, row, one, settings))]
        first = inside[0] if inside else end
        if first > start + attack:
            found.append(_Segment(row, start, first, has_onset=False))
        edges = [*inside, end]
        found += [
            _Segment(row, one, _last_on(is_on, one, following), has_onset=True)
            for one, following in itertools.pairwise(edges)
        ]
    return [one for one in found if len(one) > 0]


def _begins_again(frames: NoteFrames, row: int, onset: int, settings: PickSettings) -> bool:
    """Say whether a key that sounds is struck again: clearly, or after a dip, or much louder.

    Where another note begins the network is easily led to hear that all do.
    """
    before, after = slice(max(onset - 6, 0), onset + 3), slice(onset, onset + 9)
    dip = frames.notes[row, before].min() / frames.notes[row, after].max()
    rise_db = frames.level_db[row, after].max() - frames.level_db[row, before].min()
    is_clear = frames.onsets[row, onset] >= settings.onset + AGAIN
    return bool(is_clear or dip <= AGAIN_DIP or rise_db >= AGAIN_RISE_DB)


def _last_on(is_on: BoolArray, start: int, end: int) -> int:
    """Return the frame behind the last one of a stretch in which the key sounds."""
    on = np.flatnonzero(is_on[start:end])
    return start + int(on[-1]) + 1 if len(on) else start


def _peaks(values: FloatArray, threshold: float, frame_s: float) -> list[int]:
    """Return local maxima at or above a threshold; of those too near each other the highest."""
    padded = np.pad(values, 1, constant_values=-1.0)
    is_peak = (values >= threshold) & (padded[:-2] < values) & (padded[2:] <= values)
    rows = np.flatnonzero(is_peak)
    apart = round(ONSET_APART_S / frame_s)
    kept: list[int] = []
    for row in rows[np.argsort(-values[rows], kind="stable")].tolist():
        if all(abs(row - other) >= apart for other in kept):
            kept.append(row)
    return sorted(kept)


def _runs(is_on: BoolArray, longest_gap: int) -> list[tuple[int, int]]:
    """Return stretches of true values, joined over gaps up to a length."""
    steps = np.diff(np.pad(is_on.astype(np.int8), 1))
    merged: list[tuple[int, int]] = []
    for start, end in zip(
        np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True
    ):
        if merged and start - merged[-1][1] <= longest_gap:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _join_glides(segments: Sequence[_Segment], frames: NoteFrames) -> list[_Segment]:
    """Join what begins on the next key without an onset, where the pitch glided there."""
    attack = round(ATTACK_S / frames.frame_s)
    over: list[_Segment] = []
    open_ones: list[_Segment] = []
    for one in sorted(segments, key=lambda segment: (segment.start, segment.row)):
        over += [other for other in open_ones if other.end + attack < one.start]
        open_ones = [other for other in open_ones if other.end + attack >= one.start]
        before = [] if one.has_onset else [other for other in open_ones if _leads_to(other, one, frames)]
        if before:
            latest = max(before, key=lambda other: other.end)
            open_ones.remove(latest)
            open_ones.append(_joined(latest, one, frames))
        else:
            open_ones.append(one)
    return over + open_ones


def _leads_to(before: _Segment, after: _Segment, frames: NoteFrames) -> bool:
    attack = round(ATTACK_S / frames.frame_s)
    rows = [after.row, *(part.row for part in _parts(before))]
    return max(rows) - min(rows) <= BEND_SEMITONES and any(
        abs(part.row - after.row) == 1
        and part.start < after.start <= part.end + attack
        and _glides(part, after, frames)
        for part in _parts(before)
    )


def _parts(segment: _Segment) -> tuple[_Segment, ...]:
    return segment.parts or (segment,)


def _joined(before: _Segment, after: _Segment, frames: NoteFrames) -> _Segment:
    """Make one of two; its key is that on which it is for longest."""
    end = max(before.end, after.end)
    both = replace(before, end=end, parts=(*_parts(before), after))
    rows, n_frames = np.unique(both.rows(frames), return_counts=True)
    return replace(both, row=int(rows[n_frames.argmax()]))


def _glides(before: _Segment, after: _Segment, frames: NoteFrames) -> bool:
    """Say whether a pitch goes through what lies between two keys, rather than from one to the other."""
    low, high = sorted((before.row, after.row))
    margin = round(ATTACK_S / frames.frame_s)
    start = max(min(before.end, after.start) - margin, before.start)
    end = min(max(before.end, after.start) + margin, after.end)
    pitch = follow_pitch(frames.contours, np.full(end - start, (low + high) / 2), start)
    is_between = (pitch > low + 0.25) & (pitch < high - 0.25)
    return int(is_between.sum()) >= GLIDE_FRAMES


def _is_note(segment: _Segment, frames: NoteFrames, settings: PickSettings) -> bool:
    if len(segment) * frames.frame_s < settings.shortest_s:
        return False
    if segment.has_onset:
        return True
    peak = max(frames.notes[part.row, part.start : part.end].max() for part in _parts(segment))
    return len(segment) * frames.frame_s >= UNHEARD_S and float(peak) >= settings.onset


def _by_row(segments: Iterable[_Segment]) -> Mapping[int, list[_Segment]]:
    rows: dict[int, list[_Segment]] = defaultdict(list)
    for segment in segments:
        rows[segment.row].append(segment)
    return rows


def _is_shadow(segment: _Segment, rows: Mapping[int, list[_Segment]], frames: NoteFrames) -> bool:
    """Say whether a note without an onset is what a stronger one beside it leaves on its key."""
    own = frames.notes[segment.row, segment.start : segment.end].mean()
    for other in itertools.chain(*(rows.get(segment.row + step, ()) for step in (-1, 1))):
        shared = min(segment.end, other.end) - max(segment.start, other.start)
        is_beside = 2 * shared > len(segment)
        if is_beside and frames.notes[other.row, other.start : other.end].mean() > own:
            return True
    return False


def _is_partial(segment: _Segment, rows: Mapping[int, list[_Segment]], frames: NoteFrames) -> bool:
    """Say whether a faint note is a partial of one that began with it or before."""
    own = frames.notes[segment.row, segment.start : segment.end].mean()
    if own >= PARTIAL_MOST:
        return False
    for other in itertools.chain(*(rows.get(segment.row - partial, ()) for partial in PARTIALS)):
        if other.start <= segment.start + 4 < other.end:
            shared = slice(segment.start, min(segment.end, other.end))
            likely = frames.notes[other.row, shared].mean()
            if frames.notes[segment.row, shared].mean() < PARTIAL_SHARE * likely:
                return True
    return False


def _is_sum(
    segment: _Segment, rows: Mapping[int, list[_Segment]], pitch_db: FloatArray, frames: NoteFrames
) -> bool:
    """Say whether a note is what others that begin with it make together, and nothing is at its own pitch."""
    end = min(segment.end, segment.start + 2 * round(ATTACK_S / frames.frame_s))
    at = segment.row, slice(segment.start, end)
    if float((pitch_db[at] - frames.level_db[at]).max()) > -MISSING_DB:
        return False
    own = frames.notes[at].mean()
    return any(
        abs(other.start - segment.start) <= 4
        and frames.notes[other.row, other.start : max(end, other.start + 1)].mean() > own
        for partial in PARTIALS
        for other in rows.get(segment.row + partial, ())
    )


def _level(segment: _Segment, frames: NoteFrames) -> float:
    """Return how loud a note is in its attack."""
    end = min(segment.end, segment.start + round(ATTACK_S / frames.frame_s) + 1)
    return float(frames.level_db[_parts(segment)[0].row, segment.start : end].max())


def _to_note(segment: _Segment, velocity: int, frames: NoteFrames, settings: PickSettings) -> PlayedNote:
    start_s, end_s = segment.start * frames.frame_s, segment.end * frames.frame_s
    note = PlayedNote(start_s=start_s, end_s=end_s, key=frames.lowest_key + segment.row, velocity=velocity)
    if not settings.has_bends:
        return note
    off = follow_pitch(frames.contours, segment.rows(frames), segment.start) - segment.row
    return replace(note, bends=make_bends(off, start_s, frames.frame_s))
