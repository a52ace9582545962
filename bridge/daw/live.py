"""Ableton Live sets, read only: tempo with its automation, meter, locators and arranged audio clips.

Live sends no tempo with its MIDI exports, so this is where it can be had. A set is gzip around XML that Live
alone may write; nothing is ever written back. Times are beats.

Convention: a meter is one number, numerator - 1 + 99 * log2(denominator).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from bridge.clock.tempo_map import TempoMap
from bridge.clock.tempo_segments import RampLaw
from bridge.daw.model import Clip, Session, Track
from bridge.daw.untrusted import (
    MAX_ITEMS,
    MAX_TEMPOS,
    check_count,
    naming,
    parse_number,
    read_gzip,
)
from bridge.daw.untrusted_xml import parse_xml
from bridge.errors import SessionError

__all__ = ["read_live"]

_WARP_TOLERANCE_S: Final = 0.002
_METER_BASE: Final = 99
_SKIPPED: Final = ("ClipSlotList", "Devices", "FreezeSequencer", "MidiClip", "Sends")
"""What a set holds much of and nothing is read from."""
_JUMP_BEATS: Final = 1 / 40_320


def read_live(path: Path | str) -> Session:
    """Read an .als file of Live 9 to 12.

    Raises:
        SessionError: Not such a file, or damaged.
    """
    path = Path(path)
    where = str(path)
    root = parse_xml(read_gzip(path), where, _SKIPPED)
    live_set = root.find("LiveSet")
    if root.tag != "Ableton" or live_set is None:
        raise SessionError(f"{path}: begins with <{root.tag}>: it is not a Live set")
    warnings: list[str] = []
    with naming(path):
        tempo_map = _build_tempo_map(live_set, where)
    n_clips = sum(1 for _ in root.iter("AudioClip"))
    check_count(n_clips, MAX_ITEMS, "clips", where)
    tracks = live_set.find("Tracks")
    return Session(
        path=path,
        format="live",
        tempo_map=tempo_map,
        tracks=tuple(
            _build_track(track, tempo_map, path, warnings)
            for track in (tracks if tracks is not None else ())
            if track.tag in ("AudioTrack", "MidiTrack", "GroupTrack")
        ),
        warnings=tuple(warnings),
    )


def _value(element: Element | None, path: str, default: str = "") -> str:
    found = None if element is None else element.find(path)
    return default if found is None else found.get("Value", default)


def _build_tempo_map(live_set: Element, where: str) -> TempoMap:
    master = live_set.find("MainTrack")  # Live 12
    master = live_set.find("MasterTrack") if master is None else master
    mixer = None
    for name in ("DeviceChain/Mixer", "MasterChain/Mixer"):
        mixer = master.find(name) if mixer is None and master is not None else mixer
    bpm = parse_number(_value(mixer, "Tempo/Manual", "120"), where)
    meter_code = int(parse_number(_value(mixer, "TimeSignature/Manual", "201"), where))
    tempos = _tempo_points(_automation(master, mixer, "Tempo", "FloatEvent", where)) or [(0.0, bpm, "hold")]
    events = _automation(master, mixer, "TimeSignature", "EnumEvent", where)
    meters = {beats: _meter(int(code)) for beats, code in events}
    meters.setdefault(0.0, _meter(meter_code))
    markers = live_set.find("Locators/Locators")
    return TempoMap.from_points(
        tempos,
        [(beats, *meter) for beats, meter in sorted(meters.items())],
        [
            (parse_number(_value(locator, "Time", "0"), where), _value(locator, "Name"))
            for locator in (markers if markers is not None else ())
        ],
        source="session",
    )


def _automation(
    master: Element | None, mixer: Element | None, name: str, kind: str, where: str
) -> list[tuple[float, float]]:
    """Return the (beats, value) of an automated parameter; what lies before the song is put at its start."""
    parameter = None if mixer is None else mixer.find(name)
    if parameter is None or master is None:
        return []
    target = parameter.find("AutomationTarget")
    identifier = None if target is None else target.get("Id")
    events = list(parameter.iterfind(f"ArrangerAutomation/Events/{kind}"))  # Live 9
    for envelope in master.iterfind("AutomationEnvelopes/Envelopes/AutomationEnvelope"):
        if identifier is not None and _value(envelope, "EnvelopeTarget/PointeeId") == identifier:
            events = list(envelope.iterfind(f"Automation/Events/{kind}"))
    check_count(len(events), MAX_TEMPOS, "tempos or meters", where)
    points = [
        (parse_number(e.get("Time", "0"), where), parse_number(e.get("Value", "0"), where)) for e in events
    ]
    before = [value for beats, value in points if beats <= 0]
    after = [(beats, value) for beats, value in points if beats > 0]
    return ([(0.0, before[-1])] if before else []) + after


def _tempo_points(points: list[tuple[float, float]]) -> list[tuple[float, float, RampLaw]]:
    """Turn Live's points, straight from one to the next, into tempos; two on one beat are a jump."""
    tempos: list[tuple[float, float, RampLaw]] = []
    for beats, value in points:
        if not tempos and beats > 0:
            tempos.append((0.0, value, "hold"))
        if tempos and tempos[-1][0] >= beats:
            arrived = tempos.pop()
            if tempos:  # the ramp ends just before the jump
                tempos.append((arrived[0] - _JUMP_BEATS, arrived[1], "hold"))
        tempos.append((beats, value, "beats"))
    return tempos


