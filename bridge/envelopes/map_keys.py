"""What ``[midi_map]`` of a preset may say: controllers with a target, and keys that choose an objective."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from dream_core.errors import ObjectiveError
from dream_core.names import parse_key
from dream_core.objectives.text import split_terms

__all__ = ["Keyswitch", "MidiMap", "controllers", "keyswitches", "split_map_key"]

_MAP_KEY = re.compile(
    r"(?:(cc|cc14_)(\d{1,3})|(pitch_bend|pressure|poly_pressure|velocity|note_number|gate))"
    r"(?:@(1[0-6]|[1-9]))?"
)


def split_map_key(key: str) -> tuple[str, int | None, int | None]:
    """Read the left side of a MIDI map as event, number and channel.

    Raises:
        ValueError: It is not a MIDI source.

    >>> split_map_key("cc14_1@2"), split_map_key("cc14"), split_map_key("pressure")
    (('cc14', 1, 2), ('cc', 14, None), ('channel_pressure', None, None))
    """
    matched = _MAP_KEY.fullmatch(key)
    if not matched:
        raise ValueError(
            f"{key!r} is not a MIDI source; 'cc1', 'cc14_1', 'pitch_bend', 'pressure', 'poly_pressure', "
            "'velocity', 'note_number' and 'gate' are accepted, each with '@3' for one channel"
        )
    controller, number, other, channel = matched.groups()
    highest = 31 if controller == "cc14_" else 127
    if controller and int(number) > highest:
        raise ValueError(
            f"{key!r}: there is no controller {number} here; {controller}0 to {controller}{highest}"
        )
    event = {"cc14_": "cc14", "pressure": "channel_pressure"}.get(controller or other, controller or other)
    return event, int(number) if controller else None, int(channel) if channel else None


def _check_map(mapping: dict[str, str | dict[str, str]]) -> dict[str, str | dict[str, str]]:
    for key, target in mapping.items():
        if isinstance(target, dict):
            if key != "notes":
                raise ValueError(f"{key} is a table; only notes is one: note names to objectives")
            keyswitches(mapping)
            continue
        if key == "notes":
            raise ValueError(
                f"notes = {target!r} is not a table; write for example "
                'notes = { "C1" = "class:flute", "D1" = "class:brass" }'
            )
        split_map_key(key)
        if not re.fullmatch(r"[^.]+\.[^.]+", target):
            raise ValueError(f"{key} = {target!r} is not a target; 'macro.depth' or 'node.param' is accepted")
    return mapping


class Keyswitch(NamedTuple):
    """A key that chooses something.

    Args:
        key: MIDI key.
        channel: On this one alone, 1..16; None: on any but that of drums.
    """

    key: int
    channel: int | None = None


def keyswitches(mapping: Mapping[str, str | Mapping[str, str]]) -> dict[Keyswitch, str]:
    """Return which objective each key of a MIDI map chooses, lowest key first.

    Raises:
        ValueError: A key is no note, is there twice, or its objective cannot be read.

    >>> switches = keyswitches({"cc1": "macro.depth", "notes": {"D1@16": "class:brass", "C1": "class:flute"}})
    >>> [(*switch, objective) for switch, objective in switches.items()]
    [(36, None, 'class:flute'), (38, 16, 'class:brass')]
    """
    notes = mapping.get("notes", {})
    switches: dict[Keyswitch, str] = {}
    for name, objective in notes.items() if isinstance(notes, Mapping) else ():
        switch = _parse_keyswitch(name)
        if switch in switches:
            raise ValueError(f"notes: {name!r} is there twice: key {switch.key} has two names")
        try:
            split_terms(objective)
        except ObjectiveError as error:
            raise ValueError(f"notes.{name}: {error}") from None
        switches[switch] = objective
    return dict(sorted(switches.items(), key=lambda item: (item[0].key, item[0].channel or 0)))


def _parse_keyswitch(text: str) -> Keyswitch:
    name, at, channel = text.partition("@")
    if at and not re.fullmatch(r"1[0-6]|[1-9]", channel):
        raise ValueError(f"notes: {text!r}: {channel!r} is not a channel; 1 to 16 are accepted, as C1@16")
    return Keyswitch(parse_key(name), int(channel) if at else None)


def controllers(mapping: Mapping[str, str | Mapping[str, str]]) -> dict[str, str]:
    """Return what a MIDI map connects besides its keyswitches: sources to targets."""
    return {key: target for key, target in mapping.items() if isinstance(target, str)}


MidiMap = Annotated[dict[str, str | dict[str, str]], AfterValidator(_check_map)]
"""MIDI source to macro or parameter, such as ``{"cc1": "macro.depth", "cc74@3": "filter.cutoff_hz"}``."""
