"""A second head that hears the pitch class, C to B, of segments whose key is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.networks.card import PITCH_CLASSES
from dream_core.networks.kinds import embedding_head, trained
from dream_core.training.evaluation import Heard, hear_rows
from dream_core.training.segments import Segments

__all__ = ["check_pitches", "first_head_hearing", "pitch_targets", "two_head_loss"]

WEIGHT: Final = 0.3
"""How much the second head's loss counts beside the first one's."""


def check_pitches(kind: str, segments: Segments) -> None:
    """Refuse a second head where nothing could teach it.

    Raises:
        SettingError: The kind has no classes of its own, or no segment that is learnt from has a key.
    """
    if kind in (embedding_head.KIND, trained.KEYS_KIND):
        raise SettingError(f"--with-pitch: kind {kind} takes no second head; mel_full and the like do")
    n_known = int(((segments.splits == 0) & (segments.pitches >= 0)).sum())
    if not n_known:
        raise SettingError(
            "--with-pitch: no segment that is learnt from has a pitch; the column pitch of data.csv holds "
            "MIDI keys, as `reverie data render` writes them"
        )


def pitch_targets(keys: NDArray[np.int64], speeds: NDArray[np.float64]) -> Tensor:
    """Return targets of the second head for segments played at other speeds; zeros where no key is known.

    Args:
        keys: MIDI keys, -1 where unknown.
        speeds: How much faster, and higher, each is played.

    Shape:
        ``(n,)`` -> ``(n, 12)``.

    >>> pitch_targets(np.array([69, 69, -1]), np.array([1.0, 2 ** (1 / 12), 1.0])).argmax(dim=1).tolist()
    [9, 10, 0]
    """
    heard = np.round(keys + 12.0 * np.log2(speeds)).astype(np.int64) % len(PITCH_CLASSES)
    targets = nn.functional.one_hot(torch.from_numpy(heard), len(PITCH_CLASSES)).float()
    return targets * torch.from_numpy(keys >= 0)[:, None]


def two_head_loss(n_classes: int) -> Callable[[Tensor, Tensor, float], Tensor]:
    """Return the loss of both heads: cross-entropy, the second one's only where a key is known.

    Args:
        n_classes: Of the first head.
    """
    sizes = (n_classes, len(PITCH_CLASSES))

    def loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        classes, pitches = logits.split(sizes, dim=1)
        wanted, keys = targets.split(sizes, dim=1)
        first = nn.functional.cross_entropy(classes, wanted, label_smoothing=smoothing)
        # Of two sounds mixed one may have no key: the row then sums to less than one, and counts less.
        shares = keys.sum(dim=1, keepdim=True)
        soft = keys * (1.0 - smoothing) + shares * smoothing / len(PITCH_CLASSES)
        second = -(soft * pitches.log_softmax(dim=1)).sum() / shares.sum().clamp(min=1.0)
        both: Tensor = first + WEIGHT * second
        return both

    return loss


def first_head_hearing(
    plain: Callable[[NDArray[np.int64]], Tensor], segments: Segments
) -> Callable[[nn.Module, NDArray[np.int64], torch.device], Heard]:
    """Return what judges a network of two heads by its first.

    Args:
        plain: Returns the module's inputs of rows.
        segments: The data set.
    """
    n_classes = len(segments.classes)

    def hear(module: nn.Module, rows: NDArray[np.int64], device: torch.device) -> Heard:
        first = _FirstHead(module, n_classes)
        return hear_rows(first, plain, rows, segments.labels, device)

    return hear


class _FirstHead(nn.Module):
    def __init__(self, module: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.module, self.n_classes = module, n_classes

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.module(x)
        return logits[:, : self.n_classes]
