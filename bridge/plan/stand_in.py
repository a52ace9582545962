"""Who hears notes where the network that a preset names for it is not installed: `pitch`, which is shipped.

So played dreams need no download. What is planned is what is rendered: the plan names `pitch`, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bridge.presets.keyswitches import dreams_of
from bridge.presets.model import Preset

__all__ = ["stand_in"]

_WANTED: Final = "notes"
_SHIPPED: Final = "pitch"


def stand_in(preset: Preset, settings: Iterable[str] = ()) -> tuple[Preset, tuple[str, ...]]:
    """Return a preset whose dreams hear notes by `pitch` where `notes` is not installed, and what was done.

    A dream keeps its network where the user set it, where the preset asks for certain weights of it, and
    where its objective asks for more than notes: for a layer, say, which is another one in `pitch`.

    Args:
        preset: After settings and variation.
        settings: What the user set, as ``node.param=value``.
    """
    given = {text.partition("=")[0].strip() for text in settings}
    nodes = [
        node
        for node in preset.dream_nodes
        if node.params.get("network") == _WANTED and f"{node.id}.network" not in given
    ]
    if not nodes or any(text.startswith(f"{_WANTED}@") for text in preset.requires.networks):
        return preset, ()
    from bridge.processors.dream_needs import is_installed, wants_notes_alone

    if is_installed(_WANTED):
        return preset, ()
    moved = {
        node.id
        for node in nodes
        if all(wants_notes_alone(str(own.get("objective", ""))) for own in dreams_of(preset, node))
    }
    if not moved:
        return preset, ()
    chain = tuple(
        node.model_copy(update={"params": {**node.params, "network": _SHIPPED}}) if node.id in moved else node
        for node in preset.chain
    )
    told = tuple(
        f"node {name!r} hears notes by {_SHIPPED!r}: {_WANTED!r}, which the preset names and which hears "
        f"better, is not installed (reverie networks get {_WANTED})"
        for name in sorted(moved)
    )
    others = tuple(name for name in preset.requires.networks if name != _WANTED)
    requires = preset.requires.model_copy(update={"networks": others})
    return preset.model_copy(update={"chain": chain, "requires": requires}), told
