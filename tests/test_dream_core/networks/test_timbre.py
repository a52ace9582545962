"""The shipped network: its file is the one its card promises, and it hears what instruments play."""

from __future__ import annotations

import itertools
import re

import pytest
import soundfile
import torch
from helpers.paths import SONG

from dream_core.dsp.resample import resample
from dream_core.files import hash_file
from dream_core.networks.card import Network
from dream_core.networks.registry import load_network
from dream_core.networks.timbre import CARD, CLASSES, SHIPPED_WEIGHTS


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("timbre")


@pytest.fixture(scope="module")
def patches(network: Network) -> dict[str, torch.Tensor]:
    """Return what the network looks at in twelve seconds of each stem of the example song."""
    heard = {}
    for name in ("bass", "keys", "lead"):
        sound, rate = soundfile.read(
            SONG / f"{name}.flac", dtype="float32", start=44100 * 6, frames=44100 * 12
        )
        mono = torch.from_numpy(sound).mean(dim=1)
        heard[name] = network.listen(resample(mono[None], rate, CARD.sample_rate))[0]
    return heard


def test_the_shipped_file_is_the_one_on_the_card() -> None:
    assert hash_file(SHIPPED_WEIGHTS) == CARD.sha256
    assert SHIPPED_WEIGHTS.stat().st_size <= 5_000_000


def test_the_model_card_is_about_the_shipped_file_and_states_its_accuracy() -> None:
    text = SHIPPED_WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")
    accuracy = re.search(r"^([\d.]+)% of \d+ notes", text, re.MULTILINE)

    assert CARD.sha256 in text
    assert accuracy is not None
    assert float(accuracy[1]) > 50.0  # chance is 9


@pytest.mark.parametrize(("stem", "family"), [("bass", "bass"), ("lead", "synth_lead")])
def test_the_example_songs_stems_are_heard_as_what_they_are(
    network: Network, patches: dict[str, torch.Tensor], stem: str, family: str
) -> None:
    votes = network(patches[stem]).argmax(dim=1)

    # Chords, tails and rests are in it; a plain majority would be 1/2, chance is 1/11.
    assert (votes == CLASSES.index(family)).float().mean() > 0.5


def test_logits_are_not_saturated_so_every_class_pulls(
    network: Network, patches: dict[str, torch.Tensor]
) -> None:
    heard = patches["keys"].clone().requires_grad_()
    strengths = []
    for index in range(len(CLASSES)):
        (gradient,) = torch.autograd.grad(network(heard)[:, index].mean(), heard)
        strengths.append(float(gradient.square().mean().sqrt()))

    assert min(strengths) > max(strengths) / 20


def test_loudness_hardly_changes_what_is_heard(network: Network) -> None:
    sound, rate = soundfile.read(SONG / "lead.flac", dtype="float32", start=44100 * 6, frames=44100 * 6)
    mono = resample(torch.from_numpy(sound).mean(dim=1)[None], rate, CARD.sample_rate)

    loud, quiet = (network(network.listen(gain * mono)[0]).argmax(dim=1) for gain in (1.0, 0.3))

    assert (loud == quiet).float().mean() >= 0.75


def test_steps_along_the_gradient_raise_the_class_they_were_taken_for(network: Network) -> None:
    sound = 0.05 * torch.randn(1, 2 * CARD.sample_rate, generator=torch.Generator().manual_seed(0))
    flute = CLASSES.index("flute")
    scores = []
    for _ in range(6):
        sound = sound.detach().requires_grad_()
        score = network(network.listen(sound)[0])[:, flute].mean()
        scores.append(float(score.detach()))
        (gradient,) = torch.autograd.grad(score, sound)
        sound = sound + 0.005 * gradient / gradient.std()

    assert all(later > earlier for earlier, later in itertools.pairwise(scores))
