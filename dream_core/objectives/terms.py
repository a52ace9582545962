"""What a dream maximises: layers, channels, other sounds.

An objective says which layers it listens to and turns what a network heard into one score an item; larger
always means more of it. Objectives add, subtract and scale::

    0.5 * layer("block3") + class_activation("flute") - class_activation("brass")

and are written the same way in presets: ``0.5*layer:block3 + class:flute - class:brass``. Before a term may
stand the network that hears it: ``class:flute + musicnn@class:choir``.

- ``layer:NAME``            mean activation of a layer (DeepDream; Mordvintsev et al. 2015)
- ``sum:NAME``              the same, a layer's filters added up
- ``layer_l2:NAME``         mean squared activation of a layer
- ``channel:NAME:INDEX``    mean activation of one filter (Olah et al. 2017)
- ``neuron:NAME:INDEX``     one filter at the middle of each patch
- ``direction:NAME:SEED``   mean activation along a random direction in a layer's channels
- ``class:NAME``, ``class:auto``, ``logit:NAME``, ``logit:auto``: see `classes`
- ``guided:NAME:REFERENCE`` alignment with what a layer hears in another sound (guided DeepDream)
- ``style:NAME:REFERENCE``  likeness of a layer's Gram matrix to another sound's (Gatys et al. 2015)
- ``content:NAME``          likeness of a layer to what it heard in the undreamed sound
- ``probability:``, ``channel:NAME:auto``, ``class:of:REFERENCE``, ``channel:NAME:of:REFERENCE``, ``peak:``:
  see `strongest`
- ``invert:``, ``axis:``, ``diverse:``: see `compared`
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dream_core.errors import ChannelNotFoundError, ObjectiveError
from dream_core.networks.card import NetworkCard
from dream_core.objectives.objective import Activations, Objective, count_channels, one_term
from dream_core.runtime import draw_unit_vector

__all__ = [
    "channel",
    "content",
    "direction",
    "gram",
    "guided",
    "item_mean",
    "layer",
    "layer_l2",
    "layer_sum",
    "neuron",
    "places",
    "style",
]


def item_mean(activation: Tensor) -> Tensor:
    """Return the mean of each item's activations ``(items,)``."""
    return activation.flatten(1).mean(dim=1)


def _check_channel(name: str, index: int) -> Callable[[NetworkCard], None]:
    def check(card: NetworkCard) -> None:
        n_channels = count_channels(name, card)
        if not 0 <= index < n_channels:
            raise ChannelNotFoundError(
                f"layer {name!r} of network {card.name!r} has channels 0..{n_channels - 1}; got {index}"
            )

    return check


def layer(name: str) -> Objective:
    """Maximise the mean activation of a layer."""
    return one_term(f"layer:{name}", lambda heard: item_mean(heard.layers[name]), frozenset({name}))


def layer_sum(name: str) -> Objective:
    """Maximise the sum over a layer's filters of each one's mean: `layer` times the number of filters.

    Alone it is the same direction; in a sum with other terms a wide layer counts for more.

    Source:
        Spiteri 2022, "Auditory DeepDreamer".
    """

    def score(heard: Activations) -> Tensor:
        return heard.layers[name].shape[2] * item_mean(heard.layers[name])

    return one_term(f"sum:{name}", score, frozenset({name}))


def layer_l2(name: str) -> Objective:
    """Maximise the mean squared activation of a layer, whatever its sign."""
    return one_term(
        f"layer_l2:{name}", lambda heard: item_mean(heard.layers[name].square()), frozenset({name})
    )


def channel(name: str, index: int) -> Objective:
    """Maximise the mean activation of one filter of a layer."""
    return one_term(
        f"channel:{name}:{index}",
        lambda heard: item_mean(heard.layers[name][:, :, index]),
        frozenset({name}),
        check=_check_channel(name, index),
    )


