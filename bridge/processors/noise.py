"""Noise as a node: something to dream from where there is no sound, or a bed under one.

A sample depends on seed, channel and position alone, so that cuts do not matter: the white source is counted,
block by block of a fixed size, and colours are filters that stream. A filter has run for a second before the
first sample, so that a colour is whole from there on.

Sources:
    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox, the counted source).
    Kasdin 1995, "Discrete simulation of colored noise": poles and zeros in equal steps of pitch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Literal, cast

import numpy as np

from bridge.arrays import AudioArray, FloatArray, Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue, check_parameter
from bridge.processors.contract import DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.stream_guard import StreamGuard

__all__ = ["NOISE_PARAMETERS", "Color", "Noise"]

Color = Literal["white", "pink", "brown"]

NOISE_PARAMETERS: Mapping[str, ParamSpec] = {
    spec.name: spec
    for spec in (
        ParamSpec(
            name="color",
            default="pink",
            choices=("white", "pink", "brown"),
            help="level by frequency: white even, pink -3 dB an octave, brown -6 dB",
        ),
        ParamSpec(
            name="level_db",
            default=-20.0,
            minimum=-120.0,
            maximum=0.0,
            unit="dB",
            automation="sample",
            help="RMS level of each channel, in dBFS",
        ),
        ParamSpec(name="seed", default=0.0, minimum=0.0, maximum=2.0**31, help="chooses the noise"),
        ParamSpec(name="replace", default=True, help="in place of the sound; false adds it to the sound"),
        ParamSpec(name="correlated", default=False, help="the same noise in all channels"),
    )
}

_BLOCK = 1 << 14
"""So many samples have one key of the counted source."""

_WARM_UP_S = 1.0

_LOWEST_HZ = 10.0
"""Where pink and brown level off: below what is heard."""

_POLES_APART = 3.0
"""From one pole of the pink filter to the next, a zero between them: a ripple of a tenth of a dB."""

_TOP_ZERO: Mapping[str, float] = {"pink": 0.085, "brown": 0.17}
"""Fitted once: with these a colour is within half a dB of its slope up to 0.45 of the rate."""


class Noise:
    """Make noise, in place of the sound or beside it.

    A dream that starts from noise shows what a network wants to hear where nothing else is there. White noise
    is even in its samples' steps and close to Gaussian, and never higher than 10.8 dB above its level.

    Args:
        color: ``white``, ``pink`` or ``brown``: power by frequency ``f`` as ``1``, ``1/f``, ``1/f**2``.
        level_db: RMS level of each channel in dBFS, -120..0.
        seed: Chooses the noise; the same seed gives the same samples.
        replace: Whether it takes the place of the sound; false adds it.
        correlated: Whether all channels have the same noise; false gives each one of its own.
        n_samples: Where it ends, so that tails ring out after it; None goes on as long as the sound does.

    Raises:
        ProcessorError: A parameter is out of range or no choice.

    >>> import numpy as np
    >>> noise = Noise("white", level_db=-20.0)(np.zeros((1, 48000), np.float32), 48000)
    >>> round(20 * float(np.log10(noise.std())), 1)
    -20.0
    """

    is_effect = True
    is_instrument = False

    def __init__(
        self,
        color: Color = "pink",
        level_db: float = -20.0,
        seed: float = 0,
        replace: bool = True,
        correlated: bool = False,
        *,
        n_samples: int | None = None,
    ) -> None:
        self._values: dict[str, ParamValue] = {}
        given = {"color": color, "level_db": level_db, "seed": seed}
        for name, value in {**given, "replace": replace, "correlated": correlated}.items():
            self._values[name] = check_parameter(name, value, NOISE_PARAMETERS, "noise")
        self._n_samples = n_samples
        self.stream_guard = StreamGuard()
        self._sources: list[Iterator[FloatArray]] | None = None
        self._ready: list[FloatArray] = []
        self._position, self._shape = 0, (0, 0.0)

    def __repr__(self) -> str:
        return "Noise(" + ", ".join(f"{name}={value!r}" for name, value in self._values.items()) + ")"

    @property
    def latency_samples(self) -> int:
        """Zero."""
        return 0

    @property
    def tail_seconds(self) -> float:
        """Zero: it ends with the sound."""
        return 0.0

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter by name."""
        return NOISE_PARAMETERS

    def get_parameter(self, name: str) -> ParamValue:
        """Return a parameter's value."""
        if name not in self._values:
            check_parameter(name, 0.0, NOISE_PARAMETERS, "noise")
        return self._values[name]

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter; while a stream runs only the level may change."""
        checked = check_parameter(name, value, NOISE_PARAMETERS, "noise")
        if self._sources is not None and name != "level_db":
            raise ProcessorError(f"noise.{name} is fixed while a stream runs; call reset() first")
        self._values[name] = checked

    def reset(self) -> None:
        """Begin anew."""
        with self.stream_guard.whole("noise"):
            self._sources = None

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio; see the contract. ``automation["level_db"]`` moves the level at every sample."""
        del buffer_size  # there is nothing native to feed
        check_audio(input_array, "noise")
        lanes = automation or {}
        for name in lanes:
            if name != "level_db":
                moving = nearest_names(name, ["level_db"])
                raise ProcessorError(f"noise: {name!r} cannot be automated; {moving}")
        with self.stream_guard.sound("noise", is_whole=reset, begins=self._sources is None):
            if reset:
                self._sources = None
            out = self._process(input_array, sample_rate, lanes.get("level_db"))
            if reset:
                self._sources = None
            return out

    __call__ = process

    def flush(self) -> AudioArray:
        """End the stream; nothing is withheld."""
        with self.stream_guard.whole("noise"):
            self._sources = None
            return np.zeros((self._shape[0], 0), np.float32)

    def _process(self, sound: AudioArray, sample_rate: float, level_db: Lane | None) -> AudioArray:
        n_channels, n_samples = sound.shape
        if self._sources is None:
            self._open(n_channels, sample_rate)
        elif self._shape != (n_channels, sample_rate):
            raise ProcessorError("noise: a stream must keep its channels and sample rate; call reset() first")
        level = float(self._values["level_db"]) if level_db is None else np.asarray(level_db, np.float64)
        noise = np.stack([self._take(row, n_samples) for row in range(len(self._ready))])
        noise = noise * 10.0 ** (level / 20.0)
        if self._n_samples is not None:
            noise[:, max(0, self._n_samples - self._position) :] = 0.0
        self._position += n_samples
        if self._values["replace"]:
            return np.broadcast_to(noise, sound.shape).astype(np.float32)
        return (sound + noise).astype(np.float32)

    def _open(self, n_channels: int, sample_rate: float) -> None:
        n_sources = 1 if self._values["correlated"] else n_channels
        color, seed = cast(Color, self._values["color"]), int(cast(float, self._values["seed"]))
        self._sources = [_colored(color, seed, channel, sample_rate) for channel in range(n_sources)]
        self._ready = [np.zeros(0) for _ in range(n_sources)]
        self._position, self._shape = 0, (n_channels, sample_rate)

    def _take(self, row: int, n_samples: int) -> FloatArray:
        """Return the next samples of a source."""
        assert self._sources is not None
        pieces = [self._ready[row]]
        while sum(map(len, pieces)) < n_samples:
            pieces.append(next(self._sources[row]))
        joined = np.concatenate(pieces)
        self._ready[row] = joined[n_samples:]
        return joined[:n_samples]


