"""Frozen records that cross modules.

Conventions: audio arrays are ``(channels, samples)`` float32; times carry their unit last in the name;
sample positions count from the first sample of the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["AudioArray", "Lane", "ParamSpec", "ParamValue"]

AudioArray = npt.NDArray[np.float32]
"""Audio as ``(channels, samples)`` float32."""

Lane = npt.NDArray[np.float64]
"""One value a sample, in the parameter's own unit."""

ParamValue = float | bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """Describe one parameter of a processor: what it means, what it accepts, how finely it can move.

    Args:
        name: The target's own name, unit last (``cutoff_hz``).
        default: Value where nothing is said.
        minimum: Lowest value accepted; None where there is no bound, and for choices and switches.
        maximum: Highest value accepted.
        unit: Shown to people: ``dB``, ``Hz``, ``ms``, ``steps`` or nothing.
        curve: How a knob's travel maps to the range. ``log`` for frequencies and times.
        choices: The accepted names, for a parameter that is one of several.
        automation: ``sample`` where every sample can have its own value, ``block`` where the value is
            set at the start of each automation block, ``none`` where it is fixed for a render.
        help: One line for people.
    """

    name: str
    default: ParamValue
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    curve: Literal["linear", "log"] = "linear"
    choices: tuple[str, ...] = field(default=())
    automation: Literal["sample", "block", "none"] = "none"
    help: str = ""

    @property
    def is_continuous(self) -> bool:
        """Whether the parameter is a number with a range, so that a route can reach it."""
        return isinstance(self.default, (int, float)) and not isinstance(self.default, bool)
