"""Resampling that a gradient passes through."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import torch
import torchaudio.functional as taf
from torch import Tensor, nn

from dream_core.dsp.framing import cut_frames

__all__ = ["resample", "resampled_length"]

_SINC_ZEROS = 16
_BLOCK_SAMPLES = 64  # of output that are worked out together
_LARGEST_PART = 1280  # of a ratio of rates, on average: filters grow with the product of its two parts


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample with a windowed sinc, differentiable; the same rate returns the very tensor.

    The filter is torchaudio's. Where few outputs share a pattern, blocks of samples times a matrix give the
    sums of its convolution, and their gradient three times sooner. Rates without a ratio in small numbers, as
    44056 Hz after a pull-down, are taken to the nearest that has one: at most 0.2 cents off.

    Shape:
        ``(..., samples)`` -> ``(..., ceil(samples * ratio))``.
    """
    if from_rate == to_rate:
        return waveform
    n_out, n_in = _ratio(to_rate, from_rate)
    if n_out >= _BLOCK_SAMPLES:
        resampled: Tensor = taf.resample(waveform, n_in, n_out, lowpass_filter_width=_SINC_ZEROS)
        return resampled
    n_blocks = math.ceil(_BLOCK_SAMPLES / n_out)
    matrix = _resampling_matrix(n_in, n_out, n_blocks, waveform.dtype, waveform.device)
    hop = n_in * n_blocks
    margin = (len(matrix) - hop) // 2
    n_samples = waveform.shape[-1]
    n_frames = math.ceil(n_samples / hop)
    padded = nn.functional.pad(waveform, (margin, n_frames * hop + margin - n_samples))
    blocks = cut_frames(padded, len(matrix), hop) @ matrix
    return blocks.flatten(-2)[..., : resampled_length(n_samples, from_rate, to_rate)]


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Return how many samples `resample` makes of so many.

    >>> resampled_length(48000, 48000, 16000)
    16000
    """
    n_out, n_in = _ratio(to_rate, from_rate)
    return math.ceil(n_samples * n_out / n_in)


def _ratio(numerator: int, denominator: int) -> tuple[int, int]:
    """Return a ratio in small numbers: exact for the rates that studios use.

    >>> _ratio(22050, 44100), _ratio(16000, 44100)
    ((1, 2), (160, 441))
    """
    small, large = sorted((numerator, denominator))
    near = Fraction(small, large)
    if near.numerator * near.denominator > _LARGEST_PART**2:
        near = near.limit_denominator(_LARGEST_PART)
    parts = near.numerator, near.denominator
    return parts if numerator < denominator else parts[::-1]


@lru_cache(maxsize=16)
def _resampling_matrix(
    n_in: int, n_out: int, n_blocks: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return what each sample of a block, and of a margin on both sides, adds to the block's output.

    Shape:
        ``(n_blocks * n_in + 2 margins, n_blocks * n_out)``.
    """
    reach = math.ceil(1.1 * _SINC_ZEROS * n_in / min(n_in, n_out))
    n_margin_blocks = math.ceil(reach / n_in)
    margin = n_margin_blocks * n_in
    first = n_margin_blocks * n_out
    with torch.inference_mode(False):  # what is kept must serve gradients too, whoever asks first
        impulses = torch.eye(n_blocks * n_in + 2 * margin, dtype=dtype, device=device)
        responses: Tensor = taf.resample(impulses, n_in, n_out, lowpass_filter_width=_SINC_ZEROS)
        return responses[:, first : first + n_blocks * n_out].contiguous()
