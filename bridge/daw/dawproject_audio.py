"""Audio of a DAWproject's clips: which file, from where, at which rate, and how loud.

Conventions: an audio file's own times are seconds. Warps tie times of what is around them to times of
the file; between two of them the file plays at one rate. A gain expression multiplies
what lies beside it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np

from bridge.arrays import Float64Array
from bridge.daw.dawproject_frames import (
    Around,
    FrameClock,
    Notebook,
    TimeFrame,
    crop_lines,
    fades_as_lines,
    table_rows,
)
from bridge.daw.media import Media, find_media
from bridge.daw.model import Clip, GainLine
from bridge.daw.places import HAIR_S

__all__ = ["POINT_DEFAULTS", "AudioPlacer"]

POINT_DEFAULTS: Final = (0.0, 0.0, 0.0)
_WARP_TOLERANCE_S: Final = 0.002
_SAME_RATE: Final = 1e-3
_SAME_LENGTH_S: Final = 0.002
_RESAMPLING: Final = ("raw", "repitch")
_STEP_DB: Final = 0.25  # a line of decibels in pieces so small is a hundredth of that off
_MOST_DB: Final = 60.0
_LEAST_DB: Final = -200.0
_MAX_PIECES: Final = 20_000


class AudioPlacer:
    """Make clips of the audio in an arrangement.

    Args:
        clock: Of the session.
        notebook: Gets a line for what cannot be taken over.
        members: The names in the session's archive.
        path: Its file.
    """

    def __init__(self, clock: FrameClock, notebook: Notebook, members: set[str], path: Path) -> None:
        self._clock, self._notebook, self._members, self._path = clock, notebook, members, path

    def place(self, audio: Element, frame: TimeFrame, around: Around) -> Clip | None:
        """Return the clip of a file that plays as it is."""
        return self._place(audio, frame, (frame.origin_s, 0.0, 1.0), around)

    def place_warped(self, warps: Element, frame: TimeFrame, around: Around) -> Clip | None:
        """Return the clip of a file whose warping plays it at one rate, which may be its own."""
        audio = warps.find("Audio")
        if audio is None:
            self._notebook.say_of(around, "is warped and plays no audio file: left out")
            return None
        base = replace(frame, unit=self._notebook.unit_of(warps, "timeUnit", frame.unit))
        number = self._clock.number
        pairs = sorted({number(w, "time"): number(w, "contentTime") for w in warps.findall("Warp")}.items())
        if not pairs:
            self._notebook.say_of(around, "has no warp points: left out; bounce it first")
            return None
        times_s = self._clock.seconds(base, np.array([time for time, _ in pairs]))
        content = np.array([content for _, content in pairs])
        content_s = self._content_seconds(warps, audio, content, frame, around)
        span_s = float(times_s[-1] - times_s[0])
        rate = float(content_s[-1] - content_s[0]) / span_s if span_s > 0 else 1.0
        if abs(rate - 1.0) < _SAME_RATE:
            rate = 1.0
        bend_s = content_s - content_s[0] - rate * (times_s - times_s[0])
        if rate <= 0 or np.abs(bend_s).max() > _WARP_TOLERANCE_S:
            said = "is stretched by a changing rate: left out; bounce it first"
            self._notebook.say_of(around, said)
            return None
        return self._place(audio, frame, (float(times_s[0]), float(content_s[0]), rate), around)

    def _content_seconds(
        self, warps: Element, audio: Element, content: Float64Array, frame: TimeFrame, around: Around
    ) -> Float64Array:
        """Return the times of the file that warps name, in seconds.

        Some programs say beats and write seconds: then the last warp is as far on as the file is long.
        """
        if self._notebook.unit_of(warps, "contentTimeUnit", "seconds") == "seconds":
            return content
        if abs(content[-1] - self._clock.number(audio, "duration", math.inf)) <= _SAME_LENGTH_S:
            said = "says that its warps count beats of its file, but they end as its file does in seconds"
            self._notebook.say_of(around, f"{said}: read as seconds")
            return content
        beats = self._clock.seconds(replace(frame, unit="beats"), np.append(content, 0.0))
        content_s: Float64Array = beats[:-1] - beats[-1]
        return content_s

    def _place(
        self, audio: Element, frame: TimeFrame, tied: tuple[float, float, float], around: Around
    ) -> Clip | None:
        """Place a file; `tied` is a time of the session, what of the file sounds then, and the rate."""
        around = replace(around, name=around.name or audio.get("name", ""))
        media, is_embedded = self._media(audio, around)
        if media is None:
            return None
        at_s, file_at_s, rate = tied
        zero_s = at_s - file_at_s / rate  # when the file's first sample sounds, or would
        start_s = max(frame.start_s, zero_s)
        end_s = min(frame.end_s, zero_s + self._clock.number(audio, "duration", math.inf) / rate)
        if end_s <= start_s:
            return None
        # What fades elsewhere than at the clip's own ends is a line.
        own_in = around.fade_in if start_s <= frame.start_s + HAIR_S else None
        own_out = around.fade_out if end_s >= frame.end_s - HAIR_S else None
        other_in, other_out = (None if own_in else around.fade_in), (None if own_out else around.fade_out)
        lines = fades_as_lines(frame.start_s, other_in, frame.end_s, other_out)
        gain, moving = crop_lines([*around.gain_lines, *lines], start_s, end_s)
        return Clip(
            name=around.name or Path(media.path.replace("\\", "/")).stem,
            media=media.path,
            is_embedded=is_embedded,
            start_s=start_s,
            duration_s=end_s - start_s if math.isfinite(end_s) else 0.0,
            offset_s=(start_s - zero_s) * rate,
            rate=rate,
            keeps_pitch=rate != 1.0 and audio.get("algorithm", "stretch") not in _RESAMPLING,
            gain=gain,
            gain_lines=moving,
            fade_in=own_in,
            fade_out=own_out,
        )

    def _media(self, audio: Element, around: Around) -> tuple[Media | None, bool]:
        """Return a clip's file and whether it is in the archive; None where there is none."""
        file = audio.find("File")
        path = "" if file is None else file.get("path", "")
        if file is None or not path:
            self._notebook.say_of(around, "names no file: left out")
            return None, False
        if file.get("external") == "true":
            media = find_media(self._path, path)
            if media.note:
                self._notebook.say_of(around, f"plays a file of another computer: {media.note}")
            return media, False
        if path not in self._members:
            self._notebook.say_of(around, f"plays {path}, which is not in the archive: left out")
            return None, True
        return Media(path), True

    def gain_line(self, points: Element, frame: TimeFrame, around: Around) -> GainLine | None:
        """Return a gain expression as a line in seconds of the session; None where it cannot be followed."""
        unit = points.get("unit", "linear")
        rows = table_rows(points, POINT_DEFAULTS)
        if not len(rows):
            return None
        if unit not in ("linear", "decibel"):
            said = f"has a gain curve in {unit!r}, which is not followed; linear and decibel are"
            self._notebook.say_of(around, said)
            return None
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        times_s = self._clock.seconds(frame, rows[:, 0]).tolist()
        values = np.clip(rows[:, 1], _LEAST_DB, _MOST_DB) if unit == "decibel" else rows[:, 1]
        drawn = [(times_s[0], float(values[0]))]
        for index in range(1, len(rows)):
            before, value = float(values[index - 1]), float(values[index])
            if rows[index - 1, 2] == 0:  # held until here
                drawn.append((times_s[index], before))
            elif unit == "decibel":
                drawn += _pieces(drawn[-1], (times_s[index], value))
            drawn.append((times_s[index], value))
        if unit == "linear":
            return tuple(drawn)
        return tuple((at, 0.0 if db <= _LEAST_DB else 10.0 ** (db / 20.0)) for at, db in drawn)


def _pieces(first: tuple[float, float], last: tuple[float, float]) -> list[tuple[float, float]]:
    """Return places along a line of decibels so near that it is straight in between as a factor."""
    n_pieces = min(_MAX_PIECES, math.ceil(abs(last[1] - first[1]) / _STEP_DB))
    shares = [index / n_pieces for index in range(1, n_pieces)]
    return [
        (first[0] + share * (last[0] - first[0]), first[1] + share * (last[1] - first[1])) for share in shares
    ]
