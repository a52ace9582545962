"""The instances of one plugin that a node needs: one, or two where a mono plugin hears stereo.

They share a state and the positions of their parameters, so that an instance loaded late, or again after a
fault, is what the others are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import PluginError
from bridge.hosts.contract import BackendName
from bridge.hosts.driver import PluginDriver
from bridge.hosts.faults import DriverFault, FaultAction, PluginFault
from bridge.hosts.open_plugin import Isolation, choose_backend, open_driver, wants_clock
from bridge.hosts.parameter_values import ParameterValues
from bridge.hosts.plugin_stream import PluginStream, StreamShape
from bridge.hosts.supervisor import Answer, Supervisor

__all__ = ["LoadOptions", "PluginInstances"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a plugin is loaded and what its faults lead to.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.
        isolation: In a child process, or in this one.
        timeouts_s: Longest wait for an answer, and for the plugin to load.
        on_fault: What a fault leads to.
        max_level_db: Peaks above it are a fault.
    """

    path: Path
    plugin_name: str | None
    isolation: Isolation
    timeouts_s: tuple[float, float]
    on_fault: FaultAction
    max_level_db: float


class PluginInstances:
    """One plugin, loaded.

    Args:
        options: How it is loaded.
        backend: Which host loads it.
        may_change_backend: Whether another host may be taken where the plugin turns out to follow a clock.

    Raises:
        PluginError: It cannot be loaded.
    """

    def __init__(self, options: LoadOptions, backend: BackendName, may_change_backend: bool) -> None:
        self.backend: BackendName = backend
        self._options, self._uid = options, ""
        self._state: bytes | None = None
        self._told: dict[int, float] = {}
        self._is_closed = False
        driver = self._load_first(may_change_backend)
        self.description = driver.description
        self.controls = ParameterValues(driver.description, driver.raw_values())
        self._supervisors = [self._supervise()]
        self._supervisors[0].adopt(driver)

    @property
    def faults(self) -> tuple[PluginFault, ...]:
        """What went wrong so far."""
        return tuple(fault for supervisor in self._supervisors for fault in supervisor.faults)

    @property
    def is_bypassed(self) -> bool:
        """Whether the rest of the running stream is dry."""
        return self._supervisors[0].is_bypassed

    def settle(self) -> None:
        """Tell every instance what was set since it was last told; between streams."""
        self._told = self.controls.everything_set()
        pending = self.controls.take_pending()
        for supervisor in self._supervisors:
            if pending and supervisor.is_open:
                supervisor.ask(lambda driver: driver.set_raw(pending))

    def ask(self, question: Callable[[PluginDriver], Answer]) -> Answer:
        """Ask the first instance something that is not a sound.

        Raises:
            PluginFaultError: It crashed or hung over it.
        """
        return self._supervisors[0].ask(question)

    def tail_seconds(self) -> float:
        """Measure how long the plugin sounds on; 0 where it faults over it.

        It will fault in the sound too, and there the fault has a place and a consequence.
        """
        self.settle()
        try:
            return self._supervisors[0].driver.tail_seconds()
        except DriverFault:
            self._supervisors[0].close()
            return 0.0

    def set_state(self, data: bytes) -> None:
        """Give the plugin a state; what was set before is gone."""
        for twin in self._supervisors[1:]:
            twin.close()
        self.ask(lambda driver: driver.set_state(data))
        self.controls.follow(self.ask(lambda driver: driver.raw_values()))
        self._state, self._told = data, {}

    def open_stream(self, shape: StreamShape, block_samples: int) -> PluginStream:
        """Begin a stream.

        Raises:
            PluginError: The plugin does not run with so many channels.
        """
        self.settle()
        return PluginStream(shape, block_samples, self._supervisors, self._supervise, self.description.name)

    def close(self) -> None:
        """Let every instance go."""
        self._is_closed = True
        for supervisor in self._supervisors:
            supervisor.close()

    def _load_first(self, may_change_backend: bool) -> PluginDriver:
        driver = self._load()
        description = driver.description
        self._uid = description.uid
        is_first = description.plugin_names[:1] == (description.name,)
        if may_change_backend and is_first and wants_clock(description):
            better = choose_backend("auto", has_clock=True)
            if better != self.backend:
                driver.close()
                self.backend = better
                return self._load()
        return driver

    def _load(self) -> PluginDriver:
        """Load the plugin as it was when the stream began."""
        options = self._options
        if self._is_closed:
            raise PluginError(f"{options.path.name}: used after close(); make a new VST3")
        driver = open_driver(
            options.path,
            options.plugin_name,
            self.backend,
            options.isolation,
            options.timeouts_s,
            self._uid,
        )
        if self._state is not None:
            driver.set_state(self._state)
        if self._told:
            driver.set_raw(self._told)
        return driver

    def _supervise(self) -> Supervisor:
        options = self._options
        return Supervisor(self._load, self.description.name, options.on_fault, options.max_level_db)
