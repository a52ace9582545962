"""Streams of several threads step their windows in one batch.

A device with room for many windows is half idle while short sounds dream one after the other. Streams that
have the same `SharedBatches` hand in the windows they have ready and wait; as soon as a batch is full, or no
stream that is under way could add to it, one of the waiting threads steps for all. A batch has the same shape
whoever is in it, so a window's result does not depend on what else is in its batch.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dream_core.loop.pending_steps import Fault, PendingStep, Stepper
from dream_core.networks.cache import NetworkCache

__all__ = ["SharedBatches"]


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    kind: Hashable
    stream: Stepper
    steps: Sequence[PendingStep]
    is_done: bool = False
    faults: list[Fault] = field(default_factory=list)
    error: BaseException | None = None


class SharedBatches:
    """One queue of windows for all streams that dream on one device.

    Attributes:
        networks: What the streams load their networks from: windows share a batch only under one network.
        n_batches: How many batches have been stepped.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[_Request] = []
        self._n_present = 0
        self._is_stepping = False
        self.networks = NetworkCache()
        self.n_batches = 0

    def __len__(self) -> int:
        """Return how many streams wait for a batch."""
        with self._condition:
            return len(self._waiting)

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Count this thread as under way, so that others wait for its windows."""
        with self._condition:
            self._n_present += 1
        try:
            yield
        finally:
            with self._condition:
                self._n_present -= 1
                self._condition.notify_all()

    def step(self, kind: Hashable, stream: Stepper, steps: Sequence[PendingStep]) -> list[Fault]:
        """Step windows, with those of others where that can be; return what went wrong with them.

        Args:
            kind: Windows of one kind may share a batch.
            stream: Whose windows they are; the thread has joined.
            steps: The windows, a batch at most.
        """
        request = _Request(kind=kind, stream=stream, steps=steps)
        with self._condition:
            self._waiting.append(request)
            self._condition.notify_all()
            while not request.is_done:
                group = self._next_group()
                if group:
                    self._run(group)
                else:
                    self._condition.wait()
        if request.error is not None:
            raise request.error
        return request.faults

    def _next_group(self) -> list[_Request]:
        """Return the requests to be stepped now; none while another batch is, or while more may come."""
        if self._is_stepping or not self._waiting:
            return []
        kinds: dict[Hashable, list[_Request]] = {}
        for request in self._waiting:
            group = kinds.setdefault(request.kind, [])
            if sum(len(one.steps) for one in (*group, request)) <= request.stream.batch:
                group.append(request)
        fullest = max(kinds.values(), key=lambda group: sum(len(one.steps) for one in group))
        is_full = sum(len(one.steps) for one in fullest) >= fullest[0].stream.batch
        return fullest if is_full or len(self._waiting) >= self._n_present else []

    def _run(self, group: list[_Request]) -> None:
        """Step a group, and let others hand in theirs meanwhile."""
        self._waiting = [request for request in self._waiting if request not in group]
        self._is_stepping = True
        self._condition.release()
        faults: list[Fault] = []
        error: BaseException | None = None
        try:
            faults = group[0].stream.step_batch([step for one in group for step in one.steps])
        except BaseException as caught:
            error = caught
        finally:
            self._condition.acquire()
            self._is_stepping = False
        self.n_batches += 1
        for request in group:
            request.faults = [fault for fault in faults if fault.owner is request.stream]
            request.error, request.is_done = error, True
        self._condition.notify_all()
