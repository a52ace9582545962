"""Files that appear whole or not at all, folders that only we write in, inputs that are really files."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

__all__ = [
    "give_name",
    "hash_file",
    "list_leftovers",
    "open_regular",
    "private_folder",
    "read_regular",
    "remove_leftovers",
    "write_whole",
]

_PREFIX = ".reverie-"
_MARK = ".made-by-reverie"
"""Lies in every private folder: a folder of the user's may well have such a name, but holds none of these."""
_FORGOTTEN_S = 86_400.0
"""After so long a private folder counts as left behind where its owner cannot be asked for."""
_NO_LINKS = {
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
    errno.EACCES,
}


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it, if it is one: a pipe would be waited for, a device never ends.

    Raises:
        OSError: It cannot be opened, or is a folder, a pipe, a socket or a device.
    """
    try:
        # Without NONBLOCK, opening a pipe waits for its writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:
        raise OSError(errno.EINVAL, "a file name cannot hold a NUL character", _shown(path)) from None
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a folder; a file is needed", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is a pipe, a socket or a device; copy it to a file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, limit_bytes: int | None = None) -> bytes:
    """Return what a file holds, if it is one and not too large.

    Raises:
        OSError: As `open_regular`; or it is larger than the limit.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if limit_bytes is not None and size > limit_bytes:
            raise OSError(errno.EFBIG, f"is larger than the {limit_bytes / 1e6:g} MB read here", str(path))
        return file.read(-1 if limit_bytes is None else size)


@contextlib.contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Make a folder beside files to come that nobody else writes in; it goes with all that is left in it.

    Its name cannot be foreseen, so nobody can have put a link there, and it stays locked while its process
    lives, so that `remove_leftovers` knows which ones were left behind.

    Raises:
        OSError: It cannot be made.
    """
    folder, lock = _make_private(parent)
    try:
        (folder / _MARK).touch()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def list_leftovers(parent: Path) -> list[Path]:
    """Return the private folders in a folder whose processes have ended without removing them."""
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                path = Path(entry.path)
                if (path / _MARK).is_file() and _is_forgotten(path):
                    found.append(path)
    return sorted(found)


def remove_leftovers(parent: Path) -> list[Path]:
    """Remove what `list_leftovers` finds, and return what is gone."""
    found = list_leftovers(parent)
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder for folder in found if not folder.exists()]


@contextlib.contextmanager
def write_whole(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a place to write a file to; it gets its name when all of it is there.

    Several processes may write the same file at the same time; the last one wins.

    Args:
        path: The file; its folder is made where it is missing.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        FileExistsError: It may not, and is there.
        OSError: It cannot be written; nothing is left of it, and what had its name before stays.
    """
    _make_parent(path)
    with private_folder(path.parent) as folder:
        part = folder / "part"
        yield part
        give_name(part, path, overwrite=overwrite)


def give_name(part: Path, path: Path, *, overwrite: bool) -> None:
    """Give a finished file its name, in one step.

    Raises:
        FileExistsError: Something has the name and may not be replaced, however lately it came.
    """
    if overwrite:
        part.replace(path)
    elif sys.platform == "win32":
        part.rename(path)  # refuses a name that is taken
    else:
        try:
            os.link(part, path)  # a rename would replace what came a moment ago
            part.unlink()
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # The name is taken by an empty file first, which fails where there is one already.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            part.replace(path)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    except ValueError:
        raise OSError(errno.EINVAL, "a file name cannot hold a NUL character", _shown(path)) from None


def _shown(path: Path) -> str:
    return str(path).replace("\0", "\\0")


if sys.platform == "win32":

    def _make_private(parent: Path) -> tuple[Path, int | None]:
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)), None

    def _is_forgotten(folder: Path) -> bool:
        # Files that are open cannot be removed here, so a folder in use survives.
        return time.time() - folder.stat().st_mtime > _FORGOTTEN_S

else:
    import fcntl

    def _make_private(parent: Path) -> tuple[Path, int | None]:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # taken for a leftover in the moment before it was locked
                os.close(handle)
                continue
            except OSError:  # some network shares know no locks
                os.close(handle)
                return folder, None
            if folder.exists():
                return folder, handle
            os.close(handle)

    def _is_forgotten(folder: Path) -> bool:
        try:
            handle = os.open(folder, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return time.time() - os.fstat(handle).st_mtime > _FORGOTTEN_S
        finally:
            os.close(handle)
        return True
