"""What looks at the waveform itself: a bank of filters that are learnt, or plain convolutions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.networks.kinds.blocks import Decimate, Mean
from dream_core.networks.kinds.mel_bodies import Chain
from dream_core.networks.kinds.options import WaveFilterbankOptions, WavePlainOptions

__all__ = ["gabor_filters", "wave_filterbank", "wave_plain"]

_TAPS = 512
_STRIDE = 128
_BAND_HZ = (40.0, 7600.0)
_FLOOR = 1e-3
_PLAIN = ((64, 8), (9, 4), (9, 4), (9, 4), (5, 4))
"""Length and stride of the plain convolutions."""


def gabor_filters(n_filters: int, sample_rate: int, taps: int = _TAPS) -> NDArray[np.float32]:
    """Return complex filters on the mel scale, 40 Hz up: real parts, then imaginary ones.

    Each is a wave under a bell whose width in hertz is the way to the next; the bell's sum is 1.

    Args:
        n_filters: How many.
        sample_rate: Hz.
        taps: Samples of each.

    Shape:
        ``(2 * n_filters, 1, taps)``.

    >>> gabor_filters(4, 16000).shape
    (8, 1, 512)
    """
    highest_hz = min(_BAND_HZ[1], 0.475 * sample_rate)
    lowest, highest = (1127.0 * np.log1p(hz / 700.0) for hz in (_BAND_HZ[0], highest_hz))
    mels = np.linspace(lowest, highest, n_filters + 1)
    edges_hz = 700.0 * np.expm1(mels / 1127.0)
    centres_hz, widths_hz = (edges_hz[1:] + edges_hz[:-1]) / 2.0, np.diff(edges_hz)
    time_s = (np.arange(taps) - (taps - 1) / 2.0) / sample_rate
    bells = np.exp(-0.5 * (0.6 * np.pi * time_s * widths_hz[:, None]) ** 2)
    bells /= bells.sum(axis=1, keepdims=True)
    phases = 2.0 * np.pi * centres_hz[:, None] * time_s
    filters = np.concatenate([bells * np.cos(phases), bells * np.sin(phases)])
    return filters[:, None].astype(np.float32)


class _Filterbank(nn.Module):
    """The logarithm of what complex filters let through, normalised."""

    def __init__(self, n_filters: int, sample_rate: int) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.from_numpy(gabor_filters(n_filters, sample_rate)))
        self.norm = nn.BatchNorm1d(n_filters)

    def forward(self, sound: Tensor) -> Tensor:
        both = nn.functional.conv1d(sound, self.filters, stride=_STRIDE, padding=_TAPS // 2)
        real, imaginary = both.chunk(2, dim=1)
        # The smallest number keeps the root's slope finite in silence.
        magnitude = torch.sqrt(real.square() + imaginary.square() + _FLOOR**4)
        heard: Tensor = self.norm(torch.log(magnitude + _FLOOR))
        return heard


class _OneChannel(nn.Module):
    def forward(self, patches: Tensor) -> Tensor:
        return patches.unsqueeze(1)


def _convolution(n_inputs: int, width: int, kernel: int, stride: int, antialias: bool) -> nn.Sequential:
    """Convolve at every step, and leave out steps only behind a low-pass."""
    own_stride = 1 if antialias else stride
    left = (kernel - 1) // 2
    return nn.Sequential(
        nn.ConstantPad1d((left, kernel - 1 - left), 0.0),
        nn.Conv1d(n_inputs, width, kernel, stride=own_stride),
        nn.BatchNorm1d(width),
        nn.SiLU(),
        Decimate(stride, antialias=True) if antialias else nn.Identity(),
    )


def wave_filterbank(
    options: WaveFilterbankOptions, patch_samples: int, sample_rate: int, n_classes: int
) -> Chain:
    """Build a bank of learnt filters and convolutions on their magnitudes.

    Shape:
        ``(n, samples)`` -> ``(n, classes)``.
    """
    del patch_samples
    bank = _Filterbank(options.filters, sample_rate)
    parts: dict[str, tuple[nn.Module, int]] = {"filterbank": (bank, options.filters)}
    n_inputs = options.filters
    for index, width in enumerate(options.widths, start=1):
        parts[f"conv{index}"] = _convolution(n_inputs, width, 5, 2, options.antialias), width
        n_inputs = width
    last = nn.Sequential(Mean(), nn.Dropout(options.dropout), nn.Linear(n_inputs, n_classes))
    return Chain(_OneChannel(), {**parts, "logits": (last, n_classes)})


def wave_plain(options: WavePlainOptions, patch_samples: int, sample_rate: int, n_classes: int) -> Chain:
    """Build convolutions on samples.

    Shape:
        ``(n, samples)`` -> ``(n, classes)``.
    """
    del patch_samples, sample_rate
    parts: dict[str, tuple[nn.Module, int]] = {}
    n_inputs = 1
    for index, (width, (kernel, stride)) in enumerate(zip(options.widths, _PLAIN, strict=False), start=1):
        parts[f"conv{index}"] = _convolution(n_inputs, width, kernel, stride, options.antialias), width
        n_inputs = width
    last = nn.Sequential(Mean(), nn.Dropout(options.dropout), nn.Linear(n_inputs, n_classes))
    return Chain(_OneChannel(), {**parts, "logits": (last, n_classes)})
