"""Measure training: accuracy for time, memory with a large set, kills, and a network of a folder of sounds.

Run ``python tests/bench/training.py [accuracy folder kills memory] [--out tests/bench/training.md]``. Without
words all parts run, about eight minutes of one processor; a part replaces its own section of the file.
``accuracy`` renders notes of TimGM6mb by FluidSynth, ``--notes FOLDER`` keeps them.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from helpers.segments import additive  # noqa: E402 - found by the path above

from dream_core.networks.timbre import CLASSES  # noqa: E402
from dream_core.training.loop import open_run, train  # noqa: E402
from dream_core.training.notes import NoteBank, render_notes  # noqa: E402
from dream_core.training.run_settings import RunSettings  # noqa: E402
from dream_core.training.segments import StoredSegments, open_segments  # noqa: E402
from dream_core.training.write_segments import Segment, write_segments  # noqa: E402

RATE = 16000
N_MANY = 100_000
MANY_SAMPLES = 4000
BUDGETS_S = (30.0, 60.0)
KINDS = ("mel_full", "wave_filterbank")
SMALL_BANK = NoteBank(
    name="timgm-few",
    soundfont=Path("/usr/share/sounds/sf2/TimGM6mb.sf2"),
    package="timgm6mb-soundfont",
    pitch_step=8,
    velocities=(90,),
)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [" | ".join(headings), "|".join("---" for _ in headings), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def many_segments(folder: Path) -> StoredSegments:
    """Write a hundred thousand quarter seconds: noises of ten classes, ten of a group."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal(1 << 20).astype(np.float32)

    def segments():
        for index in range(N_MANY):
            label = index % 10
            start = int(rng.integers(len(block) - MANY_SAMPLES - 10))
            sound = block[start : start + MANY_SAMPLES]
            # A moving mean of its own length is what makes a class.
            sound = sound + block[start + label + 1 : start + label + 1 + MANY_SAMPLES]
            group = index // 100 * 10 + label
            yield Segment(
                samples=(3000 * sound).astype(np.int16),
                label=f"c{label}",
                group=str(group),
                split=(0, 0, 0, 0, 0, 0, 0, 0, 0, 1)[index // 100 % 10],
            )

    classes = [f"c{label}" for label in range(10)]
    return write_segments(folder, segments(), classes=classes, sample_rate=RATE, segment_samples=MANY_SAMPLES)


def resident_mb() -> dict[str, float]:
    """Return what of this process is in memory: its own, and files that are mapped."""
    found = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if "Rss" in line
    )
    return {key: int(found[key].split()[0]) / 1024 for key in ("RssAnon", "RssFile")}


def measure_memory(folder: Path) -> str:
    """Train on every segment of a large set once, and watch the memory."""
    torch.set_num_threads(1)
    segments = many_segments(folder / "many")
    settings = RunSettings(
        epochs=9, steps_per_epoch=250, batch_size=48, strength=0.2, heard_share=0.0, calibration_batches=2
    )
    run, _ = open_run(
        segments, "mel_full", settings, folder / "run", name="mine", options={"widths": "16,16,24"}
    )
    run.parts = type(run.parts)(
        train=run.parts.train,
        heard=run.parts.heard,
        validation=run.parts.validation[:500],
        test=run.parts.test,
    )
    rows = []
    for _ in range(settings.epochs):
        run.epoch()
        here = resident_mb()
        n = len(run.history) * settings.steps_per_epoch * settings.batch_size
        rows.append([f"{n:,}", f"{here['RssAnon']:.0f}", f"{here['RssFile']:.0f}"])
    size_mb = N_MANY * MANY_SAMPLES * 2 / 1e6
    return f"A set of {N_MANY:,} segments, {size_mb:.0f} MB on disk, one process, `mel_full`.\n\n" + table(
        ["segments trained on", "own memory (MB)", "mapped files (MB)"], rows
    )


