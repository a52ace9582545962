"""pedalboard as a backend: the default, installed with the project.

Five of its habits are worked around here, and nowhere else:

- It fixes its largest block at the first call of a stream and, when a larger one comes, re-prepares the
  plugin in the middle of the sound. A call with MIDI on an effect is refused, but only after the plugin has
  been reset and prepared for the block size given, which is exactly what is wanted.
- It withholds the latency's samples; they are put back as silence, so that all backends answer alike and one
  piece of code compensates.
- It keeps seconds in float32. Blocks are short enough (half a sample of slack in 2^23) for offsets to be
  exact.
- It asks a plugin a thousand texts for each parameter while loading it, and when an attribute is first
  written; nobody reads them here, so processes that only host a plugin have `ask_no_texts` end that, and
  properties are set past the attributes: a plugin with two thousand parameters took over ten seconds.
- Its reset leaves much in many plugins: the phase of an oscillator, a noise generator. A plugin that has
  heard anything, and an instrument that was prepared, is loaded anew for the next stream.

What it cannot do: transport (plugins always see 120 BPM, 4/4, position 0), sidechain, MIDI into effects,
outputs beyond the main one.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.errors import PluginError, nearest_names
from bridge.hosts.bundle import find_binary
from bridge.hosts.contract import (
    ChannelCountError,
    MidiMessage,
    PluginDescription,
    SeveralPluginsError,
    StreamChannels,
    Transport,
)
from bridge.hosts.descriptions import ShownParameter, describe_parameters
from bridge.hosts.module_facts import ControllerFacts, read_controller
from bridge.hosts.parameter_roles import ParameterRole, parameter_roles, telling_order
from bridge.hosts.plugin_factory import read_factory
from bridge.hosts.vstpreset import build_juce_state, parse_vstpreset

__all__ = ["PedalboardBackend", "ask_no_texts", "choose_plugin"]

_CONTINUOUS = 0x7FFFFFFF
"""JUCE's number of steps for a parameter that has none."""

_WARM_UP_S = 5.0
"""How long an instrument may take to load its sounds before it is used without them."""

_FLUSH_SAMPLES = 64


