"""DAWproject files, written back: a copy of the user's project with our tracks added, all else as it was.

The document is edited, never made anew, so whatever another program put into it stays.
"""

from __future__ import annotations

import itertools
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from bridge.audio.reader import AudioInfo, read_info
from bridge.clock.tempo_map import TempoMap
from bridge.daw.dawproject_read import PROJECT_MEMBER, build_tempo_map, find_tracks
from bridge.daw.model import StemTrack
from bridge.daw.untrusted import naming, open_zip, read_member, safe_member_names
from bridge.daw.untrusted_xml import Verbatim, parse_xml, write_xml
from bridge.daw.write_back import WriteBack, may_write
from bridge.errors import SessionError, nearest_names
from bridge.files import write_whole

__all__ = ["write_dawproject"]

_UNTOUCHED: Final = ("Devices", "Notes", "Points", "Scenes")
_OWN_ID: Final = re.compile(rb"reverie\d+")
_ZIP_DATE: Final = (1980, 1, 1, 0, 0, 0)  # the same project gives the same bytes on any day


def write_dawproject(
    source: Path | str,
    target: Path | str,
    stems: Sequence[StemTrack],
    how: WriteBack | None = None,
) -> tuple[str, ...]:
    """Write a copy of a project with one new track a rendered stem, as loud as the one it was made from.

    Audio goes into the archive.

    Args:
        source: The user's .dawproject.
        target: Where the copy goes; the source itself is replaced once the copy is whole.
        stems: What to add.
        how: What becomes of the tracks they were made from.

    Returns:
        What the user should know.

    Raises:
        SessionError: The source cannot be read, or has no track of a name given.
        OutputError: The target exists or cannot be written.
    """
    source, target, how = Path(source), Path(target), how or WriteBack()
    overwrite = may_write(source, target, how)
    warnings: list[str] = []
    if how.takes:
        warnings.append("DAWproject has no takes: stems are added as tracks")
    with naming(source), open_zip(source, ".dawproject") as archive:
        names = safe_member_names(archive, str(source))
        member = read_member(archive, PROJECT_MEMBER, str(source))
        root = parse_xml(member, f"{source}: {PROJECT_MEMBER}", verbatim=_UNTOUCHED)
        editor = _Editor(root, set(names), str(source))
        media = {editor.add_stem(stem, how): stem.audio for stem in stems}
        with write_whole(target, overwrite=overwrite) as part, zipfile.ZipFile(part, "w") as output:
            for info in archive.infolist():
                _copy_member(archive, output, info, root, str(source))
            for name, path in media.items():
                with (
                    path.open("rb") as file,
                    output.open(_new_member(name), "w", force_zip64=True) as out,
                ):
                    shutil.copyfileobj(file, out, 1 << 20)
    return (*warnings, *editor.warnings)


def _copy_member(
    archive: zipfile.ZipFile, output: zipfile.ZipFile, info: zipfile.ZipInfo, root: ET.Element, where: str
) -> None:
    if info.filename == PROJECT_MEMBER:
        with output.open(_new_member(PROJECT_MEMBER, zipfile.ZIP_DEFLATED), "w") as out:
            for piece in write_xml(root):
                out.write(piece)
    elif info.filename.endswith("/"):
        output.writestr(zipfile.ZipInfo(info.filename, info.date_time), b"")
    else:
        copy = zipfile.ZipInfo(info.filename, info.date_time)
        copy.compress_type, copy.external_attr = info.compress_type, info.external_attr
        with output.open(copy, "w", force_zip64=info.file_size >= 1 << 31) as out:
            for piece in read_member(archive, info.filename, where, limit_bytes=info.file_size):
                out.write(piece)


def _new_member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _ZIP_DATE)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    return info


