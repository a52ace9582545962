"""Where a plugin's parameters stand: by name and in real units outside, raw positions inside."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bridge.arrays import Lane
from bridge.errors import ProcessorError
from bridge.hosts.contract import EventArray, PluginDescription
from bridge.hosts.events import parameter_events
from bridge.hosts.parameter_laws import HostedParameterMap, build_parameters
from bridge.hosts.parameter_roles import REFUSED_ROLES
from bridge.parameters import ParamSpec, ParamValue, check_parameter

__all__ = ["ParameterValues"]

_RATE_SLACK = 1e-3
"""How far outside its range, as a share of it, a value may lie at another rate and still be its end."""


class ParameterValues:
    """The parameters of one plugin, and what of them it has not been told yet.

    Args:
        description: What the plugin says of itself.
        raws: The position of every parameter now.
    """

    def __init__(self, description: PluginDescription, raws: npt.NDArray[np.float32]) -> None:
        self._where = description.name
        self._values: dict[str, ParamValue] = {}
        self._lane_ends: dict[int, float] = {}
        self._read(description)
        self.follow(raws)

    def _read(self, description: PluginDescription) -> None:
        self._parameters = build_parameters(description.parameters)
        roles = [one.role for one in description.parameters]
        self.refused: Mapping[str, str] = {
            name: REFUSED_ROLES[roles[one.index]]
            for name, one in self._parameters.items()
            if roles[one.index] in REFUSED_ROLES
        }
        self.specs: Mapping[str, ParamSpec] = {
            name: one.spec for name, one in self._parameters.items() if name not in self.refused
        }
        self._program = next(
            (name for name, one in self._parameters.items() if roles[one.index] == "program"), None
        )

    def describe(self, description: PluginDescription) -> None:
        """Take over what the parameters mean at another sample rate; values set in real units stay.

        Raises:
            ProcessorError: Such a value does not exist at this rate.
        """
        self._read(description)
        for name, value in self._values.items():
            parameter = self._find(name)
            if isinstance(value, float) and parameter.spec.minimum is not None:
                self._check_reach(name, value, description.sample_rate)
                raw = float(parameter.lane_to_raw(np.array([value]))[0])
            else:
                raw = float(parameter.to_raw(value))
            self._put(parameter.index, raw)

    def _check_reach(self, name: str, value: float, sample_rate: float) -> None:
        spec = self.specs[name]
        low, high = float(spec.minimum or 0.0), float(spec.maximum or 0.0)
        slack = _RATE_SLACK * (high - low)
        if not low - slack <= value <= high + slack:
            raise ProcessorError(
                f"{self._where}.{name} = {value:g} does not exist at {sample_rate:g} Hz, where the "
                f"plugin has {low:g}..{high:g} {spec.unit}".rstrip()
            )

    def follow(self, raws: npt.NDArray[np.float32]) -> None:
        """Take over the positions a state has brought; what was set before it is gone."""
        self._raws = raws.copy()
        self._set: dict[int, float] = {}
        self._pending: dict[int, float] = {}
        self._values.clear()

    def take_over(self, raws: npt.NDArray[np.float32]) -> None:
        """Take over the positions a program has brought; what was set stays."""
        kept = self._set
        self._raws = raws.copy()
        for index, value in kept.items():
            self._raws[index] = value

    @property
    def program(self) -> str | None:
        """The name of the parameter that chooses a program; None where the plugin has none."""
        return self._program

    @property
    def program_set(self) -> float | None:
        """The position of the program that was set; None where none was."""
        return None if self._program is None else self._set.get(self._parameters[self._program].index)

    def get(self, name: str) -> ParamValue:
        """Return a value in the parameter's own unit."""
        return self._find(name).to_value(self.get_raw(name))

    def set(self, name: str, value: ParamValue) -> None:
        """Set a value in the parameter's own unit; see :meth:`bridge.VST3.set_parameter`."""
        self._check_settable(name)
        checked = check_parameter(name, value, self.specs, self._where)
        try:
            raw = self._find(name).to_raw(checked)
        except ProcessorError as error:
            raise ProcessorError(f"{self._where}.{error}") from error
        self.set_raw(name, float(raw))
        self._values[name] = checked

    def get_raw(self, name: str) -> float:
        """Return a position in 0..1."""
        return float(self._raws[self._find(name).index])

    def index_of(self, name: str) -> int:
        """Return the plugin's own index of a parameter."""
        return self._find(name).index

    def nearest_raw(self, name: str, raw: float) -> float:
        """Return the nearest position that the parameter can have."""
        parameter = self._find(name)
        steps = len(parameter.spec.choices) - 1 if parameter.law == "choice" else parameter.steps
        return float(np.float32(round(raw * steps) / steps if steps > 0 else raw))

    def set_raw(self, name: str, raw: float) -> None:
        """Set a position in 0..1, exact to float32."""
        index = self._find(name).index
        self._check_settable(name)
        if not 0.0 <= raw <= 1.0:
            raise ProcessorError(f"{self._where}.{name}: raw position {raw} is outside 0..1")
        self._values.pop(name, None)
        self._put(index, raw)

    def _put(self, index: int, raw: float) -> None:
        self._raws[index] = raw
        self._set[index] = self._pending[index] = float(self._raws[index])

    def _check_settable(self, name: str) -> None:
        if name in self.refused:
            raise ProcessorError(f"{self._where}.{name} cannot be set: it {self.refused[name]}")

    def everything_set(self) -> dict[int, float]:
        """Return every position that differs from the state, by index: what a fresh instance must be told."""
        return dict(self._set)

    def take_pending(self) -> dict[int, float]:
        """Return what the plugin has not been told yet, and count it as told."""
        pending, self._pending = self._pending, {}
        return pending

    def automate(
        self, lanes: Mapping[str, Lane], n_samples: int, position_samples: int, block_samples: int
    ) -> list[EventArray]:
        """Return the events that take parameters along their lanes.

        Raises:
            ProcessorError: Unknown name, a parameter that cannot move, a lane of another length or out of
                range.
        """
        return [
            self._follow_lane(name, lane, n_samples, position_samples, block_samples)
            for name, lane in lanes.items()
        ]

    def _follow_lane(
        self, name: str, lane: Lane, n_samples: int, position_samples: int, block_samples: int
    ) -> EventArray:
        parameter = self._find(name)
        self._check_settable(name)
        if parameter.spec.automation == "none":
            raise ProcessorError(f"{self._where}.{name}: the plugin does not let it be automated")
        if len(lane) != n_samples:
            raise ProcessorError(
                f"{self._where}.{name}: {len(lane)} values of automation for {n_samples} samples"
            )
        raw_now = float(self._raws[parameter.index])
        raw_before = None if position_samples == 0 else self._lane_ends.get(parameter.index)
        events = parameter_events(
            parameter, lane, raw_before, raw_now, position_samples, block_samples, self._where
        )
        if len(lane):
            self._lane_ends[parameter.index] = float(parameter.lane_to_raw(lane[-1:])[0])
        if len(events):
            self._raws[parameter.index] = self._set[parameter.index] = float(events["value"][-1])
            self._values.pop(name, None)
        return events

    def _find(self, name: str) -> HostedParameterMap:
        if name not in self._parameters:
            check_parameter(name, 0.0, self.specs, self._where)
        return self._parameters[name]
