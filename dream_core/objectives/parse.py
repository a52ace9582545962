"""Objectives as text: ``0.5*layer:block3 + class:flute - channel:block4:17``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dream_core.errors import ObjectiveError
from dream_core.names import nearest_names
from dream_core.objectives import classes, notes
from dream_core.objectives import terms as objectives
from dream_core.objectives.objective import Objective
from dream_core.objectives.text import Argument, TermText, split_terms

__all__ = ["parse_objective"]


def _integer(text: str, term: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        kind, layer = term.split(":")[:2]
        raise ObjectiveError(
            f"objective {term!r}: {text!r} is not a whole number of 0 or more; write for example "
            f"{kind}:{layer}:17"
        )
    return int(text)


_KINDS: dict[str, tuple[int, str, Callable[[list[str], str], Objective]]] = {
    "layer": (1, "layer:NAME", lambda a, _: objectives.layer(a[0])),
    "layer_l2": (1, "layer_l2:NAME", lambda a, _: objectives.layer_l2(a[0])),
    "channel": (2, "channel:LAYER:INDEX", lambda a, t: objectives.channel(a[0], _integer(a[1], t))),
    "neuron": (2, "neuron:LAYER:INDEX", lambda a, t: objectives.neuron(a[0], _integer(a[1], t))),
    "direction": (2, "direction:LAYER:SEED", lambda a, t: objectives.direction(a[0], _integer(a[1], t))),
    "class": (
        1,
        'class:NAME, class:"Name with spaces" or class:auto',
        lambda a, _: classes.class_activation(a[0]),
    ),
    "logit": (1, 'logit:NAME, logit:"Name with spaces" or logit:auto', lambda a, _: classes.logit(a[0])),
    "guided": (2, "guided:LAYER:REFERENCE", lambda a, _: objectives.guided(a[0], a[1])),
    "style": (2, "style:LAYER:REFERENCE", lambda a, _: objectives.style(a[0], a[1])),
    "content": (1, "content:LAYER", lambda a, _: objectives.content(a[0])),
}
"""Kinds with so many arguments: how they are written, and what they are."""

_PLAYED: dict[str, Callable[[Sequence[Argument], str], Objective]] = {
    "note": notes.read_note,
    "notes": notes.read_notes,
    "chords": notes.read_chords,
    "scale": notes.read_scale,
}
"""Kinds that read their arguments themselves."""


def parse_objective(text: str | Objective) -> Objective:
    """Read an objective as presets write it.

    Args:
        text: Terms ``[factor*][{weight}*][network@]kind:argument[:argument]`` joined by ``+`` and ``-``; an
            argument with spaces or signs is quoted. An objective itself is returned as it is.

    Raises:
        ObjectiveError: The text is not an objective; the message points at the place.

    >>> parse_objective("layer:block3 - 0.5*{edge}*musicnn@class:techno").text
    'layer:block3 - 0.5*{edge}*musicnn@class:techno'
    """
    if isinstance(text, Objective):
        return text
    first, *rest = (_build(term) for term in split_terms(text))
    for term in rest:
        first = first + term
    return first


def _build(term: TermText) -> Objective:
    written = term.written
    if term.kind not in (*_KINDS, *_PLAYED):
        raise ObjectiveError(
            f"objective {written!r}: no kind is called {term.kind!r}; "
            f"{nearest_names(term.kind, (*_KINDS, *_PLAYED))}"
        )
    if term.kind in _PLAYED:
        built = _PLAYED[term.kind](term.arguments, written)
    else:
        n_arguments, form, build = _KINDS[term.kind]
        if len(term.arguments) != n_arguments:
            raise ObjectiveError(f"objective {written!r}: write it as {form}")
        built = build([argument.text for argument in term.arguments], written)
    if term.network:
        built = built.heard_by(term.network)
    for weight in term.weights:
        built = built.weighted_by(weight)
    return built if term.factor == 1.0 else built * term.factor
