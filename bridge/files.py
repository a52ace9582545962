"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import OutputError

__all__ = ["PART_SUFFIX", "check_free", "check_names", "hash_file", "part_path", "stamp_file", "write_whole"]

PART_SUFFIX = ".part"
"""How files end that are being written; hidden, and never taken for anything."""


def part_path(path: Path) -> Path:
    """Return where a file is while it is written: beside its place, under a hidden name."""
    return path.with_name(f".{path.name}{PART_SUFFIX}")


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse to replace a file unless that is allowed.

    Raises:
        OutputError: It exists.
    """
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; give another name, or allow it with --overwrite")


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a place to write a file to; it gets its name when all of it is there.

    Raises:
        OutputError: It cannot be written; nothing is left of it, and what had its name before stays.
    """
    part = part_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return  # its folder is none, or gone: there is nothing to remove


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
                f"{taken[key]} and {source} would both be written to {path}. Put what tells them apart into "
                "the name template, for example {index}, {preset}, {variation} or {midi}."
            )
        taken[key] = source


_HASH_BLOCK = 1 << 20


def stamp_file(path: Path) -> str:
    """Return size and time of a file: while they stay, so does its hash."""
    status = path.stat()
    return f"{status.st_size} bytes, {status.st_mtime_ns} ns"


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
