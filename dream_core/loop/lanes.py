"""What is said at every sample: checked, and a pitch counted in cycles, however the sound is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dream_core.errors import SettingError
from dream_core.names import nearest_names
from dream_core.objectives.objective import Objective
from dream_core.runtime import widest_float
from dream_core.settings import MOVING_SETTINGS, RANGES, SIGNALS, WEIGHT_RANGE

__all__ = ["PitchPhase", "check_lane", "check_weights", "crop_weight"]

_PARTS_PER_CYCLE = 1 << 40
"""Whole numbers add up to the same sum in any order."""


class PitchPhase:
    """Count the cycles of a pitch.

    Args:
        sample_rate: Hz.

    Attributes:
        was_heard: Whether there was a pitch anywhere so far.

    >>> phase = PitchPhase(4000)
    >>> phase.follow(torch.full((4,), 1000.0)).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._parts = 0
        self.was_heard = False

    def follow(self, f0_hz: Tensor) -> Tensor:
        """Take the pitch under a block, ``(n,)``; return how far each sample is in its cycle, 0..1."""
        if not len(f0_hz):
            return f0_hz
        self.was_heard = self.was_heard or bool(f0_hz.any())
        per_sample = f0_hz.to(widest_float(f0_hz.device)) * (_PARTS_PER_CYCLE / self._sample_rate)
        ends = torch.cumsum(per_sample.round().long(), 0) + self._parts
        starts = torch.cat([ends.new_tensor([self._parts]), ends[:-1]])
        self._parts = int(ends[-1]) % _PARTS_PER_CYCLE
        return ((starts % _PARTS_PER_CYCLE).to(per_sample.dtype) / _PARTS_PER_CYCLE).to(torch.float32)


def check_lane(name: str, lane: Tensor, n_samples: int, weights: Sequence[str] = ()) -> None:
    """Refuse a moving setting that there is not, of another length, or out of range."""
    known = {setting: RANGES[setting] for setting in MOVING_SETTINGS} | dict(SIGNALS)
    known |= dict.fromkeys(weights, WEIGHT_RANGE)
    if name not in known:
        raise SettingError(f"no moving setting is called {name!r}; {nearest_names(name, known)}")
    low, high = known[name]
    is_fitting = lane.shape == (n_samples,)
    if not is_fitting or not bool(((lane >= low) & (lane <= high)).all()):
        given = f"up to {float(lane.max()):g}" if is_fitting else f"of shape {tuple(lane.shape)}"
        raise SettingError(
            f"the lane of {name} is {given}; ({n_samples},) values of {low:g}..{high:g} are accepted"
        )


def check_weights(weights: Mapping[str, float], objective: Objective) -> dict[str, float]:
    """Return an objective's weights; refuse one that is not given, not there, or out of range."""
    low, high = WEIGHT_RANGE
    for name, value in weights.items():
        if name not in objective.weights:
            raise SettingError(
                f"objective {objective.text!r} has no weight {name!r}; "
                f"{nearest_names(name, objective.weights)}"
            )
        if not low <= value <= high:
            raise SettingError(f"weight {name} = {value!r} is outside {low:g}..{high:g}")
    for name in objective.weights:
        if name not in weights:
            raise SettingError(
                f"objective {objective.text!r}: nobody says how much {name!r} is; give it as "
                f"weights={{{name!r}: 0.5}}"
            )
    return {name: float(weights[name]) for name in objective.weights}


def crop_weight(weight: float | Tensor, margin: int) -> float | Tensor:
    """Return a weight of items ``(items, 1, samples)`` without a margin, as ``(items, samples)``."""
    return weight[:, 0, margin : weight.shape[-1] - margin] if isinstance(weight, Tensor) else weight
