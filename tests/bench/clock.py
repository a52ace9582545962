"""Measure the musical clock: how fast MIDI is read and envelopes are evaluated, and how exact they are.

Run ``PYTHONPATH=.:tests OMP_NUM_THREADS=1 python tests/bench/clock.py`` from the repository; it prints its
table as Markdown. Every speed has the error of what was computed beside it. Times are of the processor, so
that other work on the machine counts little.
"""

from __future__ import annotations

import itertools
import resource
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from helpers.envelopes import SAMPLE_RATE, envelopes
from helpers.midi import meter, random_song, smf, tempo, track, varlen

from bridge.envelopes.evaluate import Envelopes
from bridge.envelopes.song import Song
from bridge.errors import MidiFileError
from bridge.midi.file import parse_midi, read_midi
from bridge.midi.song_clock import build_tempo_map

LENGTH_S = 600.0
N_EVENTS = 1_000_000
N_FUZZ = 20_000


def million_events() -> bytes:
    """Two hours: a conductor of 1000 tempos and 50 meters, sixteen tracks of notes, controllers and bends."""
    rng = np.random.default_rng(1)
    conductor = [(0, tempo(500_000))]
    conductor += [(7000 * row, tempo(int(rng.integers(300_000, 700_000)))) for row in range(1, 1000)]
    conductor += [(1920 * 72 * row, meter(int(rng.integers(2, 9)), 4)) for row in range(1, 51)]
    conductor.sort(key=lambda event: event[0])
    tracks = [track(conductor)]
    for channel in range(16):
        body = bytearray()
        waits = [varlen(int(wait)) for wait in rng.integers(0, 230, 256)]
        for row in range(N_EVENTS // 64):
            pitch, value = 30 + row % 60, row % 128
            body += waits[row % 256] + bytes([0x90 | channel, pitch, 100])
            body += waits[(row + 1) % 256] + bytes([0xB0 | channel, 1, value])
            body += waits[(row + 2) % 256] + bytes([0xE0 | channel, 0, value])
            body += waits[(row + 3) % 256] + bytes([0x80 | channel, pitch, 0])
        tracks.append(b"MTrk" + (len(body) + 4).to_bytes(4, "big") + bytes(body) + b"\0\xff\x2f\0")
    return smf(*tracks)


def timed(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the shortest time of a few runs, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return best, result


def read_and_map(path: Path) -> list[tuple[str, str, str, str]]:
    """Read a million events and find their times."""

    def work() -> Any:
        midi = read_midi(path)
        clock = build_tempo_map(midi)
        return midi, clock, clock.ticks_to_seconds(midi.tick)

    seconds, (midi, clock, times) = timed(work)
    tempos = [(t.tick, int(t.us_per_beat)) for t in clock.tempos]
    starts = np.array([tick for tick, _ in tempos])
    sums = [0]
    for (tick, us), (following, _) in itertools.pairwise(tempos):
        sums.append(sums[-1] + (following - tick) * us)
    worst = Fraction(0)
    for row in range(0, len(midi.tick), 997):
        tick = int(midi.tick[row])
        index = int(np.searchsorted(starts, tick, side="right")) - 1
        exact = Fraction(sums[index] + (tick - tempos[index][0]) * tempos[index][1], 480_000_000)
        worst = max(worst, abs(Fraction(float(times[row])) - exact))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        (
            f"read and map {midi.n_events:,} events, {len(clock.tempos)} tempos, {len(clock.meters)} meters, "
            f"{float(times[-1]) / 3600:.1f} h",
            f"{seconds:.2f} s",
            "< 1.5 s",
            f"{float(worst) * 48_000:.1e} samples at 48 kHz",
        ),
        ("memory of the whole process at its highest", f"{peak_mb:.0f} MB", "< 400 MB", ""),
    ]


def twenty_modulators() -> Envelopes:
    """A busy chain over ten minutes with tempo changes: 20 modulators of every kind on two parameters."""
    rng = np.random.default_rng(3)
    conductor = [(480 * 16 * row, tempo(int(rng.integers(400_000, 600_000)))) for row in range(80)]
    wheel = [(60 * row, bytes([0xB0, 1, int(rng.integers(128))])) for row in range(9000)]
    notes: list[tuple[int, bytes]] = []
    for row in range(2400):
        notes += [(240 * row, b"\x91\x24\x60"), (240 * row + 100, b"\x81\x24\x00")]
    midi = parse_midi(smf(track(conductor), track(wheel), track(notes)))
    song = Song(tempo_map=build_tempo_map(midi), midi=midi, length_s=LENGTH_S)
    shapes = ["sine", "triangle", "saw_up", "square", "pulse", "sample_hold", "random_smooth", "perlin"]
    rates = ["1/4", "1/8T", "2 bars", "1/16", "3 Hz", "1/8", "1/2", "4 bars"]
    modulators: list[dict[str, Any]] = [
        {"type": "lfo", "id": f"lfo{row}", "shape": shape, "rate": rate}
        for row, (shape, rate) in enumerate(zip(shapes, rates, strict=True))
    ]
    modulators += [
        {"type": "adsr", "id": "kick", "decay": "1/8", "sustain": 0.2, "trigger": {"channel": 2}},
        {"type": "adsr", "id": "grid", "trigger": {"on": "grid", "every": "1/2"}},
        {"type": "breakpoints", "id": "rise",
         "points": [{"at": "1:1", "value": 0}, {"at": "end", "value": 1}]},
        {"type": "breakpoints", "id": "loop", "mode": "sync", "length": "1 bars",
         "points": [{"at": "0 s", "value": 1, "curve": "curve", "tension": -0.5}, {"at": "1/2", "value": 0}]},
        {"type": "steps", "id": "steps", "steps": [0, 0.3, 1, 0.5], "rate": "1/8"},
        {"type": "steps", "id": "glides", "steps": [0, 1, 0.5], "glide": 0.5, "rate": "1/4"},
        {"type": "midi", "id": "wheel", "number": 1},
        {"type": "midi", "id": "raw", "number": 1, "smooth": "0 ms"},
        {"type": "midi", "id": "gate", "event": "gate"},
        {"type": "macro", "id": "knob", "macro": "depth"},
        {"type": "combine", "id": "both", "inputs": ["lfo0", "kick"]},
        {"type": "lfo", "id": "soft", "shape": "square", "rate": "1/8", "smooth": "20 ms"},
    ]  # fmt: skip
    assert len(modulators) == 20
    routes = [
        {"source": m["id"], "target": ("dream.depth", "filter.cutoff_hz")[row % 2], "amount": 0.1}
        for row, m in enumerate(modulators)
    ]
    return envelopes(modulators, routes, [{"id": "depth", "value": 0.5}], of=song)


def evaluate(built: Envelopes, seconds: float, step: int) -> float:
    """Evaluate both parameters block by block, as a render does, and keep nothing."""
    block = 32_768 * step
    start = time.process_time()
    for at in range(0, int(seconds * SAMPLE_RATE), block):
        for node, name in built.moving:
            built.values(node, name, at, block, step)
    return time.process_time() - start


def apart(built: Envelopes, start: int, n_samples: int) -> float:
    """Return how far audio rate is from working out every sample by itself, in parts of the range."""
    worst = 0.0
    for node, name in built.moving:
        joined = built.values(node, name, start, n_samples)
        for first in (0, 1):
            alone = built.values(node, name, start + first, n_samples - first, 2)
            difference = np.diff(built.travel(node, name, np.stack((joined[first::2], alone))), axis=0)
            worst = max(worst, float(np.abs(difference).max()))
    return worst


def speeds() -> list[tuple[str, str, str, str]]:
    """Evaluate ten minutes at audio and at control rate."""
    built = twenty_modulators()
    evaluate(built, 5, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = []
    for name, step, goal in (("audio rate", 1, 200), ("control rate (64)", 64, 2000)):
        elapsed = min(evaluate(built, LENGTH_S, step) for _ in range(5))
        pieces = range(0, 10_000_000, 500_000) if step == 1 else ()
        error = max((apart(built, start, 500_000) for start in pieces), default=0.0)
        measured = f"{LENGTH_S / elapsed:,.0f}x real time"
        rows.append((f"20 modulators at {name}", measured, f">= {goal:,}x", f"{error:.0e} of the range"))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return [*rows, ("memory grown while evaluating", f"{grown:.0f} MB", "constant", "")]


def fuzz() -> list[tuple[str, str, str, str]]:
    """Damage a file in twenty thousand ways."""
    rng = np.random.default_rng(9)
    base = random_song(2, n_tempos=10, n_meters=4, n_notes=40)
    slowest, refused = 0.0, 0
    for _ in range(N_FUZZ):
        data = bytearray(base)
        for _ in range(int(rng.integers(1, 20))):
            at, how = int(rng.integers(len(data) or 1)), int(rng.integers(4))
            if how == 0 and data:
                data[at] = int(rng.integers(256))
            elif how == 1:
                del data[at : at + int(rng.integers(1, 9))]
            elif how == 2:
                data[at:at] = rng.integers(0, 256, int(rng.integers(1, 9)), dtype=np.uint8).tobytes()
            elif rng.random() < 0.1:
                del data[max(at, 1) :]
        start = time.process_time()
        try:
            midi = parse_midi(bytes(data), "fuzz")
            build_tempo_map(midi).ticks_to_seconds(midi.tick)
        except MidiFileError:
            refused += 1
        slowest = max(slowest, time.process_time() - start)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measured = f"slowest {slowest * 1e3:.0f} ms, {peak_mb:.0f} MB"
    return [(f"{N_FUZZ:,} damaged files ({refused} refused)", measured, "no crash, < 1 s, < 500 MB", "")]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.mid"
        path.write_bytes(million_events())
        rows = read_and_map(path)
    rows += speeds() + fuzz()
    print("| what | measured | must reach | error |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
