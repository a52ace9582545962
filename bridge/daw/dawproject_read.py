"""DAWproject files, read: tempo, meter, markers, tracks and the mixer.

`dawproject_clips` reads what lies on the tracks.

Conventions: times are beats (quarter notes) unless a ``timeUnit`` says seconds.

Source: DAWproject 1.0, bitwig/dawproject (README and Project.xsd).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np

from bridge.clock.tempo_map import TempoMap
from bridge.clock.tempo_segments import RampLaw
from bridge.daw.dawproject_clips import ArrangementReader
from bridge.daw.dawproject_frames import number_of, table_rows
from bridge.daw.model import Session, Track
from bridge.daw.untrusted import (
    MAX_TEMPOS,
    check_count,
    naming,
    open_zip,
    read_member,
    safe_member_names,
)
from bridge.daw.untrusted_xml import parse_xml
from bridge.errors import SessionError

__all__ = ["PROJECT_MEMBER", "build_tempo_map", "find_tracks", "read_dawproject"]

PROJECT_MEMBER: Final = "project.xml"
_SKIPPED: Final = ("Devices", "Scenes")
"""What a project holds much of and nothing is read from."""
_MARKERS: Final = ("Arrangement/Markers", "Arrangement/Lanes/Markers", "Arrangement/Lanes/markers")
_TABLES: Final = {
    "Notes": ("Note", ("time", "duration", "key", "vel", "channel")),
    "Points": ("RealPoint", ("time", "value", "interpolation")),
}


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
        tempo_map = build_tempo_map(root, str(path), warnings)
    reader = ArrangementReader(root, tempo_map, warnings, set(names), path)
    lanes = root.find("Arrangement/Lanes")
    if lanes is not None:
        reader.read(lanes)
    return Session(
        path=path,
        format="dawproject",
        tempo_map=tempo_map,
        tracks=tuple(_build_tracks(root, reader, str(path))),
        warnings=tuple(warnings),
    )


def find_tracks(root: Element) -> Iterator[Element]:
    """Go through all tracks in order, those inside groups after their group."""
    structure = root.find("Structure")
    if structure is not None:
        yield from structure.iter("Track")


def _build_tracks(root: Element, reader: ArrangementReader, where: str) -> Iterator[Track]:
    groups = {child: parent for parent in find_tracks(root) for child in parent.findall("Track")}
    for element in find_tracks(root):
        parent = groups.get(element)
        mute = element.find("Channel/Mute")
        lying = reader.lying_on(element.get("id", ""))
        yield Track(
            name=element.get("name", ""),
            group="" if parent is None else parent.get("name", ""),
            color=element.get("color", ""),
            is_muted=mute is not None and mute.get("value") == "true",
            gain=_gain(element.find("Channel/Volume"), where),
            pan=_pan(element.find("Channel/Pan"), where),
            clips=tuple(sorted(lying.clips, key=lambda clip: clip.start_s)),
            notes=tuple(sorted(lying.notes, key=lambda note: note.start_beats)),
            lanes=tuple(lying.lanes),
            automation=tuple(lying.automation),
        )


def _gain(volume: Element | None, where: str) -> float:
    value = number_of(volume, "value", 1.0, where)
    if volume is not None and volume.get("unit") == "decibel":
        return float(10.0 ** (min(value, 60.0) / 20.0))
    return value


def _pan(pan: Element | None, where: str) -> float:
    is_normal = pan is None or pan.get("unit", "normalized") == "normalized"
    value = number_of(pan, "value", 0.5 if is_normal else 0.0, where)
    return float(np.clip(2.0 * value - 1.0 if is_normal else value, -1.0, 1.0))


def build_tempo_map(root: Element, where: str, warnings: list[str] | None = None) -> TempoMap:
    """Build the tempo map of a project from its transport and its automation.

    Args:
        root: The project.
        where: Put at the start of an error.
        warnings: Gets a line where the project says no tempo.
    """
    tempo = root.find("Transport/Tempo")
    bpm = number_of(tempo, "value", 120.0, where)
    meter = root.find("Transport/TimeSignature")
    upper = int(number_of(meter, "numerator", 4.0, where))
    lower = int(number_of(meter, "denominator", 4.0, where))
    tempos = _tempos(root, bpm, where)
    if not tempos and (tempo is None or tempo.get("value") is None) and warnings is not None:
        warnings.append("says no tempo: 120 BPM are taken; give the song's with --bpm")
    tempos = tempos or [(0.0, bpm, "hold")]
    clock = cache(lambda: TempoMap.from_points(tempos))  # a long one takes a second, and few need it
    meters: dict[float, tuple[int, int]] = {}
    points, unit = _arrangement_points(root, "TimeSignatureAutomation", "TimeSignaturePoint", where)
    for time, point in points:
        upper_lower = [int(number_of(point, name, 4.0, where)) for name in ("numerator", "denominator")]
        meters[_beat(clock, time, unit)] = (upper_lower[0], upper_lower[1])
    if not meters or min(meters) > 0:
        meters[0.0] = (upper, lower)
    return TempoMap.from_points(
        tempos,
        [(beat, *values) for beat, values in sorted(meters.items())],
        list(_markers(root, clock, where)),
        source="session",
    )


def _markers(root: Element, clock: Callable[[], TempoMap], where: str) -> Iterator[tuple[float, str]]:
    """Return the song's markers, which some programs put among the lanes."""
    unit = "beats"
    for place in ("Arrangement/Lanes", *_MARKERS):
        markers = root.find(place)
        if markers is None:
            continue
        own = markers.get("timeUnit", unit if "Lanes" in place else "beats")
        if place == "Arrangement/Lanes":
            unit = own
            continue
        for number, marker in enumerate(markers.findall("Marker"), 1):
            beat = _beat(clock, number_of(marker, "time", 0.0, where), own)
            yield beat, marker.get("name") or f"Marker {number}"


