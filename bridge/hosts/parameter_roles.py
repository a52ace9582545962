"""What each parameter of a plugin is for: the one place that knows what is the host's and what is a program.

A plugin shows a host everything as parameters: its knobs, the program it plays, its own bypass, its meters,
and sometimes the host's block size and sample rate as well. Only some of these are a user's to set, and the
order in which they are set matters: a program brings values of its own for all others. So

- a meter or what belongs to the host is never written, whoever asks;
- a fresh instance is told the state, then the program, then every other parameter that was set, and nothing
  that was not set.

The role is what the plugin itself says (flags). Where it does not answer, its titles and whether the
parameter can be automated decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from bridge.hosts.module_facts import ControllerFacts, ParameterFlag

__all__ = ["REFUSED_ROLES", "ParameterRole", "TellingOrder", "parameter_roles", "telling_order"]

ParameterRole = Literal["sound", "program", "bypass", "meter", "host"]

REFUSED_ROLES: Final[Mapping[ParameterRole, str]] = {
    "meter": "is a meter: the plugin shows a measurement there and takes no value",
    "host": "belongs to the host: it follows the render's own sample rate and block size",
}
"""Why a parameter of such a role cannot be set."""

_HOST_TITLES = re.compile(r"^\s*(buffer size|block size|sample rate|samplerate|latency)\s*$", re.IGNORECASE)
_PROGRAM_TITLES = re.compile(r"^\s*(current |factory )?(program|programs|presets)\s*$", re.IGNORECASE)
_METER_TITLES = re.compile(r"\b(meter|peak|rms|vu|reduction|(output|input) level)\b", re.IGNORECASE)


def parameter_roles(
    titles: Sequence[str], automatable: Sequence[bool], facts: ControllerFacts | None
) -> list[ParameterRole]:
    """Say what each parameter is for.

    Args:
        titles: The title of every parameter, as the host shows it.
        automatable: Whether the host may move it while it plays.
        facts: What the plugin itself says; None where it does not answer.
    """
    flags: Sequence[ParameterFlag | None] = [None] * len(titles)
    if facts is not None and facts.titles == tuple(title.strip() for title in titles):
        flags = facts.flags
    return [_role(*one) for one in zip(titles, automatable, flags, strict=True)]


def _role(title: str, is_automatable: bool, flags: ParameterFlag | None) -> ParameterRole:
    if flags is None:
        if not is_automatable and _HOST_TITLES.match(title):
            return "host"
        if not is_automatable and _METER_TITLES.search(title):
            return "meter"
        return "program" if _PROGRAM_TITLES.match(title) else "sound"
    if flags & ParameterFlag.READ_ONLY:
        return "host" if _HOST_TITLES.match(title) else "meter"
    if flags & ParameterFlag.PROGRAM_CHANGE:
        return "program"
    return "bypass" if flags & ParameterFlag.BYPASS else "sound"


class TellingOrder(NamedTuple):
    """What a plugin is told, in two turns.

    Args:
        programs: Positions of the parameters that choose a program.
        others: Positions of the rest.
        needs_a_block: Whether a block must be processed between the two: within one block a plugin takes
            its parameters in the order of their indices, and a program after another one undoes it.
    """

    programs: dict[int, float]
    others: dict[int, float]
    needs_a_block: bool


def telling_order(values: Mapping[int, float], roles: Sequence[ParameterRole]) -> TellingOrder:
    """Put what was set into the order in which a plugin must hear it.

    >>> telling_order({0: 0.5, 1: 0.2}, ["sound", "program"])
    TellingOrder(programs={1: 0.2}, others={0: 0.5}, needs_a_block=True)
    """
    programs = {index: value for index, value in values.items() if roles[index] == "program"}
    others = {index: value for index, value in values.items() if index not in programs}
    needs_a_block = bool(programs and others) and min(others) < max(programs)
    return TellingOrder(programs, others, needs_a_block)
