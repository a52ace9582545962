"""Objectives that look for what is heard most: a class, a channel, a moment.

- ``probability:NAME``, ``probability:auto``  the mean probability of a class; ``auto`` takes in each window,
  at each step, the one whose mean is largest, silence too: the published rule
- ``channel:LAYER:auto``          the mean of the channel that is strongest in a window, at each step
- ``class:of:REFERENCE``          the class that is heard most in another sound
- ``channel:LAYER:of:REFERENCE``  the channel that is strongest in another sound
- ``peak:TERM``                   a term at the one place of a window where it is largest

Sources:
    Camara Halac and Delgadino 2020 and 2021 (DreamSound). Their scores are sums over patches, these are
    means: a factor that no update sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from dream_core.errors import ObjectiveError
from dream_core.networks.card import head_sizes
from dream_core.objectives.classes import (
    class_index,
    class_score,
    class_term,
    loudest_class,
    patch_weights,
    pick_class,
)
from dream_core.objectives.objective import LOGITS, Activations, Objective, one_term, quoted
from dream_core.objectives.terms import item_mean

__all__ = ["PEAKS", "class_of", "peak", "probability", "strongest_channel", "strongest_channel_of"]

PEAKS = ("layer", "sum", "layer_l2", "channel", "direction", "axis", "class", "logit", "probability")
"""The kinds of terms that have a value at every place."""


def probability(name: str = "auto") -> Objective:
    """Maximise a class's mean probability, every patch counting alike; ``auto`` takes the class heard most.

    The published score. It fades where a probability is near 0 or 1, which ``class:NAME`` does not.

    Args:
        name: One of the network's classes, a note's name where they are notes, or ``auto``.

    Source:
        Camara Halac and Delgadino 2020, section 3.2; the package dreamsound 0.1.6.3.
    """

    def score(heard: Activations) -> Tensor:
        logits = heard.layers[LOGITS]
        if heard.card.outputs == "independent":
            probabilities = logits.sigmoid()
        else:
            heads = logits.split(head_sizes(heard.card), dim=2)
            probabilities = torch.cat([head.softmax(dim=2) for head in heads], dim=2)
        if name == "auto":
            index = probabilities.detach().mean(dim=1).argmax(dim=1)
        else:
            index = logits.new_full((logits.shape[0],), class_index(name, heard.card), dtype=torch.long)
        return pick_class(probabilities, index).mean(dim=1)

    return class_term("probability", name, score)


def strongest_channel(name: str) -> Objective:
    """Maximise the mean of a layer's strongest channel, chosen in each window at each step.

    Args:
        name: The layer.

    Source:
        Camara Halac and Delgadino 2020: their dreams of several layers ascend each one's strongest unit.
    """
    return _channel_term(f"channel:{name}:auto", name, lambda heard: _channel_means(heard.layers[name]))


def strongest_channel_of(name: str, reference: str) -> Objective:
    """Maximise the mean of the channel that is strongest in another sound.

    Args:
        name: The layer.
        reference: The other sound; the channel is chosen from the whole of it, once.
    """

    def chosen_by(heard: Activations) -> Tensor:
        return _channel_means(heard.references[reference][name][None])

    return _channel_term(f"channel:{name}:of:{quoted(reference)}", name, chosen_by, frozenset({reference}))


def class_of(reference: str) -> Objective:
    """Maximise how sure a network is of the class that is heard most in another sound.

    Scored as ``class:NAME`` is, and chosen as ``class:auto`` is: patches by their level, silence never.

    Args:
        reference: The other sound; the class is chosen from the whole of it, once.

    Source:
        The package dreamsound 0.1.6.3, where a target sets the class.
    """

    def score(heard: Activations) -> Tensor:
        logits = heard.references[reference][LOGITS][None]
        index = loudest_class(logits, heard.reference_energy[reference][None], heard.card)
        return class_score(heard, index.expand(len(heard.layers[LOGITS])))

    references = frozenset({reference})
    return one_term(
        f"class:of:{quoted(reference)}", score, frozenset({LOGITS}), needs_energy=True, references=references
    )


def peak(inner: Objective) -> Objective:
    """Maximise a term at the patch, and in maps the place, where it is largest in each window.

    What a network hears at one moment is lifted there, not spread over the window. Where the term chooses a
    class or a channel by ``auto``, it does so at every place.

    Args:
        inner: One term of the kinds in `PEAKS`.

    Raises:
        ObjectiveError: It is a sum, or of a kind that has no value at every place.

    Source:
        The notebook of Camara Halac and Delgadino 2020, "max frame".

    >>> from dream_core.objectives.terms import layer
    >>> peak(layer("block3")).text
    'peak:layer:block3'
    """
    term = inner.terms[0]
    kind = term.text.partition(":")[0]
    if len(inner.terms) > 1 or term.factor != 1.0 or term.network or kind not in PEAKS:
        raise ObjectiveError(
            f"objective 'peak:{inner.text}': peak: takes one term of {', '.join(PEAKS)}, with factor and "
            "network before it, as 0.5*musicnn@peak:class:choir"
        )

    def score(heard: Activations) -> Tensor:
        (name,) = term.layers
        activation = heard.layers[name]
        apart = replace(
            heard,
            layers={name: _places_apart(activation)},
            energy=None if heard.energy is None else heard.energy.flatten()[:, None],
        )
        scores: Tensor = term.score(apart).unflatten(0, (len(activation), -1))
        if term.needs_energy:
            silent = patch_weights(heard.energy, scores[:, :, None]) == 0.0
            scores = scores.masked_fill(silent, -torch.inf)
        return scores.amax(dim=1)

    return Objective((replace(term, text=f"peak:{term.text}", score=score),))


def _channel_term(
    text: str,
    name: str,
    means_of: Callable[[Activations], Tensor],
    references: frozenset[str] = frozenset(),
) -> Objective:
    """Return an objective on the channel whose mean, by what is heard, is the largest."""

    def score(heard: Activations) -> Tensor:
        index = means_of(heard).detach().argmax(dim=1).expand(len(heard.layers[name]))
        means = _channel_means(heard.layers[name])
        return means.gather(1, index[:, None])[:, 0]

    return one_term(text, score, frozenset({name}), references=references)


def _channel_means(activation: Tensor) -> Tensor:
    """Return every channel's mean: ``(items, patches, channels, ...)`` -> ``(items, channels)``."""
    items, channels = activation.shape[0], activation.shape[2]
    means: Tensor = item_mean(activation.transpose(1, 2).flatten(0, 1)).unflatten(0, (items, channels))
    return means


def _places_apart(activation: Tensor) -> Tensor:
    """Return every place of every patch as an item of its own, ``(items * places, 1, channels)``."""
    flat = activation.flatten(3) if activation.ndim > 3 else activation[..., None]
    return flat.transpose(2, 3).flatten(0, 2)[:, None]
