"""One render at a time into one folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import OutputError

__all__ = ["lock_folder"]


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder while rendering into it; nothing is left in it afterwards.

    File systems that know no locks (some network shares) are written to without one.

    Raises:
        OutputError: Another render holds the folder.
    """
    handle = _lock(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _busy(folder: Path) -> OutputError:
    return OutputError(
        f"{folder}: another render is writing into this folder; wait for it to end, or choose another --out"
    )


if sys.platform == "win32":

    def _lock(folder: Path) -> int | None:
        # The file is gone with its handle, and so with its process.
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY
        try:
            return os.open(folder / ".reverie-lock", flags)
        except FileExistsError:
            raise _busy(folder) from None
        except OSError:
            return None

else:

    def _lock(folder: Path) -> int | None:
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise _busy(folder) from None
        except OSError:
            os.close(handle)
            return None
        return handle
