"""How well a module hears: confusion counts, and whether its probabilities can be believed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Heard", "hear_rows"]

_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a module takes segments for.

    Args:
        rows: Which segments.
        truth: Their classes.
        probabilities: ``(rows, classes)``.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @property
    def guesses(self) -> NDArray[np.int64]:
        """The likeliest class of each."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def accuracy(self) -> float:
        """Mean over the classes there are of the share that was heard right: rare ones count as much."""
        confusion = self.confusion
        counts = confusion.sum(axis=1)
        return (
            float((confusion.diagonal() / np.maximum(1, counts))[counts > 0].mean())
            if len(self.rows)
            else 0.0
        )

    @property
    def loss(self) -> float:
        """Mean of the negative logarithm of the true class's probability."""
        own = self.probabilities[np.arange(len(self.truth)), self.truth]
        return float(-np.log(np.maximum(own, 1e-12)).mean()) if len(own) else 0.0

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts ``(true class, heard class)``."""
        n_classes = self.probabilities.shape[1]
        counts = np.zeros((n_classes, n_classes), dtype=np.int64)
        np.add.at(counts, (self.truth, self.guesses), 1)
        return counts

    @property
    def calibration(self) -> list[tuple[float, float, int]]:
        """Mean confidence, share heard right and count, of ten bins of confidence that hold any."""
        confidence, right = self.probabilities.max(axis=1), self.guesses == self.truth
        bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
        return [
            (float(confidence[bins == b].mean()), float(right[bins == b].mean()), int((bins == b).sum()))
            for b in np.unique(bins)
        ]

    @property
    def calibration_error(self) -> float:
        """Mean distance of confidence from the share heard right, over all segments.

        Source:
            Guo et al. 2017, "On calibration of modern neural networks".
        """
        total = sum(count for *_, count in self.calibration)
        return sum(count * abs(said - is_so) for said, is_so, count in self.calibration) / max(1, total)

    def as_csv(self, classes: tuple[str, ...]) -> str:
        """Return a line for each segment: its row, what it is, what it is taken for, and how surely."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["row", "class", "heard", "probability"])
        for row, truth, guess, each in zip(
            self.rows.tolist(), self.truth.tolist(), self.guesses.tolist(), self.probabilities, strict=True
        ):
            writer.writerow([row, classes[truth], classes[guess], f"{each.max():.6f}"])
        return stream.getvalue()


def hear_rows(
    module: nn.Module,
    plain: Callable[[NDArray[np.int64]], Tensor],
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    device: torch.device,
    batch_size: int = 64,
) -> Heard:
    """Hear segments as they are.

    Args:
        module: In evaluation mode; gives logits.
        plain: Returns the module's inputs of rows.
        rows: Which segments.
        labels: Classes of all segments.
        device: Where the module is.
        batch_size: Segments at once.
    """
    found = [torch.zeros(0, int(labels.max()) + 1)] if not len(rows) else []
    with torch.no_grad():
        for first in range(0, len(rows), batch_size):
            logits = module(plain(rows[first : first + batch_size]).to(device))
            found.append(torch.softmax(logits.double(), dim=1).cpu())
    return Heard(rows=rows, truth=labels[rows], probabilities=torch.cat(found).double().numpy())
