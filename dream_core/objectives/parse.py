"""Objectives as text: ``0.5*layer:block3 + class:flute - channel:block4:17``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from dream_core.errors import ObjectiveError
from dream_core.names import nearest_names
from dream_core.objectives import classes, compared, strongest
from dream_core.objectives import terms as objectives
from dream_core.objectives.objective import Objective

__all__ = ["parse_objective"]

_TERM = re.compile(
    r"""\s*(?P<sign>[+-])?\s*
        (?:(?P<factor>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*\*\s*)?
        (?:(?P<network>\w[\w.-]*)\s*@\s*)?
        (?P<kind>[a-z_0-9]+)\s*:\s*
        (?P<arguments>(?:"[^"]*"|'[^']*'|[^\s+\-*"':]|(?<=[^\s+])-(?=[^\s]))+
          (?:\s*:\s*(?:"[^"]*"|'[^']*'|[^\s+\-*"':]|(?<=[^\s+])-(?=[^\s]))+)*)\s*""",
    re.VERBOSE,
)


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


def parse_objective(text: str | Objective) -> Objective:
    """Read an objective as presets write it.

    Args:
        text: Terms ``[factor*][network@]kind:argument[:argument]`` joined by ``+`` and ``-``; an argument
            with spaces or signs is quoted. An objective itself is returned as it is.

    Raises:
        ObjectiveError: The text is not an objective; the message points at the place.

    >>> parse_objective("layer:block3 - 0.5*musicnn@class:flute").text
    'layer:block3 - 0.5*musicnn@class:flute'
    """
    if isinstance(text, Objective):
        return text
    position, total = 0, None
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None or (total is not None and match["sign"] is None):
            raise ObjectiveError(
                f"objective {text!r}: cannot read {text[position:].strip()[:40]!r}; write terms such as "
                "0.5*layer:NAME + class:NAME - NETWORK@channel:NAME:17, names with spaces in quotes"
            )
        term = _build_term(match)
        subtracts = match["sign"] == "-"
        if total is None:
            total = -term if subtracts else term
        else:
            total = total - term if subtracts else total + term
        position = match.end()
    if total is None:
        raise ObjectiveError("the objective is empty; write for example layer:NAME or class:auto")
    return total


def _build_term(match: re.Match[str]) -> Objective:
    kind, written = match["kind"], match[0].strip(" +-")
    if kind not in _KINDS:
        raise ObjectiveError(
            f"objective {written!r}: no kind is called {kind!r}; {nearest_names(kind, _KINDS)}"
        )
    arguments = [a.strip().strip("\"'") for a in re.findall(r'"[^"]*"|\'[^\']*\'|[^:]+', match["arguments"])]
    if f"{kind}:of" in _KINDS and len(arguments) > 1 and arguments[-2] == "of":
        kind = f"{kind}:of"
    n_arguments, form, build = _KINDS[kind]
    if n_arguments not in (_ANY, len(arguments)):
        raise ObjectiveError(f"objective {written!r}: write it as {form}")
    term = build(arguments, written)
    if match["network"]:
        if match["network"].endswith(".safetensors"):
            raise ObjectiveError(
                f"objective {written!r}: a network is named here, not given by a file; put the file into the "
                "folder of networks and write the name its card has"
            )
        term = term.heard_by(match["network"])
    factor = float(match["factor"] or 1.0)
    if not math.isfinite(factor):
        raise ObjectiveError(f"objective {written!r}: the factor {match['factor']} is too large a number")
    return term * factor if match["factor"] else term
