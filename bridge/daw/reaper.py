"""Reaper projects, read: tempo, meter, markers, tracks with their mixer, and automation.

Times are seconds; a tempo point's shape is 0 for a ramp that is straight in time, 1 for a held tempo.
`reaper_text` is the file as a tree, `reaper_items` reads what lies on a track.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from bridge.clock.tempo_map import TempoMap
from bridge.clock.tempo_segments import RampLaw
from bridge.daw.model import AutomationLane, Session, Track
from bridge.daw.reaper_items import ItemReader
from bridge.daw.reaper_text import Block, Words, locating, number, read_versions
from bridge.daw.untrusted import MAX_ITEMS, MAX_TEMPOS, check_count, naming

__all__ = ["read_reaper"]

_METER_BASE: Final = 65536
_OWN_COLOR: Final = 1 << 24
_TRACK_LANES: Final = {"VOLENV2": ("Volume", 0.0, 4.0), "PANENV2": ("Pan", -1.0, 1.0)}
"""Envelopes of a track by their names in the file: what they move, its lowest and its highest value."""


def read_reaper(path: Path | str) -> Session:
    """Read a .rpp file, or the newest project in a .rpp-bak.

    Raises:
        SessionError: Not such a file, or damaged.
    """
    path = Path(path)
    versions = read_versions(path)
    with locating(path, versions):
        project = max(reversed(versions), key=lambda one: one.saved_at)
        warnings: list[str] = []
        if len(versions) > 1:
            warnings.append(f"holds {len(versions)} versions of the project: the newest is read")
        with naming(path):
            tempo_map = _build_tempo_map(project, str(path), warnings)
        n_items = sum(1 for track in project.blocks("TRACK") for _ in track.blocks("ITEM"))
        check_count(n_items, MAX_ITEMS, "items", str(path))
        rate = project.first("SAMPLERATE")  # the rate, and whether the project insists on it
        is_fixed = number(rate, 1, 0.0) != 0
        return Session(
            path=path,
            format="reaper",
            tempo_map=tempo_map,
            tracks=tuple(_build_tracks(project, tempo_map, path, warnings)),
            sample_rate=int(number(rate, 0, 0.0)) if is_fixed else None,
            warnings=tuple(warnings),
        )


def _build_tempo_map(project: Block, where: str, warnings: list[str]) -> TempoMap:
    header = project.first("TEMPO")
    bpm = number(header, 0, 120.0)
    tempos: list[tuple[float, float, RampLaw]] = []
    meters: list[tuple[float, int, int]] = []
    beats = last_s = 0.0
    for envelope in project.blocks("TEMPOENVEX"):
        for point in envelope.values("PT"):
            check_count(len(tempos), MAX_TEMPOS, "tempos", where)
            time_s, value = number(point, 0, 0.0), number(point, 1, bpm)
            if tempos:
                _, before, ramp = tempos[-1]
                beats += (time_s - last_s) / 60 * ((before + value) / 2 if ramp == "time" else before)
            elif time_s > 0:
                tempos.append((0.0, bpm, "hold"))
                beats = time_s / 60 * bpm
            last_s = time_s
            tempos.append((beats, value, "hold" if number(point, 2, 1.0) == 1 else "time"))
            code = int(number(point, 3, 0.0))
            if code > 0:
                meters.append((beats, code % _METER_BASE, code // _METER_BASE))
    if not tempos:
        if not header:
            warnings.append("says no tempo: 120 BPM are taken; give the song's with --bpm")
        tempos.append((0.0, bpm, "hold"))
    if not meters or meters[0][0] > 0:
        meters.insert(0, (0.0, int(number(header, 1, 4.0)), int(number(header, 2, 4.0))))
    clock = TempoMap.from_points(tempos, meters, source="session")
    first_bar = 1 + int(number(project.first("PROJOFFS"), 1, 0.0))
    marked = list(_markers(project))
    check_count(len(marked), MAX_ITEMS, "markers", where)
    at = clock.seconds_to_beats(np.array([time_s for time_s, _ in marked])).tolist()
    clock = clock.with_markers(zip(at, [name for _, name in marked], strict=True))
    return replace(clock, first_bar=first_bar) if first_bar != 1 else clock


def _markers(project: Block) -> Iterator[tuple[float, str]]:
    """Return markers and the starts of regions; what has no name is called by its number, as Reaper shows it.

    A line holds number, time, name and whether it is of a region; a region has a line at its start and one,
    without a name, at its end.
    """
    open_regions: set[str] = set()
    for words in project.values("MARKER"):
        if len(words) < 2:
            continue
        name, flags = [*words[2:4], "", ""][:2]
        is_region = flags.isdecimal() and flags[-1] in "13579"
        if is_region and words[0] in open_regions:
            open_regions.discard(words[0])
            continue
        if is_region:
            open_regions.add(words[0])
        yield number(words, 1, 0.0), name or f"{'Region' if is_region else 'Marker'} {words[0]}"


def _build_tracks(project: Block, tempo_map: TempoMap, path: Path, warnings: list[str]) -> Iterator[Track]:
    items = ItemReader(project, tempo_map, path, warnings)
    folders: list[str] = []
    for block in project.blocks("TRACK"):
        name = next(iter(block.first("NAME")), "")
        volume, mute = block.first("VOLPAN"), block.first("MUTESOLO")
        lying = items.read_track(block, name)
        yield Track(
            name=name,
            group=folders[-1] if folders else "",
            color=_color(block.first("PEAKCOL")),
            is_muted=bool(mute) and mute[0] == "1",
            gain=number(volume, 0, 1.0),
            pan=float(np.clip(number(volume, 1, 0.0), -1.0, 1.0)),
            clips=lying.clips,
            notes=lying.notes,
            lanes=lying.lanes,
            automation=tuple(_automation(block, tempo_map)),
        )
        folder = block.first("ISBUS")  # 1 opens a folder; 2 closes so many as the next number says
        if number(folder, 0, 0.0) == 1:
            folders.append(name)
        elif number(folder, 0, 0.0) == 2:
            n_closed = max(0, -int(number(folder, 1, 0.0)))
            del folders[len(folders) - min(n_closed, len(folders)) :]


def _color(words: Words) -> str:
    value = int(number(words, 0, 0.0))
    if not value & _OWN_COLOR:
        return ""
    return f"#{value & 255:02x}{value >> 8 & 255:02x}{value >> 16 & 255:02x}"


def _automation(track: Block, tempo_map: TempoMap) -> Iterator[AutomationLane]:
    for name, (title, low, high) in _TRACK_LANES.items():
        for envelope in track.blocks(name):
            yield from _lane(envelope, tempo_map, title, "", low, high)
    for chain in track.blocks("FXCHAIN"):
        device = ""
        for block in chain.blocks():
            if block.name != "PARMENV":
                device = next(iter(block.head_words), device)
                continue
            words = block.head_words  # index, lowest, highest, middle, name
            title = words[4] if len(words) > 4 else next(iter(words), "")
            title = title.partition(" / ")[0]
            yield from _lane(block, tempo_map, title, device, number(words, 1, 0.0), number(words, 2, 1.0))


def _lane(
    envelope: Block, tempo_map: TempoMap, name: str, device: str, low: float, high: float
) -> Iterator[AutomationLane]:
    if envelope.first("ACT")[:1] == ["0"]:
        return
    points = list(envelope.values("PT"))
    if not points:
        return
    rows = [(number(p, 0, 0.0), number(p, 1, 0.0), number(p, 2, 0.0) != 1) for p in points]
    rows.sort(key=lambda row: row[0])
    beats = tempo_map.seconds_to_beats(np.array([row[0] for row in rows])).tolist()
    yield AutomationLane(
        name=name,
        device=device,
        low=low,
        high=high,
        points=tuple((at, value, line) for at, (_, value, line) in zip(beats, rows, strict=True)),
    )
