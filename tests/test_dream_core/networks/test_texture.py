"""The network that needs no weights: its filters follow from the seed alone."""

from __future__ import annotations

import torch

from dream_core.networks.registry import load_network
from dream_core.networks.texture import Texture
from dream_core.objectives.taps import tap


def test_the_seed_decides_the_filters() -> None:
    first, again, other = (Texture(seed).banks["frames8"][1].weight for seed in (5, 5, 6))

    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_filters_ignore_level_and_answer_to_structure() -> None:
    network = load_network("texture", dtype=torch.float64)
    flat = torch.full((1, 96, 128), 2.0, dtype=torch.float64)
    steps = flat + torch.arange(96)[None, :, None] % 2
    with tap(network, ["frames16"]) as heard:
        network(flat)
        inside_flat = heard["frames16"][:, :, 20:70]
        network(steps)
        inside_steps = heard["frames16"][:, :, 20:70]

    # Zero-sum filters on a flat patch leave the rounding of a sum of 2048 products.
    assert inside_flat.abs().max() < 1e-12
    assert inside_steps.abs().max() > 0.1


def test_longer_filters_hear_further() -> None:
    network = load_network("texture", dtype=torch.float64)
    quiet = torch.full((1, 96, 128), network.silence, dtype=torch.float64)
    click = quiet.clone()
    click[0, 48] += 5.0
    reach = []
    with tap(network, [layer.name for layer in network.card.layers]) as heard:
        network(click)
        for layer in network.card.layers:
            changed = heard[layer.name][0].abs().amax(dim=0) > 0
            reach.append(int(changed.sum()))

    assert reach == [2, 4, 8, 16, 32]
