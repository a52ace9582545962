"""How a hosted plugin's stream runs: where it begins, and what happens at which of its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bridge.arrays import AudioArray, Lane
from bridge.clock.tempo_map import TempoMap
from bridge.hosts.contract import BackendName, EventArray
from bridge.hosts.events import merge_events, midi_events, raw_events, transport_events
from bridge.hosts.instances import PluginInstances
from bridge.hosts.open_plugin import has_minihost
from bridge.hosts.plugin_cache import PluginCache
from bridge.hosts.plugin_stream import PluginStream, StreamShape

__all__ = ["StreamRunner", "remembered_backend"]

_MAX_BUFFER_SAMPLES = 16384


def remembered_backend(path: Path, plugin_name: str | None) -> BackendName | None:
    """Return the host in which a scan has found a plugin to load; None where none has looked."""
    entry = PluginCache.read().entry(path, plugin_name)
    if entry is None or (entry.backend == "minihost" and not has_minihost()):
        return None
    return entry.backend


class StreamRunner:
    """The stream of one plugin.

    Args:
        instances: The plugin.
        name: Its name, for messages.
    """

    def __init__(self, instances: PluginInstances, name: str) -> None:
        self.stream: PluginStream | None = None
        self.tempo_map: TempoMap | None = None
        self.messages: Sequence[tuple[float, bytes]] | None = None
        self.extra_channels = 0
        self._instances, self._name = instances, name
        self._midi: EventArray | None = None

    def begin(
        self, audio: AudioArray, sample_rate: float, buffer_size: int, sidechain: AudioArray | None
    ) -> PluginStream:
        """Return the running stream, or start one where none runs or the shape of the sound is another."""
        channels, sidechain_channels = audio.shape[0], 0 if sidechain is None else sidechain.shape[0]
        stream = self.stream
        if stream is not None and stream.fits(sample_rate, channels, sidechain_channels):
            return stream
        self.stream = None
        self._midi = None
        if self.messages is not None:
            self._midi = midi_events(self.messages, sample_rate, self._name)
        shape = StreamShape(
            sample_rate=sample_rate,
            channels=channels,
            sidechain_channels=sidechain_channels,
            extra_channels=self.extra_channels,
        )
        block_samples = max(1, min(buffer_size, _MAX_BUFFER_SAMPLES))
        self.stream = self._instances.open_stream(shape, block_samples)
        return self.stream

    def events(
        self, n_samples: int, automation: Mapping[str, Lane], automation_block_samples: int
    ) -> EventArray:
        """Return what happens in the next samples of the running stream."""
        stream, controls = self.stream, self._instances.controls
        assert stream is not None
        position = stream.position_samples
        parts: list[EventArray] = []
        if self.tempo_map is not None:
            rate, block = stream.shape.sample_rate, stream.block_samples
            parts.append(transport_events(self.tempo_map, rate, position, n_samples, block))
        if n_samples and (pending := controls.take_pending()):
            parts.append(raw_events(pending))
        parts += controls.automate(automation, n_samples, position, automation_block_samples)
        if self._midi is not None:
            first, last = np.searchsorted(self._midi["offset"], (position, position + n_samples))
            messages = self._midi[first:last].copy()
            messages["offset"] -= position
            parts.append(messages)
        return merge_events(*parts)
