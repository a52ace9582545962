"""From what a user names to a bundle and a plugin in it: a path, or the name of an installed plugin."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from bridge.errors import PluginError, nearest_names
from bridge.hosts.blocklist import is_blocked, read_blocklist
from bridge.hosts.bundle import PluginNotFoundError, standard_folders
from bridge.hosts.plugin_cache import PluginCache, PluginEntry, ScannedBundle

__all__ = ["BlockedPluginError", "find_plugin"]

_Match = tuple[ScannedBundle, PluginEntry]


class BlockedPluginError(PluginNotFoundError):
    """The user has blocked this plugin: for a render it is as if it were not installed."""


def find_plugin(
    plugin: str | Path, plugin_name: str | None = None, cache: PluginCache | None = None
) -> tuple[Path, str | None]:
    """Return the bundle, and the plugin in it, that a path or a name means.

    A name is looked up in the cache; where nothing has been scanned, a bundle of that name in the system's
    folders will do.

    Args:
        plugin: Path of a bundle (it ends in ``.vst3``, has a folder in it, or is there), or a plugin's name.
        plugin_name: Which plugin of the bundle, where a path is given.
        cache: What is known; read from its usual place where nothing is said.

    Raises:
        PluginNotFoundError: Nothing has this name.
        BlockedPluginError: The user has blocked it.
        PluginError: What has this name did not load when it was scanned.
    """
    text = str(plugin)
    known = PluginCache.read() if cache is None else cache
    blocked = read_blocklist()
    if isinstance(plugin, Path) or text.lower().endswith(".vst3") or "/" in text or os.sep in text:
        try:
            path = Path(plugin).expanduser()
        except RuntimeError:
            raise PluginNotFoundError(f"{text}: no such plugin: there is no user of that name") from None
        return _unless_blocked(blocked, known, path, plugin_name)
    matches = [
        (bundle, entry) for bundle, entry in known.plugins() if entry.name.casefold() == text.casefold()
    ]
    free = [
        (bundle, entry) for bundle, entry in matches if not is_blocked(blocked, Path(bundle.path), entry.name)
    ]
    if matches and not free:
        raise _refusal(text, blocked, Path(matches[0][0].path))
    if free:
        return _choose(text, free)
    for folder in standard_folders():
        if _is_there(folder / f"{text}.vst3"):
            return _unless_blocked(blocked, known, folder / f"{text}.vst3", plugin_name)
    for bundle, name, reason in known.blocked():
        if (name or Path(bundle.path).stem).casefold() == text.casefold():
            raise PluginError(
                f"{text}: blocked since its last scan: {reason}. To try again run: "
                f"reverie plugins scan --retry-blocked {bundle.path}"
            )
    if _is_there(Path(text)):
        return _unless_blocked(blocked, known, Path(text), plugin_name)
    names = [entry.name for _, entry in known.plugins()]
    hint = nearest_names(text, names) if names else "no plugin has been scanned"
    raise PluginNotFoundError(
        f"no plugin {text!r} is installed; {hint}. To look for plugins run: reverie plugins scan [FOLDER]"
    )


def _choose(text: str, matches: Sequence[_Match]) -> tuple[Path, str | None]:
    bundle, entry = matches[0]
    if len(matches) > 1:
        others = ", ".join(f"{other.path} ({_brief(each)})" for other, each in matches[1:])
        warnings.warn(
            f"{text!r} is installed more than once: {bundle.path} ({_brief(entry)}) is used, not {others}. "
            "To choose write the path instead of the name, or block the others: reverie plugins block PATH",
            stacklevel=4,
        )
    return Path(bundle.path), entry.name if len(bundle.plugins) > 1 else None


def _brief(entry: PluginEntry) -> str:
    return " ".join(part for part in (entry.version, entry.vendor and f"by {entry.vendor}") if part)


def _unless_blocked(
    blocked: tuple[str, ...], known: PluginCache, path: Path, plugin_name: str | None
) -> tuple[Path, str | None]:
    entry = known.entry(path, plugin_name) if blocked else None
    name = plugin_name or (entry.name if entry else None)
    if is_blocked(blocked, path, name):
        raise _refusal(name or str(path), blocked, path)
    return path, plugin_name


def _refusal(name: str, blocked: tuple[str, ...], path: Path) -> BlockedPluginError:
    line = str(path.absolute()) if str(path.absolute()) in blocked else name
    return BlockedPluginError(
        f"{name}: you have blocked this plugin; to use it again run: reverie plugins unblock {line!r}"
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a name, or in a folder that may not be looked into
        return False
