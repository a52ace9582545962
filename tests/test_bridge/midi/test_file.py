"""The reader takes what sequencers, recorders and accidents write; what it forgives, it tells."""

from __future__ import annotations

import io
import os
import struct
import time
from pathlib import Path

import mido
import numpy as np
import pytest
import symusic
from helpers.midi import END, hex_bytes, marker, meta, random_song, smf, tempo, track
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import MidiFileError
from bridge.midi.file import MidiLimits, decode_text, parse_midi, read_midi
from bridge.midi.mido_files import from_mido, to_mido

HEADER = "4d546864 00000006 0001 0001 01e0"  # MThd, 6 bytes, type 1, one track, 480 ticks a quarter note
NOTE = "00 90 3c 40  60 80 3c 00"  # middle C at 0, off at 96

# Files that are out of order, most of which mido 1.3.3 refuses or misreads, as (name, hex, how many channel
# messages are there, part of a warning).
FORGIVEN = [
    (
        "SMPTE division",
        f"""4d546864 00000006 0001 0001 e728  # 25 frames x 40 ticks
        4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        2,
        None,
    ),
    (
        "unknown chunk before the track",
        f"""{HEADER} 58465548 00000004 01020304   # XFUH, as Yamaha writes
        4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        2,
        "'XFUH'",
    ),
    (
        "more tracks announced than there are",
        f"""4d546864 00000006 0001 0005 01e0
        4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        2,
        "5 tracks; 1",
    ),
    (
        "fewer tracks announced than there are",
        f"""4d546864 00000006 0001 0001 01e0
        4d54726b 0000000c {NOTE} 00 ff 2f 00  4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        4,
        "1 tracks; 2",
    ),
    (
        "last track cut off within an event",
        f"{HEADER} 4d54726b 00000010 {NOTE} 00 90 3e",
        2,
        "at byte 32",
    ),
    (
        "cut off within a delta time",
        f"{HEADER} 4d54726b 00000010 {NOTE} 81",
        2,
        "cut off",
    ),
    (
        "cut off within a meta event",
        f"{HEADER} 4d54726b 00000020 {NOTE} 00 ff 03 10 41 42",
        2,
        "cut off",
    ),
    (
        "track length too long, swallowing the next track",
        f"""4d546864 00000006 0001 0002 01e0
        4d54726b 00000015 {NOTE} 00 ff 2f 00   # 12 bytes in truth
        4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        4,
        "said to be 21 bytes",
    ),
    (
        "track length too short",
        f"""4d546864 00000006 0001 0002 01e0
        4d54726b 00000003 {NOTE} 00 ff 2f 00
        4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        4,
        "said to be 3 bytes",
    ),
    (
        "track length zero, as written by an interrupted recorder",
        f"{HEADER} 4d54726b 00000000 {NOTE} 00 ff 2f 00",
        2,
        "said to be 0 bytes",
    ),
    (
        "track length of all ones, as streamed",
        f"{HEADER} 4d54726b ffffffff {NOTE} 00 ff 2f 00",
        2,
        "bytes long",
    ),
    (
        "no end-of-track event",
        f"{HEADER} 4d54726b 00000008 {NOTE}",
        2,
        "no end-of-track",
    ),
    (
        "short tempo, meter and SMPTE offset events",
        f"""{HEADER} 4d54726b 0000001a 00 ff 51 01 07  00 ff 58 01 04  00 ff 54 00 {NOTE} 00 ff 2f 00""",
        2,
        None,
    ),
    (
        "a key signature of 77 sharps",
        f"{HEADER} 4d54726b 00000012 00 ff 59 02 4d 00 {NOTE} 00 ff 2f 00",
        2,
        None,
    ),
    (
        "an F7 escape packet",
        f"{HEADER} 4d54726b 00000011 00 f7 02 f3 01 {NOTE} 00 ff 2f 00",
        2,
        None,
    ),
    (
        "the undefined status F4",
        f"{HEADER} 4d54726b 0000000e 00 f4 {NOTE} 00 ff 2f 00",
        2,
        "system messages",
    ),
    (
        "a data byte of 255",
        f"{HEADER} 4d54726b 00000010 00 b0 01 ff {NOTE} 00 ff 2f 00",
        3,
        "above 127",
    ),
    (
        "a RIFF wrapper",
        f"""52494646 00000036 524d4944 64617461 00000022   # RIFF, RMID, data
        {HEADER} 4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        2,
        None,
    ),
    (
        "junk before the header",
        f"000102030405 {HEADER} 4d54726b 0000000c {NOTE} 00 ff 2f 00",
        2,
        "6 bytes before the header",
    ),
    (
        "a header of eight bytes",
        f"4d546864 00000008 0001 0001 01e0 0000 4d54726b 0000000c {NOTE} 00 ff 2f 00",
        2,
        None,
    ),
    (
        "running status across a meta event and a system exclusive",
        f"{HEADER} 4d54726b 00000017 00 90 3c 40 00 ff 01 01 41 60 3c 00 00 f0 01 f7 10 3e 40 00 ff 2f 00",
        3,
        None,
    ),
    (
        "junk after the last track",
        f"{HEADER} 4d54726b 0000000c {NOTE} 00 ff 2f 00  010203",
        2,
        "after the last track",
    ),
    (
        "a data byte without a status at the start",
        f"""4d546864 00000006 0001 0002 01e0
        4d54726b 00000004 00 3c 40 00   4d54726b 0000000c {NOTE} 00 ff 2f 00""",
        2,
        "without a status",
    ),
    (
        "a delta time longer than four bytes",
        f"{HEADER} 4d54726b 00000014 {NOTE} ff ff ff ff 7f 90 3c 40 00 ff 2f 00",
        2,
        "longer than four bytes",
    ),
]

# Files that make no sense: one clear line each.
REFUSED = [
    ("empty", "", "empty"),
    ("not MIDI", "89504e47 0d0a1a0a", "no MIDI header"),
    ("a MIDI 2.0 clip", "534d4632434c4950 00000000", "MIDI 2.0 clip"),
    ("header only, cut off", "4d546864 0000", "cut off"),
    ("no tracks", "4d546864 00000006 0001 0000 01e0", "no track"),
    ("type 3", "4d546864 00000006 0003 0001 01e0 4d54726b 00000004 00ff2f00", "type 3"),
    ("division 0", "4d546864 00000006 0001 0001 0000 4d54726b 00000004 00ff2f00", "--ppq"),
    ("SMPTE division of 0 ticks", "4d546864 00000006 0001 0001 e700 4d54726b 00000004 00ff2f00", "SMPTE"),
    ("two patterns", "4d546864 00000006 0002 0002 01e0" + "4d54726b 00000004 00ff2f00" * 2, "--pattern"),
]


@pytest.mark.parametrize(("name", "text", "n_events", "warning"), FORGIVEN, ids=[row[0] for row in FORGIVEN])
def test_what_daws_and_accidents_write_is_read(
    name: str, text: str, n_events: int, warning: str | None
) -> None:
    """Every file of the table keeps its channel messages; what had to be forgiven is told."""
    midi = parse_midi(hex_bytes(text), "song.mid")

    assert midi.n_events == n_events
    assert midi.data1[-1] in (0x3C, 0x3E)
    told = "\n".join(midi.warnings)
    assert (warning in told) if warning else not told


@pytest.mark.parametrize(("name", "text", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_meant_gives_one_clear_line(name: str, text: str, reason: str) -> None:
    """Every hopeless file ends in an error of one line that names the file and the reason."""
    with pytest.raises(MidiFileError, match=reason) as caught:
        parse_midi(hex_bytes(text), "song.mid")

    assert str(caught.value).startswith("song.mid: ")
    assert "\n" not in str(caught.value)


def test_the_table_is_what_mido_cannot_read() -> None:
    """All but the few marked rows are indeed refused or misread by mido, so the table tests what it says."""
    readable = []
    for name, text, n_events, _ in FORGIVEN:
        try:
            read = mido.MidiFile(file=io.BytesIO(hex_bytes(text)))
            messages = [m for track_ in read.tracks for m in track_ if not m.is_meta and m.type != "sysex"]
            if len(messages) == n_events and read.ticks_per_beat > 0:
                readable.append(name)
        except (OSError, EOFError, ValueError, IndexError, KeyError, mido.KeySignatureError):
            continue

    assert len(readable) <= 7, readable


def test_a_division_of_zero_is_read_when_it_is_said() -> None:
    """`ppq` stands in for a division of 0 ticks a quarter note."""
    text = f"4d546864 00000006 0001 0001 0000 4d54726b 0000000c {NOTE} 00 ff 2f 00"

    assert parse_midi(hex_bytes(text), ppq=96).ticks_per_beat == 96


def test_a_pattern_of_a_type_2_file_is_read_alone() -> None:
    """Of independent patterns the one asked for is read, and a wrong number says how many there are."""
    first = track([(0, bytes.fromhex("903c40"))])
    second = track([(0, bytes.fromhex("914040")), (10, bytes.fromhex("914000"))])
    data = smf(first, second, smf_type=2)

    assert parse_midi(data, pattern=2).channel.tolist() == [1, 1]
    with pytest.raises(MidiFileError, match="1 to 2"):
        parse_midi(data, pattern=3)
    with pytest.raises(MidiFileError, match="has none"):
        parse_midi(smf(first), pattern=1)


def test_a_large_system_exclusive_is_kept_whole() -> None:
    """A dump of two million bytes, which mido refuses, is there to the last byte."""
    dump = bytes(2_000_000) + b"\xf7"
    length = bytes([0x80 | len(dump) >> 14 & 0x7F, 0x80 | len(dump) >> 7 & 0x7F, len(dump) & 0x7F])
    midi = parse_midi(smf(track([(5, b"\xf0" + (b"\x80" if len(dump) >> 21 else b"") + length + dump)])))

    assert [(sysex.tick, len(sysex.data)) for sysex in midi.sysexes] == [(5, len(dump))]


REMAINS = bytes(range(0x80, 0xC0)) + track([(0, b"\x90\x48\x64"), (96_000, b"\x80\x48\x40")])


@pytest.mark.parametrize("smf_type", [0, 1])
def test_what_lies_after_the_announced_tracks_is_not_searched_for_more(smf_type: int) -> None:
    """Remains of a longer file are told and not heard; the same bytes before the last one are searched."""
    tune = track([(0, b"\x90\x3c\x64"), (480, b"\x80\x3c\x40")])

    midi = parse_midi(smf(tune, smf_type=smf_type) + REMAINS)
    assert (len(midi.tracks), midi.n_events, midi.end_tick) == (1, 2, 480)
    assert any("after the last track announced" in warning for warning in midi.warnings)
    searched = smf(tune, tune)[: -len(tune)] + REMAINS
    assert [one.end_tick for one in parse_midi(searched).tracks] == [480, 96_000]


def test_a_damaged_last_track_does_not_make_remains_a_track() -> None:
    """What follows the place where the last announced track cannot be understood is not searched either."""
    broken = b"MTrk\x00\x00\xff\x00" + b"\0\x90\x3c\x40\x10\x3c\0" + b"\xff\xff\xff\xff\x7f"
    midi = parse_midi(smf(broken) + REMAINS)

    assert (len(midi.tracks), midi.n_events) == (1, 2)


def test_tracks_of_wrong_length_without_end_are_read_in_one_pass() -> None:
    """Sixty kilobytes of them took six seconds, each read to the end of the file; ten times that, minutes."""
    one = b"MTrk\x7f\x7f\x7f\x7f" + b"\0\x90\x3c\x40\x10\x3c\0"
    began = time.process_time()
    midi = parse_midi(smf(*[one] * 20_000))

    assert (len(midi.tracks), midi.n_events) == (20_000, 40_000)
    assert time.process_time() - began < 8.0


def test_rows_are_in_order_of_time_then_track_then_file() -> None:
    """Events that share a tick stay in the order of their tracks, and within a track as written."""
    one = track([(0, b"\xb0\x01\x01"), (10, b"\xb0\x01\x02"), (10, b"\xb0\x01\x03")])
    two = track([(0, b"\xb1\x01\x04"), (10, b"\xb1\x01\x05")])

    assert parse_midi(smf(one, two)).data2.tolist() == [1, 4, 2, 3, 5]


@pytest.mark.parametrize(
    ("data", "declared", "text"),
    [
        ("Übergang".encode(), None, "Übergang"),
        ("Übergang".encode("latin-1"), None, "Übergang"),
        ("L\u2019été".encode("cp1252"), None, "L\u2019été"),
        ("サビ".encode("cp932"), None, "サビ"),
        ("前奏".encode("cp932"), None, "前奏"),
        ("Été".encode("latin-1"), "cp1252", "Été"),
        (b"Depth\0", None, "Depth"),
        (b"\0Depth\0\0\xfe old", None, "Depth"),
        ("Été\0".encode("latin-1"), None, "Été"),
        ("サビ\0".encode("cp932"), None, "サビ"),
        ("Été".encode("utf-16"), None, "Été"),
        (b"\xef\xbb\xbfBass", None, "Bass"),
        (b"vox\r\n\x1b[2J\x9b", "utf-8", "vox   [2J\u203a"),
        ("\u202eevil\u2028two\u200b".encode(), None, "evil two"),
        (b"\x81\x8d\x90\xe9", None, "é"),
        (b"A" * 5000, None, "A" * 1000),
    ],
)
def test_text_is_read_in_the_charset_it_was_written_in(data: bytes, declared: str | None, text: str) -> None:
    """UTF-8 wins, then what the file declares, then what it looks like; a NUL ends it, and it is one line."""
    assert decode_text(data, declared) == text
    assert text.isprintable()


@given(st.binary(max_size=40))
def test_any_text_can_be_printed(data: bytes) -> None:
    """Whatever the bytes, no control character and no half of a character reaches a terminal or a file."""
    text = decode_text(data)

    assert text.isprintable()
    assert text.encode() is not None


def test_a_declared_charset_holds_for_every_text() -> None:
    """A file that declares Japanese has its names read so, whatever they look like."""
    data = smf(track([(0, meta(0x05, b"{@JP}")), (0, meta(0x03, "ア".encode("cp932")))]))

    assert parse_midi(data).tracks[0].name == "ア"


def test_limits_refuse_hostile_files(tmp_path: Path) -> None:
    """A file beyond a limit is refused in one line before it costs memory."""
    many = smf(track([(index, b"\xb0\x01\x01") for index in range(2000)]))
    metas = smf(track([(index, marker("x")) for index in range(2000)]))
    path = tmp_path / "large.mid"
    path.write_bytes(many)

    with pytest.raises(MidiFileError, match="max_events"):
        parse_midi(many, limits=MidiLimits(max_events=1000))
    with pytest.raises(MidiFileError, match="max_metas"):
        parse_midi(metas, limits=MidiLimits(max_metas=1000))
    with pytest.raises(MidiFileError, match="max_bytes"):
        read_midi(path, limits=MidiLimits(max_bytes=1000))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """A path that does not exist is an error that says so."""
    with pytest.raises(MidiFileError, match="No such file"):
        read_midi(tmp_path / "none.mid")
    with pytest.raises(MidiFileError, match="is a folder"):
        read_midi(tmp_path)
    with pytest.raises(MidiFileError, match="NUL"):
        read_midi(f"{tmp_path}/a\0b.mid")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe would wait for its writer, and a device never ends: one line at once."""
    os.mkfifo(tmp_path / "pipe.mid")

    for path in (tmp_path / "pipe.mid", Path("/dev/zero")):
        with pytest.raises(MidiFileError, match="pipe, a socket or a device"):
            read_midi(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x89PNG\r\n\x1a\n", "it begins with 89 50 4e 47"),
        (b"vti_encoding", "it begins with vti_enco;"),
        (b"<!DOCTYPE html>", "this is a web page"),
        (b"<HTML>", "this is a web page"),
        (b"Rar!\x1a", "this is a RAR archive"),
    ],
)
def test_what_is_no_midi_is_told_without_python_s_bytes(data: bytes, says: str) -> None:
    """Text as text, anything else in hexadecimal."""
    with pytest.raises(MidiFileError) as caught:
        parse_midi(data, "song.mid")

    assert says in str(caught.value)
    assert "b'" not in str(caught.value)
    assert "\\" not in str(caught.value)


def test_strict_mode_speaks_no_python(tmp_path: Path) -> None:
    """Mido's own words are passed on; for Python's there are ours."""
    cases = {
        "cut": (random_song(1)[:-40], "it is cut off"),
        "key": (smf(track([(0, meta(0x59, b"\x4d\0"))])), "Could not decode key"),
        "short": (smf(track([(0, meta(0x51, b""))])), "an event is damaged"),
    }
    for name, (data, says) in cases.items():
        path = tmp_path / f"{name}.mid"
        path.write_bytes(data)
        with pytest.raises(MidiFileError, match=says) as caught:
            read_midi(path, strict=True)
        assert "Error" not in str(caught.value)


def test_strict_is_what_mido_does(tmp_path: Path) -> None:
    """Strict mode refuses what mido refuses and reads what it reads."""
    good, bad = tmp_path / "good.mid", tmp_path / "bad.mid"
    good.write_bytes(random_song(1))
    bad.write_bytes(random_song(1)[:-40])

    assert read_midi(good, strict=True).n_events == read_midi(good).n_events
    assert read_midi(bad).warnings
    with pytest.raises(MidiFileError, match="strict"):
        read_midi(bad, strict=True)


@pytest.mark.parametrize("seed", range(4))
def test_columns_agree_with_symusic(seed: int) -> None:
    """Notes, controllers, bends, tempos, meters and markers are those of an independent reader."""
    data = random_song(seed)
    midi, score = parse_midi(data), symusic.Score.from_midi(data)

    controls = sorted(
        (int(t), int(n), int(v))
        for t, n, v in zip(
            *(column[midi.message == 0xB0] for column in (midi.tick, midi.data1, midi.data2)), strict=True
        )
    )
    bends = sorted(midi.tick[midi.message == 0xE0].tolist())

    assert controls == sorted((c.time, c.number, c.value) for part in score.tracks for c in part.controls)
    assert bends == sorted(b.time for part in score.tracks for b in part.pitch_bends)
    tempos = {m.tick: int.from_bytes(m.data, "big") for m in midi.metas if m.kind == 0x51}
    assert tempos == {t.time: t.mspq for t in score.tempos}
    markers = [(m.tick, midi.text(m)) for m in midi.metas if m.kind == 0x06]
    assert markers == [(m.time, m.text) for m in score.markers]


@pytest.mark.parametrize("seed", range(3))
def test_a_file_survives_mido_and_back(seed: int) -> None:
    """Columns to mido objects to columns lose no event, no text byte and no time."""
    midi = parse_midi(random_song(seed))
    again = from_mido(to_mido(midi))

    for column in ("tick", "status", "data1", "data2", "track"):
        assert np.array_equal(getattr(midi, column), getattr(again, column))
    kept = [m for m in midi.metas if m.kind != 0x2F]
    assert kept == [m for m in again.metas if m.kind != 0x2F]
    assert midi.tracks == again.tracks


def test_mido_cannot_hold_smpte_time() -> None:
    """A SMPTE file is not handed to mido as if it had beats."""
    with pytest.raises(MidiFileError, match="SMPTE"):
        to_mido(parse_midi(hex_bytes(FORGIVEN[0][1])))


def _mutations() -> st.SearchStrategy[bytes]:
    base = random_song(5, n_tempos=3, n_meters=2, n_notes=6)
    edits = st.lists(
        st.tuples(st.integers(0, len(base) - 1), st.integers(0, 255), st.sampled_from("scid")), max_size=12
    )

    def apply(changes: list[tuple[int, int, str]]) -> bytes:
        data = bytearray(base)
        for at, value, how in changes:
            where = min(at, max(len(data) - 1, 0))
            if how == "s" and data:
                data[where] = value
            elif how == "c":
                del data[where:]
            elif how == "i":
                data[where:where] = bytes([value]) * 3
            else:
                del data[where : where + value % 9]
        return bytes(data)

    return edits.map(apply)


@settings(max_examples=300, deadline=1000)
@given(_mutations())
def test_no_damage_ends_in_a_traceback(data: bytes) -> None:
    """Whatever happens to a file, it is read or refused by name within a second, its columns in range.

    The undamaged ones take some milliseconds: a second is a reader that runs wild, not a busy machine.
    """
    try:
        midi = parse_midi(data, "song.mid")
    except MidiFileError:
        return

    assert np.all(np.diff(midi.tick) >= 0)
    assert midi.n_events == 0 or (
        midi.status.min() >= 0x80 and max(midi.data1.max(), midi.data2.max()) < 0x80
    )


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 127), st.integers(0, 127)), max_size=40))
def test_what_is_written_is_read(events: list[tuple[int, int, int]]) -> None:
    """Controllers of any times and values come back exactly."""
    events.sort(key=lambda event: event[0])
    midi = parse_midi(smf(track([(tick, bytes([0xB3, number, value])) for tick, number, value in events])))

    assert list(zip(midi.tick.tolist(), midi.data1.tolist(), midi.data2.tolist(), strict=True)) == events
    assert midi.warnings == ()


