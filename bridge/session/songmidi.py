"""The song's clock and depth lanes as a Standard MIDI File that any DAW imports.

MIDI knows no ramps: a tempo ramp becomes steps, each at most 1/32 note long and half a BPM high, placed so
that every step lasts exactly as long as its stretch of the ramp. A lane becomes controller 1 on a track of
its own, with a value at the start and one at every change.

Source: Standard MIDI Files 1.0 (RP-001).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.tempo import TempoMap

__all__ = ["DepthLane", "build_song_midi", "thin_lane"]

TICKS_PER_BEAT: Final = 960
CONTROLLER: Final = 1
_STEP_BEATS: Final = 1 / 8  # a 1/32 note
_STEP_BPM: Final = 0.5
_LEVELS: Final = 127
_MAX_US: Final = (1 << 24) - 1

Event = tuple[int, int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthLane:
    """Name a lane and what it does.

    Args:
        name: Of its track.
        points: (beats, value 0 to 1) in order; each value holds until the next.
    """

    name: str
    points: Sequence[tuple[float, float]]


def thin_lane(
    beats: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Keep of a densely sampled lane only where a controller of 128 values changes.

    Args:
        beats: (n,) in order.
        values: (n,) 0 to 1.

    >>> thin_lane(np.arange(5.0), np.array([0.0, 0.0, 0.001, 1.0, 1.0]))
    ((0.0, 0.0), (3.0, 1.0))
    """
    levels = np.rint(np.clip(values, 0.0, 1.0) * _LEVELS)
    changes = np.flatnonzero(np.diff(levels, prepend=np.nan) != 0)
    return tuple((float(beats[i]), float(levels[i]) / _LEVELS) for i in changes)


def build_song_midi(tempo_map: TempoMap, lanes: Sequence[DepthLane], end_beats: float) -> bytes:
    """Return the bytes of a type 1 file of 960 ticks a beat: conductor track first, then one track a lane.

    Args:
        tempo_map: Tempo, meter and markers.
        lanes: Depth lanes.
        end_beats: Where the song ends.
    """
    end = max(1, _tick(end_beats))
    tracks = [_conductor(tempo_map, end), *(_lane_track(lane, end) for lane in lanes)]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(tracks), TICKS_PER_BEAT)
    return header + b"".join(struct.pack(">4sI", b"MTrk", len(track)) + track for track in tracks)


def _conductor(tempo_map: TempoMap, end: int) -> bytes:
    events: list[Event] = []
    for meter in tempo_map.meters:
        power = int(math.log2(meter.denominator))
        data = bytes([min(meter.numerator, 255), power, 24, 8])
        events.append((_tick(meter.tick / tempo_map.ticks_per_beat), 0, _meta(0x58, data)))
    events += [(tick, 1, _meta(0x51, us.to_bytes(3, "big"))) for tick, us in _tempo_steps(tempo_map)]
    events += [(_tick(m.beats), 2, _meta(0x06, m.name.encode())) for m in tempo_map.markers]
    return _track("Song", events, end)


def _tempo_steps(tempo_map: TempoMap) -> Iterable[tuple[int, int]]:
    """Return (tick, microseconds a beat), ramps as steps that last as long as what they stand for."""
    starts = [tempo.tick / tempo_map.ticks_per_beat for tempo in tempo_map.tempos]
    for index, tempo in enumerate(tempo_map.tempos):
        start = starts[index]
        is_ramp = tempo.ramp != "hold" and index + 1 < len(starts)
        if not is_ramp:
            yield _tick(start), min(round(float(tempo.us_per_beat)), _MAX_US)
            continue
        stop = starts[index + 1]
        span = abs(tempo_map.tempos[index + 1].bpm - tempo.bpm)
        n_steps = max(1, math.ceil((stop - start) / _STEP_BEATS), math.ceil(span / _STEP_BPM))
        n_steps = min(n_steps, _tick(stop) - _tick(start))  # no two steps on one tick
        ticks = np.rint(np.linspace(_tick(start), _tick(stop), n_steps + 1)).astype(np.int64)
        seconds = tempo_map.beats_to_seconds(ticks / TICKS_PER_BEAT)
        pace = np.diff(seconds) / np.diff(ticks) * TICKS_PER_BEAT * 1e6
        for tick, us in zip(ticks[:-1].tolist(), np.rint(pace).astype(int).tolist(), strict=True):
            yield tick, min(us, _MAX_US)


def _lane_track(lane: DepthLane, end: int) -> bytes:
    points = list(lane.points)
    if not points or points[0][0] > 0:
        points.insert(0, (0.0, 0.0))
    by_tick = {_tick(beats): _level(value) for beats, value in points}  # the last value on a tick wins
    events = [(tick, 0, bytes([0xB0, CONTROLLER, level])) for tick, level in by_tick.items() if tick <= end]
    return _track(lane.name, events, end)


def _track(name: str, events: Iterable[Event], end: int) -> bytes:
    data = bytearray(_delta(0) + _meta(0x03, name.encode()))
    last = 0
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        data += _delta(tick - last) + message
        last = tick
    return bytes(data + _delta(max(0, end - last)) + _meta(0x2F, b""))


def _meta(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + _delta(len(data)) + data


def _delta(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _tick(beats: float) -> int:
    return max(0, round(beats * TICKS_PER_BEAT))


def _level(value: float) -> int:
    return round(min(max(value, 0.0), 1.0) * _LEVELS)
