"""What of a sound is no partial, turned up and down in sixteen broad bands.

Source:
    Engel et al. 2020 (DDSP): the filtered noise beside the harmonics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dream_core.dsp.stft import bin_frequencies_hz, istft, istft_gradient, k_weighting, stft
from dream_core.updates.contract import Window
from dream_core.updates.partials import Grid

__all__ = ["N_BANDS", "NoiseBands"]

N_BANDS = 16
LOWEST_HZ, HIGHEST_HZ = 80.0, 16000.0
"""Middles of the lowest and of the highest band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseBands:
    """Log-gains at knots, acting on the spectrum of a noise.

    Args:
        spectrum: Of the noise, ``(items, rows, bins, frames)``.
        weights: How much of each bin may be touched, ``(items or 1, bins, frames or 1)``.
        shares: What each band's gain counts at each bin, ``(bands, bins)``; their sum is one.
        from_knots: What each knot counts in each frame, ``(knots, frames)``.
        n_fft: Length of the transform.
        hop_samples: Its hop.
        n_samples: Length of the sound.
        sample_rate: Hz.
    """

    spectrum: Tensor
    weights: Tensor
    shares: Tensor
    from_knots: Tensor
    n_fft: int
    hop_samples: int
    n_samples: int
    sample_rate: int

    @classmethod
    def for_window(cls, window: Window, spectrum: Tensor, grid: Grid) -> NoiseBands:
        """Return the bands of windows, margins and all."""
        n_fft, hop_samples, n_frames = window.n_fft, window.hop_samples, spectrum.shape[-1]
        like = spectrum.real
        positions = torch.arange(n_frames, device=like.device, dtype=like.dtype) * hop_samples
        frequencies_hz = bin_frequencies_hz(n_fft, window.sample_rate, like.device)
        return cls(
            spectrum=spectrum,
            weights=window.band_weights(n_fft, hop_samples, n_frames, window.margin),
            shares=_shares(frequencies_hz).to(like),
            from_knots=grid.from_knots(positions),
            n_fft=n_fft,
            hop_samples=hop_samples,
            n_samples=grid.n_samples,
            sample_rate=window.sample_rate,
        )

    def change(self, log_gains: Tensor) -> Tensor:
        """Return what log-gains ``(items, bands, knots)`` change, ``(items, rows, samples)``."""
        shift = torch.expm1(self._at_bins(log_gains))[:, None] * self.spectrum
        return istft(shift, self.n_fft, self.hop_samples, self.n_samples)

    def backward(self, gradient: Tensor, log_gains: Tensor) -> Tensor:
        """Return the gradient with respect to log-gains, given the one with respect to their change."""
        of_spectrum = istft_gradient(gradient, self.n_fft, self.hop_samples)
        aligned = of_spectrum.real * self.spectrum.real + of_spectrum.imag * self.spectrum.imag
        pulled = self.weights * aligned.sum(dim=1) * torch.exp(self._at_bins(log_gains))
        return self.shares @ pulled @ self.from_knots.mT

    def loudness(self) -> Tensor:
        """Return the K-weighted power of each band around each knot, summed over rows."""
        return self._at_knots(self.shares @ self._power(self.spectrum))

    def loudness_of(self, sound: Tensor) -> Tensor:
        """Return the K-weighted power of a sound's band around each knot, ``(items, 1, knots)``."""
        power = self._power(stft(sound, self.n_fft, self.hop_samples))
        return self._at_knots(power.sum(dim=1, keepdim=True))

    def _power(self, spectrum: Tensor) -> Tensor:
        frequencies_hz = bin_frequencies_hz(self.n_fft, self.sample_rate, spectrum.device)
        counts = self.weights * k_weighting(frequencies_hz).to(self.weights)[:, None]
        # Of a Hann window the mean square is 3/8; bins stand for their mirror images too.
        scale = 2.0 / (0.375 * self.n_fft**2)
        return scale * counts * (spectrum.real.square() + spectrum.imag.square()).sum(dim=1)

    def _at_knots(self, power: Tensor) -> Tensor:
        near = self.from_knots / self.from_knots.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return power @ near.mT

    def _at_bins(self, log_gains: Tensor) -> Tensor:
        return self.weights * (self.shares.mT @ (log_gains @ self.from_knots))


def _shares(frequencies_hz: Tensor) -> Tensor:
    """Return triangles over the logarithm of frequency; the outermost bands go on to both ends."""
    middle = torch.log2(torch.clamp(frequencies_hz, LOWEST_HZ, HIGHEST_HZ) / LOWEST_HZ)
    place = middle * ((N_BANDS - 1) / math.log2(HIGHEST_HZ / LOWEST_HZ))
    bands = torch.arange(N_BANDS, device=place.device)[:, None]
    return torch.clamp(1.0 - (place[None] - bands).abs(), min=0.0)
