"""minihost as a backend, for plugins that need the song's clock.

Optional: ``pip install reverie-audio[host]``.

What it adds to pedalboard: tempo, meter and position in every block, a sidechain, MIDI into effects. What
it lacks: it opens only the first plugin of a bundle, and it does not know class ids, so the caller names
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.errors import PluginError
from bridge.hosts.contract import (
    ChannelCountError,
    HostedParameter,
    MidiMessage,
    PluginDescription,
    Transport,
)
from bridge.hosts.pedalboard_backend import raw_grid
from bridge.hosts.vstpreset import build_vstpreset, parse_vstpreset

__all__ = ["MinihostBackend"]


class MinihostBackend:
    """One plugin in minihost's hands."""

    def __init__(self, path: Path, plugin_name: str | None, uid: str) -> None:
        import minihost

        self._minihost, self._path, self._uid = minihost, path, uid
        try:
            self._facts: dict[str, Any] = minihost.probe(str(path))
            self._plugin: Any = self._open(48000.0, 512, 2, 0)
        except RuntimeError as error:
            raise PluginError(f"{path.name}: cannot be loaded: {error}") from error
        if plugin_name not in (None, self._facts["name"]):
            raise PluginError(
                f"{path.name}: the minihost backend opens only the bundle's first plugin, "
                f'{self._facts["name"]!r}, not {plugin_name!r}; use backend = "pedalboard"'
            )
        self._prepared: tuple[float, int, int, int] = (48000.0, 512, 2, 0)
        self._description = self._describe()

    def _open(self, sample_rate: float, block_samples: int, channels: int, sidechain_channels: int) -> Any:
        n_inputs = channels if self._facts["num_inputs"] else 0
        plugin = self._minihost.Plugin(
            str(self._path), sample_rate, block_samples, n_inputs, channels, sidechain_channels
        )
        plugin.non_realtime = True
        return plugin

    @property
    def description(self) -> PluginDescription:
        """What the plugin says of itself."""
        return self._description

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
        self._plugin.set_param(index, float(value))

    def prepare(self, sample_rate: float, channels: int, block_samples: int, sidechain_channels: int) -> None:
        """Forget every sample seen and get ready for blocks of at most `block_samples`.

        A plugin is opened anew with its state: minihost has no other way to change channels or blocks, and it
        is the surest way to forget.
        """
        state, values = self._plugin.get_state(), self.raw_values()
        fresh = self._open(sample_rate, block_samples, channels, sidechain_channels)
        is_instrument = self._description.is_instrument
        accepted = fresh.num_output_channels if is_instrument else fresh.num_input_channels
        if accepted != channels:
            fresh.close()
            raise ChannelCountError(channels, accepted)
        self._plugin.close()
        self._plugin = fresh
        self._plugin.set_state(state)
        for index, value in enumerate(values):
            self.set_raw(index, value)
        self._prepared = (sample_rate, block_samples, channels, sidechain_channels)

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
        _, _, channels, sidechain_channels = self._prepared
        main = np.ascontiguousarray(audio[:channels])
        output = np.zeros_like(main)
        messages = [(offset, *message.ljust(3, b"\0")) for offset, message in midi]
        if sidechain_channels:
            sidechain = np.ascontiguousarray(audio[channels:])
            self._plugin.process_sidechain_midi(main, output, sidechain, messages)
        else:
            self._plugin.process_midi(main, output, messages)
        return output

    def get_state(self) -> bytes:
        """Return the plugin's state as the bytes of a ``.vstpreset``."""
        if not self._uid:
            raise PluginError(
                f"{self._path.name}: its class id is not known, so its state cannot be labelled"
            )
        component, controller = self._minihost._core.vst3_state_split(self._plugin.get_state())
        chunks = {"Comp": component or b""}
        if controller:
            chunks["Cont"] = controller
        return build_vstpreset(self._uid, chunks)

    def set_state(self, data: bytes) -> None:
        """Restore a state."""
        chunks = parse_vstpreset(data).chunks
        state = self._minihost._core.vst3_state_join(chunks["Comp"], chunks.get("Cont"))
        try:
            self._plugin.set_state(state)
        except RuntimeError as error:
            raise PluginError(f"{self._path.name}: the plugin refuses this state: {error}") from error

    def _describe(self) -> PluginDescription:
        plugin = self._plugin
        return PluginDescription(
            name=self._facts["name"],
            vendor=self._facts["vendor"],
            version=self._facts["version"],
            uid=self._uid,
            category="",
            is_instrument=not self._facts["num_inputs"],
            parameters=tuple(self._describe_parameter(i) for i in range(plugin.num_params)),
            backend="minihost",
            has_transport=True,
            has_sidechain=True,
            plugin_names=(self._facts["name"],),
        )

    def _describe_parameter(self, index: int) -> HostedParameter:
        info = self._plugin.get_param_info(index)
        steps = max(0, int(info["num_steps"]) - 1)
        grid = raw_grid(steps, self._plugin.num_params)
        return HostedParameter(
            title=info["name"],
            label=info["label"],
            steps=steps,
            default_raw=float(info["default_value"]),
            is_automatable=bool(info["is_automatable"]),
            texts=tuple((float(raw), self._plugin.param_to_text(index, float(raw))) for raw in grid),
        )
