"""Which audio files in a folder are whole, while other programs write into it.

Nothing tells for sure that a program has finished a file. It is taken for whole when its size and time have
stood still for a while and, where the system can say so, no program holds it open to write.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bridge.files import stamp_file
from bridge.plan.find_stems import audio_in

__all__ = ["SettledFiles", "is_written_to", "wakes"]

_LOOK_S = 1.0
"""How often a folder is looked at while a file is waited for, or where nothing tells of changes."""

_IDLE_LOOKS = 10
"""Where changes are told, a look is due all the same after so many turns: network shares do not tell all."""


@dataclass(slots=True)
class _Seen:
    stamp: str
    since_s: float
    is_taken: bool = False


class SettledFiles:
    """Tell of each audio file in folders once it is whole, and again after it has changed.

    Args:
        folders: Their own files are looked at, not those in folders below.
        settle_s: For so many seconds a file's size and time must have stood still.
    """

    def __init__(self, folders: Sequence[Path], settle_s: float) -> None:
        self._folders = folders
        self._settle_s = settle_s
        self._seen: dict[Path, _Seen] = {}

    @property
    def waiting(self) -> tuple[Path, ...]:
        """Files that were there at the last look and are not yet whole."""
        return tuple(path for path, seen in self._seen.items() if not seen.is_taken)

    def look(self, now_s: float) -> list[Path]:
        """Look at the folders, and return the files that are whole and were not told of as they are now.

        Args:
            now_s: Seconds on a clock that only goes forward.

        Raises:
            OSError: A folder is gone.
        """
        there: dict[Path, _Seen] = {}
        for path in sorted(path for folder in self._folders for path in audio_in(folder)):
            try:
                stamp = stamp_file(path)
            except OSError:  # gone since
                continue
            seen = self._seen.get(path)
            there[path] = seen if seen is not None and seen.stamp == stamp else _Seen(stamp, now_s)
        self._seen = there
        ready = [
            path
            for path, seen in there.items()
            if not seen.is_taken and now_s - seen.since_s >= self._settle_s and not is_written_to(path)
        ]
        for path in ready:
            there[path].is_taken = True
        return ready


def is_written_to(path: Path) -> bool:
    """Return whether a program holds a file open to write, as far as can be told.

    Linux tells it of the user's own programs. Windows lets nobody else write where a program has asked for
    that, as most do. Elsewhere nothing is known, and it is false.
    """
    if sys.platform == "win32":
        try:
            os.close(os.open(path, os.O_RDWR))
        except PermissionError:
            return os.access(path, os.W_OK)
        except OSError:
            return False
        return False
    return any(_linux_writers(path.resolve()))


def _linux_writers(path: Path) -> Iterator[bool]:
    """Go through the handles of all processes that are open at a file: whether they can write."""
    for handles in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError), os.scandir(handles) as entries:  # another user's, or ended just now
            for handle in entries:
                with suppress(OSError):
                    if Path(handle.path).readlink() == path:
                        yield _can_write(handles.parent / "fdinfo" / handle.name)


def _can_write(info: Path) -> bool:
    flags = next(line for line in info.read_text().splitlines() if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY


def wakes(folders: Sequence[Path], files: SettledFiles) -> Iterator[None]:
    """Return each time the folders are worth a look: at once, and then for ever.

    watchfiles, where it is installed, has the system tell of changes. Without it they are looked at every
    second, which finds the same files.
    """
    yield
    try:
        from watchfiles import watch
    except ImportError:
        while True:
            time.sleep(_LOOK_S)
            yield
    n_quiet = 0
    for changes in watch(
        *folders,
        watch_filter=None,
        debounce=200,
        rust_timeout=round(1000 * _LOOK_S),
        yield_on_timeout=True,
        recursive=False,
    ):
        n_quiet = 0 if changes or files.waiting else n_quiet + 1
        if n_quiet % _IDLE_LOOKS == 0:
            yield
