"""A GPU dreams what a CPU dreams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet

from dream_core import DreamSettings, dream, load_network
from dream_core.networks.card import Network
from dream_core.objectives.listener import Listener
from dream_core.objectives.terms import layer

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU that Torch can use"),
]

RATE = 44100


def make_sound(seconds: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (110, 277, 880)) * (0.6 + 0.4 * np.sin(9 * t))
    return (0.08 * chord + 0.01 * rng.standard_normal((2, len(t)))).astype(np.float32)


@pytest.mark.parametrize("update", ["mask", "add", "hard_cut_add"])
def test_three_steps_change_the_same(update: str) -> None:
    """What three steps change on a GPU and on a CPU correlates by 0.99 and more."""
    sound = make_sound()
    settings = DreamSettings(objective="layer:block3", update=update)
    here, there = (
        dream(sound, RATE, load_network("timbre", device=device), settings, depth=3.0) - sound
        for device in ("cpu", "cuda")
    )

    assert np.corrcoef(here.ravel(), there.ravel())[0, 1] >= 0.99


def test_gradients_agree_in_double_precision() -> None:
    """In float64 the gradient to the waveform is the same to a millionth."""

    def gradient(device: str) -> torch.Tensor:
        network: Network = load_network("timbre", device=device, dtype=torch.float64)
        leaf = torch.from_numpy(make_sound().mean(axis=0)[None]).double().to(device).requires_grad_(True)
        score = Listener(network, layer("block3"), RATE).score(leaf)
        return torch.autograd.grad(score.sum(), leaf)[0].cpu()

    here, there = gradient("cpu"), gradient("cuda")

    assert float((there - here).norm() / here.norm()) <= 1e-6


def test_a_gpu_repeats_itself_whatever_shares_its_batch() -> None:
    """The same windows in other company, and twice, give the same samples bit for bit."""
    network = SmallNet().to("cuda")
    sound = make_sound(8.0)
    settings = DreamSettings(objective="layer:second", window_s=1.0)
    whole, again = (dream(sound, RATE, network, settings, depth=3.0, batch=4) for _ in range(2))
    louder_later = sound.copy()
    louder_later[:, 5 * RATE :] *= 0.5
    other = dream(louder_later, RATE, network, settings, depth=3.0, batch=4)

    assert np.array_equal(whole, again)
    # Past the windows and margins that hear the change.
    assert np.array_equal(whole[:, : 3 * RATE], other[:, : 3 * RATE])


def test_weights_that_move_and_weights_that_rest_lead_two_networks() -> None:
    """Beside a second network, terms with and without a lane change on a GPU what they change on a CPU."""
    sound = make_sound()
    settings = DreamSettings(objective="{air}*class:flute + class:brass + texture@layer:frames8")
    moving = {"air": np.linspace(0.0, 1.0, sound.shape[1])}
    here, there = (
        dream(sound, RATE, load_network("timbre", device=device), settings, depth=2.0, weights=moving) - sound
        for device in ("cpu", "cuda")
    )

    assert np.corrcoef(here.ravel(), there.ravel())[0, 1] >= 0.99
