"""pedalboard's own plugins behind the processor contract.

What the wrapper adds: an explicit channel layout (pedalboard guesses it, wrongly for very short blocks),
an end of the stream (what a plugin's latency withholds comes back at `flush`), automation by blocks, and
parameters that refuse what does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pedalboard

from bridge.arrays import AudioArray, Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue, check_parameter
from bridge.processors.contract import AUTOMATION_BLOCK_SAMPLES, DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.pedalboard_table import BUILTINS, Builtin

__all__ = ["PedalboardPlugin", "build_builtin"]

_BY_CLASS = {builtin.class_name: (name, builtin) for name, builtin in BUILTINS.items()}
_MAX_TAIL_S = 30.0
_LATENCY_PROBE_SAMPLES = 1 << 17


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
    """

    is_effect = True
    is_instrument = False

    def __init__(
        self, plugin: pedalboard.Plugin, automation_block_samples: int = AUTOMATION_BLOCK_SAMPLES
    ) -> None:
        self.plugin = plugin
        self.automation_block_samples = automation_block_samples
        self._name, builtin = _BY_CLASS.get(type(plugin).__name__, (type(plugin).__name__, None))
        self._parameters = _specs(plugin, builtin)
        self._n_channels = 0
        self._sample_rate = 0.0
        self.reset()

    @classmethod
    def run(cls, natives: Sequence[PedalboardPlugin]) -> PedalboardPlugin:
        """Join several into one real :class:`pedalboard.Pedalboard`, which is faster than a call each."""
        return cls(pedalboard.Pedalboard([native.plugin for native in natives]))

    def __repr__(self) -> str:
        return f"PedalboardPlugin({self.plugin!r})"

    @property
    def latency_samples(self) -> int:
        """What the plugin withholds: as of the last block in a stream, else measured with silence.

        pedalboard's own effects do not tell; a pitch shifter is more than a second late.
        """
        if self._n_fed:
            return self._n_fed - self._n_out
        rate = self._sample_rate or 48000.0
        silence = np.zeros((self._n_channels or 2, _LATENCY_PROBE_SAMPLES), np.float32)
        self.plugin.reset()
        given = self.plugin.process(silence, rate, DEFAULT_BUFFER_SIZE, reset=False)
        self.plugin.reset()
        return silence.shape[1] - int(given.shape[1])

    @property
    def tail_seconds(self) -> float:
        """How long the output outlasts the input, to -60 dB, from the parameters."""
        return max((_tail_seconds(plugin) for plugin in _leaves(self.plugin)), default=0.0)

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
        """Set a parameter in its own unit."""
        checked = check_parameter(name, value, self._parameters, self._name)
        if self._parameters[name].choices:
            checked = _modes(self.plugin)[str(checked)]
        setattr(self.plugin, name, checked)

    def reset(self) -> None:
        """Forget every sample seen."""
        self.plugin.reset()
        self._n_in = self._n_out = self._n_fed = 0
        self._held: list[tuple[AudioArray, Mapping[str, Lane]]] = []
        self._longest = 0
        self._moved: dict[str, float] = {}

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
        if not reset:
            return self._stream(input_array, sample_rate, buffer_size, automation or {})
        self.reset()
        head = self._stream(input_array, sample_rate, buffer_size, automation or {})
        return np.concatenate([head, self.flush()], axis=1)

    __call__ = process

    def flush(self) -> AudioArray:
        """Feed silence until every withheld sample has come back, and end the stream."""
        n_channels = self._n_channels
        pieces = [np.zeros((n_channels, 0), np.float32)]
        if self._held:
            block, lanes = self._release()
            # Silence after the sound makes the first block a long one, and its layout plain.
            n_short = max(0, DEFAULT_BUFFER_SIZE - block.shape[1])
            lanes = {name: np.pad(lane, (0, n_short), mode="edge") for name, lane in lanes.items()}
            pieces.append(self._feed(np.pad(block, ((0, 0), (0, n_short))), lanes, DEFAULT_BUFFER_SIZE))
        while (missing := self._n_in - sum(piece.shape[1] for piece in pieces) - self._n_out) > 0:
            silence = np.zeros((n_channels, max(missing, DEFAULT_BUFFER_SIZE)), np.float32)
            pieces.append(self._feed(silence, {}, DEFAULT_BUFFER_SIZE))
        rest = np.concatenate(pieces, axis=1)[:, : self._n_in - self._n_out]
        self.reset()
        return rest

    def _stream(
        self,
        block: AudioArray,
        sample_rate: float,
        buffer_size: int,
        automation: Mapping[str, Lane],
    ) -> AudioArray:
        n_channels = block.shape[0]
        if self._n_in and (n_channels, sample_rate) != (self._n_channels, self._sample_rate):
            raise ProcessorError(
                f"{self._name}: the stream began with {self._n_channels} channels at {self._sample_rate:g} "
                f"Hz and goes on with {n_channels} at {sample_rate:g}; call reset() first"
            )
        self._n_channels, self._sample_rate = n_channels, float(sample_rate)
        self._n_in += block.shape[1]
        # Copies: samples may wait here while a caller fills the same buffer again.
        lanes = {name: np.array(lane) for name, lane in automation.items()}
        self._held.append((block.copy(), lanes))
        if not self._longest and self._n_in < max(buffer_size, n_channels + 1):
            # pedalboard forgets its state when a block is longer than any before, so the first one fed
            # must be the longest.
            return np.zeros((n_channels, 0), np.float32)
        out = self._feed(*self._release(), buffer_size)
        self._n_out += out.shape[1]
        return out

    def _release(self) -> tuple[AudioArray, dict[str, Lane]]:
        held, self._held = self._held, []
        names = held[0][1]
        lanes = {name: np.concatenate([automation[name] for _, automation in held]) for name in names}
        return np.concatenate([block for block, _ in held], axis=1), lanes

    def _feed(self, block: AudioArray, lanes: Mapping[str, Lane], buffer_size: int) -> AudioArray:
        """Hand samples to the plugin, cut where a parameter moves and never longer than the first time."""
        n_samples = block.shape[1]
        if not n_samples:
            return block
        pieces = []
        start = 0
        while start < n_samples:
            stop = min(n_samples, start + (self._longest or n_samples))
            if lanes:
                # The grid counts from the first sample of the sound, so that blocks do not matter.
                phase = self._n_fed % self.automation_block_samples
                stop = min(stop, start + self.automation_block_samples - phase)
                if phase == 0:
                    self._move(lanes, start)
            piece = np.ascontiguousarray(block[:, start:stop])
            pieces.append(self._process(piece, buffer_size))
            self._longest = self._longest or max(min(stop - start, buffer_size), 1)
            self._n_fed += stop - start
            start = stop
        return np.concatenate(pieces, axis=1)

    def _process(self, piece: AudioArray, buffer_size: int) -> AudioArray:
        try:
            out: AudioArray = self.plugin.process(piece, self._sample_rate, buffer_size, reset=False)
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


