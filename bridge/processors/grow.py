"""A network that plays on, as a node: at each place it hears the last of the sound, and goes on in its stead.

What is played depends on what was heard, the settings and the seed alone: blocks do not matter. Nothing is
withheld: a growth is worked out where it begins, of sound that has been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from bridge.arrays import AudioArray, FloatArray, Lane
from bridge.clock.durations import Duration, Position
from bridge.clock.tempo_map import TempoMap
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue, check_parameter
from bridge.processors.contract import DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.dream_needs import border
from bridge.processors.grow_places import GROW_PARAMETERS, GrowPlace, Lengths, find_places, parse_from
from bridge.processors.stream_guard import StreamGuard
from dream_core.dsp.resample import resample
from dream_core.errors import DreamError, NetworkNotFoundError
from dream_core.frames.generate import Denormalise, GrowthPolicy, grow
from dream_core.frames.network import FramesNet
from dream_core.networks.frames_network import FramesNetwork
from dream_core.networks.registry import get_card, load_network

__all__ = ["Grow", "is_missing", "load_player"]

_QUIETEST_RMS = 1e-5
_MOST_GAIN = 4.0


@dataclass(slots=True)
class _Growth:
    """What is played from one place on: samples of the stream, and a gain for each channel."""

    start: int
    stop: int
    sound: FloatArray
    follows: bool


class Grow:
    """Let a trained network play on, at markers, every so often or at notes.

    At each place the network hears the last beats of the sound, all channels mixed to one, and plays on as
    long as it is told to, cross-faded at equal power against the sound. Each channel gets what is played as
    loud, against the others, as it was itself.

    Args:
        network: Who plays: a name, a file, or a network itself.
        begin: Where: the parameter ``from``.
        tempo_map: The song's clock.
        length_s: Of the sound, for places counted from its end; None takes a whole sound's own.
        note_starts_s: Where notes begin, for ``from = "notes"``.
        is_cancelled: Asked at every frame that is played; true stops.
        values: The other parameters, see `GROW_PARAMETERS`.

    Raises:
        ProcessorError: A parameter is out of range or does not exist.

    >>> import numpy as np
    >>> from dream_core.frames.network import FramesSpec
    >>> player = FramesNet(FramesSpec(frame_samples=64, width=8))
    >>> node = Grow(player, "1/4", tempo_map=TempoMap.constant(240), length_beats=0.5)
    >>> node(np.ones((2, 22050), np.float32), 22050).shape
    (2, 22050)
    """

    is_effect = True
    is_instrument = False

    def __init__(
        self,
        network: str | FramesNet = "",
        begin: str = "4 bars",
        *,
        tempo_map: TempoMap | None = None,
        length_s: float | None = None,
        note_starts_s: Sequence[float] = (),
        is_cancelled: Callable[[], bool] | None = None,
        **values: ParamValue,
    ) -> None:
        self._values: dict[str, ParamValue] = {spec.name: spec.default for spec in GROW_PARAMETERS.values()}
        self._network = network if isinstance(network, FramesNet) else None
        name = "" if isinstance(network, FramesNet) else network
        for key, value in {**values, "network": name, "from": begin}.items():
            self._values[key] = self._checked(key, value)
        self._clock, self._length_s = tempo_map, length_s
        self._note_starts_s, self._is_cancelled = tuple(note_starts_s), is_cancelled
        self.stream_guard = StreamGuard()
        self._is_open = False
        self._shape = (0, 0.0)

    def __repr__(self) -> str:
        return "Grow(" + ", ".join(f"{name}={value!r}" for name, value in self._values.items()) + ")"

    @property
    def latency_samples(self) -> int:
        """Zero."""
        return 0

    @property
    def tail_seconds(self) -> float:
        """As long as it plays after the last place, at the slowest tempo."""
        if self._clock is None:
            return 0.0
        slowest = min(float(tempo.bpm) for tempo in self._clock.tempos)
        return (self._lengths.length_beats + self._lengths.tail_beats) * 60.0 / slowest

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter by name."""
        return GROW_PARAMETERS

    def get_parameter(self, name: str) -> ParamValue:
        """Return a parameter's value."""
        if name not in self._values:
            check_parameter(name, 0.0, GROW_PARAMETERS, "grow")
        return self._values[name]

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter; while a stream runs only the temperature may change."""
        checked = self._checked(name, value)
        if self._is_open and name != "temperature":
            raise ProcessorError(f"grow.{name} is fixed while a stream runs; call reset() first")
        if name == "network" and checked:
            self._network = None
        self._values[name] = checked

    def open(self) -> None:
        """Load the network now rather than with the first sound.

        Raises:
            ProcessorError: There is none of that name, or it does not play on.
        """
        if self._network is None:
            self._network = load_player(str(self._values["network"]))

    def reset(self) -> None:
        """Forget every sample seen."""
        with self.stream_guard.whole("grow"):
            self._is_open = False

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio; see the contract. ``automation["temperature"]`` counts where a growth begins."""
        del buffer_size  # there is nothing native to feed
        check_audio(input_array, "grow")
        lanes = automation or {}
        for name in lanes:
            if name != "temperature":
                raise ProcessorError(
                    f"grow: {name!r} cannot be automated; {nearest_names(name, ['temperature'])}"
                )
        with self.stream_guard.sound("grow", is_whole=reset, begins=not self._is_open):
            whole_s = input_array.shape[1] / sample_rate if reset else None
            if reset or not self._is_open:
                self._begin(input_array.shape[0], sample_rate, whole_s)
            try:
                return self._process(input_array, lanes.get("temperature"))
            finally:
                if reset:
                    self._is_open = False

    __call__ = process

    def flush(self) -> AudioArray:
        """End the stream; nothing is withheld."""
        with self.stream_guard.whole("grow"):
            self._is_open = False
            return np.zeros((self._shape[0], 0), np.float32)

    def _checked(self, name: str, value: ParamValue) -> ParamValue:
        checked = check_parameter(name, value, GROW_PARAMETERS, "grow")
        if name == "from":
            parse_from(str(checked))
        return checked

    def _number(self, name: str) -> float:
        return float(cast(float, self._values[name]))

    @property
    def _lengths(self) -> Lengths:
        names = ("seed_beats", "length_beats", "tail_beats")
        return Lengths(**{name: self._number(name) for name in names})

    def _begin(self, n_channels: int, sample_rate: float, whole_s: float | None) -> None:
        if self._clock is None:
            raise ProcessorError(
                f"grow: from = {self._values['from']!r} and its lengths are counted in beats, and no clock "
                "came with the sound; render stems with --midi or --bpm, or give "
                "tempo_map=TempoMap.constant(BPM)"
            )
        self.open()
        where = parse_from(str(self._values["from"]))
        length_s = self._length_s if self._length_s is not None else whole_s
        if length_s is None and isinstance(where, Position) and where.anchor == "end":
            raise ProcessorError(
                f"grow: from = {self._values['from']!r} is counted from the end of a sound whose length is "
                "not known while it streams; give length_s"
            )
        self._places = self._find(where, length_s or 0.0)
        self._next = next(self._places, None)
        self._shape, self._position, self._n_begun = (n_channels, float(sample_rate)), 0, 0
        self._history = np.zeros((n_channels, 0), np.float32)
        self._growths: list[_Growth] = []
        self._is_open = True

    def _find(self, where: Duration | Position | str, length_s: float) -> Iterator[GrowPlace]:
        assert self._clock is not None
        return find_places(
            where, self._clock, self._lengths, length_s=length_s, note_starts_s=self._note_starts_s
        )

    def _process(self, block: AudioArray, temperature: Lane | None) -> AudioArray:
        n_channels, sample_rate = self._shape
        if block.shape[0] != n_channels:
            raise ProcessorError("grow: a stream must keep its channels; call reset() first")
        start, stop = self._position, self._position + block.shape[1]
        heard = np.concatenate([self._history, block], axis=1)
        fade = round(self._number("fade_s") * sample_rate)
        while self._next is not None and (at := round(self._next.start_s * sample_rate)) < stop:
            place, self._next = self._next, next(self._places, None)
            if at >= start:
                lane = self._number("temperature") if temperature is None else float(temperature[at - start])
                before = heard[:, : heard.shape[1] - (stop - at)]
                self._growths.append(self._grow(place, at, before, lane, fade))
        out = self._mixed(block, start, fade)
        self._position = stop
        self._growths = [one for one in self._growths if one.stop + fade > stop]
        self._history = heard[:, max(0, heard.shape[1] - self._longest_seed) :]
        return out

    @property
    def _longest_seed(self) -> int:
        """Samples of the past that a place to come may need, at the slowest tempo."""
        assert self._clock is not None
        if self._next is None:
            return 0
        slowest = min(float(tempo.bpm) for tempo in self._clock.tempos)
        return math.ceil(self._lengths.seed_beats * 60.0 / slowest * self._shape[1]) + 2

    def _grow(self, place: GrowPlace, at: int, before: AudioArray, temperature: float, fade: int) -> _Growth:
        """Let the network play on from a place, until the next one or as long as it shall."""
        assert self._network is not None
        sample_rate = self._shape[1]
        rate, own_rate = round(sample_rate), self._network.spec.sample_rate
        stop = at + max(1, round(place.length_s * sample_rate))
        following = None if self._next is None else round(self._next.start_s * sample_rate)
        tail_s = place.tail_s
        # One that ends just before the next begins goes on up to it.
        if following is not None and following <= stop + fade:
            tail_s, stop = max(0.0, tail_s - max(0, stop - following) / sample_rate), max(at + 1, following)
        seed = before[:, max(0, before.shape[1] - round(place.seed_s * sample_rate)) :]
        policy = GrowthPolicy(
            memory_frames=int(self._number("memory_frames")),
            denormalise=cast(Denormalise, self._values["denormalise"]),
            temperature=temperature,
            tail_s=tail_s,
            feedback=self._number("feedback") ** (1.0 / place.beat_s),
            seed=(int(self._number("seed")) + self._n_begun) % 2**63,
        )
        self._n_begun += 1
        n_samples = stop - at + fade
        with border("grow"), _one_thread():
            mono = torch.from_numpy(np.ascontiguousarray(seed.mean(axis=0, dtype=np.float32)))
            n_own = -(-n_samples * own_rate // rate) + 64
            own = resample(mono[None], rate, own_rate)[0]
            played = grow(self._network, own, n_own, policy, self._is_cancelled)
            sound = resample(played.sound[None], own_rate, rate)[0, :n_samples].numpy()
        follows = bool(self._growths) and self._growths[-1].stop >= at
        return _Growth(at, stop, _gains(seed)[:, None] * sound, follows)

    def _mixed(self, block: AudioArray, start: int, fade: int) -> AudioArray:
        """Cross-fade at equal power: what is played against the sound, or against what was played before."""
        if not self._growths:
            return block.copy()
        times = np.arange(start, start + block.shape[1])
        out = np.zeros(block.shape)
        runs: list[tuple[float, int]] = []
        for one in self._growths:
            rising, falling = _ramp(times - one.start, fade), _ramp(times - one.stop, fade)
            is_heard = (times >= one.start) & (times < one.stop + fade)
            gains = np.where(is_heard, np.sin(rising) * np.cos(falling), 0.0)
            out += gains * one.sound[:, np.clip(times - one.start, 0, one.sound.shape[1] - 1)]
            if not one.follows:
                runs.append((one.start, one.stop))
            else:  # where what it follows is over, the sound has long gone
                runs = [*runs[:-1], (runs[-1][0] if runs else -np.inf, one.stop)]
        dry = np.ones(block.shape[1])
        for begins, ends in runs:
            dry *= np.maximum(np.cos(_ramp(times - begins, fade)), np.sin(_ramp(times - ends, fade)))
        # All of the sound is exactly the sound: rounding must not tell.
        return np.where(dry == 1.0, block, out + dry * block).astype(np.float32)


def _ramp(since: FloatArray, fade: int) -> FloatArray:
    """Return the angle of a cross-fade, 0 to a quarter of a turn, so many samples after it began."""
    angle: FloatArray = 0.5 * np.pi * np.clip((since + 1.0) / (fade + 1.0), 0.0, 1.0)
    return angle


def _gains(seed: AudioArray) -> FloatArray:
    """Return how loud each channel is against all mixed to one."""
    rms = np.sqrt(np.square(seed, dtype=np.float64).mean(axis=1)) if seed.size else np.zeros(len(seed))
    mixed = np.sqrt(np.square(seed.mean(axis=0, dtype=np.float64)).mean()) if seed.size else 0.0
    if mixed < _QUIETEST_RMS:
        return np.ones(len(seed))
    gains: FloatArray = np.minimum(rms / mixed, _MOST_GAIN)
    return gains


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: sums in another order would be fed back, and what is played would differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_player(name: str, where: str = "grow") -> FramesNet:
    """Load a network that plays on.

    Args:
        name: Its name, or its file.
        where: Put at the start of an error.

    Raises:
        ProcessorError: There is none of that name, it is damaged, or it only listens.
    """
    make = "`reverie networks train-frames STEM --name {}` makes one of a stem"
    if not name:
        raise ProcessorError(f"{where}: no network is named to play on; {make.format('NAME')}")
    try:
        network = load_network(name)
    except NetworkNotFoundError:
        raise ProcessorError(
            f"{where}: network {name!r}, which is to play on, is not made yet; {make.format(name)}"
        ) from None
    except DreamError as error:
        raise ProcessorError(f"{where}: {error}") from None
    if not isinstance(network, FramesNetwork):
        raise ProcessorError(f"{where}: network {name!r} listens and cannot play on; {make.format('NAME')}")
    return network.frames


def is_missing(name: str) -> bool:
    """Say whether there is no network of that name: one of the user's own may yet have to be made."""
    try:
        get_card(name)
    except NetworkNotFoundError:
        return True
    except DreamError:
        return False
    return False
