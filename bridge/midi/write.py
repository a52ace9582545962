"""MIDI files as DAWs take them back: tempo, meter, markers, controller lanes and notes.

Conventions: type 1, 960 ticks a quarter note; the first track is the conductor, then one named track a lane,
then one a part; a lane says its value at tick 0 and is thinned to what 7 or 14 bits can tell apart; no
running status.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError
from bridge.files import check_free, write_whole
from bridge.midi.note_track import NoteTrack, track_messages

__all__ = ["WrittenLane", "build_midi", "thin_lane", "write_midi"]

TICKS_PER_BEAT = 960
RAMP_STEP_BEATS = 1 / 8  # a 1/32 note
_MAX_TEMPO_US = 0xFFFFFF

Event = tuple[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenLane:
    """A controller lane to write.

    Args:
        name: Name of its track.
        times_s: (n,) rising seconds of the stems.
        values: (n,) 0..1.
        controller: 0..127; with 14 bits below 32, the lower half being 32 above it.
        channel: 1..16.
        bits: 7 or 14.
    """

    name: str
    times_s: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    controller: int = 1
    channel: int = 1
    bits: int = 7

    def __post_init__(self) -> None:
        highest = {7: 127, 14: 31}.get(self.bits)
        if highest is None or not 0 <= self.controller <= highest or not 1 <= self.channel <= 16:
            raise MidiFileError(
                f"lane {self.name!r}: controller {self.controller} with {self.bits} bits on channel "
                f"{self.channel} cannot be written; 0..127 with 7 bits, 0..31 with 14, channels 1..16 can"
            )


def write_midi(
    path: Path | str,
    tempo_map: TempoMap,
    lanes: Sequence[WrittenLane] = (),
    *,
    length_s: float,
    parts: Sequence[NoteTrack] = (),
    overwrite: bool = False,
) -> None:
    """Write tempo, meter, markers, lanes and notes as a MIDI file; see `build_midi`.

    Raises:
        OutputError: The file exists, or cannot be written.
    """
    file = Path(path)
    check_free(file, overwrite)
    data = build_midi(tempo_map, lanes, length_s=length_s, parts=parts)
    with write_whole(file, overwrite=overwrite) as part:
        part.write_bytes(data)


def build_midi(
    tempo_map: TempoMap,
    lanes: Sequence[WrittenLane] = (),
    *,
    length_s: float,
    parts: Sequence[NoteTrack] = (),
) -> bytes:
    """Build a MIDI file of a song's clock, lanes and notes.

    Tempo ramps become a tempo every 1/32 note. The song's start is tick 0: what a lane says before it is
    told at tick 0.

    Args:
        tempo_map: The clock.
        lanes: What moves.
        length_s: Where the tracks end, in seconds of the stems, or where their last note does.
        parts: What plays.
    """
    end_tick = max(_tick(tempo_map, np.array([length_s]))[0], 0)
    tracks = [_conductor(tempo_map, end_tick), *(_lane_track(lane, tempo_map, end_tick) for lane in lanes)]
    tracks += [_note_track(part, tempo_map, end_tick) for part in parts]
    header = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS_PER_BEAT)
    return header + b"".join(tracks)


def thin_lane(
    ticks: npt.NDArray[np.int64], values: npt.NDArray[np.float64], bits: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Quantise a lane and keep only the events it needs.

    A controller holds its value. An event is kept where the lane has gone more than one step from what was
    said last, and where it reaches either end, so that rest is rest; between, it is one step off at most.

    Args:
        ticks: (n,) rising ticks.
        values: (n,) 0..1.
        bits: 7 or 14.

    Returns:
        Ticks and whole numbers 0..127 or 0..16383; of several at a tick the last.
    """
    highest = (1 << bits) - 1
    is_last = np.append(ticks[1:] != ticks[:-1], True)[: len(ticks)]
    ticks, exact = ticks[is_last], np.clip(values[is_last], 0.0, 1.0) * highest
    kept: list[int] = []
    said = -2
    raw = np.rint(exact).astype(np.int64)
    for row, (value, whole) in enumerate(zip(exact.tolist(), raw.tolist(), strict=True)):
        if whole != said and (abs(value - said) > 1.0 or whole in (0, highest)):
            kept.append(row)
            said = whole
    return ticks[kept], raw[kept]


