"""`reverie plugins edit`: a plugin's own window, and the state it leaves as a file that presets use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.console import note, say

__all__ = ["edit_command", "say_node"]


def edit_command(
    plugin: Annotated[str, typer.Argument(help="An installed plugin's name, or the path of a bundle.")],
    plugin_name: Annotated[
        str | None, typer.Option("--plugin-name", help="Which plugin, if the bundle has several.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="The .vstpreset to begin with; saved back to where no --out is."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The .vstpreset to write.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Open a plugin's own editor; save the state it leaves, and print the node that plays it."""
    from bridge.errors import OutputError
    from bridge.files import check_free, check_writable, write_whole
    from bridge.hosts.editor import check_display, edit_plugin
    from bridge.hosts.installed_plugins import find_plugin
    from bridge.hosts.vstpreset import read_state

    check_display()
    path, chosen = find_plugin(plugin, plugin_name)
    target = out or state or Path(f"{chosen or path.stem}.vstpreset")
    if target.suffix.lower() != ".vstpreset":
        raise OutputError(f"{target}: a plugin's state needs the suffix .vstpreset")
    if target != state:
        check_free(target, overwrite)
    check_writable(target)
    note(f"{chosen or path.stem}: close its window, or press Ctrl-C, to save {target}")
    edited = edit_plugin(path, chosen, state=None if state is None else read_state(state))
    if target == state and not edited.is_changed:
        note(f"{target}: nothing was changed")
    else:
        with write_whole(target) as part:
            part.write_bytes(edited.state)
    say_node(plugin, plugin_name, edited.version, target)


def say_node(plugin: str, plugin_name: str | None, version: str, state: Path) -> None:
    """Print the preset's node that plays a state."""
    node = {"id": "plugin", "use": "vst3", "plugin": plugin}
    if plugin_name is not None:
        node["plugin_name"] = plugin_name
    node |= {"plugin_version": version, "state": state.name}
    say("[[chain]]")
    for key, text in node.items():
        say(f"{key} = {json.dumps(text, ensure_ascii=False)}")
