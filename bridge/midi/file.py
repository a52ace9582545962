"""MIDI files as DAWs really write them, read into NumPy columns.

Goal: one reader that loses nothing a sequencer exported and never ends in a traceback; what had to be
forgiven is told in `MidiFile.warnings`, with byte offsets.

Conventions: ticks are the file's own, from its first tick; tracks count from 0 in columns and from 1 in
messages; channels count from 0 in status bytes and from 1 wherever a person reads or writes them; a note-on
with velocity 0 is a note-off (`bridge.midi.lanes` pairs notes and reads controller lanes).
"""

from __future__ import annotations

import codecs
import errno
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bridge.errors import MidiFileError
from bridge.files import read_regular
from bridge.midi.messages import META, TEXT_KINDS, TRACK_NAME
from bridge.midi.scan import Header, Rows, ScanReport, read_varlen, scan_header, scan_tracks

__all__ = [
    "MetaEvent",
    "MidiFile",
    "MidiLimits",
    "MidiTrack",
    "SysexEvent",
    "decode_text",
    "parse_midi",
    "read_midi",
]

_MAX_TEXT = 1000
_DECLARED_CHARSETS = {"latin": "cp1252", "jp": "cp932", "utf-8": "utf-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiLimits:
    """What a file may cost before it is refused.

    Args:
        max_bytes: Size of the file.
        max_events: Events of any kind, all tracks together.
        max_metas: Meta events and system exclusives, which are kept as objects.
    """

    max_bytes: int = 64 << 20
    max_events: int = 5_000_000
    max_metas: int = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaEvent:
    """One meta event: tempo, meter, name, marker and the like.

    Args:
        tick: When.
        track: 0-based track.
        kind: The byte after 0xFF; 0x51 is a tempo, 0x58 a meter, 0x06 a marker.
        data: Its bytes, as they are.
        index: How many channel messages of the track came before it.
    """

    tick: int
    track: int
    kind: int
    data: bytes
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SysexEvent:
    """One system exclusive (status 0xF0) or escaped packet (0xF7), its bytes as they are."""

    tick: int
    track: int
    status: int
    data: bytes
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MidiTrack:
    """What is known of a track as a whole."""

    name: str
    n_events: int
    end_tick: int


@dataclass(frozen=True, kw_only=True, eq=False)
class MidiFile:
    """A MIDI file as columns: one row a channel message, in order of time.

    Args:
        name: The file's name, for messages.
        smf_type: 0, 1 or 2.
        ticks_per_beat: Ticks a quarter note; None in a file that counts SMPTE time.
        ticks_per_second: Ticks a second in a SMPTE file, exact; else None.
        tick: (n,) int64.
        status: (n,) uint8, message and channel.
        data1: (n,) uint8, 0..127.
        data2: (n,) uint8, 0..127; 0 where the message has one data byte.
        track: (n,) int32, 0-based.
        metas: Meta events in order of time.
        sysexes: System exclusives in order of time.
        tracks: One record a track.
        warnings: What had to be forgiven.
        automation: What a session draws beside its notes, by ``Track/Parameter``: (beats, value 0 to 1,
            whether it is a straight line to the next) in order.
    """

    name: str
    smf_type: int
    ticks_per_beat: int | None
    ticks_per_second: Fraction | None
    tick: npt.NDArray[np.int64]
    status: npt.NDArray[np.uint8]
    data1: npt.NDArray[np.uint8]
    data2: npt.NDArray[np.uint8]
    track: npt.NDArray[np.int32]
    metas: tuple[MetaEvent, ...]
    sysexes: tuple[SysexEvent, ...]
    tracks: tuple[MidiTrack, ...]
    warnings: tuple[str, ...] = ()
    automation: Mapping[str, tuple[tuple[float, float, bool], ...]] = field(default_factory=dict)

    @property
    def n_events(self) -> int:
        """How many channel messages there are."""
        return len(self.tick)

    @cached_property
    def end_tick(self) -> int:
        """When the last track ends."""
        return max((track.end_tick for track in self.tracks), default=0)

    @cached_property
    def channel(self) -> npt.NDArray[np.uint8]:
        """(n,) uint8, 0-based channel of each row."""
        return self.status & np.uint8(0x0F)

    @cached_property
    def message(self) -> npt.NDArray[np.uint8]:
        """(n,) uint8, the status without its channel: 0x90 note on, 0xB0 controller and so on."""
        return self.status & np.uint8(0xF0)

    def text(self, meta: MetaEvent) -> str:
        """Return the text of a meta event, in the charset it was most likely written in."""
        return decode_text(meta.data, self.declared_charset)

    @cached_property
    def declared_charset(self) -> str | None:
        """The charset the file itself declares by ``{@JP}`` or the like, or None."""
        return _declared_charset(self.metas)


def read_midi(
    path: Path | str,
    *,
    strict: bool = False,
    pattern: int | None = None,
    ppq: int | None = None,
    limits: MidiLimits | None = None,
) -> MidiFile:
    """Read a MIDI file, forgiving what can be forgiven.

    Args:
        path: The file.
        strict: Refuse whatever mido refuses, instead of forgiving it.
        pattern: Which track of a type 2 file to read, from 1.
        ppq: Ticks a quarter note, for a file that says 0.
        limits: What the file may cost.

    Raises:
        MidiFileError: Not there, not a Standard MIDI File, or beyond a limit.
    """
    file, limits = Path(path), limits or MidiLimits()
    try:
        data = read_regular(file, limits.max_bytes)
    except OSError as error:
        is_large = error.errno == errno.EFBIG
        hint = "raise MidiLimits.max_bytes if the file is trusted" if is_large else "check the path"
        raise MidiFileError(f"{file}: cannot be read ({error.strerror or error}); {hint}") from None
    if strict:
        from bridge.midi.strict import check_strict

        check_strict(data, str(file))
    return parse_midi(data, str(file), pattern=pattern, ppq=ppq, limits=limits)


def parse_midi(
    data: bytes,
    name: str = "MIDI data",
    *,
    pattern: int | None = None,
    ppq: int | None = None,
    limits: MidiLimits | None = None,
) -> MidiFile:
    """Read the bytes of a MIDI file; see `read_midi`.

    >>> parse_midi(bytes.fromhex("4d546864000000060000000101e04d54726b0000000400ff2f00")).ticks_per_beat
    480
    """
    limits, report = limits or MidiLimits(), ScanReport()
    header = scan_header(data, name, report, ppq)
    tracks = list(scan_tracks(data, header, limits.max_events, name, report))
    if not tracks:
        raise MidiFileError(
            f"{name}: there is no track in it (0 MTrk chunks); export it again with its tracks"
        )
    if len(tracks) != header.n_tracks:
        report.add(f"the header says {header.n_tracks} tracks; {len(tracks)} are there")
    tracks = _choose_pattern(tracks, header, pattern, name)
    n_objects = sum(int(np.count_nonzero(rows.statuses >= 0xF0)) for rows in tracks)
    if n_objects > limits.max_metas:
        raise MidiFileError(
            f"{name}: {n_objects} meta events are more than {limits.max_metas}; "
            "raise the limit (MidiLimits.max_metas) if the file is trusted"
        )
    return _build(data, name, header, tracks, report)


def decode_text(data: bytes, declared: str | None = None) -> str:
    r"""Decode a text event: UTF-8, else the charset declared, else Japanese or Western by the look of it.

    What comes back can be printed on one line, a thousand characters at most. A NUL ends the text, as in the
    programs that write one; any other control character counts as a space.

    >>> decode_text(b"Caf\xe9"), decode_text("Verse サビ 2".encode("cp932")), decode_text(b"Bass\0\xfe")
    ('Café', 'Verse サビ 2', 'Bass')
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _printable(data.decode("utf-16", "replace").partition("\0")[0])
    return _printable(_decode(data.lstrip(b"\0").partition(b"\0")[0], declared))


def _decode(data: bytes, declared: str | None) -> str:
    for charset in ("utf-8", declared):
        try:
            if charset:
                return data.decode(charset)
        except UnicodeDecodeError:
            continue
    try:
        japanese = data.decode("cp932")
    except UnicodeDecodeError:
        japanese = ""
    # An accented letter and the one after it may make a character of Japanese; kana, or two in a row, rarely.
    begin = japanese[:_MAX_TEXT]
    wide = sum("\u3000" < character < "\uff00" for character in begin)
    if wide * 2 > len(begin) or re.search("[\u3040-\u30ff]|[\u3000-\u9fff]{2}", begin):
        return japanese
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _printable(text: str) -> str:
    """Put spaces for what controls, nothing for what is invisible, a mark for what is unknown."""
    text = text[:_MAX_TEXT]
    if not text.isprintable():
        stand_ins = {"Cf": "", "Cs": "\ufffd", "Co": "\ufffd", "Cn": "\ufffd"}
        text = "".join(
            one if one.isprintable() else stand_ins.get(unicodedata.category(one), " ") for one in text
        )
    return text.strip()


def _declared_charset(metas: tuple[MetaEvent, ...]) -> str | None:
    for meta in metas:
        declared = re.search(rb"\{@([A-Za-z0-9-]+)\}", meta.data) if meta.kind in TEXT_KINDS else None
        if declared:
            return _DECLARED_CHARSETS.get(declared[1].decode("ascii").lower())
    return None


def _choose_pattern(tracks: list[Rows], header: Header, pattern: int | None, name: str) -> list[Rows]:
    if header.smf_type != 2:
        if pattern is not None:
            raise MidiFileError(
                f"{name}: pattern {pattern} asked for; a type {header.smf_type} file has none, leave it out"
            )
        return tracks
    if pattern is None and len(tracks) > 1:
        raise MidiFileError(
            f"{name}: a type 2 file of {len(tracks)} independent patterns; choose one (--pattern 1)"
        )
    index = (pattern or 1) - 1
    if not 0 <= index < len(tracks):
        raise MidiFileError(f"{name}: pattern {pattern} does not exist; 1 to {len(tracks)} are accepted")
    return [tracks[index]]


def _build(data: bytes, name: str, header: Header, tracks: list[Rows], report: ScanReport) -> MidiFile:
    columns = [_channel_columns(data, rows, number, report) for number, rows in enumerate(tracks)]
    tick, status, data1, data2, track = (np.concatenate(column) for column in zip(*columns, strict=True))
    if np.any(tick[1:] < tick[:-1]):
        order = np.argsort(tick, kind="stable")  # ties stay in track order, then file order
        tick, status, data1, data2, track = (
            tick[order],
            status[order],
            data1[order],
            data2[order],
            track[order],
        )
    metas, sysexes = _objects(data, tracks)
    charset = _declared_charset(metas)
    names = {
        meta.track: decode_text(meta.data, charset) for meta in reversed(metas) if meta.kind == TRACK_NAME
    }
    return MidiFile(
        name=name,
        smf_type=header.smf_type,
        ticks_per_beat=header.ticks_per_beat,
        ticks_per_second=header.ticks_per_second,
        tick=tick,
        status=status,
        data1=data1,
        data2=data2,
        track=track,
        metas=metas,
        sysexes=sysexes,
        tracks=tuple(
            MidiTrack(name=names.get(number, ""), n_events=len(columns[number][0]), end_tick=rows.end_tick)
            for number, rows in enumerate(tracks)
        ),
        warnings=report.finish(),
    )


def _channel_columns(
    data: bytes, rows: Rows, number: int, report: ScanReport
) -> tuple[npt.NDArray[np.generic], ...]:
    """Gather the data bytes of one track's channel messages."""
    is_channel = (rows.statuses >= 0x80) & (rows.statuses < 0xF0)
    tick, status, offset = rows.ticks[is_channel], rows.statuses[is_channel], rows.offsets[is_channel]
    octets = np.frombuffer(data, np.uint8)
    data1 = octets[offset]
    has_two = (status < 0xC0) | (status >= 0xE0)
    data2 = np.where(has_two, octets[np.minimum(offset + 1, len(octets) - 1)], 0).astype(np.uint8)
    is_wrong = (data1 > 0x7F) | (data2 > 0x7F)
    if np.any(is_wrong):
        first = int(offset[np.argmax(is_wrong)])
        report.add(
            f"track {number + 1}: {np.count_nonzero(is_wrong)} messages have a data byte above 127, "
            f"the first at byte {first}; read as 127"
        )
    n_system = int(
        np.count_nonzero((rows.statuses > 0xF0) & (rows.statuses < META) & (rows.statuses != 0xF7))
    )
    if n_system:
        report.add(f"track {number + 1}: {n_system} system messages that no MIDI file may hold were skipped")
    track = np.full(len(tick), number, np.int32)
    return tick, status, np.minimum(data1, 0x7F), np.minimum(data2, 0x7F), track


def _objects(data: bytes, tracks: list[Rows]) -> tuple[tuple[MetaEvent, ...], tuple[SysexEvent, ...]]:
    """Take the meta events and system exclusives out of all tracks, in order of time."""
    metas: list[MetaEvent] = []
    sysexes: list[SysexEvent] = []
    for number, rows in enumerate(tracks):
        is_channel = (rows.statuses >= 0x80) & (rows.statuses < 0xF0)
        n_before = np.cumsum(is_channel)
        for row in np.flatnonzero(~is_channel).tolist():
            status, offset, tick = int(rows.statuses[row]), int(rows.offsets[row]), int(rows.ticks[row])
            if status == META:
                length, start = read_varlen(data, offset + 1)
                content = data[start : start + length]
                metas.append(
                    MetaEvent(
                        tick=tick, track=number, kind=data[offset], data=content, index=int(n_before[row])
                    )
                )
            elif status in (0xF0, 0xF7):
                length, start = read_varlen(data, offset)
                content = data[start : start + length]
                sysexes.append(
                    SysexEvent(tick=tick, track=number, status=status, data=content, index=int(n_before[row]))
                )
    metas.sort(key=lambda meta: meta.tick)
    sysexes.sort(key=lambda sysex: sysex.tick)
    return tuple(metas), tuple(sysexes)
