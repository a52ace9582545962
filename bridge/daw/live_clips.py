"""What lies on a Live set's tracks: audio clips with their warping, and notes.

Inside, a warped clip counts beats that warp markers tie to seconds of the file; one that is not warped
counts seconds. What a clip plays begins `StartRelative` after `LoopStart`; where it loops it goes back from
`LoopEnd` to `LoopStart`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.daw.media import find_media, is_file
from bridge.daw.model import Clip, ClipFade, DawNote, FileLoop
from bridge.daw.places import HAIR_BEATS, place_text
from bridge.daw.untrusted import check_count, parse_number
from bridge.daw.untrusted_xml import Table
from bridge.errors import SessionError

__all__ = ["LiveClips", "value_of"]

_WARP_TOLERANCE_S: Final = 0.002
_RATE_TOLERANCE: Final = 1e-4
_REPITCH: Final = "3"
_LAST_MARKER_BEATS: Final = 0.03125  # the one Live adds after the last is no mark of the user's
_MAX_PASSES: Final = 20_000


class _Inside(NamedTuple):
    """Where a clip begins and repeats, in its own unit."""

    start: float
    loop_start: float
    loop_end: float
    loops: bool


def value_of(element: Element | None, path: str, default: str = "") -> str:
    """Return the ``Value`` of what is found below an element."""
    found = None if element is None else element.find(path)
    return default if found is None else found.get("Value", default)


class LiveClips:
    """Read the clips of a set's tracks.

    Args:
        tempo_map: The set's clock.
        path: The set.
        warnings: Gets a line for each clip that cannot be taken over.
    """

    def __init__(self, tempo_map: TempoMap, path: Path, warnings: list[str]) -> None:
        self._tempo_map, self._path, self._warnings = tempo_map, path, warnings
        self._track = ""

    def _say(self, clip: Element, text: str) -> None:
        start_s = float(self._tempo_map.beats_to_seconds(self._span(clip)[0]))
        self._warnings.append(f"{place_text(self._track, start_s, 'clip', value_of(clip, 'Name'))} {text}")

    def read_track(self, track: Element, name: str) -> tuple[tuple[Clip, ...], tuple[DawNote, ...]]:
        """Return the audio and the notes of a track of some name, in order of time."""
        self._track = name
        clips = [clip for one in _clips(track, "AudioClip") if (clip := self._audio_clip(one)) is not None]
        notes = [note for one in _clips(track, "MidiClip") for note in self._notes(one)]
        return (
            tuple(sorted(clips, key=lambda clip: clip.start_s)),
            tuple(sorted(notes, key=lambda note: (note.start_beats, note.key))),
        )

    def _number(self, element: Element, path: str, default: float) -> float:
        return parse_number(value_of(element, path, str(default)), str(self._path))

    def _span(self, clip: Element) -> tuple[float, float]:
        start = self._number(clip, "CurrentStart", parse_number(clip.get("Time", "0"), str(self._path)))
        return start, max(start, self._number(clip, "CurrentEnd", start))

    def _inside(self, clip: Element) -> _Inside:
        loop_start = self._number(clip, "Loop/LoopStart", 0.0)
        return _Inside(
            start=loop_start + self._number(clip, "Loop/StartRelative", 0.0),
            loop_start=loop_start,
            loop_end=self._number(clip, "Loop/LoopEnd", 0.0),
            loops=value_of(clip, "Loop/LoopOn") == "true",
        )

    def _notes(self, clip: Element) -> Iterator[DawNote]:
        """Return a clip's notes as they sound, every pass of a loop anew."""
        if value_of(clip, "Disabled") == "true":
            return
        start, end = self._span(clip)
        inside = self._inside(clip)
        tracks = clip.find("Notes/KeyTracks")
        passes = list(_passes(inside, end - start))
        for key_track in tracks if tracks is not None else ():
            table = key_track.find("Notes")
            if not isinstance(table, Table):
                continue
            key = int(self._number(key_track, "MidiKey", 60.0))
            if not 0 <= key <= 127:
                raise SessionError(f"{self._path}: a note of key {key}; 0 to 127 are accepted")
            rows = np.array(table.rows).reshape(-1, 4)
            rows = np.where(np.isnan(rows), (0.0, 0.0, 100.0, 1.0), rows)
            rows = rows[rows[:, 3] != 0]
            check_count(len(rows) * len(passes), _MAX_PASSES * 50, "notes in loops", str(self._path))
            for at, first, last in passes:
                yield from _notes_between(rows, key, start + at, first, last)

    def _audio_clip(self, clip: Element) -> Clip | None:
        name = value_of(clip, "Name")
        if value_of(clip, "Disabled") == "true":
            return None
        media = self._media(clip)
        if not media:
            self._say(clip, "names no file: left out")
            return None
        if self._number(clip, "PitchCoarse", 0.0) or self._number(clip, "PitchFine", 0.0):
            self._say(clip, "is transposed: left out; freeze or consolidate it first")
            return None
        start, end = self._span(clip)
        start_s, end_s = self._tempo_map.beats_to_seconds([start, end]).tolist()
        inside = self._inside(clip)
        rate, loop, keeps_pitch = 1.0, None, False
        if value_of(clip, "IsWarped") == "true":
            found = self._warped(clip, inside, (start, end), (start_s, end_s))
            if found is None:
                return None
            offset_s, rate, loop = found
            keeps_pitch = value_of(clip, "WarpMode") != _REPITCH
        else:
            offset_s = inside.start
        fades = value_of(clip, "Fade", "true") == "true"
        return Clip(
            name=name or Path(media.replace("\\", "/")).stem,
            media=media,
            is_embedded=False,
            start_s=start_s,
            duration_s=end_s - start_s,
            offset_s=max(0.0, offset_s),
            gain=self._number(clip, "SampleVolume", 1.0),
            fade_in=self._fade(clip, "FadeInLength") if fades else None,
            fade_out=self._fade(clip, "FadeOutLength") if fades else None,
            loop=loop,
            rate=rate,
            keeps_pitch=keeps_pitch and rate != 1.0,
        )

    def _fade(self, clip: Element, name: str) -> ClipFade | None:
        length_s = self._number(clip, f"Fades/{name}", 0.0)
        return ClipFade(length_s=length_s) if length_s > 0 else None

    def _warped(
        self,
        clip: Element,
        inside: _Inside,
        span: tuple[float, float],
        span_s: tuple[float, float],
    ) -> tuple[float, float, FileLoop | None] | None:
        """Return where in the file a warped clip begins, its rate, its loop; None where the rate changes."""
        markers = sorted(
            (
                parse_number(m.get("BeatTime", "0"), str(self._path)),
                parse_number(m.get("SecTime", "0"), str(self._path)),
            )
            for m in clip.iterfind("WarpMarkers/WarpMarker")
        )
        markers = _without_doubles(markers)
        loops = inside.loops and inside.start + span[1] - span[0] > inside.loop_end > inside.loop_start
        last = inside.loop_end if loops else inside.start + span[1] - span[0]
        first = min(inside.start, inside.loop_start) if loops else inside.start
        beats_used = np.unique([first, inside.start, last, *[b for b, _ in markers if first < b < last]])
        used_s = _file_seconds(markers, beats_used)
        length_s = span_s[1] - span_s[0]
        if used_s is None or length_s <= 0:
            self._say(clip, "has no warp markers that say its tempo: left out")
            return None
        # The session's own clock over the clip: what one beat of it lasts must be the same all along.
        session_beats = np.linspace(span[0], span[1], 33)
        session_s = self._tempo_map.beats_to_seconds(session_beats)
        s_per_beat = length_s / (span[1] - span[0])
        drift_s = session_s - session_s[0] - s_per_beat * (session_beats - session_beats[0])
        file_s_per_beat = (used_s[-1] - used_s[0]) / (beats_used[-1] - beats_used[0])
        bend_s = used_s - used_s[0] - file_s_per_beat * (beats_used - beats_used[0])
        follows_song = not loops and self._follows_song(markers, inside, span, session_beats, session_s)
        if not follows_song and max(np.abs(drift_s).max(), np.abs(bend_s).max()) > _WARP_TOLERANCE_S:
            self._say(clip, "is stretched by a changing rate: left out; consolidate it first")
            return None
        rate = 1.0 if follows_song else float(file_s_per_beat / s_per_beat)
        if abs(rate - 1.0) * length_s < _WARP_TOLERANCE_S and abs(rate - 1.0) < _RATE_TOLERANCE * 10:
            rate = 1.0
        start_s = float(used_s[np.searchsorted(beats_used, inside.start)])
        loop = None
        if loops:
            loop_start_s = start_s + (inside.loop_start - inside.start) * file_s_per_beat
            loop = FileLoop(start_s=max(0.0, loop_start_s), end_s=float(used_s[-1]))
        return start_s, rate, loop

    @staticmethod
    def _follows_song(
        markers: list[tuple[float, float]],
        inside: _Inside,
        span: tuple[float, float],
        session_beats: Float64Array,
        session_s: Float64Array,
    ) -> bool:
        """Whether the markers only follow the tempo the song has: the file is played as it is."""
        file_s = _file_seconds(markers, inside.start + session_beats - span[0])
        if file_s is None:
            return False
        played_s = file_s - file_s[0] - (session_s - session_s[0])
        return bool(np.abs(played_s).max() <= _WARP_TOLERANCE_S)

    def _media(self, clip: Element) -> str:
        reference = clip.find("SampleRef/FileRef")
        absolute = value_of(reference, "Path")
        relative = value_of(reference, "RelativePath") or _relative_path(reference)
        found = str(self._path.parent / relative) if relative else ""
        if not absolute or (found and is_file(found)):
            return found
        media = find_media(self._path, absolute)
        if media.note:
            self._say(clip, f"plays a file of another computer: {media.note}")
        return media.path


