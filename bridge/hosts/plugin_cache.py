"""What scans have found, in a file: bundles, plugins, the host of each, what is blocked and why."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

import platformdirs
from pydantic import ConfigDict, Field, TypeAdapter

from bridge.errors import OutputError, PluginError
from bridge.files import read_regular, write_whole
from bridge.hosts.contract import BackendName

__all__ = ["CACHE_VARIABLE", "PluginCache", "PluginEntry", "ScannedBundle", "default_cache_path"]

_CACHE_FORMAT: Final = 2
_MAX_CACHE_BYTES = 32 << 20
CACHE_VARIABLE = "REVERIE_PLUGIN_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
    """One plugin of a bundle, as a list shows it.

    Args:
        name: Its name.
        vendor: Who made it.
        version: Its version, as it spells it.
        uid: Class id of its processor, 32 hexadecimal digits.
        category: ``Fx``, ``Instrument|Synth`` and the like.
        is_instrument: Whether it takes notes instead of audio.
        n_parameters: How many parameters it has; None where it was listed without being loaded.
        backend: The host that loads it.
        blocked: Why it is not used, though others of its bundle are; empty where it is fine.
    """

    name: str
    vendor: str
    version: str
    uid: str
    category: str
    is_instrument: bool
    n_parameters: int | None
    backend: BackendName
    blocked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedBundle:
    """What a scan found out about one bundle.

    Args:
        path: The bundle.
        mtime_ns: When its binary last changed.
        sha256: Hash of its binary; empty where there is none to hash.
        plugins: What is in it.
        blocked: Why nothing of it is used; empty where some of it is.
        hosts: The host that was asked for, or ``auto``.
    """

    path: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    mtime_ns: int = 0
    sha256: str = ""
    plugins: tuple[PluginEntry, ...] = ()
    blocked: str = ""
    hosts: BackendName | Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CacheFile:
    """The cache as it is written; every field is checked here, and nowhere after."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    format: Literal[2]
    bundles: tuple[ScannedBundle, ...]


def default_cache_path() -> Path:
    """Return where the cache lies: the user's cache folder, or what REVERIE_PLUGIN_CACHE names."""
    named = os.environ.get(CACHE_VARIABLE)
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
        """Read the cache; an absent, older or damaged one counts as empty, since a scan makes it anew."""
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
                f"{error}: the plugin cache; set {CACHE_VARIABLE} to a place that can"
            ) from None

    def plugins(self) -> Iterator[tuple[ScannedBundle, PluginEntry]]:
        """Yield every plugin that loads, by name."""
        found = [
            (bundle, plugin)
            for bundle in self.bundles.values()
            for plugin in bundle.plugins
            if not plugin.blocked
        ]
        yield from sorted(found, key=lambda pair: (pair[1].name.casefold(), pair[0].path))

    def blocked(self) -> Iterator[tuple[ScannedBundle, str, str]]:
        """Yield what does not load: its bundle, the plugin's name or '' for all of it, and the reason."""
        for bundle in sorted(self.bundles.values(), key=lambda bundle: bundle.path):
            if bundle.blocked:
                yield bundle, "", bundle.blocked
            yield from ((bundle, plugin.name, plugin.blocked) for plugin in bundle.plugins if plugin.blocked)

    def entry(self, path: Path, plugin_name: str | None = None) -> PluginEntry | None:
        """Return what is known of a plugin, and of the only one in a bundle without its name."""
        bundle = self.bundles.get(str(path)) or self.bundles.get(str(path.resolve()))
        plugins = () if bundle is None else bundle.plugins
        if plugin_name is None:
            return plugins[0] if len(plugins) == 1 else None
        return next((plugin for plugin in plugins if plugin.name == plugin_name), None)
