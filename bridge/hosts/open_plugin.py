"""Open a plugin: which backend, in which process."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Literal

from bridge.errors import PluginError
from bridge.hosts.contract import BackendName, PluginDescription
from bridge.hosts.driver import LocalDriver, PluginDriver, load_backend

__all__ = ["Isolation", "choose_backend", "describe_plugin", "has_minihost", "open_driver", "wants_clock"]

Isolation = Literal["process", "none"]

_CLOCK_WORDS = re.compile(r"\b(tempo|sync|bpm)\b|^\s*1/(1|2|4|8|16|32|64)\b", re.IGNORECASE)


def has_minihost() -> bool:
    """Whether the optional backend is installed."""
    return importlib.util.find_spec("minihost") is not None


def choose_backend(
    backend: BackendName | Literal["auto"], *, has_sidechain: bool = False, has_clock: bool = False
) -> BackendName:
    """Return the backend to use.

    Args:
        backend: What was asked for.
        has_sidechain: Whether a second input is fed, which pedalboard cannot.
        has_clock: Whether the plugin follows the song's clock; without minihost it goes without.

    Raises:
        PluginError: What is asked for takes minihost, and that is not installed.
    """
    wants_minihost = backend == "minihost" or has_sidechain
    if backend == "pedalboard" and has_sidechain:
        raise PluginError('backend \'pedalboard\' has no sidechain; use backend = "auto" or "minihost"')
    if wants_minihost and not has_minihost():
        why = "a sidechain takes the minihost backend, which" if has_sidechain else "backend 'minihost'"
        raise PluginError(f"{why} is not installed; run: pip install 'reverie-audio[host]'")
    if wants_minihost or (backend == "auto" and has_clock and has_minihost()):
        return "minihost"
    return "pedalboard"


def wants_clock(description: PluginDescription) -> bool:
    """Whether a plugin seems to follow the song: a parameter speaks of tempo or sync, or shows note values.

    VST3 lets a plugin say so itself, but neither backend passes that on.
    """
    return any(
        _CLOCK_WORDS.search(text)
        for parameter in description.parameters
        for text in (parameter.title, *(text for _, text in parameter.texts))
    )


def open_driver(
    path: Path,
    plugin_name: str | None,
    backend: BackendName = "pedalboard",
    isolation: Isolation = "process",
    timeouts_s: tuple[float, float] = (10.0, 30.0),
    uid: str = "",
) -> PluginDriver:
    """Load a plugin.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.
        backend: Which host.
        isolation: In a child process, or in this one.
        timeouts_s: Longest wait for an answer, and for the plugin to load.
        uid: Class id, where it is known.

    Raises:
        PluginError: It cannot be loaded.
    """
    if backend == "minihost" and not uid:
        # minihost does not tell class ids, and a state without one cannot be checked: pedalboard is asked.
        uid = describe_plugin(path, plugin_name, timeouts_s).uid
    if isolation == "none":
        return LocalDriver(load_backend(path, plugin_name, backend, uid))
    from bridge.hosts.child_driver import ChildDriver

    timeout_s, load_timeout_s = timeouts_s
    return ChildDriver(
        path, plugin_name, backend=backend, uid=uid, timeout_s=timeout_s, load_timeout_s=load_timeout_s
    )


def describe_plugin(
    path: Path, plugin_name: str | None, timeouts_s: tuple[float, float]
) -> PluginDescription:
    """Load a plugin in a child only to hear what it says of itself."""
    driver = open_driver(path, plugin_name, timeouts_s=timeouts_s)
    driver.close()
    return driver.description
