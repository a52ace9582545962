"""DAWproject files, read: tempo, meter, markers, tracks, audio clips, notes and controller lanes.

Conventions: times are beats (quarter notes) unless a ``timeUnit`` says seconds; a clip's time and duration
are in its parent's unit, what plays inside it in its ``contentTimeUnit``.

Source: DAWproject 1.0, bitwig/dawproject (README and Project.xsd).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import Clip, ControllerLane, DawNote, Session, Track
from bridge.daw.untrusted import (
    MAX_ITEMS,
    MAX_TEMPOS,
    check_count,
    naming,
    open_zip,
    parse_number,
    read_member,
    safe_member_names,
)
from bridge.daw.untrusted_xml import Table, parse_xml
from bridge.errors import SessionError

__all__ = ["PROJECT_MEMBER", "build_tempo_map", "find_tracks", "read_dawproject"]

PROJECT_MEMBER: Final = "project.xml"
_WARP_TOLERANCE_S: Final = 0.002
_MAX_CLIP_DEPTH: Final = 16
_SKIPPED: Final = ("Devices", "Scenes")
"""What a project holds much of and nothing is read from."""
_TABLES: Final = {
    "Notes": ("Note", ("time", "duration", "key", "vel", "channel")),
    "Points": ("RealPoint", ("time", "value")),
}
_NOTE_DEFAULTS: Final = (0.0, 0.0, 0.0, 0.8, 0.0)
_POINT_DEFAULTS: Final = (0.0, 0.0)


def read_dawproject(path: Path | str) -> Session:
    """Read a .dawproject file.

    Raises:
        SessionError: Not such a file, damaged or hostile.
    """
    path = Path(path)
    with open_zip(path, ".dawproject") as archive:
        names = safe_member_names(archive, str(path))
        member = read_member(archive, PROJECT_MEMBER, str(path))
        root = parse_xml(member, f"{path}: {PROJECT_MEMBER}", _SKIPPED, _TABLES)
    if root.tag != "Project":
        raise SessionError(f"{path}: {PROJECT_MEMBER} begins with <{root.tag}>, not <Project>")
    warnings: list[str] = []
    with naming(path):
        tempo_map = build_tempo_map(root, warnings, str(path))
    reader = _Reader(tempo_map, warnings, set(names), str(path))
    lanes = root.find("Arrangement/Lanes")
    if lanes is not None:
        reader.read_lanes(lanes, _TimeFrame(unit=lanes.get("timeUnit", "beats")), None)
    return Session(
        path=path,
        format="dawproject",
        tempo_map=replace(tempo_map, warnings=(*tempo_map.warnings, *warnings)),
        tracks=tuple(reader.build_track(element) for element in find_tracks(root)),
        warnings=tuple(warnings),
    )


def find_tracks(root: Element) -> Iterator[Element]:
    """Go through all tracks in order, those inside groups after their group."""
    structure = root.find("Structure")
    if structure is not None:
        yield from structure.iter("Track")


def build_tempo_map(root: Element, warnings: list[str], where: str) -> TempoMap:
    """Build the tempo map of a project from its transport and its automation."""
    bpm = _number(root.find("Transport/Tempo"), "value", 120.0, where)
    meter = root.find("Transport/TimeSignature")
    upper = int(_number(meter, "numerator", 4.0, where))
    lower = int(_number(meter, "denominator", 4.0, where))
    tempos: dict[float, tuple[float, bool]] = {}
    for point in _arrangement_points(root, "TempoAutomation", "RealPoint", warnings, where):
        is_ramp = point.get("interpolation") == "linear"
        tempos[_number(point, "time", 0.0, where)] = (_number(point, "value", bpm, where), is_ramp)
    meters: dict[float, tuple[int, int]] = {}
    for point in _arrangement_points(root, "TimeSignatureAutomation", "TimeSignaturePoint", warnings, where):
        upper_lower = [int(_number(point, name, 4.0, where)) for name in ("numerator", "denominator")]
        meters[_number(point, "time", 0.0, where)] = (upper_lower[0], upper_lower[1])
    if not tempos or min(tempos) > 0:
        tempos[0.0] = (tempos[min(tempos)][0] if tempos else bpm, False)
    if not meters or min(meters) > 0:
        meters[0.0] = (upper, lower)
    markers = root.find("Arrangement/Markers")
    return TempoMap.from_points(
        [(beat, value, "beats" if ramp else "hold") for beat, (value, ramp) in sorted(tempos.items())],
        [(beat, *values) for beat, values in sorted(meters.items())],
        [
            (_number(marker, "time", 0.0, where), marker.get("name", ""))
            for marker in (markers.findall("Marker") if markers is not None else ())
        ],
        source="session",
    )


def _arrangement_points(
    root: Element, name: str, kind: str, warnings: list[str], where: str
) -> Iterable[Element]:
    points = root.find(f"Arrangement/{name}")
    if points is None:
        return ()
    if points.get("timeUnit", "beats") != "beats":
        warnings.append(f"{name} counts seconds, not beats: left out")
        return ()
    found = points.findall(kind)
    check_count(len(found), MAX_TEMPOS, "tempos or meters", where)
    return [point for point in found if _number(point, "time", 0.0, where) >= 0]


def _number(element: Element | None, name: str, default: float, where: str) -> float:
    text = None if element is None else element.get(name)
    if element is None or text is None:
        return default
    return parse_number(text, f"{where}: <{element.tag} {name}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class _TimeFrame:
    """A stretch of the timeline in which local times count from an origin, in one unit."""

    unit: str = "beats"
    origin_beats: float = 0.0
    origin_s: float = 0.0
    end_s: float = math.inf


class _Reader:
    """Collect what lies on the tracks; the arrangement refers to them by id."""

    def __init__(self, tempo_map: TempoMap, warnings: list[str], members: set[str], where: str) -> None:
        self._tempo_map = tempo_map
        self._warnings = warnings
        self._members = members
        self._where = where
        self._n_clips = 0
        self._clips: dict[str, list[Clip]] = {}
        self._notes: dict[str, list[DawNote]] = {}
        self._lanes: dict[str, list[ControllerLane]] = {}

    def build_track(self, element: Element) -> Track:
        identifier = element.get("id", "")
        mute = element.find("Channel/Mute")
        return Track(
            name=element.get("name", ""),
            color=element.get("color", ""),
            is_muted=mute is not None and mute.get("value") == "true",
            clips=tuple(sorted(self._clips.get(identifier, ()), key=lambda clip: clip.start_s)),
            notes=tuple(sorted(self._notes.get(identifier, ()), key=lambda note: note.start_beats)),
            lanes=tuple(self._lanes.get(identifier, ())),
        )

    def read_lanes(self, element: Element, frame: _TimeFrame, track: str | None, depth: int = 0) -> None:
        """Read a timeline element and what is in it."""
        if depth > _MAX_CLIP_DEPTH:
            self._warnings.append(f"clips nested deeper than {_MAX_CLIP_DEPTH} levels are left out")
            return
        track = element.get("track", track)
        frame = replace(frame, unit=element.get("timeUnit", frame.unit))
        readers: dict[str, Callable[[Element, _TimeFrame, str], None]] = {
            "Notes": self._read_notes,
            "Points": self._read_points,
        }
        if element.tag in readers and track is not None:
            readers[str(element.tag)](element, frame, track)
            return
        for child in element:
            if child.tag == "Clip" and track is not None:
                self._read_clip(child, frame, track, depth)
            elif isinstance(child.tag, str):
                self.read_lanes(child, frame, track, depth)

    def _local(self, element: Element, name: str, default: float = 0.0) -> float:
        return _number(element, name, default, self._where)

    def _seconds(self, frame: _TimeFrame, times: npt.ArrayLike) -> Float64Array:
        times = np.asarray(times, np.float64)
        if frame.unit == "seconds":
            return frame.origin_s + times
        return self._tempo_map.beats_to_seconds(frame.origin_beats + times)

    def _beats(self, frame: _TimeFrame, times: npt.ArrayLike) -> Float64Array:
        times = np.asarray(times, np.float64)
        if frame.unit == "beats":
            return frame.origin_beats + times
        return self._tempo_map.seconds_to_beats(frame.origin_s + times)

    def _read_clip(self, clip: Element, frame: _TimeFrame, track: str, depth: int) -> None:
        if clip.get("enable") == "false":
            return
        self._n_clips += 1
        check_count(self._n_clips, MAX_ITEMS, "clips", self._where)
        time = self._local(clip, "time")
        start_s, start_beats = float(self._seconds(frame, time)), float(self._beats(frame, time))
        end_s = frame.end_s
        if clip.get("duration") is not None:
            end_s = min(end_s, float(self._seconds(frame, time + self._local(clip, "duration"))))
        unit = clip.get("contentTimeUnit", frame.unit)
        play_start = self._local(clip, "playStart")
        inner = _TimeFrame(unit=unit, origin_beats=start_beats, origin_s=start_s, end_s=end_s)
        if clip.get("loopEnd") is not None and clip.get("loopEnd") != clip.get("playStop"):
            self._warnings.append(f"clip {clip.get('name', '')!r} loops: only its first pass is imported")
        if unit == "seconds":
            moved = replace(inner, origin_s=start_s - play_start)
        else:
            moved = replace(inner, origin_beats=start_beats - play_start)
        for child in clip:
            if child.tag == "Audio":
                self._add_clip(clip, child, inner, play_start if unit == "seconds" else 0.0, track)
            elif child.tag == "Warps":
                self._read_warps(clip, child, inner, play_start, track)
            elif isinstance(child.tag, str):
                self.read_lanes(child, moved, track, depth + 1)

    def _read_warps(
        self, clip: Element, warps: Element, frame: _TimeFrame, play_start: float, track: str
    ) -> None:
        """Take over a clip whose warping only follows the tempo it already has."""
        audio = warps.find("Audio")
        if audio is None:
            return
        unit = warps.get("timeUnit", frame.unit)
        pairs = [(self._local(w, "time"), self._local(w, "contentTime")) for w in warps.findall("Warp")]
        base = _TimeFrame(
            unit=unit,
            origin_beats=frame.origin_beats - play_start,
            origin_s=frame.origin_s - play_start,
        )
        times_s = self._seconds(base, np.array([time for time, _ in pairs])).tolist()
        offsets = [
            content - (time_s - frame.origin_s) for time_s, (_, content) in zip(times_s, pairs, strict=True)
        ]
        if not offsets or max(offsets) - min(offsets) > _WARP_TOLERANCE_S:
            self._warnings.append(
                f"clip {clip.get('name', '')!r} is stretched against the tempo: left out; bounce it first"
            )
            return
        self._add_clip(clip, audio, frame, offsets[0], track)

    def _add_clip(
        self, clip: Element, audio: Element, frame: _TimeFrame, offset_s: float, track: str
    ) -> None:
        file = audio.find("File")
        if file is None or not file.get("path"):
            self._warnings.append(f"clip {clip.get('name', '')!r} names no file: left out")
            return
        media = file.get("path", "")
        is_embedded = file.get("external") != "true"
        if is_embedded and media not in self._members:
            self._warnings.append(f"clip {clip.get('name', '')!r}: {media} is not in the archive: left out")
            return
        end_s = min(frame.end_s, frame.origin_s + self._local(audio, "duration", math.inf) - offset_s)
        self._clips.setdefault(track, []).append(
            Clip(
                name=clip.get("name") or audio.get("name") or Path(media).stem,
                media=media,
                is_embedded=is_embedded,
                start_s=frame.origin_s,
                duration_s=max(0.0, end_s - frame.origin_s) if math.isfinite(end_s) else 0.0,
                offset_s=max(0.0, offset_s),
            )
        )

    def _read_notes(self, element: Element, frame: _TimeFrame, track: str) -> None:
        rows = _rows(element, _NOTE_DEFAULTS)
        starts, ends = self._beats(frame, rows[:, 0]), self._beats(frame, rows[:, 0] + rows[:, 1])
        is_heard = self._tempo_map.beats_to_seconds(starts) < frame.end_s
        columns = (starts, ends - starts, rows[:, 2].astype(int), rows[:, 3], rows[:, 4].astype(int))
        self._notes.setdefault(track, []).extend(
            DawNote(start_beats=start, duration_beats=duration, key=key, velocity=velocity, channel=channel)
            for start, duration, key, velocity, channel in zip(
                *(column[is_heard].tolist() for column in columns), strict=True
            )
        )

    def _read_points(self, element: Element, frame: _TimeFrame, track: str) -> None:
        target = element.find("Target")
        if target is None or target.get("expression") != "channelController":
            return
        rows = _rows(element, _POINT_DEFAULTS)
        beats = self._beats(frame, rows[:, 0]).tolist()
        self._lanes.setdefault(track, []).append(
            ControllerLane(
                controller=int(self._local(target, "controller")),
                channel=int(self._local(target, "channel")),
                points=tuple(sorted(zip(beats, rows[:, 1].tolist(), strict=True))),
            )
        )


def _rows(element: Element, defaults: tuple[float, ...]) -> Float64Array:
    """Return the (rows, columns) of a table; what a row does not say is its default."""
    if not isinstance(element, Table):
        return np.zeros((0, len(defaults)))
    rows = np.array(element.rows).reshape(-1, len(defaults))
    return np.where(np.isnan(rows), defaults, rows)
