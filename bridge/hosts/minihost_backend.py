"""minihost as a backend: the song's clock, a second input, MIDI into effects, what pedalboard refuses.

Optional: ``pip install reverie-audio[host]``.

Four of its habits are worked around here, and nowhere else:

- Its `probe` says that effects on Steinberg's SDK have no input; an opened plugin knows better.
- It opens the first plugin of a bundle; another one is opened through a bundle that lists only that.
- It does not know class ids; the module's factory does.
- It cannot change channels or blocks: the plugin is opened anew, which is also the surest way to forget.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.errors import PluginError
from bridge.hosts.bundle import find_binary
from bridge.hosts.contract import (
    ChannelCountError,
    MidiMessage,
    PluginDescription,
    StreamChannels,
    Transport,
)
from bridge.hosts.descriptions import ShownParameter, describe_parameters
from bridge.hosts.module_facts import ControllerFacts, read_controller
from bridge.hosts.narrow_bundle import narrow_bundle
from bridge.hosts.parameter_roles import ParameterRole, parameter_roles, telling_order
from bridge.hosts.pedalboard_backend import choose_plugin
from bridge.hosts.plugin_factory import PluginClass, read_factory
from bridge.hosts.vstpreset import build_vstpreset, parse_vstpreset

__all__ = ["MinihostBackend"]

_FLUSH_SAMPLES = 64


class MinihostBackend:
    """One plugin in minihost's hands.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.
        uid: Class id, for a module that does not tell its own.

    Raises:
        PluginError: It cannot be loaded.
    """

    def __init__(self, path: Path, plugin_name: str | None, uid: str = "") -> None:
        import minihost

        self._minihost, self._path = minihost, path
        self._channels, self._rate, self._block_samples = StreamChannels(2), 48000.0, 512
        self._class, self._names = _choose_class(path, plugin_name, uid)
        self._shown = path if len(self._names) < 2 else narrow_bundle(path, self._class)
        try:
            self._plugin: Any = self._open(self._channels)
        except RuntimeError as error:
            raise PluginError(f"{path.name}: cannot be loaded by minihost: {error}") from error
        if not self._class.name:
            facts = minihost.probe(str(path))
            known = {key: str(facts[key]) for key in ("name", "vendor", "version")}
            self._class, self._names = replace(self._class, **known), (known["name"],)
        self._infos = [self._plugin.get_param_info(i) for i in range(self._plugin.num_params)]
        self._facts: ControllerFacts | None = None
        self._roles = self._find_roles()
        self._state: bytes | None = None
        self._told: dict[int, float] = {}

    def ask_module(self) -> None:
        """Ask the module itself what its parameters are for."""
        if self._class.uid:
            self._facts = read_controller(find_binary(self._path), self._class.uid)
            self._roles = self._find_roles()

    def _find_roles(self) -> list[ParameterRole]:
        titles = [info["name"] for info in self._infos]
        return parameter_roles(titles, [bool(info["is_automatable"]) for info in self._infos], self._facts)

    def _open(self, channels: StreamChannels) -> Any:
        plugin = self._minihost.Plugin(
            str(self._shown),
            self._rate,
            self._block_samples,
            channels.main,
            channels.main_out,
            channels.sidechain,
        )
        plugin.non_realtime = True
        return plugin

    @property
    def is_instrument(self) -> bool:
        """Whether it takes notes instead of audio."""
        words = self._class.category.split("|")
        return not self._plugin.num_input_channels or ("Instrument" in words and "Fx" not in words)

    @property
    def latency_samples(self) -> int:
        """What the plugin reports now."""
        self._minihost._core._message_thread_poll()
        return int(self._plugin.latency_samples)

    def raw_values(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter."""
        return np.array([self._plugin.get_param(i) for i in range(self._plugin.num_params)], np.float32)

    def set_raw(self, index: int, value: float) -> None:
        """Move one parameter."""
        self._told[index] = value
        self._plugin.set_param(index, float(value))

    def refresh(self) -> None:
        """Look again where the parameters stand; taking a whole state makes JUCE ask for every one."""
        if self._split_state()[0]:
            self._plugin.set_state(self._plugin.get_state())

    def prepare(self, sample_rate: float, channels: StreamChannels, block_samples: int) -> None:
        """Become a fresh instance and get ready for blocks of at most `block_samples`."""
        self._rate, self._block_samples = sample_rate, block_samples
        fresh = self._open(channels)
        try:
            self._check_channels(fresh, channels)
        except (ChannelCountError, PluginError):
            fresh.close()
            raise
        self._plugin.close()
        self._plugin, self._channels = fresh, channels
        if self._state is not None:
            self._plugin.set_state(self._state)
        order = telling_order(self._told, self._roles)
        self._tell(order.programs)
        if order.needs_a_block:
            self._run(np.zeros((channels.total_in, _FLUSH_SAMPLES), np.float32), [])
            self._plugin.reset()
        self._tell(order.others)

    def _check_channels(self, plugin: Any, channels: StreamChannels) -> None:
        out = _bus_channels(plugin, is_input=False, index=0)
        accepted = out if self.is_instrument else _bus_channels(plugin, is_input=True, index=0)
        if (accepted, out) != (channels.main, channels.main_out):
            raise ChannelCountError(channels.main, accepted, out)
        if channels.sidechain and not plugin.sidechain_channels:
            raise PluginError(f"{self._class.name}: the plugin has no second input to feed a sidechain to")

    def _tell(self, values: dict[int, float]) -> None:
        for index, value in values.items():
            self._plugin.set_param(index, float(value))

    @property
    def cuts_blocks(self) -> bool:
        """Whether several blocks may come at once: minihost hands over what it gets as it is."""
        return False

    def process(
        self,
        audio: AudioArray,
        midi: Sequence[MidiMessage],
        transport: Transport | None,
        position_samples: int,
    ) -> AudioArray:
        """Process one block."""
        if transport is not None:
            self._plugin.set_transport(
                transport.bpm,
                transport.numerator,
                transport.denominator,
                position_samples,
                transport.beats,
                True,
            )
        return self._run(audio, [(offset, *message.ljust(3, b"\0")) for offset, message in midi])

    def _run(self, audio: AudioArray, messages: list[tuple[int, ...]]) -> AudioArray:
        plugin, channels = self._plugin, self._channels
        main = np.ascontiguousarray(audio[: channels.main])
        if len(main) < plugin.num_input_channels:
            # An instrument's own inputs hear nothing.
            main = np.zeros((plugin.num_input_channels, audio.shape[1]), np.float32)
        output = np.zeros((max(channels.main_out, plugin.num_output_channels), audio.shape[1]), np.float32)
        if channels.sidechain:
            sidechain = _fit(audio[channels.main :], plugin.sidechain_channels)
            plugin.process_sidechain_midi(main, output, sidechain, messages)
        else:
            plugin.process_midi(main, output, messages)
        return output[: channels.total_out]

    def get_state(self) -> bytes:
        """Return the plugin's state as the bytes of a ``.vstpreset``."""
        if not self._class.uid:
            raise PluginError(
                f"{self._path.name}: its class id is not known, so its state cannot be labelled"
            )
        component, controller = self._split_state()
        chunks = {"Comp": component or b""}
        if controller:
            chunks["Cont"] = controller
        return build_vstpreset(self._class.uid, chunks)

    def _split_state(self) -> tuple[bytes | None, bytes | None]:
        component, controller = self._minihost._core.vst3_state_split(self._plugin.get_state())
        return component, controller

    def set_state(self, data: bytes) -> None:
        """Restore a state; what was set before is gone."""
        self._told, self._state = {}, None
        self.prepare(self._rate, self._channels, self._block_samples)
        chunks = parse_vstpreset(data).chunks
        if not chunks.get("Comp"):
            return  # the state of a plugin that keeps none: it is as loaded, which is all it can be
        state = self._minihost._core.vst3_state_join(chunks["Comp"], chunks.get("Cont"))
        try:
            self._plugin.set_state(state)
        except RuntimeError as error:
            if self._split_state() == (chunks["Comp"], chunks.get("Cont")):
                return  # some refuse even the state they are in, where it says nothing
            raise PluginError(f"{self._class.name}: the plugin refuses this state: {error}") from error
        self._state = state

    def describe(self) -> PluginDescription:
        """Return what the plugin says of itself, at the sample rate it is prepared for."""
        plugin, known = self._plugin, self._class
        outputs = [_bus_channels(plugin, is_input=False, index=i) for i in range(plugin.num_output_buses)]
        return PluginDescription(
            name=known.name,
            vendor=known.vendor,
            version=known.version,
            uid=known.uid,
            category=known.category,
            is_instrument=self.is_instrument,
            parameters=describe_parameters([self._show(i) for i in range(len(self._infos))], self._facts),
            backend="minihost",
            has_transport=True,
            has_sidechain=plugin.num_input_buses > 1,
            plugin_names=self._names,
            sample_rate=self._rate,
            takes_midi=bool(plugin.accepts_midi) or self.is_instrument,
            output_channels=tuple(outputs),
        )

    def _show(self, index: int) -> ShownParameter:
        info, plugin = self._infos[index], self._plugin
        return ShownParameter(
            title=info["name"],
            label=info["label"],
            steps=max(0, int(info["num_steps"]) - 1),
            default_raw=float(info["default_value"]),
            is_automatable=bool(info["is_automatable"]),
            text_at=lambda raw: str(plugin.param_to_text(index, raw)),
        )


def _bus_channels(plugin: Any, *, is_input: bool, index: int) -> int:
    n_buses = plugin.num_input_buses if is_input else plugin.num_output_buses
    return int(plugin.get_bus_info(is_input, index)["num_channels"]) if index < n_buses else 0


def _fit(audio: AudioArray, channels: int) -> AudioArray:
    """Give a sidechain the channels of the second input: where they differ, its mean on all of them."""
    if len(audio) == channels:
        return np.ascontiguousarray(audio)
    return np.repeat(audio.mean(axis=0, keepdims=True, dtype=np.float32), channels, axis=0)


def _choose_class(path: Path, plugin_name: str | None, uid: str) -> tuple[PluginClass, tuple[str, ...]]:
    """Find the plugin that is meant, and the names of all in its bundle; without a name where none tells."""
    if sys.platform != "linux":
        empty = dict.fromkeys(("name", "vendor", "version", "category", "sdk_version"), "")
        return PluginClass(uid=uid, **empty), ()
    classes = read_factory(find_binary(path))
    names = tuple(one.name for one in classes)
    name = choose_plugin(path, names, plugin_name)
    return next(one for one in classes if one.name == name), names
