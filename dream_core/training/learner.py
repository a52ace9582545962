"""What the loop trains: a module, what it is given, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.networks.card import NetworkCard
from dream_core.training.evaluation import Heard
from dream_core.training.key_evaluation import HeardKeys
from dream_core.training.segments import Segments

__all__ = ["Batches", "Judged", "Learner", "Rows", "one_class_loss", "plain_card"]

Rows = NDArray[np.int64]

Batches = Callable[[Rows, int, int, tuple[int, ...], float], Iterable[tuple[Tensor, Tensor]]]
"""Yields inputs and targets, changed anew, of rows: so many batches of a size, by a key that seeds them, at a
strength of augmentation."""

Judged = Heard | HeardKeys
"""How well a module hears: one class of a segment, or the keys in its frames."""


def one_class_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of segments, of whose classes one is right."""
    losses = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    # In this order the shipped weights come out to the bit.
    return losses.mean()


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Learner:
    """A module and its data, as the loop wants them.

    Args:
        module: What is trained; it gives logits.
        batches: What it learns from.
        plain: Returns the inputs of rows as they are.
        finish: Makes of a trained module the network that is dreamed with.
        write: Writes that network to a file; returns the file's SHA-256.
        loss: Mean over segments, of logits and targets, with a share of label smoothing.
        hear: Returns what a module takes rows for; None where each segment is of one class.
        prepare: Makes the module's inputs of what `batches` yields, by a generator of the epoch's own; where
            there is none, `batches` yields inputs.
        calibration: Inputs that batch normalisation is measured on; where there are none, those of `batches`.
        silence: What silence is in inputs that are log-mel patches of one class each; others cannot be
            attacked.
        close: Called when no more batches are wanted.
    """

    module: nn.Module
    batches: Batches
    plain: Callable[[Rows], Tensor]
    finish: Callable[[Any], nn.Module]
    write: Callable[[Path, Any], str]
    loss: Callable[[Tensor, Tensor, float], Tensor] = one_class_loss
    hear: Callable[[nn.Module, Rows, torch.device], Judged] | None = None
    prepare: Callable[[Tensor, torch.Generator], Tensor] | None = None
    calibration: Batches | None = None
    silence: float | None = None
    close: Callable[[], None] = _nothing


def plain_card(name: str, segments: Segments) -> NetworkCard:
    """Return the card of a network to be trained: its shape completes it, accuracies describe it later."""
    return NetworkCard(
        name=name,
        title=f"{len(segments.classes)} classes of your own: {', '.join(segments.classes)}"[:200] + ".",
        sample_rate=segments.sample_rate,
        band_hz=(0.0, segments.sample_rate / 2.0),
        patch_s=segments.segment_samples / segments.sample_rate,
        frame_s=segments.segment_samples / segments.sample_rate,
        layers=(),
        classes=segments.classes,
        n_parameters=1,
        licence=segments.licence or "unknown",
        source="Trained here by reverie networks train.",
        weights="import",
        sha256="",
        description="",
    )
