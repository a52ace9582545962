"""Measure delivery: how fast stems come out beside bare pedalboard, with how many workers, in what memory.

    PYTHONPATH=.:tests OMP_NUM_THREADS=1 python tests/bench/delivery.py            writes delivery.md
    PYTHONPATH=.:tests OMP_NUM_THREADS=1 python tests/bench/delivery.py --long     with 3 h of sound, minutes

Both sides take turns, so that whatever else the machine does meets both alike; a speed is the median of the
ratios, its noise their quartiles, and every speed has the error of what was computed beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pedalboard
import soundfile
from pedalboard.io import AudioFile

from bridge.clock.settings import ClockSettings
from bridge.plan.model import Plan
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.processors.chain import Chain
from bridge.render.runner import render_plan

HERE = Path(__file__)
RATE = 48_000
BLOCK = 1 << 16
TURNS = 7
PRESET = {
    "format": "reverie/preset",
    "version": 1,
    "uuid": "11111111-2222-3333-4444-555555555555",
    "meta": {"name": "Bench", "category": "Utility"},
    "level": {"mode": "keep", "ceiling_dbtp": 20.0},
    "chain": [
        {"id": "bell", "use": "peak_filter", "params": {"cutoff_frequency_hz": 1000.0, "gain_db": 3.0}},
        {
            "id": "shelf",
            "use": "high_shelf_filter",
            "params": {"cutoff_frequency_hz": 8000.0, "gain_db": -2.0},
        },
        {"id": "press", "use": "compressor", "params": {"threshold_db": -20.0, "ratio": 3.0}},
        {"id": "room", "use": "reverb", "params": {"room_size": 0.4, "wet_level": 0.2}},
    ],
}
Row = tuple[str, str, str, str]


def board() -> pedalboard.Pedalboard:
    """The same chain, of pedalboard alone."""
    return pedalboard.Pedalboard(
        [
            pedalboard.PeakFilter(cutoff_frequency_hz=1000.0, gain_db=3.0),
            pedalboard.HighShelfFilter(cutoff_frequency_hz=8000.0, gain_db=-2.0),
            pedalboard.Compressor(threshold_db=-20.0, ratio=3.0),
            pedalboard.Reverb(room_size=0.4, wet_level=0.2),
        ]
    )


def write_stem(path: Path, minutes: float, seed: int = 0) -> Path:
    """Write bursts of noise over a tone as 24-bit WAV."""
    n_left = round(minutes * 60 * RATE)
    rng = np.random.default_rng(seed)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_24") as file:
        while n_left:
            n = min(n_left, 60 * RATE)
            time_s = np.arange(n) / RATE
            swell = np.exp(-4 * (time_s % 0.5)) * (0.5 + 0.5 * np.sin(2 * np.pi * time_s / 7))
            tone = 0.2 * np.sin(2 * np.pi * 220 * time_s)
            sound = (rng.standard_normal((2, n)) * 0.1 + tone) * swell
            file.write(np.clip(sound.T, -0.99, 0.99))
            n_left -= n
    return path


def make_plan(stems: list[Path], out: Path) -> Plan:
    """Plan a render of stems into a new folder."""
    shutil.rmtree(out, ignore_errors=True)
    return build_plan(stems, parse_preset(PRESET, "bench"), out_dir=out, clock=ClockSettings(bpm=120))


def timed(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(first: Callable[[], object], second: Callable[[], object], turns: int = TURNS) -> str:
    """Return how fast the second is, the first being 1."""
    ratios = [timed(first) / timed(second) for _ in range(turns)]
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def residual(a: np.ndarray, b: np.ndarray) -> str:
    """Return the largest difference in dBFS."""
    highest = float(np.abs(a.astype(np.float64) - b).max())
    return f"{20 * np.log10(highest):.0f} dBFS" if highest else "none"


def chain_speed(stem: Path) -> Iterator[Row]:
    """Stream blocks through the chain and through a bare Pedalboard."""
    sound = soundfile.read(stem, dtype="float32", always_2d=True)[0].T
    for size in (8192, BLOCK):
        blocks = [np.ascontiguousarray(sound[:, at : at + size]) for at in range(0, sound.shape[1], size)]

        def bare(blocks: list[np.ndarray] = blocks) -> np.ndarray:
            plugins = board()
            return np.concatenate([plugins.process(b, RATE, reset=False) for b in blocks], axis=1)

        def ours(blocks: list[np.ndarray] = blocks) -> np.ndarray:
            chain = Chain(list(board()))
            parts = [chain.process(b, RATE, reset=False) for b in blocks]
            return np.concatenate([*parts, chain.flush()], axis=1)

        yield (
            f"a chain of built-ins, streaming blocks of {size:,}: speed beside bare pedalboard",
            in_turns(bare, ours),
            ">= 0.9",
            residual(bare(), ours()),
        )


def render_speed(stem: Path, folder: Path) -> Iterator[Row]:
    """Render a file beside a script that reads, processes and writes it, and does nothing else."""

    def bare() -> None:
        plugins = board()
        with AudioFile(str(stem)) as source, AudioFile(str(folder / "bare.wav"), "w", RATE, 2, 24) as target:
            while source.tell() < source.frames:
                target.write(plugins.process(source.read(BLOCK), RATE, reset=False))

    plan = make_plan([stem], folder / "out")

    def ours() -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)
        render_plan(plan)

    bare()
    ours()
    bare_sound, ours_sound = (soundfile.read(path)[0] for path in (folder / "bare.wav", plan.stems[0].target))
    yield (
        "a whole render (hashed, measured before and after, levelled, dithered) beside a script "
        "that reads, processes and writes",
        in_turns(bare, ours),
        "",
        residual(bare_sound, ours_sound),
    )


def computing(n_processes: int) -> None:
    """Let processes compute in registers alone, for some seconds of one core in all."""
    program = f"sum(i * i for i in range({60_000_000 // n_processes}))"
    for process in [subprocess.Popen([sys.executable, "-c", program]) for _ in range(n_processes)]:
        process.wait()


def worker_speed(folder: Path) -> Iterator[Row]:
    """Render eight stems by one worker and by two."""
    stems = [write_stem(folder / f"stem{i}.wav", 3.0, seed=i) for i in range(8)]
    digests = []

    def render(jobs: int) -> None:
        plan = make_plan(stems, folder / "out")
        report = render_plan(plan, jobs=jobs)
        digests.append([stem.record.sha256_samples for stem in report.stems if stem.record])

    render(1)
    speed = in_turns(lambda: render(1), lambda: render(2), 3)
    is_same = all(digest == digests[0] for digest in digests)
    ceiling = in_turns(lambda: computing(1), lambda: computing(2), 3)
    yield "eight stems of 3 min: two workers beside one", speed, ">= 1.7", "none" if is_same else "differ"
    yield (
        "two processes that only compute, beside one, at the time: the most this machine gives",
        ceiling,
        "",
        "",
    )


def memory(folder: Path, hours: list[float]) -> Iterator[Row]:
    """Render ever longer stems, each in a process of its own, and read its highest memory."""
    peaks = {}
    for length_h in hours:
        stem = write_stem(folder / "long.wav", 60 * length_h)
        command = [sys.executable, str(HERE), "--memory", str(stem), str(folder / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
        peaks[length_h] = json.loads(done.stdout)["peak_mb"]
        stem.unlink()
    shortest = peaks[hours[0]]
    for length_h, peak in peaks.items():
        grown = f"{100 * (peak / shortest - 1):+.1f} %"
        yield f"highest memory, {60 * length_h:.0f} min of stereo", f"{peak:.0f} MB", "within 10 %", grown


def measure_memory(stem: Path, out: Path) -> None:
    """Render in this process and print its highest memory; Linux alone tells it without its parent's."""
    render_plan(make_plan([stem], out))
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(json.dumps({"peak_mb": int(status.split("VmHWM:")[1].split()[0]) / 1024}))


def main() -> None:
    """Measure, and write the table beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--long", action="store_true", help="3 h of sound as well: 11 GB of disk, minutes")
    parser.add_argument("--memory", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        measure_memory(*options.memory)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stem = write_stem(folder / "stem.wav", 2.0)
        hours = [1 / 6, 1.0, 3.0] if options.long else [1 / 6, 1.0]
        rows = list(
            itertools.chain(
                chain_speed(stem), render_speed(stem, folder), worker_speed(folder), memory(folder, hours)
            )
        )
    write_table(rows)


def write_table(rows: Sequence[Row]) -> None:
    """Write the rows beside this file, and print them."""
    lines = [
        "# Delivery, measured",
        "",
        f"By `tests/bench/delivery.py` on {os.cpu_count()} cores, {platform.machine()}. Speeds are ratios of",
        "turns taken one after the other, with their quartiles; the chain is equaliser, compressor, reverb.",
        "",
        "| what | measured | must reach | error |",
        "|---|---|---|---|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    HERE.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
