"""Kill a batch at random moments, again and again, and see whether anything is lost, half or done twice.

Run ``python tests/bench/resume.py [--files 200] [--kills 20] [--out tests/bench/resume.md]``.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from bridge.audio.hashing import hash_samples
from bridge.render.manifest import StemRecord, read_manifest

PRESET = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-00000000000{number}"
[meta]
name = "{name}"
category = "Utility"
[[chain]]
id = "fx"
use = "{use}"
"""
PROGRAM = """
import sys
from bridge.plan.job_list import build_batch, read_jobs
from bridge.render.runner import render_plans
if __name__ == "__main__":
    render_plans(build_batch(read_jobs(sys.argv[1])), jobs=2)
"""


def make_session(folder: Path, n_files: int) -> None:
    """Write short stems, two presets and the job list."""
    (folder / "stems").mkdir(parents=True)
    for index in range(n_files):
        noise = 0.1 * np.random.default_rng(index).standard_normal((20_000, 2))
        soundfile.write(folder / "stems" / f"s{index:03d}.wav", noise, 48_000, subtype="PCM_24")
    for number, (name, use) in enumerate((("room", "reverb"), ("push", "compressor"))):
        (folder / f"{name}.toml").write_text(PRESET.format(number=number, name=name, use=use))
    (folder / "render.py").write_text(PROGRAM)


def start(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """Begin the batch into a folder, as a process group of its own."""
    jobs = folder / f"{out}.toml"
    jobs.write_text(
        f'[[jobs]]\nstems = "stems"\npreset = ["room.toml", "push.toml"]\nout = "{out}"\nalign = false\n'
    )
    return subprocess.Popen([sys.executable, str(folder / "render.py"), str(jobs)], start_new_session=True)


def finished(folder: Path) -> dict[Path, StemRecord]:
    """Return the outputs that the manifests say are finished."""
    found = {}
    for path in folder.glob("*.manifest.json"):
        manifest = read_manifest(path)
        targets = {stem.name: Path(stem.target) for stem in manifest.plan.stems}
        found |= {targets[name]: record for name, record in manifest.stems.items()}
    return found


def main() -> int:
    """Run the trial and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_session(folder, options.files)
        began = time.perf_counter()
        if start(folder, "calm").wait() != 0:
            return 1
        calm_s = time.perf_counter() - began
        calm = {path.name: hash_samples(path) for path in (folder / "calm").glob("*.wav")}
        n_repeated, n_half, done_at = 0, 0, []
        for _ in range(options.kills):
            process = start(folder, "killed")
            time.sleep(chance.uniform(1.0, 3.0 + 2.0 * calm_s / options.kills))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            known = finished(folder / "killed")
            done_at.append(len(known))
            stamps = {path: path.stat().st_mtime_ns for path in known}
            n_half += sum(hash_samples(path) != record.sha256_samples for path, record in known.items())
            if process.returncode == 0:
                break
            again = start(folder, "killed")
            time.sleep(chance.uniform(1.0, 6.0))
            os.killpg(again.pid, signal.SIGKILL)
            again.wait()
            n_repeated += sum(path.stat().st_mtime_ns != stamp for path, stamp in stamps.items())
        if start(folder, "killed").wait() != 0:
            return 1
        killed = {path.name: hash_samples(path) for path in (folder / "killed").glob("*.wav")}
        left = [path.name for path in (folder / "killed").iterdir() if path.name.startswith(".")]
    lines = [
        "| what | figure |",
        "|---|---|",
        f"| outputs ({options.files} files, 2 presets, 2 workers) | {len(killed)} of {2 * options.files} |",
        f"| kills (signal 9, whole process group) | {2 * len(done_at)} |",
        f"| finished at every second kill | {', '.join(map(str, done_at))} |",
        f"| finished outputs that were rendered again | {n_repeated} |",
        f"| outputs noted as finished that were not whole | {n_half} |",
        f"| outputs unlike the undisturbed run's | {sum(calm[n] != killed.get(n) for n in calm)} |",
        f"| hidden files left over | {len(left)} |",
    ]
    table = "\n".join(lines) + "\n"
    sys.stdout.write(table)
    if options.out:
        options.out.write_text("Made by `python tests/bench/resume.py`.\n\n" + table)
    is_sound = killed == calm and not (n_repeated or n_half or left)
    return 0 if is_sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
