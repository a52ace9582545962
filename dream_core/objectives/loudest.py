"""Which class is heard most in each sound that is scored, told beside its score."""

from __future__ import annotations

import torch
from torch import Tensor

from dream_core.networks.card import NetworkCard
from dream_core.objectives.classes import loudest_of, mean_probabilities

__all__ = ["HeardClasses"]


class HeardClasses:
    """Gathers what an ear hears of classes while it scores items; of several ears the first counts."""

    def __init__(self) -> None:
        self._card: NetworkCard | None = None
        self._means: dict[int, Tensor] = {}

    def note(self, first_item: int, logits: Tensor, energy: Tensor | None, card: NetworkCard) -> None:
        """Take what a network says of items.

        Args:
            first_item: The place of the first of them in the batch.
            logits: ``(items, patches, classes)``.
            energy: How much sound is in each patch ``(items, patches)``; None counts all alike.
            card: Of the network.
        """
        if self._card not in (None, card):
            return
        self._card = card
        for index, means in enumerate(mean_probabilities(logits.detach(), energy, card)):
            self._means[first_item + index] = means

    def loudest(self, rows: slice) -> tuple[str, float] | None:
        """Return the class heard most in some items together, with its mean probability; None without any.

        Each patch counts by its level, as ``class:auto`` chooses; silence is never it.
        """
        if self._card is None:
            return None
        means = torch.stack([self._means[item] for item in range(rows.start, rows.stop)]).mean(dim=0)
        index = int(loudest_of(means[None], self._card)[0])
        return self._card.classes[index], float(means[index])
