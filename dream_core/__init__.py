"""Let sound dream: gradient ascent on what a network hears. Torch only.

This package knows no files, MIDI, presets or plugins. Four axes are independent of each other:

- what the network hears   ``frontend``, ``networks``, ``taps``
- what is maximised        ``objectives``, ``grammar``
- how a step is taken      ``updates``, ``mask``, ``spectral``, ``stereo``
- the loop                 ``ascent``, ``stream``, ``listener``, ``settings``

Names are loaded when first used: importing the package does not import Torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dream_core.ascent import dream, dream_each, list_updates, open_stream
    from dream_core.errors import DreamError
    from dream_core.grammar import parse_objective
    from dream_core.networks import get_card, list_networks, load_network
    from dream_core.runtime import list_devices, resolve_device, set_threads
    from dream_core.settings import DreamSettings

__all__ = [
    "DreamError",
    "DreamSettings",
    "dream",
    "dream_each",
    "get_card",
    "list_devices",
    "list_networks",
    "list_updates",
    "load_network",
    "open_stream",
    "parse_objective",
    "resolve_device",
    "set_threads",
]

_HOMES = {
    "DreamError": "errors",
    "DreamSettings": "settings",
    "dream": "ascent",
    "dream_each": "ascent",
    "get_card": "networks",
    "list_devices": "runtime",
    "list_networks": "networks",
    "list_updates": "ascent",
    "load_network": "networks",
    "open_stream": "ascent",
    "parse_objective": "grammar",
    "resolve_device": "runtime",
    "set_threads": "runtime",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"dream_core.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dream_core' has no attribute {name!r}")
