"""Training and searching outlive kill -9 at any moment, and end with the bits of what was not disturbed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.segments import MemorySegments, additive

from dream_core.training.loop import train
from dream_core.training.run_settings import RunSettings
from dream_core.training.search import SearchBudget, read_trials, search

SETTINGS = RunSettings(epochs=6, steps_per_epoch=3, batch_size=8, calibration_batches=1)
OPTIONS = {"widths": "8,8,12"}

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_dream_core.training import test_kills
test_kills.{what}(Path(sys.argv[1]))
"""


def small() -> MemorySegments:
    """Three classes, small."""
    return additive(n_classes=3, groups_per_class=6, segments_per_group=2, seconds=0.25)


def train_in(folder: Path) -> str:
    """Train, or go on training; returns the hash of what came of it."""
    return train(small(), "mel_full", SETTINGS, folder, options=OPTIONS, resume=True).sha256


def search_in(folder: Path) -> str:
    """Search, or go on; returns the hash of the best."""
    settings = RunSettings(epochs=2, steps_per_epoch=2, batch_size=8, calibration_batches=1)
    budget = SearchBudget(trials=12)
    return search(
        small(), "embedding_head", settings, budget, folder, base="texture:frames8", resume=True
    ).sha256


def kill(what: str, folder: Path, there: str, wait_s: float) -> None:
    """Begin in a process of its own, and end it by signal 9 a while after a file is there."""
    program = PROGRAM.format(tests=str(ROOT / "tests"), what=what)
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], cwd=ROOT, env=dict(os.environ))
    while process.poll() is None and not list(folder.glob(there)):
        time.sleep(0.005)
    time.sleep(wait_s)
    process.kill()
    process.wait()


def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path) -> None:
    chance = random.Random(3)
    whole = train_in(tmp_path / "whole")
    # The first dies at work on its first file, the second somewhere in an epoch.
    kill("train_in", tmp_path / "killed", ".reverie-*", 0.0)
    kill("train_in", tmp_path / "killed", "state.pt", chance.uniform(0.0, 0.2))

    assert train_in(tmp_path / "killed") == whole
    for name in ("evaluation.csv", "checkpoint.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert list((tmp_path / "killed").glob(".reverie-*")) == []


def test_a_search_of_twelve_trials_that_was_killed_ends_with_the_same_best(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the extra train is not installed")
    whole = search_in(tmp_path / "whole")
    kill("search_in", tmp_path / "killed", "trials/0004/state.pt", 0.0)

    assert search_in(tmp_path / "killed") == whole
    table = (tmp_path / "whole/search.csv").read_text()
    assert (tmp_path / "killed/search.csv").read_text() == table
    assert len(table.splitlines()) == 13
    assert read_trials(tmp_path / "killed") == read_trials(tmp_path / "whole")
