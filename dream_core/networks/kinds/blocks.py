"""What the trained kinds are made of: poolings, strides without aliasing, batch normalisation folded away."""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
from torch import Tensor, nn

__all__ = [
    "Affine",
    "Decimate",
    "Mean",
    "MeanOdds",
    "SoftMaximum",
    "activation",
    "fold_batch_norm",
    "pool_2d",
]

_BINOMIAL = (1.0, 2.0, 1.0)


class Affine(nn.Module):
    """A scale and a shift for each channel: what a batch normalisation is once it is trained."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_channels))
        self.shift = nn.Parameter(torch.zeros(n_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift the second axis."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * self.scale.view(shape) + self.shift.view(shape)


class Mean(nn.Module):
    """The mean over all axes behind the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, channels)``."""
        return x.flatten(2).mean(dim=2)


class MeanOdds(nn.Module):
    """The logit of a patch from those of its frames: its odds are the mean of theirs.

    A note that sounds throughout has in the patch the probability it has in a frame. One that sounds for half
    of it has half the odds (0.69 nats less), so it is still heard; one frame among 172 is not enough. Every
    frame has a gradient, and those where the note is nearest to being heard have the largest.

    Shape:
        ``(n, notes, time)`` -> ``(n, notes)``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return one logit a note."""
        return torch.logsumexp(x, dim=2) - math.log(x.shape[2])


class SoftMaximum(nn.Module):
    """A maximum over the last axis that has a gradient everywhere: the log of a sum of exponentials."""

    def forward(self, x: Tensor) -> Tensor:
        """Return all axes but the last."""
        return torch.logsumexp(x, dim=-1)


class Decimate(nn.Module):
    """Keep every n-th step along time; a fixed low-pass before it keeps tones from folding into others.

    Args:
        factor: Every how many steps one is kept.
        antialias: Whether the low-pass is there.

    Shape:
        ``(n, channels, steps)`` -> ``(n, channels, ceil(steps / factor))``.
    """

    kernel: Tensor

    def __init__(self, factor: int, antialias: bool) -> None:
        super().__init__()
        self.factor, self.antialias = factor, antialias
        # A triangle of twice the step: a mean over a step, twice.
        rise = torch.arange(1.0, factor + 1.0)
        kernel = torch.cat([rise, rise[:-1].flip(0)]) / factor**2
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return every n-th step."""
        if not self.antialias:
            return x[..., :: self.factor]
        n_channels = x.shape[1]
        weights = self.kernel.to(x.dtype).expand(n_channels, 1, -1)
        return nn.functional.conv1d(
            x, weights, stride=self.factor, padding=self.factor - 1, groups=n_channels
        )


class _Blur(nn.Module):
    """Halve time and frequency behind a binomial low-pass."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor(_BINOMIAL) / sum(_BINOMIAL)
        self.register_buffer("kernel", torch.outer(line, line), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n_channels = x.shape[1]
        weights = self.kernel.to(x.dtype).expand(n_channels, 1, -1, -1)
        return nn.functional.conv2d(x, weights, stride=2, padding=1, groups=n_channels)


def activation(name: str) -> nn.Module:
    """Return the activation of that name, ``silu`` or ``relu``."""
    return nn.SiLU() if name == "silu" else nn.ReLU()


def pool_2d(name: str, n_channels: int) -> nn.Module:
    """Return what halves time and frequency, rounded up: ``mean``, ``max``, ``stride`` or ``blur``.

    A mean has a gradient to every place, a maximum to one alone; a stride is learnt, a blur is fixed.
    """
    if name == "mean":
        return nn.AvgPool2d(2, ceil_mode=True)
    if name == "max":
        return nn.MaxPool2d(2, ceil_mode=True)
    return nn.Conv2d(n_channels, n_channels, 3, stride=2, padding=1) if name == "stride" else _Blur()


def fold_batch_norm(trained: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode without batch normalisation.

    Where one follows a convolution it becomes part of it; elsewhere it becomes a scale and a shift.

    Args:
        trained: Stays as it is.
    """
    folded = copy.deepcopy(trained).eval()
    for parent in list(folded.modules()):
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                if isinstance(parent, nn.Sequential) and isinstance(before, nn.Conv1d | nn.Conv2d):
                    place = str(int(name) - 1)
                    setattr(parent, place, nn.utils.fusion.fuse_conv_bn_eval(before, child))
                    setattr(parent, name, nn.Identity())
                else:
                    setattr(parent, name, _as_affine(child))
            before = child
    return folded


def _as_affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Affine:
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    affine = Affine(norm.num_features).to(mean)
    with torch.no_grad():
        scale = torch.rsqrt(variance + norm.eps) * (norm.weight if norm.affine else 1.0)
        affine.scale.copy_(scale)
        affine.shift.copy_((norm.bias if norm.affine else 0.0) - mean * scale)
    return affine
