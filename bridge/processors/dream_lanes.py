"""What a dream is told at every sample: rates, lanes and weights, checked."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from bridge.arrays import Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue
from dream_core.errors import SettingError
from dream_core.settings import DreamSettings, parse_row

__all__ = ["check_lanes", "clock_lanes", "clocked", "still_weights", "whole_rate"]


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


def clocked(values: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """Return the lanes that the song's clock gives a dream, each with the setting that asks and what it says.

    Args:
        values: The dream's parameters; those that are not there have their defaults.

    >>> clocked({"update": "picture", "row": "1/16", "motion_rate": "2 bars"})
    {'cycles': ('motion_rate', '2 bars'), 'rows': ('row', '1/16')}
    """
    found: dict[str, tuple[str, str]] = {}
    if rate := str(values.get("motion_rate", "")):
        found["cycles"] = "motion_rate", rate
    row = str(values.get("row", DreamSettings().row))
    if values.get("update") == "picture":
        with contextlib.suppress(SettingError):  # which is said where the dream is checked
            if parse_row(row).is_clocked:
                found["rows"] = "row", row
    return found


def clock_lanes(values: Mapping[str, object], automation: Mapping[str, Lane]) -> dict[str, Lane]:
    """Return the lanes of what counts on the song's clock.

    Raises:
        ProcessorError: One that is asked for was not given.
    """
    wanted = clocked(values)
    for name, (setting, rate) in wanted.items():
        if name not in automation:
            raise ProcessorError(
                f"dream: {setting} = {rate!r}, and no clock came with the sound; render stems with --midi or "
                f"--bpm, or give a lane of {name}: how many have passed at each sample, such as "
                "tempo_map.seconds_to_beats(seconds) / 0.5 for eighths"
            )
    return {name: lane for name, lane in automation.items() if name in {"cycles", *wanted}}


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
