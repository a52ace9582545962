"""What follows the sound's own envelope: how loud a change may be, and the noise that a dream may lift."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from dream_core.dsp.framing import overlap_add

__all__ = ["envelope_guard", "excitation", "peak_guard"]

CELL_S = 0.001
"""How finely the envelope is measured."""

NEAR_CELLS = 20
"""How far away a peak of the sound lets the change have one."""

GUARD_ROOM = 2.0
"""How much power a change may have, beside the sound's: all of it taken away and as much put in its place."""

SILENT_DBFS = -60.0
"""At and below this level a guarded dream changes nothing."""

LOUD_DBFS = -48.0
"""From this level on it may change all it wants."""


def envelope_guard(original: Tensor, change: Tensor, sample_rate: int) -> Tensor:
    """Return the gain that keeps a change below the sound's own envelope, ``(items, 1, samples)``.

    A frame of a short-time transform is longer than an onset: what it changes in a drum hit is heard
    before the hit as well. The change is held to the sound's own level within a few milliseconds, and let
    go altogether where the sound is silent.

    Args:
        original: The undreamed sound, ``(items, rows, samples)``.
        change: What would be added to it.
        sample_rate: Hz.
    """
    cell = _cell_samples(sample_rate)
    sound_power, change_power = _cell_power(original, cell), _cell_power(change, cell)
    most = GUARD_ROOM * sound_power
    held = torch.sqrt(torch.clamp(most / torch.clamp(change_power, min=1e-20), max=1.0))
    level_dbfs = 10.0 * torch.log10(torch.clamp(sound_power, min=1e-20))
    opening = torch.clamp((level_dbfs - SILENT_DBFS) / (LOUD_DBFS - SILENT_DBFS), 0.0, 1.0)
    return _joined(held * opening.square() * (3.0 - 2.0 * opening), cell, original.shape[-1])


def peak_guard(original: Tensor, change: Tensor, most: float, sample_rate: int) -> Tensor:
    """Return the gain that keeps a change's peaks below the sound's own near by, ``(items, 1, samples)``.

    Args:
        original: The undreamed sound, ``(items, rows, samples)``.
        change: What would be added to it.
        most: How high the change may be, as a share of the sound's highest peak within 20 ms.
        sample_rate: Hz.
    """
    cell = _cell_samples(sample_rate)
    allowed = most * _peaks_near(original, cell, NEAR_CELLS)
    held = torch.clamp(allowed / torch.clamp(_peaks_near(change, cell, 1), min=1e-9), max=1.0)
    return _joined(held, cell, original.shape[-1])


def excitation(original: Tensor, level_db: float, seed: int, sample_rate: int) -> Tensor:
    """Return pink noise that follows the envelope of each row, ``(items, rows, samples)``.

    A gain can only turn up what is there. What a pure tone lacks, this has, too soft to be heard before it is
    turned up: the noise source of a vocoder. Rows share it, so what is panned stays where it is.

    Args:
        original: The undreamed sound, ``(items, rows, samples)``.
        level_db: Level of the noise, relative to the sound's.
        seed: Chooses the noise; it is the same on every device.
        sample_rate: Hz.
    """
    cell, n_samples = _cell_samples(sample_rate), original.shape[-1]
    level = _joined(torch.sqrt(_cell_power(original.flatten(0, 1)[:, None], cell)), cell, n_samples)
    noise = _pink_noise(n_samples, seed).to(original) * math.pow(10.0, level_db / 20.0)
    return level.view_as(original) * noise


@lru_cache(maxsize=4)
def _pink_noise(n_samples: int, seed: int) -> Tensor:
    """Return noise of level one whose power falls by 3 dB an octave; nearly all windows have one length."""
    with torch.inference_mode(False):  # what is kept must serve gradients too, whoever asks first
        white = torch.randn(n_samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        spectrum = torch.fft.rfft(white)
        pink = torch.fft.irfft(spectrum / torch.sqrt(torch.arange(len(spectrum)).clamp(min=1)), n=n_samples)
        unit: Tensor = pink / torch.sqrt(pink.square().mean())
        return unit


def _cell_samples(sample_rate: int) -> int:
    return max(1, round(CELL_S * sample_rate))


def _joined(levels: Tensor, cell_samples: int, n_samples: int) -> Tensor:
    """Go from the middle of a cell to the next along a raised cosine: what it scales keeps its band."""
    spread = torch.hann_window(2 * cell_samples, dtype=levels.dtype, device=levels.device)
    cells = nn.functional.pad(levels, (1, 1), mode="replicate")[..., None] * spread
    first_middle = cell_samples + cell_samples // 2
    return overlap_add(cells, cell_samples, first_middle + n_samples)[..., first_middle:]


def _peaks_near(sound: Tensor, cell_samples: int, reach: int) -> Tensor:
    """Return the highest sample of all rows within so many cells."""
    highest = sound.abs().amax(dim=1, keepdim=True)
    cells = nn.functional.max_pool1d(
        nn.functional.pad(highest, (0, -highest.shape[-1] % cell_samples)), cell_samples
    )
    return nn.functional.max_pool1d(cells, 2 * reach + 1, 1, padding=reach)


def _cell_power(sound: Tensor, cell_samples: int) -> Tensor:
    power = sound.square().mean(dim=1, keepdim=True)
    short = -power.shape[-1] % cell_samples
    cells = nn.functional.avg_pool1d(nn.functional.pad(power, (0, short)), cell_samples)
    # A raised cosine over seven cells.
    taps = torch.hann_window(9, periodic=False, dtype=sound.dtype, device=sound.device)[1:-1]
    return nn.functional.conv1d(cells, (taps / taps.sum())[None, None], padding=3)