def _tick(tempo_map: TempoMap, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.rint(tempo_map.seconds_to_beats(times_s) * TICKS_PER_BEAT).astype(np.int64)


def _conductor(tempo_map: TempoMap, end_tick: int) -> bytes:
    scale = TICKS_PER_BEAT / tempo_map.ticks_per_beat
    events: list[Event] = [(0, _meta(0x03, b"Tempo"))]
    for index, tempo in enumerate(tempo_map.tempos):
        tick = round(tempo.tick * scale)
        events.append((tick, _tempo(float(tempo.us_per_beat))))
        if tempo.ramp == "hold" or index + 1 == len(tempo_map.tempos):
            continue
        stop = round(tempo_map.tempos[index + 1].tick * scale)
        step = round(RAMP_STEP_BEATS * TICKS_PER_BEAT)
        for at in range(tick, stop, step):
            # The mean over a step, so that the step takes exactly its time.
            beats = np.array([at, min(at + step, stop)]) / TICKS_PER_BEAT
            start_s, end_s = tempo_map.beats_to_seconds(beats).tolist()
            events.append((at, _tempo((end_s - start_s) / float(beats[1] - beats[0]) * 1e6)))
    for meter in tempo_map.meters:
        power = meter.denominator.bit_length() - 1
        events.append((round(meter.tick * scale), _meta(0x58, bytes([meter.numerator, power, 24, 8]))))
    events += [
        (round(marker.beats * TICKS_PER_BEAT), _meta(0x06, marker.name.encode()))
        for marker in tempo_map.markers
    ]
    return _track(events, end_tick)


def _lane_track(lane: WrittenLane, tempo_map: TempoMap, end_tick: int) -> bytes:
    ticks, raw = thin_lane(np.maximum(_tick(tempo_map, lane.times_s), 0), lane.values, lane.bits)
    events: list[Event] = [(0, _meta(0x03, lane.name.encode()))]
    if len(ticks) and ticks[0] > 0:
        ticks, raw = np.append(0, ticks), np.append(raw[0], raw)
    status = 0xB0 | lane.channel - 1
    for tick, value in zip(ticks.tolist(), raw.tolist(), strict=True):
        if lane.bits == 7:
            events.append((tick, bytes([status, lane.controller, value])))
        else:
            events.append((tick, bytes([status, lane.controller, value >> 7])))
            events.append((tick, bytes([status, lane.controller + 32, value & 0x7F])))
    return _track(events, end_tick)


def _note_track(part: NoteTrack, tempo_map: TempoMap, end_tick: int) -> bytes:
    messages = track_messages(part, lambda times_s: _tick(tempo_map, times_s))
    return _track([(0, _meta(0x03, part.name.encode())), *messages], end_tick)


def _tempo(us_per_beat: float) -> bytes:
    return _meta(0x51, min(max(round(us_per_beat), 1), _MAX_TEMPO_US).to_bytes(3, "big"))


def _meta(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + _varlen(len(data)) + data


def _track(events: list[Event], end_tick: int) -> bytes:
    now, parts = 0, []
    for tick, data in sorted(events, key=lambda event: event[0]):
        at = max(tick, 0)
        parts.append(_varlen(at - now) + data)
        now = at
    parts.append(_varlen(max(int(end_tick) - now, 0)) + b"\xff\x2f\x00")
    body = b"".join(parts)
    return b"MTrk" + struct.pack(">I", len(body)) + body


def _varlen(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))
