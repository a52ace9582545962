"""The network of `musicnn`, without its weights.

Its first filters look at most of the spectrum at once, or along time in each band; then a maximum over
frequency, three convolutions over time, and the maximum and the mean over time. There is no hierarchy of
pooling: up to the last step it hears at the full resolution of its frames.

A maximum sends its gradient to one place alone: to one band a frame, and to one frame in three seconds. By
default the way back is that of a soft maximum, and the way there stays exact. Over frequency that is
``logsumexp(10 x) / 10``. Over time the channels differ too much in size for one sharpness: there ``10`` is
one over the channel's own standard deviation in the patch.

Source:
    Pons et al. 2018, "End-to-end learning for music audio tagging at scale".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.log_mel_network import LogMelNetwork

__all__ = [
    "KERNELS",
    "LAYERS",
    "NORMS",
    "N_CLASSES",
    "N_PARAMETERS",
    "N_PENULTIMATE",
    "N_POOLED",
    "SPEC",
    "TEMPORAL_FRAMES",
    "TIMBRAL",
    "Musicnn",
]

SPEC = FrontendSpec(
    sample_rate=16000,
    window_samples=512,
    hop_samples=256,
    n_fft=512,
    n_mels=96,
    f_min_hz=0.0,
    f_max_hz=8000.0,
    log_offset=1e-4,
    patch_frames=187,
    patch_hop_frames=93,
    mel="slaney",
    power=2,
    centred=True,
    compress="log10",
)

N_CLASSES = 50
# (frames, bands) of the first filters, in the published order, and how many there are of each.
TIMBRAL = ((7, 38), (7, 67))
_N_TIMBRAL = 204
TEMPORAL_FRAMES = (128, 64, 32)
_N_TEMPORAL = 51
_N_FRONT = len(TIMBRAL) * _N_TIMBRAL + len(TEMPORAL_FRAMES) * _N_TEMPORAL
_N_MIDDLE = 64
_MIDDLE_FRAMES = 7
N_POOLED = _N_FRONT + 3 * _N_MIDDLE
N_PENULTIMATE = 200
_SHARPNESS = 10.0
_SMALLEST_SPREAD = 1e-6


def _kernels() -> Iterator[tuple[int, int, int, int]]:
    """Yield the shapes of the convolutions in Torch's layout, in the published order."""
    for n_frames, n_bands in TIMBRAL:
        yield (_N_TIMBRAL, 1, n_frames, n_bands)
    for n_frames in TEMPORAL_FRAMES:
        yield (_N_TEMPORAL, 1, n_frames, 1)
    for n_channels in (_N_FRONT, _N_MIDDLE, _N_MIDDLE):
        yield (_N_MIDDLE, 1, _MIDDLE_FRAMES, n_channels)


KERNELS = tuple(_kernels())
NORMS = (1, *(kernel[0] for kernel in KERNELS), 2 * N_POOLED, N_PENULTIMATE)
"""Channels of the batch normalisations, in the published order."""

N_PARAMETERS = (
    sum(math.prod(kernel) + kernel[0] for kernel in KERNELS)
    + 2 * sum(n_channels for n_channels in NORMS if n_channels != 2 * N_POOLED)
    + (2 * N_POOLED + 1) * N_PENULTIMATE
    + (N_PENULTIMATE + 1) * N_CLASSES
)
"""Kernels, biases and the normalisations' scales and shifts, but for the one folded into `dense`."""

LAYERS = (
    LayerInfo(name="timbral", n_channels=len(TIMBRAL) * _N_TIMBRAL),
    LayerInfo(name="temporal", n_channels=len(TEMPORAL_FRAMES) * _N_TEMPORAL),
    LayerInfo(name="cnn1", n_channels=_N_MIDDLE),
    LayerInfo(name="cnn2", n_channels=_N_MIDDLE),
    LayerInfo(name="cnn3", n_channels=_N_MIDDLE),
    LayerInfo(name="max_pool", n_channels=N_POOLED),
    LayerInfo(name="mean_pool", n_channels=N_POOLED),
    LayerInfo(name="penultimate", n_channels=N_PENULTIMATE),
    LayerInfo(name="logits", n_channels=N_CLASSES),
)


class _SoftMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sharpness: float | None) -> Tensor:
        ctx.sharpness = sharpness
        ctx.save_for_backward(x)
        return x.amax(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if ctx.sharpness is None:
            below = x - x.amax(-1, keepdim=True)
            scaled = below / (x.std(-1, correction=0, keepdim=True) + _SMALLEST_SPREAD)
        else:
            scaled = ctx.sharpness * x
        return torch.softmax(scaled, -1).mul_(gradients[0].unsqueeze(-1)), None


class _Maximum(nn.Module):
    """The largest along the last dimension.

    Args:
        is_soft: Whether the way back is that of the soft maximum ``logsumexp(s x) / s``.
        sharpness: Its ``s``; None takes one over the standard deviation along the dimension.
    """

    def __init__(self, is_soft: bool, sharpness: float | None = None) -> None:
        super().__init__()
        self.is_soft = is_soft
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        if self.is_soft:
            return cast(Tensor, _SoftMaximum.apply(x, self.sharpness))
        return x.max(dim=-1).values


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=-1)


