"""How well keys are heard frame by frame: precision, recall and F1 at a probability of a half."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["THRESHOLDS", "HeardKeys", "hear_key_rows", "key_loss"]

THRESHOLDS: Final = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Probabilities from which on a key counts as heard; 0.5 is the one that is told."""

MISSED_WEIGHT: Final = 2.0
"""How much a key that is missed costs beside one that is heard where there is none.

So a probability of a half is near the best threshold, though few keys sound at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardKeys:
    """What a module hears of the keys in segments.

    Args:
        rows: Which segments.
        counts: ``(rows, thresholds, 3)`` keys in frames that were heard right, heard where there was none,
            and missed, at each of `THRESHOLDS`.
        loss: Mean of the frames' loss.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    loss: float

    def scores(self, threshold: float = 0.5) -> tuple[float, float, float]:
        """Return precision, recall and F1 of all frames of all keys together.

        >>> counts = np.tile(np.array([3, 1, 2]), (1, len(THRESHOLDS), 1))
        >>> HeardKeys(rows=np.array([0]), counts=counts, loss=0.0).scores()
        (0.75, 0.6, 0.6666666666666666)
        """
        right, false, missed = self.counts[:, THRESHOLDS.index(threshold)].sum(axis=0).tolist()
        return (
            right / max(1, right + false),
            right / max(1, right + missed),
            2 * right / max(1, 2 * right + false + missed),
        )

    @property
    def accuracy(self) -> float:
        """F1 of frames at a probability of a half, 0..1."""
        return self.scores()[2]

    @property
    def best_threshold(self) -> float:
        """The threshold with the highest F1."""
        return max(THRESHOLDS, key=lambda threshold: self.scores(threshold)[2])

    def as_csv(self, classes: Sequence[str]) -> str:
        """Return a line for each segment: its row, and how many keys in frames were heard."""
        del classes
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["row", "right", "false", "missed"])
        told = self.counts[:, THRESHOLDS.index(0.5)].tolist()
        writer.writerows([row, *counts] for row, counts in zip(self.rows.tolist(), told, strict=True))
        return stream.getvalue()

    @staticmethod
    def count(logits: Tensor, truth: Tensor) -> NDArray[np.int64]:
        """Count keys in frames at every threshold.

        Shape:
            Logits and truth ``(keys, frames)`` -> ``(thresholds, 3)``.
        """
        is_down = truth > 0.5
        limits = torch.logit(torch.tensor(THRESHOLDS, dtype=torch.float64)).to(logits)
        is_heard = logits[None] >= limits[:, None, None]
        right = (is_heard & is_down).sum(dim=(1, 2))
        counts = torch.stack([right, is_heard.sum(dim=(1, 2)) - right, is_down.sum() - right], dim=1)
        found: NDArray[np.int64] = counts.cpu().numpy()
        return found


def key_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean loss of keys in frames, each heard or not of its own.

    Args:
        logits: ``(n, keys, frames)``.
        targets: The same, 0 or 1.
        smoothing: Share of each target that is a half.
    """
    weight = logits.new_tensor(MISSED_WEIGHT)
    targets = targets * (1.0 - smoothing) + 0.5 * smoothing
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)


def hear_key_rows(
    module: nn.Module,
    plain: Callable[[NDArray[np.int64]], Tensor],
    truth: Callable[[NDArray[np.int64]], Tensor],
    rows: NDArray[np.int64],
    device: torch.device,
    batch_size: int = 32,
) -> HeardKeys:
    """Hear segments as they are.

    Args:
        module: In evaluation mode; gives logits of keys in frames.
        plain: Returns the module's inputs of rows.
        truth: Returns which keys are down.
        rows: Which segments.
        device: Where the module is.
        batch_size: Segments at once.
    """
    counts = [np.zeros((0, len(THRESHOLDS), 3), dtype=np.int64)]
    losses = []
    with torch.no_grad():
        for first in range(0, len(rows), batch_size):
            part = rows[first : first + batch_size]
            logits, targets = module(plain(part).to(device)).cpu(), truth(part)
            losses += [float(key_loss(one, is_down)) for one, is_down in zip(logits, targets, strict=True)]
            counts.append(np.stack([HeardKeys.count(*one) for one in zip(logits, targets, strict=True)]))
    return HeardKeys(rows=rows, counts=np.concatenate(counts), loss=float(np.mean(losses)) if losses else 0.0)
