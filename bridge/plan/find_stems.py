"""The audio files that files and folders name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bridge.audio.formats import AUDIO_SUFFIXES
from bridge.errors import AudioFileError

__all__ = ["find_stems"]


def find_stems(paths: Iterable[Path | str]) -> list[Path]:
    """Return the audio files that files and folders name, in order, each once.

    Raises:
        AudioFileError: A path does not exist, or a folder holds no audio.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".")
            )
            if not inside:
                raise AudioFileError(
                    f"{path}: the folder holds no audio files; {', '.join(AUDIO_SUFFIXES[:6])} ... are read"
                )
            found += inside
        else:
            found.append(path)
    if not found:
        raise AudioFileError("no stems were given; name audio files or a folder of them")
    return list(dict.fromkeys(_resolve(path) for path in found))


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a NUL in the name
        shown = str(path).replace("\0", "\\0")
        raise AudioFileError(f"{shown}: leads to no file ({error})".replace("\0", "\\0")) from None
