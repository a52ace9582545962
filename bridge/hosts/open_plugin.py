"""Open a plugin: which backend, in which process."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bridge.errors import PluginError
from bridge.hosts.contract import BackendName, PluginDescription
from bridge.hosts.driver import LocalDriver, PluginDriver, load_backend

__all__ = [
    "DEFAULT_SAMPLE_RATE",
    "Isolation",
    "choose_backend",
    "describe_plugin",
    "has_minihost",
    "open_driver",
    "other_backend",
    "wants_clock",
]

Isolation = Literal["process", "none"]

DEFAULT_SAMPLE_RATE = 48000.0
"""Hz at which a plugin is described where no sound has said its rate yet."""

_CLOCK_WORDS = re.compile(r"\b(tempo|sync|bpm)\b|^\s*1/(1|2|4|8|16|32|64)\b", re.IGNORECASE)


def has_minihost() -> bool:
    """Whether the optional backend is installed."""
    return importlib.util.find_spec("minihost") is not None


def choose_backend(
    backend: BackendName | Literal["auto"],
    *,
    has_sidechain: bool = False,
    has_clock: bool = False,
    has_midi: bool = False,
) -> BackendName:
    """Return the backend to use.

    Args:
        backend: What was asked for.
        has_sidechain: Whether a second input is fed, which pedalboard cannot.
        has_clock: Whether the plugin follows the song's clock; without minihost it goes without.
        has_midi: Whether an effect is given MIDI, which pedalboard cannot.

    Raises:
        PluginError: What is asked for takes minihost, and that is not installed.
    """
    needs = "a sidechain" if has_sidechain else "MIDI into an effect" if has_midi else ""
    if backend == "pedalboard" and needs:
        lacks = needs.removeprefix("a ")
        raise PluginError(f'backend \'pedalboard\' has no {lacks}; use backend = "auto" or "minihost"')
    if (needs or backend == "minihost") and not has_minihost():
        why = f"{needs} takes the minihost backend, which" if needs else "backend 'minihost'"
        raise PluginError(f"{why} is not installed; run: pip install 'reverie-audio[host]'")
    if needs or backend == "minihost" or (backend == "auto" and has_clock and has_minihost()):
        return "minihost"
    return "pedalboard"


def other_backend(backend: BackendName) -> BackendName | None:
    """Return the backend to try where one cannot load a plugin; None where there is no other."""
    if backend == "minihost":
        return "pedalboard"
    return "minihost" if has_minihost() else None


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
    *,
    sample_rate: float = DEFAULT_SAMPLE_RATE,
) -> PluginDriver:
    """Load a plugin.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.
        backend: Which host.
        isolation: In a child process, or in this one.
        timeouts_s: Longest wait for an answer, and for the plugin to load.
        uid: Class id, for a module that does not tell its own.
        sample_rate: Hz; the parameters are described as the plugin shows them at this rate.

    Raises:
        PluginError: It cannot be loaded.
    """
    if isolation == "none":
        with _quiet_output():
            loaded = load_backend(path, plugin_name, backend, uid)
            loaded.ask_module()
            return LocalDriver(loaded, sample_rate)
    from bridge.hosts.child_driver import ChildDriver

    timeout_s, load_timeout_s = timeouts_s
    return ChildDriver(
        path,
        plugin_name,
        backend=backend,
        uid=uid,
        timeout_s=timeout_s,
        load_timeout_s=load_timeout_s,
        sample_rate=sample_rate,
    )


@contextmanager
def _quiet_output() -> Iterator[None]:
    """Keep off the terminal what a plugin prints while it is loaded into this process."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        yield
    finally:
        for descriptor, old in zip((1, 2), kept, strict=True):
            os.dup2(old, descriptor)
            os.close(old)
        os.close(nowhere)


def describe_plugin(
    path: Path,
    plugin_name: str | None,
    timeouts_s: tuple[float, float],
    backend: BackendName = "pedalboard",
) -> PluginDescription:
    """Load a plugin in a child only to hear what it says of itself."""
    driver = open_driver(path, plugin_name, backend, timeouts_s=timeouts_s)
    driver.close()
    return driver.description
