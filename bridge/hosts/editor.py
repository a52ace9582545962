"""A plugin's own editor, in a process of its own: a crash of it costs what was turned, and nothing else."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.errors import PluginError
from bridge.hosts.contract import BackendName
from bridge.hosts.plugin_cache import PluginCache
from bridge.hosts.start_child import start_child

__all__ = ["EditedPlugin", "check_display", "edit_plugin"]

_BY_NAME = "set parameters by name: reverie plugins state NAME --set parameter=value --out NAME.vstpreset"
_CLOSE_LINE = b"close\n"
_CLOSE_S = 10.0
"""How long an editor may take to close and tell its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedPlugin:
    """What came of an editor that was closed.

    Args:
        name: The plugin's name.
        version: Its version, as it spells it.
        state: Its state, the bytes of a ``.vstpreset``.
        is_changed: Whether the state is another than before.
    """

    name: str
    version: str
    state: bytes
    is_changed: bool


def check_display(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> None:
    """Refuse where no window can be shown.

    Raises:
        PluginError: No display is there.
    """
    if platform in ("win32", "darwin") or environment.get("DISPLAY"):
        return
    raise PluginError(
        "there is no display here (DISPLAY is not set), so no plugin can show its editor. Work at a desktop "
        f"or over ssh -X, or {_BY_NAME}"
    )


def edit_plugin(
    path: Path,
    plugin_name: str | None = None,
    *,
    state: bytes | None = None,
    on_open: Callable[[Callable[[], None]], None] | None = None,
) -> EditedPlugin:
    """Show a plugin's editor and return its state once the window is closed.

    Ctrl-C closes the window; what was set is kept.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.
        state: The state to begin with, the bytes of a ``.vstpreset``.
        on_open: Called when the plugin is loaded, with a function that closes its window.

    Raises:
        PluginError: No display, no editor, a state that is not the plugin's, or a crash of the plugin.
    """
    check_display()
    entry = PluginCache.read().entry(path, plugin_name)
    backend: BackendName = entry.backend if entry is not None else "pedalboard"
    if backend != "pedalboard":
        raise PluginError(
            f"{plugin_name or path.name}: hosted by {backend}, which shows no editors; {_BY_NAME}"
        )
    child = _EditorChild(path, plugin_name, state)
    try:
        child.wait_until_open()
        if on_open is not None:
            on_open(child.ask_to_close)
        return child.result()
    finally:
        child.end()


class _EditorChild:
    def __init__(self, path: Path, plugin_name: str | None, state: bytes | None) -> None:
        self._label = plugin_name or path.stem
        self._process = start_child("bridge.hosts.editor_child")
        request = {
            "path": str(path),
            "plugin_name": plugin_name,
            "state": None if state is None else base64.b64encode(state).decode(),
        }
        self._write(json.dumps(request).encode() + b"\n")

    def wait_until_open(self) -> None:
        self._read("while it was loaded")

    def ask_to_close(self) -> None:
        self._write(_CLOSE_LINE)

    def result(self) -> EditedPlugin:
        try:
            fact = self._read("while its editor was open")
        except KeyboardInterrupt:
            self.ask_to_close()
            watchdog = threading.Timer(_CLOSE_S, self._process.kill)
            watchdog.start()
            try:
                fact = self._read("while its editor was closed")
            finally:
                watchdog.cancel()
        return EditedPlugin(
            name=fact["name"],
            version=fact["version"],
            state=base64.b64decode(fact["state"]),
            is_changed=fact["is_changed"],
        )

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:  # it has just ended by itself; what it said is still to be read
            return

    def _read(self, when: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise PluginError(
                f"{self._label}: its process ended {when} ({ending}); nothing was saved. To test the plugin "
                f"run: reverie plugins check {self._label!r}"
            )
        fact: dict[str, Any] = json.loads(line)
        if "refused" in fact:
            raise PluginError(fact["refused"])
        return fact
