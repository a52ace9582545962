"""How much memory and time a reader may take above what it takes for the intact seeds."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MEMORY_BYTES", "TIME_S", "limit_memory", "limit_time"]

MEMORY_BYTES = 200 << 20
TIME_S = 2.0


@contextmanager
def limit_memory() -> Iterator[None]:
    """Let this process grow no further than the limit; what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def limit_time(intact_s: float) -> Iterator[None]:
    """Raise where the body takes more processor time than the intact file and the limit."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"over {intact_s + TIME_S:.1f} s of processor time")

    began = time.process_time()
    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, 2 * (intact_s + TIME_S))  # for what would never end
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    taken = time.process_time() - began
    if taken > intact_s + TIME_S:
        raise TimeoutError(f"took {taken:.1f} s of processor time, the intact file {intact_s:.1f} s")
