"""Ableton Live sets, read only: tempo with its automation, meter, locators, arranged clips and the mixer.

Live sends no tempo with its MIDI exports, so this is where it can be had. A set is gzip around XML that Live
alone may write; nothing is ever written back. Times are beats.

Conventions: a meter is one number, numerator - 1 + 99 * log2(denominator). Live looks at its tempo automation
once every sixteenth of the song and holds what it finds, so a drawn ramp is played as steps.

Source: measurements in Live, https://forum.ableton.com/viewtopic.php?t=251307 (bars of a ramp from 150 to 50
BPM over 16 beats: 0, 1.740, 3.867, 6.604, 10.447 s).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.clock.tempo_segments import RampLaw
from bridge.daw.live_clips import LiveClips, value_of
from bridge.daw.model import AutomationLane, Session, Track
from bridge.daw.untrusted import MAX_ITEMS, MAX_TEMPOS, check_count, naming, parse_number, read_gzip
from bridge.daw.untrusted_xml import parse_xml
from bridge.errors import SessionError

__all__ = ["read_live"]

_METER_BASE: Final = 99
_SKIPPED: Final = ("ClipSlotList", "Devices", "FreezeSequencer", "Sends", "TakeLanes")
"""What a set holds much of and nothing is read from."""
_TABLES: Final = {"Notes": ("MidiNoteEvent", ("Time", "Duration", "Velocity", "IsEnabled"))}
_SIXTEENTH_BEATS: Final = 0.25
_MEASURED_UP_TO: Final = (12, 2)
_MIXER_LANES: Final = (("Volume", 0.0, 2.0), ("Pan", -1.0, 1.0))
"""Name, lowest and highest value of what of a track's mixer can be automated; the fader's top is +6 dB."""


def read_live(path: Path | str) -> Session:
    """Read an .als file of Live 8 to 12.

    Raises:
        SessionError: Not such a file, or damaged.
    """
    path = Path(path)
    where = str(path)
    root = parse_xml(read_gzip(path), where, _SKIPPED, _TABLES)
    live_set = root.find("LiveSet")
    if root.tag != "Ableton" or live_set is None:
        raise SessionError(f"{path}: begins with <{root.tag}>: it is not a Live set")
    warnings: list[str] = []
    with naming(path):
        tempo_map = _build_tempo_map(live_set, where)
        if _has_ramps(live_set, where) and _version(root) > _MEASURED_UP_TO:
            warnings.append(
                "its tempo ramps are read as steps of a sixteenth, as Live up to 12.2 plays them; "
                f"it was saved by {root.get('Creator', 'a newer Live')}"
            )
    n_clips = sum(1 for _ in root.iter("AudioClip")) + sum(1 for _ in root.iter("MidiClip"))
    check_count(n_clips, MAX_ITEMS, "clips", where)
    listed = live_set.find("Tracks")
    elements = [
        track
        for track in (listed if listed is not None else ())
        if track.tag in ("AudioTrack", "MidiTrack", "GroupTrack")
    ]
    groups = {track.get("Id", ""): _track_name(track) for track in elements if track.tag == "GroupTrack"}
    clips = LiveClips(tempo_map, path, warnings)
    return Session(
        path=path,
        format="live",
        tempo_map=tempo_map,
        tracks=tuple(_build_track(track, clips, groups, where) for track in elements),
        warnings=tuple(warnings),
    )


def _version(root: Element) -> tuple[int, int]:
    found = re.search(r"Live (\d+)\.(\d+)", root.get("Creator", ""))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _master(live_set: Element) -> tuple[Element | None, Element | None]:
    """Return the main track and its mixer."""
    master = live_set.find("MainTrack")  # Live 12
    master = live_set.find("MasterTrack") if master is None else master
    mixer = None
    for name in ("DeviceChain/Mixer", "MasterChain/Mixer"):
        mixer = master.find(name) if mixer is None and master is not None else mixer
    return master, mixer


def _build_tempo_map(live_set: Element, where: str) -> TempoMap:
    master, mixer = _master(live_set)
    bpm = parse_number(value_of(mixer, "Tempo/Manual", "120"), where)
    meter_code = int(parse_number(value_of(mixer, "TimeSignature/Manual", "201"), where))
    points = _automation(master, mixer, "Tempo", "FloatEvent", where)
    events = _automation(master, mixer, "TimeSignature", "EnumEvent", where)
    meters = {max(0.0, beats): _meter(int(code)) for beats, code in events.tolist()}
    meters.setdefault(0.0, _meter(meter_code))
    markers = live_set.find("Locators/Locators")
    return TempoMap.from_points(
        _tempo_steps(points, where) if len(points) else [(0.0, bpm, "hold")],
        [(beats, *meter) for beats, meter in sorted(meters.items())],
        [
            (parse_number(value_of(locator, "Time", "0"), where), value_of(locator, "Name"))
            for locator in (markers if markers is not None else ())
        ],
        source="session",
    )


def _has_ramps(live_set: Element, where: str) -> bool:
    points = _automation(*_master(live_set), "Tempo", "FloatEvent", where)
    return bool(((np.diff(points[:, 0]) > 0) & (np.diff(points[:, 1]) != 0)).any())


def _automation(
    track: Element | None, mixer: Element | None, name: str, kind: str, where: str
) -> Float64Array:
    """Return the (beats, value) rows of an automated parameter, in order."""
    parameter = None if mixer is None else mixer.find(name)
    if parameter is None or track is None:
        return np.zeros((0, 2))
    target = parameter.find("AutomationTarget")
    identifier = None if target is None else target.get("Id")
    events = list(parameter.iterfind(f"ArrangerAutomation/Events/{kind}"))  # Live 9
    for envelope in track.iterfind("AutomationEnvelopes/Envelopes/AutomationEnvelope"):
        if identifier is not None and value_of(envelope, "EnvelopeTarget/PointeeId") == identifier:
            events = list(envelope.iterfind(f"Automation/Events/{kind}"))
    check_count(len(events), MAX_TEMPOS, "tempos, meters or points of automation", where)
    rows = [
        (parse_number(e.get("Time", "0"), where), parse_number(e.get("Value", "0"), where)) for e in events
    ]
    points = np.array(rows, np.float64).reshape(-1, 2)
    return points[np.argsort(points[:, 0], kind="stable")]


def _tempo_steps(points: Float64Array, where: str) -> list[tuple[float, float, RampLaw]]:
    """Return the tempos that Live holds: what its automation is at each sixteenth, where that changes."""
    times, values = points[:, 0], points[:, 1]
    first = np.ceil(np.maximum(times, 0.0) / _SIXTEENTH_BEATS)
    n_steps = np.where(np.diff(values) != 0.0, np.diff(first), 0.0)
    check_count(int(min(n_steps.sum(), 1e9)) + len(points), MAX_TEMPOS, "tempos", where)
    ramps = [start + np.arange(n) for start, n in zip(first[:-1], n_steps, strict=True) if n > 0]
    grid = np.unique(np.concatenate([[0.0], first, *ramps])) * _SIXTEENTH_BEATS
    held = _value_at(times, values, grid)
    is_new = np.concatenate([[True], held[1:] != held[:-1]])
    return [
        (beats, bpm, "hold") for beats, bpm in zip(grid[is_new].tolist(), held[is_new].tolist(), strict=True)
    ]


def _value_at(times: Float64Array, values: Float64Array, grid: Float64Array) -> Float64Array:
    """Return what automation is at some beats: straight between points, the last of those on one beat."""
    index = np.searchsorted(times, grid, side="right") - 1
    before = np.maximum(index, 0)
    after = np.minimum(before + 1, len(times) - 1)
    span = times[after] - times[before]
    share = np.where(span > 0, (grid - times[before]) / np.where(span > 0, span, 1.0), 0.0)
    held: Float64Array = values[before] + np.clip(share, 0.0, 1.0) * (values[after] - values[before])
    return held


def _meter(code: int) -> tuple[int, int]:
    return code % _METER_BASE + 1, 1 << min(max(code // _METER_BASE, 0), 8)


def _track_name(track: Element) -> str:
    return value_of(track, "Name/EffectiveName") or value_of(track, "Name/UserName")


def _build_track(track: Element, clips: LiveClips, groups: Mapping[str, str], where: str) -> Track:
    mixer = track.find("DeviceChain/Mixer")
    audio, notes = clips.read_track(track)
    return Track(
        name=_track_name(track),
        group=groups.get(value_of(track, "TrackGroupId"), ""),
        is_muted=value_of(mixer, "Speaker/Manual", "true") == "false",
        gain=parse_number(value_of(mixer, "Volume/Manual", "1"), where),
        pan=float(np.clip(parse_number(value_of(mixer, "Pan/Manual", "0"), where), -1.0, 1.0)),
        clips=audio,
        notes=notes,
        automation=tuple(_mixer_lanes(track, mixer, where)),
    )


def _mixer_lanes(track: Element, mixer: Element | None, where: str) -> list[AutomationLane]:
    lanes = []
    for name, low, high in _MIXER_LANES:
        points = _automation(track, mixer, name, "FloatEvent", where)
        if len(points):
            lanes.append(AutomationLane(name=name, low=low, high=high, points=_lane_points(points)))
    return lanes


def _lane_points(points: npt.NDArray[np.float64]) -> tuple[tuple[float, float, bool], ...]:
    beats = np.maximum(points[:, 0], 0.0).tolist()
    return tuple((at, value, True) for at, value in zip(beats, points[:, 1].tolist(), strict=True))
