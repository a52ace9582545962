"""Standard MIDI File bytes to rows: the lenient scanner beneath `bridge.midi.file`.

Goal: take what sequencers, recorders and decades of converters really wrote, and keep all that can be kept.

Conventions: a *row* is one event of a track in file order (channel message, meta event or system exclusive);
rows hold byte offsets, so that the values themselves are gathered by NumPy afterwards.

Rules: RIFF wrappers, leading junk, long headers and unknown chunks are skipped; a wrong track length is
corrected by the end-of-track event or the next ``MTrk``; running status survives meta events and system
exclusives; a truncated track keeps what was read; a data byte above 127 is read as 127.

Source: Standard MIDI Files 1.0 (RP-001), MIDI 1.0 Detailed Specification; RP-026 for declared charsets.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from bridge.errors import MidiFileError
from bridge.midi.messages import END_OF_TRACK, META

__all__ = ["Header", "Rows", "ScanReport", "read_varlen", "scan_header", "scan_tracks"]

_SYSEX = (0xF0, 0xF7)


_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}


_WINDOW_BYTES = 1 << 20


_MAX_WARNINGS = 40


_MAX_TRACKS = 0xFFFF


@dataclass(slots=True)
class ScanReport:
    """Collect what had to be forgiven, each with its place, without growing with a hostile file."""

    lines: list[str] = field(default_factory=list)
    n_left_out: int = 0

    def add(self, line: str) -> None:
        """Note one thing."""
        if len(self.lines) < _MAX_WARNINGS:
            self.lines.append(line)
        else:
            self.n_left_out += 1

    def finish(self) -> tuple[str, ...]:
        """Return the notes, the last one counting those that were left out."""
        more = (f"and {self.n_left_out} more warnings of this kind",) if self.n_left_out else ()
        return (*self.lines, *more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the header chunk says.

    Args:
        smf_type: 0 one track, 1 tracks that play together, 2 independent patterns.
        n_tracks: How many tracks the file says it has.
        ticks_per_beat: Ticks a quarter note, or None where the file counts SMPTE time.
        ticks_per_second: Ticks a second in a SMPTE file, exact; else None.
        end: Offset of the first byte after the header chunk.
    """

    smf_type: int
    n_tracks: int
    ticks_per_beat: int | None
    ticks_per_second: Fraction | None
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """One track's events in file order.

    Args:
        ticks: (n,) int64, time from the start of the track.
        statuses: (n,) uint8; `META` and 0xF0/0xF7 mark what is not a channel message.
        offsets: (n,) int64, offset of the first data byte (of the kind byte in a meta event).
        end_tick: When the track ends.
    """

    ticks: npt.NDArray[np.int64]
    statuses: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    end_tick: int


def scan_header(data: bytes, name: str, report: ScanReport, ppq: int | None = None) -> Header:
    """Find and read the header chunk, wherever it is.

    Args:
        data: The whole file.
        name: The file's name, for messages.
        report: Collects warnings.
        ppq: Ticks a quarter note, for a file that says 0.

    Raises:
        MidiFileError: Not a Standard MIDI File, or a header that makes no sense.
    """
    if not data:
        raise MidiFileError(f"{name}: the file is empty (0 bytes); export it again from the sequencer")
    start = data.find(b"MThd")
    if start < 0:
        raise MidiFileError(f"{name}: {_what_it_is(data)}; export a Standard MIDI File (type 0 or 1)")
    if start and data[:4] != b"RIFF":
        report.add(f"{start} bytes before the header at byte {start} were skipped")
    chunk = data[start + 4 : start + 14]
    if len(chunk) < 10:
        raise MidiFileError(f"{name}: the header at byte {start} is cut off; export the file again")
    length, smf_type, n_tracks, division = (
        int.from_bytes(chunk[a:b], "big") for a, b in ((0, 4), (4, 6), (6, 8), (8, 10))
    )
    if smf_type > 2:
        raise MidiFileError(
            f"{name}: type {smf_type} does not exist; 0, 1 and 2 are accepted. "
            "The file is damaged: export it again"
        )
    if length < 6:
        report.add(f"the header says it is {length} bytes long; read as 6")
    ticks_per_beat, ticks_per_second = _division(division, name, ppq)
    end = start + 8 + max(length, 6)
    if end > len(data):
        report.add(f"the header says it is {length} bytes long, past the end of the file; read as 6")
        end = start + 14
    return Header(
        smf_type=smf_type,
        n_tracks=n_tracks,
        ticks_per_beat=ticks_per_beat,
        ticks_per_second=ticks_per_second,
        end=end,
    )


