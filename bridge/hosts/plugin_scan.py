"""Which plugins are installed, found out without being taken down by one of them.

Every bundle is loaded in a child process of its own with a timeout. What it says is kept in a cache, keyed
by path, time of change and hash of the binary; what crashed or hung is kept there too, with the reason, and
is not tried again until its binary changes or it is asked for.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

import platformdirs
from pydantic import ConfigDict, Field, TypeAdapter

from bridge.errors import OutputError, PluginError, nearest_names
from bridge.files import hash_file, read_regular, write_whole
from bridge.hosts.bundle import PluginNotFoundError, check_bundle, standard_folders
from bridge.hosts.contract import SeveralPluginsError
from bridge.hosts.open_plugin import describe_plugin

__all__ = [
    "PluginCache",
    "PluginEntry",
    "ScannedBundle",
    "default_cache_path",
    "find_bundles",
    "find_plugin",
    "scan",
]

_CACHE_FORMAT: Final = 1
_MAX_CACHE_BYTES = 32 << 20
_CACHE_VARIABLE = "REVERIE_PLUGIN_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
    """One plugin of a bundle, as a list shows it."""

    name: str
    vendor: str
    version: str
    uid: str
    category: str
    is_instrument: bool
    n_parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedBundle:
    """What a scan found out about one bundle.

    Args:
        path: The bundle.
        mtime_ns: When its binary last changed.
        sha256: Hash of its binary; empty where there is none to hash.
        plugins: What is in it.
        blocked: Why it is not used; empty where it is fine.
    """

    path: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    mtime_ns: int = 0
    sha256: str = ""
    plugins: tuple[PluginEntry, ...] = ()
    blocked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CacheFile:
    """The cache as it is written; every field is checked here, and nowhere after."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    format: Literal[1]
    bundles: tuple[ScannedBundle, ...]


def default_cache_path() -> Path:
    """Return where the cache lies: the user's cache folder, or what REVERIE_PLUGIN_CACHE names."""
    named = os.environ.get(_CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("reverie")) / "plugins.json"


