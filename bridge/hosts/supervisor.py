"""A driver that is allowed to die: watch what comes back, and fail, bypass or repeat where it does.

The supervisor owns the driver of one stream. It checks every sample that leaves the plugin, counts what
went in and came out, and when the plugin crashes, hangs or sends nonsense does what the preset asks for:

- ``fail``: close the driver and raise, with the plugin's name and the sample.
- ``bypass``: go on with the dry sound from the first sample not delivered, at its own place in time.
- ``retry``: start the plugin again and feed it everything from the stream's start, once; then fail. The
  input is kept in a nameless file on disk, so that memory does not grow with the sound.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import IO, TypeVar

import numpy as np

from bridge.arrays import AudioArray
from bridge.errors import ProcessorError
from bridge.hosts.contract import EVENT_DTYPE, EventArray, StreamChannels, no_events
from bridge.hosts.driver import PluginDriver
from bridge.hosts.faults import DriverFault, FaultAction, HostedPluginError, PluginFault

__all__ = ["MAX_LEVEL_DB", "Supervisor", "fit_channels"]

MAX_LEVEL_DB = 60.0
"""Peaks above this (dBFS) are a runaway feedback or an uninitialised buffer, not sound."""

_FLUSH_SAMPLES = 32768

Answer = TypeVar("Answer")


class Supervisor:
    """One stream through one plugin.

    Args:
        open_driver: Load the plugin with its state and parameters, ready for `start`.
        name: The plugin's name, for messages.
        on_fault: What a fault leads to.
        max_level_db: Peaks above it are a fault.
    """

    def __init__(
        self,
        open_driver: Callable[[], PluginDriver],
        name: str,
        on_fault: FaultAction,
        max_level_db: float = MAX_LEVEL_DB,
    ) -> None:
        self.faults: list[PluginFault] = []
        self._open_driver, self._name, self._on_fault = open_driver, name, on_fault
        self._limit = float(10.0 ** (max_level_db / 20.0))
        self._driver: PluginDriver | None = None
        self._shape = (48000.0, StreamChannels(2), 512)
        self._history: _History | None = None
        self._reset_counts()

    def _reset_counts(self) -> None:
        self._n_in = self._n_out = 0
        self._is_bypassed, self._has_retried = False, False
        self._dry: AudioArray = np.zeros((self._channels.total_out, 0), np.float32)
        self._forget_history()

    def _forget_history(self) -> None:
        if self._history is not None:
            self._history.close()
            self._history = None

    @property
    def _channels(self) -> StreamChannels:
        return self._shape[1]

    @property
    def driver(self) -> PluginDriver:
        """The driver; loads the plugin where none runs."""
        if self._driver is None:
            self._driver = self._open_driver()
        return self._driver

    def adopt(self, driver: PluginDriver) -> None:
        """Use a driver that is open already."""
        self._driver = driver

    @property
    def is_open(self) -> bool:
        """Whether the plugin is loaded."""
        return self._driver is not None

    def ask(self, question: Callable[[PluginDriver], Answer]) -> Answer:
        """Ask the plugin something that is not a sound.

        Raises:
            HostedPluginError: The plugin crashed or hung over it.
        """
        try:
            return question(self.driver)
        except DriverFault as fault:
            self._end_driver()
            raise HostedPluginError(self._record(fault, "fail", sample_rate=0.0)) from fault

    @property
    def is_bypassed(self) -> bool:
        """Whether the rest of this stream is dry."""
        return self._is_bypassed

    def start(self, sample_rate: float, channels: StreamChannels, block_samples: int) -> None:
        """Begin a stream."""
        self._shape = (sample_rate, channels, block_samples)
        self._reset_counts()
        if self._on_fault == "retry":
            self._history = _History()
        try:
            self.driver.start(*self._shape)
        except DriverFault as fault:
            self._recover(fault)

    def process(self, audio: AudioArray, events: EventArray) -> AudioArray:
        """Continue the stream: main and sidechain channels in, what is ready of the main channels out."""
        self._n_in += audio.shape[1]
        if self._on_fault == "bypass":
            dry = fit_channels(audio[: self._channels.main], self._channels.main_out)
            nothing = np.zeros((self._channels.extra, audio.shape[1]), np.float32)
            self._dry = np.concatenate([self._dry, np.concatenate([dry, nothing])], axis=1)
        if self._is_bypassed:
            return self._deliver(self._dry)
        return self._run(audio, events)

    def flush(self) -> AudioArray:
        """End the stream: feed silence until as much has come out as went in."""
        pieces = [np.zeros((self._channels.total_out, 0), np.float32)]
        if self._is_bypassed:
            pieces.append(self._deliver(self._dry))
        n_owed = self._n_in - self._n_out
        silence = np.zeros((self._channels.total_in, min(n_owed, _FLUSH_SAMPLES)), np.float32)
        n_fed = 0
        while (n_missing := self._n_in - self._n_out) > 0 and n_fed < 4 * n_owed + _FLUSH_SAMPLES:
            pieces.append(self._run(silence[:, :n_missing], no_events())[:, :n_missing])
            n_fed += min(n_missing, silence.shape[1])
        if n_missing > 0:  # a plugin whose latency grows for ever never gives the rest
            pieces.append(self._deliver(np.zeros((self._channels.total_out, n_missing), np.float32)))
        self._reset_counts()
        return np.concatenate(pieces, axis=1)

    def bypass(self) -> None:
        """Let the rest of the stream through dry: the other half of a pair was."""
        self._is_bypassed = True
        self.close()

    def close(self) -> None:
        """Let the plugin go and forget the stream."""
        self._end_driver()
        self._forget_history()

    def _end_driver(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _run(self, audio: AudioArray, events: EventArray) -> AudioArray:
        if self._history is not None:
            self._history.append(audio, events)
        try:
            return self._attempt(audio, events)
        except DriverFault as fault:
            return self._recover(fault)

    def _attempt(self, audio: AudioArray, events: EventArray) -> AudioArray:
        output = self.driver.process(audio, events)
        if output.size and not max(output.max(), -output.min()) <= self._limit:
            self._explain(audio, output)
        return self._deliver(output)

    def _deliver(self, output: AudioArray) -> AudioArray:
        n_samples = output.shape[1]
        self._n_out += n_samples
        if self._dry.shape[1]:
            self._dry = self._dry[:, n_samples:]
        return output

    def _explain(self, audio: AudioArray, output: AudioArray) -> None:
        """Raise the fault that these samples are."""
        if not np.isfinite(audio).all():
            raise ProcessorError(
                f"{self._name}: the sound that goes in holds NaN or infinity; check what is before it"
            )
        magnitude = np.abs(output).max(axis=0)
        first = int(np.flatnonzero(~(magnitude <= self._limit))[0])
        position = self._n_out + first
        if not np.isfinite(magnitude[first]):
            raise DriverFault("not a number", str(output[:, first].tolist()), position)
        level_db = 20.0 * np.log10(magnitude[first])
        raise DriverFault("runaway level", f"{level_db:+.0f} dBFS", position)

    def _recover(self, fault: DriverFault) -> AudioArray:
        action: FaultAction = self._on_fault
        if action == "retry" and self._has_retried:
            action = "fail"
        record = self._record(fault, action)
        self._end_driver()
        if action == "fail":
            self._forget_history()
            raise HostedPluginError(record) from fault
        if action == "bypass":
            self._is_bypassed = True
            return self._deliver(self._dry)
        self._has_retried = True
        return self._repeat()

    def _record(
        self, fault: DriverFault, action: FaultAction, *, sample_rate: float | None = None
    ) -> PluginFault:
        record = PluginFault(
            plugin=self._name,
            kind=fault.kind,
            position_samples=fault.position_samples,
            detail=fault.detail,
            action=action,
            sample_rate=self._shape[0] if sample_rate is None else sample_rate,
            is_second=self._has_retried,
        )
        self.faults.append(record)
        return record

    def _repeat(self) -> AudioArray:
        """Feed a fresh plugin the whole stream so far; return what was not delivered before."""
        assert self._history is not None
        n_delivered, self._n_out = self._n_out, 0
        pieces = [np.zeros((self._channels.total_out, 0), np.float32)]
        try:
            self.driver.start(*self._shape)
            for audio, events in self._history:
                output = self._attempt(audio, events)
                n_known = max(0, n_delivered - (self._n_out - output.shape[1]))
                pieces.append(output[:, n_known:])
        except DriverFault as fault:
            return self._recover(fault)
        return np.concatenate(pieces, axis=1)


def fit_channels(audio: AudioArray, channels: int) -> AudioArray:
    """Give a sound so many channels: as it is where it has them, else its mean on all of them."""
    if len(audio) in (0, channels):
        return audio
    return np.repeat(audio.mean(axis=0, keepdims=True, dtype=np.float32), channels, axis=0)


class _History:
    """Everything that went into a stream, on disk."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the stream
        self._sizes: list[tuple[int, int, int]] = []

    def close(self) -> None:
        self._file.close()

    def append(self, audio: AudioArray, events: EventArray) -> None:
        self._file.seek(0, 2)
        self._file.write(audio.tobytes())
        self._file.write(events.tobytes())
        self._sizes.append((*audio.shape, len(events)))

    def __iter__(self) -> Iterator[tuple[AudioArray, EventArray]]:
        offset = 0
        for n_channels, n_samples, n_events in self._sizes:
            self._file.seek(offset)
            n_audio_bytes, n_event_bytes = 4 * n_channels * n_samples, EVENT_DTYPE.itemsize * n_events
            data = self._file.read(n_audio_bytes + n_event_bytes)
            offset += len(data)
            audio = np.frombuffer(data[:n_audio_bytes], np.float32).reshape(n_channels, n_samples)
            yield audio, np.frombuffer(data[n_audio_bytes:], EVENT_DTYPE)
