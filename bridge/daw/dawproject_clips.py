"""What lies in a DAWproject's arrangement: audio clips, notes, controller lanes and automation.

Conventions: a clip's time and duration are in its parent's unit, what plays inside it in its
``contentTimeUnit``. Inside, what plays begins at ``playStart`` and, where it loops, goes back from
``loopEnd`` to ``loopStart``: each pass is read as a clip of its own. A clip cuts what is in it at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import AutomationLane, Clip, ClipFade, ControllerLane, DawNote
from bridge.daw.untrusted import MAX_ITEMS, check_count, parse_number
from bridge.daw.untrusted_xml import Table
from bridge.errors import SessionError

__all__ = ["ArrangementReader", "Lying", "TimeFrame", "number_of"]

_WARP_TOLERANCE_S: Final = 0.002
_SAME_RATE: Final = 1e-3
_MAX_CLIP_DEPTH: Final = 16
_NOTE_DEFAULTS: Final = (0.0, 0.0, 0.0, 0.8, 0.0)
_POINT_DEFAULTS: Final = (0.0, 0.0, 0.0)
_PARAMETERS: Final = ("Volume", "Pan", "Mute")
_RESAMPLING: Final = ("raw", "repitch")


def number_of(element: Element | None, name: str, default: float, where: str) -> float:
    """Return an attribute as a number."""
    text = None if element is None else element.get(name)
    if element is None or text is None:
        return default
    try:
        return parse_number(text, "")
    except SessionError as error:
        raise SessionError(f"{where}: <{element.tag} {name}>{error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFrame:
    """A stretch of the timeline in which local times count from an origin, in one unit; cut at both ends."""

    unit: str = "beats"
    origin_beats: float = 0.0
    origin_s: float = 0.0
    start_s: float = -math.inf
    end_s: float = math.inf


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
        warnings: Gets a line for each clip that cannot be taken over.
        members: The names in its archive.
        path: Its file.
    """

    def __init__(
        self, root: Element, tempo_map: TempoMap, warnings: list[str], members: set[str], path: Path
    ) -> None:
        self._tempo_map, self._warnings, self._members = tempo_map, warnings, members
        self._path, self._where = path, str(path)
        self._n_clips = 0
        self._lying: dict[str, Lying] = {}
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

    def read_lanes(self, element: Element, frame: TimeFrame, track: str | None, depth: int = 0) -> None:
        """Read a timeline element and what is in it."""
        if depth > _MAX_CLIP_DEPTH:
            self._warnings.append(f"clips nested deeper than {_MAX_CLIP_DEPTH} levels are left out")
            return
        track = element.get("track", track)
        frame = replace(frame, unit=element.get("timeUnit", frame.unit))
        if element.tag in ("Notes", "Points"):
            if track is not None:
                read = self._read_notes if element.tag == "Notes" else self._read_points
                read(element, frame, track)
            return
        for child in element:
            if child.tag == "Clip" and track is not None:
                self._read_clip(child, frame, track, depth)
            elif isinstance(child.tag, str):
                self.read_lanes(child, frame, track, depth)

    def _local(self, element: Element, name: str, default: float = 0.0) -> float:
        return number_of(element, name, default, self._where)

    def _seconds(self, frame: TimeFrame, times: npt.ArrayLike) -> Float64Array:
        times = np.asarray(times, np.float64)
        if frame.unit == "seconds":
            return frame.origin_s + times
        return self._tempo_map.beats_to_seconds(frame.origin_beats + times)

    def _beats(self, frame: TimeFrame, times: npt.ArrayLike) -> Float64Array:
        times = np.asarray(times, np.float64)
        if frame.unit == "beats":
            return frame.origin_beats + times
        return self._tempo_map.seconds_to_beats(frame.origin_s + times)

    def _read_clip(self, clip: Element, frame: TimeFrame, track: str, depth: int) -> None:
        if clip.get("enable") == "false":
            return
        time = self._local(clip, "time")
        start_s, end_s = float(self._seconds(frame, time)), frame.end_s
        if clip.get("duration") is not None:
            end_s = min(end_s, float(self._seconds(frame, time + self._local(clip, "duration"))))
        start_beats = float(self._beats(frame, time))
        content = self._by_id.get(clip.get("reference"))
        for number, inner in enumerate(self._passes(clip, frame, (start_s, start_beats), end_s)):
            self._n_clips += 1
            check_count(self._n_clips, MAX_ITEMS, "clips", self._where)
            cut = replace(inner, start_s=max(inner.start_s, frame.start_s))
            if cut.end_s <= cut.start_s:
                continue
            is_first, is_last = number == 0, inner.end_s >= end_s
            for child in clip if content is None else [content]:
                self._read_content(clip, child, cut, track, depth, is_first=is_first, is_last=is_last)

    def _passes(
        self, clip: Element, frame: TimeFrame, start: tuple[float, float], end_s: float
    ) -> Iterator[TimeFrame]:
        """Return the frames of what plays inside a clip, one for each pass of its loop."""
        unit = clip.get("contentTimeUnit", frame.unit)
        first = self._local(clip, "playStart")
        loop_start, loop_end = self._local(clip, "loopStart"), self._local(clip, "loopEnd", math.nan)
        at_s, at_beats = start
        while True:
            if unit == "seconds":
                origin_s = at_s - first
                origin_beats = float(self._tempo_map.seconds_to_beats(origin_s))
            else:
                origin_beats = at_beats - first
                origin_s = float(self._tempo_map.beats_to_seconds(origin_beats))
            one = TimeFrame(
                unit=unit, origin_beats=origin_beats, origin_s=origin_s, start_s=at_s, end_s=end_s
            )
            stop_s = float(self._seconds(one, loop_end)) if loop_end > max(loop_start, first) else math.inf
            if not math.isfinite(end_s) or stop_s >= end_s - 1e-9:
                yield one
                return
            yield replace(one, end_s=stop_s)
            at_s, at_beats = stop_s, float(self._beats(one, loop_end))
            first = loop_start

    def _read_content(
        self,
        clip: Element,
        child: Element,
        frame: TimeFrame,
        track: str,
        depth: int,
        *,
        is_first: bool,
        is_last: bool,
    ) -> None:
        fades: dict[str, Any] = {}
        if is_first:
            fades["fade_in"] = self._fade(clip, "fadeInTime", frame, frame.start_s)
        if is_last:
            fades["fade_out"] = self._fade(clip, "fadeOutTime", frame, frame.end_s)
        if child.tag == "Audio":
            self._add_clip(clip, child, frame, (frame.origin_s, 0.0, 1.0), track, fades)
        elif child.tag == "Warps":
            self._read_warps(clip, child, frame, track, fades)
        elif isinstance(child.tag, str):
            self.read_lanes(child, frame, track, depth + 1)

    def _fade(self, clip: Element, name: str, frame: TimeFrame, at_s: float) -> ClipFade | None:
        length = self._local(clip, name)
        if length <= 0 or not math.isfinite(at_s):
            return None
        if clip.get("fadeTimeUnit", clip.get("contentTimeUnit", frame.unit)) == "seconds":
            return ClipFade(length_s=length)
        beats = float(self._tempo_map.seconds_to_beats(at_s))
        near = self._tempo_map.beats_to_seconds(
            [beats, beats + (length if name == "fadeInTime" else -length)]
        )
        return ClipFade(length_s=abs(float(near[1] - near[0])))

    def _read_warps(
        self, clip: Element, warps: Element, frame: TimeFrame, track: str, fades: dict[str, Any]
    ) -> None:
        """Take over a clip whose warping plays its file at one rate, which may be the file's own."""
        audio = warps.find("Audio")
        if audio is None:
            return
        base = replace(frame, unit=warps.get("timeUnit", frame.unit))
        pairs = sorted(
            {self._local(w, "time"): self._local(w, "contentTime") for w in warps.findall("Warp")}.items()
        )
        name = clip.get("name", "")
        if not pairs:
            self._warnings.append(f"clip {name!r} has no warp points: left out; bounce it first")
            return
        times_s = self._seconds(base, np.array([time for time, _ in pairs]))
        content_s = np.array([content for _, content in pairs])
        span_s = float(times_s[-1] - times_s[0])
        rate = float(content_s[-1] - content_s[0]) / span_s if span_s > 0 else 1.0
        if abs(rate - 1.0) < _SAME_RATE:
            rate = 1.0
        bend_s = content_s - content_s[0] - rate * (times_s - times_s[0])
        if rate <= 0 or np.abs(bend_s).max() > _WARP_TOLERANCE_S:
            self._warnings.append(f"clip {name!r} is stretched by a changing rate: left out; bounce it first")
            return
        tied = (float(times_s[0]), float(content_s[0]), rate)
        self._add_clip(clip, audio, frame, tied, track, fades)

    def _add_clip(
        self,
        clip: Element,
        audio: Element,
        frame: TimeFrame,
        tied: tuple[float, float, float],
        track: str,
        fades: dict[str, Any],
    ) -> None:
        """Place a file; `tied` is a time of the session, what of the file sounds then, and the rate."""
        name = clip.get("name") or audio.get("name", "")
        file = audio.find("File")
        if file is None or not file.get("path"):
            self._warnings.append(f"clip {name!r} names no file: left out")
            return
        media = file.get("path", "")
        is_embedded = file.get("external") != "true"
        if is_embedded and media not in self._members:
            self._warnings.append(f"clip {name!r}: {media} is not in the archive: left out")
            return
        at_s, file_at_s, rate = tied
        zero_s = at_s - file_at_s / rate  # when the file's first sample sounds, or would
        start_s = max(frame.start_s, zero_s)
        end_s = min(frame.end_s, zero_s + self._local(audio, "duration", math.inf) / rate)
        if end_s <= start_s:
            return
        self.lying_on(track).clips.append(
            Clip(
                name=name or Path(media).stem,
                media=media if is_embedded else str(self._path.parent / media),
                is_embedded=is_embedded,
                start_s=start_s,
                duration_s=end_s - start_s if math.isfinite(end_s) else 0.0,
                offset_s=(start_s - zero_s) * rate,
                rate=rate,
                keeps_pitch=rate != 1.0 and audio.get("algorithm", "stretch") not in _RESAMPLING,
                **fades,
            )
        )

    def _read_notes(self, element: Element, frame: TimeFrame, track: str) -> None:
        rows = _rows(element, _NOTE_DEFAULTS)
        starts, ends = self._beats(frame, rows[:, 0]), self._beats(frame, rows[:, 0] + rows[:, 1])
        first, last = self._tempo_map.seconds_to_beats(
            np.clip([frame.start_s, frame.end_s], -1e9, 1e9)
        ).tolist()
        is_heard = (starts >= first - 1e-6) & (starts < last - 1e-9)
        ends = np.minimum(ends, last)
        columns = (starts, ends - starts, rows[:, 2].astype(int), rows[:, 3], rows[:, 4].astype(int))
        self.lying_on(track).notes.extend(
            DawNote(start_beats=start, duration_beats=duration, key=key, velocity=velocity, channel=channel)
            for start, duration, key, velocity, channel in zip(
                *(column[is_heard].tolist() for column in columns), strict=True
            )
        )

    def _read_points(self, element: Element, frame: TimeFrame, track: str) -> None:
        target = element.find("Target")
        if target is None:
            return
        rows = _rows(element, _POINT_DEFAULTS)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        beats = self._beats(frame, rows[:, 0]).tolist()
        values = rows[:, 1].tolist()
        parameter = self._parameters.get(target.get("parameter"))
        if target.get("expression") == "channelController":
            self.lying_on(track).lanes.append(
                ControllerLane(
                    controller=int(self._local(target, "controller")),
                    channel=int(self._local(target, "channel")),
                    points=tuple(zip(beats, values, strict=True)),
                )
            )
        elif parameter is not None:
            low, high = self._local(parameter, "min", 0.0), self._local(parameter, "max", 1.0)
            self.lying_on(track).automation.append(
                AutomationLane(
                    name=str(parameter.tag),
                    low=low,
                    high=high,
                    points=tuple(zip(beats, values, (rows[:, 2] != 0).tolist(), strict=True)),
                )
            )


def _rows(element: Element, defaults: tuple[float, ...]) -> Float64Array:
    """Return the (rows, columns) of a table; what a row does not say is its default."""
    if not isinstance(element, Table):
        return np.zeros((0, len(defaults)))
    rows = np.array(element.rows).reshape(-1, len(defaults))
    return np.where(np.isnan(rows), defaults, rows)
