"""Files that appear whole or not at all, and the hash of one."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PART_SUFFIX", "hash_file", "part_path", "write_whole"]

PART_SUFFIX = ".part"
"""How files end that are being written; hidden, and never taken for anything."""


def part_path(path: Path) -> Path:
    """Return where a file is while it is written: beside its place, under a hidden name."""
    return path.with_name(f".{path.name}{PART_SUFFIX}")


@contextlib.contextmanager
def write_whole(path: Path, *, is_contended: bool = False) -> Iterator[Path]:
    """Give a place to write a file to; it gets its name when all of it is there.

    Args:
        path: The file; its folder is made where it is missing.
        is_contended: Whether other processes may write the same file at the same time; the last one wins.

    Raises:
        OSError: It cannot be written; nothing is left of it, and what had its name before stays.
    """
    part = part_path(path)
    if is_contended:
        part = part.with_name(f"{part.name.removesuffix(PART_SUFFIX)}.{os.getpid()}{PART_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):  # the folder itself may be gone, and the file with it
            part.unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