def _meter(code: int) -> tuple[int, int]:
    return code % _METER_BASE + 1, 1 << min(max(code // _METER_BASE, 0), 8)


def _build_track(track: Element, tempo_map: TempoMap, path: Path, warnings: list[str]) -> Track:
    clips = (_build_clip(clip, tempo_map, path, warnings) for clip in _audio_clips(track))
    return Track(
        name=_value(track, "Name/EffectiveName") or _value(track, "Name/UserName"),
        is_muted=_value(track, "DeviceChain/Mixer/Speaker/Manual", "true") == "false",
        clips=tuple(sorted((c for c in clips if c is not None), key=lambda clip: clip.start_s)),
    )


def _audio_clips(track: Element) -> Iterator[Element]:
    for place in ("Sample", "ClipTimeable"):
        yield from track.iterfind(f"DeviceChain/MainSequencer/{place}/ArrangerAutomation/Events/AudioClip")


def _build_clip(clip: Element, tempo_map: TempoMap, path: Path, warnings: list[str]) -> Clip | None:
    where, name = str(path), _value(clip, "Name")
    if _value(clip, "Disabled") == "true":
        return None
    media = _media(clip, path)
    if not media:
        warnings.append(f"clip {name!r} names no file: left out")
        return None
    start = parse_number(_value(clip, "CurrentStart", clip.get("Time", "0")), where)
    end = parse_number(_value(clip, "CurrentEnd", str(start)), where)
    start_s, end_s = (float(tempo_map.beats_to_seconds(beats)) for beats in (start, end))
    offset = parse_number(_value(clip, "Loop/LoopStart", "0"), where)
    offset += parse_number(_value(clip, "Loop/StartRelative", "0"), where)
    if _value(clip, "IsWarped") == "true":  # then its inside counts beats, tied to the file by warp markers
        markers = [
            (parse_number(m.get("BeatTime", "0"), where), parse_number(m.get("SecTime", "0"), where))
            for m in clip.iterfind("WarpMarkers/WarpMarker")
        ]
        offset_s = _file_seconds(markers, offset)
        played_s = _file_seconds(markers, offset + end - start) - offset_s
        if not math.isclose(played_s, end_s - start_s, abs_tol=_WARP_TOLERANCE_S):
            warnings.append(f"clip {name!r} is stretched against the tempo: left out; consolidate it first")
            return None
    else:
        offset_s = offset
    return Clip(
        name=name or Path(media).stem,
        media=media,
        is_embedded=False,
        start_s=start_s,
        duration_s=end_s - start_s,
        offset_s=max(0.0, offset_s),
    )


def _file_seconds(markers: list[tuple[float, float]], beats: float) -> float:
    """Follow the warp markers, going on beyond the last at its pace; without two there is no pace."""
    ordered = sorted(markers)
    if len(ordered) < 2:
        return math.nan
    index = next((i for i in range(1, len(ordered)) if ordered[i][0] >= beats), len(ordered) - 1)
    (beats_a, seconds_a), (beats_b, seconds_b) = ordered[index - 1], ordered[index]
    if beats_a == beats_b:
        return math.nan
    return seconds_a + (seconds_b - seconds_a) * (beats - beats_a) / (beats_b - beats_a)


def _media(clip: Element, path: Path) -> str:
    reference = clip.find("SampleRef/FileRef")
    absolute = _value(reference, "Path")
    relative = _value(reference, "RelativePath")
    with contextlib.suppress(OSError):  # too long for a name
        if relative and (path.parent / relative).exists():
            return str(path.parent / relative)
    return absolute
