"""Partials at whole multiples of a pitch: heard in a sound, and sounded again.

A sound is written as its envelope times a sum of partials, each a slow complex amplitude on a multiple of one
phase, and what is left over::

    x(t) = E(t) v(t) sum_k Re(a_k(t) exp(2 pi i k c(t))) + rest

``c`` counts cycles of the pitch, ``v`` opens where there is a pitch. Because every partial rides on the same
phase, whatever its amplitude becomes, it stays in tune, through glides and vibrato too.

Conventions: sounds are ``(items, rows, samples)``; amplitudes are ``(items, rows, partials, points)``,
complex and a hop of the `Grid` apart, the first at sample 0.

Source:
    Engel, Hantrakul, Gu and Roberts 2020, "DDSP: Differentiable Digital Signal Processing": harmonics of one
    pitch under one loudness, beside filtered noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dream_core.runtime import widest_float

__all__ = [
    "POINTS_PER_KNOT",
    "Grid",
    "Pitch",
    "follow_envelope",
    "hear_partials",
    "pull_back",
    "sound_partials",
]

POINT_S = 0.015
"""From one amplitude to the next."""

POINTS_PER_KNOT = 4
"""A knot, at which a level can move, is 60 ms from the next."""

ENVELOPE_S = 0.005
"""How finely the envelope is measured."""

VOICING_S = 0.01
"""How long partials take to open and close where a pitch begins and ends."""

QUIETEST = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where in a window amplitudes and levels are told.

    Args:
        n_samples: Length of the sound.
        hop_samples: From one amplitude to the next.
    """

    n_samples: int
    hop_samples: int

    @classmethod
    def of(cls, n_samples: int, sample_rate: int) -> Grid:
        """Return the grid of a sound."""
        return cls(n_samples=n_samples, hop_samples=round(POINT_S * sample_rate))

    @property
    def n_blocks(self) -> int:
        """How many hops cover the sound."""
        return -(-self.n_samples // self.hop_samples)

    @property
    def n_points(self) -> int:
        """How many amplitudes there are."""
        return self.n_blocks + 1

    @property
    def n_knots(self) -> int:
        """How many levels there are."""
        return -(-self.n_blocks // POINTS_PER_KNOT) + 1

    def from_knots(self, positions: Tensor) -> Tensor:
        """Return the matrix that takes values at knots to positions in samples, straight lines between.

        Shape:
            ``(n,)`` -> ``(knots, n)``.
        """
        at = positions / float(self.hop_samples * POINTS_PER_KNOT)
        knots = torch.arange(self.n_knots, device=positions.device, dtype=at.dtype)
        return torch.clamp(1.0 - (at[None] - knots[:, None]).abs(), min=0.0)

    def points(self, device: torch.device) -> Tensor:
        """Return where the amplitudes are, in samples."""
        return torch.arange(self.n_points, device=device) * self.hop_samples

    def blocks(self, sound: Tensor) -> Tensor:
        """Cut a sound into hops, ``(..., blocks, hop)``, silence after its end."""
        missing = self.n_blocks * self.hop_samples - sound.shape[-1]
        blocks: Tensor = nn.functional.pad(sound, (0, missing)).unflatten(
            -1, (self.n_blocks, self.hop_samples)
        )
        return blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Pitch:
    """The pitch under a window and its margins.

    Args:
        f0_hz: ``(items, 1, samples)``, 0 where there is none.
        cycles: Cycles of it so far, 0..1, in the same shape.
        sample_rate: Hz.
    """

    f0_hz: Tensor
    cycles: Tensor
    sample_rate: int

    @classmethod
    def through(cls, f0_hz: Tensor, cycles: Tensor, sample_rate: int) -> Pitch:
        """Return a pitch whose cycles are counted on and back from a place where they are known.

        Where a sound begins and ends its margins have a pitch, and no cycles that anybody counted.

        Args:
            f0_hz: Under a window and its margins, ``(items, 1, samples)``.
            cycles: The same; that in the middle counts.
            sample_rate: Hz.
        """
        middle = f0_hz.shape[-1] // 2
        turned = torch.cumsum(f0_hz.to(widest_float(f0_hz.device)) / sample_rate, -1)
        # Before a sample it has not turned yet.
        turned = nn.functional.pad(turned[..., :-1], (1, 0))
        counted = (turned - turned[..., middle, None] + cycles[..., middle, None]) % 1.0
        return cls(f0_hz=f0_hz, cycles=counted.to(f0_hz.dtype), sample_rate=sample_rate)

    def at(self, grid: Grid) -> Tensor:
        """Return the pitch at the points of a grid, ``(items, points)``."""
        positions = torch.clamp(grid.points(self.f0_hz.device), max=self.f0_hz.shape[-1] - 1)
        return self.f0_hz[:, 0, positions]

    def voicing(self) -> Tensor:
        """Return 1 where there is a pitch and 0 where there is none, a raised cosine between."""
        is_voiced = (self.f0_hz > 0).to(self.f0_hz.dtype)
        if bool((is_voiced == is_voiced[..., :1]).all()):
            return is_voiced
        reach = max(1, round(0.5 * VOICING_S * self.sample_rate))
        taps = torch.hann_window(2 * reach + 3, periodic=False).to(is_voiced)[1:-1]
        padded = nn.functional.pad(is_voiced, (reach, reach), mode="replicate")
        return nn.functional.conv1d(padded, (taps / taps.sum())[None, None])

    def harmonics(self, n: int, grid: Grid) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield cosine and sine of each multiple of the phase, in blocks ``(items, 1, blocks, hop)``."""
        phase = 2.0 * math.pi * grid.blocks(self.cycles)
        first_cos, first_sin = torch.cos(phase), torch.sin(phase)
        cos, sin = first_cos, first_sin
        for k in range(n):
            if k:
                cos, sin = cos * first_cos - sin * first_sin, sin * first_cos + cos * first_sin
            yield cos, sin


def follow_envelope(sound: Tensor, sample_rate: int) -> Tensor:
    """Return the level of a sound about 25 ms around each sample, ``(items, 1, samples)``."""
    cell = max(1, round(ENVELOPE_S * sample_rate))
    n_samples = sound.shape[-1]
    power = sound.square().mean(dim=1, keepdim=True)
    cells = nn.functional.avg_pool1d(nn.functional.pad(power, (0, -n_samples % cell)), cell)
    taps = torch.hann_window(7, periodic=False, dtype=sound.dtype, device=sound.device)[1:-1]
    smooth = nn.functional.conv1d(
        nn.functional.pad(cells, (2, 2), mode="replicate"), (taps / taps.sum())[None, None]
    )
    level = torch.sqrt(torch.clamp(smooth, min=0.0))
    # From the middle of a cell to the next, straight.
    joined = nn.functional.interpolate(level, scale_factor=float(cell), mode="linear")
    return joined[..., :n_samples]


def hear_partials(sound: Tensor, pitch: Pitch, n: int, grid: Grid) -> Tensor:
    """Return the complex amplitudes of the first partials of a sound.

    A Hann window of 60 ms is so narrow in frequency that partials 50 Hz apart do not hear each other.

    Args:
        sound: ``(items, rows, samples)``, already divided by its envelope.
        pitch: Whose partials.
        n: How many.
        grid: When.
    """
    hop = grid.hop_samples
    offsets = torch.arange(-2 * hop, 2 * hop, device=sound.device, dtype=sound.dtype) / (2 * hop)
    hann = (0.5 + 0.5 * torch.cos(math.pi * offsets)) / hop
    return _project(sound, pitch, n, grid, hann.unflatten(0, (4, hop)))


def pull_back(gradient: Tensor, pitch: Pitch, n: int, grid: Grid) -> Tensor:
    """Return the gradient with respect to amplitudes, given the one with respect to what they sound.

    :func:`sound_partials` is linear; this is its adjoint: amplitudes ``dc`` further on, the objective is
    higher by the sum of ``Re(conj(g) dc)``.
    """
    return _project(gradient, pitch, n, grid, _lines(gradient, grid))


def sound_partials(amplitudes: Tensor, pitch: Pitch, grid: Grid) -> Tensor:
    """Return the sum of partials, their amplitudes going straight from point to point."""
    lines = _lines(amplitudes.real, grid)
    total = amplitudes.real.new_zeros(*amplitudes.shape[:2], grid.n_blocks, grid.hop_samples)
    ends = torch.view_as_real(torch.stack([amplitudes[..., 1:], amplitudes[..., :-1]], -1))
    # One partial at a time: all at once would not fit into a processor's cache.
    for k, (cos, sin) in enumerate(pitch.harmonics(amplitudes.shape[2], grid)):
        real, imag = (ends[:, :, k, :, :, part] @ lines for part in (0, 1))
        total.addcmul_(real, cos).addcmul_(imag, sin, value=-1.0)
    return total.flatten(-2)[..., : grid.n_samples]


def _lines(like: Tensor, grid: Grid) -> Tensor:
    """Return how much of the point after a block, and of the one before, each sample of it takes."""
    rise = torch.arange(grid.hop_samples, device=like.device, dtype=like.dtype) / grid.hop_samples
    return torch.stack([rise, 1.0 - rise])


def _project(sound: Tensor, pitch: Pitch, n: int, grid: Grid, taps: Tensor) -> Tensor:
    """Return how much of each partial there is under taps around each point.

    Args:
        sound: ``(items, rows, samples)``.
        pitch: Whose partials.
        n: How many.
        grid: When.
        taps: The weights ``(2 r, hop)`` of the ``r`` hops before a point and the ``r`` after it.
    """
    blocks = grid.blocks(sound)
    reach = taps.shape[0] // 2
    found = []
    for cos, sin in pitch.harmonics(n, grid):
        pair = torch.stack([blocks * cos, -(blocks * sin)], -3) @ taps.mT
        # Tap j of a block belongs to the point `reach - j` after the block's first.
        padded = pair.new_zeros(*pair.shape[:-2], grid.n_points + 2 * reach)
        for j in range(2 * reach):
            start = 2 * reach - j
            padded[..., start : start + grid.n_blocks] += pair[..., j]
        found.append(padded[..., reach : reach + grid.n_points])
    both = torch.stack(found, 2)
    return torch.complex(both[..., 0, :], both[..., 1, :])