def scan_tracks(
    data: bytes, header: Header, max_events: int, name: str, report: ScanReport
) -> Iterator[Rows]:
    """Read every track after the header, skipping what is not a track.

    What is no chunk is searched for the next track only while the header has announced one: after the last,
    editors and converters leave remains of older tracks behind, which nobody is to hear.

    Raises:
        MidiFileError: More than `max_events` events.
    """
    position, n_events, n_tracks = header.end, 0, 0
    n_announced = max(header.n_tracks, 1)
    while position + 8 <= len(data):
        chunk_id = data[position : position + 4]
        end = position + 8 + int.from_bytes(data[position + 4 : position + 8], "big")
        if chunk_id != b"MTrk":
            position = _skip_chunk(data, position, end, n_tracks < n_announced, report)
            continue
        n_tracks += 1
        if n_tracks > _MAX_TRACKS:
            raise MidiFileError(
                f"{name}: more than {_MAX_TRACKS} tracks, more than a header can state; not MIDI"
            )
        rows, position = _scan_track(
            data, position + 8, end, max_events - n_events, n_tracks, n_tracks < n_announced, name, report
        )
        n_events += len(rows.ticks)
        yield rows
    if 0 < len(data) - position < 8 and data[position:].strip(b"\0"):
        report.add(f"{len(data) - position} bytes at byte {position}, after the last track, were skipped")


def read_varlen(data: bytes, position: int) -> tuple[int, int]:
    """Read a variable-length number; return it and the offset after it.

    Raises:
        IndexError: The data end within the number.
        ValueError: Longer than the four bytes the format allows.
    """
    value = 0
    for index in range(position, position + 4):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    raise ValueError(position)


def _what_it_is(data: bytes) -> str:
    known = {
        b"SMF2CLIP": "a MIDI 2.0 clip file",
        b"RIFF": "a RIFF file without MIDI in it",
        b"MTrk": "a track without a header",
        b"PK": "a ZIP file",
        b"ID3": "an MP3 file",
        b"OggS": "an Ogg file",
        b"fLaC": "a FLAC file",
        b"Rar!": "a RAR archive",
        b"<?xml": "an XML file",
        b"<html": "a web page",
        b"<!doctype html": "a web page",
        b"\x1f\x8b": "a gzip file",
    }
    for magic, kind in known.items():
        if data[:16].lower().startswith(magic.lower()):
            return f"this is {kind}"
    begin = data[:8]
    is_text = all(0x20 <= byte < 0x7F for byte in begin)
    return f"no MIDI header (MThd) in it; it begins with {begin.decode() if is_text else begin.hex(' ')}"


def _division(division: int, name: str, ppq: int | None) -> tuple[int | None, Fraction | None]:
    if not division & 0x8000:
        ticks_per_beat = ppq if division == 0 else division
        if ticks_per_beat is None:
            raise MidiFileError(
                f"{name}: the division is 0 ticks per quarter note; set it with ppq (--ppq 480)"
            )
        if not 1 <= ticks_per_beat <= 0x7FFF:
            raise MidiFileError(f"{name}: ppq = {ticks_per_beat} is outside 1..32767")
        return ticks_per_beat, None
    frames, ticks = 256 - (division >> 8), division & 0xFF
    if not ticks or frames not in (24, 25, 29, 30):
        raise MidiFileError(
            f"{name}: the SMPTE division of {frames} frames x {ticks} ticks makes no sense; "
            "24, 25, 29 or 30 frames and 1 to 255 ticks are accepted. The file is damaged: export it again"
        )
    return None, (Fraction(30000, 1001) if frames == 29 else Fraction(frames)) * ticks


def _skip_chunk(data: bytes, position: int, end: int, search: bool, report: ScanReport) -> int:
    """Return where to go on after a chunk that is not a track: where searched for, at the next that is."""
    chunk_id = data[position : position + 4]
    if all(0x20 <= byte < 0x7F for byte in chunk_id) and end <= len(data):
        report.add(f"chunk '{chunk_id.decode()}' at byte {position} is not a track; skipped")
        return end
    if not search:
        if data[position:].strip(b"\0"):
            report.add(
                f"{len(data) - position} bytes at byte {position}, after the last track announced, "
                "were skipped"
            )
        return len(data)
    following = data.find(b"MTrk", position + 1)
    stop = len(data) if following < 0 else following
    report.add(f"{stop - position} bytes at byte {position} are not a chunk; skipped")
    return stop