def _clips(track: Element, kind: str) -> Iterator[Element]:
    for place in ("Sample", "ClipTimeable"):
        yield from track.iterfind(f"DeviceChain/MainSequencer/{place}/ArrangerAutomation/Events/{kind}")


def _relative_path(reference: Element | None) -> str:
    """Return the path of Live up to 10: a folder an element, an empty one for the folder above."""
    if reference is None:
        return ""
    folders = [
        element.get("Dir", "") or ".." for element in reference.iterfind("RelativePath/RelativePathElement")
    ]
    name = value_of(reference, "Name")
    return "/".join([*folders, name]) if name else ""


def _without_doubles(markers: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out markers on one beat, and the one that Live puts a 32nd after the last: it says no tempo."""
    rising = [m for i, m in enumerate(markers) if i == 0 or m[0] > markers[i - 1][0]]
    if len(rising) > 2 and math.isclose(rising[-1][0] - rising[-2][0], _LAST_MARKER_BEATS, abs_tol=1e-6):
        return rising[:-1]
    return rising


def _file_seconds(markers: list[tuple[float, float]], beats: Float64Array) -> Float64Array | None:
    """Follow the warp markers, going on beyond the outer ones at their pace; without two there is no pace."""
    if len(markers) < 2:
        return None
    at, seconds = np.array(markers).T
    index = np.clip(np.searchsorted(at, beats), 1, len(at) - 1)
    pace = (seconds[index] - seconds[index - 1]) / (at[index] - at[index - 1])
    file_s: Float64Array = seconds[index - 1] + pace * (beats - at[index - 1])
    return file_s


def _passes(inside: _Inside, length: float) -> Iterator[tuple[float, float, float]]:
    """Return what a clip plays as (place in the clip, first, last), a piece for each pass of its loop."""
    if not inside.loops or inside.loop_end <= inside.loop_start:
        yield 0.0, inside.start, inside.start + length
        return
    at, first = 0.0, inside.start
    for _ in range(_MAX_PASSES):
        last = min(inside.loop_end, first + length - at) if first < inside.loop_end else first + length - at
        yield at, first, last
        at += last - first
        first = inside.loop_start
        if at >= length - HAIR_BEATS:
            return


def _notes_between(
    rows: Float64Array, key: int, start: float, first: float, last: float
) -> Iterator[DawNote]:
    is_heard = (rows[:, 0] >= first - HAIR_BEATS) & (rows[:, 0] < last - HAIR_BEATS)
    for at, duration, velocity, _ in rows[is_heard].tolist():
        yield DawNote(
            start_beats=start + max(0.0, at - first),
            duration_beats=max(0.0, min(duration, last - at)),
            key=key,
            velocity=min(1.0, max(0.0, velocity / 127.0)),
            channel=0,
        )
