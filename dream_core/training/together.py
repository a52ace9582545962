"""Several processes at one task: one lock, one queue of reports, a folder for one task alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dream_core.errors import SettingError

__all__ = ["lock_folder", "run_together"]

_LOCK = ".lock"
_LOOK_EVERY_S = 0.5


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep a folder for this process while it works there; a process that ends, however, lets go.

    Raises:
        SettingError: Another process is at work there.
    """
    handle = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            _lock(handle)
        except OSError:
            raise SettingError(
                f"{folder}: another process is at work there; wait for it (--jobs N does several trials at "
                "once)"
            ) from None
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def run_together(
    work: Callable[[Any, Callable[[Any], None], Any], None],
    task: Any,
    jobs: int,
    report: Callable[[Any], None],
) -> None:
    """Have several spawned processes do the same work, and pass on what they report.

    Args:
        work: Called in each with the task, a function to report with, and a lock that all share.
        task: Can be sent to another process.
        jobs: How many processes.
        report: Called here.

    Raises:
        SettingError: A process ended without being done; the others finish what they began.
    """
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    lock = context.Lock()
    started = [
        context.Process(target=_begin, args=(work, task, told, lock), daemon=True) for _ in range(jobs)
    ]
    for process in started:
        process.start()
    try:
        while any(process.is_alive() for process in started) or not told.empty():
            with contextlib.suppress(queue.Empty):
                report(told.get(timeout=_LOOK_EVERY_S))
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
            process.join()
    if failed := [process.exitcode for process in started if process.exitcode]:
        raise SettingError(
            f"{len(failed)} of {jobs} processes ended early (code {failed[0]}); the same command with "
            "--resume goes on, with fewer --jobs if memory was short"
        )


def _begin(work: Callable[[Any, Callable[[Any], None], Any], None], task: Any, told: Any, lock: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(task, told.put, lock)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however that came."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
