"""The instances of one plugin that a node needs: one, or two where a mono plugin hears stereo.

They share a state and the positions of their parameters, so that an instance loaded late, or again after a
fault, is what the others are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import PluginError
from bridge.hosts.contract import BackendName, SeveralPluginsError
from bridge.hosts.driver import PluginDriver
from bridge.hosts.faults import DriverFault, FaultAction, PluginFault
from bridge.hosts.open_plugin import (
    DEFAULT_SAMPLE_RATE,
    Isolation,
    choose_backend,
    open_driver,
    other_backend,
    wants_clock,
)
from bridge.hosts.parameter_values import ParameterValues
from bridge.hosts.plugin_stream import PluginStream, StreamShape
from bridge.hosts.supervisor import Answer, Supervisor

__all__ = ["BackendChoice", "LoadOptions", "PluginInstances"]


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
        sample_rate: Hz, of the sound to come.
    """

    path: Path
    plugin_name: str | None
    isolation: Isolation
    timeouts_s: tuple[float, float]
    on_fault: FaultAction
    max_level_db: float
    sample_rate: float = DEFAULT_SAMPLE_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """Which host loads a plugin, and which may take its place.

    Args:
        first: Tried first.
        follows_clock: Whether minihost takes over a plugin that turns out to follow the song's clock.
        may_fall_back: Whether the other host is tried where the first cannot load the plugin.
    """

    first: BackendName
    follows_clock: bool = False
    may_fall_back: bool = False


class PluginInstances:
    """One plugin, loaded.

    Args:
        options: How it is loaded.
        choice: Which host loads it.
        on_warning: Called with one line the user should see.

    Raises:
        PluginError: It cannot be loaded.
    """

    def __init__(
        self, options: LoadOptions, choice: BackendChoice, on_warning: Callable[[str], None]
    ) -> None:
        self.backend: BackendName = choice.first
        self._options, self._uid = options, ""
        self._state: bytes | None = None
        self._told: dict[int, float] = {}
        self._is_closed = False
        self._described_rate = options.sample_rate
        driver = self._load_first(choice, on_warning)
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

    def describe_at(self, sample_rate: float) -> None:
        """Learn what the parameters mean at a sample rate; what was set in real units keeps its value.

        Raises:
            ProcessorError: A value that was set does not exist at this rate.
        """
        if sample_rate == self._described_rate:
            return
        self.description = self.ask(lambda driver: driver.describe(sample_rate))
        self._described_rate = sample_rate
        self.controls.describe(self.description)

    def read_back(self) -> None:
        """Learn where a program has put the parameters that were not set."""
        self.settle()
        self.controls.take_over(self.ask(lambda driver: driver.read_back()))

    def open_stream(self, shape: StreamShape, block_samples: int) -> PluginStream:
        """Begin a stream.

        Raises:
            PluginError: The plugin does not run with so many channels.
        """
        self.describe_at(shape.sample_rate)
        self.settle()
        return PluginStream(shape, block_samples, self._supervisors, self._supervise, self.description.name)

    def close(self) -> None:
        """Let every instance go."""
        self._is_closed = True
        for supervisor in self._supervisors:
            supervisor.close()

    def _load_first(self, choice: BackendChoice, on_warning: Callable[[str], None]) -> PluginDriver:
        try:
            driver = self._load()
        except SeveralPluginsError:
            raise
        except PluginError as error:
            other = other_backend(self.backend) if choice.may_fall_back else None
            if other is None:
                raise
            driver = self._fall_back(other, error, on_warning)
        self._uid = driver.description.uid
        if choice.follows_clock and wants_clock(driver.description):
            better = choose_backend("auto", has_clock=True)
            if better != self.backend:
                return self._change_to(better, driver)
        return driver

    def _fall_back(
        self, other: BackendName, error: PluginError, on_warning: Callable[[str], None]
    ) -> PluginDriver:
        first, self.backend = self.backend, other
        try:
            driver = self._load()
        except PluginError:
            self.backend = first
            raise error from None
        on_warning(
            f"{driver.description.name}: {first} cannot load it ({error}); {other} does and is used. "
            f'To choose it without trying set backend = "{other}"'
        )
        return driver

    def _change_to(self, better: BackendName, driver: PluginDriver) -> PluginDriver:
        """Load the plugin in a host that has more for it; stay where that host cannot."""
        first, self.backend = self.backend, better
        try:
            changed = self._load()
        except PluginError:
            self.backend = first
            return driver
        driver.close()
        return changed

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
            sample_rate=self._described_rate,
        )
        if self._state is not None:
            driver.set_state(self._state)
        if self._told:
            driver.set_raw(self._told)
        return driver

    def _supervise(self) -> Supervisor:
        options = self._options
        return Supervisor(self._load, self.description.name, options.on_fault, options.max_level_db)
