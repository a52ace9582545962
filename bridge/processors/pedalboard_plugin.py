"""pedalboard's own plugins behind the processor contract.

What the wrapper adds: an explicit channel layout (pedalboard guesses it, wrongly for very short blocks),
an end of the stream (what a plugin's latency withholds comes back at `flush`), automation by blocks,
frequencies that stay below half of the rate, threads that wait for each other, and parameters that refuse
what does not exist.

`PitchShift` and `GSMFullRateCompressor` cannot stream: they clear a delay line of their own at every call,
and with it the sound of the call before (pedalboard 0.9.26; its issues 267 and 415). They are run whole: a
stream is gathered until `flush`, which gives all of it back at once. Four copies of the sound are in memory
then: about 1 GB for ten minutes of stereo at 48 kHz. Overlapping pieces would not be the same sound: a pitch
shifter's phases depend on all that it heard before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pedalboard

from bridge.arrays import AudioArray, Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue, check_parameter
from bridge.processors.contract import (
    AUTOMATION_BLOCK_SAMPLES,
    DEFAULT_BUFFER_SIZE,
    MAX_CHANNELS,
    check_audio,
)
from bridge.processors.frequency_limit import describe_held, highest_hz
from bridge.processors.pedalboard_members import (
    LATE,
    UNSTREAMABLE,
    check_mixes,
    frequencies_of,
    kind_of,
    leaves_of,
    tail_seconds_of,
)
from bridge.processors.pedalboard_table import BUILTINS, Builtin
from bridge.processors.stream_guard import StreamGuard, hold_all

__all__ = ["PedalboardPlugin", "build_builtin"]

_BY_CLASS = {builtin.class_name: (name, builtin) for name, builtin in BUILTINS.items()}
_LATENCY_PROBE_SAMPLES = 1 << 17
_LEAST_SAMPLES = MAX_CHANNELS + 1
"""pedalboard takes the shorter axis for channels, so it gets more samples than there can be channels."""

_CODEC_STEP = 64
"""LAME is fed in steps of 32; a shorter one ends its frame early, and the sound drifts."""

_GUARDS: WeakKeyDictionary[pedalboard.Plugin, StreamGuard] = WeakKeyDictionary()
"""Of the plugins themselves: several wrappers and chains may hold one, and it takes no attributes."""


def build_builtin(name: str, params: Mapping[str, ParamValue] | None = None) -> PedalboardPlugin:
    """Make one of pedalboard's effects by its name in presets.

    Raises:
        ProcessorError: Unknown effect or parameter, or a value out of range.

    >>> build_builtin("gain", {"gain_db": -6.0}).get_parameter("gain_db")
    -6.0
    """
    if name not in BUILTINS:
        raise ProcessorError(
            f"none of pedalboard's effects is called {name!r}; {nearest_names(name, BUILTINS)}"
        )
    plugin = getattr(pedalboard, BUILTINS[name].class_name)()
    native = PedalboardPlugin(plugin)
    for key, value in (params or {}).items():
        native.set_parameter(key, value)
    return native


class PedalboardPlugin:
    """One pedalboard plugin, or a run of them in a :class:`pedalboard.Pedalboard`.

    Args:
        plugin: What pedalboard's own classes build.
        automation_block_samples: How often a moving parameter is set. 1..8192.
        on_warning: Called with one line when a frequency is too high for a sound; None makes it a Python
            warning.

    Raises:
        ProcessorError: A `pedalboard.Mix` of branches with latency, which loses sound.
    """

    is_effect = True
    is_instrument = False

    def __init__(
        self,
        plugin: pedalboard.Plugin,
        automation_block_samples: int = AUTOMATION_BLOCK_SAMPLES,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        check_mixes(plugin)
        self.plugin = plugin
        self.automation_block_samples = automation_block_samples
        self.on_warning = on_warning
        # Kept: pedalboard makes new objects of a board's members for whoever asks, while none is held.
        self._leaves = leaves_of(plugin)
        self._name, builtin = _BY_CLASS.get(type(plugin).__name__, (type(plugin).__name__, None))
        self._parameters = _specs(plugin, builtin)
        self.stream_guard = StreamGuard()
        self._n_channels = 0
        self._sample_rate = 0.0
        self._too_high: list[tuple[Any, str, float]] = []
        self._forget()

    @classmethod
    def run(cls, natives: Sequence[PedalboardPlugin]) -> PedalboardPlugin:
        """Join several into one real :class:`pedalboard.Pedalboard`, which is faster than a call each."""
        board = pedalboard.Pedalboard([native.plugin for native in natives])
        return cls(board, on_warning=natives[0].on_warning)

    def __repr__(self) -> str:
        return f"PedalboardPlugin({self.plugin!r})"

    @property
    def is_run_whole(self) -> bool:
        """Whether a stream is gathered until `flush`, because the plugin cannot be streamed."""
        return any(kind_of(leaf) in UNSTREAMABLE for leaf in leaves_of(self.plugin))

    @property
    def latency_samples(self) -> int:
        """What the plugin withholds: as of the last block in a stream, else measured with silence.

        pedalboard's own effects do not tell. 0 for what is run whole: it comes back aligned.
        """
        leaves = leaves_of(self.plugin)
        if self.is_run_whole or not any(kind_of(leaf) in LATE for leaf in leaves):
            return 0
        if self._n_fed:
            return self._n_fed - self._n_out
        rate = self._sample_rate or 48000.0
        silence = np.zeros((self._n_channels or 2, _LATENCY_PROBE_SAMPLES), np.float32)
        with hold_all(self._guards(), self._name):
            self.plugin.reset()
            given = self.plugin.process(silence, rate, DEFAULT_BUFFER_SIZE, reset=False)
            self.plugin.reset()
        return silence.shape[1] - int(given.shape[1])

    @property
    def tail_seconds(self) -> float:
        """How long the output outlasts the input, to -60 dB, from the parameters."""
        return max((tail_seconds_of(plugin) for plugin in leaves_of(self.plugin)), default=0.0)

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter by name; none for a run."""
        return self._parameters

    def get_parameter(self, name: str) -> ParamValue:
        """Return a parameter's value in its own unit."""
        if name not in self._parameters:
            raise ProcessorError(
                f"{self._name}: no parameter {name!r}; {nearest_names(name, self._parameters)}"
            )
        value = getattr(self.plugin, name)
        if self._parameters[name].choices:
            return str(value.name)
        return float(value)

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter in its own unit; while a stream runs, a frequency is held as at its start."""
        checked = check_parameter(name, value, self._parameters, self._name)
        if self._parameters[name].choices:
            checked = _modes(self.plugin)[str(checked)]
        elif self._is_open and self._parameters[name].unit == "Hz":
            checked = self._hold(self.plugin, name, float(checked))
        setattr(self.plugin, name, checked)

    def reset(self) -> None:
        """Forget every sample seen."""
        with hold_all(self._guards(), self._name):
            self._forget()
            self.plugin.reset()

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio; see the contract."""
        check_audio(input_array, self._name)
        lanes = automation or {}
        self._check_lanes(lanes)
        if reset:
            with hold_all(self._guards(), self._name):
                self._forget()
                return self._process_whole(input_array, sample_rate, buffer_size, lanes)
        begins = not self._is_open
        with hold_all(self._guards(), self._name, is_block=True, begins=begins):
            if begins:
                self._begin(input_array.shape[0], sample_rate, buffer_size)
            self._check_stream(input_array, sample_rate)
            return self._stream(input_array, lanes)

    __call__ = process

    def flush(self) -> AudioArray:
        """Feed silence until every withheld sample has come back, and end the stream."""
        if not self._is_open:
            return np.zeros((self._n_channels, 0), np.float32)
        with hold_all(self._guards(), self._name, is_block=True):
            self._check_epoch()
            rest = self._finish()
        self.reset()
        return rest

    # Whole sounds ---------------------------------------------------------------------------------------

    def _process_whole(
        self, sound: AudioArray, sample_rate: float, buffer_size: int, lanes: Mapping[str, Lane]
    ) -> AudioArray:
        self._begin(sound.shape[0], sample_rate, buffer_size)
        try:
            if lanes:
                head = self._stream(sound, lanes)
                return np.concatenate([head, self._finish()], axis=1)
            return self._whole(sound)
        finally:
            self._forget()
            self.plugin.reset()

    def _whole(self, sound: AudioArray) -> AudioArray:
        """Process a sound in one call."""
        n_samples = sound.shape[1]
        if not n_samples:
            return sound.copy()
        # Silence after the sound makes a short one long enough for its layout to be plain.
        n_short = max(0, DEFAULT_BUFFER_SIZE - n_samples)
        padded = np.pad(sound, ((0, 0), (0, n_short))) if n_short else sound
        size = DEFAULT_BUFFER_SIZE if self.is_run_whole else self._buffer_size
        return self._call(padded, size, reset=True)[:, :n_samples]

    # Streams --------------------------------------------------------------------------------------------

    def _guards(self) -> tuple[StreamGuard, ...]:
        self._leaves = leaves_of(self.plugin)
        return self.stream_guard, *(_GUARDS.setdefault(leaf, StreamGuard()) for leaf in self._leaves)

    def _forget(self) -> None:
        for leaf, name, given_hz in self._too_high:
            setattr(leaf, name, given_hz)
        self._too_high = []
        self._is_open = False
        self._n_in = self._n_out = self._n_fed = self._n_held = 0
        self._held: list[tuple[AudioArray, Mapping[str, Lane]]] = []
        self._largest = 0
        self._moved: dict[str, float] = {}

    def _begin(self, n_channels: int, sample_rate: float, buffer_size: int) -> None:
        self._forget()
        self._n_channels, self._sample_rate = n_channels, float(sample_rate)
        self._buffer_size, self._is_open = max(1, buffer_size), True
        self._told: set[tuple[int, str]] = set()
        for leaf in leaves_of(self.plugin):
            is_phaser = kind_of(leaf) == "Phaser"
            if is_phaser:
                # It takes its centre for that of 44.1 kHz until it is set where the rate is known.
                silence = np.zeros((n_channels, _LEAST_SAMPLES), np.float32)
                leaf.process(silence, self._sample_rate, reset=True)
            for name in frequencies_of(leaf):
                given_hz = float(getattr(leaf, name))
                held_hz = self._hold(leaf, name, given_hz)
                if held_hz != given_hz or is_phaser:
                    setattr(leaf, name, held_hz)
                if held_hz != given_hz:
                    self._too_high.append((leaf, name, given_hz))
        self.plugin.reset()
        self._epoch = self._count_begun()

    def _hold(self, leaf: Any, name: str, given_hz: float) -> float:
        limit_hz = highest_hz(self._sample_rate)
        if given_hz <= limit_hz:
            return given_hz
        if (id(leaf), name) not in self._told:
            self._told.add((id(leaf), name))
            where = _BY_CLASS[kind_of(leaf)][0]
            text = describe_held(where, name, given_hz, self._sample_rate)
            if self.on_warning is None:
                warnings.warn(text, stacklevel=2)
            else:
                self.on_warning(text)
        return limit_hz

    def _count_begun(self) -> tuple[int, ...]:
        return tuple(guard.n_begun for guard in self._guards())

    def _check_epoch(self) -> None:
        if self._count_begun() != self._epoch:
            self._forget()
            raise ProcessorError(
                f"{self._name}: another chain has used this plugin since the stream began, which ended it; "
                "give each chain a plugin of its own"
            )

    def _check_stream(self, block: AudioArray, sample_rate: float) -> None:
        self._check_epoch()
        n_channels = block.shape[0]
        if (n_channels, sample_rate) != (self._n_channels, self._sample_rate):
            raise ProcessorError(
                f"{self._name}: the stream began with {self._n_channels} channels at {self._sample_rate:g} "
                f"Hz and goes on with {n_channels} at {sample_rate:g}; call reset() first"
            )

    def _check_lanes(self, lanes: Mapping[str, Lane]) -> None:
        for name in lanes:
            spec = self._parameters.get(name)
            if spec is None or spec.automation == "none":
                moving = [one.name for one in self._parameters.values() if one.automation != "none"]
                raise ProcessorError(
                    f"{self._name}: {name!r} cannot be automated; {nearest_names(name, moving)}"
                )

    def _stream(self, block: AudioArray, automation: Mapping[str, Lane]) -> AudioArray:
        self._n_in += block.shape[1]
        self._n_held += block.shape[1]
        # Copies: samples may wait here while a caller fills the same buffer again.
        lanes = {name: np.array(lane) for name, lane in automation.items()}
        self._held.append((block.copy(), lanes))
        # pedalboard forgets its state when a block is longer than any before, so the first is the longest.
        least = _LEAST_SAMPLES if self._n_fed else max(self._buffer_size, _LEAST_SAMPLES)
        if self.is_run_whole or self._n_held < least:
            return np.zeros((self._n_channels, 0), np.float32)
        held, lanes = self._release()
        step = self._step(lanes)
        if n_rest := (self._n_fed + held.shape[1]) % step:
            # Only whole steps: a short rest would be a block whose layout is guessed.
            n_ready = held.shape[1] - n_rest
            self._held = [(held[:, n_ready:], {name: lane[n_ready:] for name, lane in lanes.items()})]
            self._n_held = n_rest
            held, lanes = held[:, :n_ready], {name: lane[:n_ready] for name, lane in lanes.items()}
        out = self._feed(held, lanes)
        self._n_out += out.shape[1]
        return out

    def _finish(self) -> AudioArray:
        if not self._n_in:
            return np.zeros((self._n_channels, 0), np.float32)
        if self.is_run_whole:
            return self._whole(self._release()[0])
        pieces = []
        if self._n_held:
            block, lanes = self._release()
            least = _LEAST_SAMPLES if self._n_fed else DEFAULT_BUFFER_SIZE
            n_short = max(0, least - block.shape[1])
            n_short += -(block.shape[1] + n_short) % self._step(lanes)
            lanes = {name: np.pad(lane, (0, n_short), mode="edge") for name, lane in lanes.items()}
            pieces.append(self._feed(np.pad(block, ((0, 0), (0, n_short))), lanes))
        while (missing := self._n_in - self._n_out - sum(piece.shape[1] for piece in pieces)) > 0:
            silence = np.zeros((self._n_channels, max(missing, DEFAULT_BUFFER_SIZE)), np.float32)
            pieces.append(self._feed(silence, {}))
        empty = np.zeros((self._n_channels, 0), np.float32)
        return np.concatenate([empty, *pieces], axis=1)[:, : self._n_in - self._n_out]

    def _step(self, lanes: Mapping[str, Lane]) -> int:
        """Return in whole multiples of what the plugin is fed."""
        if lanes:
            return self.automation_block_samples
        return _CODEC_STEP if any(kind_of(leaf) in LATE for leaf in leaves_of(self.plugin)) else 1

    def _release(self) -> tuple[AudioArray, dict[str, Lane]]:
        held, self._held, self._n_held = self._held, [], 0
        names = held[0][1]
        lanes = {name: np.concatenate([automation[name] for _, automation in held]) for name in names}
        return np.concatenate([block for block, _ in held], axis=1), lanes

    def _feed(self, block: AudioArray, lanes: Mapping[str, Lane]) -> AudioArray:
        """Hand samples to the plugin, cut where a parameter moves."""
        # The grid counts from the first sample of the sound, so that blocks do not matter.
        step = self.automation_block_samples if lanes else block.shape[1]
        pieces = [np.zeros((self._n_channels, 0), np.float32)]
        for start in range(0, block.shape[1], step or 1):
            self._move(lanes, start)
            piece = block[:, start : start + step]
            size = min(self._buffer_size, piece.shape[1], self._largest or piece.shape[1])
            self._largest = self._largest or size
            pieces.append(self._call(piece, size, reset=False))
            self._n_fed += piece.shape[1]
        return np.concatenate(pieces, axis=1)

    def _call(self, piece: AudioArray, size: int, *, reset: bool) -> AudioArray:
        try:
            out: AudioArray = self.plugin.process(
                np.ascontiguousarray(piece), self._sample_rate, size, reset=reset
            )
        except (ValueError, RuntimeError) as error:
            # Some effects take few rates or channels only, and pedalboard says so when it is too late.
            layout = f"{self._n_channels} channels at {self._sample_rate:g} Hz"
            raise ProcessorError(f"{self._name}: {error} (the sound has {layout})") from error
        return out

    def _move(self, lanes: Mapping[str, Lane], position: int) -> None:
        for name, lane in lanes.items():
            value = float(lane[position])
            if self._moved.get(name) != value:
                self.set_parameter(name, value)
                self._moved[name] = value


def _specs(plugin: pedalboard.Plugin, builtin: Builtin | None) -> dict[str, ParamSpec]:
    if builtin is None:
        return {}
    return {spec.name: spec for spec in builtin.parameters if hasattr(plugin, spec.name)}


def _modes(plugin: Any) -> Mapping[str, Any]:
    modes: Mapping[str, Any] = type(plugin).Mode.__members__
    return modes
