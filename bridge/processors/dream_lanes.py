"""What a dream is told at every sample: rates, lanes and weights, checked."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import torch

from bridge.arrays import AudioArray, Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue
from dream_core.loop.stream import DreamStream

__all__ = ["check_lanes", "push_blocks", "still_weights", "whole_rate"]


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


def push_blocks(
    stream: DreamStream, input_array: AudioArray, lanes: Mapping[str, Lane]
) -> Iterator[torch.Tensor]:
    """Push a sound with its depth and all that moves, so much at a time as can step together."""
    moving = {name: lane for name, lane in lanes.items() if name != "depth"}
    size = stream.window_samples * stream.batch
    for start in range(0, input_array.shape[1], size):
        part = slice(start, start + size)
        pieces = {name: torch.from_numpy(np.ascontiguousarray(lane[part])) for name, lane in moving.items()}
        yield stream.push(
            torch.from_numpy(np.ascontiguousarray(input_array[:, part])),
            torch.from_numpy(np.ascontiguousarray(lanes["depth"][part])),
            pieces,
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
