"""What steps are made of: gradients as loud as the sound they belong to, kept within a band."""

from __future__ import annotations

import torch
from torch import Tensor

from dream_core.dsp.stft import istft, stft
from dream_core.updates.contract import Window

__all__ = ["band_limited", "cross_fade", "loudness_scaled"]


def loudness_scaled(gradient: Tensor, window: Window, sound: Tensor) -> Tensor:
    """Return a gradient as loud as a sound, so that a step means the same at every level."""
    level = window.rms(gradient)
    return torch.where(level > 0, gradient / torch.where(level > 0, level, 1.0), 0.0) * window.rms(sound)


def band_limited(change: Tensor, window: Window) -> Tensor:
    """Return what of a change lies in the band the dream may touch."""
    spectrum = stft(change, window.n_fft, window.hop_samples)
    weights = window.band_weights(window.n_fft, window.hop_samples, spectrum.shape[-1])
    spectrum = spectrum * weights[:, None]
    return istft(spectrum, window.n_fft, window.hop_samples, change.shape[-1])


def cross_fade(window: Window, other: Tensor) -> Tensor:
    """Replace the sound's band by another sound of that band; what lies outside stays."""
    sound = window.current
    share = torch.clamp(torch.as_tensor(window.step, dtype=sound.dtype, device=sound.device), max=1.0)
    return sound + share * (other - band_limited(sound, window))
