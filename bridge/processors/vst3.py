"""A third-party VST3 plugin as a node of a chain: automated, compensated, isolated.

Goal: what a DAW does with a plugin, offline and exact. By default every instance lives in a child process of
its own, so that a plugin that crashes or hangs takes one stem with it and not the render.

Conventions: parameters have the names pedalboard gives them (title and unit in snake case) and real units; a
name or value the plugin does not have is refused, with what is near. What comes out is as long as what went
in and aligned with it, whatever latency the plugin has or changes to.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self, TypeVar

import numpy as np

from bridge.arrays import AudioArray, Lane
from bridge.clock.tempo_map import TempoMap
from bridge.errors import PluginError, ProcessorError
from bridge.files import hash_file, write_whole
from bridge.hosts.bundle import check_bundle
from bridge.hosts.contract import BackendName, EventArray
from bridge.hosts.driver import PluginDriver
from bridge.hosts.events import merge_events, midi_events, raw_events, transport_events
from bridge.hosts.faults import FaultAction, PluginFault
from bridge.hosts.installed_plugins import find_plugin
from bridge.hosts.instances import LoadOptions, PluginInstances
from bridge.hosts.open_plugin import Isolation, choose_backend, wants_clock
from bridge.hosts.plugin_stream import PluginStream, StreamShape
from bridge.hosts.supervisor import MAX_LEVEL_DB
from bridge.hosts.vstpreset import parse_vstpreset, read_state
from bridge.parameters import ParamSpec, ParamValue
from bridge.processors.contract import AUTOMATION_BLOCK_SAMPLES, DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.stream_guard import StreamGuard

__all__ = ["VST3"]

_Answer = TypeVar("_Answer")

SidechainSource = Callable[[int, int], AudioArray]
"""Returns (channels, samples) of the second input, given the first sample and how many."""

_MAX_BUFFER_SAMPLES = 16384


class VST3:
    """A hosted VST3 plugin.

    Args:
        plugin: Path of a bundle, or the name of an installed plugin.
        plugin_name: Which plugin of a bundle that holds several.
        params: Parameters to set, by name and in their own units.
        state: The plugin's state, applied before `params`: the bytes of a ``.vstpreset``, its path, or
            base64.
        isolation: ``process`` for a child process of its own; ``none`` to load it into this one, where a
            crash ends the whole render.
        backend: Which host; ``auto`` takes pedalboard, and minihost, where it is installed, for a plugin that
            follows the song's clock or has a sidechain fed.
        timeout_s: Longest wait for an answer before the plugin counts as hung.
        load_timeout_s: Longest wait for the plugin to load.
        on_fault: What a crash, hang, NaN or runaway level leads to: ``fail`` raises, ``bypass`` lets the
            sound through dry from there on, ``retry`` starts the plugin again and repeats the stream, once.
        automation_block_samples: How often an automated parameter moves.
        max_level_db: Peaks above it (dBFS) are a fault.
        tempo_map: The song's clock, for plugins that sync to it.
        has_sidechain: Whether `process` will be given a sidechain.
        on_warning: Called with one line the user should see; None makes it a Python warning.

    Raises:
        PluginNotFoundError: No such plugin is installed; a `PluginError` that can be told from the others.
        PluginError: Not for this machine, it does not load, or the state is not its own.
        ProcessorError: No such parameter, or a value out of range.
    """

    def __init__(
        self,
        plugin: str | Path,
        *,
        plugin_name: str | None = None,
        params: Mapping[str, ParamValue] | None = None,
        state: bytes | str | Path | None = None,
        isolation: Isolation = "process",
        backend: BackendName | Literal["auto"] = "auto",
        timeout_s: float = 10.0,
        load_timeout_s: float = 30.0,
        on_fault: FaultAction = "fail",
        automation_block_samples: int = AUTOMATION_BLOCK_SAMPLES,
        max_level_db: float = MAX_LEVEL_DB,
        tempo_map: TempoMap | None = None,
        has_sidechain: bool = False,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self._on_warning = on_warning
        self.stream_guard = StreamGuard()
        self.path, plugin_name = find_plugin(plugin, plugin_name)
        self._binary = check_bundle(self.path)
        self.automation_block_samples = automation_block_samples
        self.sidechain: SidechainSource | None = None
        self._messages: Sequence[tuple[float, bytes]] | None = None
        self._notes: EventArray | None = None
        self._stream: PluginStream | None = None
        self._tail_seconds: float | None = None
        options = LoadOptions(
            path=self.path,
            plugin_name=plugin_name,
            isolation=isolation,
            timeouts_s=(timeout_s, load_timeout_s),
            on_fault=on_fault,
            max_level_db=max_level_db,
        )
        backend_name = choose_backend(backend, has_sidechain=has_sidechain)
        may_change_backend = backend == "auto" and tempo_map is not None
        self._instances = PluginInstances(options, backend_name, may_change_backend)
        self._controls = self._instances.controls
        self.description = self._instances.description
        try:
            if state is not None:
                self.preset_data = read_state(state)
            for name, value in (params or {}).items():
                self.set_parameter(name, value)
            self.set_transport(tempo_map)
        except BaseException:
            self.close()
            raise

    # Identity -------------------------------------------------------------------------------------------

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

    # Parameters and state -------------------------------------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter by name."""
        return self._controls.specs

    def get_parameter(self, name: str) -> ParamValue:
        """Return the present value of a parameter, in its own unit."""
        return self._controls.get(name)

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter in its own unit; it is heard from the next sample on.

        Raises:
            ProcessorError: Unknown name, choice, or value out of range or between two steps.
        """
        self._controls.set(name, value)
        self._tail_seconds = None

    def get_raw(self, name: str) -> float:
        """Return a parameter's position in 0..1, as the plugin has it."""
        return self._controls.get_raw(name)

    def set_raw(self, name: str, raw: float) -> None:
        """Set a parameter's position in 0..1, exact to float32: for what the plugin's texts do not tell.

        Raises:
            ProcessorError: Unknown name, or outside 0..1.
        """
        self._controls.set_raw(name, raw)
        self._tail_seconds = None

    @property
    def preset_data(self) -> bytes:
        """The plugin's state as the bytes of a ``.vstpreset``; assigning ends a running stream."""
        return self._ask(lambda driver: driver.get_state())

    @preset_data.setter
    def preset_data(self, data: bytes) -> None:
        preset = parse_vstpreset(data, f"{self.name}: state")
        if self.uid and preset.uid != self.uid.upper():
            raise PluginError(
                f"{self.name}: this state belongs to another plugin (class {preset.uid}; this is {self.uid})"
            )
        with self.stream_guard.whole(self.name):
            self._stream = None
            self._instances.set_state(data)
        self._tail_seconds = None

    def load_state(self, path: str | Path) -> None:
        """Load a ``.vstpreset``.

        Raises:
            PluginError: Not readable, truncated, or another plugin's.
        """
        self.preset_data = read_state(Path(path))

    def save_state(self, path: str | Path) -> None:
        """Write the plugin's state as a ``.vstpreset`` for any host; `OutputError` where it cannot."""
        data = self.preset_data
        with write_whole(Path(path)) as part:
            part.write_bytes(data)

    # Sound ----------------------------------------------------------------------------------------------

    @property
    def latency_samples(self) -> int:
        """How late the plugin is, already compensated; in a stream, as of the last block."""
        if self._stream is not None and self._instances.is_bypassed:
            return 0
        return self._ask(lambda driver: driver.latency_samples)

    @property
    def tail_seconds(self) -> float:
        """How long the plugin sounds on, measured down to -80 dB after noise or a note; 0 in a stream.

        What plugins report is often wrong, so it is measured, once for every change of a parameter.
        """
        with self.stream_guard.call():
            if self._tail_seconds is None and self._stream is None:
                self._tail_seconds = self._instances.tail_seconds()
        return self._tail_seconds or 0.0

    def set_transport(self, tempo_map: TempoMap | None) -> None:
        """Let the plugin follow a song's tempo, meter and position; warn where it wants to and cannot."""
        self._tempo_map = tempo_map if self.description.has_transport else None
        if tempo_map is not None and self._tempo_map is None and wants_clock(self.description):
            text = (
                f"{self.name}: hosted by {self._instances.backend}, so it sees 120 BPM in 4/4 at position 0 "
                "whatever the song does; set its times in ms or Hz, or: pip install 'reverie-audio[host]'"
            )
            if self._on_warning is not None:
                self._on_warning(text)
            else:
                warnings.warn(text, stacklevel=2)

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
        sidechain: AudioArray | None = None,
    ) -> AudioArray:
        """Process audio; see the contract.

        Args:
            input_array: (channels, samples) float32. A mono sound through a stereo plugin comes back as the
                mean of both channels; a stereo one through a mono plugin gets an instance for each channel.
            sample_rate: Hz.
            buffer_size: Most samples the plugin gets at once.
            reset: Treat the array as a whole sound; False continues a stream.
            automation: One value a sample for each moving parameter, in its own unit: 0/1 for a switch, the
                position in the list for a choice. It moves at the start of each automation block.
            sidechain: (channels, samples) float32, as long as the input, for the plugin's second input
                (`has_sidechain`); None asks the attribute `sidechain`, a function of position and length.

        Returns:
            (channels, samples) float32: as long as the input when `reset`, else what is ready.

        Raises:
            PluginFaultError: The plugin crashed, hung or sent nonsense, and `on_fault` does not go on.
        """
        check_audio(input_array, self.name)
        if self.is_instrument and self._messages is None:
            raise ProcessorError(
                f"{self.name}: an instrument takes notes, not audio; call render(messages, ...)"
            )
        with self.stream_guard.sound(self.name, is_whole=reset, begins=self._stream is None):
            if reset:
                self._stream = None
            if sidechain is None and self.sidechain is not None:
                position = 0 if self._stream is None else self._stream.position_samples
                sidechain = self.sidechain(position, input_array.shape[1])
            stream = self._begin(input_array, float(sample_rate), buffer_size, sidechain)
            events = self._events(stream, input_array.shape[1], automation or {})
            pieces = stream.push(input_array, sidechain, events)
            if reset:
                self._stream, pieces = None, [*pieces, *stream.flush()]
            return stream.join(pieces)

    __call__ = process

    def render(
        self,
        messages: Iterable[tuple[float, bytes]],
        duration_s: float,
        sample_rate: float,
        *,
        channels: int = 2,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Play notes on an instrument and return the sound.

        Args:
            messages: Seconds and bytes of every MIDI channel message, as `bridge.midi.notes.timed_messages`
                gives those of a file; each lands on its sample.
            duration_s: Length of the sound.
            sample_rate: Hz.
            channels: 1 or 2.
            buffer_size: Most samples the plugin makes at once.
            automation: As in `process`.

        Returns:
            (channels, samples) float32, latency taken out.
        """
        silence = np.zeros((channels, round(duration_s * sample_rate)), np.float32)
        with self.stream_guard.whole(self.name):
            self.play(messages)
            try:
                return self.process(silence, sample_rate, buffer_size, automation=automation)
            finally:
                self._messages = None

    def play(self, messages: Iterable[tuple[float, bytes]]) -> None:
        """Let an instrument play notes in every stream from now on, instead of the sound it is given.

        Args:
            messages: Seconds from the start of the stream and bytes of every MIDI channel message.

        Raises:
            ProcessorError: The plugin is an effect.
        """
        if not self.is_instrument:
            raise ProcessorError(f"{self.name}: an effect takes audio, not notes; call process(audio, ...)")
        self.reset()
        self._messages = tuple(messages)

    def flush(self) -> AudioArray:
        """End the stream and return the samples still withheld."""
        with self.stream_guard.whole(self.name):
            stream, self._stream = self._stream, None
            return np.zeros((2, 0), np.float32) if stream is None else stream.join(stream.flush())

    def reset(self) -> None:
        """Forget every sample seen."""
        with self.stream_guard.whole(self.name):
            self._stream = None

    def close(self) -> None:
        """Let the plugin go: end its process and free its memory. Safe to call twice."""
        self._stream = None
        self._instances.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VST3 {self.name!r} {self.version} by {self.vendor}>"

    # How a stream runs ----------------------------------------------------------------------------------

    def _ask(self, question: Callable[[PluginDriver], _Answer]) -> _Answer:
        """Ask the plugin something that is not a sound; between streams, after it has heard what was set."""
        with self.stream_guard.call():
            if self._stream is None:
                self._instances.settle()
                self._instances.ask(lambda driver: driver.settle())
            return self._instances.ask(question)

    def _begin(
        self, audio: AudioArray, sample_rate: float, buffer_size: int, sidechain: AudioArray | None
    ) -> PluginStream:
        """Return the running stream, or start one where none runs or the shape of the sound is another."""
        channels, sidechain_channels = audio.shape[0], 0 if sidechain is None else sidechain.shape[0]
        stream = self._stream
        if stream is not None and stream.fits(sample_rate, channels, sidechain_channels):
            return stream
        self._stream = None
        if self._messages is not None:
            self._notes = midi_events(self._messages, sample_rate, self.name)
        shape = StreamShape(sample_rate=sample_rate, channels=channels, sidechain_channels=sidechain_channels)
        block_samples = max(1, min(buffer_size, _MAX_BUFFER_SAMPLES))
        self._stream = self._instances.open_stream(shape, block_samples)
        return self._stream

    def _events(
        self,
        stream: PluginStream,
        n_samples: int,
        automation: Mapping[str, Lane],
    ) -> EventArray:
        position = stream.position_samples
        parts: list[EventArray] = []
        if self._tempo_map is not None:
            rate, block = stream.shape.sample_rate, stream.block_samples
            parts.append(transport_events(self._tempo_map, rate, position, n_samples, block))
        if n_samples and (pending := self._controls.take_pending()):
            parts.append(raw_events(pending))
        parts += self._controls.automate(automation, n_samples, position, self.automation_block_samples)
        if automation:
            self._tail_seconds = None
        if self._messages is not None and self._notes is not None:
            first, last = np.searchsorted(self._notes["offset"], (position, position + n_samples))
            notes = self._notes[first:last].copy()
            notes["offset"] -= position
            parts.append(notes)
        return merge_events(*parts)
