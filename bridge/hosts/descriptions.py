"""Read what a plugin shows of its parameters, in the same way whichever host asks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.hosts.contract import HostedParameter
from bridge.hosts.module_facts import ControllerFacts
from bridge.hosts.parameter_roles import parameter_roles

__all__ = ["ShownParameter", "describe_parameters"]

_MANY_PARAMETERS = 256
_MOST_PROGRAMS = 1024
_EDGE_HALVINGS = 12
_NUMBER = re.compile(r"^\s*[-+]?(\d+\.?\d*|\.\d+)")


class ShownParameter(NamedTuple):
    """One parameter as a host shows it.

    Args:
        title: The plugin's own name for it.
        label: Its unit, as the plugin spells it.
        steps: How many intervals its travel has; 0 where it is continuous.
        default_raw: Position the plugin starts with.
        is_automatable: Whether the plugin lets a host move it while it plays.
        text_at: What the plugin displays at a position.
    """

    title: str
    label: str
    steps: int
    default_raw: float
    is_automatable: bool
    text_at: Callable[[float], str]


def describe_parameters(
    shown: Sequence[ShownParameter], facts: ControllerFacts | None
) -> tuple[HostedParameter, ...]:
    """Describe every parameter of a plugin, in its order.

    Args:
        shown: The parameters as the host shows them.
        facts: What the plugin itself says of them; None where it does not answer.
    """
    titles, automatable = [one.title for one in shown], [one.is_automatable for one in shown]
    roles = parameter_roles(titles, automatable, facts)
    parameters = []
    for one, role in zip(shown, roles, strict=True):
        is_program_list = role == "program" and 0 < one.steps < _MOST_PROGRAMS
        grid = np.linspace(0, 1, one.steps + 1) if is_program_list else raw_grid(one.steps, len(shown))
        parameters.append(
            HostedParameter(
                title=one.title,
                label=one.label.strip(),
                steps=one.steps,
                default_raw=one.default_raw,
                is_automatable=one.is_automatable and role not in ("meter", "host"),
                texts=_read_texts(one, grid),
                role=role,
            )
        )
    return tuple(parameters)


def _read_texts(one: ShownParameter, grid: npt.NDArray[np.float64]) -> tuple[tuple[float, str], ...]:
    """Ask for the texts, and where a continuous travel passes from a word to numbers, for where it does."""
    texts = [(float(raw), one.text_at(float(raw))) for raw in grid]
    if one.steps:
        return tuple(texts)
    edges = []
    for low, high in pairwise(texts):
        if is_number(low[1]) != is_number(high[1]):
            edges += _find_edge(low, high, one.text_at)
    return tuple(sorted(texts + edges))


def _find_edge(
    low: tuple[float, str], high: tuple[float, str], text_at: Callable[[float], str]
) -> list[tuple[float, str]]:
    """Halve the way between a word and a number, to within 1/4096 of a step of the grid."""
    is_low_number = is_number(low[1])
    for _ in range(_EDGE_HALVINGS):
        raw = (low[0] + high[0]) / 2.0
        middle = (raw, text_at(raw))
        if is_number(middle[1]) == is_low_number:
            low = middle
        else:
            high = middle
    return [low, high]


def is_number(text: str) -> bool:
    """Whether a plugin shows a number, with or without a unit."""
    return _NUMBER.match(text) is not None


def raw_grid(steps: int, n_parameters: int) -> npt.NDArray[np.float64]:
    """Return the positions at which a parameter is asked for its text.

    Every step where there are few; elsewhere enough to recognise a linear or a logarithmic travel. Plugins
    with thousands of parameters are asked less, since each answer costs a call.
    """
    n_points, n_names = (65, 256) if n_parameters <= _MANY_PARAMETERS else (9, 32)
    if 0 < steps < n_names:
        return np.linspace(0.0, 1.0, steps + 1)
    if steps:
        return np.unique(np.round(np.linspace(0.0, 1.0, n_points) * steps)) / steps
    return np.linspace(0.0, 1.0, n_points)
