"""Let sound dream: gradient ascent on what a network hears. Torch only.

This package knows no files of sound, MIDI, presets or plugins. Four axes are independent of each other:

- what the network hears   `frontend`, `networks`
- what is maximised        `objectives`
- how a step is taken      `updates`
- the loop                 `loop`

`frames` holds the network that learns one sound and plays on.
`settings` holds every setting of a dream, `runtime` devices and threads, `names` what notes are called,
`dsp` what all stand on, `training` how our own networks were made.

Names are loaded when first used: importing the package does not import Torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dream_core.errors import DreamError
    from dream_core.frontend.log_mel import FrontendSpec, LogMel
    from dream_core.loop.dream import dream, dream_each, open_stream
    from dream_core.loop.pending_steps import StepReport
    from dream_core.networks.card import Network, NetworkCard
    from dream_core.networks.registry import NetworkEntry, get_card, list_networks, load_network
    from dream_core.networks.wrap import wrap
    from dream_core.objectives.hear_patches import HeardPatches, hear_patches
    from dream_core.objectives.objective import Objective
    from dream_core.objectives.parse import parse_objective
    from dream_core.objectives.targets import Targets
    from dream_core.runtime import list_devices, resolve_device, set_threads
    from dream_core.settings import DreamSettings
    from dream_core.updates.contract import Update
    from dream_core.updates.registry import list_updates

__all__ = [
    "DreamError",
    "DreamSettings",
    "FrontendSpec",
    "HeardPatches",
    "LogMel",
    "Network",
    "NetworkCard",
    "NetworkEntry",
    "Objective",
    "StepReport",
    "Targets",
    "Update",
    "dream",
    "dream_each",
    "get_card",
    "hear_patches",
    "list_devices",
    "list_networks",
    "list_updates",
    "load_network",
    "open_stream",
    "parse_objective",
    "resolve_device",
    "set_threads",
    "wrap",
]

_HOMES = {
    "DreamError": "errors",
    "DreamSettings": "settings",
    "FrontendSpec": "frontend.log_mel",
    "HeardPatches": "objectives.hear_patches",
    "LogMel": "frontend.log_mel",
    "Network": "networks.card",
    "NetworkCard": "networks.card",
    "NetworkEntry": "networks.registry",
    "Objective": "objectives.objective",
    "StepReport": "loop.pending_steps",
    "Targets": "objectives.targets",
    "Update": "updates.contract",
    "dream": "loop.dream",
    "dream_each": "loop.dream",
    "get_card": "networks.registry",
    "hear_patches": "objectives.hear_patches",
    "list_devices": "runtime",
    "list_networks": "networks.registry",
    "list_updates": "updates.registry",
    "load_network": "networks.registry",
    "open_stream": "loop.dream",
    "parse_objective": "objectives.parse",
    "resolve_device": "runtime",
    "set_threads": "runtime",
    "wrap": "networks.wrap",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"dream_core.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dream_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
