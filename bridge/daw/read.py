"""A session file of any kind known, by its suffix."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.daw.model import Session
from bridge.errors import SessionError, nearest_names

__all__ = ["READABLE", "read_session"]

READABLE = (".dawproject", ".rpp", ".rpp-bak", ".als")
"""Suffixes of the session files that can be read."""


def read_session(path: Path | str) -> Session:
    """Read a session file of any kind known.

    Raises:
        SessionError: Not such a file, damaged, or of a kind that is not read.
    """
    with _without_collection():
        return _read(Path(path))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Let nobody search for cycles while a file is read.

    A hundred thousand points make a million objects, all of which live on: looking through them again and
    again is a tenth to a sixth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(path: Path) -> Session:
    suffix = path.suffix.lower()
    if suffix == ".dawproject":
        from bridge.daw.dawproject_read import read_dawproject

        return read_dawproject(path)
    if suffix in (".rpp", ".rpp-bak"):
        from bridge.daw.reaper import read_reaper

        return read_reaper(path)
    if suffix == ".als":
        from bridge.daw.live import read_live

        return read_live(path)
    raise SessionError(
        f"{path}: {suffix or 'such'} files cannot be read as sessions; {nearest_names(suffix, READABLE)}"
    )
