"""Drive one backend as a stream: events at their sample, blocks on a fixed grid, latency taken out.

The same code runs in the child process and, without isolation, in this one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.hosts.contract import (
    MIDI_MESSAGE_BYTES,
    BackendName,
    ChannelCountError,
    EventArray,
    EventKind,
    HostBackend,
    MidiMessage,
    PluginDescription,
    StreamChannels,
    Transport,
)

__all__ = ["LocalDriver", "PluginDriver", "load_backend"]

_TAIL_BURST_S = 0.1
_TAIL_SILENCE_S = 1.0
_TAIL_LIMIT_S = 30.0
_TAIL_THRESHOLD = 10.0 ** (-80.0 / 20.0)
_MEASURE_BLOCK_SAMPLES = 4096
_SETTLE_SAMPLES = 64
_TOGETHER_SAMPLES = 8192
"""How many samples of whole blocks go at once to a host that cuts them; a crash is placed no closer."""
# As plain numbers: they are compared for every block.
_MIDI, _PARAMETER = int(EventKind.MIDI), int(EventKind.PARAMETER)
_NOTE_ON, _NOTE_OFF = bytes([0x90, 60, 100]), bytes([0x80, 60, 0])


class PluginDriver(Protocol):
    """One plugin, driven as a stream, wherever it lives."""

    @property
    def description(self) -> PluginDescription:
        """What the plugin says of itself."""
        ...

    @property
    def position_samples(self) -> int:
        """First sample of the block being processed, counted from the start of the stream."""
        ...

    def raw_values(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter."""
        ...

    def set_raw(self, values: dict[int, float]) -> None:
        """Move parameters, by index."""
        ...

    def describe(self, sample_rate: float) -> PluginDescription:
        """Return what the plugin says of itself at a sample rate (Hz); ends a stream."""
        ...

    def read_back(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter after a program has moved them; ends a stream."""
        ...

    def start(self, sample_rate: float, channels: StreamChannels, block_samples: int) -> None:
        """Begin a stream: forget every sample seen."""
        ...

    def process(self, audio: AudioArray, events: EventArray) -> AudioArray:
        """Continue the stream and return what is ready: aligned with the input, the latency withheld."""
        ...

    @property
    def latency_samples(self) -> int:
        """The latency as of the last block processed."""
        ...

    def settle(self) -> None:
        """Process a little silence, so that parameters arrive and latency is known; ends a stream."""
        ...

    def tail_seconds(self) -> float:
        """Measure how long the plugin sounds on after its input has ended; ends a running stream."""
        ...

    def get_state(self) -> bytes:
        """Return the plugin's state as the bytes of a ``.vstpreset``."""
        ...

    def set_state(self, data: bytes) -> None:
        """Restore a state."""
        ...

    def close(self) -> None:
        """Let the plugin go."""
        ...


def is_note(packed_message: int) -> bool:
    """Whether a MIDI message starts or ends a note.

    Hosts pass notes on with their sample, but turn controllers and bends into parameters, which move at the
    start of a block: for those a block is cut.
    """
    return packed_message & 0xE0 == 0x80


def load_backend(path: Path, plugin_name: str | None, backend: BackendName, uid: str = "") -> HostBackend:
    """Load a plugin in this process.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.
        backend: Which host loads it.
        uid: Class id, for a module that does not tell its own.
    """
    if backend == "pedalboard":
        from bridge.hosts.pedalboard_backend import PedalboardBackend

        return PedalboardBackend(path, plugin_name)
    from bridge.hosts.minihost_backend import MinihostBackend

    return MinihostBackend(path, plugin_name, uid)


def _new_array(channels: int, samples: int) -> AudioArray:
    return np.empty((channels, samples), np.float32)


class LocalDriver:
    """A backend in this process, driven as a stream.

    Args:
        backend: The loaded plugin.
        sample_rate: Hz; the parameters are described as the plugin shows them at this rate.
        progress: Two integers, position and latency, kept current for whoever watches; in the child they
            lie in shared memory, so that the parent can tell where a crash happened.
    """

    def __init__(
        self,
        backend: HostBackend,
        sample_rate: float = 48000.0,
        progress: npt.NDArray[np.int64] | None = None,
    ) -> None:
        self._backend = backend
        self._progress = np.zeros(2, np.int64) if progress is None else progress
        self._position = 0
        self._transport: Transport | None = None
        self._transport_position = 0
        self._sample_rate, self._block_samples = sample_rate, _MEASURE_BLOCK_SAMPLES
        self._channels = StreamChannels(2)
        self._dropped_samples = 0
        self._held: AudioArray = np.zeros((2, 0), np.float32)
        self._description = self.describe(sample_rate)

    @property
    def description(self) -> PluginDescription:
        """What the plugin says of itself, at the rate it was last asked for."""
        return self._description

    def describe(self, sample_rate: float) -> PluginDescription:
        """Return what the plugin says of itself at a sample rate: its texts may depend on it."""
        self._sample_rate = sample_rate
        self._prepare_to_measure()
        self._description = self._backend.describe()
        return self._description

    def read_back(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter after a program has moved them."""
        self.settle()
        self._backend.refresh()
        return self._backend.raw_values()

    @property
    def position_samples(self) -> int:
        """First sample of the block being processed."""
        return self._position

    def raw_values(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter."""
        return self._backend.raw_values()

    def set_raw(self, values: dict[int, float]) -> None:
        """Move parameters, by index."""
        for index, value in values.items():
            self._backend.set_raw(index, value)

    def start(self, sample_rate: float, channels: StreamChannels, block_samples: int) -> None:
        """Begin a stream."""
        self._backend.prepare(sample_rate, channels, block_samples)
        self._sample_rate, self._channels, self._block_samples = sample_rate, channels, block_samples
        self._transport = None
        self._dropped_samples = 0
        self._held = np.zeros((channels.total_out, 0), np.float32)
        self._progress[:] = self._position = 0

    def process(self, audio: AudioArray, events: EventArray) -> AudioArray:
        """Continue the stream."""
        return self.process_into(_new_array, audio, events)

    def process_into(
        self, place: Callable[[int, int], AudioArray], audio: AudioArray, events: EventArray
    ) -> AudioArray:
        """Continue the stream and put what is ready where `place`, asked for channels and samples, says."""
        backend, progress = self._backend, self._progress
        pieces = [self._held]
        for start, end, midi in self._blocks(audio.shape[1], events):
            output = backend.process(audio[:, start:end], midi, self._transport_now(), self._position)
            self._position += end - start
            progress[0] = self._position
            latency = backend.latency_samples
            pieces.append(output if latency == self._dropped_samples else self._realign(output, latency))
        progress[1] = backend.latency_samples
        # At most twice what came in, the rest with the next: a latency that falls brings more.
        n_samples, n_most = sum(piece.shape[1] for piece in pieces), 2 * audio.shape[1]
        if n_samples > n_most:
            joined = np.concatenate(pieces, axis=1)
            pieces, self._held, n_samples = [joined[:, :n_most]], joined[:, n_most:], n_most
        else:
            self._held = self._held[:, :0]
        return np.concatenate(pieces, axis=1, out=place(len(self._held), n_samples))

    def _samples_to_cut(self) -> int:
        """Return how many samples may go at once: to the grid, or whole blocks where the host cuts them.

        A plugin that is late gets them singly: where its latency changes, the next block is realigned.
        """
        into_block = self._position % self._block_samples
        is_late = self._backend.latency_samples or self._dropped_samples
        if into_block or is_late or not self._backend.cuts_blocks:
            return self._block_samples - into_block
        return self._block_samples * max(1, _TOGETHER_SAMPLES // self._block_samples)

    def _blocks(self, n_samples: int, events: EventArray) -> Iterator[tuple[int, int, list[MidiMessage]]]:
        """Yield blocks ending where a parameter moves or the grid says; apply what falls between."""
        rows = [*events.tolist(), (n_samples, 0, 0, 0, 0.0, 0.0)]
        at = start = 0
        while start < n_samples:
            midi: list[MidiMessage] = []
            end = min(n_samples, start + self._samples_to_cut())
            while rows[at][0] < end:
                offset, kind, index, detail, value, value2 = rows[at]
                if kind == _MIDI and (is_note(index) or offset == start):
                    midi.append((offset - start, index.to_bytes(4, "little")[:MIDI_MESSAGE_BYTES]))
                elif offset > start:
                    end = offset
                    while midi and midi[-1][0] == offset - start:  # what falls on the cut comes after it
                        midi.pop()
                        at -= 1
                    break
                elif kind == _PARAMETER:
                    self._backend.set_raw(index, value)
                else:
                    self._transport = Transport(bpm=value, beats=value2, numerator=index, denominator=detail)
                    self._transport_position = self._position
                at += 1
            yield start, end, midi
            start = end

    def _transport_now(self) -> Transport | None:
        told = self._transport
        if told is None or self._transport_position == self._position:
            return told
        elapsed_s = (self._position - self._transport_position) / self._sample_rate
        return dataclasses.replace(told, beats=told.beats + elapsed_s * told.bpm / 60.0)

    def _realign(self, output: AudioArray, latency: int) -> AudioArray:
        """Drop from the start of the stream what the plugin is late; fill up where that falls."""
        late = latency - self._dropped_samples
        if late > 0:
            n_drop = min(late, output.shape[1])
            self._dropped_samples += n_drop
            return output[:, n_drop:]
        self._dropped_samples = latency
        return np.concatenate([np.zeros((output.shape[0], -late), np.float32), output], axis=1)

    @property
    def latency_samples(self) -> int:
        """The latency as of the last block processed."""
        return int(self._progress[1])

    def settle(self) -> None:
        """Process a little silence: parameters reach a plugin with its next block, and not before."""
        self._prepare_to_measure()
        self._backend.process(self._silence(_SETTLE_SAMPLES), (), None, 0)
        self._progress[1] = self._backend.latency_samples

    def tail_seconds(self) -> float:
        """Measure how long the plugin sounds on after a noise burst or a note's end, down to -80 dBFS."""
        self._prepare_to_measure()
        rate, is_instrument = int(self._sample_rate), self._backend.is_instrument
        burst = np.random.default_rng(0).uniform(-0.5, 0.5, (self._channels.main, int(_TAIL_BURST_S * rate)))
        for start in range(0, burst.shape[1], _MEASURE_BLOCK_SAMPLES):
            piece = burst[:, start : start + _MEASURE_BLOCK_SAMPLES].astype(np.float32)
            on = [(0, _NOTE_ON)] if is_instrument and start == 0 else []
            self._backend.process(piece, on, None, 0)
        silence = self._silence(_MEASURE_BLOCK_SAMPLES)
        midi: list[MidiMessage] = [(0, _NOTE_OFF)] if is_instrument else []
        last_heard, n_fed = 0, 0
        while n_fed < _TAIL_LIMIT_S * rate and n_fed - last_heard < _TAIL_SILENCE_S * rate:
            output, midi = self._backend.process(silence, midi, None, 0), []
            heard = np.flatnonzero(np.abs(output).max(axis=0) > _TAIL_THRESHOLD)
            if len(heard):
                last_heard = n_fed + int(heard[-1]) + 1
            n_fed += silence.shape[1]
        self._progress[1] = self._backend.latency_samples
        return max(0, last_heard - self._backend.latency_samples) / rate

    def _prepare_to_measure(self) -> None:
        """Prepare the plugin with channels it takes."""
        self._channels = StreamChannels(self._channels.main, out=self._channels.main_out)
        try:
            self._backend.prepare(self._sample_rate, self._channels, _MEASURE_BLOCK_SAMPLES)
        except ChannelCountError as refusal:
            self._channels = StreamChannels(refusal.accepted, out=refusal.accepted_out)
            self._backend.prepare(self._sample_rate, self._channels, _MEASURE_BLOCK_SAMPLES)

    def _silence(self, n_samples: int) -> AudioArray:
        return np.zeros((self._channels.main, n_samples), np.float32)

    def get_state(self) -> bytes:
        """Return the plugin's state as the bytes of a ``.vstpreset``."""
        return self._backend.get_state()

    def set_state(self, data: bytes) -> None:
        """Restore a state."""
        self._backend.set_state(data)

    def close(self) -> None:
        """Let the plugin go."""
