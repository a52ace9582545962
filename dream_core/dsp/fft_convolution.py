"""Convolution along time through the frequency domain, for kernels that are long beside the sound."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["fft_conv1d"]

_MULTIPLE = 64
"""Transforms are this many samples long, or twice as many, and so on: lengths that are quick everywhere."""


def fft_conv1d(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Convolve as `torch.nn.functional.conv1d` does, without padding or bias.

    A direct convolution takes ``kernel`` products a sample and channel; here each frequency takes one. With
    strides, phases of the sound are channels of their own.

    Args:
        x: Sound, differentiable.
        weight: Kernels; with a stride their length is a multiple of it.
        stride: From one output to the next, in samples.

    Shape:
        ``(n, inputs, samples)``, ``(outputs, inputs, kernel)`` -> ``(n, outputs, frames)``.

    >>> x, weight = torch.randn(2, 3, 50), torch.randn(4, 3, 8)
    >>> torch.allclose(fft_conv1d(x, weight, 2), nn.functional.conv1d(x, weight, stride=2), atol=1e-4)
    True
    """
    n_frames = (x.shape[2] - weight.shape[2]) // stride + 1
    if stride > 1:
        x = nn.functional.pad(x, (0, -x.shape[2] % stride))
        x, weight = (one.unflatten(2, (-1, stride)).transpose(2, 3).flatten(1, 2) for one in (x, weight))
    # What wraps around lies behind the last frame.
    n_fft = x.shape[2] + -x.shape[2] % _MULTIPLE
    sound, kernels = torch.fft.rfft(x, n=n_fft), torch.fft.rfft(weight, n=n_fft).conj()
    product = torch.matmul(sound.permute(2, 0, 1), kernels.permute(2, 1, 0))
    frames: Tensor = torch.fft.irfft(product.permute(1, 2, 0), n=n_fft)[..., :n_frames]
    return frames
