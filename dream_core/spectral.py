"""The short-time Fourier transform and its exact inverse, for windows of sound.

Conventions: ``(..., samples)`` <-> ``(..., bins, frames)`` complex; periodic Hann on both sides; frames are
centred, the first on sample 0, with silence beyond both ends, so that every sample is covered and
``istft(stft(x))`` is ``x`` to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bin_frequencies_hz", "istft", "soft_band", "stft"]


def stft(waveform: Tensor, n_fft: int, hop_samples: int) -> Tensor:
    """Return the short-time spectrum of waveforms.

    Shape:
        ``(..., samples)`` -> ``(..., n_fft // 2 + 1, 1 + samples // hop)``.
    """
    leading = waveform.shape[:-1]
    window = torch.hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        n_fft,
        hop_samples,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.reshape(*leading, *spectrum.shape[1:])


def istft(spectrum: Tensor, n_fft: int, hop_samples: int, n_samples: int) -> Tensor:
    """Return the waveform of short-time spectra, divided by the sum of squared windows.

    Shape:
        ``(..., bins, frames)`` -> ``(..., n_samples)``.
    """
    leading = spectrum.shape[:-2]
    window = torch.hann_window(n_fft, dtype=spectrum.real.dtype, device=spectrum.device)
    waveform = torch.istft(
        spectrum.reshape(-1, *spectrum.shape[-2:]),
        n_fft,
        hop_samples,
        window=window,
        center=True,
        length=n_samples,
    )
    return waveform.reshape(*leading, n_samples)


def bin_frequencies_hz(n_fft: int, sample_rate: float, device: torch.device) -> Tensor:
    """Return the centre frequency of every bin."""
    return torch.arange(n_fft // 2 + 1, device=device, dtype=torch.float32) * (sample_rate / n_fft)


def soft_band(
    frequencies_hz: Tensor, low_hz: float, high_hz: float, transition_octaves: float = 1 / 6
) -> Tensor:
    """Return how much of each frequency belongs to a band: 1 inside, 0 outside, a cosine between.

    The transition lies inside the band, so that nothing outside ``low_hz .. high_hz`` is touched at all.

    >>> soft_band(torch.tensor([50.0, 100.0, 1000.0, 9000.0]), 100.0, 8000.0).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    octaves = torch.log2(torch.clamp(frequencies_hz, min=1e-3))

    def rise(distance_octaves: Tensor) -> Tensor:
        x = torch.clamp(distance_octaves / transition_octaves, 0.0, 1.0)
        return 0.5 - 0.5 * torch.cos(torch.pi * x)

    low = rise(octaves - torch.log2(torch.tensor(low_hz))) if low_hz > 0 else torch.ones_like(octaves)
    return low * rise(torch.log2(torch.tensor(high_hz)) - octaves)
