"""Classes as objectives: which one `auto` takes, who has a say in it, and where the gradient goes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from helpers.paths import SHARED
from torch import Tensor

from dream_core.dsp.resample import resample
from dream_core.errors import ClassNotFoundError
from dream_core.loop.dream import dream
from dream_core.networks import yamnet_files
from dream_core.networks.card import NetworkCard
from dream_core.objectives.classes import class_activation, class_index, logit, patch_weights
from dream_core.objectives.objective import LOGITS, Activations, Objective
from dream_core.settings import DreamSettings


def card(classes: tuple[str, ...] = ("a", "b", "c"), **fields: object) -> NetworkCard:
    known = {"outputs": "independent", **fields}
    return replace(SmallNet().card, classes=classes, **known)  # type: ignore[arg-type]


def score(objective: Objective, logits: Tensor, energy: Tensor, of: NetworkCard) -> Tensor:
    return objective.terms[0].score(Activations({LOGITS: logits}, of, energy))


def test_auto_takes_the_largest_mean_probability_not_the_largest_mean_logit() -> None:
    """One patch with a huge logit does not outvote three that are sure of another class."""
    logits = torch.tensor([[[2.0, -5.0, -9.0]] * 3 + [[-9.0, 300.0, -9.0]]])
    energy = torch.ones(1, 4)

    auto, named = (score(class_activation(name), logits, energy, card()) for name in ("auto", "a"))
    assert torch.equal(auto, named)
    assert torch.equal(*(score(logit(name), logits, energy, card()) for name in ("auto", "b")))


def test_a_silent_patch_has_no_vote() -> None:
    """Patches of silence change neither the choice nor the score, whatever the network makes of them."""
    of = card(("a", "b", "Silence"))
    sounding = torch.tensor([[[1.0, 0.0, -5.0]] * 2])
    padded = torch.cat([sounding, torch.tensor([[[-9.0, 9.0, 90.0]] * 6])], dim=1)
    energy = torch.tensor([[1.0, 0.5] + [0.0] * 6])

    of_two = score(class_activation("auto"), sounding, energy[:, :2], of)
    assert torch.equal(score(class_activation("auto"), padded, energy, of), of_two)
    assert torch.equal(of_two, score(class_activation("a"), sounding, energy[:, :2], of))


def test_silence_is_not_what_a_sound_dreams_of() -> None:
    """Though a network is surest of it in every patch."""
    of = card(("a", "b", "Silence"))
    logits, energy = torch.tensor([[[1.0, 0.0, 9.0]] * 2]), torch.ones(1, 2)
    auto, named = (score(class_activation(name), logits, energy, of) for name in ("auto", "a"))
    assert torch.equal(auto, named)


def test_patches_count_by_their_level_in_decibels() -> None:
    """The loudest counts whole, one 30 dB below it half as much, one 60 dB below it not at all."""
    weights = patch_weights(torch.tensor([[1e-9, 1e-12, 1e-15, 0.0]]), torch.zeros(1, 4, 1))
    assert weights.tolist()[0] == pytest.approx([2 / 3, 1 / 3, 0, 0], abs=1e-6)
    assert patch_weights(torch.zeros(1, 4), torch.zeros(1, 4, 1)).tolist() == [[0.25] * 4]


@pytest.mark.parametrize("outputs", ["independent", "exclusive"])
def test_the_score_is_the_logarithm_of_the_mean_probability(outputs: str) -> None:
    """But for a tenth of the mean logit, as computed in float64 by the definition."""
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (2, 5, 3)))
    of = card(outputs=outputs)
    probability = logits.sigmoid() if outputs == "independent" else logits.softmax(dim=2)
    expected = probability[:, :, 1].mean(dim=1).log() + 0.1 * logits[:, :, 1].mean(dim=1)

    found = score(class_activation("b"), logits, torch.ones(2, 5, dtype=torch.float64), of)
    assert torch.allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("value", [-200.0, 200.0])
def test_certainty_leaves_a_direction(value: float) -> None:
    """Where a probability is 0 or 1 to the last bit, the gradient is neither zero nor infinite."""
    logits = torch.full((1, 2, 3), value, requires_grad=True)
    score(class_activation("a"), logits, torch.ones(1, 2), card()).sum().backward()

    assert logits.grad is not None
    assert bool((logits.grad[:, :, 0] > 0.01).all())
    assert bool(torch.isfinite(logits.grad).all())


def test_notes_go_by_either_of_their_names() -> None:
    """A network of notes is asked in the names the project has, sharps or flats."""
    of = card(("A3", "A#3", "B3"), keys=(69, 70, 71))
    assert [class_index(name, of) for name in ("A3", "a#3", "Bb3", "71")] == [0, 1, 1, 2]
    with pytest.raises(ClassNotFoundError, match="knows no class 'C3'"):
        class_index("C3", of)


@pytest.mark.skipif(not (SHARED / "weights/yamnet.h5").is_file(), reason="YAMNet's weights are not here")
def test_a_whistle_dreams_of_whistling() -> None:
    """Ten default steps of `class:auto` on a real whistle: the class is Whistling, its probability .95."""
    import soundfile

    network = yamnet_files.load(SHARED / "weights/yamnet.h5").float().eval().requires_grad_(False)
    names = yamnet_files.read_class_map(SHARED / "weights/yamnet_class_map.csv")
    sound, rate = soundfile.read(SHARED / "audio/whistle.wav", dtype="float32", always_2d=True)
    dreamed = dream(np.ascontiguousarray(sound.T), rate, network, DreamSettings(objective="class:auto"), 10.0)
    patches = network.listen(resample(torch.from_numpy(dreamed), rate, 16000))[0]
    probability = network(patches).sigmoid().mean(dim=0)

    assert names[int(probability.argmax())] == "Whistling"
    assert float(probability.max()) >= 0.95
