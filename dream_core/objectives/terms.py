"""What a dream maximises.

An objective says which layers it listens to and turns what the network heard into one score an item; larger
always means more of it. Objectives add, subtract and scale::

    0.5 * layer("block3") + class_logit("flute") - class_logit("brass")

and are written the same way in presets: ``0.5*layer:block3 + class:flute - class:brass``.

- ``layer:NAME``            mean activation of a layer (DeepDream; Mordvintsev et al. 2015)
- ``layer_l2:NAME``         mean squared activation of a layer
- ``channel:NAME:INDEX``    mean activation of one filter (Olah et al. 2017)
- ``neuron:NAME:INDEX``     one filter at the middle of each patch
- ``direction:NAME:SEED``   mean activation along a random direction in a layer's channels
- ``class:NAME``            a class's logit; ``class:auto`` takes, in each window, the class heard loudest
- ``guided:NAME:REFERENCE`` alignment with what a layer hears in another sound (guided DeepDream)
- ``style:NAME:REFERENCE``  likeness of a layer's Gram matrix to another sound's (Gatys et al. 2015)
- ``content:NAME``          likeness of a layer to what it heard in the undreamed sound
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from dream_core.errors import (
    ChannelNotFoundError,
    ClassNotFoundError,
    LayerNotFoundError,
    ObjectiveError,
)
from dream_core.names import nearest_names
from dream_core.networks.card import NetworkCard
from dream_core.runtime import draw_unit_vector

__all__ = [
    "LOGITS",
    "Activations",
    "Objective",
    "channel",
    "class_logit",
    "content",
    "direction",
    "guided",
    "layer",
    "layer_l2",
    "neuron",
    "style",
]

LOGITS = "logits"
"""The name under which every network's outputs can be tapped."""


@dataclass(frozen=True, slots=True)
class Activations:
    """What a network heard in a batch of items.

    Args:
        layers: Layer name to activations ``(items, patches, channels, ...)``.
        classes: Names of the network's outputs, in order.
        original: What was heard in the undreamed sound, where an objective asks for it.
        references: Reference name to layer name to activations ``(patches, channels, ...)``.
    """

    layers: Mapping[str, Tensor]
    classes: tuple[str, ...]
    original: Mapping[str, Tensor] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


Score = Callable[[Activations], Tensor]


@dataclass(frozen=True, slots=True)
class Objective:
    """Something to maximise: a score for each item, and the layers it listens to.

    Args:
        score: Maps what was heard to ``(items,)``.
        layers: Layers it needs.
        terms: What it adds up, as presets write it: factors and terms.
        needs_original: Whether it compares with the undreamed sound.
        references: Names of other sounds it compares with.
        checks: Each raises where a network does not fit.
    """

    score: Score
    layers: frozenset[str]
    terms: tuple[tuple[float, str], ...]
    needs_original: bool = False
    references: frozenset[str] = frozenset()
    checks: tuple[Callable[[NetworkCard], None], ...] = ()

    def check(self, card: NetworkCard) -> None:
        """Raise where the network does not have what the objective listens to."""
        known = [info.name for info in card.layers]
        for name in sorted(self.layers - {LOGITS}):
            if name not in known:
                raise LayerNotFoundError(
                    f"objective {self.text!r}: network {card.name!r} has no layer {name!r}; "
                    f"{nearest_names(name, known)}"
                )
            if _channels(name, card) == 0:
                raise LayerNotFoundError(
                    f"objective {self.text!r}: network {card.name!r} has nothing at its layer {name!r}"
                )
        if LOGITS in self.layers:
            _check_has_classes(card)
        for check in self.checks:
            check(card)

    @property
    def text(self) -> str:
        """How it is written in a preset."""
        first, *rest = self.terms
        return _written(*first, sign="-" * (first[0] < 0)) + "".join(
            _written(factor, term, sign=" - " if factor < 0 else " + ") for factor, term in rest
        )

    def __add__(self, other: Objective) -> Objective:
        return Objective(
            lambda heard: self.score(heard) + other.score(heard),
            self.layers | other.layers,
            self.terms + other.terms,
            self.needs_original or other.needs_original,
            self.references | other.references,
            self.checks + other.checks,
        )

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def __mul__(self, factor: float) -> Objective:
        return replace(
            self,
            score=lambda heard: factor * self.score(heard),
            terms=tuple((factor * own, term) for own, term in self.terms),
        )

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return self * -1.0


def _written(factor: float, term: str, sign: str) -> str:
    size = abs(factor)
    return sign + (term if size == 1.0 else f"{repr(float(size)).removesuffix('.0')}*{term}")


def _term(text: str) -> tuple[tuple[float, str], ...]:
    return ((1.0, text),)


def _item_mean(activation: Tensor) -> Tensor:
    return activation.flatten(1).mean(dim=1)


def _channels(name: str, card: NetworkCard) -> int:
    if name == LOGITS:
        return len(card.classes)
    return next(info.n_channels for info in card.layers if info.name == name)


def _check_channel(name: str, index: int) -> Callable[[NetworkCard], None]:
    def check(card: NetworkCard) -> None:
        n_channels = _channels(name, card)
        if not 0 <= index < n_channels:
            raise ChannelNotFoundError(
                f"layer {name!r} of network {card.name!r} has channels 0..{n_channels - 1}; got {index}"
            )

    return check


