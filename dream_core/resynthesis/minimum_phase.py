"""Magnitudes to the spectrum of the filter that answers soonest."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["minimum_phase"]

_QUIETEST = 1e-9  # below the loudest bin: a logarithm needs something


def minimum_phase(magnitude: Tensor) -> Tensor:
    """Return the complex spectrum with these magnitudes whose energy comes as early as it can.

    Args:
        magnitude: At ``n_fft // 2 + 1`` bins from 0 Hz to half the rate.

    Shape:
        ``(..., bins)`` -> ``(..., bins)`` complex.

    Source:
        Oppenheim and Schafer, "Discrete-time signal processing": the real cepstrum, folded onto its causal
        half.

    >>> bool(torch.allclose(minimum_phase(torch.full((5,), 2.0)), torch.full((5,), 2.0 + 0.0j)))
    True
    """
    n_fft = 2 * (magnitude.shape[-1] - 1)
    loudest = magnitude.amax(dim=-1, keepdim=True)
    floor = torch.where(loudest > 0, _QUIETEST * loudest, 1.0)
    cepstrum = torch.fft.irfft(torch.log(torch.maximum(magnitude, floor)), n=n_fft)
    fold = torch.zeros(n_fft, dtype=magnitude.dtype, device=magnitude.device)
    fold[0] = fold[n_fft // 2] = 1.0
    fold[1 : n_fft // 2] = 2.0
    phase = torch.fft.rfft(cepstrum * fold).imag
    spectrum: Tensor = torch.polar(magnitude, phase)
    return spectrum
