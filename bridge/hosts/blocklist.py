"""Plugins that the user has blocked for good: a text file, a plugin's name or a bundle's path in each line.

It is kept apart from the cache, which any scan may make anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from bridge.errors import OutputError, PluginError
from bridge.files import read_regular, write_whole
from bridge.hosts.plugin_cache import CACHE_VARIABLE

__all__ = ["default_blocklist_path", "is_blocked", "read_blocklist", "write_blocklist"]

_MAX_BYTES = 1 << 20
_FILE_NAME = "blocked-plugins.txt"


def default_blocklist_path() -> Path:
    """Return where the list lies: the user's settings, or beside what REVERIE_PLUGIN_CACHE names."""
    named = os.environ.get(CACHE_VARIABLE)
    return (Path(named).parent if named else Path(platformdirs.user_config_dir("reverie"))) / _FILE_NAME


def read_blocklist() -> tuple[str, ...]:
    """Return what is blocked, names and paths; nothing where there is no list.

    Raises:
        PluginError: There is a list that cannot be read: what it blocks must not be loaded.
    """
    path = default_blocklist_path()
    try:
        text = read_regular(path, _MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise PluginError(f"{path}: the list of blocked plugins cannot be read: {error}") from None
    return tuple(line for line in map(str.strip, text.splitlines()) if line)


def write_blocklist(blocked: tuple[str, ...]) -> None:
    """Write the list, whole or not at all."""
    path = default_blocklist_path()
    try:
        with write_whole(path) as part:
            part.write_text("".join(f"{line}\n" for line in blocked), encoding="utf-8")
    except OutputError as error:
        raise PluginError(f"{error}: the list of blocked plugins") from None


def is_blocked(blocked: tuple[str, ...], path: Path, name: str | None) -> bool:
    """Whether a plugin is on the list, by its name in any case or by its bundle's path."""
    names = {line.casefold() for line in blocked}
    return str(path.absolute()) in blocked or (name or path.stem).casefold() in names
