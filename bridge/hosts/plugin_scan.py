"""Which plugins are installed, found out without being taken down by one of them.

Every bundle is loaded in a child process of its own with a timeout. What it says is kept in a cache, keyed
by path, time of change and hash of the binary; what crashed or hung is kept there too, with the reason, and
is not tried again until its binary changes or it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bridge.errors import PluginError
from bridge.files import hash_file
from bridge.hosts.bundle import check_bundle, standard_folders
from bridge.hosts.plugin_cache import PluginCache, ScannedBundle
from bridge.hosts.scan_bundle import Hosts, describe_bundle

__all__ = ["find_bundles", "scan"]

_SPARE_WORKERS = 2
"""More than there are processors, since one that waits for a hung plugin uses none."""


def find_bundles(folders: Iterable[Path]) -> list[Path]:
    """Return every VST3 bundle in some folders and below, and those given directly; links to one are one."""
    found: dict[Path, Path] = {}
    for folder in folders:
        for path in _walk(folder):
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def _walk(folder: Path) -> Iterator[Path]:
    if folder.suffix.lower() == ".vst3":
        yield folder
        return
    try:
        children = sorted(folder.iterdir())
    except OSError:
        return
    for child in children:
        if child.suffix.lower() == ".vst3" or (child.is_dir() and not child.is_symlink()):
            yield from _walk(child)


def scan(
    folders: Iterable[Path] | None = None,
    *,
    cache: PluginCache | None = None,
    timeout_s: float = 30.0,
    workers: int | None = None,
    retry_blocked: bool = False,
    hosts: Hosts = "auto",
    on_bundle: Callable[[ScannedBundle, int, int], None] | None = None,
) -> PluginCache:
    """Find out which plugins are installed, and keep it.

    Args:
        folders: Where to look, folders or bundles; the system's own where nothing is said.
        cache: What is known; read from its usual place where nothing is said.
        timeout_s: Longest wait for one plugin to load.
        workers: How many are tried at once; a few more than there are processors where
            nothing is said.
        retry_blocked: Try again what is blocked though it has not changed.
        hosts: Which host is to load them; ``auto`` tries both, where both are installed, and remembers which
            one does. Another than last time, and a bundle is loaded again.
        on_bundle: Called with each finished bundle, how many are done and how many there are.

    Returns:
        The cache, written; bundles in these folders that are gone are forgotten.

    Raises:
        PluginError: A folder that was named does not exist, or the cache cannot be written.
    """
    places = list(standard_folders()) if folders is None else [Path(folder).absolute() for folder in folders]
    for place in places:
        if folders is not None and not place.exists():
            raise PluginError(f"{place}: no such folder or bundle to scan")
    known = PluginCache.read() if cache is None else cache
    bundles = find_bundles(places)

    def look(path: Path) -> ScannedBundle:
        old = known.bundles.get(str(path))
        is_blocked = old is not None and (old.blocked or any(plugin.blocked for plugin in old.plugins))
        is_stale = old is not None and (old.hosts != hosts or (is_blocked and retry_blocked))
        return _scan_bundle(path, None if is_stale else old, timeout_s, hosts)

    found = {
        p: b for p, b in known.bundles.items() if not any(Path(p).is_relative_to(place) for place in places)
    }
    with ThreadPoolExecutor(workers or (os.cpu_count() or 1) + _SPARE_WORKERS) as pool:
        for n_done, bundle in enumerate(pool.map(look, bundles), 1):
            found[bundle.path] = bundle
            if on_bundle is not None:
                on_bundle(bundle, n_done, len(bundles))
    result = PluginCache(known.path, found)
    result.write()
    return result


def _scan_bundle(path: Path, old: ScannedBundle | None, timeout_s: float, hosts: Hosts) -> ScannedBundle:
    try:
        binary = check_bundle(path)
        mtime_ns = binary.stat().st_mtime_ns
        if old is not None and old.mtime_ns == mtime_ns and old.sha256:
            return old
        sha256 = hash_file(binary)
    except (PluginError, OSError) as error:
        return ScannedBundle(path=str(path), blocked=_reason(error, path))
    if old is not None and old.sha256 == sha256:
        return replace(old, path=str(path), mtime_ns=mtime_ns)
    scanned = ScannedBundle(path=str(path), mtime_ns=mtime_ns, sha256=sha256, hosts=hosts)
    try:
        plugins = describe_bundle(path, hosts=hosts, timeout_s=timeout_s)
    except PluginError as error:
        return replace(scanned, blocked=_reason(error, path))
    if all(plugin.blocked for plugin in plugins):
        return replace(scanned, blocked=plugins[0].blocked)
    return replace(scanned, plugins=plugins)


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")
