"""What looks at log-mel patches: kernels over all bands, musicnn's filters, or small kernels in blocks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dream_core.networks.kinds.blocks import Mean, SoftMaximum, activation, pool_2d
from dream_core.networks.kinds.options import (
    MelConv2dOptions,
    MelFullOptions,
    MelTimbralOptions,
    MelVggOptions,
)

__all__ = ["Chain", "Parts", "TimbralBody", "mel_conv2d", "mel_full", "mel_vgg"]

Parts = Mapping[str, tuple[nn.Module, int]]
"""Layers that can be dreamed on, from the sound upwards: each module and how many channels it gives."""

_LAYER_NORM_EPSILON = 1e-3
_TEMPORAL_FRAMES = (64, 32, 16)
_TIMBRAL_HEIGHTS = (0.4, 0.7)
_TIMBRAL_FRAMES = 7


class Chain(nn.Module):
    """Parts one after another, each a layer; `first` is done to the patches before.

    Args:
        first: No layer.
        parts: From the sound upwards; the last gives the logits.
    """

    def __init__(self, first: nn.Module, parts: Parts) -> None:
        super().__init__()
        self.first = first
        self.parts = nn.ModuleDict(OrderedDict((name, module) for name, (module, _) in parts.items()))
        self._widths = {name: width for name, (_, width) in parts.items()}

    def layers(self) -> Parts:
        """Return its layers."""
        return {name: (self.parts[name], width) for name, width in self._widths.items()}

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits."""
        x: Tensor = self.first(patches)
        for part in self.parts.values():
            x = part(x)
        return x


class _BandsAsChannels(nn.Module):
    def forward(self, patches: Tensor) -> Tensor:
        return patches.transpose(1, 2)


class _AsPicture(nn.Module):
    """Patches ``(n, frames, bands)`` as ``(n, 1, frames, bands)``."""

    def forward(self, patches: Tensor) -> Tensor:
        return patches.unsqueeze(1)


class _OverTime(nn.Module):
    """Each band normalised over time, with a scale and a shift for every frame."""

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_frames, eps=_LAYER_NORM_EPSILON)

    def forward(self, patches: Tensor) -> Tensor:
        normalised: Tensor = self.norm(patches.transpose(1, 2))
        return normalised.transpose(1, 2).unsqueeze(1)


