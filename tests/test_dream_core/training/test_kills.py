"""Training and searching outlive kill -9 at any moment, and end with the bits of what was not disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.segments import MemorySegments, additive

from dream_core.training.loop import train
from dream_core.training.run_settings import RunSettings
from dream_core.training.search import SearchBudget, read_trials, search

SETTINGS = RunSettings(epochs=4, steps_per_epoch=3, batch_size=8, calibration_batches=1)
OPTIONS = {"widths": "8,8,12"}

PROGRAM = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch._dynamo
from test_dream_core.training import test_kills
for line in sys.stdin:
    what, folder = line.rstrip().split(" ", 1)
    child = os.fork()
    if not child:
        getattr(test_kills, what)(Path(folder))
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
"""Copies itself for each that is killed: to read all modules costs more than what they do."""


@pytest.fixture(scope="module")
def begins() -> Iterator[subprocess.Popen[str]]:
    """A process that begins others."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(tests=str(ROOT / "tests"))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def small() -> MemorySegments:
    """Three classes, small."""
    return additive(n_classes=3, groups_per_class=6, segments_per_group=2, seconds=0.25)


def train_in(folder: Path) -> str:
    """Train, or go on training; returns the hash of what came of it."""
    return train(small(), "mel_full", SETTINGS, folder, options=OPTIONS, resume=True).sha256


def search_in(folder: Path) -> str:
    """Search, or go on; returns the hash of the best."""
    settings = RunSettings(epochs=1, steps_per_epoch=2, batch_size=8, calibration_batches=1)
    budget = SearchBudget(trials=12)
    return search(
        small(), "embedding_head", settings, budget, folder, base="texture:frames8", resume=True
    ).sha256


def kill(begins: subprocess.Popen[str], what: str, folder: Path, there: str, wait_s: float) -> None:
    """Begin in a process of its own, and end it by signal 9 a while after a file is there."""
    assert begins.stdin is not None
    assert begins.stdout is not None
    print(what, folder, file=begins.stdin, flush=True)
    child, deadline_s = int(begins.stdout.readline()), time.monotonic() + 300.0
    while not list(folder.glob(there)):
        assert time.monotonic() < deadline_s, f"{there} never came"
        time.sleep(0.005)
    time.sleep(wait_s)
    os.kill(child, signal.SIGKILL)
    print("end", file=begins.stdin, flush=True)
    assert begins.stdout.readline() == "ended\n"


def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    begins: subprocess.Popen[str], tmp_path: Path
) -> None:
    chance = random.Random(3)
    whole = train_in(tmp_path / "whole")
    # The first dies at work on its first file, the second somewhere in an epoch.
    kill(begins, "train_in", tmp_path / "killed", ".reverie-*/*", 0.0)
    kill(begins, "train_in", tmp_path / "killed", "state.pt", chance.uniform(0.0, 0.2))

    assert train_in(tmp_path / "killed") == whole
    for name in ("evaluation.csv", "checkpoint.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # A kill in the moment such a folder is made or removed leaves it, empty; nothing half written stays.
    assert list((tmp_path / "killed").glob(".reverie-*/*")) == []


def test_a_search_of_twelve_trials_that_was_killed_ends_with_the_same_best(
    begins: subprocess.Popen[str], tmp_path: Path
) -> None:
    pytest.importorskip("optuna", reason="the extra train is not installed")
    whole = search_in(tmp_path / "whole")
    kill(begins, "search_in", tmp_path / "killed", "trials/0004/state.pt", 0.0)

    assert search_in(tmp_path / "killed") == whole
    table = (tmp_path / "whole/search.csv").read_text()
    assert (tmp_path / "killed/search.csv").read_text() == table
    assert len(table.splitlines()) == 13
    assert read_trials(tmp_path / "killed") == read_trials(tmp_path / "whole")