class _Editor:
    """Add tracks to a parsed project."""

    def __init__(self, root: ET.Element, members: set[str], where: str) -> None:
        self._root = root
        self._members = members
        self._where = where
        self._tempo_map: TempoMap = build_tempo_map(root, where)
        self._ids = {element.get("id") for element in root.iter()} - {None}
        for element in root.iter():
            if isinstance(element, Verbatim):
                self._ids.update(name.decode() for name in _OWN_ID.findall(element.content))
        self._numbers = itertools.count(1)
        self._parents = {child: parent for parent in root.iter() for child in parent}
        self.warnings: list[str] = []

    def add_stem(self, stem: StemTrack, how: WriteBack) -> str:
        """Add the tracks of one stem; return the name its audio gets in the archive."""
        info = read_info(stem.audio)
        source = None if stem.source_track is None else self._find_track(stem.source_track)
        channel = None if source is None else source.find("Channel")
        destination = self._master() if channel is None else channel.get("destination")
        audio_track = self._build_track(stem.name, "audio", destination, info.n_channels)
        added = [audio_track]
        lanes = self._arrangement_lanes()
        member = self._media_name(stem.audio)
        lane = self._audio_lane(audio_track, stem, info, member)
        lanes.append(lane)
        if source is not None and channel is not None:
            self._match(source, channel, audio_track, lane, stem)
        if stem.depth_points:
            depth_track = self._build_track(f"{stem.name} depth", "notes", None, None)
            added.append(depth_track)
            lanes.append(self._depth_lane(depth_track, stem, info))
        parent = self._structure() if source is None else self._parents[source]
        position = len(parent) if source is None else list(parent).index(source) + 1
        for offset, track in enumerate(added):
            parent.insert(position + offset, track)
        if source is None or channel is None or how.original == "keep":
            return member
        if how.original == "mute" or not self._remove(source):
            self._mute(channel)
        return member

    def _match(
        self,
        source: ET.Element,
        channel: ET.Element,
        track: ET.Element,
        lane: ET.Element,
        stem: StemTrack,
    ) -> None:
        """Make a new track as loud as its source: fader, pan, colour, sends and their automation."""
        if source.get("color"):
            track.set("color", source.get("color", ""))
        own = track.find("Channel")
        assert own is not None
        for name in ("Pan", "Volume"):
            parameter, new = channel.find(name), own.find(name)
            if parameter is not None and new is not None:
                identifier = new.get("id", "")
                new.attrib.clear()
                new.attrib.update({**parameter.attrib, "id": identifier})
                self._copy_automation(parameter.get("id"), identifier, source, lane)
        sends = channel.find("Sends")
        if sends is not None:
            copy = deepcopy(sends)
            for element in copy.iter():
                if element.get("id"):
                    element.set("id", self._new_id())
            pan = own.find("Pan")
            own.insert(len(own) if pan is None else list(own).index(pan) + 1, copy)
        devices = channel.find("Devices")
        if devices is not None and getattr(devices, "content", b"").strip():
            self.warnings.append(
                f"{stem.name}: {stem.source_track!r} has devices in the session, which its stem was not "
                "played through and the new track does not have"
            )

    def _copy_automation(self, old: str | None, new: str, source: ET.Element, lane: ET.Element) -> None:
        """Give a copied parameter what moves the one it was copied from.

        What lies in the lane of the source goes into that of the new track: the source's may be removed.
        """
        if old is None:
            return
        for points in list(self._root.iter("Points")):
            if not self._moves(points, old):
                continue
            around = list(self._around(points))
            if any(element.tag == "Clip" for element in around):
                self.warnings.append(
                    f"{source.get('name', '')!r} is moved by automation in clips, which its new track does "
                    "not have: turn it into automation of the track in the DAW"
                )
                continue
            if isinstance(points, Verbatim):  # a deep copy would be a plain element, without the content
                verbatim = Verbatim(points.tag, points.attrib)
                verbatim.content = points.content.replace(_target(old), _target(new))
                copy: ET.Element = verbatim
            else:
                copy = deepcopy(points)
                for target in copy.iter("Target"):
                    target.set("parameter", new)
            copy.tail = points.tail
            copy.set("id", self._new_id())
            if any(element.get("track") == source.get("id") for element in around):
                units = (element.get("timeUnit") for element in (points, *around))
                copy.set("timeUnit", next((unit for unit in units if unit), "beats"))
                lane.append(copy)
                self._parents[copy] = lane
            else:
                parent = around[0]
                parent.insert(list(parent).index(points) + 1, copy)
                self._parents[copy] = parent

    def _around(self, element: ET.Element) -> Iterator[ET.Element]:
        """Go through what an element lies in, from the inside."""
        while element in self._parents:
            element = self._parents[element]
            yield element

    @staticmethod
    def _moves(points: ET.Element, parameter: str | None) -> bool:
        if parameter is None:
            return False
        if isinstance(points, Verbatim):
            return _target(parameter) in points.content
        return any(target.get("parameter") == parameter for target in points.iter("Target"))

    def _remove(self, track: ET.Element) -> bool:
        """Take a track out with what lies on it; false where others are in it or refer to it."""
        identifier = track.get("id")
        lanes = self._root.find("Arrangement/Lanes")
        own = [lane for lane in (lanes if lanes is not None else ()) if lane.get("track") == identifier]
        inside = {id(element) for lane in own for element in lane.iter()}
        parameters = {element.get("id") for element in track.iter()} - {None}
        is_used = any(
            id(points) not in inside and any(self._moves(points, one) for one in parameters)
            for points in self._root.iter("Points")
        )
        if is_used or track.find("Track") is not None:
            self.warnings.append(f"{track.get('name', '')!r} holds or moves other tracks: muted, not removed")
            return False
        self._parents[track].remove(track)
        for lane in own:
            self._parents[lane].remove(lane)
        return True

    def _structure(self) -> ET.Element:
        structure = self._root.find("Structure")
        if structure is None:
            raise SessionError(
                f"{self._where}: has no tracks to add one to; save the session again in its DAW"
            )
        return structure

    def _master(self) -> str | None:
        """Return where a track of its own sounds: the first channel that is the master."""
        masters = (c for c in self._structure().iter("Channel") if c.get("role") == "master")
        return next((channel.get("id") for channel in masters), None)

    def _find_track(self, name: str) -> ET.Element:
        tracks = {track.get("name", ""): track for track in reversed(list(find_tracks(self._root)))}
        if name not in tracks:
            raise SessionError(f"{self._where}: has no track {name!r}; {nearest_names(name, tracks)}")
        return tracks[name]

    def _arrangement_lanes(self) -> ET.Element:
        arrangement = self._root.find("Arrangement")
        if arrangement is None:
            arrangement = ET.Element("Arrangement", {"id": self._new_id()})
            structure = self._root.find("Structure")
            self._root.insert(
                list(self._root).index(structure) + 1 if structure is not None else 0, arrangement
            )
        lanes = arrangement.find("Lanes")
        if lanes is None:  # the schema wants it first
            lanes = ET.Element("Lanes", {"timeUnit": "beats", "id": self._new_id()})
            arrangement.insert(0, lanes)
        return lanes

    def _build_track(
        self, name: str, content: str, destination: str | None, n_channels: int | None
    ) -> ET.Element:
        track = ET.Element(
            "Track", {"contentType": content, "loaded": "true", "id": self._new_id(), "name": name}
        )
        attributes = {"role": "regular", "solo": "false", "id": self._new_id()}
        if n_channels is not None:
            attributes["audioChannels"] = str(n_channels)
        if destination is not None:
            attributes["destination"] = destination
        channel = ET.SubElement(track, "Channel", attributes)
        ET.SubElement(channel, "Mute", {"value": "false", "id": self._new_id(), "name": "Mute"})
        pan = {"max": "1", "min": "0", "unit": "normalized", "value": "0.5"}
        ET.SubElement(channel, "Pan", {**pan, "id": self._new_id(), "name": "Pan"})
        volume = {"max": "2", "min": "0", "unit": "linear", "value": "1"}
        ET.SubElement(channel, "Volume", {**volume, "id": self._new_id(), "name": "Volume"})
        return track

    def _audio_lane(self, track: ET.Element, stem: StemTrack, info: AudioInfo, member: str) -> ET.Element:
        lane = self._lane(stem, info, content_unit="seconds")
        lane.set("track", str(track.get("id")))
        audio = ET.SubElement(
            lane[0][0],
            "Audio",
            {
                "algorithm": "raw",
                "channels": str(info.n_channels),
                "duration": _decimal(info.duration_s),
                "sampleRate": str(info.sample_rate),
                "id": self._new_id(),
            },
        )
        ET.SubElement(audio, "File", {"path": member})
        return lane

    def _depth_lane(self, track: ET.Element, stem: StemTrack, info: AudioInfo) -> ET.Element:
        lane = self._lane(stem, info, content_unit="beats")
        lane.set("track", str(track.get("id")))
        points = ET.SubElement(lane[0][0], "Points", {"unit": "normalized", "id": self._new_id()})
        target = {"expression": "channelController", "channel": "0", "controller": "1"}
        ET.SubElement(points, "Target", target)
        start = float(self._tempo_map.seconds_to_beats(stem.start_s))
        for beats, value in stem.depth_points:
            ET.SubElement(
                points,
                "RealPoint",
                {"time": _decimal(beats - start), "value": _decimal(value), "interpolation": "hold"},
            )
        return lane

    def _lane(self, stem: StemTrack, info: AudioInfo, *, content_unit: str) -> ET.Element:
        """Return a lane with one clip as long as the stem."""
        start = float(self._tempo_map.seconds_to_beats(stem.start_s))
        end = float(self._tempo_map.seconds_to_beats(stem.start_s + info.duration_s))
        lane = ET.Element("Lanes", {"timeUnit": "beats", "id": self._new_id()})
        clips = ET.SubElement(lane, "Clips", {"id": self._new_id()})
        ET.SubElement(
            clips,
            "Clip",
            {
                "time": _decimal(start),
                "duration": _decimal(end - start),
                "contentTimeUnit": content_unit,
                "playStart": "0.0",
                "name": stem.name,
            },
        )
        return lane

    def _mute(self, channel: ET.Element) -> None:
        mute = channel.find("Mute")
        if mute is None:
            mute = ET.Element("Mute", {"id": self._new_id(), "name": "Mute"})
            channel.insert(1 if channel.find("Devices") is not None else 0, mute)
        mute.set("value", "true")

    def _media_name(self, path: Path) -> str:
        for number in itertools.count(1):
            name = f"audio/{path.stem}{'' if number == 1 else f' {number}'}{path.suffix}"
            if name not in self._members:
                break
        self._members.add(name)
        return name

    def _new_id(self) -> str:
        identifier = next(i for n in self._numbers if (i := f"reverie{n}") not in self._ids)
        self._ids.add(identifier)
        return identifier


def _target(parameter: str) -> bytes:
    """Return how a target names a parameter."""
    return f'parameter="{parameter}"'.encode()


def _decimal(value: float) -> str:
    """Write a number so that it reads back the same, never in exponents."""
    return f"{value:.12f}".rstrip("0").rstrip(".") or "0"