def _scan_track(
    data: bytes,
    start: int,
    claimed_end: int,
    max_events: int,
    number: int,
    search: bool,
    name: str,
    report: ScanReport,
) -> tuple[Rows, int]:
    """Read one track; return its rows and where the next chunk starts, searched for if need be."""
    end = claimed_end
    is_wrong = claimed_end > len(data) or not _starts_chunk(data, claimed_end)
    if is_wrong:
        end = len(data)  # the end-of-track event will tell, or the next track's header
    deltas, statuses, offsets = array("I"), bytearray(), array("Q")
    position, running, problem = start, 0, ""
    while position < end and not problem and not (statuses and statuses[-1] == END_OF_TRACK):
        window_end = min(end, position + _WINDOW_BYTES)
        marker = data.find(b"MTrk", position, window_end + 3) if is_wrong else -1
        if marker == position:  # where an event would begin; within a text the letters are a text
            end = marker
            break
        if marker > position:
            window_end = marker
        position, running, problem = _scan_window(
            data, position, window_end, running, deltas, statuses, offsets
        )
        if len(deltas) > max_events:
            raise MidiFileError(
                f"{name}: more than {max_events} events left for track {number}; "
                "raise the limit (MidiLimits.max_events) if the file is trusted"
            )
    is_ended = bool(statuses) and statuses[-1] == END_OF_TRACK
    if not is_ended and not problem and position > end:
        problem, position = "an event is cut off", offsets[-1]
        del deltas[-1], statuses[-1], offsets[-1]
    where = f"track {number} at byte {min(position, len(data))}"
    following = claimed_end
    if problem:
        report.add(f"{where}: {problem}; what was read before is kept")
        marker = data.find(b"MTrk", position) if search else -1
        following = (
            claimed_end if _starts_chunk(data, claimed_end) else (marker if marker >= 0 else len(data))
        )
    elif not is_ended:
        report.add(f"{where}: no end-of-track event")
        following = end
    elif position != claimed_end:
        following = position if end != claimed_end or _starts_chunk(data, position) else claimed_end
        report.add(
            f"{where}: said to be {claimed_end - start} bytes long, the track ends after {position - start}"
        )
    return _rows(deltas, statuses, offsets), min(following, len(data))


def _starts_chunk(data: bytes, position: int) -> bool:
    chunk_id = data[position : position + 4]
    return position == len(data) or (len(chunk_id) == 4 and all(0x20 <= byte < 0x7F for byte in chunk_id))


def _scan_window(
    data: bytes,
    position: int,
    end: int,
    running: int,
    deltas: array[int],
    statuses: bytearray,
    offsets: array[int],
) -> tuple[int, int, str]:
    """Read events until one starts at or after `end`, the track ends, or nothing more can be understood.

    The hot loop: about half a microsecond an event, so it stays flat and keeps its names local. The end of
    the track is left in `statuses` as `END_OF_TRACK`, which no event has as its status.

    Returns:
        Where reading stopped, the running status, and what was wrong (nothing, where all was well).
    """
    add_delta, add_status, add_offset = deltas.append, statuses.append, offsets.append
    event_start = position
    try:
        while position < end:
            event_start = position
            delta = data[position]
            position += 1
            if delta > 0x7F:
                delta, position = read_varlen(data, position - 1)
            status = data[position]
            if status < 0x80:
                status = running
                if not status:
                    return event_start, running, "a data byte without a status before it"
            elif status < 0xF0:
                running = status
                position += 1
            else:
                position += 1
                add_delta(delta)
                add_offset(position)
                if status == META:
                    kind = data[position]
                    length, position = read_varlen(data, position + 1)
                    position += length
                    if kind == END_OF_TRACK:
                        add_status(END_OF_TRACK)
                        return min(position, len(data)), running, ""
                elif status in _SYSEX:
                    length, position = read_varlen(data, position)
                    position += length
                else:
                    position += _SYSTEM_DATA_BYTES.get(status, 0)
                add_status(status)
                continue
            add_delta(delta)
            add_status(status)
            add_offset(position)
            position += 1 if 0xC0 <= status < 0xE0 else 2
    except IndexError:
        problem = "an event is cut off"
    except ValueError:
        problem = "a number longer than four bytes"
    else:
        return position, running, ""
    del deltas[len(statuses) :], offsets[len(statuses) :]
    return event_start, running, problem


def _rows(deltas: array[int], statuses: bytearray, offsets: array[int]) -> Rows:
    ticks = np.cumsum(np.frombuffer(deltas, np.uint32), dtype=np.int64)
    return Rows(
        ticks=ticks,
        statuses=np.frombuffer(bytes(statuses), np.uint8),
        offsets=np.frombuffer(offsets, np.uint64).astype(np.int64),
        end_tick=int(ticks[-1]) if len(ticks) else 0,
    )
