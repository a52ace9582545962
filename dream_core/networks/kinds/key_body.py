"""What hears which keys sound, frame by frame: bands of octaves, harmonics side by side, and kernels.

A note looks the same wherever it lies on a logarithmic frequency axis, so kernels are shared by all keys.
What tells a note from its octave is its harmonics: the spectrum is moved down by each of them, so a kernel
sees all of a note at its fundamental.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dream_core.networks.kinds.blocks import MeanOdds
from dream_core.networks.kinds.mel_bodies import Parts
from dream_core.networks.kinds.options import KeysOptions

__all__ = ["BANDS_PER_KEY", "KEYS", "KEYS_LAYER", "LOWEST_HZ", "KeyBody"]

KEYS = tuple(range(21, 109))
"""The piano's: A-1 to C7, lowest first."""

KEYS_LAYER = "keys"
"""The layer that hears them frame by frame."""

BANDS_PER_KEY = 3
"""The middle one of each key's is the key in tune."""

LOWEST_HZ = 27.5
_BANDS_PER_OCTAVE = 12 * BANDS_PER_KEY
_N_BANDS = len(KEYS) * BANDS_PER_KEY
_HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7, 8)


class _Harmonics(nn.Module):
    """Put each band's harmonics beside it; what lies beyond the spectrum is silent.

    Shape:
        ``(n, frames, bands)`` -> ``(n, harmonics, frames, 264)``.
    """

    def forward(self, levels: Tensor) -> Tensor:
        x = levels.unsqueeze(1)
        moved = []
        for harmonic in _HARMONICS:
            step = round(_BANDS_PER_OCTAVE * math.log2(harmonic))
            missing = max(0, step + _N_BANDS - x.shape[3])
            padded = nn.functional.pad(x, (max(0, -step), missing))
            moved.append(padded[..., max(0, step) :][..., :_N_BANDS])
        return torch.cat(moved, dim=1)


class _FrameLogits(nn.Module):
    """The last convolution, and a level of its own for every key.

    Shape:
        ``(n, width, frames, 88)`` -> ``(n, 88, frames)``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 1, (5, 3), padding=(2, 1))
        self.level = nn.Parameter(torch.zeros(len(KEYS)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv(x)[:, 0] + self.level
        return logits.transpose(1, 2)


class _Octaves(nn.Module):
    """Look exactly an octave up and down, where a note's double stands, and add what was seen.

    Shape:
        ``(n, width, frames, keys)`` -> the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        octave = nn.Conv2d(width, width, (1, 3), padding=(0, 12), dilation=(1, 12))
        self.seen = nn.Sequential(octave, nn.BatchNorm2d(width), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self.seen(x)
        return x + seen


class KeyBody(nn.Module):
    """Harmonics side by side, kernels on bands, one key for three bands, kernels on keys.

    Args:
        options: How many channels there are.
        n_frames: Of a patch; any number will do.
        n_mels: Bands, 36 in an octave from `LOWEST_HZ` up.
        n_classes: 88, the keys.

    Shape:
        ``(n, frames, mels)`` -> ``(n, 88)``.

    Source:
        Bittner et al. 2017, "Deep salience representations for F0 estimation in polyphonic music", for
        harmonics as channels.
    """

    def __init__(self, options: KeysOptions, n_frames: int, n_mels: int, n_classes: int) -> None:
        super().__init__()
        del n_frames, n_mels
        if n_classes != len(KEYS):
            raise ValueError(f"it has {n_classes} classes, not {len(KEYS)} keys")
        narrow = options.contours
        self.harmonics = _Harmonics()
        self.contours = nn.Sequential(
            nn.Conv2d(len(_HARMONICS), narrow, (3, 5), padding=(1, 2)), nn.BatchNorm2d(narrow), nn.SiLU()
        )
        self._widths = (narrow, *options.widths)
        blocks: list[nn.Module] = []
        for index, (before, width) in enumerate(zip(self._widths, options.widths, strict=False)):
            # The first steps from bands to keys.
            kernel, stride, reach = (5, BANDS_PER_KEY, 1) if index == 0 else (3, 1, 1)
            blocks.append(
                nn.Sequential(
                    nn.Conv2d(before, width, (3, kernel), stride=(1, stride), padding=(1, reach)),
                    nn.BatchNorm2d(width),
                    nn.SiLU(),
                    _Octaves(width),
                )
            )
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout2d(options.dropout)
        self.keys = _FrameLogits(self._widths[-1])
        self.logits = MeanOdds()

    def layers(self) -> Parts:
        """Return its layers."""
        blocks = {
            f"block{index}": (block, width)
            for index, (block, width) in enumerate(zip(self.blocks, self._widths[1:], strict=True), start=1)
        }
        return {
            "harmonics": (self.harmonics, len(_HARMONICS)),
            "contours": (self.contours, self._widths[0]),
            **blocks,
            KEYS_LAYER: (self.keys, len(KEYS)),
            "logits": (self.logits, len(KEYS)),
        }

    def hear_frames(self, levels: Tensor) -> Tensor:
        """Return the logit of every key in every frame, ``(n, frames, mels)`` -> ``(n, 88, frames)``."""
        x = self.contours(self.harmonics(levels))
        for block in self.blocks:
            x = block(x)
        heard: Tensor = self.keys(self.dropout(x))
        return heard

    def forward(self, levels: Tensor) -> Tensor:
        """Return one logit a key."""
        logits: Tensor = self.logits(self.hear_frames(levels))
        return logits
