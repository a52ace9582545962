"""What a session says, whatever program wrote it: tempo, markers, tracks and what lies on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.clock.tempo_map import TempoMap

__all__ = ["Clip", "ControllerLane", "DawNote", "Session", "StemTrack", "Track"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Place a stretch of an audio file on the timeline.

    Args:
        name: As the program shows it.
        media: The file: a path, or a name inside the session's archive.
        is_embedded: Whether `media` is a name inside the archive.
        start_s: Where it begins in the session.
        duration_s: How long it sounds.
        offset_s: Where in the file it begins.
    """

    name: str
    media: str
    is_embedded: bool
    start_s: float
    duration_s: float
    offset_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DawNote:
    """Hold one note; beats are quarter notes from the start of the song, velocity is 0 to 1."""

    start_beats: float
    duration_beats: float
    key: int
    velocity: float
    channel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerLane:
    """Hold one controller's automation, which keeps each value until the next.

    Args:
        controller: MIDI controller number.
        channel: MIDI channel, from 0.
        points: (beats, value 0 to 1) in order.
    """

    controller: int
    channel: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Hold one track.

    Args:
        name: As the program shows it.
        color: ``#rrggbb``, or nothing.
        is_muted: Whether it is silent in the session.
        clips: Audio, in order of time.
        notes: Notes, in order of time.
        lanes: Controller automation.
    """

    name: str
    color: str = ""
    is_muted: bool = False
    clips: tuple[Clip, ...] = ()
    notes: tuple[DawNote, ...] = ()
    lanes: tuple[ControllerLane, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Hold what was read of a session.

    Args:
        path: The file or folder.
        format: ``dawproject``, ``reaper``, ``live`` or ``folder``.
        tempo_map: Tempo, meter and markers.
        tracks: In the program's order, those inside groups too.
        sample_rate: Hz, where the session states one.
        warnings: What could not be taken over, and why.
    """

    path: Path
    format: str
    tempo_map: TempoMap
    tracks: tuple[Track, ...]
    sample_rate: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StemTrack:
    """Name what is handed back to the session.

    Args:
        source_track: Name of the track it was made from, after which the new one comes; None puts it last.
        name: Of the new track, such as ``Vocals [Lucid Bloom]``.
        audio: The rendered file.
        start_s: Where it begins in the session.
        depth_points: (beats, depth 0 to 1) of its envelope, written as a lane of controller 1; may be empty.
    """

    source_track: str | None
    name: str
    audio: Path
    start_s: float = 0.0
    depth_points: tuple[tuple[float, float], ...] = ()
