"""A third-party VST3 plugin as a node of a chain: automated, compensated, isolated.

Goal: what a DAW does with a plugin, offline and exact. By default every instance lives in a child process of
its own, so that a plugin that crashes or hangs takes one stem with it and not the render.

Conventions: parameters have the names pedalboard gives them (title and unit in snake case) and real units; a
name or value the plugin does not have is refused, with what is near. What comes out is as long as what went
in and aligned with it, whatever latency the plugin has or changes to. A plugin is told its state first, then
its program, then the parameters that were set, in whatever order they were given; what was not set is left
to the plugin, and what is a meter or the host's is never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np

from bridge.arrays import AudioArray, Lane
from bridge.clock.tempo_map import TempoMap
from bridge.errors import PluginError, ProcessorError
from bridge.hosts.bundle import check_bundle
from bridge.hosts.contract import BackendName
from bridge.hosts.faults import FaultAction
from bridge.hosts.installed_plugins import find_plugin
from bridge.hosts.instances import BackendChoice, LoadOptions, PluginInstances
from bridge.hosts.open_plugin import DEFAULT_SAMPLE_RATE, Isolation, choose_backend, wants_clock
from bridge.hosts.supervisor import MAX_LEVEL_DB
from bridge.hosts.vstpreset import read_state
from bridge.parameters import ParamValue
from bridge.processors.contract import AUTOMATION_BLOCK_SAMPLES, DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.vst3_plugin import LoadedPlugin, warn_with
from bridge.processors.vst3_stream import remembered_backend

__all__ = ["VST3"]

SidechainSource = Callable[[int, int], AudioArray]
"""Returns (channels, samples) of the second input, given the first sample and how many."""


class VST3(LoadedPlugin):
    """A hosted VST3 plugin.

    Args:
        plugin: Path of a bundle, or the name of an installed plugin.
        plugin_name: Which plugin of a bundle that holds several.
        params: Parameters to set, by name and in their own units.
        state: The plugin's state, applied first: the bytes of a ``.vstpreset``, its path, or base64;
            also an ``.fxp`` or ``.fxb`` of the VST2 plugin it is the successor of.
        program: The name of one of the plugin's own programs, applied after the state and before `params`.
        isolation: ``process`` for a child process of its own; ``none`` to load it into this one, where a
            crash ends the whole render.
        backend: Which host; ``auto`` takes pedalboard, and minihost, where it is installed, for a plugin that
            follows the song's clock, has a sidechain or MIDI fed, or that pedalboard cannot load.
        timeout_s: Longest wait for an answer before the plugin counts as hung.
        load_timeout_s: Longest wait for the plugin to load.
        on_fault: What a crash, hang, NaN or runaway level leads to: ``fail`` raises, ``bypass`` lets the
            sound through dry from there on, ``retry`` starts the plugin again and repeats the stream, once.
        automation_block_samples: How often an automated parameter moves.
        max_level_db: Peaks above it (dBFS) are a fault.
        tempo_map: The song's clock, for plugins that sync to it.
        has_sidechain: Whether `process` will be given a sidechain.
        has_midi: Whether an effect will be given MIDI by `play`.
        sample_rate: Hz of the sound to come, where it is known: what parameters mean may depend on it. At
            another rate, values set in real units keep their value.
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
        program: str | None = None,
        isolation: Isolation = "process",
        backend: BackendName | Literal["auto"] = "auto",
        timeout_s: float = 10.0,
        load_timeout_s: float = 30.0,
        on_fault: FaultAction = "fail",
        automation_block_samples: int = AUTOMATION_BLOCK_SAMPLES,
        max_level_db: float = MAX_LEVEL_DB,
        tempo_map: TempoMap | None = None,
        has_sidechain: bool = False,
        has_midi: bool = False,
        sample_rate: float | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        path, plugin_name = find_plugin(plugin, plugin_name)
        binary, warn = check_bundle(path), warn_with(on_warning)
        options = LoadOptions(
            path=path,
            plugin_name=plugin_name,
            isolation=isolation,
            timeouts_s=(timeout_s, load_timeout_s),
            on_fault=on_fault,
            max_level_db=max_level_db,
            sample_rate=DEFAULT_SAMPLE_RATE if sample_rate is None else float(sample_rate),
        )
        first = choose_backend(backend, has_sidechain=has_sidechain, has_midi=has_midi)
        is_free = backend == "auto" and not (has_sidechain or has_midi)
        choice = BackendChoice(
            first=(remembered_backend(path, plugin_name) if is_free else None) or first,
            follows_clock=is_free and tempo_map is not None,
            may_fall_back=is_free,
        )
        super().__init__(path, binary, PluginInstances(options, choice, warn), warn)
        self.automation_block_samples = automation_block_samples
        self.sidechain: SidechainSource | None = None
        try:
            if state is not None:
                self.preset_data = read_state(state)
            if program is not None:
                self.set_program(program)
            names = sorted(params or {}, key=lambda name: name != self._controls.program)
            for name in names:
                self.set_parameter(name, (params or {})[name])
            self.set_transport(tempo_map)
        except BaseException:
            self.close()
            raise

    @property
    def latency_samples(self) -> int:
        """How late the plugin is, already compensated; in a stream, as of the last block."""
        if self._runner.stream is not None and self._instances.is_bypassed:
            return 0
        return self._ask(lambda driver: driver.latency_samples)

    @property
    def tail_seconds(self) -> float:
        """How long the plugin sounds on, measured down to -80 dB after noise or a note; 0 in a stream.

        What plugins report is often wrong, so it is measured, once for every change of a parameter.
        """
        with self.stream_guard.call():
            if self._tail_seconds is None and self._runner.stream is None:
                self._tail_seconds = self._instances.tail_seconds()
        return self._tail_seconds or 0.0

    def set_transport(self, tempo_map: TempoMap | None) -> None:
        """Let the plugin follow a song's tempo, meter and position; warn where it wants to and cannot."""
        self._runner.tempo_map = tempo_map if self.description.has_transport else None
        if tempo_map is not None and self._runner.tempo_map is None and wants_clock(self.description):
            self._warn(
                f"{self.name}: hosted by {self._instances.backend}, so it sees 120 BPM in 4/4 at position 0 "
                "whatever the song does; set its times in ms or Hz, or: pip install 'reverie-audio[host]'"
            )

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
        runner = self._runner
        if self.is_instrument and runner.messages is None:
            raise ProcessorError(
                f"{self.name}: an instrument takes notes, not audio; call render(messages, ...)"
            )
        with self.stream_guard.sound(self.name, is_whole=reset, begins=self._runner.stream is None):
            if reset:
                runner.stream = None
            if sidechain is None and self.sidechain is not None:
                position = 0 if runner.stream is None else runner.stream.position_samples
                sidechain = self.sidechain(position, input_array.shape[1])
            stream = runner.begin(input_array, float(sample_rate), buffer_size, sidechain)
            if automation:
                self._tail_seconds = None
            events = runner.events(input_array.shape[1], automation or {}, self.automation_block_samples)
            pieces = stream.push(input_array, sidechain, events)
            if reset:
                runner.stream, pieces = None, [*pieces, *stream.flush()]
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
        if not self.is_instrument:
            raise ProcessorError(f"{self.name}: an effect takes audio, not notes; call process(audio, ...)")
        silence = np.zeros((channels, round(duration_s * sample_rate)), np.float32)
        with self.stream_guard.whole(self.name):
            self.play(messages)
            try:
                return self.process(silence, sample_rate, buffer_size, automation=automation)
            finally:
                self._runner.messages = None

    def render_outputs(
        self,
        messages: Iterable[tuple[float, bytes]],
        duration_s: float,
        sample_rate: float,
        *,
        channels: int = 2,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
    ) -> list[AudioArray]:
        """Play notes on an instrument of several outputs and return the sound of each, the main one first.

        Arguments are those of `render`.

        Returns:
            One array for every output: (channels, samples) of the main one, the others with the channels
            they have.

        Raises:
            PluginError: The plugin has one output, or the backend gives the main one only.
        """
        others = self.open_outputs()
        try:
            sound = self.render(messages, duration_s, sample_rate, channels=channels, buffer_size=buffer_size)
        finally:
            self._runner.extra_channels = 0
        return np.split(sound, np.cumsum([channels, *others])[:-1].tolist())

    def open_outputs(self) -> tuple[int, ...]:
        """Let streams from now on carry every output of the plugin, after the channels of the main one.

        Returns:
            The channels of each further output.

        Raises:
            PluginError: The plugin has one output, or the backend gives the main one only.
        """
        others = self.description.output_channels[1:]
        if not others:
            raise PluginError(
                f"{self.name}: one output only under {self._instances.backend}; "
                'backend = "minihost" gives all that a plugin has'
            )
        self.reset()
        self._runner.extra_channels = sum(others)
        return others

    def play(self, messages: Iterable[tuple[float, bytes]]) -> None:
        """Give a plugin MIDI in every stream from now on.

        An instrument plays it instead of the sound it is given; an effect hears it beside that sound.

        Args:
            messages: Seconds from the start of the stream and bytes of every MIDI channel message.

        Raises:
            ProcessorError: The plugin takes no MIDI, or its backend gives it none.
        """
        if not self.description.takes_midi:
            why = "takes no MIDI"
            if self._instances.backend == "pedalboard":
                why = "is an effect under pedalboard, which gives those no MIDI; has_midi=True takes minihost"
            raise ProcessorError(f"{self.name} {why}")
        self.reset()
        self._runner.messages = tuple(messages)

    def flush(self) -> AudioArray:
        """End the stream and return the samples still withheld."""
        with self.stream_guard.whole(self.name):
            stream, self._runner.stream = self._runner.stream, None
            return np.zeros((2, 0), np.float32) if stream is None else stream.join(stream.flush())

    def reset(self) -> None:
        """Forget every sample seen."""
        with self.stream_guard.whole(self.name):
            self._runner.stream = None

    def close(self) -> None:
        """Let the plugin go: end its process and free its memory. Safe to call twice."""
        self._runner.stream = None
        self._instances.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<VST3 {self.name!r} {self.version} by {self.vendor}>"
