"""Frames cut into the patches a network hears."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["patch_starts", "slice_patches"]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where patches lie: how many, how far before the sound the first begins, and what they hear too much."""

    n_patches: int
    lead: int
    slack: int


def _grid(n_heard: int, patch_frames: int, hop_frames: int, offset_frames: int) -> _Grid:
    n_patches = 1 + math.ceil(max(0, n_heard - patch_frames) / hop_frames)
    slack = (n_patches - 1) * hop_frames + patch_frames - n_heard
    longest_lead = min(hop_frames - 1, max(slack, patch_frames - hop_frames))
    return _Grid(n_patches, offset_frames % (longest_lead + 1), slack)


def patch_starts(n_heard: int, patch_frames: int, hop_frames: int, offset_frames: int = 0) -> list[int]:
    """Return at which frame each patch begins that `slice_patches` cuts; below 0 is before the sound.

    >>> patch_starts(100, 96, 48, 7)
    [-7, 41]
    """
    grid = _grid(n_heard, patch_frames, hop_frames, offset_frames)
    starts = [index * hop_frames - grid.lead for index in range(grid.n_patches)]
    return starts if grid.lead <= grid.slack else [*starts[:-1], n_heard - patch_frames]


def slice_patches(
    frames: Tensor,
    patch_frames: int,
    hop_frames: int,
    offset_frames: int = 0,
    *,
    fill: float,
    n_heard: int | None = None,
) -> Tensor:
    """Cut frames into patches on a grid that can be moved; every offset costs the same and hears every frame.

    The grid begins ``offset_frames`` before the first frame. Where that would leave the last frames unheard,
    the last patch alone is put so that it ends with the sound. At offset 0 this is the plain grid. Offsets
    wrap at the hop, or sooner where patches overlap too little for the grid to move so far.

    Args:
        frames: Log-mel frames.
        patch_frames: Length of a patch.
        hop_frames: From one patch to the next, at most ``patch_frames``.
        offset_frames: How far the grid is moved, any integer >= 0.
        fill: The value of frames before and after the sound: that of digital silence.
        n_heard: How many frames must be heard, all by default; those after them may be.

    Shape:
        ``(batch, frames, mels)`` -> ``(batch, patches, patch_frames, mels)``, with
        ``patches = 1 + ceil(max(0, n_heard - patch_frames) / hop_frames)``.

    >>> slice_patches(torch.zeros(1, 100, 4), 96, 48, 7, fill=0.0).shape
    torch.Size([1, 2, 96, 4])
    """
    n_frames = frames.shape[1]
    n_heard = n_frames if n_heard is None else n_heard
    grid = _grid(n_heard, patch_frames, hop_frames, offset_frames)
    n_covered = (grid.n_patches - 1) * hop_frames + patch_frames
    padded = nn.functional.pad(
        frames, (0, 0, grid.lead, max(0, n_covered - grid.lead - n_frames)), value=fill
    )
    regular = padded[:, :n_covered].unfold(1, patch_frames, hop_frames).transpose(-1, -2)
    if grid.lead <= grid.slack:
        return regular
    end = grid.lead + n_heard
    return torch.cat([regular[:, :-1], padded[:, None, end - patch_frames : end]], dim=1)
