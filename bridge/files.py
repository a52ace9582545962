"""Files a user sees: written whole or not at all, never two under one name, known by their hash."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import OutputError
from dream_core import files
from dream_core.files import (
    hash_file,
    list_leftovers,
    open_regular,
    private_folder,
    read_regular,
    remove_leftovers,
)

__all__ = [
    "check_free",
    "check_names",
    "check_writable",
    "give_name",
    "hash_file",
    "list_leftovers",
    "open_regular",
    "private_folder",
    "read_regular",
    "remove_leftovers",
    "stamp_file",
    "write_whole",
]


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse to replace a file unless that is allowed.

    Raises:
        OutputError: It exists.
    """
    if not overwrite and os.path.lexists(path):
        raise OutputError(f"{path}: exists already; give another name, or allow it with --overwrite")


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written when it is known what goes into it, which may be much later.

    Raises:
        OutputError: It is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    there = next(one for one in path.absolute().parents if os.path.lexists(one))
    if not there.is_dir():
        raise OutputError(f"{path}: cannot be written ({there} is no folder)")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be written (nothing may be put into {there})")


def give_name(part: Path, path: Path, *, overwrite: bool) -> None:
    """Give a finished file its name, in one step.

    Raises:
        OutputError: A file of that name has appeared and may not be replaced.
        OSError: The system refuses.
    """
    try:
        files.give_name(part, path, overwrite=overwrite)
    except FileExistsError:
        raise OutputError(f"{path}: appeared while it was being written; nothing was replaced") from None


@contextmanager
def write_whole(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a place to write a file to; it gets its name when all of it is there.

    Several processes may write the same file at the same time; the last one wins.

    Args:
        path: The file; its folder is made where it is missing.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        OutputError: It cannot be written; nothing is left of it, and what had its name before stays.
    """
    try:
        with files.write_whole(path, overwrite=overwrite) as part:
            yield part
    except FileExistsError:
        raise OutputError(f"{path}: appeared while it was being written; nothing was replaced") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None


def check_names(targets: Iterable[tuple[str, Path]]) -> None:
    """Refuse two outputs under one name, also where only case or accents' encoding differ.

    Args:
        targets: ``(what it is made from, where it goes)``.

    Raises:
        OutputError: Naming both sources and the target.
    """
    taken: dict[str, str] = {}
    for source, path in targets:
        key = unicodedata.normalize("NFC", str(path)).casefold()
        if key in taken:
            raise OutputError(
                f"{taken[key]} and {source} would both be written to {path}. Add what differs to "
                "the name template, for example {index}, {preset}, {variation} or {midi}."
            )
        taken[key] = source


def stamp_file(path: Path) -> str:
    """Return size and time of a file: while they stay, so does its hash."""
    status = path.stat()
    return f"{status.st_size} bytes, {status.st_mtime_ns} ns"
