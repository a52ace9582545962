"""The table of recordings: a CSV file that `scan` writes, people edit and `prepare` reads."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.errors import InputError
from bridge.files import write_whole

__all__ = ["COLUMNS", "Recording", "list_mistakes", "read_table", "shown_path", "write_table"]

COLUMNS: Final = (
    "path", "label", "group", "pitch", "velocity", "source", "split", "start_s", "duration_s", "licence",
)  # fmt: skip

_NAMED: Final = 8
"""So many mistakes are told in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file, or a part of one, and what is heard in it.

    Args:
        path: The file.
        label: The class.
        group: What must never be parted: the same recording, instrument or preset.
        pitch: MIDI key, -1 where unknown.
        velocity: 1..127, -1 where unknown.
        source: What kind of thing sounded, as ``acoustic``.
        split: ``train``, ``validation``, ``test`` or ``fold3`` where the data set says so.
        start_s: Where it begins in the file, in seconds.
        duration_s: How long it is, in seconds; 0 goes to the end.
        licence: Of the recording.
    """

    path: Path
    label: str
    group: str
    pitch: int = -1
    velocity: int = -1
    source: str = ""
    split: str = ""
    start_s: float = 0.0
    duration_s: float = 0.0
    licence: str = ""


def shown_path(path: Path, folder: Path) -> str:
    """Return a path as a table in a folder has it: relative where the file lies below, else absolute."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return str(path)


def write_table(path: Path, recordings: Iterable[Recording], *, overwrite: bool = False) -> None:
    """Write a table, whole or not at all.

    Raises:
        OutputError: It exists and may not be replaced, or cannot be written.
    """
    folder = path.absolute().parent
    with (
        write_whole(path, overwrite=overwrite) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in recordings:
            writer.writerow(
                (
                    shown_path(one.path.absolute(), folder),
                    one.label,
                    one.group,
                    one.pitch if one.pitch >= 0 else "",
                    one.velocity if one.velocity >= 0 else "",
                    one.source,
                    one.split,
                    f"{one.start_s:g}" if one.start_s else "",
                    f"{one.duration_s:.6f}" if one.duration_s else "",
                    one.licence,
                )
            )


def read_table(path: Path) -> list[Recording]:
    """Read a table; only ``path`` and ``label`` are needed, without ``group`` each file is one.

    Paths are relative to the table's folder.

    Raises:
        InputError: It is none, or lines of it make no sense; all of them are named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            _check_columns(path, columns)
            folder = path.absolute().parent
            recordings, mistakes = [], []
            for row in reader:
                try:
                    recordings.append(_read_row(row, folder))
                except ValueError as error:
                    mistakes.append(f"line {reader.line_num}: {error}")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make one with `reverie data scan FOLDER`") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; `reverie data scan {path}` makes a table of it") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no table of recordings in UTF-8: {error}") from None
    if mistakes:
        raise InputError(f"{path}: {list_mistakes(mistakes)}")
    if not recordings:
        raise InputError(f"{path}: has no lines below its header")
    return recordings


def list_mistakes(mistakes: Sequence[str]) -> str:
    """Return mistakes as one line, the first of many.

    >>> list_mistakes(["line 2: no label", "line 3: no path"])
    'line 2: no label; line 3: no path'
    """
    more = f"; and {len(mistakes) - _NAMED} more" if len(mistakes) > _NAMED else ""
    return "; ".join(mistakes[:_NAMED]) + more


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        found = ",".join(columns) or "none"
        raise InputError(
            f"{path}: has no column {' and no '.join(missing)}; its first line has {found}, a table of "
            f"recordings begins with {','.join(COLUMNS)}, of which path and label are needed"
        )


def _read_row(row: Mapping[str, str | None], folder: Path) -> Recording:
    cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
    for name in ("path", "label"):
        if not cells[name]:
            raise ValueError(f"no {name}")
    if "\0" in cells["path"]:
        raise ValueError("a path cannot hold a NUL character")
    return Recording(
        path=folder / cells["path"],
        label=cells["label"],
        group=cells["group"] or cells["path"],
        pitch=_read_key("pitch", cells["pitch"]),
        velocity=_read_key("velocity", cells["velocity"]),
        source=cells["source"],
        split=cells["split"],
        start_s=_read_seconds("start_s", cells["start_s"]),
        duration_s=_read_seconds("duration_s", cells["duration_s"]),
        licence=cells["licence"],
    )


def _read_key(name: str, text: str) -> int:
    if not text:
        return -1
    if not (text.isascii() and text.isdigit() and int(text) <= 127):
        raise ValueError(f"{name} {text!r} is no whole number of 0..127")
    return int(text)


def _read_seconds(name: str, text: str) -> float:
    try:
        value = float(text or 0.0)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} {text!r} is no number of seconds, 0 or more")
    return value
