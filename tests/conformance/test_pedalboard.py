"""Effects of pedalboard as nodes: a stream is one call of its own, whatever its blocks and settings."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pedalboard
import pytest
from helpers.audio import noise, sine

from bridge.errors import ProcessorError
from bridge.processors.chain import Chain, Node
from bridge.processors.frequency_limit import highest_hz, parameters_in_hz
from bridge.processors.mix import Mix
from bridge.processors.pedalboard_plugin import PedalboardPlugin, build_builtin
from bridge.processors.pedalboard_table import BUILTINS

RATE = 44100
MOVING = [
    (use, spec.name)
    for use, builtin in BUILTINS.items()
    for spec in builtin.parameters
    if spec.automation != "none"
]
STILL = [
    (use, spec.name)
    for use, builtin in BUILTINS.items()
    for spec in builtin.parameters
    if spec.automation == "none"
]


def make_sound(duration_s: float = 3.0, rate: int = RATE) -> np.ndarray:
    """Return a tone of another pitch in each channel, steady to the end, in a little noise."""
    tones = np.concatenate([sine(330, duration_s, rate, -10), sine(130, duration_s, rate, -14)])
    return tones + noise(tones.shape[1], 2, level=0.01)


def impulse_response() -> np.ndarray:
    return noise(4000, 2, seed=1) * np.exp(-np.arange(4000) / 500).astype(np.float32)


PLUGINS: dict[str, Callable[[], pedalboard.Plugin]] = {
    **{use: (lambda use=use: build_builtin(use).plugin) for use in BUILTINS},
    "pitch_shift": lambda: pedalboard.PitchShift(5),
    "convolution": lambda: pedalboard.Convolution(impulse_response(), 1.0, RATE),
    "gsm": pedalboard.GSMFullRateCompressor,
    "resample": lambda: pedalboard.Resample(8000),
    "brickwall": pedalboard.BrickwallLimiter,
    "board": lambda: pedalboard.Pedalboard([pedalboard.PitchShift(5), pedalboard.Delay(0.1)]),
    "chain in a board": lambda: pedalboard.Pedalboard(
        [pedalboard.Chain([pedalboard.Invert(), pedalboard.LowpassFilter(500)])]
    ),
    "mix": lambda: pedalboard.Mix([pedalboard.Gain(1), pedalboard.LowpassFilter(500)]),
    "codec": lambda: pedalboard.Pedalboard([pedalboard.Delay(0.1), pedalboard.MP3Compressor()]),
}


def stream(processor: object, sound: np.ndarray, sizes: list[int], rate: int = RATE) -> np.ndarray:
    """Send a sound through in blocks of these sizes, again and again."""
    processor.reset()  # type: ignore[attr-defined]
    pieces, start = [], 0
    for size in itertools.cycle(sizes):
        if start >= sound.shape[1]:
            break
        block = sound[:, start : start + size]
        pieces.append(processor.process(block, rate, reset=False))  # type: ignore[attr-defined]
        start += size
    return np.concatenate([*pieces, processor.flush()], axis=1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("sizes", [[64], [512], [8192], [32768], [1, 2, 3, 700, 64, 5000]], ids=str)
@pytest.mark.parametrize("name", PLUGINS)
def test_a_stream_is_one_call(name: str, sizes: list[int]) -> None:
    """Sample for sample what pedalboard gives for the whole sound, to its end."""
    sound = make_sound(1.5)
    expected = PLUGINS[name]().process(sound, RATE)

    # Filters and convolutions round by one unit where a block ends.
    np.testing.assert_allclose(stream(PedalboardPlugin(PLUGINS[name]()), sound, sizes), expected, atol=1e-7)


@pytest.mark.parametrize("name", PLUGINS)
def test_a_whole_sound_is_one_call(name: str) -> None:
    """With any size of buffer."""
    sound = make_sound(1.5)
    expected = PLUGINS[name]().process(sound, RATE)

    for buffer_size in (512, 8192, 65536):
        out = PedalboardPlugin(PLUGINS[name]()).process(sound, RATE, buffer_size)
        np.testing.assert_allclose(out, expected, atol=1e-7)


def test_a_pitch_shifter_sounds_to_the_end_of_a_stream() -> None:
    """Between others too, mixed with the dry sound at its sample, and after its pitch was another."""
    sound = make_sound()
    shifted = pedalboard.PitchShift(5).process(pedalboard.Gain(-6)(sound, RATE), RATE)
    shifter = build_builtin("pitch_shift", {"semitones": -7.0})
    shifter.process(sound, RATE)
    shifter.set_parameter("semitones", 5.0)
    chain = Chain([pedalboard.Gain(-6), Node(processor=shifter, mix=0.5), pedalboard.Gain(6)])
    expected = pedalboard.Gain(6)(0.5 * pedalboard.Gain(-6)(sound, RATE) + 0.5 * shifted, RATE)

    np.testing.assert_allclose(stream(chain, sound, [5000]), expected, atol=1e-6)
    np.testing.assert_allclose(chain.process(sound, RATE), expected, atol=1e-6)


def test_a_mix_that_would_lose_sound_is_refused() -> None:
    """The other one adds branches of different latency wrongly; ours waits for the slowest."""
    late = [pedalboard.MP3Compressor(), pedalboard.Gain(0)]
    with pytest.raises(ProcessorError, match=r"MP3Compressor.* use bridge\.Mix"):
        Chain([pedalboard.Pedalboard([pedalboard.Mix(late)])])

    sound = make_sound(1.0)
    out = Mix(late).process(sound, RATE)
    np.testing.assert_allclose(out, pedalboard.MP3Compressor()(sound, RATE) + sound, atol=1e-6)
    assert np.array_equal(stream(Mix(late), sound, [700]), out)


@pytest.mark.parametrize("n_before", [1, 2, 3])
def test_channels_are_never_taken_for_samples(n_before: int) -> None:
    """A stream whose first blocks are as short as an earlier sound had channels, in mono and stereo."""
    sound = make_sound(0.5)
    for n_channels, name in itertools.product((1, 2), ("lowpass_filter", "mp3_compressor", "limiter")):
        processor = build_builtin(name)
        if name != "mp3_compressor":
            processor.process(noise(9000, n_before), RATE)
        expected = build_builtin(name).process(sound[:n_channels], RATE)
        processor.reset()
        pieces = [
            processor.process(sound[:n_channels, i : i + n_before], RATE, buffer_size=1, reset=False)
            for i in range(0, 600, n_before)
        ]
        pieces.append(processor.process(sound[:n_channels, 600:], RATE, buffer_size=1, reset=False))

        np.testing.assert_allclose(np.concatenate([*pieces, processor.flush()], 1), expected, atol=1e-6)


@pytest.mark.parametrize(("use", "name"), MOVING)
def test_moving_a_parameter_keeps_the_sound(use: str, name: str) -> None:
    """What trembles by a hundred-thousandth of its range is nearly still; nothing falls silent."""
    spec = next(spec for spec in BUILTINS[use].parameters if spec.name == name)
    assert spec.minimum is not None
    assert spec.maximum is not None
    sound = make_sound(2.0)
    tremble = 1e-5 * (spec.maximum - spec.minimum)
    rest = float(np.clip(float(spec.default), spec.minimum, spec.maximum - tremble))
    lane = rest + tremble * (np.arange(sound.shape[1]) // 64 % 2)

    moved = build_builtin(use, {name: rest}).process(sound, RATE, automation={name: lane})
    still = build_builtin(use, {name: rest}).process(sound, RATE)
    assert np.std(moved[:, -RATE // 2 :]) == pytest.approx(np.std(still[:, -RATE // 2 :]), rel=0.05)


@pytest.mark.parametrize(("use", "name"), STILL)
def test_what_cannot_move_is_refused(use: str, name: str) -> None:
    """The pitch of what hears the whole sound at once, and the quality of a codec that starts over."""
    sound = make_sound(0.1)
    with pytest.raises(ProcessorError, match="cannot be automated"):
        build_builtin(use).process(sound, RATE, automation={name: np.ones(sound.shape[1])})


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("use", [use for use in BUILTINS if use != "pitch_shift"])
def test_the_ends_of_every_range_are_finite(use: str, rate: int) -> None:
    """All ends of all parameters, on noise, full scale and silence; and nothing grows without bound."""
    loud = noise(rate, 2, level=0.5)
    sounds = [loud, np.sign(loud), np.zeros_like(loud)]
    specs = BUILTINS[use].parameters
    ends = [spec.choices or (spec.minimum, spec.maximum) for spec in specs]
    for values in itertools.product(*ends):
        params = dict(zip([spec.name for spec in specs], values, strict=True))
        for sound in sounds:
            processor = build_builtin(use, params)  # type: ignore[arg-type]
            processor.on_warning = lambda _text: None
            out = processor.process(sound, rate)
            assert np.isfinite(out).all(), params
            assert np.abs(out).max() < 1e6, params


@pytest.mark.parametrize("semitones", [-72.0, 72.0])
def test_the_ends_of_the_pitch_are_finite(semitones: float) -> None:
    for sound in (noise(8000, 2), np.zeros((2, 8000), np.float32)):
        assert np.isfinite(build_builtin("pitch_shift", {"semitones": semitones}).process(sound, 8000)).all()


IN_HZ = [
    (use, name)
    for use, builtin in BUILTINS.items()
    for name in parameters_in_hz({spec.name: spec for spec in builtin.parameters})
    if name != "rate_hz"
]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("use", "name"), IN_HZ)
def test_frequencies_stay_below_half_the_rate(use: str, name: str, rate: int) -> None:
    """Set or moved to the highest, each is as at 0.49 of the rate: told once, and as set afterwards."""
    limit = highest_hz(rate)
    sound = noise(rate, 2)
    lane = np.geomspace(2000.0, 20000.0, rate)
    told: list[str] = []
    processor = build_builtin(use, {name: 20000.0})
    processor.on_warning = told.append
    is_held = limit < 20000.0
    expected = build_builtin(use, {name: min(20000.0, limit)})

    assert np.array_equal(processor.process(sound, rate), expected.process(sound, rate))
    assert processor.get_parameter(name) == 20000.0
    assert len(told) == is_held
    if is_held:
        assert told == [f"{use}: {name} = 20000 Hz is too high for sound at {rate} Hz; {limit:g} Hz is used"]
    np.testing.assert_allclose(
        stream(processor, sound, [700], rate), stream(expected, sound, [700], rate), atol=1e-6
    )

    moving = build_builtin(use, {name: 2000.0})
    moving.on_warning = told.append
    moved = moving.process(sound, rate, automation={name: lane})
    low = build_builtin(use, {name: 2000.0})
    assert np.isfinite(moved).all()
    assert np.array_equal(moved, low.process(sound, rate, automation={name: np.minimum(lane, limit)}))
    assert len(told) == 3 * is_held


def test_a_phaser_does_not_depend_on_what_it_played_before() -> None:
    """Its middle is where it is set at low rates too, the first time and the second."""
    sound = noise(8000, 2)
    processor = build_builtin("phaser", {"centre_frequency_hz": 3000.0})
    first = processor.process(sound, 8000)
    processor.set_parameter("centre_frequency_hz", 3000.0)

    assert np.array_equal(first, processor.process(sound, 8000))


def test_a_held_frequency_is_a_python_warning_by_default() -> None:
    """So that who builds a chain by hand sees it."""
    chain = Chain([pedalboard.Gain(0), pedalboard.LowpassFilter(12000)])
    with pytest.warns(UserWarning, match="lowpass_filter: cutoff_frequency_hz = 12000 Hz is too high"):
        out = chain.process(noise(16000, 2), 16000)
    assert np.isfinite(out).all()
