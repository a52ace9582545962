"""Kill and disturb renders, and count what is lost or untrue afterwards: `python tests/bench/kills.py`.

Sixty-four renders of eight short stems: killed at a random moment (SIGKILL, SIGTERM, SIGINT; one process or
two), with the output folder removed or replaced, a stem rewritten with size and time kept, a full disk, or a
file of the user's put where an output goes. After each the same render is run again: what was finished must
be right and not be done again, every stem as an undisturbed render makes it, foreign files untouched,
nothing hidden left.
"""

from __future__ import annotations

import functools
import os
import random
import resource
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

from helpers.audio import noise  # noqa: E402 - found by the path above

from bridge.audio.hashing import hash_samples  # noqa: E402
from bridge.audio.writer import AudioWriter  # noqa: E402
from bridge.render.manifest import read_manifest  # noqa: E402

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
    for number in range(64):
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
    shared = rng.choice(("true", "false"))
    _make(folder, shared)
    # Every file may grow so far and no further, as on a disk that is full.
    limit = rng.randrange(300_000, 4_000_000) if disturb is _fill else None
    process = _start(folder, rng.choice((1, 2)), limit)
    disturb(folder, process, rng)
    process.wait()
    said = _said(process)
    faults = ["a traceback"] if "Traceback" in said or "unexpected error" in said else []
    if process.returncode not in (0, 1, 2, 3, 130, -signal.SIGKILL, -signal.SIGTERM):
        faults.append(f"it ended with {process.returncode}")
    foreign = folder / "out" / "3__kill.wav"
    if foreign.exists() and foreign.read_bytes() == b"precious":
        _said(_start(folder, 1))
        if foreign.read_bytes() != b"precious":
            faults.append("a file of the user's was touched")
        foreign.unlink()
    _make(folder, shared)  # what was rewritten is as it was
    finished = _hashes(folder)
    wanted = _undisturbed(shared)
    faults += [f"{name} was finished wrong" for name, one in finished.items() if one != wanted[name]]
    again = _start(folder, 1)
    said = _said(again)
    if again.returncode != 0:
        faults.append(f"the next render ends with {again.returncode}: {said!r}")
    if said.count("finished earlier") < len(finished) and shared == "false":
        faults.append("finished work was done again")
    if _hashes(folder) != wanted:
        faults.append("stems are lost or wrong")
    return faults + [f"{path.name} is left" for path in (folder / "out").glob(".*")]


@functools.cache
def _undisturbed(shared: str) -> dict[str, str]:
    """Return what every stem's samples are where nothing happens."""
    with tempfile.TemporaryDirectory() as folder:
        _make(Path(folder), shared)
        _said(_start(Path(folder), 2))
        return _hashes(Path(folder))


def _make(folder: Path, shared: str) -> None:
    """Write the stems with one size and time, whatever stands there, and the preset."""
    (folder / "stems").mkdir(exist_ok=True)
    for index in range(N_STEMS):
        path = folder / "stems" / f"{index}.wav"
        with AudioWriter(path, sample_rate=48000, n_channels=2, overwrite=True) as writer:
            writer.write(noise(480_000, 2, seed=index))
        os.utime(path, (1e9, 1e9))
    (folder / "kill.toml").write_text(PRESET.replace("SHARED", shared), encoding="utf-8")


def _hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every stem that a manifest or its journal vouches for, and that is there."""
    path = folder / "out" / "kill.manifest.json"
    if not path.exists():
        return {}
    manifest = read_manifest(path)
    targets = {stem.name: Path(stem.target) for stem in manifest.plan.stems}
    return {
        name: record.sha256_samples
        for name, record in manifest.stems.items()
        if targets[name].exists() and hash_samples(targets[name]) == record.sha256_samples
    }


def _said(process: subprocess.Popen[bytes]) -> str:
    """Wait for the end of a process and return what it wrote."""
    out, error = process.communicate()
    return (out + error).decode()


def _start(folder: Path, jobs: int, file_limit_bytes: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bridge.cli", "render", str(folder / "stems"), "--jobs", str(jobs)]
    command += ["--preset", str(folder / "kill.toml"), "--out", str(folder / "out")]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}

    def prepare() -> None:
        # A shell in the background passes on that it ignores Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if file_limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit_bytes, file_limit_bytes))

    return subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        preexec_fn=prepare,
    )


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


def _fill(_folder: Path, _process: subprocess.Popen[bytes], _rng: random.Random) -> None:
    """Do nothing more: the process cannot write much."""


KINDS: tuple[tuple[str, Disturb], ...] = (
    ("killed", _signal(signal.SIGKILL)),
    ("terminated", _signal(signal.SIGTERM)),
    ("interrupted", _signal(signal.SIGINT)),
    ("output folder removed", _remove),
    ("output folder replaced", _replace),
    ("stem rewritten", _rewrite),
    ("foreign file comes", _come),
    ("disk full", _fill),
)


if __name__ == "__main__":
    sys.exit(main())