def neuron(name: str, index: int) -> Objective:
    """Maximise one filter at the middle of each patch."""

    def score(heard: Activations) -> Tensor:
        activation = heard.layers[name][:, :, index]
        while activation.ndim > 2:
            activation = activation[:, :, activation.shape[2] // 2]
        return activation.mean(dim=1)

    return one_term(f"neuron:{name}:{index}", score, frozenset({name}), check=_check_channel(name, index))


def direction(name: str, seed: int = 0) -> Objective:
    """Maximise the mean activation along a random direction in the space of a layer's channels."""

    def score(heard: Activations) -> Tensor:
        activation = heard.layers[name].flatten(3) if heard.layers[name].ndim > 3 else heard.layers[name]
        means = activation.mean(dim=3) if activation.ndim > 3 else activation
        along = draw_unit_vector(means.shape[2], seed).to(means)
        return (means * along).sum(dim=2).mean(dim=1)

    return one_term(f"direction:{name}:{seed}", score, frozenset({name}))


def guided(name: str, reference: str) -> Objective:
    """Pull a layer towards what it hears in another sound, each place towards its best match.

    Source:
        Mordvintsev, Olah, Tyka 2015, "guided dreaming": for each place of the activation, ascend its
        dot product with the place of the reference that matches best.
    """

    def score(heard: Activations) -> Tensor:
        here = places(heard.layers[name])
        guide = places(heard.references[reference][name][None])[0]
        with torch.no_grad():
            best = torch.stack([_best_match(item, guide) for item in here])
        return (here * guide[best]).mean(dim=(1, 2))

    return one_term(f"guided:{name}:{reference}", score, frozenset({name}), references=frozenset({reference}))


def _best_match(places: Tensor, guide: Tensor, n_at_once: int = 4096) -> Tensor:
    """Return for each place the guide's place it is most alike, part by part: guides may be long."""
    best = places.new_full((places.shape[0],), -torch.inf)
    index = torch.zeros(places.shape[0], dtype=torch.long, device=places.device)
    for start in range(0, guide.shape[0], n_at_once):
        values, found = (places @ guide[start : start + n_at_once].T).max(dim=1)
        index = torch.where(values > best, found + start, index)
        best = torch.maximum(values, best)
    return index


def style(name: str, reference: str) -> Objective:
    """Make a layer's channels vary together as they do in another sound.

    Source:
        Gatys, Ecker, Bethge 2015; Ulyanov and Lebedev 2016 for sound. Negative mean squared distance of
        Gram matrices, relative to the reference's own size. Activations are taken from the reference's
        mean: a network that hears log-mel answers silence with large constants that would drown the rest.
    """

    def score(heard: Activations) -> Tensor:
        guide = places(heard.references[reference][name][None])
        middle = guide.mean(dim=1, keepdim=True)
        target = gram(guide - middle)
        if not target.any():
            raise ObjectiveError(
                f"style:{name}:{reference}: the reference is the same everywhere at this layer; give a "
                "longer one, or choose another layer"
            )
        distance = (gram(places(heard.layers[name]) - middle) - target).square().mean(dim=(1, 2))
        return -distance / (target.square().mean() + 1e-12)

    return one_term(f"style:{name}:{reference}", score, frozenset({name}), references=frozenset({reference}))


def content(name: str) -> Objective:
    """Keep a layer near what it heard in the undreamed sound, as a share of another objective."""

    def score(heard: Activations) -> Tensor:
        original = heard.original[name]
        distance = (heard.layers[name] - original).square().flatten(1).mean(dim=1)
        return -distance / (original.square().flatten(1).mean(dim=1) + 1e-12)

    return one_term(f"content:{name}", score, frozenset({name}), needs_original=True)


def places(activation: Tensor) -> Tensor:
    """Return all places of all patches in a row.

    Shape:
        ``(items, patches, channels, ...)`` -> ``(items, places, channels)``.
    """
    flat = activation.flatten(3) if activation.ndim > 3 else activation[..., None]
    return flat.transpose(2, 3).flatten(1, 2)


def gram(rows: Tensor) -> Tensor:
    """Return how a layer's channels vary together over places.

    Shape:
        ``(..., places, channels)`` -> ``(..., channels, channels)``.
    """
    return rows.transpose(-1, -2) @ rows / rows.shape[-2]
