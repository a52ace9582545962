"""An objective: terms that are added up, and the networks that hear them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from dream_core.errors import ClassNotFoundError, LayerNotFoundError, ObjectiveError
from dream_core.names import nearest_names
from dream_core.networks.card import NetworkCard
from dream_core.objectives.targets import ClassTargets, TargetUse

__all__ = ["KEYS", "LOGITS", "Activations", "Objective", "Term", "count_channels", "one_term", "quoted"]

LOGITS = "logits"
"""The name under which every network's outputs can be tapped."""

KEYS = "keys over time"
"""The name under which a network is tapped where it tells notes: by frames if it can, else by patches."""


@dataclass(frozen=True, slots=True)
class Activations:
    """What a network heard in a batch of items.

    Args:
        layers: Layer name to activations ``(items, patches, channels, ...)``.
        card: Of the network.
        energy: How much sound is in each patch ``(items, patches)``, where an objective asks for it.
        original: What was heard in the undreamed sound, where an objective asks for it.
        references: Reference name to layer name to activations ``(patches, channels, ...)``.
        reference_energy: Reference name to how much sound is in each of its patches ``(patches,)``, where an
            objective asks for energy.
        beside: Reference name to layer name to activations of the reference laid under each item, on the same
            grid of patches ``(items, patches, channels, ...)``, where an objective asks for it.
        starts_s: Where in the whole sound each patch begins, in seconds, ``(items, patches)``.
        targets: Of each of the terms' targets, what is wanted of the network's classes.
    """

    layers: Mapping[str, Tensor]
    card: NetworkCard
    energy: Tensor | None = None
    original: Mapping[str, Tensor] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    reference_energy: Mapping[str, Tensor] = field(default_factory=dict)
    beside: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    starts_s: Tensor | None = None
    targets: Mapping[TargetUse, ClassTargets] = field(default_factory=dict)


Score = Callable[[Activations], Tensor]


@dataclass(frozen=True, slots=True)
class Term:
    """One thing to maximise in what one network hears; terms are equal that are written alike.

    Args:
        text: How it is written, without factor and network.
        score: Maps what was heard to ``(items,)``.
        layers: Layers it needs.
        factor: How much it counts.
        network: Which network hears it; empty for the dream's own.
        needs_original: Whether it compares with the undreamed sound.
        needs_energy: Whether it asks how much sound is in each patch.
        references: Names of other sounds it compares with.
        aligned: Those of them that it compares moment by moment.
        check: Raises where a network does not fit.
        weights: Names of what `factor` is multiplied by over time.
        target: What is wanted over time, if the term asks for anything that is given so.
    """

    text: str
    score: Score = field(compare=False)
    layers: frozenset[str]
    factor: float = 1.0
    network: str = ""
    needs_original: bool = False
    needs_energy: bool = False
    references: frozenset[str] = frozenset()
    aligned: frozenset[str] = frozenset()
    check: Callable[[NetworkCard], None] = field(default=lambda _card: None, compare=False)
    weights: tuple[str, ...] = ()
    target: TargetUse | None = None

    @property
    def written(self) -> str:
        """The term with its weights and its network, without its factor."""
        weights = "".join(f"{{{name}}}*" for name in self.weights)
        return weights + (f"{self.network}@{self.text}" if self.network else self.text)


