"""Keyswitches: keys of a preset's MIDI map that choose what its dreams maximise.

Each key's objective gets a weight of its own, which is 1 while that key was the last one pressed. Until the
first is pressed the dream's own objective holds, or the lowest key's where the node has none.
"""

from __future__ import annotations

from bridge.envelopes.map_keys import Keyswitch, keyswitches
from bridge.parameters import ParamValue
from bridge.presets.model import NodeSpec, Preset
from bridge.processors.catalogue import DREAMS_PARAMETERS
from dream_core.objectives.text import split_each, split_terms, weight_names

__all__ = ["OWN", "dreams_of", "key_weight", "played_params", "switched_keys"]

OWN = Keyswitch(-1)
"""Stands for the dream's own objective among the keys: no key presses it."""


def key_weight(switch: Keyswitch) -> str:
    """Return what the weight of a keyswitch is called.

    >>> key_weight(Keyswitch(36)), key_weight(Keyswitch(36, 16)), key_weight(OWN)
    ('key_36', 'key_36_16', 'key_none')
    """
    if switch == OWN:
        return "key_none"
    return f"key_{switch.key}" if switch.channel is None else f"key_{switch.key}_{switch.channel}"


def switched_keys(preset: Preset, node: NodeSpec) -> tuple[Keyswitch, ...]:
    """Return the keys that choose a node's objective, what holds before any is pressed first."""
    keys = tuple(keyswitches(preset.midi_map)) if node.use == "dream" else ()
    return (OWN, *keys) if keys and "objective" in node.params else keys


def played_params(preset: Preset, node: NodeSpec) -> dict[str, ParamValue]:
    """Return a node's parameters, for a dream with what its keyswitches choose as its objective."""
    params = dict(node.params)
    keys = switched_keys(preset, node)
    if keys:
        objectives = {OWN: str(params.get("objective", "")), **keyswitches(preset.midi_map)}
        params["objective"] = "".join(_weighted(objectives[key], key_weight(key)) for key in keys).lstrip(
            "+ "
        )
    return params


def dreams_of(preset: Preset, node: NodeSpec) -> tuple[dict[str, ParamValue], ...]:
    """Return the parameters of every dream of a node: one, or of `dreams` one for each objective.

    Keyswitches choose what a `dream` maximises; several are what they say.
    """
    if node.use != "dreams":
        return (played_params(preset, node),)
    shared = {name: value for name, value in node.params.items() if name not in ("each", "sum")}
    each = split_each(str(node.params.get("each", DREAMS_PARAMETERS["each"].default)))
    named = {objective: set(weight_names(objective)) for objective in each}
    weights = set[str]().union(*named.values())
    return tuple(
        {
            **{name: value for name, value in shared.items() if name not in weights - named[objective]},
            "objective": objective,
        }
        for objective in each
    )


def _weighted(objective: str, weight: str) -> str:
    """Return an objective's text with a weight before each of its terms."""
    return "".join(
        f" {'-' if term.is_subtracted else '+'} {{{weight}}}*{term.written}"
        for term in split_terms(objective)
    )
