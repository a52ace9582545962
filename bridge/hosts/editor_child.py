"""The child that shows a plugin's editor: asked by a line of JSON, it answers when loaded and when closed.

A line on its standard input, or the end of it, closes the window.
"""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from bridge.errors import PluginError, ReverieError
from bridge.hosts.pedalboard_backend import PedalboardBackend
from bridge.hosts.vstpreset import parse_vstpreset

__all__ = ["main"]


def main() -> None:
    """Show one editor and tell the state it leaves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(fact: dict[str, Any]) -> None:
        print(json.dumps(fact), file=answers, flush=True)

    request = json.loads(sys.stdin.readline())
    try:
        backend = PedalboardBackend(Path(request["path"]), request["plugin_name"])
        if request["state"] is not None:
            _restore(backend, base64.b64decode(request["state"]))
        before = backend.get_state()
        tell({})
        handler = _outlive_window_errors()
        backend.show_editor(_closed_by_parent())
        del handler
        after = backend.get_state()
    except ReverieError as error:
        tell({"refused": str(error)})
    else:
        told = {"name": backend.name, "version": backend.version, "is_changed": before != after}
        tell({**told, "state": base64.b64encode(after).decode()})
    # Plugins crash while they are torn down; nothing is left to save.
    os._exit(0)


def _restore(backend: PedalboardBackend, data: bytes) -> None:
    preset = parse_vstpreset(data, f"{backend.name}: state")
    if preset.uid != backend.uid.upper():
        raise PluginError(
            f"{backend.name}: this state belongs to another plugin (class {preset.uid}; this is "
            f"{backend.uid})"
        )
    backend.set_state(data)


def _closed_by_parent() -> threading.Event:
    closed = threading.Event()

    def wait() -> None:
        sys.stdin.readline()
        closed.set()

    threading.Thread(target=wait, daemon=True).start()
    return closed


def _outlive_window_errors() -> object:
    """Let the window system's complaints pass: by default any of them ends the process.

    pedalboard's host asks for a window that is not there where no desktop runs, as under Xvfb.
    """
    if sys.platform in ("win32", "darwin"):
        return None
    name = ctypes.util.find_library("X11")
    if name is None:
        return None
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    handler = kind(lambda _display, _error: 0)
    ctypes.CDLL(name).XSetErrorHandler(handler)
    return handler


if __name__ == "__main__":
    main()
