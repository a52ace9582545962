"""Run files: what a training run depends on, as TOML, so that it can be run again to the same bits.

The `run.toml` that every run leaves in its folder is one; those of the shipped networks lie beside their
weights: `timbre.toml` and `pitch.toml` in `dream_core/networks`. `[run]` says the kind, `[settings]` and
`[options]` hold what differs from their defaults, `[data]` what was learnt from.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dream_core.errors import SettingError
from dream_core.files import read_regular
from dream_core.names import nearest_names
from dream_core.networks import card
from dream_core.training.run_settings import RunSettings

__all__ = ["RunFile", "read_run_file"]

_TABLES = ("run", "settings", "options", "data", "result")
_RUN = {
    "name": str,
    "kind": str,
    "from": str,
    "with_pitch": bool,
    "threads": int,
    "torch": str,
    "device": str,
    "state": str,
}
_LIMIT_BYTES = 1 << 20
_SHIPPED = ("timbre", "pitch")
"""Networks whose run files lie beside their weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """A run, ready to be run again.

    Args:
        path: The file.
        name: What the network was called.
        kind: Which kind of network.
        base: For a head, on what it stands.
        with_pitch: Whether a second head hears the pitch class.
        threads: Of Torch; 0 where it says nothing. Another number gives other bits.
        torch: Its version; empty where it says nothing. Another version may give other bits.
        settings: Of the run.
        options: Of the kind, as text.
        notes: Which recipe makes the notes that are learnt from, `timbre`; empty: a data set is given.
        sha256: Of that data set; empty where it says nothing.
    """

    path: Path
    name: str
    kind: str
    base: str
    with_pitch: bool
    threads: int
    torch: str
    settings: RunSettings
    options: Mapping[str, str]
    notes: str
    sha256: str


def read_run_file(name: str) -> RunFile:
    """Read a run file.

    Args:
        name: Its path, or the name of a shipped network: `timbre` or `pitch`.

    Raises:
        SettingError: It cannot be read, or is none: everything that is wrong is named.
    """
    path = Path(name)
    if name in _SHIPPED and not path.exists():
        path = Path(card.__file__).with_name(f"{name}.toml")
    try:
        data = tomllib.loads(read_regular(path, _LIMIT_BYTES).decode())
    except (OSError, ValueError) as error:
        raise SettingError(
            f"--run {name}: cannot be read ({error}); the run.toml of a run's folder is needed (reverie "
            "networks runs --json lists them), or {' or '.join(_SHIPPED)}"
        ) from None
    mistakes = [f"[{key}]: {nearest_names(key, _TABLES)}" for key in data if key not in _TABLES]
    tables = {key: data.get(key, {}) for key in _TABLES}
    mistakes += [f"{key}: a table is needed" for key, one in tables.items() if not isinstance(one, dict)]
    if not mistakes:
        mistakes += _mistakes(tables["run"], _RUN, "run")
        accepted = {one.name: type(one.default) for one in fields(RunSettings)}
        mistakes += _mistakes(tables["settings"], accepted, "settings")
        mistakes += [f"[run] {key}: it is missing" for key in ("name", "kind") if key not in tables["run"]]
        if tables["data"].get("notes", "timbre") != "timbre":
            mistakes.append(f"[data] notes = {tables['data']['notes']!r}: 'timbre' is the one there is")
        if "notes" in tables["data"] and tables["run"].get("with_pitch"):
            mistakes.append("[run] with_pitch: the network of the recipe has one head")
    if mistakes:
        raise SettingError(f"{path}: {'; '.join(mistakes)}")
    run = tables["run"]
    try:
        settings = RunSettings(**tables["settings"])
    except SettingError as error:
        raise SettingError(f"{path}: [settings] {error}") from None
    return RunFile(
        path=path,
        name=run["name"],
        kind=run["kind"],
        base=run.get("from", ""),
        with_pitch=run.get("with_pitch", False),
        threads=run.get("threads", 0),
        torch=run.get("torch", ""),
        settings=settings,
        options={key: _as_text(value) for key, value in tables["options"].items()},
        notes=tables["data"].get("notes", ""),
        sha256=str(tables["data"].get("sha256", "")),
    )


def _mistakes(table: Mapping[str, Any], accepted: Mapping[str, type], name: str) -> list[str]:
    found = []
    for key, value in table.items():
        if key not in accepted:
            found.append(f"[{name}] {key}: {nearest_names(key, accepted)}")
        elif not _fits(value, accepted[key]):
            kinds = {int: "a whole number", float: "a number", bool: "true or false"}
            what = kinds.get(accepted[key], "text")
            found.append(f"[{name}] {key} = {str(value)[:40]!r}: {what} is needed")
    return found


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
