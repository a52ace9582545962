"""The audio files that files and folders name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge.audio.formats import AUDIO_SUFFIXES
from bridge.errors import AudioFileError, InputError

__all__ = ["audio_in", "find_stems", "resolve_path"]

_NAMED = 4
"""So many folders are named in a message; there may be many more."""


def find_stems(paths: Iterable[Path | str]) -> list[Path]:
    """Return the audio files that files and folders name, in order, each once.

    Raises:
        InputError: A path cannot be used as one, or a folder holds no audio.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if resolve_path(path).is_dir():
            found += _stems_in(path)
        else:
            found.append(path)
    if not found:
        raise AudioFileError("no stems were given; name audio files or a folder of them")
    return list(dict.fromkeys(resolve_path(path) for path in found))


def resolve_path(path: Path) -> Path:
    """Return a path as a plan holds it: absolute, through all links, and in valid Unicode.

    Raises:
        InputError: It cannot be one: a loop of links, a name too long, a name that is not UTF-8.
    """
    try:
        resolved = path.resolve()
        resolved.exists()  # asks the system, which knows how long a name may be
    except OSError as error:
        raise InputError(f"{path}: cannot be looked at ({error.strerror})") from None
    except RuntimeError:
        raise InputError(f"{path}: is a link that leads back to itself") from None
    except ValueError:
        raise InputError(f"{str(path)!r}: a file name cannot hold a NUL character") from None
    try:
        str(resolved).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{resolved}: the name is not UTF-8, so no manifest could hold it; rename the file or folder"
        ) from None
    return resolved


def _stems_in(folder: Path) -> list[Path]:
    stems = sorted(audio_in(folder))
    if stems:
        return stems
    below = sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(audio_in(path))
    )
    if below:
        named = ", ".join(str(path) for path in below[:_NAMED])
        more = f" and {len(below) - _NAMED} more" if len(below) > _NAMED else ""
        raise AudioFileError(f"{folder}: holds no audio files itself; give the folders in it: {named}{more}")
    raise AudioFileError(
        f"{folder}: the folder holds no audio files; {', '.join(AUDIO_SUFFIXES[:6])} ... are read"
    )


def audio_in(folder: Path) -> Iterator[Path]:
    """Go through the audio files of a folder, by their suffixes; hidden ones are none."""
    for path in folder.iterdir():
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
            yield path
