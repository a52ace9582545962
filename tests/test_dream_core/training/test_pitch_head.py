"""A second head hears the pitch class: its targets, its loss, and what a dream makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.segments import additive, played

from dream_core import dream, load_network
from dream_core.errors import SettingError
from dream_core.networks.card import PITCH_CLASSES, head_sizes
from dream_core.objectives.classes import class_probabilities
from dream_core.settings import DreamSettings
from dream_core.training.hearing import OTHER, hear_segments
from dream_core.training.learners import learner_for
from dream_core.training.loop import train
from dream_core.training.pitch_head import WEIGHT, two_head_loss
from dream_core.training.run_file import read_run_file
from dream_core.training.run_settings import RunSettings

SETTINGS = RunSettings(epochs=1, steps_per_epoch=3, batch_size=6, calibration_batches=1, heard_share=0.0)
OPTIONS = {"widths": "8,8"}


def test_a_network_of_two_heads_names_pitch_classes_to_dream_of(tmp_path: Path) -> None:
    """Probabilities of each head sum to one; whoever judges its classes is told nothing of the other."""
    segments = played(12)
    made = train(segments, "mel_full", SETTINGS, tmp_path / "run", options=OPTIONS, with_pitch=True)
    network = load_network(str(made.path))

    assert network.card.classes == ("even", "odd", *PITCH_CLASSES)
    assert head_sizes(network.card) == (2, 12)
    sound = segments.sounds(np.arange(1))
    found = class_probabilities(network(network.listen(sound)[0]), network.card)
    torch.testing.assert_close(found[:, :2].sum(dim=1), torch.ones(len(found)))
    torch.testing.assert_close(found[:, 2:].sum(dim=1), torch.ones(len(found)))
    heard = hear_segments(network, segments, np.arange(6))
    assert heard.probabilities.shape[1] == 3, OTHER
    np.testing.assert_allclose(heard.probabilities[:, :2].sum(axis=1), 1.0, atol=1e-6)
    assert heard.probabilities[:, 2].max() == 0.0
    dreamed = dream(sound.numpy(), 16000, network, DreamSettings(objective="class:pitch_A"), 1.0)
    assert not np.array_equal(dreamed, sound.numpy())
    assert read_run_file(str(tmp_path / "run" / "run.toml")).with_pitch
    with pytest.raises(SettingError, match="holds another run: with_pitch"):
        train(segments, "mel_full", SETTINGS, tmp_path / "run", resume=True, options=OPTIONS)


def test_the_second_head_learns_the_pitch_class() -> None:
    """Sixty steps on tones without augmentation bring its loss below half of what knowing nothing gives."""
    segments = played(24)
    learner = learner_for("mel_full", {"widths": "24,24", "dropout": "0"}, segments, "x", 0, with_pitch=True)
    rows = np.arange(24)
    optimiser = torch.optim.AdamW(learner.module.parameters(), lr=1e-2)
    for inputs, targets in learner.batches(rows, 60, 12, (0, 0), 0.0):
        optimiser.zero_grad()
        learner.loss(learner.module(inputs), targets, 0.0).backward()
        optimiser.step()
    logits = learner.module.eval()(learner.plain(rows))[:, 2:]
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(segments.pitches % 12))
    assert float(loss.detach()) < 0.5 * np.log(12.0)


def test_segments_of_unknown_key_teach_the_first_head_alone() -> None:
    loss = two_head_loss(2)
    logits = torch.randn(3, 14, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(3, 14)
    targets[:, 0] = 1.0
    first = torch.nn.functional.cross_entropy(logits[:, :2], targets[:, :2], label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, targets, 0.1), first)
    targets[1, 2 + 9] = 1.0
    second = torch.nn.functional.cross_entropy(logits[1:2, 2:], targets[1:2, 2:], label_smoothing=0.1)
    torch.testing.assert_close(loss(logits, targets, 0.1), first + WEIGHT * second)


def test_a_second_head_is_refused_where_nothing_could_teach_it() -> None:
    with pytest.raises(SettingError, match="no segment that is learnt from has a pitch"):
        learner_for("mel_full", {}, additive(2, 2, 1), "x", 0, with_pitch=True)
    with pytest.raises(SettingError, match="kind keys takes no second head"):
        learner_for("keys", {}, played(4), "x", 0, with_pitch=True)
