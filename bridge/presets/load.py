"""Preset files: read by path or by name, on top of the presets they extend.

A preset that ``extends`` another says only what is different. What it is (uuid, revision, meta) is its own;
what sounds is inherited: tables key by key, nodes, modulators, macros and variations by their ids, routes by
source and target. An entry keeps what it does not say again, a node's `params` one by one; a node of another
`use` or plugin, or a modulator of another type, keeps nothing. What has a new id comes after the base's. Once
read, a preset is whole in itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.errors import PluginError, PresetError
from bridge.files import read_regular
from bridge.hosts.vstpreset import MAX_STATE_BYTES, decode_state, encode_state, parse_vstpreset
from bridge.presets.documents import parse_document, read_text
from bridge.presets.library import find_hidden, find_preset
from bridge.presets.migrate import migrate
from bridge.presets.model import Preset, parse_preset
from bridge.presets.toml_lines import find_line
from bridge.presets.trust import check_reaches, find_files, find_reaches, is_inside

__all__ = ["MAX_BASES", "load_noted", "load_preset", "preset_path", "read_preset", "with_location"]

MAX_BASES = 4
"""How many presets may stand on one another, the first not counted."""

_LISTS = {
    "chain": ("id",),
    "modulators": ("id",),
    "macros": ("id",),
    "variations": ("name",),
    "routes": ("source", "target"),
}
_PART = re.compile(r"(routes|modulators|macros|midi_map)(?:\[(\d+)\]|\.([^.:\s]+))(?:\.(\w+))?")
_IDENTITY = ("uuid", "revision", "meta")
_KINDS = {"chain": ("use", "plugin"), "modulators": ("type",)}
_TABLES = ("midi_map", "level", "tail", "requires")


def load_preset(name_or_path: str | Path, *, trust: bool = False) -> Preset:
    """Read a preset by name or by path, to render it.

    Args:
        name_or_path: ``lucid-bloom``, ``factory:lucid-bloom``, or a path that ends in ``.toml`` or ``.json``.
        trust: Whether it may reach outside its folder: to plugins from elsewhere, which run as this user, and
            to states, networks and presets in other folders.

    Raises:
        PresetError: It does not exist or does not validate.
        UntrustedError: It reaches outside its folder, and `trust` is false.

    >>> load_preset("null-reference").meta.category
    'Utility'
    """
    return load_noted(name_or_path, trust=trust)[0]


def load_noted(name_or_path: str | Path, *, trust: bool = False) -> tuple[Preset, tuple[str, ...]]:
    """Do as `load_preset`, and return beside the preset what the user should know of where it was found."""
    path, notes = preset_path(name_or_path), list[str]()
    if path != Path(name_or_path):
        notes += find_hidden(str(name_or_path))
    preset = _read_preset(path, (), trust, notes)
    if not trust:
        check_reaches(str(path), list(find_reaches(preset, path.parent)))
    return preset, tuple(dict.fromkeys(notes))


def preset_path(name_or_path: str | Path) -> Path:
    """Return the file that a name or a path means.

    Raises:
        PresetError: No preset has that name.
    """
    path = Path(name_or_path)
    is_path = path.suffix in (".toml", ".json") or len(path.parts) > 1
    return path if is_path else find_preset(str(name_or_path)).path


def with_location(name_or_path: str | Path, message: str) -> str:
    """Put the file, and the line where it can be told, before a message that names a part of a preset.

    Args:
        name_or_path: As `load_preset` takes it; the preset has been read without error.
        message: Begins with the part, as ``routes[0].target: ...`` or ``modulators.wave: ...``.
    """
    path = preset_path(name_or_path)
    data, text = _read(path, trust=True)  # it has been read before
    matched = _PART.match(message)
    line = None
    if matched and text:
        key, index, name, field = matched.groups()
        names = [entry.get("id") for entry in data.get(key, []) if isinstance(entry, dict)]
        # What a base brings stands before this file's own: there the number is not the file's.
        row = name if key == "midi_map" else names.index(name) if name in names else None
        row = int(index) if index and "extends" not in data else row
        if row is not None:
            line = find_line(text, (key, row, field or ""))
    return f"{path}: {message}" if line is None else f"{path}:{line}: {message}"


def read_preset(path: Path | str, *, trust: bool = False) -> Preset:
    """Read a preset file, TOML or JSON, and what it extends, to show or check it: it may name any plugin.

    Args:
        path: The file.
        trust: Whether states, networks and presets of other folders may be read for it.

    Raises:
        PresetError: A file cannot be read or does not validate.
        UntrustedError: It takes in a file of another folder, and `trust` is false.
    """
    preset = _read_preset(Path(path), (), trust, [])
    if not trust:
        check_reaches(str(path), list(find_files(preset, Path(path).parent)))
    return preset


def _read_preset(path: Path, above: tuple[str, ...], trust: bool, notes: list[str]) -> Preset:
    data, text = _read(path, trust)
    if "extends" not in data:
        return parse_preset(data, str(path), text)
    extends = data.pop("extends")
    base_path, revision = _find_base(extends, path, trust)
    above = (*above, os.path.realpath(path))
    if os.path.realpath(base_path) in above:
        raise PresetError(
            f"{path}: extends = {extends!r} leads back to {base_path}; a name is looked for nearest "
            "first, 'factory:NAME' takes the factory's"
        )
    if len(above) > MAX_BASES:
        raise PresetError(f"{path}: more than {MAX_BASES} presets extend one another; merge two of them")
    if base_path.parent != path.parent:
        notes += find_hidden(extends.partition("@")[0])
    base = _read_preset(base_path, above, trust, notes)
    if revision is not None and base.revision != revision:
        raise PresetError(
            f"{path}: extends = {extends!r}, but {base_path} is at revision {base.revision}; "
            f"check the sound and write @{base.revision}, or leave the revision out"
        )
    data = migrate(data, [node.id for node in base.chain])
    inherited = {key: value for key, value in base.to_dict().items() if key not in _IDENTITY}
    # Lines of one file say nothing about places in what several of them make together.
    return parse_preset(_merge(inherited, data), f"{path} (on top of {extends!r})")


def _find_base(extends: object, path: Path, trust: bool) -> tuple[Path, int | None]:
    """Return the file a preset extends, and the revision it was made on."""
    if not isinstance(extends, str) or not extends or "\0" in extends:
        raise PresetError(
            f"{path}: extends = {extends!r}; a preset's name such as 'lucid-bloom', "
            "'factory:lucid-bloom@1' or a file beside this one is accepted"
        )
    matched = re.search(r"@(\d{1,9})$", extends)
    name, revision = (extends[: matched.start()], int(matched[1])) if matched else (extends, None)
    if name.endswith((".toml", ".json")):
        if not trust and not is_inside(path.parent / name, path.parent):
            check_reaches(str(path), [f"it extends the preset {name!r}"])
        return path.parent / name, revision
    try:
        return find_preset(name).path, revision
    except PresetError as error:
        raise PresetError(f"{path}: extends: {error}") from None


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a preset's own data over its base's; what is malformed is left for the validation to name."""
    merged = {**base, **own}
    for key in _TABLES:
        if isinstance(own.get(key), dict):
            merged[key] = {**base[key], **own[key]}
    for key, names in _LISTS.items():
        if isinstance(own.get(key), list):
            merged[key] = _merge_lists(base[key], own[key], names, _KINDS.get(key, ()))
    return merged


