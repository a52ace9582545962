"""Gains on a sound's own spectrum that keep it as loud as it was, and the way back for a gradient.

For a log-gain ``u`` at every bin and frame of a spectrum ``X``::

    L = w B tanh(u / B)                                      bounded by B = 24 dB; w is 1 inside the band
    e = 1/2 log(sum_f w k |X|^2 / sum_f w k |exp(L) X|^2)    k is K-weighting: each frame stays as loud
    y = x + istft((exp(L + w e) - 1) X)

The derivative is written out: a step of a dream needs it once, and an automatic one would keep every stage.
Fields are ``(items, bins, frames)``; log-gains are in nepers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, reduce

import torch
from torch import Tensor

from dream_core.dsp.stft import bin_frequencies_hz, istft, istft_gradient, k_weighting, stft
from dream_core.updates.conditioning import steady
from dream_core.updates.contract import Window

__all__ = ["GAIN_BOUND", "Gains"]

GAIN_BOUND = 24.0 * math.log(10.0) / 20.0
"""B: the largest gain either way."""

MOST_LOST = 3.0 * math.log(10.0) / 20.0
"""The most that is made up for what overlapping frames do to each other."""

QUIETEST = 1e-12

_BALANCE_TURNS = 5
_LOWEST_BAND_HZ = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """What log-gains do to the spectrum of some windows.

    Args:
        spectrum: What they act on, ``(items, rows, bins, frames)``.
        weights: How much of each bin may be touched, ``(items or 1, bins, frames or 1)``.
        loudness: What of each bin's power counts: `weights` times K-weighting.
        power: How much each bin counts, ``(items, bins, frames)``.
        n_fft: Length of the transform.
        hop_samples: Its hop.
        n_samples: Length of the sound.
        bin_hz: From one bin to the next.
        keeps_energy: Whether each frame stays as loud as it was.
    """

    spectrum: Tensor
    weights: Tensor
    loudness: Tensor
    power: Tensor
    n_fft: int
    hop_samples: int
    n_samples: int
    bin_hz: float
    keeps_energy: bool

    @classmethod
    def for_window(cls, window: Window, spectrum: Tensor, n_fft: int, hop_samples: int) -> Gains:
        """Return the gains of windows, margins and all."""
        weights = window.band_weights(n_fft, hop_samples, spectrum.shape[-1], window.margin)
        frequencies_hz = bin_frequencies_hz(n_fft, window.sample_rate, spectrum.device)
        loudness = weights * k_weighting(frequencies_hz).to(weights.dtype)[:, None]
        return cls(
            spectrum=spectrum,
            weights=weights,
            loudness=loudness,
            power=loudness * _bin_power(spectrum),
            n_fft=n_fft,
            hop_samples=hop_samples,
            n_samples=window.context.shape[-1],
            bin_hz=window.sample_rate / n_fft,
            keeps_energy=window.settings.energy,
        )

    def log_gain(self, u: Tensor) -> Tensor:
        """Return the log-gains that ``u`` stands for; outside the band they are zero."""
        bounded = self.weights * (GAIN_BOUND * torch.tanh(u / GAIN_BOUND))
        if not self.keeps_energy:
            return bounded
        return bounded + self.weights * self._energy_correction(self.power * torch.exp(2.0 * bounded))

    def change(self, log_gain: Tensor) -> Tensor:
        """Return what log-gains change in the sound, ``(items, rows, samples)``."""
        shift = torch.expm1(log_gain)[:, None] * self.spectrum
        return istft(shift, self.n_fft, self.hop_samples, self.n_samples)

    def overlap_loss(self, log_gain: Tensor, others: Tensor) -> Tensor:
        """Return what each frame loses where overlapping frames, or octaves, do not agree.

        Args:
            log_gain: From :meth:`log_gain`.
            others: What other octaves change in the sound.

        Shape:
            ``(items, 1, frames)``.
        """
        heard = self.spectrum + stft(others + self.change(log_gain), self.n_fft, self.hop_samples)
        lost = self._energy_correction(self.loudness * _bin_power(heard))
        return torch.clamp(lost, -MOST_LOST, MOST_LOST)

    def balance_correction(self, log_gain: Tensor, most_nepers: float, sigma_frames: float) -> Tensor:
        """Return what brings thirds of an octave back to within so much of the sound's own.

        Bands of half a third are held, so that a third with a partial does not speak for its neighbour.
        Frames stay as loud as they are, which has the last word. What lies far below the rest of a frame may
        rise to 57 dB below it.

        Args:
            log_gain: All that is done to each bin.
            most_nepers: How far a third's level may move.
            sigma_frames: Over how long levels are taken.

        Shape:
            ``(items, bins, frames)``.

        Source:
            Fel et al. 2023, "Unlocking feature visualization for deeper networks with magnitude constrained
            optimization": hold the magnitudes' statistics, let the pattern move.
        """
        bands = _bands(self.n_fft, self.bin_hz).to(self.spectrum.real)
        power = _bin_power(self.spectrum)
        before = steady(bands @ power, sigma_frames).clamp(min=0.0)
        whole = before.sum(dim=1, keepdim=True)
        floor = 2e-6 * whole + 2e-8 * whole.amax(dim=2, keepdim=True) + QUIETEST
        correction = torch.zeros_like(log_gain)
        for _ in range(_BALANCE_TURNS):
            gain = torch.exp(2.0 * (log_gain + self.weights * correction))
            after = steady(bands @ (power * gain), sigma_frames).clamp(min=0.0)
            moved = 0.5 * torch.log((after + floor) / (before + floor))
            correction = correction - bands.mT @ (moved - torch.clamp(moved, -most_nepers, most_nepers))
            if self.keeps_energy:
                gain = torch.exp(2.0 * (log_gain + self.weights * correction))
                correction = correction + self._energy_correction(self.power * gain)
        # A frame whose gains are all within the limit cannot break it: what is around it does not move it.
        moved_far = log_gain.abs().amax(dim=1, keepdim=True) / most_nepers
        # A bin may be down by all its gain, and by as much again for the energy that others have.
        bound = 2.0 * GAIN_BOUND
        return torch.clamp(correction, -bound, bound) * torch.clamp(moved_far, max=1.0)

    def backward(self, gradient: Tensor, u: Tensor, lost: Tensor) -> Tensor:
        """Return the gradient with respect to ``u``, given the one with respect to the change.

        Args:
            gradient: ``(items, rows, samples)``.
            u: Where.
            lost: What was made up for there; it counts as fixed.
        """
        slope = torch.tanh(u / GAIN_BOUND)
        bounded = self.weights * (GAIN_BOUND * slope)
        made_up = lost
        if self.keeps_energy:
            after = self.power * torch.exp(2.0 * bounded)
            made_up = made_up + self._energy_correction(after)
        of_spectrum = istft_gradient(gradient, self.n_fft, self.hop_samples)
        aligned = _over_rows(of_spectrum.real * self.spectrum.real + of_spectrum.imag * self.spectrum.imag)
        pulled = self.weights * aligned * torch.exp(bounded + self.weights * made_up)
        if self.keeps_energy:
            pull = pulled.sum(dim=1, keepdim=True) / (after.sum(dim=1, keepdim=True) + QUIETEST)
            pulled = pulled - self.weights * after * pull
        return pulled * (1.0 - slope.square())

    def _energy_correction(self, after: Tensor) -> Tensor:
        """Return what makes frames of another power as loud as they were."""
        before = self.power.sum(dim=1, keepdim=True)
        return 0.5 * torch.log((before + QUIETEST) / (after.sum(dim=1, keepdim=True) + QUIETEST))


def _bin_power(spectrum: Tensor) -> Tensor:
    return _over_rows(spectrum.real.square() + spectrum.imag.square())


def _over_rows(field: Tensor) -> Tensor:
    """Sum over rows, of which there are few: a general sum over them is slower."""
    return reduce(torch.add, field.unbind(1))


@lru_cache(maxsize=8)
def _bands(n_fft: int, bin_hz: float) -> Tensor:
    """Return triangles half a third of an octave apart that add up to one, ``(bands, bins)``."""
    with torch.inference_mode(False):  # what is kept must serve gradients too, whoever asks first
        hz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * bin_hz
        place = 6.0 * torch.log2(torch.clamp(hz / _LOWEST_BAND_HZ, min=1.0))
        centres = torch.arange(math.ceil(float(place.max())) + 1, dtype=torch.float64)
        shares = torch.clamp(1.0 - (place - centres[:, None]).abs(), min=0.0)
        return shares[shares.sum(dim=1) > 0]