def _leaves(plugin: pedalboard.Plugin) -> list[Any]:
    if isinstance(plugin, (pedalboard.Pedalboard, pedalboard.Mix, pedalboard.Chain)):
        return [leaf for child in plugin for leaf in _leaves(child)]
    return [plugin]


def _tail_seconds(plugin: Any) -> float:
    if isinstance(plugin, pedalboard.Reverb):
        # Freeverb's combs: the longest is 1617 + 23 samples at 44.1 kHz with this feedback.
        feedback = 0.7 + 0.28 * plugin.room_size
        return (
            min(_MAX_TAIL_S, 3.0 * 0.0372 / -np.log10(feedback)) if plugin.freeze_mode < 0.5 else _MAX_TAIL_S
        )
    if isinstance(plugin, pedalboard.Delay):
        if plugin.feedback >= 1.0:
            return _MAX_TAIL_S
        repeats = 1 + (np.ceil(3.0 / -np.log10(plugin.feedback)) if plugin.feedback > 0 else 0)
        return float(min(_MAX_TAIL_S, plugin.delay_seconds * repeats))
    if isinstance(plugin, pedalboard.Convolution):
        return _MAX_TAIL_S
    if isinstance(plugin, (pedalboard.Chorus, pedalboard.Phaser, pedalboard.PitchShift)):
        return 0.5
    return 0.0