class PedalboardBackend:
    """One plugin in pedalboard's hands.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.

    Raises:
        PluginError: It cannot be loaded.
    """

    def __init__(self, path: Path, plugin_name: str | None) -> None:
        self._path = path
        self._warm_up_s, began_s = _WARM_UP_S, time.monotonic()
        try:
            self._names = _plugin_names(path)
            self._name = choose_plugin(path, self._names, plugin_name)
            self._open()
        except PluginError:
            raise
        except Exception as error:  # pedalboard raises ImportError, RuntimeError, ValueError and more
            raise PluginError(_explain(path, error)) from error
        if self.is_instrument and time.monotonic() - began_s > _WARM_UP_S:
            self._warm_up_s = 0.0  # it makes no sound by itself, so there is nothing to wait for again
        self._uid = bytes(self._plugin.preset_data)[8:40].decode("ascii", "replace")
        self._facts: ControllerFacts | None = None
        self._roles = self._find_roles()
        self._sample_rate, self._block_samples = 44100.0, 512
        self._state: bytes | None = None
        self._told: dict[int, float] = {}

    def ask_module(self) -> None:
        """Ask the module itself what its parameters are for."""
        self._facts = read_controller(find_binary(self._path), self._uid)
        self._roles = self._find_roles()

    def _find_roles(self) -> list[ParameterRole]:
        titles = [one.name for one in self._parameters]
        return parameter_roles(titles, [bool(one.is_automatable) for one in self._parameters], self._facts)

    def _open(self) -> None:
        from pedalboard import VST3Plugin

        self._plugin: Any = VST3Plugin(
            str(self._path), plugin_name=self._name, initialization_timeout=self._warm_up_s
        )
        self._parameters: list[Any] = list(self._plugin._parameters)
        # Asked for every block, and a call into the host each time.
        self._is_instrument = bool(self._plugin.is_instrument)
        self._channels, self._has_heard, self._knows_axis = 0, False, False

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self._name

    @property
    def version(self) -> str:
        """The plugin's version, as it spells it."""
        return str(self._plugin.version)

    @property
    def uid(self) -> str:
        """Class id of its processor, 32 hexadecimal digits."""
        return self._uid

    @property
    def is_instrument(self) -> bool:
        """Whether it takes notes instead of audio."""
        return self._is_instrument

    @property
    def latency_samples(self) -> int:
        """What the plugin reports now."""
        latency: int = self._plugin.reported_latency_samples
        return latency

    def raw_values(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter."""
        return np.array([p.raw_value for p in self._parameters], np.float32)

    def set_raw(self, index: int, value: float) -> None:
        """Move one parameter.

        Not by attribute: an attribute write snaps to 1/1000 of the travel and passes misspelt names.
        """
        self._told[index] = value
        self._parameters[index].raw_value = value

    def refresh(self) -> None:
        """Look again where the parameters stand; taking a whole state makes JUCE ask for every one."""
        if self._keeps_state():
            self._set("raw_state", self._plugin.raw_state)

    def prepare(self, sample_rate: float, channels: StreamChannels, block_samples: int) -> None:
        """Become a fresh instance and get ready for blocks of at most `block_samples`."""
        if channels.sidechain:
            raise PluginError(
                f"{self._name}: pedalboard has no sidechain; has_sidechain=True takes the minihost backend"
            )
        if channels.main_out != channels.main:
            raise ChannelCountError(channels.main, channels.main)
        if self._has_heard:
            self._reload()
        self._sample_rate, self._block_samples = sample_rate, block_samples
        try:
            self._ready(sample_rate, channels.main, block_samples)
        except ValueError as error:
            accepted = _channels_wanted(str(error))
            if accepted is None or accepted == channels.main:
                raise PluginError(f"{self._name}: cannot be prepared: {error}") from error
            raise ChannelCountError(channels.main, accepted) from error

    def _ready(self, sample_rate: float, channels: int, block_samples: int) -> None:
        """Tell what was set, programs first, and prepare.

        Some plugins take a value up only as they are woken, and a reset may load one anew: they are told
        before it and after it.
        """
        order = telling_order(self._told, self._roles)
        values = order.others
        if order.needs_a_block:
            self._prepare(sample_rate, channels, block_samples)
            self._tell(order.programs)
            self._plugin.process(*self._silence(channels))
        else:
            values = order.programs | order.others
        self._tell(values)
        self._prepare(sample_rate, channels, block_samples)
        self._tell(values)

    def _reload(self) -> None:
        told = self._told
        try:
            self._open()
        except RuntimeError:
            # Only the first thread of a process may load a plugin; in another one a reset has to do.
            return
        if self._state is not None:
            self._give_state(self._state)
        self._told = told

    def _tell(self, values: dict[int, float]) -> None:
        for index, value in values.items():
            self._parameters[index].raw_value = value

    def _silence(self, channels: int) -> tuple[Any, ...]:
        if self.is_instrument:
            return [], _FLUSH_SAMPLES / self._sample_rate, self._sample_rate, channels, _FLUSH_SAMPLES, False
        return np.zeros((channels, _FLUSH_SAMPLES), np.float32), self._sample_rate, _FLUSH_SAMPLES, False

    def _prepare(self, sample_rate: float, channels: int, block_samples: int) -> None:
        if self.is_instrument:
            self._plugin.reset()
            self._parameters = list(self._plugin._parameters)
            self._plugin.process([], 0.0, sample_rate, channels, block_samples, False)
            self._has_heard = True  # some synthesizers play otherwise when they are woken a second time
        else:
            self._prepare_effect(sample_rate, channels, block_samples)
        self._channels = channels

    def _prepare_effect(self, sample_rate: float, channels: int, block_samples: int) -> None:
        try:
            self._plugin.process([], 1.0 / sample_rate, sample_rate, channels, block_samples, True)
        except ValueError as refusal:
            if "expects audio as input" not in str(refusal):
                raise
        # A plugin that keeps its sound over a reset is loaded anew by it, and its parameters with it.
        self._parameters = list(self._plugin._parameters)

    @property
    def cuts_blocks(self) -> bool:
        """Whether several blocks may come at once: pedalboard cuts what it gets."""
        return True

    def process(
        self,
        audio: AudioArray,
        midi: Sequence[MidiMessage],
        transport: Transport | None,  # noqa: ARG002 - pedalboard cannot tell a plugin
        position_samples: int,  # noqa: ARG002
    ) -> AudioArray:
        """Process one block, or several whole ones."""
        self._has_heard = True
        n_samples = audio.shape[1]
        if self._is_instrument:
            return self._render(n_samples, midi)
        if n_samples <= len(audio) and not self._knows_axis:
            # The first array settles for good which axis is time, and this one could be misread.
            self._plugin.process(*self._silence(len(audio)))
            self._ready(self._sample_rate, len(audio), self._block_samples)
        self._knows_axis = True
        ready: AudioArray = self._plugin.process(audio, self._sample_rate, self._block_samples, False)
        if ready.shape[1] == n_samples:
            return ready
        output = np.zeros_like(audio)
        output[:, n_samples - ready.shape[1] :] = ready
        return output

    def _render(self, n_samples: int, midi: Sequence[MidiMessage]) -> AudioArray:
        rate = self._sample_rate
        messages = [(message, (offset + 0.5) / rate) for offset, message in midi]
        output: AudioArray = self._plugin.process(
            messages, (n_samples + 0.5) / rate, rate, self._channels, self._block_samples, False
        )
        return output

    def get_state(self) -> bytes:
        """Return the plugin's state as the bytes of a ``.vstpreset``."""
        return bytes(self._plugin.preset_data)

    def set_state(self, data: bytes) -> None:
        """Restore a state; what was set before is gone."""
        self._told = {}
        if self._has_heard or not parse_vstpreset(data).chunks.get("Comp"):
            self._state = None
            self._reload()
        self._give_state(data)
        self._state = data

    def _give_state(self, data: bytes) -> None:
        chunks = parse_vstpreset(data).chunks
        if not chunks.get("Comp"):
            return  # the state of a plugin that keeps none: it is as loaded, which is all it can be
        try:
            self._set("preset_data", data)
        except RuntimeError as error:
            if parse_vstpreset(self.get_state()).chunks == chunks:
                return  # some refuse even the state they are in, where it says nothing
            raise PluginError(
                f"{self._name}: the plugin refuses this state, though it is its own; "
                "it may come from a newer version of the plugin"
            ) from error
        # Given once more in JUCE's own form, which makes it look where the parameters stand now. The plugin
        # cannot be asked for it: some take a state over with the next block only.
        self._set("raw_state", build_juce_state(chunks))

    def _set(self, name: str, value: bytes) -> None:
        """Set one of pedalboard's properties; writing an attribute asks every parameter a thousand texts."""
        getattr(type(self._plugin), name).__set__(self._plugin, value)

    def _keeps_state(self) -> bool:
        return bool(parse_vstpreset(self.get_state()).chunks.get("Comp"))

    def show_editor(self, closed: threading.Event) -> None:
        """Show the plugin's own editor until the user or `closed` closes it; on the main thread only."""
        try:
            self._plugin.show_editor(closed)
        except RuntimeError as error:
            raise PluginError(f"{self._name}: shows no editor: {error}") from error

    def describe(self) -> PluginDescription:
        """Return what the plugin says of itself, at the sample rate it is prepared for."""
        plugin = self._plugin
        return PluginDescription(
            name=plugin.name,
            vendor=plugin.manufacturer_name,
            version=plugin.version,
            uid=self._uid,
            category=plugin.category,
            is_instrument=self.is_instrument,
            parameters=describe_parameters([_shown(one) for one in self._parameters], self._facts),
            backend="pedalboard",
            has_transport=False,
            has_sidechain=False,
            plugin_names=self._names,
            sample_rate=self._sample_rate,
            takes_midi=self.is_instrument,
        )


def _plugin_names(path: Path) -> tuple[str, ...]:
    """List the plugins of a bundle; pedalboard makes each of them for it, the bundle's factory none."""
    if sys.platform != "linux":
        from pedalboard import VST3Plugin

        return tuple(VST3Plugin.get_plugin_names_for_file(str(path)))
    return tuple(one.name for one in read_factory(find_binary(path)))


def ask_no_texts() -> None:
    """Keep pedalboard, in this whole process, from asking every parameter for a thousand texts at each load.

    Its mixin is called by name from native code, so a subclass of a plugin cannot say so. Where another
    version has no such mixin, loading is merely slower.
    """
    with contextlib.suppress(ImportError):
        from pedalboard._pedalboard import ExternalPlugin

        setattr(ExternalPlugin, "__set_initial_parameter_values__", _set_nothing)  # noqa: B010


def _set_nothing(_plugin: object, _values: object) -> None:
    """Leave a plugin's parameters as they are."""


def _shown(parameter: Any) -> ShownParameter:
    return ShownParameter(
        title=parameter.name,
        label=parameter.label,
        steps=0 if parameter.num_steps >= _CONTINUOUS else max(0, int(parameter.num_steps) - 1),
        default_raw=float(parameter.default_raw_value),
        is_automatable=bool(parameter.is_automatable),
        text_at=parameter.get_text_for_raw_value,
    )


def _explain(path: Path, error: Exception) -> str:
    if "scan failure" in str(error) or "load failure" in str(error):
        return (
            f"{path.name}: no plugin in it loads: it is not a VST3 plugin, or a library it needs is missing. "
            f"To see which, run ldd on the file in {path / 'Contents'}"
        )
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path.name}: cannot be loaded: {first_line}"


def choose_plugin(path: Path, names: Sequence[str], plugin_name: str | None) -> str:
    """Return the name of the plugin that is meant.

    Raises:
        SeveralPluginsError: The bundle holds several and none was named.
        PluginError: It holds none of this name.
    """
    if plugin_name is None:
        if len(names) > 1:
            listed = ", ".join(repr(n) for n in names)
            message = f"{path.name} holds {len(names)} plugins: {listed}; name one with plugin_name"
            raise SeveralPluginsError(message, names)
        return names[0]
    if plugin_name not in names:
        raise PluginError(f"{path.name} holds no plugin {plugin_name!r}; {nearest_names(plugin_name, names)}")
    return plugin_name


def _channels_wanted(message: str) -> int | None:
    found = re.search(r"and (\d+) output channel", message)
    return int(found.group(1)) if found else None
