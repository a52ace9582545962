"""Who hears notes where the network that a preset names for it is not installed: `pitch`, which is shipped.

So played dreams need no download. What is planned is what is rendered: the plan names `pitch`, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bridge.errors import InputError
from bridge.presets.keyswitches import dreams_of
from bridge.presets.model import NodeSpec, Preset

__all__ = ["stand_in"]

_WANTED: Final = "notes"
_SHIPPED: Final = "pitch"


def stand_in(preset: Preset, given: Iterable[str] = ()) -> tuple[Preset, tuple[str, ...]]:
    """Return a preset whose dreams hear notes by `pitch` where `notes` is not installed, and what was done.

    A dream keeps its network where the user set it, where the preset asks for certain weights of it, and
    where its objective does not fit `pitch`: it names a layer that `pitch` does not have, say.

    Args:
        preset: After settings and variation.
        given: Parameters that the user set, as ``node.param``.
    """
    nodes = [
        node
        for node in preset.dream_nodes
        if node.params.get("network") == _WANTED and f"{node.id}.network" not in set(given)
    ]
    if not nodes or any(text.startswith(f"{_WANTED}@") for text in preset.requires.networks):
        return preset, ()
    from bridge.processors.dream_needs import is_installed

    if is_installed(_WANTED):
        return preset, ()
    moved = {node.id for node in nodes if _fits(preset, node)}
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


def _fits(preset: Preset, node: NodeSpec) -> bool:
    """Say whether a node's dreams can be dreamed by `pitch`."""
    from bridge.processors.dream import Dream

    try:
        for params in dreams_of(preset, node):
            Dream(**{**params, "network": _SHIPPED}).check()  # type: ignore[arg-type]
    except InputError:
        return False
    return True
