"""Kill and disturb renders, and count what is lost, touched or vouched for untruly: `python tests/bench/kills.py`.

Sixty renders of eight short stems: killed at a random moment (SIGKILL, SIGTERM, SIGINT; one process or two),
with the output folder removed or replaced, a stem rewritten with size and time kept, a file of the user's put
where an output goes, and on a disk that fills up. After each the same render is run again, and looked at:
finished stems must be there and right, foreign files untouched, nothing hidden left, and every hash in the
manifest that of its file and its source.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers.audio import noise

from bridge.audio.hashing import hash_samples
from bridge.audio.writer import AudioWriter

N_STEMS = 8
PRESET = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-0000000000aa"
meta = { name = "Kill", category = "Utility" }
chain = [{ id = "room", use = "reverb" }, { id = "pitch", use = "chorus" }]
level = { common_trim = SHARED }
"""
Disturb = Callable[[Path, subprocess.Popen[bytes], random.Random], None]


def main() -> int:
    """Run all and print the table."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for number in range(60):
        name, disturb = KINDS[number % len(KINDS)]
        with tempfile.TemporaryDirectory() as folder:
            found = _try(Path(folder), number, disturb)
        counts[name] += 1
        faults += [f"{number} {name}: {fault}" for fault in found]
    lines = ["# Disturbed renders", "", "| disturbance | renders | faults |", "|---|---|---|"]
    for name, count in counts.items():
        lines.append(f"| {name} | {count} | {sum(f' {name}: ' in fault for fault in faults)} |")
    text = "\n".join([*lines, ""])
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text, *faults, sep="\n")
    return 1 if faults else 0


def _try(folder: Path, number: int, disturb: Disturb) -> list[str]:
    rng = random.Random(number)
    (folder / "stems").mkdir()
    for index in range(N_STEMS):
        with AudioWriter(folder / "stems" / f"{index}.wav", sample_rate=48000, n_channels=2) as writer:
            writer.write(noise(480_000, 2, seed=index))
    preset = PRESET.replace("SHARED", rng.choice(("true", "false")))
    (folder / "kill.toml").write_text(preset, encoding="utf-8")
    process = _start(folder, rng.choice((1, 2)))
    disturb(folder, process, rng)
    process.wait()
    error = (process.stderr.read() if process.stderr else b"").decode()
    faults = ["a traceback"] if "Traceback" in error else []
    faults += _look(folder, may_have_hidden=True)
    foreign = folder / "out" / "3__kill.wav"
    if foreign.exists() and foreign.read_bytes() == b"precious":
        refused = _start(folder, 1)
        refused.wait()
        if foreign.read_bytes() != b"precious":
            faults.append("a file of the user's was touched")
        foreign.unlink()
    again = _start(folder, 1)
    again.wait()
    if again.returncode != 0:
        faults.append(f"the next render ends with {again.returncode}: {again.stderr and again.stderr.read()!r}")
    faults += _look(folder, may_have_hidden=False)
    if len(list((folder / "out").glob("*.wav"))) != N_STEMS:
        faults.append("stems are lost")
    return faults


def _start(folder: Path, jobs: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bridge.cli", "render", str(folder / "stems"), "--jobs", str(jobs)]
    command += ["--preset", str(folder / "kill.toml"), "--out", str(folder / "out")]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        # A shell in the background passes on that it ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _look(folder: Path, *, may_have_hidden: bool) -> list[str]:
    """Return what is wrong in an output folder."""
    out = folder / "out"
    manifest = out / "kill.manifest.json"
    faults: list[str] = []
    if not may_have_hidden:
        faults += [f"{path.name} is left" for path in out.glob(".*")]
    if not manifest.exists():
        return faults
    data = json.loads(manifest.read_text(encoding="utf-8"))
    plans = {stem["name"]: stem for stem in data["plan"]["stems"]}
    for name, record in data["stems"].items():
        target = Path(plans[name]["target"])
        if not target.exists():
            if not may_have_hidden:
                faults.append(f"{name} is vouched for and gone")
        elif target.read_bytes() != b"precious" and hash_samples(target) != record["sha256_samples"]:
            faults.append(f"{name} is not what the manifest says")
        if not may_have_hidden:
            digest = hashlib.sha256(Path(plans[name]["source"]).read_bytes()).hexdigest()
            if digest != plans[name]["sha256"]:
                faults.append(f"{name} was made of something else than the manifest says")
    return faults


def _wait(rng: random.Random) -> None:
    time.sleep(rng.uniform(0.8, 4.0))


def _signal(number: int) -> Disturb:
    def send(_folder: Path, process: subprocess.Popen[bytes], rng: random.Random) -> None:
        _wait(rng)
        process.send_signal(number)

    return send


def _remove(folder: Path, _process: subprocess.Popen[bytes], rng: random.Random) -> None:
    _wait(rng)
    shutil.rmtree(folder / "out", ignore_errors=True)


def _replace(folder: Path, _process: subprocess.Popen[bytes], rng: random.Random) -> None:
    _wait(rng)
    if (folder / "out").exists():
        (folder / "out").rename(folder / "moved")
        (folder / "out").mkdir()


def _rewrite(folder: Path, _process: subprocess.Popen[bytes], rng: random.Random) -> None:
    _wait(rng)
    path = folder / "stems" / f"{rng.randrange(N_STEMS)}.wav"
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _come(folder: Path, process: subprocess.Popen[bytes], _rng: random.Random) -> None:
    target = folder / "out" / "3__kill.wav"
    while process.poll() is None and not target.parent.exists():
        time.sleep(0.01)
    if target.parent.exists() and not target.exists():
        target.write_bytes(b"precious")


KINDS: tuple[tuple[str, Disturb], ...] = (
    ("killed", _signal(signal.SIGKILL)),
    ("terminated", _signal(signal.SIGTERM)),
    ("interrupted", _signal(signal.SIGINT)),
    ("output folder removed", _remove),
    ("output folder replaced", _replace),
    ("stem rewritten", _rewrite),
    ("foreign file comes", _come),
)


if __name__ == "__main__":
    sys.exit(main())
