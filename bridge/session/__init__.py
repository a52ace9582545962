"""Sessions of DAWs: what they say of tempo, markers and stems, and rendered stems handed back to them."""

from __future__ import annotations

from pathlib import Path

from bridge.errors import SessionError, nearest_names
from bridge.session.model import Clip, ControllerLane, Note, Session, StemTrack, Track

__all__ = [
    "READABLE",
    "Clip",
    "ControllerLane",
    "Note",
    "Session",
    "StemTrack",
    "Track",
    "read_session",
]

READABLE = (".dawproject", ".rpp", ".als")
"""Suffixes of the session files that can be read."""


def read_session(path: Path | str) -> Session:
    """Read a session file of any kind known.

    Raises:
        SessionError: Not such a file, damaged, or of a kind that is not read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".dawproject":
        from bridge.session.dawproject import read_dawproject

        return read_dawproject(path)
    if suffix == ".rpp":
        from bridge.session.reaper import read_reaper

        return read_reaper(path)
    if suffix == ".als":
        from bridge.session.live import read_live

        return read_live(path)
    raise SessionError(
        f"{path}: sessions are not read from {suffix or 'such'} files; {nearest_names(suffix, READABLE)}"
    )
