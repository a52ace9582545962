"""Frames cut into the patches a network hears."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["slice_patches"]


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
    n_patches = 1 + math.ceil(max(0, n_heard - patch_frames) / hop_frames)
    n_covered = (n_patches - 1) * hop_frames + patch_frames
    slack = n_covered - n_heard
    longest_lead = min(hop_frames - 1, max(slack, patch_frames - hop_frames))
    lead = offset_frames % (longest_lead + 1)
    padded = nn.functional.pad(frames, (0, 0, lead, max(0, n_covered - lead - n_frames)), value=fill)
    regular = padded[:, :n_covered].unfold(1, patch_frames, hop_frames).transpose(-1, -2)
    if lead <= slack:
        return regular
    end = lead + n_heard
    return torch.cat([regular[:, :-1], padded[:, None, end - patch_frames : end]], dim=1)
