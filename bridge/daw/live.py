"""Ableton Live sets, read only: tempo with its automation, meter, locators, arranged clips and the mixer.

Live sends no tempo with its MIDI exports, so this is where it can be had. A set is gzip around XML that Live
alone may write; nothing is ever written back. Times are beats.

Conventions: a meter is one number, numerator - 1 + 99 * log2(denominator). `live_curves` says what is between
the points of an automation, and how Live plays a tempo that moves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.clock.tempo_segments import RampLaw
from bridge.daw.live_clips import LiveClips, value_of
from bridge.daw.live_curves import LiveCurve, held_tempos
from bridge.daw.model import AutomationLane, Session, Track
from bridge.daw.untrusted import MAX_ITEMS, MAX_TEMPOS, check_count, naming, parse_number, read_gzip
from bridge.daw.untrusted_xml import Table, parse_xml
from bridge.errors import SessionError

__all__ = ["read_live"]

_METER_BASE: Final = 99
_SKIPPED: Final = ("ClipSlotList", "Devices", "FreezeSequencer", "Sends", "TakeLanes")
"""What a set holds much of and nothing is read from."""
_POINT: Final = ("Time", "Value", "CurveControl1X", "CurveControl1Y", "CurveControl2X", "CurveControl2Y")
_TABLES: Final = {
    "Notes": ("MidiNoteEvent", ("Time", "Duration", "Velocity", "IsEnabled")),
    "Events": ("FloatEvent", _POINT),
}
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
        tempos = _tempo_curve(live_set, where)
        tempo_map = _build_tempo_map(live_set, tempos, where, warnings)
        if tempos is not None and tempos.has_ramps and _version(root) > _MEASURED_UP_TO:
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


def _tempo_curve(live_set: Element, where: str) -> LiveCurve | None:
    return _automation(*_master(live_set), "Tempo", "FloatEvent", where)


def _build_tempo_map(
    live_set: Element, tempo_curve: LiveCurve | None, where: str, warnings: list[str]
) -> TempoMap:
    master, mixer = _master(live_set)
    tempos = _tempos(mixer, tempo_curve, where, warnings)
    meter_code = int(parse_number(value_of(mixer, "TimeSignature/Manual", "201"), where))
    events = _automation(master, mixer, "TimeSignature", "EnumEvent", where)
    codes = () if events is None else zip(events.beats.tolist(), events.values.tolist(), strict=True)
    meters = {max(0.0, beats): _meter(int(code)) for beats, code in codes}
    meters.setdefault(0.0, _meter(meter_code))
    markers = live_set.find("Locators/Locators")
    return TempoMap.from_points(
        tempos,
        [(beats, *meter) for beats, meter in sorted(meters.items())],
        [
            (
                parse_number(value_of(locator, "Time", "0"), where),
                value_of(locator, "Name") or f"Locator {number}",
            )
            for number, locator in enumerate(markers if markers is not None else (), 1)
        ],
        source="session",
    )


def _tempos(
    mixer: Element | None, curve: LiveCurve | None, where: str, warnings: list[str]
) -> list[tuple[float, float, RampLaw]]:
    if curve is not None:
        tempos, notes = held_tempos(curve)
        warnings += notes
        return tempos
    said = value_of(mixer, "Tempo/Manual")
    if not said:
        warnings.append("says no tempo: 120 BPM are taken; give the song's with --bpm")
    return [(0.0, parse_number(said or "120", where), "hold")]


def _automation(
    track: Element | None, mixer: Element | None, name: str, kind: str, where: str
) -> LiveCurve | None:
    """Return an automated parameter; None where nothing moves it."""
    parameter = None if mixer is None else mixer.find(name)
    if parameter is None or track is None:
        return None
    target = parameter.find("AutomationTarget")
    identifier = None if target is None else target.get("Id")
    events = parameter.find("ArrangerAutomation/Events")  # Live 9
    for envelope in track.iterfind("AutomationEnvelopes/Envelopes/AutomationEnvelope"):
        if identifier is not None and value_of(envelope, "EnvelopeTarget/PointeeId") == identifier:
            events = envelope.find("Automation/Events")
    rows = _points(events, kind, where)
    check_count(len(rows), MAX_TEMPOS, "tempos, meters or points of automation", where)
    if not len(rows):
        return None
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return LiveCurve(beats=rows[:, 0], values=rows[:, 1], controls=rows[:, 2:])


def _points(events: Element | None, kind: str, where: str) -> Float64Array:
    """Return points as rows: beats, value, and the controls of a curve, NaN where it is a line."""
    if kind == _TABLES["Events"][0] and isinstance(events, Table):
        rows = np.array(events.rows).reshape(-1, len(_POINT))
    else:
        found = events.findall(kind) if events is not None else []
        texts = [[event.get(name, "0") for name in _POINT[:2]] for event in found]
        rows = np.full((len(found), len(_POINT)), np.nan)
        rows[:, :2] = np.array([[parse_number(text, where) for text in row] for row in texts]).reshape(-1, 2)
    rows[:, :2] = np.nan_to_num(rows[:, :2])
    rows[np.isnan(rows).any(axis=1), 2:] = np.nan  # half a curve is none
    return rows


def _meter(code: int) -> tuple[int, int]:
    return code % _METER_BASE + 1, 1 << min(max(code // _METER_BASE, 0), 8)


def _track_name(track: Element) -> str:
    return value_of(track, "Name/EffectiveName") or value_of(track, "Name/UserName")


def _build_track(track: Element, clips: LiveClips, groups: Mapping[str, str], where: str) -> Track:
    mixer = track.find("DeviceChain/Mixer")
    audio, notes = clips.read_track(track, _track_name(track))
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
        curve = _automation(track, mixer, name, "FloatEvent", where)
        if curve is not None:
            lanes.append(AutomationLane(name=name, low=low, high=high, points=_lane_points(curve)))
    return lanes


def _lane_points(curve: LiveCurve) -> tuple[tuple[float, float, bool], ...]:
    lines = curve.straightened()
    beats = np.maximum(lines.beats, 0.0).tolist()
    return tuple((at, value, True) for at, value in zip(beats, lines.values.tolist(), strict=True))