class _Norm(nn.Module):
    """Batch normalisation as it is once trained: a scale and a shift of each channel, which come second."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_channels))
        self.shift = nn.Parameter(torch.zeros(n_channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


class _Bank(nn.Module):
    """First filters of one size: padded over time, then the loudest place in the spectrum."""

    def __init__(self, kernel: tuple[int, ...], soft_backward: bool) -> None:
        super().__init__()
        n_outputs, _, n_frames, n_bands = kernel
        # As TensorFlow pads: of an even length the odd zero comes after.
        self.padding = (0, 0, (n_frames - 1) // 2, n_frames // 2)
        # No `Conv2d`, whose weights may be put channels last: from one channel that is three times as slow.
        self.weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(kernel), a=math.sqrt(5.0)))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        self.is_narrow = n_bands == 1
        self.norm = _Norm(n_outputs)
        self.maximum = _Maximum(soft_backward, _SHARPNESS)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, self.padding)
        if self.is_narrow:
            heard = self._along_time(padded)
        else:
            heard = nn.functional.conv2d(padded, self.weight, self.bias)
        return cast(Tensor, self.maximum(self.norm(nn.functional.relu(heard))))

    def _along_time(self, padded: Tensor) -> Tensor:
        """Convolve each band by itself, as one product of matrices: on a CPU ten times as fast back."""
        n_bands, kernel = padded.shape[-1], self.weight.flatten(1)
        pieces = nn.functional.unfold(padded, (kernel.shape[1], 1))
        product = torch.baddbmm(self.bias[:, None], kernel.expand(len(pieces), -1, -1), pieces)
        return cast(Tensor, product.unflatten(2, (-1, n_bands)))


class _Banks(nn.ModuleList):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([bank(x) for bank in self], dim=1)


class _Middle(nn.Module):
    """A convolution over time; where it has as many inputs as outputs, it adds to what came in."""

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_inputs, _N_MIDDLE, _MIDDLE_FRAMES, padding=_MIDDLE_FRAMES // 2)
        self.norm = _Norm(_N_MIDDLE)
        self.is_residual = n_inputs == _N_MIDDLE

    def forward(self, x: Tensor) -> Tensor:
        heard = cast(Tensor, self.norm(nn.functional.relu(self.conv(x))))
        return heard + x if self.is_residual else heard


class Musicnn(LogMelNetwork):
    """musicnn without its weights; `musicnn.build` makes it of the published ones.

    Args:
        card: Its classes are the logits, in order; there are fifty.
        soft_backward: Whether maxima hand their gradient to all places, to the largest the most, or to the
            largest alone, as published.

    Shape:
        ``(n, frames, 96)`` -> logits ``(n, 50)``; probabilities are their sigmoid.
    """

    def __init__(self, card: NetworkCard, *, soft_backward: bool = True) -> None:
        super().__init__(card, SPEC)
        n_timbral, n_first = len(TIMBRAL), len(TIMBRAL) + len(TEMPORAL_FRAMES)
        self.norm = _Norm(1)
        self.timbral = _Banks(_Bank(kernel, soft_backward) for kernel in KERNELS[:n_timbral])
        self.temporal = _Banks(_Bank(kernel, soft_backward) for kernel in KERNELS[n_timbral:n_first])
        self.middle = nn.ModuleList(_Middle(kernel[3]) for kernel in KERNELS[n_first:])
        self.max_pool = _Maximum(soft_backward)
        self.mean_pool = _Mean()
        self.penultimate = nn.Sequential(
            nn.Linear(2 * N_POOLED, N_PENULTIMATE), nn.ReLU(), _Norm(N_PENULTIMATE)
        )
        self.logits = nn.Linear(N_PENULTIMATE, N_CLASSES)

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by the names of the publication."""
        return {
            "timbral": self.timbral,
            "temporal": self.temporal,
            **{f"cnn{number}": module for number, module in enumerate(self.middle, start=1)},
            "max_pool": self.max_pool,
            "mean_pool": self.mean_pool,
            "penultimate": self.penultimate,
            "logits": self.logits,
        }

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for log-mel patches."""
        x = self.norm(patches.unsqueeze(1))
        heard = [torch.cat([self.timbral(x), self.temporal(x)], dim=1)]
        for module in self.middle:
            heard.append(module(heard[-1]))
        joined = torch.cat(heard, dim=1)
        # The two of each channel side by side, as the published weights want them.
        pooled = torch.stack([self.max_pool(joined), self.mean_pool(joined)], dim=2).flatten(1)
        return cast(Tensor, self.logits(self.penultimate(pooled)))
