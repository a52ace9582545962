"""What lies in a DAWproject's arrangement: audio clips, notes, controller lanes and automation.

Conventions: a clip's time and duration are in its parent's unit, what plays inside it in its
``contentTimeUnit``. Inside, what plays begins at ``playStart`` and, where it loops, goes back from
``loopEnd`` to ``loopStart``: each pass is read as a clip of its own. A clip cuts what is in it at both ends;
a negative fade makes it so much longer. What is not read is noted with its track and its clip.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.daw.dawproject_audio import POINT_DEFAULTS, AudioPlacer
from bridge.daw.dawproject_frames import (
    Around,
    FrameClock,
    Notebook,
    TimeFrame,
    fades_as_lines,
    table_rows,
)
from bridge.daw.model import AutomationLane, Clip, ClipFade, ControllerLane, DawNote
from bridge.daw.places import HAIR_BEATS, HAIR_S
from bridge.daw.untrusted import MAX_ITEMS, check_count
from bridge.daw.untrusted_xml import Table

__all__ = ["ArrangementReader", "Lying"]

_MAX_CLIP_DEPTH: Final = 16
_NOTE_DEFAULTS: Final = (0.0, 0.0, 0.0, 0.8, 0.0)
_PARAMETERS: Final = ("Volume", "Pan", "Mute")
_GROUPS: Final = ("Lanes", "Clips")
_SOUNDING: Final = (*_GROUPS, "Audio", "Warps")
_TIMELINES: Final = (*_SOUNDING, "Notes", "Points", "Video", "ClipSlot", "Markers")
_VALUES: Final = {"true": 1.0, "false": 0.0}


@dataclass(slots=True)
class Lying:
    """What lies on one track."""

    clips: list[Clip] = field(default_factory=list)
    notes: list[DawNote] = field(default_factory=list)
    lanes: list[ControllerLane] = field(default_factory=list)
    automation: list[AutomationLane] = field(default_factory=list)


class ArrangementReader:
    """Collect what lies on the tracks; the arrangement refers to them by id.

    Args:
        root: The project.
        tempo_map: Its clock.
        warnings: Gets a line for all that cannot be taken over.
        members: The names in its archive.
        path: Its file.
    """

    def __init__(
        self, root: Element, tempo_map: TempoMap, warnings: list[str], members: set[str], path: Path
    ) -> None:
        self._clock = FrameClock(tempo_map, str(path))
        tracks = {track.get("id", ""): track.get("name", "") for track in root.iter("Track")}
        self._notebook = Notebook(warnings, tracks)
        self._audio = AudioPlacer(self._clock, self._notebook, members, path)
        self._n_clips = 0
        self._lying: dict[str, Lying] = {}
        self._foreign: Counter[str] = Counter()
        self._by_id = {element.get("id"): element for element in root.iter() if element.get("id")}
        self._parameters = {
            parameter.get("id"): parameter
            for channel in root.iter("Channel")
            for parameter in channel
            if parameter.tag in _PARAMETERS
        }

    def lying_on(self, track: str) -> Lying:
        """Return what lies on a track, by its id."""
        return self._lying.setdefault(track, Lying())

    def read(self, arrangement: Element) -> None:
        """Read the lanes of an arrangement, and note what of them belongs to nothing."""
        frame = TimeFrame(unit=self._notebook.unit_of(arrangement, "timeUnit", "beats"))
        self._read(arrangement, frame, Around())
        for track, count in self._foreign.items():
            name = self._notebook.tracks.get(track, "")
            lanes = "lane" if count == 1 else "lanes"
            self._notebook.say(f"track {name!r}: {count} {lanes} of automation of its devices not read")
        lost = [one for track, one in self._lying.items() if track not in self._notebook.tracks]
        n_clips, n_notes = sum(len(one.clips) for one in lost), sum(len(one.notes) for one in lost)
        if n_clips or n_notes:
            self._notebook.say(f"{n_clips} clips and {n_notes} notes lie on no track of it: left out")

    def _read(self, element: Element, frame: TimeFrame, around: Around) -> None:
        """Read a timeline and what is in it."""
        if around.depth > _MAX_CLIP_DEPTH:
            self._notebook.say(f"clips nested deeper than {_MAX_CLIP_DEPTH} levels are left out")
            return
        around = replace(around, track=element.get("track", around.track))
        frame = replace(frame, unit=self._notebook.unit_of(element, "timeUnit", frame.unit))
        match element.tag:
            case "Notes":
                self._read_notes(element, frame, around)
            case "Points":
                self._read_points(element, frame, around)
            case "Audio" | "Warps":
                place = self._audio.place if element.tag == "Audio" else self._audio.place_warped
                clip = place(element, frame, around)
                if clip is not None:
                    self.lying_on(around.track).clips.append(clip)
            case "Video":
                self._notebook.say_of(around, "plays a video: left out")
            case "Lanes" | "Clips":
                self._read_group(element, frame, around)
            case str() if around.track or around.depth:  # markers of the song are read elsewhere
                self._notebook.say_of(around, f"holds <{element.tag}>, which is not read")

    def _read_group(self, element: Element, frame: TimeFrame, around: Around) -> None:
        """Read what lies side by side; a gain expression among it weighs the rest."""
        gains = [points for points in element.findall("Points") if _expression(points) == "gain"]
        sounds = any(child.tag in _SOUNDING for child in element)
        for points in gains:
            unit = self._notebook.unit_of(points, "timeUnit", frame.unit)
            line = self._audio.gain_line(points, replace(frame, unit=unit), around)
            if line is not None and sounds:
                around = replace(around, gain_lines=(*around.gain_lines, line))
            elif line is not None:
                self._notebook.say_of(around, "has a gain curve for its notes, which is not followed")
        for child in element:
            if child.tag == "Clip":
                self._read_clip(child, frame, around)
            elif isinstance(child.tag, str) and child not in gains:
                self._read(child, frame, around)

    def _read_clip(self, clip: Element, frame: TimeFrame, around: Around) -> None:
        if clip.get("enable") == "false":
            return
        time = self._clock.number(clip, "time")
        start = float(self._clock.seconds(frame, time)), float(self._clock.beats(frame, time))
        unit = self._notebook.unit_of(clip, "contentTimeUnit", frame.unit)
        own_end_s = self._end_s(clip, frame, time, start, unit)
        fade_in_s = self._clock.fade_s(clip, "fadeInTime", unit, start[0])
        fade_out_s = self._clock.fade_s(clip, "fadeOutTime", unit, own_end_s)
        lead_s, end_s = max(0.0, -fade_in_s), min(frame.end_s, own_end_s + max(0.0, -fade_out_s))
        lines = fades_as_lines(frame.start_s, around.fade_in, frame.end_s, around.fade_out)
        inside = replace(
            around,
            name=clip.get("name") or around.name,
            depth=around.depth + 1,
            start_s=start[0],
            gain_lines=(*around.gain_lines, *lines),
        )
        content = self._content(clip, inside)
        for number, inner in enumerate(self._passes(clip, unit, start, lead_s, end_s)):
            self._n_clips += 1
            check_count(self._n_clips, MAX_ITEMS, "clips", self._clock.where)
            cut = replace(inner, start_s=max(inner.start_s, frame.start_s))
            if cut.end_s <= cut.start_s:
                continue
            begins, ends = number == 0 and cut.start_s == inner.start_s, inner.end_s >= end_s
            faded = replace(
                inside,
                fade_in=ClipFade(length_s=abs(fade_in_s)) if fade_in_s and begins else None,
                fade_out=ClipFade(length_s=abs(fade_out_s)) if fade_out_s and ends else None,
            )
            for child in content:
                self._read(child, cut, faded)

    def _content(self, clip: Element, inside: Around) -> Sequence[Element]:
        """Return what a clip plays: what is in it, or what it refers to."""
        reference = clip.get("reference")
        if reference is None:
            return [child for child in clip if isinstance(child.tag, str)]
        content = self._by_id.get(reference)
        if content is None or content.tag not in _TIMELINES:
            self._notebook.say_of(inside, f"plays {reference!r}, which is not in the project: left out")
            return ()
        return (content,)

    def _end_s(
        self, clip: Element, frame: TimeFrame, time: float, start: tuple[float, float], unit: str
    ) -> float:
        """Return when a clip ends: after its duration, or where what it plays is to stop."""
        if clip.get("duration") is not None:
            return float(self._clock.seconds(frame, time + self._clock.number(clip, "duration")))
        if clip.get("playStop") is None:
            return math.inf
        length = self._clock.number(clip, "playStop") - self._clock.number(clip, "playStart")
        begun = TimeFrame(unit=unit, origin_s=start[0], origin_beats=start[1])
        return float(self._clock.seconds(begun, length))

    def _passes(
        self, clip: Element, unit: str, start: tuple[float, float], lead_s: float, end_s: float
    ) -> Iterator[TimeFrame]:
        """Return the frames of what plays inside a clip, one for each pass of its loop."""
        first = self._clock.number(clip, "playStart")
        loop_start = self._clock.number(clip, "loopStart")
        loop_end = self._clock.number(clip, "loopEnd", math.nan)
        tempo_map = self._clock.tempo_map
        at_s, at_beats = start
        while True:
            if unit == "seconds":
                origin_s = at_s - first
                origin_beats = float(tempo_map.seconds_to_beats(origin_s))
            else:
                origin_beats = at_beats - first
                origin_s = float(tempo_map.beats_to_seconds(origin_beats))
            one = TimeFrame(
                unit=unit, origin_beats=origin_beats, origin_s=origin_s, start_s=at_s - lead_s, end_s=end_s
            )
            lead_s = 0.0
            loops = loop_end > max(loop_start, first)
            stop_s = float(self._clock.seconds(one, loop_end)) if loops else math.inf
            if not math.isfinite(end_s) or stop_s >= end_s - HAIR_S:
                yield one
                return
            yield replace(one, end_s=stop_s)
            at_s, at_beats = stop_s, float(self._clock.beats(one, loop_end))
            first = loop_start

    def _read_notes(self, element: Element, frame: TimeFrame, around: Around) -> None:
        rows = table_rows(element, _NOTE_DEFAULTS)
        if isinstance(element, Table) and element.has_inner:
            self._notebook.say_of(around, "has curves of single notes, which are not followed")
        starts, ends = self._clock.beats(frame, rows[:, 0]), self._clock.beats(frame, rows[:, 0] + rows[:, 1])
        first, last = self._clock.tempo_map.seconds_to_beats(
            np.clip([frame.start_s, frame.end_s], -1e9, 1e9)
        ).tolist()
        is_heard = (starts >= first - HAIR_BEATS) & (starts < last - HAIR_BEATS)
        starts, ends = np.maximum(starts, first), np.minimum(ends, last)
        columns = (starts, ends - starts, rows[:, 2].astype(int), rows[:, 3], rows[:, 4].astype(int))
        self.lying_on(around.track).notes.extend(
            DawNote(start_beats=start, duration_beats=duration, key=key, velocity=velocity, channel=channel)
            for start, duration, key, velocity, channel in zip(
                *(column[is_heard].tolist() for column in columns), strict=True
            )
        )

    def _read_points(self, element: Element, frame: TimeFrame, around: Around) -> None:
        target = element.find("Target")
        if target is None:
            self._notebook.say_of(around, "has points that move nothing: left out")
            return
        rows = self._rows(element)
        beats, values = self._clock.beats(frame, rows[:, 0]).tolist(), rows[:, 1].tolist()
        parameter = self._parameters.get(target.get("parameter"))
        expression = _expression(element)
        if expression == "channelController":
            self.lying_on(around.track).lanes.append(
                ControllerLane(
                    controller=int(self._clock.number(target, "controller")),
                    channel=int(self._clock.number(target, "channel")),
                    points=tuple(zip(beats, values, strict=True)),
                )
            )
        elif parameter is not None:
            number = self._clock.number
            self.lying_on(around.track).automation.append(
                AutomationLane(
                    name=str(parameter.tag),
                    low=number(parameter, "min", 0.0),
                    high=number(parameter, "max", 1.0),
                    points=tuple(zip(beats, values, (rows[:, 2] != 0).tolist(), strict=True)),
                )
            )
        elif expression:
            self._notebook.say_of(around, f"has a curve of its {expression}, which is not followed")
        else:
            self._foreign[around.track] += 1

    def _rows(self, element: Element) -> Float64Array:
        """Return points as rows by time: real ones, and switches as 0 and 1, which hold."""
        switches = [
            (self._clock.number(point, "time"), _VALUES.get(point.get("value", ""), 0.0), 0.0)
            for point in element.findall("BoolPoint")
        ]
        rows = np.concatenate([table_rows(element, POINT_DEFAULTS), np.array(switches).reshape(-1, 3)])
        return rows[np.argsort(rows[:, 0], kind="stable")]


def _expression(points: Element) -> str:
    target = points.find("Target")
    return "" if target is None else target.get("expression", "")
