"""Files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import OutputError

__all__ = ["PART_SUFFIX", "check_free", "part_path", "write_whole"]

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
