"""What a dream is told at every sample: rates, lanes and weights, checked."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from bridge.arrays import Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue

__all__ = ["check_lanes", "still_weights", "whole_rate"]


def whole_rate(sample_rate: float) -> int:
    """Return a sample rate as a whole number of Hz, or say what is accepted."""
    if isinstance(sample_rate, (bool, str)) or not math.isfinite(sample_rate) or sample_rate <= 0:
        raise ProcessorError(f"dream: sample_rate = {sample_rate!r}; a number of Hz is accepted, as 44100")
    return round(sample_rate)


def check_lanes(automation: Mapping[str, Lane], n_samples: int, parameters: Mapping[str, ParamSpec]) -> None:
    """Refuse a lane of something that does not move, or of another length."""
    for name, lane in automation.items():
        spec = parameters.get(name)
        if spec is None or spec.automation == "none":
            moving = [one.name for one in parameters.values() if one.automation != "none"]
            raise ProcessorError(f"dream: {name!r} cannot be automated; {nearest_names(name, moving)}")
        if np.shape(lane) != (n_samples,):
            raise ProcessorError(
                f"dream: the lane of {name!r} has shape {np.shape(lane)}; one value a sample, "
                f"({n_samples},), is accepted"
            )


def still_weights(
    names: Sequence[str], values: Mapping[str, ParamValue], moving: Collection[str]
) -> dict[str, float]:
    """Return how much an objective's weights are where they do not move.

    Raises:
        ProcessorError: Nothing says how much one is.
    """
    for name in names:
        if name not in values and name not in moving:
            raise ProcessorError(
                f"dream: nothing says how much {{{name}}} of its objective is; set {name} = 0.5, or give a "
                f"lane of it: automation={{{name!r}: ...}}"
            )
    return {name: float(values.get(name, 0.0)) for name in names}
