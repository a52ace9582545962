"""Threads and streams: one thread at a time in a processor, and a stream stays with the thread that began it.

Whole sounds wait for each other, so any number of threads may share a processor for those. Two streams
through one processor would hear each other's past; where that can be known it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from bridge.errors import ProcessorError

__all__ = ["StreamGuard", "hold_all"]


class StreamGuard:
    """The door of one processor.

    Attributes:
        n_begun: Streams and whole sounds so far: whoever goes on with a stream sees whether it is still his.
    """

    def __init__(self) -> None:
        self.n_begun = 0
        self._lock = threading.RLock()
        self._owner: threading.Thread | None = None

    @contextmanager
    def whole(self, name: str) -> Iterator[None]:
        """Hold the processor for a whole sound, or for the end of a stream; waits for other threads.

        Args:
            name: How errors call the processor.

        Raises:
            ProcessorError: Another thread has a stream open.
        """
        with self._lock:
            self._refuse_strangers(name)
            self._owner = None
            self.n_begun += 1
            yield

    @contextmanager
    def block(self, name: str, *, begins: bool) -> Iterator[None]:
        """Hold the processor for one block of a stream, and keep the stream for this thread.

        Args:
            name: How errors call the processor.
            begins: Whether it is the first block.

        Raises:
            ProcessorError: Another thread has a stream open.
        """
        with self._lock:
            self._refuse_strangers(name)
            self._owner = threading.current_thread()
            self.n_begun += begins
            try:
                yield
            except BaseException:
                self._owner = None  # the stream is broken: whoever comes next may begin anew
                raise

    def sound(self, name: str, *, is_whole: bool, begins: bool) -> AbstractContextManager[None]:
        """Hold the processor for a whole sound or for a block; see `whole` and `block`."""
        return self.whole(name) if is_whole else self.block(name, begins=begins)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Hold the processor for something that is no sound; waits for other threads."""
        with self._lock:
            yield

    def _refuse_strangers(self, name: str) -> None:
        owner = self._owner
        if owner is None or owner is threading.current_thread() or not owner.is_alive():
            return
        raise ProcessorError(
            f"{name}: thread {owner.name!r} has a stream open, and two through one processor would mix; "
            "call flush() or reset() there first, or give each thread a chain of its own"
        )


@contextmanager
def hold_all(
    guards: Iterable[StreamGuard], name: str, *, is_block: bool = False, begins: bool = False
) -> Iterator[None]:
    """Hold several processors at once, always in the same order so that no two threads wait for each other.

    Raises:
        ProcessorError: Another thread has a stream open in one of them.
    """
    with ExitStack() as held:
        for guard in sorted(set(guards), key=id):
            held.enter_context(guard.block(name, begins=begins) if is_block else guard.whole(name))
        yield