def _merge_lists(
    base: list[dict[str, Any]], own: list[Any], names: tuple[str, ...], kinds: tuple[str, ...]
) -> list[Any]:
    """Join entries of one name, the first with the first; what is of another kind takes the base's place."""
    merged: list[Any] = list(base)
    rows: dict[str, list[int]] = {}
    for row, entry in enumerate(base):
        rows.setdefault(_name(entry, names), []).append(row)
    taken: set[int] = set()
    for entry in own:
        found = rows.get(_name(entry, names), []) if isinstance(entry, dict) else []
        place = next((one for one in found if one not in taken), None)
        if place is None:
            # A second entry of one id is the validation's to refuse, whole as it is.
            merged.append({**base[found[0]], **entry} if found and kinds else entry)
            continue
        taken.add(place)
        below = base[place]
        if any(kind in entry and entry[kind] != below.get(kind) for kind in kinds):
            merged[place] = {kinds[0]: below[kinds[0]], **entry}
            continue
        merged[place] = {**below, **entry}
        if isinstance(entry.get("params"), dict) and isinstance(below.get("params"), dict):
            merged[place]["params"] = {**below["params"], **entry["params"]}
    return merged


def _name(entry: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return repr([entry.get(name) for name in names])


def _read(path: Path, trust: bool) -> tuple[dict[str, Any], str]:
    """Return a file's data, and its text where errors can point at lines of it."""
    text = read_text(path, "preset file", PresetError)
    data = parse_document(text, path, PresetError)
    if not isinstance(data, dict):
        raise PresetError(f"{path}: a preset is a table; got {type(data).__name__}")
    return _with_states(data, path, trust), "" if path.suffix == ".json" else text


def _with_states(data: dict[str, Any], path: Path, trust: bool) -> dict[str, Any]:
    """Put the .vstpreset files that nodes name into the data, so that a preset is whole in itself."""
    chain = data.get("chain")
    outside: list[str] = []
    for node in chain if isinstance(chain, list) else ():
        state = node.get("state") if isinstance(node, dict) else None
        if isinstance(state, str) and state.lower().endswith(".vstpreset"):
            file = path.parent / state
            if not trust and not is_inside(file, path.parent):
                outside.append(f"node {node.get('id')!r} reads the state {state!r}")
                continue
            try:
                node["state"] = encode_state(read_regular(file, MAX_STATE_BYTES))
            except OSError as error:
                raise PresetError(
                    f"{path}: state = {state!r} cannot be read ({error.strerror}); it is looked for at {file}"
                ) from None
        if isinstance(state, str):
            is_file = node["state"] is not state
            place = str(file) if is_file else f"{path}: node {node.get('id')!r}: state"
            try:
                decoded = decode_state(node["state"], place)
                if is_file:
                    parse_vstpreset(decoded, place)
            except PluginError as error:
                raise PresetError(str(error)) from None
    check_reaches(str(path), outside)
    return data
