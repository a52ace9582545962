"""Objectives as text: ``0.5*layer:block3 + class:flute - channel:block4:17``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from dream_core.errors import ObjectiveError
from dream_core.names import nearest_names
from dream_core.objectives import classes
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
    n_arguments, form, build = _KINDS[kind]
    arguments = [a.strip().strip("\"'") for a in re.findall(r'"[^"]*"|\'[^\']*\'|[^:]+', match["arguments"])]
    if len(arguments) != n_arguments:
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
