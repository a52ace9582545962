"""A pitch that is roughly known, heard exactly: partials that ride on it must not turn."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dream_core.updates.partials import Grid, Pitch, hear_partials

__all__ = ["refine_pitch"]

ROUNDS = (2, 3, 6)
"""How many partials are listened to in each round: the higher ones hear finer, once they turn slowly."""

MOST = 2.0 ** (0.5 / 12.0) - 1.0
"""At most a quarter tone a round."""


def refine_pitch(sound: Tensor, f0_hz: Tensor, sample_rate: int) -> Tensor:
    """Return a pitch moved by what a sound's partials turn against it.

    A partial that rides on the exact pitch stands still; one that turns by ``d`` Hz says that ``k`` times the
    pitch is ``d`` Hz off. All say it together, each as loud as it is (least squares).

    Args:
        sound: ``(samples,)``.
        f0_hz: ``(samples,)``, 0 where there is none; within about 50 cents.
        sample_rate: Hz.

    Source:
        Flanagan and Golden 1966, "Phase vocoder": frequency as a phase's derivative.
    """
    grid = Grid.of(len(sound), sample_rate)
    is_voiced = f0_hz > 0
    for n in ROUNDS:
        cycles = torch.cumsum(f0_hz.double() / sample_rate, 0) % 1.0
        pitch = Pitch(f0_hz=f0_hz[None, None], cycles=cycles.to(sound)[None, None], sample_rate=sample_rate)
        heard = hear_partials(sound[None, None], pitch, n, grid)[0, 0]
        pair = heard[:, 1:] * heard[:, :-1].conj()
        numbers = torch.arange(1, n + 1, device=sound.device, dtype=sound.dtype)[:, None]
        turned_hz = pair.angle() * (sample_rate / (2.0 * math.pi * grid.hop_samples))
        at = torch.clamp(grid.points(sound.device)[:-1] + grid.hop_samples // 2, max=len(sound) - 1)
        weight = pair.abs() * (numbers * f0_hz[at] < 0.45 * sample_rate)
        off_hz = (weight * numbers * turned_hz).sum(0) / ((weight * numbers.square()).sum(0) + 1e-12)
        off_hz = torch.where(is_voiced[at], off_hz, 0.0)
        # From the middle of a hop to the next, straight.
        joined = nn.functional.interpolate(
            off_hz[None, None], scale_factor=float(grid.hop_samples), mode="linear"
        )[0, 0, : len(sound)]
        moved = f0_hz + torch.clamp(joined, -MOST * f0_hz, MOST * f0_hz)
        f0_hz = torch.where(is_voiced, moved, 0.0)
    return f0_hz