@dataclass(frozen=True, slots=True)
class PluginCache:
    """What scans have found, by the bundle's path.

    Args:
        path: The file it is kept in.
        bundles: Every bundle known.
    """

    path: Path
    bundles: Mapping[str, ScannedBundle] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None = None) -> PluginCache:
        """Read the cache; an absent, foreign or damaged one counts as empty, since a scan makes it anew."""
        path = default_cache_path() if path is None else path
        try:
            file = TypeAdapter(_CacheFile).validate_json(read_regular(path, _MAX_CACHE_BYTES), strict=True)
        except (OSError, ValueError):
            return cls(path)
        return cls(path, {bundle.path: bundle for bundle in file.bundles})

    def write(self) -> None:
        """Write the cache, whole or not at all."""
        bundles = sorted(self.bundles.values(), key=lambda bundle: bundle.path)
        text = json.dumps({"format": _CACHE_FORMAT, "bundles": [asdict(b) for b in bundles]}, indent=1)
        try:
            with write_whole(self.path) as part:
                part.write_text(text, encoding="utf-8")
        except OutputError as error:
            raise PluginError(
                f"{error}: the plugin cache; set {_CACHE_VARIABLE} to a place that can"
            ) from None

    def plugins(self) -> Iterator[tuple[ScannedBundle, PluginEntry]]:
        """Yield every plugin that may be used, by name."""
        found = [(bundle, plugin) for bundle in self.bundles.values() for plugin in bundle.plugins]
        yield from sorted(found, key=lambda pair: (pair[1].name.casefold(), pair[0].path))

    def blocked(self) -> Iterator[ScannedBundle]:
        """Yield every bundle that may not be used."""
        yield from sorted((b for b in self.bundles.values() if b.blocked), key=lambda bundle: bundle.path)


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
    on_bundle: Callable[[ScannedBundle, int, int], None] | None = None,
) -> PluginCache:
    """Find out which plugins are installed, and keep it.

    Args:
        folders: Where to look, folders or bundles; the system's own where nothing is said.
        cache: What is known; read from its usual place where nothing is said.
        timeout_s: Longest wait for one bundle to load.
        workers: How many are tried at once; as many as there are processors where nothing is said.
        retry_blocked: Try blocked bundles again though they have not changed.
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
        return _scan_bundle(path, None if old and old.blocked and retry_blocked else old, timeout_s)

    found = {
        p: b for p, b in known.bundles.items() if not any(Path(p).is_relative_to(place) for place in places)
    }
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for n_done, bundle in enumerate(pool.map(look, bundles), 1):
            found[bundle.path] = bundle
            if on_bundle is not None:
                on_bundle(bundle, n_done, len(bundles))
    result = PluginCache(known.path, found)
    result.write()
    return result


def _scan_bundle(path: Path, old: ScannedBundle | None, timeout_s: float) -> ScannedBundle:
    try:
        binary = check_bundle(path)
        mtime_ns = binary.stat().st_mtime_ns
        if old is not None and old.mtime_ns == mtime_ns and old.sha256:
            return old
        sha256 = hash_file(binary)
    except (PluginError, OSError) as error:
        return ScannedBundle(path=str(path), blocked=_reason(error, path))
    if old is not None and old.sha256 == sha256:
        return ScannedBundle(
            path=str(path), mtime_ns=mtime_ns, sha256=sha256, plugins=old.plugins, blocked=old.blocked
        )
    try:
        plugins = _describe_all(path, timeout_s)
    except PluginError as error:
        return ScannedBundle(path=str(path), mtime_ns=mtime_ns, sha256=sha256, blocked=_reason(error, path))
    return ScannedBundle(path=str(path), mtime_ns=mtime_ns, sha256=sha256, plugins=plugins)


def _describe_all(path: Path, timeout_s: float) -> tuple[PluginEntry, ...]:
    try:
        return (_describe(path, None, timeout_s),)
    except SeveralPluginsError as several:
        return tuple(_describe(path, name, timeout_s) for name in several.names)


def _describe(path: Path, name: str | None, timeout_s: float) -> PluginEntry:
    description = describe_plugin(path, name, (timeout_s, timeout_s))
    return PluginEntry(
        name=description.name,
        vendor=description.vendor,
        version=description.version,
        uid=description.uid,
        category=description.category,
        is_instrument=description.is_instrument,
        n_parameters=len(description.parameters),
    )


def _reason(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")


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
        PluginError: What has this name is blocked.
    """
    text = str(plugin)
    if isinstance(plugin, Path) or text.lower().endswith(".vst3") or "/" in text or os.sep in text:
        try:
            return Path(plugin).expanduser(), plugin_name
        except RuntimeError:
            raise PluginNotFoundError(f"{text}: no such plugin: there is no user of that name") from None
    known = PluginCache.read() if cache is None else cache
    matches = [
        (bundle, entry) for bundle, entry in known.plugins() if entry.name.casefold() == text.casefold()
    ]
    if matches:
        bundle, entry = matches[0]
        if len(matches) > 1:
            others = ", ".join(other.path for other, _ in matches[1:])
            warnings.warn(
                f"{text!r} is installed more than once: {bundle.path} is used, not {others}", stacklevel=3
            )
        return Path(bundle.path), entry.name if len(bundle.plugins) > 1 else None
    for folder in standard_folders():
        if _is_there(folder / f"{text}.vst3"):
            return folder / f"{text}.vst3", plugin_name
    for bundle in known.blocked():
        if Path(bundle.path).stem.casefold() == text.casefold():
            raise PluginError(
                f"{text}: blocked since its last scan: {bundle.blocked}. To try again run: "
                f"reverie plugins scan --retry-blocked {bundle.path}"
            )
    if _is_there(Path(text)):
        return Path(text), plugin_name
    names = [entry.name for _, entry in known.plugins()]
    hint = nearest_names(text, names) if names else "no plugin has been scanned"
    raise PluginNotFoundError(
        f"no plugin {text!r} is installed; {hint}. To look for plugins run: reverie plugins scan [FOLDER]"
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a name, or in a folder that may not be looked into
        return False
