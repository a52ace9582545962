"""MIDI files, all that is asked of them, and tempo maps kept as plain data."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from helpers.midi import END, marker, meta, meter, random_song, smf, tempo, track
from helpers.paths import SONG

from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError, PlanError
from bridge.midi.file import MidiFile, read_midi
from bridge.midi.lanes import LANE_EVENTS, list_lanes, read_lane
from bridge.midi.notes import read_notes, timed_messages, track_index
from bridge.midi.song_clock import build_tempo_map
from bridge.midi.summary import summarise_midi
from fuzz.reader import Reader

__all__ = ["MIDI_READERS"]

_SMPTE = 0xE728
"""25 frames of 40 ticks."""


def _midi_files() -> Mapping[str, bytes]:
    many = [(480 * row, tempo(300_000 + 97 * row)) for row in range(200)]
    many += [(480 * 7 * row, meter(2 + row % 11, 2 ** (row % 5))) for row in range(60)]
    texts = [(0, meta(0x03, b"Depth\0")), (0, meta(0x05, b"{@JP}")), (10, marker("Drop"))]
    return {
        "song.mid": (SONG / "song.mid").read_bytes(),
        "random.mid": random_song(3, n_tempos=6, n_meters=3, n_notes=30),
        "running.mid": _running(),
        "parameters.mid": smf(track(_parameters(), 2000)),
        "smpte.mid": smf(track(texts), track(_notes(0)), division=_SMPTE),
        "one.mid": smf(track([*texts[:2], *_notes(1)]), smf_type=0),
        "pattern.mid": smf(track(_notes(2)), smf_type=2),
        "tempos.mid": smf(track(sorted(many, key=lambda event: event[0])), track(_notes(3))),
        "modes.mid": smf(track(texts), track(_modes(), 900)),
    }


def _notes(channel: int) -> list[tuple[int, bytes]]:
    events = [(60 * row, bytes([0x90 | channel, 40 + row % 30, 80 * (row % 2)])) for row in range(40)]
    return [*events, (2400, bytes([0x80 | channel, 41, 0]))]


def _running() -> bytes:
    body = b"\0\x90\x3c\x40" + b"\x10\x3c\0\x10\x3e\x40" * 10 + b"\0\xf0\x05\x7e\x7f\x09\x01\xf7"
    body += b"\x10\x3e\0\0\xff\x01\x03abc\x10\x40\x40\x83\x60\x40\0\0\xf7\x02\xf3\x01\0" + END
    return smf(b"MTrk" + len(body).to_bytes(4, "big") + body)


def _parameters() -> list[tuple[int, bytes]]:
    mpe = ["b06500", "b06406", "b0060f", "b16500", "b16400", "b10630", "913c40", "e10060", "d120", "b14a33"]
    nrpn = ["b06301", "b06202", "b00640", "b02610", "b06000", "b06100", "b0657f", "b0647f", "b00601"]
    last = ["a23c40", "b00140", "b02101", "b0407f", "b07900", "b04000", "813c00", "c005", "e10040"]
    return [(10 * row, bytes.fromhex(event)) for row, event in enumerate((*mpe, *nrpn, *last))]


def _modes() -> list[tuple[int, bytes]]:
    texts = [
        "b04060",
        "903c40",
        "904040",
        "b07b00",
        "803c00",
        "903c40",
        "b07900",
        "b07800",
        "b07e01",
        "903e40",
    ]
    return [(100 * row, bytes.fromhex(event)) for row, event in enumerate(texts)]


def _read_midi(path: Path) -> object:
    with contextlib.suppress(MidiFileError):
        read_midi(path, strict=True)
    midi = read_midi(path)
    clock = build_tempo_map(midi)
    _check_clock(clock, midi)
    played = [read_notes(midi, track=row, pedal=bool(row % 2)) for row in range(min(len(midi.tracks), 8))]
    lanes = list_lanes(midi)
    for lane in lanes[:40]:
        read_lane(midi, lane.event, lane.number, channel=lane.channel)
    for event in LANE_EVENTS:
        read_lane(midi, event, 1, mpe=event in ("pitch_bend", "channel_pressure"))
    timed_messages(midi, clock)
    for known in midi.tracks:
        assert known.name.isprintable(), ascii(known.name)
        track_index(midi, known.name)
    text = json.dumps(summarise_midi(midi, clock), ensure_ascii=False, allow_nan=False)
    assert text.encode(), "it cannot be written"
    return played


def _check_clock(clock: TempoMap, midi: MidiFile) -> None:
    """Go through every conversion, there and back."""
    ticks = np.linspace(0.0, max(midi.end_tick, 1), 50)
    seconds = clock.ticks_to_seconds(ticks)
    assert np.all(np.diff(seconds) >= 0), "time runs back"
    beats = clock.seconds_to_beats(seconds)
    clock.bars_to_beats(clock.beats_to_bars(beats))
    clock.positions_to_beats(*clock.beats_to_positions(beats))
    clock.beats_to_ticks(beats), clock.bpm_at(beats), clock.changes_s
    for text in ("9:1", "@Drop", "end-4 bars", "24 beats"):
        if text != "@Drop" or clock.markers:
            clock.locate(text if text != "@Drop" else f"@{clock.markers[0].name}#1", float(seconds[-1]))
    assert TempoMap.from_dict(json.loads(json.dumps(clock.to_dict()))) == clock, "not what was kept"


def _clocks() -> Mapping[str, bytes]:
    ramp = TempoMap.from_points(
        [(0, 120, "beats"), (8, 90, "time"), (20, 100, "hold")], [(0, 7, 8)], [(2, "A")]
    )
    return {"clock.json": json.dumps(ramp.to_dict()).encode()}


def _read_clock(path: Path) -> object:
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path}: not JSON") from error
    clock = TempoMap.from_dict(data)
    times = clock.beats_to_seconds(np.linspace(0, 100, 200))
    assert np.all(np.diff(times) >= 0), "time runs back"
    clock.seconds_to_beats(times), clock.changes_s, clock.position_texts(times)
    return clock.to_dict()


_TOKENS = (
    b"MTrk", b"MThd", b"RIFF", b"MTrk\0\0\0\x04\0\xff\x2f\0", b"\xff\x2f\0", b"\xff\x51\x03\0\0\0",
    b"\xb0\x7b\0", b"\0\xff\x58\x04\0\0\0\0", b"\xff\xff\xff\x7f", b"\xf0\x7f", b"\xff\x03\x04\xfe\xff\0A",
)  # fmt: skip

MIDI_READERS = (
    Reader(name="midi", seeds=_midi_files, read=_read_midi, tokens=_TOKENS),
    Reader(
        name="tempo_map",
        seeds=_clocks,
        read=_read_clock,
        tokens=(b'"1e99999"', b'"1/0"', b"4503599627370497"),
    ),
)
