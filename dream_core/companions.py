"""Streams of several threads step their windows in one batch.

A device with room for many windows is half idle while short sounds dream one after the other. Streams that
share `Companions` hand in the windows they have ready and wait; as soon as a batch is full, or no stream that
is under way could add to it, one of the waiting threads steps for all. A batch has the same shape whoever is
in it, so a window's result does not depend on its companions.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dream_core.loop.turns import Fault, Stepper, Turn
from dream_core.networks import load_network

if TYPE_CHECKING:
    import torch

    from dream_core.networks.card import Network

__all__ = ["Companions"]


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    kind: Hashable
    stream: Stepper
    turns: Sequence[Turn]
    is_done: bool = False
    faults: list[Fault] = field(default_factory=list)
    error: BaseException | None = None


class Companions:
    """Where streams meet that dream on one device."""

    def __init__(self) -> None:
        self._meeting = threading.Condition()
        self._waiting: list[_Request] = []
        self._n_present = 0
        self._is_stepping = False
        self._networks: dict[tuple[str, str], Network] = {}
        self.n_batches = 0

    def __len__(self) -> int:
        """Return how many streams wait for a batch."""
        with self._meeting:
            return len(self._waiting)

    def load_network(self, name: str, device: torch.device) -> Network:
        """Return a network that all streams here share: windows step together only under one network."""
        with self._meeting:
            key = (name, str(device))
            if key not in self._networks:
                self._networks[key] = load_network(name, device=device)
            return self._networks[key]

    @contextmanager
    def taking_part(self) -> Iterator[None]:
        """Say that this thread is under way, so that others wait for its windows."""
        with self._meeting:
            self._n_present += 1
        try:
            yield
        finally:
            with self._meeting:
                self._n_present -= 1
                self._meeting.notify_all()

    def step(self, kind: Hashable, stream: Stepper, turns: Sequence[Turn]) -> list[Fault]:
        """Step windows, with those of others where that can be; return what went wrong with them.

        Args:
            kind: Windows of one kind may share a batch.
            stream: Whose windows they are; the thread is taking part.
            turns: The windows, a batch at most.
        """
        request = _Request(kind=kind, stream=stream, turns=turns)
        with self._meeting:
            self._waiting.append(request)
            self._meeting.notify_all()
            while not request.is_done:
                group = self._next_group()
                if group:
                    self._run(group)
                else:
                    self._meeting.wait()
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
            if sum(len(one.turns) for one in (*group, request)) <= request.stream.batch:
                group.append(request)
        fullest = max(kinds.values(), key=lambda group: sum(len(one.turns) for one in group))
        is_full = sum(len(one.turns) for one in fullest) >= fullest[0].stream.batch
        return fullest if is_full or len(self._waiting) >= self._n_present else []

    def _run(self, group: list[_Request]) -> None:
        """Step a group while the meeting goes on."""
        self._waiting = [request for request in self._waiting if request not in group]
        self._is_stepping = True
        self._meeting.release()
        faults: list[Fault] = []
        error: BaseException | None = None
        try:
            faults = group[0].stream.take_turns([turn for one in group for turn in one.turns])
        except BaseException as caught:
            error = caught
        finally:
            self._meeting.acquire()
            self._is_stepping = False
        self.n_batches += 1
        for request in group:
            request.faults = [fault for fault in faults if fault.owner is request.stream]
            request.error, request.is_done = error, True
        self._meeting.notify_all()
