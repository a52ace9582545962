"""The cycles of a pitch, counted through a stream: exact, however the sound is cut into blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from dream_core.errors import SettingError
from dream_core.runtime import widest_float
from dream_core.settings import F0_RANGE_HZ

__all__ = ["PitchPhase"]

_PARTS_PER_CYCLE = 1 << 40
"""Whole numbers add up to the same sum in any order."""


class PitchPhase:
    """Count the cycles of a pitch.

    Args:
        sample_rate: Hz.

    Attributes:
        was_heard: Whether there was a pitch anywhere so far.

    >>> phase = PitchPhase(4000)
    >>> phase.follow(torch.full((4,), 1000.0), 4)["f0_cycles"].tolist()
    [0.0, 0.25, 0.5, 0.75]
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._parts = 0
        self.was_heard = False

    def follow(self, f0_hz: Tensor, n_samples: int) -> dict[str, Tensor]:
        """Take the pitch under a block, ``(n,)``; return it and its phase, 0..1, as lanes.

        Raises:
            SettingError: It is of another length, not finite or out of range.
        """
        low, high = F0_RANGE_HZ
        is_fitting = f0_hz.shape == (n_samples,)
        if not is_fitting or not bool(((f0_hz >= low) & (f0_hz <= high)).all()):
            given = f"up to {float(f0_hz.max()):g}" if is_fitting else f"of shape {tuple(f0_hz.shape)}"
            raise SettingError(
                f"the lane of f0_hz is {given}; ({n_samples},) values of {low:g}..{high:g} are accepted, 0 "
                "where there is no pitch"
            )
        self.was_heard = self.was_heard or bool(f0_hz.any())
        per_sample = f0_hz.to(widest_float(f0_hz.device)) * (_PARTS_PER_CYCLE / self._sample_rate)
        ends = torch.cumsum(per_sample.round().long(), 0) + self._parts
        starts = torch.cat([ends.new_tensor([self._parts]), ends[:-1]])[:n_samples]
        if n_samples:
            self._parts = int(ends[-1]) % _PARTS_PER_CYCLE
        cycles = (starts % _PARTS_PER_CYCLE).to(per_sample.dtype) / _PARTS_PER_CYCLE
        return {"f0_hz": f0_hz, "f0_cycles": cycles.to(torch.float32)}