def _colored(color: Color, seed: int, channel: int, sample_rate: float) -> Iterator[FloatArray]:
    """Go through a channel's noise of unit power in blocks, without end."""
    if color == "white":
        block = 0
        while True:
            yield _white(seed, channel, block)
            block += 1
    from scipy.signal import sosfilt

    sections, gain = _filter(color, sample_rate)
    n_before = -(-round(_WARM_UP_S * sample_rate) // _BLOCK)
    state = np.zeros((len(sections), 2))
    block = 0
    while True:
        filtered, state = sosfilt(sections, _white(seed, channel, block), zi=state)
        if block >= n_before:
            yield filtered * gain
        block += 1


def _white(seed: int, channel: int, block: int) -> FloatArray:
    """Return a block of white noise of unit power: sums of four 16-bit integers, exact on every machine."""
    source = np.random.Philox(key=[seed, channel], counter=[0, 0, 0, block])
    parts = source.random_raw(_BLOCK)[:, None] >> np.array([0, 16, 32, 48], np.uint64)
    sums = (parts & np.uint64(0xFFFF)).astype(np.float64).sum(axis=1)
    # Four even draws of 0..65535: mean 4 * 32767.5, variance 4 * (65536**2 - 1) / 12.
    return cast(FloatArray, (sums - 131070.0) / np.sqrt((65536.0**2 - 1.0) / 3.0))


@cache
def _filter(color: Color, sample_rate: float) -> tuple[FloatArray, float]:
    """Return a colour's filter as sections, and the gain that makes its noise of unit power."""
    from scipy.signal import sosfilt

    def at(hertz: float) -> float:
        return float(-np.exp(-2.0 * np.pi * hertz / sample_rate))

    # Matched poles leave the top too loud; one zero takes off what is too much.
    sections = [[1.0, _TOP_ZERO[color], 0.0, 1.0, 0.0, 0.0]]
    pole_hz = _LOWEST_HZ
    while pole_hz < sample_rate / 2:
        is_pink = color == "pink"
        zero = at(pole_hz * np.sqrt(_POLES_APART)) if is_pink else 0.0
        sections.append([1.0, zero, 0.0, 1.0, at(pole_hz), 0.0])
        pole_hz *= _POLES_APART if is_pink else np.inf
    filled = np.array(sections)
    impulse = np.zeros(round(_WARM_UP_S * sample_rate))
    impulse[0] = 1.0
    return filled, float(1.0 / np.sqrt(np.square(sosfilt(filled, impulse)).sum()))
