"""The recipe of the shipped network: today's loop gives the bits of the one that trained it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import timbre_loop
from helpers.note_tables import harmonic_notes

from dream_core.networks.mel_cnn import KIND, MelCnn
from dream_core.training.loop import begin_run, run_record
from dream_core.training.notes import NoteTable
from dream_core.training.run import EpochReport
from dream_core.training.run_settings import RunSettings
from dream_core.training.segment_rows import RowParts
from dream_core.training.timbre import NoteSegments, TimbreOptions, learn_timbre

SMALL = {
    "epochs": 1,
    "attack_epochs": 1,
    "steps_per_epoch": 2,
    "batch_size": 4,
    "seed": 3,
    "calibration_batches": 1,
    "attack_ramp_epochs": 0,
    "gentle_epochs": 1,
}


@pytest.fixture(scope="module")
def tones() -> NoteTable:
    """Three presets of each family."""
    return harmonic_notes()


def run(
    notes: NoteTable, folder: Path, report: Callable[[EpochReport], None] = lambda _told: None
) -> dict[str, torch.Tensor]:
    """Train by today's loop, or go on; returns the network's tensors."""
    settings = RunSettings(**SMALL, ema_ramp=1.0, keep="last")
    segments, none = NoteSegments(notes), np.zeros(0, np.int64)
    learner = learn_timbre(notes, settings, TimbreOptions(), "timbre")
    parts = RowParts(np.flatnonzero(~notes.held_out), none, np.flatnonzero(notes.held_out), none)
    record = run_record(segments, KIND, settings, "timbre", {}, "", torch.device("cpu"))
    begun = begin_run(learner, segments, parts, settings, record, folder, torch.device("cpu"), True)
    while not begun.is_done:
        report(begun.epoch())
    network = learner.finish(begun.best_module())
    assert isinstance(network, MelCnn)
    return network.state_dict()


@pytest.fixture(scope="module")
def expected(tones: NoteTable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """What the old loop makes of them."""
    folder = tmp_path_factory.mktemp("old")
    network, _ = timbre_loop.train(tones, folder, timbre_loop.TrainingSettings(**SMALL))
    return network.state_dict()


def test_todays_loop_gives_the_bits_of_the_one_that_trained_timbre(
    tones: NoteTable, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Plain steps, steps under attack, the mean's normalisation, both heads: every tensor, bit for bit."""
    found = run(tones, tmp_path)

    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_the_recipe_that_was_stopped_goes_on_to_the_same_bits(
    tones: NoteTable, expected: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    def stop(_told: EpochReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path, stop)
    torch.rand(3)  # nothing outside the run has a part in it
    found = run(tones, tmp_path)

    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
