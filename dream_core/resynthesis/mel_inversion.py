"""Mel bands back to the bins they were added up from."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mel_to_magnitude"]

_FLOOR = 1e-12
_LEAST_SHARE = 0.1  # of a band spread evenly over its bins: where a search may begin that only multiplies


def mel_to_magnitude(mel: Tensor, filterbank: Tensor, n_iterations: int = 50) -> Tensor:
    """Return magnitudes, none below 0, whose mel bands are those given, as nearly as can be.

    Many spectra have the same bands; this is one near the pseudo-inverse's, which is smooth within a band.
    Bins that no band hears are 0. Magnitudes stand for powers alike.

    Args:
        mel: Bands, none below 0.
        filterbank: As :func:`dream_core.frontend.log_mel.mel_filterbank` builds it, ``(bins, mels)``.
        n_iterations: Multiplicative updates from the positive part of the pseudo-inverse on.

    Shape:
        ``(..., frames, mels)`` -> ``(..., frames, bins)``.

    Source:
        Lee and Seung 2001, "Algorithms for non-negative matrix factorization": the update for the squared
        error, with one factor given.

    >>> bank = torch.eye(3)
    >>> mel_to_magnitude(torch.tensor([[1.0, 0.0, 2.0]]), bank)
    tensor([[1., 0., 2.]])
    """
    bank = filterbank.to(mel)
    plain = mel @ torch.linalg.pinv(bank.double()).to(mel)
    spread = (
        (mel / torch.clamp(bank.sum(dim=0), min=_FLOOR)) @ bank.T / torch.clamp(bank.sum(dim=1), min=_FLOOR)
    )
    is_heard = bank.sum(dim=1) > 0
    magnitude = torch.where(is_heard, torch.maximum(plain, _LEAST_SHARE * spread), 0.0)
    wanted = mel @ bank.T
    for _ in range(n_iterations):
        magnitude = magnitude * wanted / torch.clamp((magnitude @ bank) @ bank.T, min=_FLOOR)
    return magnitude