def layer(name: str) -> Objective:
    """Maximise the mean activation of a layer."""
    return Objective(lambda heard: _item_mean(heard.layers[name]), frozenset({name}), _term(f"layer:{name}"))


def layer_l2(name: str) -> Objective:
    """Maximise the mean squared activation of a layer, whatever its sign."""
    return Objective(
        lambda heard: _item_mean(heard.layers[name].square()), frozenset({name}), _term(f"layer_l2:{name}")
    )


def channel(name: str, index: int) -> Objective:
    """Maximise the mean activation of one filter of a layer."""
    return Objective(
        lambda heard: _item_mean(heard.layers[name][:, :, index]),
        frozenset({name}),
        _term(f"channel:{name}:{index}"),
        checks=(_check_channel(name, index),),
    )


def neuron(name: str, index: int) -> Objective:
    """Maximise one filter at the middle of each patch."""

    def score(heard: Activations) -> Tensor:
        activation = heard.layers[name][:, :, index]
        while activation.ndim > 2:
            activation = activation[:, :, activation.shape[2] // 2]
        return activation.mean(dim=1)

    return Objective(
        score, frozenset({name}), _term(f"neuron:{name}:{index}"), checks=(_check_channel(name, index),)
    )


def direction(name: str, seed: int = 0) -> Objective:
    """Maximise the mean activation along a random direction in the space of a layer's channels."""

    def score(heard: Activations) -> Tensor:
        activation = heard.layers[name].flatten(3) if heard.layers[name].ndim > 3 else heard.layers[name]
        means = activation.mean(dim=3) if activation.ndim > 3 else activation
        along = draw_unit_vector(means.shape[2], seed).to(means)
        return (means * along).sum(dim=2).mean(dim=1)

    return Objective(score, frozenset({name}), _term(f"direction:{name}:{seed}"))


def class_logit(name: str = "auto") -> Objective:
    """Maximise a class's logit; ``auto`` takes in each window, at each step, the class heard loudest."""

    def auto(heard: Activations) -> Tensor:
        means = heard.layers[LOGITS].mean(dim=1)
        return means.gather(1, means.detach().argmax(dim=1, keepdim=True))[:, 0]

    def check(card: NetworkCard) -> None:
        _check_has_classes(card)
        _class_index(name, card.classes, card.name)

    def named(heard: Activations) -> Tensor:
        index = _class_index(name, heard.classes, "this network")
        return heard.layers[LOGITS][:, :, index].mean(dim=1)

    if name == "auto":
        return Objective(auto, frozenset({LOGITS}), _term("class:auto"), checks=(_check_has_classes,))
    text = f"class:{name}" if name.replace("_", "").isalnum() else f'class:"{name}"'
    return Objective(named, frozenset({LOGITS}), _term(text), checks=(check,))


def _class_index(name: str, classes: tuple[str, ...], network: str) -> int:
    folded = [c.casefold() for c in classes]
    if name.casefold() not in folded:
        raise ClassNotFoundError(
            f"network {network!r} knows no class {name!r}; {nearest_names(name, classes)}"
        )
    return folded.index(name.casefold())


def _check_has_classes(card: NetworkCard) -> None:
    if not card.classes:
        raise ClassNotFoundError(
            f"network {card.name!r} has no classes; use layer: or channel: with one of its layers"
        )


def guided(name: str, reference: str) -> Objective:
    """Pull a layer towards what it hears in another sound, each place towards its best match.

    Source:
        Mordvintsev, Olah, Tyka 2015, "guided dreaming": for each place of the activation, ascend its
        dot product with the place of the reference that matches best.
    """

    def score(heard: Activations) -> Tensor:
        here = _places(heard.layers[name])
        guide = _places(heard.references[reference][name][None])[0]
        with torch.no_grad():
            best = torch.stack([_best_match(item, guide) for item in here])
        return (here * guide[best]).mean(dim=(1, 2))

    return Objective(
        score, frozenset({name}), _term(f"guided:{name}:{reference}"), references=frozenset({reference})
    )


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

    def gram(places: Tensor) -> Tensor:
        return places.transpose(-1, -2) @ places / places.shape[-2]

    def score(heard: Activations) -> Tensor:
        guide = _places(heard.references[reference][name][None])
        middle = guide.mean(dim=1, keepdim=True)
        target = gram(guide - middle)
        if not target.any():
            raise ObjectiveError(
                f"style:{name}:{reference}: the reference is the same everywhere at this layer; give a "
                "longer one, or choose another layer"
            )
        distance = (gram(_places(heard.layers[name]) - middle) - target).square().mean(dim=(1, 2))
        return -distance / (target.square().mean() + 1e-12)

    return Objective(
        score, frozenset({name}), _term(f"style:{name}:{reference}"), references=frozenset({reference})
    )


def content(name: str) -> Objective:
    """Keep a layer near what it heard in the undreamed sound, as a share of another objective."""

    def score(heard: Activations) -> Tensor:
        original = heard.original[name]
        distance = (heard.layers[name] - original).square().flatten(1).mean(dim=1)
        return -distance / (original.square().flatten(1).mean(dim=1) + 1e-12)

    return Objective(score, frozenset({name}), _term(f"content:{name}"), needs_original=True)


def _places(activation: Tensor) -> Tensor:
    """Return ``(items, places, channels)`` of ``(items, patches, channels, ...)``."""
    flat = activation.flatten(3) if activation.ndim > 3 else activation[..., None]
    return flat.transpose(2, 3).flatten(1, 2)
