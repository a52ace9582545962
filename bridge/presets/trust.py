"""What a preset reaches outside its own folder: plugins run as this user, and files become part of it.

A preset comes from anywhere. What it may use without asking: plugins by name and those in the system's plugin
folders or known from a scan, networks by name, and files in its own folder. For anything else the user says
that whoever wrote it is trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bridge.envelopes.schema import Hearing
from bridge.errors import PluginError, UntrustedError
from bridge.presets.model import Preset

__all__ = ["check_reaches", "find_files", "find_plugins", "find_reaches", "is_inside"]


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a file lies in a folder or below, wherever links lead."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def find_reaches(preset: Preset, folder: Path | None = None) -> Iterator[str]:
    """Name what a preset loads from outside its folder, one by one: plugins, and files.

    Args:
        preset: The preset.
        folder: Its own; None for one out of a manifest, which has none.
    """
    yield from find_plugins(preset)
    yield from find_files(preset, folder)


def find_plugins(preset: Preset) -> Iterator[str]:
    """Name the plugins a preset loads that are neither installed nor scanned."""
    # Nodes that are switched off may be switched on, so they count.
    plugins = [(f"node {node.id!r} loads", node.plugin or "") for node in preset.chain if node.use == "vst3"]
    plugins += [("[requires] names", plugin) for plugin in preset.requires.plugins]
    yield from (f"{what} the plugin {name!r}" for what, name in plugins if not _is_installed(name))


def find_files(preset: Preset, folder: Path | None) -> Iterator[str]:
    """Name the networks of other folders that a preset reads."""
    values = [(f"node {node.id!r}", value) for node in preset.chain for value in node.params.values()]
    values += [(f"variation {one.name!r}", value) for one in preset.variations for value in one.set.values()]
    values += [
        (f"modulator {one.id!r}", one.network) for one in preset.modulators if isinstance(one, Hearing)
    ]
    values += [("[requires]", name.partition("@sha256:")[0]) for name in preset.requires.networks]
    for where, value in values:
        is_file = isinstance(value, str) and value.endswith(".safetensors")
        if is_file and (folder is None or not is_inside(Path(str(value)), folder)):
            yield f"{where} reads the network {value!r}"


def check_reaches(where: str, reaches: Sequence[str]) -> None:
    """Refuse a preset that reaches outside its folder.

    Raises:
        UntrustedError: It does; every place is named.
    """
    if reaches:
        raise UntrustedError(
            f"{where}: reaches outside its folder and the plugin folders: {'; '.join(reaches)}. That runs "
            "with your rights. Allow it with --trust (in Python trust=True) if you trust whoever wrote it"
        )


def _is_installed(plugin: str) -> bool:
    """Return whether a plugin is one that this user has installed or scanned."""
    from bridge.hosts.bundle import standard_folders
    from bridge.hosts.installed_plugins import find_plugin
    from bridge.hosts.plugin_cache import PluginCache

    known = PluginCache.read()
    try:
        path, _ = find_plugin(plugin, cache=known)
    except PluginError:
        return True  # there is none of that name, so nothing is loaded
    scanned = (Path(bundle.path) for bundle in known.bundles.values() if not bundle.blocked)
    places = (*standard_folders(), *scanned)
    return any(is_inside(path, place) for place in places)
