"""Where presets live and how one is found by name.

Searched in this order, the first hit wins: ``presets/`` in the working folder, the folders in
``REVERIE_PRESETS``, the user's own folder, and the factory presets that come with the package.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from bridge.errors import PresetError, nearest_names

__all__ = ["PresetEntry", "find_hidden", "find_preset", "list_presets", "preset_folders"]

ENVIRONMENT_VARIABLE = "REVERIE_PRESETS"
ORIGINS = ("project", "environment", "user", "factory")


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetEntry:
    """A preset file that was found.

    Args:
        name: Its name for the command line: the file's stem.
        path: Where it is.
        origin: ``project``, ``environment``, ``user`` or ``factory``.
    """

    name: str
    path: Path
    origin: str


def preset_folders() -> list[tuple[str, Path]]:
    """Return the folders searched, nearest first, each with its origin."""
    folders = [("project", Path("presets"))]
    folders += [
        ("environment", Path(part))
        for part in os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)
        if part
    ]
    folders.append(("user", Path(platformdirs.user_data_dir("reverie", appauthor=False)) / "presets"))
    folders.append(("factory", _factory_folder()))
    return folders


def list_presets() -> list[PresetEntry]:
    """Return every preset that a name can reach; a nearer one hides a farther one of the same name."""
    return sorted(_nearest(_entries()).values(), key=lambda entry: entry.name)


def find_preset(name: str) -> PresetEntry:
    """Find a preset by name, in all folders or, as ``factory:lucid-bloom``, in those of one origin.

    Raises:
        PresetError: There is none; the nearest names are given.
    """
    origin, colon, own_name = name.partition(":")
    if colon:
        if origin not in ORIGINS:
            raise PresetError(f"{name!r}: no presets come from {origin!r}; {nearest_names(origin, ORIGINS)}")
        name = own_name
    name = unicodedata.normalize("NFC", name)
    entries = _nearest(entry for entry in _entries() if not colon or entry.origin == origin)
    if name not in entries:
        here = Path(f"{name}.toml")
        known = nearest_names(name, entries)
        hint = f"did you mean the file {str(here)!r}?" if _is_file(here) else known
        more = "`reverie presets list` shows all, a file's name ends in .toml"
        raise PresetError(f"no preset is called {name!r}; {hint} ({more})")
    return entries[name]


def find_hidden(name: str) -> Iterator[str]:
    """Say where a preset of another folder hides the factory's of the same name."""
    entries = [entry for entry in _entries() if entry.name == name]
    is_hidden = len(entries) > 1 and entries[0].origin != "factory" and entries[-1].origin == "factory"
    # In the repository's own folder both are one file.
    if is_hidden and entries[0].path.resolve() != entries[-1].path.resolve():
        yield (
            f"{name!r} is {entries[0].path} here, which hides the factory's preset of that name; "
            f"'factory:{name}' means that one"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a name
        return False


def _nearest(entries: Iterable[PresetEntry]) -> dict[str, PresetEntry]:
    found: dict[str, PresetEntry] = {}
    for entry in entries:
        found.setdefault(entry.name, entry)
    return found


def _entries() -> Iterator[PresetEntry]:
    for origin, folder in preset_folders():
        if folder.is_dir():
            for path in sorted(folder.glob("*.toml")):
                yield PresetEntry(name=unicodedata.normalize("NFC", path.stem), path=path, origin=origin)


def _factory_folder() -> Path:
    package = Path(str(resources.files("bridge")))
    # An editable install has the repository's own folder beside the package.
    return package / "_presets" if (package / "_presets").is_dir() else package.parent / "presets"
