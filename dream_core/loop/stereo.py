"""Which channels dream as one.

An item of ``(items, channels, samples)`` becomes one group of rows that share a gradient and a mask
(``linked``), or a group a channel (``independent``), or a group each for mid and side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dream_core.settings import StereoMode

__all__ = ["fold_channels", "groups_of", "unfold_channels"]


def groups_of(mode: StereoMode, n_channels: int) -> int:
    """Return how many groups an item gives."""
    return 1 if mode == "linked" else n_channels


def fold_channels(windows: Tensor, mode: StereoMode) -> Tensor:
    """Turn windows into groups of rows.

    Shape:
        ``(items, channels, samples)`` -> ``(items * groups, rows, samples)``.
    """
    if groups_of(mode, windows.shape[1]) == 1:
        return windows
    if mode == "mid_side":
        left, right = windows[:, 0], windows[:, 1]
        windows = torch.stack([(left + right) / 2, (left - right) / 2], dim=1)
    return windows.flatten(0, 1)[:, None]


def unfold_channels(proposal: Tensor, folded: Tensor, windows: Tensor, mode: StereoMode) -> Tensor:
    """Turn a proposal back into channels; only the change is turned, so the rest stays bit for bit.

    Args:
        proposal: What the update proposes, in groups.
        folded: What it started from, in groups.
        windows: The same in channels.
        mode: How it was folded.
    """
    n_channels = windows.shape[1]
    if groups_of(mode, n_channels) == 1:
        return proposal
    change = (proposal - folded)[:, 0].unflatten(0, (-1, n_channels))
    if mode == "mid_side":
        mid, side = change[:, 0], change[:, 1]
        change = torch.stack([mid + side, mid - side], dim=1)
    unfolded: Tensor = windows + change
    return unfolded
