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
from bridge.parameters import ParamSpec, ParamValue, check_parameter

__all__ = ["ParameterValues"]


class ParameterValues:
    """The parameters of one plugin, and what of them it has not been told yet.

    Args:
        description: What the plugin says of itself.
        raws: The position of every parameter now.
    """

    def __init__(self, description: PluginDescription, raws: npt.NDArray[np.float32]) -> None:
        self._where = description.name
        self._parameters = build_parameters(description.parameters)
        self.specs: Mapping[str, ParamSpec] = {name: one.spec for name, one in self._parameters.items()}
        self.follow(raws)

    def follow(self, raws: npt.NDArray[np.float32]) -> None:
        """Take over the positions a state has brought; what was set before it is gone."""
        self._raws = raws.copy()
        self._set: dict[int, float] = {}
        self._pending: dict[int, float] = {}

    def get(self, name: str) -> ParamValue:
        """Return a value in the parameter's own unit."""
        return self._find(name).to_value(self.get_raw(name))

    def set(self, name: str, value: ParamValue) -> None:
        """Set a value in the parameter's own unit; see :meth:`bridge.VST3.set_parameter`."""
        checked = check_parameter(name, value, self.specs, self._where)
        try:
            raw = self._find(name).to_raw(checked)
        except ProcessorError as error:
            raise ProcessorError(f"{self._where}.{error}") from error
        self.set_raw(name, float(raw))

    def get_raw(self, name: str) -> float:
        """Return a position in 0..1."""
        return float(self._raws[self._find(name).index])

    def set_raw(self, name: str, raw: float) -> None:
        """Set a position in 0..1, exact to float32."""
        index = self._find(name).index
        if not 0.0 <= raw <= 1.0:
            raise ProcessorError(f"{self._where}.{name}: raw position {raw} is outside 0..1")
        self._raws[index] = raw
        self._set[index] = self._pending[index] = float(self._raws[index])

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
        if parameter.spec.automation == "none":
            raise ProcessorError(f"{self._where}.{name}: the plugin does not let it be automated")
        if len(lane) != n_samples:
            raise ProcessorError(
                f"{self._where}.{name}: {len(lane)} values of automation for {n_samples} samples"
            )
        raw_now = float(self._raws[parameter.index])
        events = parameter_events(parameter, lane, raw_now, position_samples, block_samples, self._where)
        if len(events):
            self._raws[parameter.index] = self._set[parameter.index] = float(events["value"][-1])
        return events

    def _find(self, name: str) -> HostedParameterMap:
        if name not in self._parameters:
            check_parameter(name, 0.0, self.specs, self._where)
        return self._parameters[name]