def kill_settings() -> RunSettings:
    """Return those of the run that is killed."""
    return RunSettings(epochs=12, steps_per_epoch=8, batch_size=12, calibration_batches=2)


def train_few(folder: Path) -> str:
    """Train a small network, or go on; returns its hash."""
    torch.set_num_threads(1)  # here and in the processes that are killed: sums depend on it
    few = additive(n_classes=3, groups_per_class=6, segments_per_group=4, seconds=0.5)
    return train(few, "mel_full", kill_settings(), folder, options={"widths": "16,16,24"}, resume=True).sha256


def measure_kills(folder: Path) -> str:
    """Kill a run at ten random moments and compare what comes of it."""
    chance = random.Random(1)
    whole = train_few(folder / "whole")
    moments = []
    for _ in range(10):
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import training; "
        code += f"from pathlib import Path; training.train_few(Path({str(folder / 'killed')!r}))"
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        before = epochs_done(folder / "killed")
        # Not before it has begun to train, then at any moment of about two epochs.
        while process.poll() is None and not (folder / "killed/run.toml").exists():
            time.sleep(0.01)
        while process.poll() is None and epochs_done(folder / "killed") == before:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.4))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        moments.append(epochs_done(folder / "killed"))
    killed = train_few(folder / "killed")
    left = [path.name for path in (folder / "killed").iterdir() if path.name.startswith(".reverie")]
    same = load_file(folder / "killed/checkpoint.safetensors")
    differing = [
        name
        for name, value in load_file(folder / "whole/checkpoint.safetensors").items()
        if not torch.equal(value, same[name])
    ]
    rows = [
        ["kills (signal 9)", "10"],
        ["epochs finished at each", ", ".join(map(str, moments))],
        ["tensors unlike the undisturbed run's", str(len(differing))],
        ["the file is the same, byte for byte", "yes" if killed == whole else "no"],
        ["hidden files left over", str(len(left))],
    ]
    return "A run of 12 epochs.\n\n" + table(["what", "figure"], rows)


def epochs_done(folder: Path) -> int:
    """Return how many epochs a run has finished."""
    try:
        return len((folder / "history.csv").read_text().splitlines()) - 1
    except OSError:
        return 0


