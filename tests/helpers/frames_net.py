"""A loop of two seconds, and small networks that play on: one has learnt it, others are random."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from dream_core.frames.network import FramesNet, FramesSpec
from dream_core.frames.training import FrameTraining, TrainedFrames, train_frames

RATE = 8000
SPEC = FramesSpec(sample_rate=RATE, frame_samples=200, width=128)
TRAINING = FrameTraining(
    spec=SPEC,
    steps=140,
    sequence_frames=50,
    learning_rate=6e-3,
    last_learning_rate=6e-4,
    is_loop=True,
)


def loop(repeats: int = 1) -> Tensor:
    """Return two seconds at 120 BPM: two drums and a hat, each a tone or noise that dies away."""
    generator = torch.Generator().manual_seed(5)
    times = torch.arange(RATE // 2) / RATE
    low = 0.5 * torch.sin(2 * math.pi * 90 * times) * torch.exp(-9 * times)
    noise = torch.randn(len(times), generator=generator)
    high = (0.15 * noise + 0.2 * torch.sin(2 * math.pi * 330 * times)) * torch.exp(-18 * times)
    hat = 0.1 * noise.roll(7) * torch.exp(-60 * times)
    sound = torch.cat([low, high, low, high])
    for at in range(RATE // 4, len(sound), RATE // 2):
        sound[at : at + RATE // 4] += hat[: RATE // 4]
    return sound.repeat(repeats)


@cache
def trained() -> TrainedFrames:
    """Return a network that has learnt the loop."""
    return train_frames([loop()], RATE, TRAINING)


def untrained(seed: int = 0, **shape: object) -> FramesNet:
    """Return a network of random weights, as loud as the loop."""
    spec = FramesSpec(**{"sample_rate": RATE, "frame_samples": 128, "width": 16, **shape})  # type: ignore[arg-type]
    torch.manual_seed(seed)
    network = FramesNet(spec).eval().requires_grad_(False)
    network.learn_scale([network.hear(loop()[None])])
    network.residual.fill_(0.5)
    return network
