"""A loaded plugin between sounds: what it is, its parameters, its programs and its state.

:class:`bridge.processors.vst3.VST3` makes a processor of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from bridge.errors import PluginError, ProcessorError, nearest_names
from bridge.files import hash_file, write_whole
from bridge.hosts.contract import PluginDescription
from bridge.hosts.driver import PluginDriver
from bridge.hosts.faults import PluginFault
from bridge.hosts.instances import PluginInstances
from bridge.hosts.parameter_roles import ParameterRole
from bridge.hosts.vst2_state import convert_vst2_state, is_vst2_state
from bridge.hosts.vstpreset import parse_vstpreset, read_state
from bridge.parameters import ParamSpec, ParamValue
from bridge.processors.stream_guard import StreamGuard
from bridge.processors.vst3_stream import StreamRunner

__all__ = ["LoadedPlugin", "warn_with"]

_Answer = TypeVar("_Answer")


class LoadedPlugin:
    """One plugin, loaded.

    Args:
        path: Its bundle.
        binary: Its library.
        instances: What holds it.
        warn: Called with one line the user should see.
    """

    def __init__(
        self, path: Path, binary: Path, instances: PluginInstances, warn: Callable[[str], None]
    ) -> None:
        self.path = path
        self.stream_guard = StreamGuard()
        self._binary, self._instances, self._warn = binary, instances, warn
        self._controls = instances.controls
        self._runner = StreamRunner(instances, instances.description.name)
        self._tail_seconds: float | None = None

    # Identity -------------------------------------------------------------------------------------------

    @property
    def description(self) -> PluginDescription:
        """What the plugin says of itself, at the sample rate of the last stream."""
        return self._instances.description

    @property
    def name(self) -> str:
        """The plugin's own name."""
        return self.description.name

    @property
    def vendor(self) -> str:
        """Who made the plugin."""
        return self.description.vendor

    @property
    def version(self) -> str:
        """The plugin's version, as it spells it."""
        return self.description.version

    @property
    def uid(self) -> str:
        """Class id, 32 hexadecimal digits: what a state is labelled with."""
        return self.description.uid

    @property
    def sha256(self) -> str:
        """SHA-256 of the plugin's binary."""
        return hash_file(self._binary)

    @property
    def identity(self) -> dict[str, str]:
        """Everything that tells this plugin from another, for manifests."""
        return {
            "name": self.name,
            "vendor": self.vendor,
            "version": self.version,
            "uid": self.uid,
            "category": self.description.category,
            "path": str(self.path),
            "sha256": self.sha256,
            "backend": self._instances.backend,
        }

    @property
    def is_effect(self) -> bool:
        """Whether audio goes in."""
        return not self.description.is_instrument

    @property
    def is_instrument(self) -> bool:
        """Whether notes go in."""
        return self.description.is_instrument

    @property
    def faults(self) -> tuple[PluginFault, ...]:
        """What went wrong so far, for the report."""
        return self._instances.faults

    # Parameters, programs and state ---------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter that can be set, by name."""
        return self._controls.specs

    @property
    def read_only(self) -> Mapping[str, str]:
        """The parameters that cannot be set, and why: meters, and what belongs to the host."""
        return self._controls.refused

    def role_of(self, name: str) -> ParameterRole:
        """Return what a parameter is for."""
        return self.description.parameters[self._controls.index_of(name)].role

    def nearest_raw(self, name: str, raw: float) -> float:
        """Return the position nearest to one that the parameter can have: its nearest step."""
        return self._controls.nearest_raw(name, raw)

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of the plugin's own programs, in its order."""
        return self.description.programs

    def set_program(self, name: str) -> None:
        """Choose one of the plugin's programs by its name; parameters that were set keep their values.

        Raises:
            ProcessorError: The plugin has no programs, or none of this name.
        """
        parameter, index = self._controls.program, self.description.program_index
        if parameter is None or index is None:
            raise ProcessorError(f"{self.name}: the plugin offers no programs; use a state or parameters")
        texts = {text.strip(): raw for raw, text in self.description.parameters[index].texts}
        if name not in texts:
            raise ProcessorError(f"{self.name}: no program {name!r}; {nearest_names(name, texts)}")
        self.set_raw(parameter, texts[name])

    def get_parameter(self, name: str) -> ParamValue:
        """Return the present value of a parameter, in its own unit."""
        return self._controls.get(name)

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter in its own unit; it is heard from the next sample on.

        Raises:
            ProcessorError: Unknown name, choice, value out of range or between two steps, a meter, or a
                parameter of the host's.
        """
        before = self._controls.program_set
        self._controls.set(name, value)
        self._follow_change(before)

    def get_raw(self, name: str) -> float:
        """Return a parameter's position in 0..1, as the plugin has it."""
        return self._controls.get_raw(name)

    def set_raw(self, name: str, raw: float) -> None:
        """Set a parameter's position in 0..1, exact to float32: for what the plugin's texts do not tell.

        Raises:
            ProcessorError: Unknown name, or outside 0..1.
        """
        before = self._controls.program_set
        self._controls.set_raw(name, raw)
        self._follow_change(before)

    def _follow_change(self, program_before: float | None) -> None:
        self._tail_seconds = None
        if self._controls.program_set != program_before and self._runner.stream is None:
            with self.stream_guard.call():
                self._instances.read_back()

    @property
    def preset_data(self) -> bytes:
        """The plugin's state as the bytes of a ``.vstpreset``; assigning ends a running stream."""
        return self._ask(lambda driver: driver.get_state())

    @preset_data.setter
    def preset_data(self, data: bytes) -> None:
        if is_vst2_state(data):
            data = convert_vst2_state(data, self.uid, f"{self.name}: state")
        preset = parse_vstpreset(data, f"{self.name}: state")
        if self.uid and preset.uid != self.uid.upper():
            raise PluginError(
                f"{self.name}: this state belongs to another plugin (class {preset.uid}; this is {self.uid})"
            )
        with self.stream_guard.whole(self.name):
            self._runner.stream = None
            self._instances.set_state(data)
        self._tail_seconds = None

    def load_state(self, path: str | Path) -> None:
        """Load a ``.vstpreset``, or the ``.fxp`` or ``.fxb`` of the VST2 plugin it is the successor of.

        Raises:
            PluginError: Not readable, truncated, or another plugin's.
        """
        self.preset_data = read_state(Path(path))

    def save_state(self, path: str | Path) -> None:
        """Write the plugin's state as a ``.vstpreset`` for any host; `OutputError` where it cannot."""
        data = self.preset_data
        if not parse_vstpreset(data).chunks.get("Comp"):
            self._warn(
                f"{self.name}: the plugin keeps nothing in its state; set its parameters in the preset"
            )
        with write_whole(Path(path)) as part:
            part.write_bytes(data)

    def _ask(self, question: Callable[[PluginDriver], _Answer]) -> _Answer:
        """Ask the plugin something that is not a sound; between streams, after it has heard what was set."""
        with self.stream_guard.call():
            if self._runner.stream is None:
                self._instances.settle()
                self._instances.ask(lambda driver: driver.settle())
            return self._instances.ask(question)


def warn_with(on_warning: Callable[[str], None] | None) -> Callable[[str], None]:
    """Return what to call with a line the user should see; a Python warning where nobody asked for it."""
    if on_warning is not None:
        return on_warning
    return lambda text: warnings.warn(text, stacklevel=4)