def mel_full(options: MelFullOptions, n_frames: int, n_mels: int, n_classes: int) -> Chain:
    """Build kernels that span all bands: convolutions over time alone.

    Shape:
        ``(n, frames, mels)`` -> ``(n, classes)``.
    """
    del n_frames
    parts: dict[str, tuple[nn.Module, int]] = {}
    n_inputs = n_mels
    for index, width in enumerate(options.widths):
        kernel = 7 if index == 0 else 5
        modules: list[nn.Module] = [
            nn.Conv1d(n_inputs, width, kernel, padding=kernel // 2),
            nn.BatchNorm1d(width),
            nn.SiLU(),
        ]
        if index < len(options.widths) - 1:
            modules.append(nn.AvgPool1d(2, ceil_mode=True))
        parts[f"conv{index + 1}"] = nn.Sequential(*modules), width
        n_inputs = width
    last = nn.Sequential(Mean(), nn.Dropout(options.dropout), nn.Linear(n_inputs, n_classes))
    return Chain(_BandsAsChannels(), {**parts, "logits": (last, n_classes)})


def mel_vgg(options: MelVggOptions, n_frames: int, n_mels: int, n_classes: int) -> Chain:
    """Build four stages of 3x3 convolutions.

    Shape:
        ``(n, frames, mels)`` -> ``(n, classes)``.
    """
    del n_frames, n_mels
    parts: dict[str, tuple[nn.Module, int]] = {}
    n_inputs = 1
    depths = (options.n1, options.n2, options.n3, options.n4)
    for index, (width, depth) in enumerate(zip(options.widths, depths, strict=False), start=1):
        modules: list[nn.Module] = []
        for _ in range(depth):
            modules += [nn.Conv2d(n_inputs, width, 3, padding=1), nn.BatchNorm2d(width)]
            modules.append(activation(options.activation))
            n_inputs = width
        modules += [pool_2d(options.pool, width), nn.Dropout2d(options.conv_dropout)]
        parts[f"block{index}"] = nn.Sequential(*modules), width
    last = nn.Sequential(Mean(), nn.Dropout(options.dropout), nn.Linear(n_inputs, n_classes))
    return Chain(_AsPicture(), {**parts, "logits": (last, n_classes)})


def mel_conv2d(options: MelConv2dOptions, n_frames: int, n_mels: int, n_classes: int) -> Chain:
    """Build blocks of one width with kernels of 4x4, flattened; each band is normalised over time first.

    Shape:
        ``(n, frames, mels)`` -> ``(n, classes)``.
    """
    parts: dict[str, tuple[nn.Module, int]] = {}
    n_inputs, size = 1, [n_frames, n_mels]
    for index in range(1, options.blocks + 1):
        width = options.filters
        parts[f"block{index}"] = (
            nn.Sequential(
                nn.ZeroPad2d((1, 2, 1, 2)),
                nn.Conv2d(n_inputs, width, 4),
                activation(options.activation),
                pool_2d(options.pool, width),
                nn.BatchNorm2d(width, eps=1e-3),
                nn.Dropout2d(options.conv_dropout),
            ),
            width,
        )
        n_inputs, size = width, [math.ceil(length / 2) for length in size]
    n_features = n_inputs * math.prod(size)
    for index in range(1, options.dense + 1):
        dense = nn.Sequential(
            nn.Flatten(), nn.Linear(n_features, options.dense_units), activation(options.activation)
        )
        parts[f"dense{index}"] = dense, options.dense_units
        n_features = options.dense_units
    last = nn.Sequential(nn.Flatten(), nn.Dropout(options.dropout), nn.Linear(n_features, n_classes))
    return Chain(_OverTime(n_frames), {**parts, "logits": (last, n_classes)})


class _Bank(nn.ModuleList):
    """Filters of several shapes side by side: each rectified and normalised, then its maximum over bands."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([bank(x) for bank in self], dim=1)


def _filters(width: int, n_frames: int, n_bands: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ZeroPad2d((0, 0, (n_frames - 1) // 2, n_frames // 2)),
        nn.Conv2d(1, width, (n_frames, n_bands)),
        nn.BatchNorm2d(width),
        nn.SiLU(),
        SoftMaximum(),
    )


class _Middle(nn.Module):
    """A convolution over time; where it has as many inputs as outputs, it adds to what came in."""

    def __init__(self, n_inputs: int, width: int) -> None:
        super().__init__()
        self.is_residual = n_inputs == width
        self.conv = nn.Sequential(
            nn.Conv1d(n_inputs, width, _TIMBRAL_FRAMES, padding=_TIMBRAL_FRAMES // 2),
            nn.BatchNorm1d(width),
            nn.SiLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        heard: Tensor = self.conv(x)
        return heard + x if self.is_residual else heard


class TimbralBody(nn.Module):
    """musicnn's shape with fewer filters and without corners: SiLU, and soft maxima over bands.

    Args:
        options: How many filters there are.
        n_frames: Length of a patch; no filter is longer.
        n_mels: Bands.
        n_classes: Logits.

    Shape:
        ``(n, frames, mels)`` -> ``(n, classes)``.

    Source:
        Pons et al. 2018, "End-to-end learning for music audio tagging at scale".
    """

    def __init__(self, options: MelTimbralOptions, n_frames: int, n_mels: int, n_classes: int) -> None:
        super().__init__()
        heights = [max(1, int(share * n_mels)) for share in _TIMBRAL_HEIGHTS]
        self.norm = nn.BatchNorm2d(1)
        self.timbral = _Bank([_filters(options.timbral, _TIMBRAL_FRAMES, height) for height in heights])
        self.temporal = _Bank(
            [_filters(options.temporal, min(length, n_frames), 1) for length in _TEMPORAL_FRAMES]
        )
        self._n_timbral = len(heights) * options.timbral
        self._n_temporal = len(_TEMPORAL_FRAMES) * options.temporal
        self._n_middle = options.middle
        n_front = self._n_timbral + self._n_temporal
        self.middle = nn.ModuleList(
            _Middle(n_inputs, options.middle) for n_inputs in (n_front, options.middle, options.middle)
        )
        n_pooled = 2 * (n_front + 3 * options.middle)
        self.penultimate = nn.Sequential(nn.Linear(n_pooled, options.penultimate), nn.SiLU())
        self.dropout = nn.Dropout(options.dropout)
        self.logits = nn.Linear(options.penultimate, n_classes)

    def layers(self) -> Parts:
        """Return its layers, by musicnn's names."""
        return {
            "timbral": (self.timbral, self._n_timbral),
            "temporal": (self.temporal, self._n_temporal),
            **{f"cnn{index}": (module, self._n_middle) for index, module in enumerate(self.middle, start=1)},
            "penultimate": (self.penultimate, self.logits.in_features),
            "logits": (self.logits, self.logits.out_features),
        }

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits."""
        x = self.norm(patches.unsqueeze(1))
        heard = [torch.cat([self.timbral(x), self.temporal(x)], dim=1)]
        for module in self.middle:
            heard.append(module(heard[-1]))
        joined = torch.cat(heard, dim=1)
        # Half of what is pooled is a soft maximum over time, half the mean.
        pooled = torch.cat(
            [torch.logsumexp(joined, dim=2) - math.log(joined.shape[2]), joined.mean(dim=2)], 1
        )
        logits: Tensor = self.logits(self.dropout(self.penultimate(pooled)))
        return logits
