"""Where a session's audio files are: paths beside it, and paths of the computer it was made on."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Media", "find_media", "is_file"]

_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_MAX_FOLDERS: Final = 8


class Media(NamedTuple):
    """A file, and what there is to say about where it was found."""

    path: str
    note: str = ""


def find_media(session: Path, written: str) -> Media:
    r"""Return the file that a session means by a path.

    A path from the top of a disk that is not there, as those of another computer are, is looked for beside
    the session: with the last of its folders, then by its name alone. What is not found stays as written.

    Args:
        session: The session's file.
        written: The path in it, with either slash.

    >>> find_media(Path("/nowhere/song.rpp"), "Audio\\kick.wav").path
    '/nowhere/Audio/kick.wav'
    >>> find_media(Path("/nowhere/song.rpp"), "D:\\Takes\\kick.wav").path
    'D:\\Takes\\kick.wav'
    """
    plain = written.replace("\\", "/")
    is_foreign = os.name != "nt" and _WINDOWS.match(written) is not None
    joined = str(session.parent / plain)
    if not is_foreign and (not Path(plain).is_absolute() or is_file(joined)):
        return Media(joined)
    parts = [part for part in plain.split("/")[1:] if part not in ("", ".")]
    for first in range(max(0, len(parts) - _MAX_FOLDERS), len(parts)):
        tail = parts[first:]
        near = str(session.parent.joinpath(*tail))
        if ".." not in tail and is_file(near):
            return Media(near, f"{written} is not there: {'/'.join(tail)} beside the session is taken")
    return Media(written)


def is_file(path: str) -> bool:
    """Whether a path of a session, whatever stands in it, is that of a file."""
    with contextlib.suppress(OSError, ValueError):  # too long for a name, or none
        return Path(path).is_file()
    return False
