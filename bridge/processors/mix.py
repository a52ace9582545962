"""Branches of a chain in parallel, summed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from bridge.arrays import AudioArray, Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue
from bridge.processors.chain import Chain, Member
from bridge.processors.contract import DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.stream_guard import StreamGuard

__all__ = ["Mix"]


class Mix:
    """Branches in parallel, summed at the sample they belong to whatever each withholds.

    Args:
        branches: Processors, pedalboard plugins or chains; each gets the whole input.
    """

    is_effect = True
    is_instrument = False

    def __init__(self, branches: Iterable[Member]) -> None:
        self.branches = [one if isinstance(one, Chain) else Chain([one]) for one in branches]
        if not self.branches:
            raise ProcessorError("a Mix needs at least one branch; an empty one would be silent")
        self.stream_guard = StreamGuard()
        self._is_open = False
        self._forget()

    @property
    def latency_samples(self) -> int:
        """The slowest branch's latency."""
        return max(branch.latency_samples for branch in self.branches)

    @property
    def tail_seconds(self) -> float:
        """The longest branch's tail."""
        return max(branch.tail_seconds for branch in self.branches)

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every branch's parameters as ``branch.node.parameter``, branches counted from 1."""
        return {
            f"{i}.{name}": spec
            for i, branch in enumerate(self.branches, 1)
            for name, spec in branch.parameters.items()
        }

    def _find(self, name: str) -> tuple[Chain, str]:
        index, _, rest = name.partition(".")
        if index.isdecimal() and 1 <= int(index) <= len(self.branches):
            return self.branches[int(index) - 1], rest
        raise ProcessorError(f"mix: no parameter {name!r}; {nearest_names(name, self.parameters)}")

    def get_parameter(self, name: str) -> ParamValue:
        """Return the value of ``branch.node.parameter``."""
        branch, rest = self._find(name)
        return branch.get_parameter(rest)

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set ``branch.node.parameter``."""
        branch, rest = self._find(name)
        branch.set_parameter(rest, value)

    def reset(self) -> None:
        """Forget every sample seen."""
        with self.stream_guard.whole("mix"):
            for branch in self.branches:
                branch.reset()
            self._forget()

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio; see the contract."""
        check_audio(input_array, "mix")
        with self.stream_guard.sound("mix", is_whole=reset, begins=not self._is_open):
            if reset:
                self._forget()
            self._is_open = not reset
            for i, branch in enumerate(self.branches, 1):
                lanes = {
                    name.removeprefix(f"{i}."): lane
                    for name, lane in (automation or {}).items()
                    if name.startswith(f"{i}.")
                }
                out = branch.process(input_array, sample_rate, buffer_size, reset, automation=lanes)
                self._waiting[i - 1].append(out)
            return self._sum()

    __call__ = process

    def flush(self) -> AudioArray:
        """End the stream and return the samples still withheld."""
        with self.stream_guard.whole("mix"):
            for waiting, branch in zip(self._waiting, self.branches, strict=True):
                waiting.append(branch.flush())
            summed = self._sum()
            self._forget()
            return summed

    def _forget(self) -> None:
        self._waiting: list[list[AudioArray]] = [[] for _ in self.branches]
        self._is_open = False

    def _sum(self) -> AudioArray:
        joined = [np.concatenate(waiting, axis=1) for waiting in self._waiting]
        n_ready = min(one.shape[1] for one in joined)
        self._waiting = [[one[:, n_ready:]] for one in joined]
        total: AudioArray = np.sum([one[:, :n_ready] for one in joined], axis=0, dtype=np.float32)
        return total