@dataclass(frozen=True, slots=True)
class Objective:
    """Something to maximise: terms that are added up, each heard by a network.

    Args:
        terms: What it adds up.
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        is_fitting = isinstance(self.terms, tuple) and all(isinstance(term, Term) for term in self.terms)
        if not is_fitting or not self.terms:
            raise ObjectiveError(
                f"an objective of {str(self.terms)[:60]!r}; one or more terms are accepted, as "
                "dream_core.parse_objective makes them of a text"
            )

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that hear it, in the order of its terms; the dream's own is the empty name."""
        return tuple(dict.fromkeys(term.network for term in self.terms))

    @property
    def references(self) -> frozenset[str]:
        """Names of the other sounds it compares with."""
        return frozenset[str]().union(*(term.references for term in self.terms))

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of what moves its terms over time, in their order."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term.weights))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what has to be given as wanted over time, in the order of its terms."""
        return tuple(dict.fromkeys(term.target.name for term in self.terms if term.target))

    @property
    def compares_moments(self) -> bool:
        """Whether it compares with the undreamed sound, or with another moment by moment."""
        return any(term.needs_original or term.aligned for term in self.terms)

    def check_speed(self, varispeed_octaves: float) -> None:
        """Raise where notes are to be heard at other speeds, at which they are other notes.

        Raises:
            ObjectiveError: They are.
        """
        if varispeed_octaves and any(KEYS in term.layers for term in self.terms):
            raise ObjectiveError(
                f"objective {self.text!r}: varispeed_octaves = {varispeed_octaves:g} lets the network hear "
                "other notes than are played; set it to 0"
            )

    def check(self, card: NetworkCard, others: Mapping[str, NetworkCard] | None = None) -> None:
        """Raise where a network does not have what the objective listens to.

        Args:
            card: Of the dream's own network.
            others: Cards of the other networks it names.
        """
        cards = {"": card, **(others or {})}
        for term in self.terms:
            if term.network in cards:
                self._check_term(term, cards[term.network], cards)

    def _check_term(self, term: Term, card: NetworkCard, cards: Mapping[str, NetworkCard]) -> None:
        known = [info.name for info in card.layers]
        for name in sorted(term.layers - {LOGITS, KEYS}):
            if name not in known:
                raise LayerNotFoundError(
                    f"objective {self.text!r}: network {card.name!r} has no layer {name!r}"
                    f"{_who_has(term, name, cards, 'layer')}; {nearest_names(name, known)}"
                )
            if count_channels(name, card) == 0:
                raise LayerNotFoundError(
                    f"objective {self.text!r}: network {card.name!r} has nothing at its layer {name!r}"
                )
        if LOGITS in term.layers and not card.classes:
            raise ClassNotFoundError(
                f"network {card.name!r} has no classes; use layer: or channel: with one of its layers"
            )
        try:
            term.check(card)
        except ClassNotFoundError as error:
            name = term.text.partition(":")[2].strip('"')
            raise ClassNotFoundError(f"{error}{_who_has(term, name, cards, 'class')}") from None

    @property
    def text(self) -> str:
        """How it is written in a preset."""
        first, *rest = self.terms
        return _written(first, sign="-" * (first.factor < 0)) + "".join(
            _written(term, sign=" - " if term.factor < 0 else " + ") for term in rest
        )

    def heard_by(self, network: str) -> Objective:
        """Return the same with another network for its terms, where they name none."""
        return Objective(tuple(replace(term, network=term.network or network) for term in self.terms))

    def weighted_by(self, name: str) -> Objective:
        """Return the same with one more weight that moves all of its terms."""
        return Objective(tuple(replace(term, weights=(*term.weights, name)) for term in self.terms))

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return Objective(self.terms + other.terms)

    def __sub__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        return self + -other

    def __mul__(self, factor: float) -> Objective:
        return Objective(tuple(replace(term, factor=factor * term.factor) for term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> Objective:
        return self * -1.0


def _who_has(term: Term, name: str, cards: Mapping[str, NetworkCard], kind: str) -> str:
    """Say which other network of the objective has what this one lacks."""
    for network, card in cards.items():
        names = card.classes if kind == "class" else tuple(info.name for info in card.layers)
        if network != term.network and name.casefold() in (one.casefold() for one in names):
            return f" ({card.name!r} has it: write {card.name}@{term.text})"
    return ""


def _written(term: Term, sign: str) -> str:
    size = abs(term.factor)
    return sign + (term.written if size == 1.0 else f"{repr(float(size)).removesuffix('.0')}*{term.written}")


def one_term(text: str, score: Score, layers: frozenset[str], **options: Any) -> Objective:
    """Return an objective of one term; `options` are `Term`'s."""
    return Objective((Term(text, score, layers, **options),))


def quoted(name: str) -> str:
    """Write a name so that an objective's text reads it back as one.

    >>> quoted("flute"), quoted("no vocals")
    ('flute', '"no vocals"')
    """
    return name if name.replace("_", "").isalnum() else f'"{name}"'


def count_channels(name: str, card: NetworkCard) -> int:
    """Return how many channels a layer of a network has."""
    if name == LOGITS:
        return len(card.classes)
    return next(info.n_channels for info in card.layers if info.name == name)
