"""Fields on a network's grid brought to that of the session's transform, straight from place to place."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from dream_core.frontend.log_mel import FrontendSpec, mel_filterbank

__all__ = ["along", "band_centres_hz", "band_positions", "frame_middle_s", "matching_n_fft"]


def matching_n_fft(spec: FrontendSpec, sample_rate: int) -> int:
    """Return the transform length at a rate that sees about what a network's frames see, a power of two.

    >>> matching_n_fft(FrontendSpec(sample_rate=16000), 44100)
    1024
    """
    return int(max(256, 2 ** round(math.log2(spec.window_samples * sample_rate / spec.sample_rate))))


def frame_middle_s(spec: FrontendSpec) -> float:
    """Return where the middle of a network's first frame is, in seconds from where the sound begins."""
    return (spec.window_samples / 2 - spec.lead_samples) / spec.sample_rate


@lru_cache(maxsize=16)
def band_centres_hz(spec: FrontendSpec) -> Tensor:
    """Return the middle frequency of each mel band, weighted as the band is."""
    with torch.inference_mode(False):  # what is kept must serve gradients too, whoever asks first
        bank = mel_filterbank(
            spec.n_mels, spec.n_fft, spec.sample_rate, spec.f_min_hz, spec.f_max_hz, mel=spec.mel
        )
        bins_hz = torch.linspace(0.0, spec.sample_rate / 2, len(bank), dtype=torch.float64)[:, None]
        total = bank.sum(dim=0)
        # Bands narrower than a bin may hear none: they lie where their neighbours leave room.
        middle = torch.where(total > 0, (bank * bins_hz).sum(dim=0) / torch.clamp(total, min=1e-12), -1.0)
        known = torch.nonzero(middle >= 0).flatten()
        positions = torch.arange(spec.n_mels, dtype=torch.float64)
        return _interpolated(middle[known][None], _position_in(positions, known.double()))[0]


def along(values: Tensor, positions: Tensor, dim: int) -> Tensor:
    """Return a field at fractional places along one of its dimensions; beyond its ends it holds.

    Args:
        values: Any field.
        positions: ``(n,)``, in places of that dimension.
        dim: Which.
    """
    moved = values.movedim(dim, -1)
    return _interpolated(moved, positions.to(values.device)).movedim(-1, dim)


def _interpolated(values: Tensor, positions: Tensor) -> Tensor:
    last = values.shape[-1] - 1
    positions = torch.clamp(positions, 0.0, last)
    low = torch.clamp(positions.floor().long(), max=max(0, last - 1))
    share = (positions - low).to(values)
    return torch.lerp(values[..., low], values[..., torch.clamp(low + 1, max=last)], share)


def _position_in(values: Tensor, ascending: Tensor) -> Tensor:
    """Return where values lie among ascending ones, as fractional indices, going on beyond their ends."""
    if len(ascending) == 1:
        return torch.zeros_like(values)
    above = torch.clamp(torch.searchsorted(ascending, values), 1, len(ascending) - 1)
    low, high = ascending[above - 1], ascending[above]
    return above - 1 + (values - low) / (high - low)


def band_positions(spec: FrontendSpec, frequencies_hz: Tensor, n_bands: int) -> Tensor:
    """Return where frequencies lie in a field of so many bands, spread evenly over a network's mel bands."""
    place = _position_in(frequencies_hz.double().cpu(), band_centres_hz(spec))
    return (place + 0.5) * n_bands / spec.n_mels - 0.5
