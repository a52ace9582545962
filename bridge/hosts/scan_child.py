"""The child of a scan: lists a bundle's plugins, or loads them one after another, and writes a line for each.

It is asked by one line of JSON and answers with lines of JSON on what was stdout; whatever plugins print goes
where stderr goes. It ends when the parent closes its end of the pipe. Only what a list shows is asked: no
texts of parameters, of which some plugins have a hundred thousand.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import ReverieError
from bridge.hosts.bundle import find_binary
from bridge.hosts.plugin_factory import PluginClass, read_factory

if TYPE_CHECKING:
    from bridge.hosts.contract import BackendName

__all__ = ["main"]

_WARM_UP_S = 0.5
"""How long an instrument may take to load its sounds: none are played here."""

Fact = dict[str, Any]


def main() -> None:
    """Answer one request, a line a plugin."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    path = Path(request["path"])
    classes = [PluginClass(**each) for each in request["classes"]]
    if request["backend"]:
        facts = _load(path, classes, request["backend"], request["has_several"])
    else:
        facts = _list(path)
    for fact in facts:
        print(json.dumps(fact), file=answers, flush=True)
    # Plugins crash while they are torn down; nothing is left to save.
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _list(path: Path) -> Iterator[Fact]:
    if sys.platform != "linux":
        yield from _list_by_host(path)
        return
    try:
        for each in read_factory(find_binary(path)):
            yield asdict(each)
    except ReverieError as error:
        yield {"refused": str(error)}


def _list_by_host(path: Path) -> Iterator[Fact]:
    from pedalboard import VST3Plugin

    empty = dict.fromkeys(("uid", "vendor", "version", "category", "sdk_version"), "")
    try:
        for name in VST3Plugin.get_plugin_names_for_file(str(path)):
            yield {"name": name, **empty}
    except Exception as error:  # pedalboard raises ImportError, RuntimeError, ValueError and more
        yield {"refused": str(error)}


def _load(path: Path, classes: list[PluginClass], backend: BackendName, has_several: bool) -> Iterator[Fact]:
    if backend == "pedalboard":
        describe = _through_pedalboard(path, has_several)
    else:
        describe = _through_minihost(path, has_several)
    yield {}  # the host is imported: from here on the plugins take the time
    for each in classes:
        try:
            yield describe(each)
        except Exception as error:  # hosts raise ImportError, RuntimeError, ValueError and more
            yield {"refused": f"cannot be loaded: {error}"}


def _through_pedalboard(path: Path, has_several: bool) -> Callable[[PluginClass], Fact]:
    from pedalboard import VST3Plugin

    from bridge.hosts.pedalboard_backend import ask_no_texts

    ask_no_texts()
    kept = []

    def describe(plugin: PluginClass) -> Fact:
        name = plugin.name if has_several else None
        loaded: Any = VST3Plugin(str(path), plugin_name=name, initialization_timeout=_WARM_UP_S)
        kept.append(loaded)  # letting one go may crash, and that is no fault of the next
        fact = {"is_instrument": bool(loaded.is_instrument), "n_parameters": len(loaded._parameters)}
        if plugin.uid:
            return fact
        return fact | {
            "class": {
                "uid": bytes(loaded.preset_data)[8:40].decode("ascii", "replace"),
                "vendor": loaded.manufacturer_name,
                "version": loaded.version,
                "category": loaded.category,
            }
        }

    return describe


def _through_minihost(path: Path, has_several: bool) -> Callable[[PluginClass], Fact]:
    import minihost

    from bridge.hosts.narrow_bundle import narrow_bundle

    kept = []

    def describe(plugin: PluginClass) -> Fact:
        shown = narrow_bundle(path, plugin) if has_several and plugin.uid else path
        loaded = minihost.Plugin(str(shown), 48000.0, 512, 2, 2, 0)
        kept.append(loaded)
        return {"is_instrument": loaded.num_input_channels == 0, "n_parameters": loaded.num_params}

    return describe


if __name__ == "__main__":
    main()
