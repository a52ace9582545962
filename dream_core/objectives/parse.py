"""Objectives as text: ``0.5*layer:block3 + class:flute - channel:block4:17``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from dream_core.errors import ObjectiveError
from dream_core.names import nearest_names
from dream_core.objectives import classes, compared, notes, strongest
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


_ANY = 0
"""Stands for a number of arguments that the kind reads itself."""


def _after_kind(written: str, kind: str) -> str:
    return re.split(rf"\b{kind}\s*:\s*", written, maxsplit=1)[1]


def _names(written: str, kind: str, form: str, separator: str) -> tuple[str, list[str]]:
    """Read a layer, and after it names with a separator between them; those that hold one are quoted."""
    layer, _, rest = _after_kind(written, kind).partition(":")
    name = rf"""\s*("[^"]+"|'[^']+'|[^\s"'{separator}:][^"'{separator}:]*)\s*"""
    if not layer.strip() or not re.fullmatch(rf"{name}(?:{separator}{name})*", rest):
        raise ObjectiveError(f"objective {written!r}: write it as {form}")
    return layer.strip().strip("\"'"), [one.strip().strip("\"'") for one in re.findall(name, rest)]


def _axis(written: str) -> Objective:
    form = 'axis:LAYER:A-B, from stem B to stem A; a name with a dash in quotes, axis:LAYER:"a-b"-c'
    layer, ends = _names(written, "axis", form, "-")
    if len(ends) != 2:
        raise ObjectiveError(f"objective {written!r}: write it as {form}")
    return compared.axis(layer, *ends)


def _diverse(written: str) -> Objective:
    form = (
        "diverse:LAYER:REFERENCE[,REFERENCE]; the stems to differ from are named, since a stem's dream does "
        "not depend on what is rendered beside it"
    )
    return compared.diverse(*_names(written, "diverse", form, ","))


_KINDS: dict[str, tuple[int, str, Callable[[list[str], str], Objective]]] = {
    "layer": (1, "layer:NAME", lambda a, _: objectives.layer(a[0])),
    "layer_l2": (1, "layer_l2:NAME", lambda a, _: objectives.layer_l2(a[0])),
    "sum": (1, "sum:LAYER", lambda a, _: objectives.layer_sum(a[0])),
    "channel": (
        2,
        "channel:LAYER:INDEX, channel:LAYER:auto or channel:LAYER:of:REFERENCE",
        lambda a, t: (
            strongest.strongest_channel(a[0])
            if a[1] == "auto"
            else objectives.channel(a[0], _integer(a[1], t))
        ),
    ),
    "channel:of": (
        3,
        "channel:LAYER:of:REFERENCE",
        lambda a, _: strongest.strongest_channel_of(a[0], a[2]),
    ),
    "neuron": (2, "neuron:LAYER:INDEX", lambda a, t: objectives.neuron(a[0], _integer(a[1], t))),
    "direction": (2, "direction:LAYER:SEED", lambda a, t: objectives.direction(a[0], _integer(a[1], t))),
    "class": (
        1,
        'class:NAME, class:"Name with spaces", class:auto or class:of:REFERENCE',
        lambda a, _: classes.class_activation(a[0]),
    ),
    "class:of": (2, "class:of:REFERENCE", lambda a, _: strongest.class_of(a[1])),
    "probability": (
        1,
        'probability:NAME, probability:"Name with spaces" or probability:auto',
        lambda a, _: strongest.probability(a[0]),
    ),
    "peak": (
        _ANY,
        "peak:TERM, for example peak:class:NAME",
        lambda _, t: strongest.peak(parse_objective(_after_kind(t, "peak"))),
    ),
    "logit": (1, 'logit:NAME, logit:"Name with spaces" or logit:auto', lambda a, _: classes.logit(a[0])),
    "guided": (2, "guided:LAYER:REFERENCE", lambda a, _: objectives.guided(a[0], a[1])),
    "style": (2, "style:LAYER:REFERENCE", lambda a, _: objectives.style(a[0], a[1])),
    "invert": (2, "invert:LAYER:REFERENCE", lambda a, _: compared.invert(a[0], a[1])),
    "axis": (_ANY, "axis:LAYER:A-B", lambda _, t: _axis(t)),
    "diverse": (_ANY, "diverse:LAYER:REFERENCE[,REFERENCE]", lambda _, t: _diverse(t)),
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
    read = _PLAYED.get(term.kind)
    built = _build_kind(term) if read is None else read(term.arguments, written)
    if term.network:
        built = built.heard_by(term.network)
    for weight in term.weights:
        built = built.weighted_by(weight)
    return built if term.factor == 1.0 else built * term.factor


def _build_kind(term: TermText) -> Objective:
    kind, arguments = term.kind, [argument.text for argument in term.arguments]
    if f"{kind}:of" in _KINDS and len(arguments) > 1 and arguments[-2] == "of":
        kind = f"{kind}:of"
    n_arguments, form, build = _KINDS[kind]
    if n_arguments not in (_ANY, len(arguments)):
        raise ObjectiveError(f"objective {term.written!r}: write it as {form}")
    return build(arguments, term.written)