def measure_folder(folder: Path) -> str:
    """Time the one command from a folder of three classes by twenty files to a network."""
    sounds = additive(n_classes=3, groups_per_class=20, segments_per_group=1, seconds=2.0, rate=44100)
    for row, (label, sound) in enumerate(zip(sounds.labels, sounds.waveforms, strict=True)):
        place = folder / "sounds" / sounds.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / f"{row:03d}.wav", sound, 44100)
    words = ["networks", "train", "--data", str(folder / "sounds"), "--kind", "embedding_head"]
    words += ["--from", "timbre:block5", "--epochs", "15", "--name", "own", "--device", "cpu"]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", *words],
        env=os.environ | {"REVERIE_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = next(line for line in done.stderr.splitlines() if "of groups it never heard" in line)
    rows = [
        ["files", "3 classes of 20, 2 s each"],
        ["processor time", f"{cpu_s:.0f} s"],
        ["on the clock, the machine shared", f"{wall_s:.0f} s"],
        ["accuracy", told.partition(";")[0]],
    ]
    return "`reverie networks train --data sounds --kind embedding_head --from timbre:block5`.\n\n" + table(
        ["what", "figure"], rows
    )


def few_presets(notes_folder: Path, folder: Path) -> StoredSegments:
    """Render notes of some presets of each family: the last is never heard, the one before validates."""
    if not (folder / "prepared.toml").exists():
        notes = render_notes(SMALL_BANK, notes_folder, sample_rate=RATE, report=print)
        side_of = {}
        presets = iter(range(1000))
        for family in CLASSES:
            own = [next(presets) for _ in SMALL_BANK.presets[family]]
            # The last but one chooses nothing here, the last is never heard.
            side_of |= {preset: max(0, place - len(own) + 3) for place, preset in enumerate(own)}
        write_segments(
            folder,
            (
                Segment(samples=sound, label=CLASSES[family], group=str(preset), split=side_of[preset])
                for sound, family, preset in zip(
                    notes.waveforms[:, : round(1.02 * RATE)], notes.families, notes.presets, strict=True
                )
            ),
            classes=list(CLASSES),
            sample_rate=RATE,
            segment_samples=round(1.02 * RATE),
        )
    return open_segments(folder)


def measure_accuracy(folder: Path, notes_folder: Path | None = None) -> str:
    """Tell how well two kinds hear after so much processor time of one thread."""
    torch.set_num_threads(1)
    segments = few_presets(notes_folder or folder / "notes", folder / "set")
    rows = []
    for kind in KINDS:
        pilot = RunSettings(epochs=100, steps_per_epoch=10, heard_share=0.2, calibration_batches=4)
        run, _ = open_run(segments, kind, pilot, folder / f"{kind}-pilot", name="mine")
        run._learn(0)
        began = time.process_time()
        run._learn(1)
        step_s = (time.process_time() - began) / pilot.steps_per_epoch
        epochs = max(2, round(BUDGETS_S[-1] / step_s / 25))
        settings = RunSettings(epochs=epochs, steps_per_epoch=25, heard_share=0.2, calibration_batches=4)
        run, _ = open_run(segments, kind, settings, folder / kind, name="mine")
        spent_s, due, cells = 0.0, list(BUDGETS_S), []
        while due and len(run.history) < epochs:
            began = time.process_time()
            losses = run._learn(len(run.history))
            spent_s += time.process_time() - began
            is_last = len(run.history) == epochs - 1
            run.history.append({"epoch": len(run.history) + 1.0, "train_loss": sum(losses), "seconds": 0.0})
            if spent_s >= due[0] or is_last:
                run._judge(len(run.history) - 1, 0.0, 0.0)
                heard, unheard = run.hear(run.mean, run.parts.heard), run.hear(run.mean, run.parts.test)
                cells.append(f"{heard.accuracy:.0%} / {unheard.accuracy:.0%}")
                due.pop(0)
        size_m = sum(one.numel() for one in run.module.parameters()) / 1e6
        rows.append([f"`{kind}`, {size_m:.2f} M", *cells])
    n = len(segments.labels)
    presets = len(np.unique(segments.groups))
    return (
        f"{n} notes of {presets} presets of TimGM6mb at {RATE} Hz, 11 families (chance is 9%); one thread. "
        "Notes never heard of presets that were learnt from / presets never heard: read both, the first "
        "leaks.\n\n" + table(["kind", *(f"{budget:g} CPU s" for budget in BUDGETS_S)], rows)
    )


PARTS: dict[str, tuple[str, Callable[..., str]]] = {
    "accuracy": ("Accuracy for time", measure_accuracy),
    "folder": ("From a folder of sounds to a network", measure_folder),
    "kills": ("Killed at ten moments", measure_kills),
    "memory": ("Memory with a large set", measure_memory),
}


def main() -> int:
    """Run the parts and put their sections where they belong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sections = {}
    if options.out and options.out.exists():
        for section in options.out.read_text().split("\n## ")[1:]:
            heading, _, text = section.partition("\n\n")
            sections[heading] = text.strip()
    for name in options.parts or PARTS:
        heading, measure = PARTS[name]
        with tempfile.TemporaryDirectory() as scratch:
            more = (options.notes,) if name == "accuracy" else ()
            sections[heading] = measure(Path(scratch), *more)
        sys.stdout.write(f"## {heading}\n\n{sections[heading]}\n\n")
    if options.out:
        text = "# Training\n\nMade by `python tests/bench/training.py`.\n"
        for heading, _ in PARTS.values():
            if heading in sections:
                text += f"\n## {heading}\n\n{sections[heading]}\n"
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
