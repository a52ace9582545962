"""What a session plays, as a MIDI file in memory: notes and controllers a track, and what it draws.

Times are ticks so short that none is heard: 16 microseconds at 120 BPM.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Final

import numpy as np

from bridge.daw.model import Session
from bridge.midi.file import MetaEvent, MidiFile, MidiTrack
from bridge.midi.messages import CONTROLLER, NOTE_OFF, NOTE_ON, TRACK_NAME

__all__ = ["add_session", "lane_points", "session_midi"]

TICKS_PER_BEAT: Final = 30_720


def add_session(midi: MidiFile | None, session: Session) -> MidiFile | None:
    """Return what a session plays, or a MIDI file given in its place, with what the session draws."""
    own = session_midi(session)
    if midi is None or own is None:
        return own if midi is None else midi
    return replace(midi, automation=own.automation)


def session_midi(session: Session) -> MidiFile | None:
    """Return what a session plays; None where it has neither notes, controllers nor automation."""
    playing = [track for track in session.tracks if track.notes or track.lanes]
    automation = lane_points(session)
    if not playing and not automation:
        return None
    # At one tick notes end before others begin, and a controller moves before a note hears it.
    rows: list[tuple[int, int, int, int, int, int]] = []
    metas, tracks = [], []
    for number, track in enumerate(playing):
        own: list[tuple[int, int, int, int, int, int]] = []
        for note in track.notes:
            start = round(note.start_beats * TICKS_PER_BEAT)
            end = max(start + 1, round((note.start_beats + note.duration_beats) * TICKS_PER_BEAT))
            velocity = min(127, max(1, round(note.velocity * 127)))
            channel = note.channel & 15
            own.append((start, 2, NOTE_ON | channel, note.key & 127, velocity, number))
            own.append((end, 0, NOTE_OFF | channel, note.key & 127, 0, number))
        for lane in track.lanes:
            status = CONTROLLER | lane.channel & 15
            own += [
                (round(beats * TICKS_PER_BEAT), 1, status, lane.controller & 127, _seven_bits(value), number)
                for beats, value in lane.points
            ]
        rows += own
        name = track.name.encode()
        metas.append(MetaEvent(tick=0, track=number, kind=TRACK_NAME, data=name, index=0))
        tracks.append(
            MidiTrack(name=track.name, n_events=len(own), end_tick=max((row[0] for row in own), default=0))
        )
    rows.sort(key=lambda row: (row[0], row[5], row[1]))
    columns = np.array([row for row in rows if row[0] >= 0] or np.zeros((0, 6)), np.int64).reshape(-1, 6)
    return MidiFile(
        name=session.path.name,
        smf_type=1,
        ticks_per_beat=TICKS_PER_BEAT,
        ticks_per_second=None,
        tick=columns[:, 0],
        status=columns[:, 2].astype(np.uint8),
        data1=columns[:, 3].astype(np.uint8),
        data2=columns[:, 4].astype(np.uint8),
        track=columns[:, 5].astype(np.int32),
        metas=tuple(metas),
        sysexes=(),
        tracks=tuple(tracks),
        automation=automation,
    )


def _seven_bits(value: float) -> int:
    return min(127, max(0, round(value * 127)))


def lane_points(session: Session) -> dict[str, tuple[tuple[float, float, bool], ...]]:
    """Return a session's automation by ``Track/Parameter``, each from 0 at its lowest to 1 at its highest.

    Of two of one name in a track the second is ``Track/Parameter 2``.
    """
    lanes: dict[str, tuple[tuple[float, float, bool], ...]] = {}
    for track in session.tracks:
        for lane in track.automation:
            span = lane.high - lane.low or 1.0
            points = tuple(
                (at, min(1.0, max(0.0, (v - lane.low) / span)), line) for at, v, line in lane.points
            )
            base = f"{track.name}/{lane.name}"
            name = next(
                n for i in itertools.count(1) if (n := base if i == 1 else f"{base} {i}") not in lanes
            )
            lanes[name] = points
    return lanes
