"""Make one note sound like many: speed, crop, room, equaliser, noise, level, and masks on the log-mel.

Every function takes a `torch.Generator`, so a seed and an epoch give the same batches on any machine.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["crop_at_speed", "level_to", "mask_bands_and_frames", "mix_up", "recolour", "with_noise"]


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def crop_at_speed(notes: Tensor, start_samples: Tensor, speed: Tensor, n_samples: int) -> Tensor:
    """Read notes from a start at a speed, linearly interpolated; zeros before onset and after the end.

    Shape:
        notes ``(batch, samples)``, starts and speeds ``(batch,)`` -> ``(batch, n_samples)``.
    """
    padded = torch.nn.functional.pad(notes, (1, 2))
    position = start_samples[:, None] + torch.arange(n_samples) * speed[:, None] + 1.0
    position = position.clamp(0.0, padded.shape[1] - 2.0)
    index = position.floor()
    fraction = position - index
    index = index.long()
    return padded.gather(1, index) * (1.0 - fraction) + padded.gather(1, index + 1) * fraction


def recolour(waveform: Tensor, sample_rate: int, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Give every waveform a random smooth equaliser and, to half of them, a random small room.

    The equaliser has a point an octave from 40 Hz up, of 4.5 dB standard deviation, and a tilt. The room is
    noise that decays by 60 dB in 0.1 to 0.6 s. A lower strength makes both weaker.
    """
    batch, n_samples = waveform.shape
    n_fft = 1 << math.ceil(math.log2(n_samples * 1.25))
    bins_octaves = torch.log2(torch.linspace(1.0, sample_rate / 2, n_fft // 2 + 1) / 40.0).clamp(0.0, 8.0)
    knots_db = 4.5 * torch.randn((batch, 10), generator=generator)
    tilt_db = _uniform(-2.5, 2.5, (batch, 1), generator) * torch.arange(10)
    knots_db = strength * (knots_db + tilt_db - tilt_db.mean(dim=1, keepdim=True))
    index = bins_octaves.floor().long()
    fraction = bins_octaves - index
    curve_db = knots_db[:, index] * (1.0 - fraction) + knots_db[:, index + 1] * fraction
    spectrum = torch.fft.rfft(waveform, n=n_fft) * 10.0 ** (curve_db / 20.0)

    time_s = torch.arange(n_fft // 4) / sample_rate
    decay_s = _uniform(0.1, 0.6, (batch, 1), generator)
    room = torch.randn((batch, n_fft // 4), generator=generator) * 10.0 ** (-3.0 * time_s / decay_s)
    wet = (
        strength
        * _uniform(0.05, 0.6, (batch, 1), generator)
        * (torch.rand((batch, 1), generator=generator) < 0.5)
    )
    room = wet * room / room.square().sum(dim=1, keepdim=True).sqrt()
    room[:, 0] += 1.0
    coloured: Tensor = torch.fft.irfft(spectrum * torch.fft.rfft(room, n=n_fft), n=n_fft)
    return coloured[:, :n_samples]


def with_noise(waveform: Tensor, generator: torch.Generator) -> Tensor:
    """Add white noise, 25 to 60 dB under each waveform, to half of them."""
    batch = waveform.shape[0]
    rms = waveform.square().mean(dim=1, keepdim=True).sqrt()
    ratio = 10.0 ** (_uniform(-60.0, -25.0, (batch, 1), generator) / 20.0)
    present = torch.rand((batch, 1), generator=generator) < 0.5
    return waveform + present * ratio * rms * torch.randn(waveform.shape, generator=generator)


def level_to(waveform: Tensor, level_dbfs: Tensor) -> Tensor:
    """Scale every waveform to an RMS level.

    Shape:
        ``(batch, samples)``, levels ``(batch,)`` or a scalar -> ``(batch, samples)``.
    """
    rms = waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-6)
    gain = 10.0 ** (level_dbfs.reshape(-1, 1) / 20.0) / rms
    return waveform * gain


def mix_up(
    waveform: Tensor, targets: Tensor, generator: torch.Generator, probability: float
) -> tuple[Tensor, Tensor]:
    """Mix some of the batch with others of it, targets in the same shares; small shares are likelier.

    Source:
        Zhang et al. 2018, "mixup", applied to sound before the logarithm, where sounds do add.
    """
    batch = waveform.shape[0]
    partner = torch.randperm(batch, generator=generator)
    share = 0.5 * torch.rand((batch, 1), generator=generator).square()
    share = share * (torch.rand((batch, 1), generator=generator) < probability)
    mixed = (1.0 - share) * waveform + share * waveform[partner]
    return mixed, (1.0 - share) * targets + share * targets[partner]


def mask_bands_and_frames(log_mel: Tensor, silence: float, generator: torch.Generator) -> Tensor:
    """Silence one random stretch of bands and one of frames, each up to an eighth of the patch.

    Source:
        Park et al. 2019, "SpecAugment".
    """
    batch, n_frames, n_mels = log_mel.shape
    keep = torch.ones_like(log_mel, dtype=torch.bool)
    for axis, size in ((1, n_frames), (2, n_mels)):
        length = _uniform(0.0, size / 8.0, (batch, 1), generator)
        start = torch.rand((batch, 1), generator=generator) * (size - length)
        position = torch.arange(size)
        outside = (position < start) | (position >= start + length)
        keep &= outside[:, :, None] if axis == 1 else outside[:, None, :]
    return torch.where(keep, log_mel, silence)
