"""MIDI files for tests: bytes from annotated hex, or put together event by event."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

import numpy as np

END = bytes.fromhex("ff2f00")


def hex_bytes(text: str) -> bytes:
    """Turn hex with ``#`` comments into bytes."""
    return bytes.fromhex(re.sub(r"#.*", "", text))


def varlen(number: int) -> bytes:
    """Write a variable-length number."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def meta(kind: int, data: bytes) -> bytes:
    """Write a meta event without its delta time."""
    return bytes([0xFF, kind]) + varlen(len(data)) + data


def tempo(us_per_beat: int) -> bytes:
    """Write a tempo event."""
    return meta(0x51, us_per_beat.to_bytes(3, "big"))


def meter(numerator: int, denominator: int) -> bytes:
    """Write a meter event."""
    return meta(0x58, bytes([numerator, denominator.bit_length() - 1, 24, 8]))


def marker(name: str) -> bytes:
    """Write a marker."""
    return meta(0x06, name.encode())


def track(events: Iterable[tuple[int, bytes]], end_tick: int | None = None) -> bytes:
    """Write a track chunk of (tick, bytes) events in order, ended."""
    body, now = b"", 0
    parts = []
    for tick, data in events:
        parts.append(varlen(tick - now) + data)
        now = tick
    parts.append(varlen(max((end_tick or 0) - now, 0)) + END)
    body = b"".join(parts)
    return b"MTrk" + struct.pack(">I", len(body)) + body


def smf(*tracks: bytes, division: int = 480, smf_type: int = 1) -> bytes:
    """Write a file of track chunks."""
    return b"MThd" + struct.pack(">IHHH", 6, smf_type, len(tracks), division) + b"".join(tracks)


def random_song(
    seed: int, n_tempos: int = 40, n_meters: int = 8, n_notes: int = 200, ppq: int = 480
) -> bytes:
    """Write a file with tempo and meter changes, notes, controllers, bends and markers on several tracks."""
    rng = np.random.default_rng(seed)
    length = 4 * ppq * 64
    conductor: list[tuple[int, bytes]] = [(0, tempo(500_000)), (0, meter(4, 4))]
    conductor += [
        (int(tick), tempo(int(rng.integers(200_000, 1_200_000))))
        for tick in rng.integers(1, length, n_tempos)
    ]
    conductor += [
        (int(bar) * 4 * ppq, meter(int(rng.integers(2, 13)), int(2 ** rng.integers(1, 5))))
        for bar in rng.choice(np.arange(1, 60), n_meters, replace=False)
    ]
    conductor += [
        (int(tick), marker(f"Part {number}")) for number, tick in enumerate(rng.integers(0, length, 6))
    ]
    conductor.sort(key=lambda event: event[0])
    tracks = [track(conductor, length)]
    for channel in range(3):
        events: list[tuple[int, bytes]] = []
        for _ in range(n_notes):
            start, pitch = int(rng.integers(0, length - ppq)), int(rng.integers(20, 110))
            events.append((start, bytes([0x90 | channel, pitch, int(rng.integers(1, 128))])))
            events.append((start + int(rng.integers(1, ppq)), bytes([0x80 | channel, pitch, 0])))
        for tick in rng.integers(0, length, n_notes):
            events.append(
                (int(tick), bytes([0xB0 | channel, int(rng.choice([1, 11, 74])), int(rng.integers(128))]))
            )
            events.append(
                (int(tick), bytes([0xE0 | channel, int(rng.integers(128)), int(rng.integers(128))]))
            )
        events.sort(key=lambda event: event[0])
        tracks.append(track(events, length))
    return smf(*tracks, division=ppq)