def test_tempo_helper_writes_what_the_standard_says() -> None:
    """The helper's tempo is FF 51 03 and three bytes, and a track ends in FF 2F 00."""
    assert tempo(500_000) == bytes.fromhex("ff510307a120")
    assert track([]).endswith(b"\0" + END)


@pytest.mark.parametrize("wrong_by", [10, -3, 0x7FFFFF00])
def test_a_track_without_its_end_and_of_wrong_length_stops_at_the_next(wrong_by: int) -> None:
    """The next track's header is no event of it, and what the next one plays is heard."""
    first = track([(0, bytes.fromhex("b00740")), (10, bytes.fromhex("b00741"))])[8:-4]
    broken = b"MTrk" + struct.pack(">I", len(first) + wrong_by) + first
    second = track([(0, bytes.fromhex("903c40")), (480, bytes.fromhex("803c00"))])
    midi = parse_midi(smf(broken, second))

    assert (midi.data1.tolist(), midi.track.tolist()) == ([7, 60, 7, 60], [0, 1, 0, 1])
    assert any("no end-of-track" in warning for warning in midi.warnings)


def test_the_letters_of_a_track_header_in_a_text_are_text() -> None:
    """A marker may be called MTrk."""
    data = smf(track([(0, marker("MTrk")), (5, bytes.fromhex("903c40"))]), track([(0, marker("x MTrk"))]))

    assert [meta.data for meta in parse_midi(data).metas] == [b"MTrk", b"x MTrk"]
