"""Classes as objectives: how much a network hears of something that has a name.

- ``class:NAME``  the logarithm of the mean probability of a class over a window's patches; ``class:auto``
  takes in each window, at each step, the class that is heard most
- ``logit:NAME``  the mean logit; ``logit:auto`` the class with the largest one

Patches count by the level in them: one that is silent has no say, and silence itself is never dreamed of.

Source:
    Camara Halac and Delgadino 2020 and 2021 (DreamSound): the class of the largest mean activation, its
    probability ascended. The logarithm has the same maximum and does not fade where the class is far off; a
    tenth of the logit is added for patches that are left behind.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dream_core.errors import ClassNotFoundError
from dream_core.names import nearest_names, parse_key
from dream_core.networks.card import NetworkCard, head_sizes
from dream_core.objectives.objective import LOGITS, Activations, Objective, one_term, quoted

__all__ = [
    "class_activation",
    "class_index",
    "class_probabilities",
    "class_score",
    "class_term",
    "logit",
    "loudest_class",
    "loudest_of",
    "mean_probabilities",
    "patch_weights",
    "pick_class",
]

_SILENCE = "silence"
_HEARD_DB = 60.0
_LOGIT_SHARE = 0.1
"""Of the mean logit in the score: elsewhere a patch that hears none of a class, or only it, has no slope."""


def class_activation(name: str = "auto") -> Objective:
    """Maximise how sure a network is of a class; ``auto`` takes the class heard most.

    Args:
        name: One of the network's classes, a note's name where they are notes, or ``auto``.
    """

    def score(heard: Activations) -> Tensor:
        logits = heard.layers[LOGITS]
        if name == "auto":
            return class_score(heard, loudest_class(logits, heard.energy, heard.card))
        index = class_index(name, heard.card)
        return class_score(heard, logits.new_full((logits.shape[0],), index, dtype=torch.long))

    return class_term("class", name, score, needs_energy=True)


def class_score(heard: Activations, index: Tensor) -> Tensor:
    """Return how sure a network is of a class, one for each item: the logarithm of its mean probability.

    Shape:
        An index ``(items,)`` -> ``(items,)``.
    """
    logits = heard.layers[LOGITS]
    weights = patch_weights(heard.energy, logits)
    log_mean = (weights.log() + pick_class(_log_probabilities(logits, heard.card), index)).logsumexp(dim=1)
    return log_mean + _LOGIT_SHARE * (weights * pick_class(logits, index)).sum(1)


def logit(name: str = "auto") -> Objective:
    """Maximise a class's mean logit; ``auto`` takes in each window, at each step, the largest one."""

    def score(heard: Activations) -> Tensor:
        means = heard.layers[LOGITS].mean(dim=1)
        if name == "auto":
            return means.gather(1, means.detach().argmax(dim=1, keepdim=True))[:, 0]
        return heard.layers[LOGITS][:, :, class_index(name, heard.card)].mean(dim=1)

    return class_term("logit", name, score)


def class_term(
    kind: str, name: str, score: Callable[[Activations], Tensor], *, needs_energy: bool = False
) -> Objective:
    """Return an objective on a class by its name, or on the one that `auto` chooses."""

    def check(card: NetworkCard) -> None:
        if name != "auto":
            class_index(name, card)

    return one_term(
        f"{kind}:{quoted(name)}", score, frozenset({LOGITS}), check=check, needs_energy=needs_energy
    )


def class_index(name: str, card: NetworkCard) -> int:
    """Return which output of a network a class is.

    Raises:
        ClassNotFoundError: It has none of that name.
    """
    folded = [c.casefold() for c in card.classes]
    if name.casefold() in folded:
        return folded.index(name.casefold())
    if card.keys:
        try:
            return card.keys.index(parse_key(name))  # as Bb3 for A#3
        except ValueError:
            pass
    raise ClassNotFoundError(
        f"network {card.name!r} knows no class {name!r}; {nearest_names(name, card.classes)}"
    )


def patch_weights(energy: Tensor | None, logits: Tensor) -> Tensor:
    """Return how much each patch of a window counts: by its level above -60 dB of the loudest one.

    In decibels: by energy itself a single loud patch, of which a network may make nothing sensible, would
    outvote all others.

    Shape:
        ``(items, patches)`` and ``(items, patches, classes)`` -> ``(items, patches)``; rows sum to one.

    >>> patch_weights(torch.tensor([[1.0, 1e-3, 1e-7]]), torch.zeros(1, 3, 2)).tolist()
    [[0.6666666865348816, 0.3333333432674408, 0.0]]
    """
    even = logits.new_full(logits.shape[:2], 1.0 / logits.shape[1])
    if energy is None:
        return even
    loudest = energy.amax(dim=1, keepdim=True)
    relative = energy / torch.where(loudest > 0, loudest, 1.0)
    levels = (10.0 * relative.log10() + _HEARD_DB).clamp(min=0.0)  # of none at all: -inf, so 0
    total = levels.sum(dim=1, keepdim=True)
    return torch.where(total > 0, levels / total.clamp(min=_HEARD_DB), even).detach()


def _log_probabilities(logits: Tensor, card: NetworkCard) -> Tensor:
    """Return the logarithm of every class's probability; classes come last."""
    if card.outputs == "independent":
        return torch.nn.functional.logsigmoid(logits)
    sizes = head_sizes(card)
    if len(sizes) == 1:
        return logits.log_softmax(dim=-1)
    return torch.cat([head.log_softmax(dim=-1) for head in logits.split(sizes, dim=-1)], dim=-1)


def class_probabilities(logits: Tensor, card: NetworkCard) -> Tensor:
    """Return every class's probability: each of its own, or shares of one, as the card says.

    Shape:
        ``(..., classes)`` -> ``(..., classes)``.
    """
    return _log_probabilities(logits, card).exp()


def mean_probabilities(logits: Tensor, energy: Tensor | None, card: NetworkCard) -> Tensor:
    """Return the mean probability of each item's classes, each patch counting by its level.

    Shape:
        ``(items, patches, classes)`` and ``(items, patches)`` -> ``(items, classes)``.
    """
    weights = patch_weights(energy, logits)
    return (weights[:, :, None] * class_probabilities(logits.detach(), card)).sum(dim=1)


def loudest_of(means: Tensor, card: NetworkCard) -> Tensor:
    """Return the class of each item with the highest mean probability; silence is never it.

    Shape:
        ``(items, classes)`` -> ``(items,)``.
    """
    silent = [i for i, name in enumerate(card.classes) if name.casefold() == _SILENCE]
    means = means.clone()
    means[:, silent] = -1.0
    return means.argmax(dim=1)


def loudest_class(logits: Tensor, energy: Tensor | None, card: NetworkCard) -> Tensor:
    """Return the class of each item that is heard most, by its mean probability; silence is never it.

    Shape:
        ``(items, patches, classes)`` and ``(items, patches)`` -> ``(items,)``.
    """
    return loudest_of(mean_probabilities(logits, energy, card), card)


def pick_class(values: Tensor, index: Tensor) -> Tensor:
    """Return each item's own class of ``(items, patches, classes)``: ``(items, patches)``."""
    return values.gather(2, index[:, None, None].expand(-1, values.shape[1], 1))[:, :, 0]