def _beat(clock: Callable[[], TempoMap], time: float, unit: str) -> float:
    return float(clock().seconds_to_beats(time)) if unit == "seconds" else time


def _tempos(root: Element, bpm: float, where: str) -> list[tuple[float, float, RampLaw]]:
    """Return the tempos in beats; points that count seconds are joined by lines straight over time."""
    rows, unit = _tempo_rows(root, bpm, where)
    ramp: RampLaw = "time" if unit == "seconds" else "beats"
    tempos: list[tuple[float, float, RampLaw]] = []
    beats = last = 0.0
    for time, value, is_line in rows:
        if not tempos and time > 0:  # before its first point, automation is what it is there
            tempos.append((0.0, value, "hold"))
        if unit == "seconds":
            before = tempos[-1] if tempos else (0.0, value, "hold")
            pace = (before[1] + value) / 2 if before[2] == "time" else before[1]
            beats += (time - last) / 60 * pace
            last = time
        else:
            beats = time
        tempos.append((beats, value, ramp if is_line else "hold"))
    return tempos


def _tempo_rows(root: Element, bpm: float, where: str) -> tuple[list[tuple[float, float, bool]], str]:
    """Return the points of the tempo as (time, value, whether a line begins), and what they count.

    They stand in the automation itself, or in <Points> within it.
    """
    points, unit = _arrangement_points(root, "TempoAutomation", "RealPoint", where)
    rows = [
        (time, number_of(point, "value", bpm, where), point.get("interpolation") == "linear")
        for time, point in points
    ]
    automation = root.find("Arrangement/TempoAutomation")
    for inner in automation.findall("Points") if automation is not None else ():
        nested = table_rows(inner, (0.0, bpm, 0.0)).tolist()
        check_count(len(nested), MAX_TEMPOS, "tempos or meters", where)
        rows += [(time, value, is_line != 0) for time, value, is_line in nested if time >= 0]
        unit = inner.get("timeUnit", unit)
    return sorted(rows, key=lambda row: row[0]), unit


def _arrangement_points(
    root: Element, name: str, kind: str, where: str
) -> tuple[Sequence[tuple[float, Element]], str]:
    """Return the points of an automation by time, from the song's start on, and what they count."""
    points = root.find(f"Arrangement/{name}")
    if points is None:
        return (), "beats"
    found = [*points.findall(kind), *points.findall(f"Points/{kind}")]
    check_count(len(found), MAX_TEMPOS, "tempos or meters", where)
    rows = [(number_of(point, "time", 0.0, where), point) for point in found]
    rows.sort(key=lambda row: row[0])
    return [row for row in rows if row[0] >= 0], points.get("timeUnit", "beats")
