"""What a session says, whatever program wrote it: tempo, markers, tracks and what lies on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bridge.clock.tempo_map import TempoMap

__all__ = [
    "AutomationLane",
    "Clip",
    "ClipFade",
    "ControllerLane",
    "DawNote",
    "FadeShape",
    "FileLoop",
    "GainLine",
    "Session",
    "StemTrack",
    "Track",
]

FadeShape = Literal[
    "linear", "fast_start", "slow_start", "faster_start", "slower_start", "s_curve", "steep_s_curve"
]
"""How a fade in rises from 0 to 1: straight, steep first, flat first, the same steeper, flat at both ends.

A fade out falls as it rises, backwards.
"""

GainLine = tuple[tuple[float, float], ...]
"""(seconds, factor) in order, a straight line from each to the next and level beyond the outer ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFade:
    """Let a clip rise from silence at its start, or fall to it at its end.

    Args:
        length_s: From silence to full, seconds.
        shape: How it rises.
    """

    length_s: float
    shape: FadeShape = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLoop:
    """Name what of a file repeats once it has been played up to its end.

    Args:
        start_s: Where in the file it begins.
        end_s: Where it ends; None is the end of the file.
    """

    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Place a stretch of an audio file on the timeline.

    Args:
        name: As the program shows it.
        media: The file: a path, or a name inside the session's archive.
        is_embedded: Whether `media` is a name inside the archive.
        start_s: Where it begins in the session.
        duration_s: How long it sounds; 0 is as long as the file goes on.
        offset_s: Where in the file it begins; in `section`, where there is one.
        section_s: Start and end of the part of the file that stands for all of it; None is the whole file.
        gain: What its samples are multiplied by; negative where its polarity is turned.
        gain_lines: Each multiplies them too, from the clip's start on.
        pan: -1 left to 1 right: the other side gets fainter, its own stays.
        fade_in: At its start.
        fade_out: At its end.
        is_reversed: Whether the file, or its section, is played backwards; places count from where it begins.
        loop: What repeats; None plays on, and is silent after the file.
        rate: Seconds of the file in a second of the session.
        keeps_pitch: Whether a rate other than 1 leaves the pitch as it is.
        channel: ``all`` channels of the file, ``mono`` for their mean, or one of them.
    """

    name: str
    media: str
    is_embedded: bool
    start_s: float
    duration_s: float
    offset_s: float = 0.0
    section_s: tuple[float, float] | None = None
    gain: float = 1.0
    gain_lines: tuple[GainLine, ...] = ()
    pan: float = 0.0
    fade_in: ClipFade | None = None
    fade_out: ClipFade | None = None
    is_reversed: bool = False
    loop: FileLoop | None = None
    rate: float = 1.0
    keeps_pitch: bool = False
    channel: Literal["all", "mono", "swapped", "left", "right"] = "all"


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
class AutomationLane:
    """Hold the automation of one parameter of a track or of a plugin on it.

    Args:
        name: Of the parameter, such as ``Volume`` or ``Cutoff``.
        device: Of the plugin; empty for the track's own fader and pan.
        low: The lowest value the parameter has.
        high: The highest.
        points: (beats, value, whether it is a straight line to the next) in order.
    """

    name: str
    device: str = ""
    low: float = 0.0
    high: float = 1.0
    points: tuple[tuple[float, float, bool], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Hold one track.

    Args:
        name: As the program shows it.
        group: Name of the group or folder it is in; empty where it is in none.
        color: ``#rrggbb``, or nothing.
        is_muted: Whether it is silent in the session.
        gain: Its fader, as a factor.
        pan: -1 left to 1 right.
        clips: Audio, in order of time.
        notes: Notes, in order of time.
        lanes: Controller automation.
        automation: Of its parameters.
    """

    name: str
    group: str = ""
    color: str = ""
    is_muted: bool = False
    gain: float = 1.0
    pan: float = 0.0
    clips: tuple[Clip, ...] = ()
    notes: tuple[DawNote, ...] = ()
    lanes: tuple[ControllerLane, ...] = ()
    automation: tuple[AutomationLane, ...] = ()


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
