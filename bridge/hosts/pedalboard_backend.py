"""pedalboard as a backend: the default, installed with the project.

Three of its habits are worked around here, and nowhere else:

- It fixes its largest block at the first call of a stream and, when a larger one comes, re-prepares the
  plugin in the middle of the sound. A call with MIDI on an effect is refused, but only after the plugin has
  been reset and prepared for the block size given, which is exactly what is wanted.
- It withholds the latency's samples; they are put back as silence, so that all backends answer alike and one
  piece of code compensates.
- It keeps seconds in float32. Blocks are short enough (half a sample of slack in 2^23) for offsets to be
  exact.

What it cannot do: transport (plugins always see 120 BPM, 4/4, position 0), sidechain, MIDI into effects.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.errors import PluginError, nearest_names
from bridge.hosts.contract import (
    ChannelCountError,
    HostedParameter,
    MidiMessage,
    PluginDescription,
    SeveralPluginsError,
    Transport,
)

__all__ = ["PedalboardBackend", "raw_grid"]

_CONTINUOUS = 0x7FFFFFFF
"""JUCE's number of steps for a parameter that has none."""

_WARM_UP_S = 5.0
"""How long an instrument may take to load its sounds before it is used without them."""


def raw_grid(steps: int, n_parameters: int) -> npt.NDArray[np.float64]:
    """Return the positions at which a parameter is asked for its text.

    Every step where there are few; elsewhere enough to recognise a linear or a logarithmic travel. Plugins
    with thousands of parameters are asked less, since each answer costs a call.
    """
    n_points, n_names = (65, 256) if n_parameters <= 256 else (9, 32)
    if 0 < steps < n_names:
        return np.linspace(0.0, 1.0, steps + 1)
    if steps:
        return np.unique(np.round(np.linspace(0.0, 1.0, n_points) * steps)) / steps
    return np.linspace(0.0, 1.0, n_points)


class PedalboardBackend:
    """One plugin in pedalboard's hands."""

    def __init__(self, path: Path, plugin_name: str | None) -> None:
        from pedalboard import VST3Plugin

        try:
            self._names: tuple[str, ...] = tuple(VST3Plugin.get_plugin_names_for_file(str(path)))
            chosen = _choose(path, self._names, plugin_name)
            self._plugin: Any = VST3Plugin(str(path), plugin_name=chosen, initialization_timeout=_WARM_UP_S)
        except PluginError:
            raise
        except Exception as error:  # pedalboard raises ImportError, RuntimeError, ValueError and more
            raise PluginError(_explain(path, error)) from error
        self._sample_rate = 0.0
        self._channels = 0
        self._parameters: list[Any] = list(self._plugin._parameters)
        self._description = self._describe()

    @property
    def description(self) -> PluginDescription:
        """What the plugin says of itself."""
        return self._description

    @property
    def latency_samples(self) -> int:
        """What the plugin reports now."""
        return int(self._plugin.reported_latency_samples)

    def raw_values(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter."""
        return np.array([p.raw_value for p in self._parameters], np.float32)

    def set_raw(self, index: int, value: float) -> None:
        """Move one parameter.

        Not by attribute: an attribute write snaps to 1/1000 of the travel and passes misspelt names.
        """
        self._parameters[index].raw_value = value

    def prepare(self, sample_rate: float, channels: int, block_samples: int, sidechain_channels: int) -> None:
        """Forget every sample seen and get ready for blocks of at most `block_samples`."""
        if sidechain_channels:
            raise PluginError(
                f"{self._description.name}: pedalboard has no sidechain; has_sidechain=True takes "
                "the minihost backend"
            )
        self._sample_rate, self._block_samples = sample_rate, block_samples
        try:
            if self._description.is_instrument:
                self._plugin.reset()
                self._parameters = list(self._plugin._parameters)
                self._plugin.process([], 0.0, sample_rate, channels, block_samples, False)
            else:
                self._prepare_effect(sample_rate, channels, block_samples)
        except ValueError as error:
            accepted = _channels_wanted(str(error))
            if accepted is None or accepted == channels:
                raise PluginError(f"{self._description.name}: cannot be prepared: {error}") from error
            raise ChannelCountError(channels, accepted) from error
        self._channels = channels

    def _prepare_effect(self, sample_rate: float, channels: int, block_samples: int) -> None:
        if channels != self._channels:
            # The first array settles for good which axis is time: give it one that cannot be misread.
            self._plugin.process(np.zeros((channels, 64), np.float32), sample_rate, 64, True)
        try:
            self._plugin.process([], 1.0 / sample_rate, sample_rate, channels, block_samples, True)
        except ValueError as refusal:
            if "expects audio as input" not in str(refusal):
                raise
        # A plugin that keeps its sound over a reset is loaded anew by it, and its parameters with it.
        self._parameters = list(self._plugin._parameters)

    def process(
        self,
        audio: AudioArray,
        midi: Sequence[MidiMessage],
        transport: Transport | None,  # noqa: ARG002 - pedalboard cannot tell a plugin
        position_samples: int,  # noqa: ARG002
    ) -> AudioArray:
        """Process one block."""
        n_samples = audio.shape[1]
        if self._description.is_instrument:
            return self._render(n_samples, midi)
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
        """Restore a state."""
        try:
            self._plugin.preset_data = data
        except RuntimeError as error:
            raise PluginError(
                f"{self._description.name}: the plugin refuses this state, though it is its own; "
                "it may come from a newer version of the plugin"
            ) from error

    def show_editor(self, closed: threading.Event) -> None:
        """Show the plugin's own editor until the user or `closed` closes it; on the main thread only."""
        try:
            self._plugin.show_editor(closed)
        except RuntimeError as error:
            raise PluginError(f"{self._description.name}: shows no editor: {error}") from error

    def _describe(self) -> PluginDescription:
        plugin = self._plugin
        return PluginDescription(
            name=plugin.name,
            vendor=plugin.manufacturer_name,
            version=plugin.version,
            uid=bytes(plugin.preset_data)[8:40].decode("ascii", "replace"),
            category=plugin.category,
            is_instrument=bool(plugin.is_instrument),
            parameters=tuple(_describe_parameter(p, len(self._parameters)) for p in self._parameters),
            backend="pedalboard",
            has_transport=False,
            has_sidechain=False,
            plugin_names=self._names,
        )


def _explain(path: Path, error: Exception) -> str:
    if "scan failure" in str(error) or "load failure" in str(error):
        return (
            f"{path.name}: no plugin in it loads: it is not a VST3 plugin, or a library it needs is missing. "
            f"To see which, run ldd on the file in {path / 'Contents'}"
        )
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path.name}: cannot be loaded: {first_line}"


def _choose(path: Path, names: Sequence[str], plugin_name: str | None) -> str:
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


def _describe_parameter(parameter: Any, n_parameters: int) -> HostedParameter:
    steps = 0 if parameter.num_steps >= _CONTINUOUS else max(0, int(parameter.num_steps) - 1)
    grid = raw_grid(steps, n_parameters)
    return HostedParameter(
        title=parameter.name,
        label=parameter.label,
        steps=steps,
        default_raw=float(parameter.default_raw_value),
        is_automatable=bool(parameter.is_automatable),
        texts=tuple((float(raw), parameter.get_text_for_raw_value(float(raw))) for raw in grid),
    )
