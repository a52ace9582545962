"""Every processor keeps the contract of bridge.processors.contract, whatever it does to the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pedalboard
import pytest
from helpers.frames_net import untrained
from helpers.nets import SmallNet
from helpers.vst3 import EFFECT, needs_plugins

from bridge.clock.tempo_map import TempoMap
from bridge.errors import ProcessorError
from bridge.parameters import ParamSpec, ParamValue
from bridge.processors.chain import Chain, Node
from bridge.processors.contract import Processor
from bridge.processors.dream import Dream
from bridge.processors.dreams import Dreams
from bridge.processors.grow import Grow
from bridge.processors.mix import Mix
from bridge.processors.noise import Noise
from bridge.processors.pedalboard_plugin import PedalboardPlugin, build_builtin
from bridge.processors.pedalboard_table import BUILTINS
from bridge.processors.vst3 import VST3

RATE = 48000
CODECS = {"mp3_compressor"}
"""They are late by what their own frames hold, which is more or less as blocks come."""
LOOK_AHEAD = {"dream", "dreams", "chain"}
"""A dream waits for whole windows of sound, and gives them back without a delay."""
RUN_WHOLE = {"pitch_shift", "nested", "mix", "gsm"}
"""pedalboard's plugin cannot stream, so it waits for the end of the sound."""


def _dream(**settings: object) -> Dream:
    return Dream(SmallNet(), objective="layer:second", window_s=0.5, **settings)  # type: ignore[arg-type]


def _dreams(**settings: object) -> Dreams:
    return Dreams(SmallNet(), each="layer:second; channel:first:2", window_s=0.5, **settings)  # type: ignore[arg-type]


def _grow() -> Grow:
    return Grow(untrained(), "1/16", tempo_map=TempoMap.constant(120), seed_beats=0.125, length_beats=0.125)


FACTORIES: dict[str, Callable[[], Processor]] = {
    **{name: (lambda name=name: build_builtin(name)) for name in BUILTINS},
    "gsm": lambda: PedalboardPlugin(pedalboard.GSMFullRateCompressor()),
    "resample": lambda: PedalboardPlugin(pedalboard.Resample(8000)),
    "pedalboard": lambda: PedalboardPlugin(
        pedalboard.Pedalboard([pedalboard.Compressor(-20, 4), pedalboard.Delay(0.05)])
    ),
    "dream": lambda: _dream(depth=1.6),
    "dreams": lambda: _dreams(depth=1.6),
    "noise": lambda: Noise("pink", replace=False),
    "grow": _grow,
    "chain": lambda: Chain([pedalboard.Delay(0.01), Node(processor=_dream(depth=1.0), mix=0.5)]),
    "nested": lambda: Chain([Chain([pedalboard.PitchShift(2)]), pedalboard.Gain(-6)]),
    "mix": lambda: Mix([pedalboard.PitchShift(5), pedalboard.Gain(-3)]),
    "vst3": lambda: VST3(EFFECT, params={"cutoff_hz": 900.0, "latency_samples": 777.0}),
    "vst3 in a chain": lambda: Chain([pedalboard.Gain(-3), Node(processor=VST3(EFFECT), mix=0.5)]),
}

NEUTRAL: dict[str, Callable[[], Processor]] = {
    "gain": lambda: build_builtin("gain", {"gain_db": 0.0}),
    "delay": lambda: build_builtin("delay", {"mix": 0.0}),
    "dream": lambda: _dream(depth=0.0),
    "dreams": lambda: _dreams(depth=0.0),
    "dreams summed whole": lambda: _dreams(depth=0.0, sum="sounds"),
    "empty chain": Chain,
    "dry chain": lambda: Chain([Node(processor=pedalboard.Distortion(), mix=0.0)]),
    "disabled": lambda: Chain([Node(processor=pedalboard.Distortion(), enabled=False)]),
    "dry noise": lambda: Chain([Node(processor=Noise("brown"), mix=0.0)]),
    "dry growth": lambda: Chain([Node(processor=_grow(), mix=0.0)]),
    "one branch": lambda: Mix([pedalboard.Gain(0.0)]),
    "vst3": lambda: VST3(EFFECT, params={"latency_samples": 2048.0}),
}


def cases(names: Iterable[str]) -> list[object]:
    """Return the names as parameters of a test; those that need the conformance plugins say so."""
    return [pytest.param(name, marks=needs_plugins if "vst3" in name else ()) for name in names]


def make_sound(n_samples: int = 30000, n_channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(3)
    t = np.arange(n_samples) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 330 * t) * (t > 0.1)
    return (tone + 0.02 * rng.standard_normal((n_channels, n_samples))).astype(np.float32)


def stream(processor: Processor, sound: np.ndarray, sizes: list[int]) -> np.ndarray:
    processor.reset()
    pieces, start, i = [], 0, 0
    while start < sound.shape[1]:
        stop = min(sound.shape[1], start + sizes[i % len(sizes)])
        pieces.append(processor.process(sound[:, start:stop], RATE, reset=False))
        start, i = stop, i + 1
    pieces.append(processor.flush())
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize("name", cases(NEUTRAL))
def test_neutral_settings_null(name: str) -> None:
    """At neutral settings the output is the input, bit for bit."""
    sound = make_sound()

    assert np.array_equal(sound, NEUTRAL[name]().process(sound, RATE))


@pytest.mark.parametrize("name", cases(FACTORIES))
def test_a_whole_sound_keeps_its_length_and_is_finite(name: str) -> None:
    """As many samples come back as went in, all of them numbers, mono and stereo."""
    for n_channels in (1, 2):
        sound = make_sound(n_channels=n_channels)
        out = FACTORIES[name]().process(sound, RATE)

        assert out.shape == sound.shape
        assert out.dtype == np.float32
        assert np.isfinite(out).all()


@pytest.mark.parametrize("name", cases(FACTORIES))
def test_blocks_do_not_matter(name: str) -> None:
    """A stream cut anywhere is the whole sound, sample for sample."""
    sound = make_sound()
    processor = FACTORIES[name]()
    whole = processor.process(sound, RATE, 512)

    streamed = stream(processor, sound, [1, 2, 3, 700, 64, 5000])

    assert streamed.shape == whole.shape
    # pedalboard's filters round differently by one unit when a block ends; nothing audible, nothing growing.
    np.testing.assert_allclose(streamed, whole, atol=2e-6)


@pytest.mark.parametrize("name", cases(FACTORIES))
def test_reset_forgets(name: str) -> None:
    """After a reset the same sound gives the same samples."""
    processor = FACTORIES[name]()
    sound = make_sound(12000)
    first = processor.process(sound, RATE)
    processor.process(make_sound(5000)[:, ::-1].copy(), RATE, reset=False)
    processor.reset()

    assert np.array_equal(first, processor.process(sound, RATE))


@pytest.mark.parametrize("name", cases(FACTORIES))
def test_very_short_sounds_keep_their_layout(name: str) -> None:
    """A sound with fewer samples than channels is still (channels, samples), and starts as a long one does.

    A guess that took channels for samples would mix them. Windows of a dream hear the sound's length, and a
    codec's frames too: of them only the shape is the same.
    """
    for n_samples in (1, 2, 3):
        short = make_sound()[:, 20000 : 20000 + n_samples]
        out = FACTORIES[name]().process(short, RATE)

        assert out.shape == short.shape
        if name not in LOOK_AHEAD:
            long = np.pad(short, ((0, 0), (0, 20000)))
            np.testing.assert_allclose(out, FACTORIES[name]().process(long, RATE)[:, :n_samples], atol=2e-6)
    if name in ("dream", "dreams"):
        assert np.array_equal(out, short)  # nothing that short is dreamed


DRAWN: dict[str, tuple[ParamValue, ...]] = {
    "depth": (0.4, 0.9),
    "high_hz": (3000.0, 6000.0),
    "hop_divisor": (4, 8),
    "low_hz": (100.0, 500.0),
    "n_fft": (512, 1024, 4096),
    "octaves": (1, 2, 3),
    "patch_hop": (0, 10, 48),
    "seed": (3, 200),
    "seed_beats": (0.0625, 0.25),
    "length_beats": (0.0625, 0.5),
    "tail_beats": (0.0, 0.25),
    "memory_frames": (0.0, 3.0),
    "window_s": (0.5, 0.75),
    "fade_s": (0.01, 0.06),
    "delay_seconds": (0.003, 0.02),
    "fault": ("None",),
    "fault_at_samples": (0.0,),
    "latency_samples": (777.0, 1500.0),
    "picture_height": (0.0, 412.0),
    "load": (0.0,),
    "probe": ("Off",),
}
"""What is drawn for parameters that take only some values, or cost more than a test may; faults stay out."""


def draw(rng: np.random.Generator, path: str, spec: ParamSpec) -> ParamValue | None:
    """Return a value that a parameter accepts; None where only names that mean something are accepted."""
    name = path.rpartition(".")[2]
    if name in DRAWN:
        return DRAWN[name][rng.integers(len(DRAWN[name]))]
    if spec.choices:
        return spec.choices[rng.integers(len(spec.choices))]
    if isinstance(spec.default, bool):
        return bool(rng.integers(2))
    if spec.minimum is None or spec.maximum is None:
        return None
    # The middle of the range: its ends may well be silence.
    return float(spec.minimum + rng.uniform(0.25, 0.75) * (spec.maximum - spec.minimum))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", cases(FACTORIES))
def test_state_goes_round(name: str, seed: int) -> None:
    """What is drawn is what is read, and a second instance set to what was read is the same processor.

    It reads the same, and gives the same sound, sample for sample. (Numbers are held in 32 bits, hosted
    plugins step through their range in thousandths.)
    """
    rng = np.random.default_rng(seed)
    first, second = FACTORIES[name](), FACTORIES[name]()
    drawn = {key: draw(rng, key, spec) for key, spec in first.parameters.items()}
    drawn = {key: value for key, value in drawn.items() if value is not None}
    for key, value in drawn.items():
        first.set_parameter(key, value)
    read = {key: first.get_parameter(key) for key in first.parameters}
    for key, value in drawn.items():
        spec = first.parameters[key]
        if isinstance(value, float) and spec.minimum is not None and spec.maximum is not None:
            assert read[key] == pytest.approx(value, abs=1e-3 * (spec.maximum - spec.minimum)), key
        else:
            assert read[key] == value, key
    for key in reversed(drawn):
        second.set_parameter(key, read[key])

    assert {key: second.get_parameter(key) for key in second.parameters} == read
    sound = make_sound(12000)
    out = first.process(sound, RATE)
    is_muted = any(value is True for key, value in drawn.items() if key.endswith("mute"))
    assert out.any() or is_muted
    assert np.array_equal(out, second.process(sound, RATE))


@pytest.mark.parametrize("name", cases(FACTORIES))
def test_wrong_parameters_are_refused(name: str) -> None:
    """A misspelt parameter is an error, never a silent no-op."""
    processor = FACTORIES[name]()
    with pytest.raises(ProcessorError):
        processor.set_parameter("misspelt", 1.0)
    with pytest.raises(ProcessorError):
        processor.get_parameter("misspelt")


@pytest.mark.parametrize("name", cases(FACTORIES))
def test_wrong_arrays_are_refused(name: str) -> None:
    """Layout and type are never guessed."""
    processor = FACTORIES[name]()
    with pytest.raises(ProcessorError, match="channels, samples"):
        processor.process(np.zeros(100, np.float32), RATE)
    with pytest.raises(ProcessorError, match="float32"):
        processor.process(np.zeros((2, 100)), RATE)  # type: ignore[arg-type]
    with pytest.raises(ProcessorError, match="got a list"):
        processor.process([[0.0, 0.0]], RATE)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", cases(FACTORIES))
def test_it_is_a_processor(name: str) -> None:
    """The structural type agrees."""
    assert isinstance(FACTORIES[name](), Processor)


def test_a_dreams_parameters_are_attributes() -> None:
    """As with pedalboard's plugins; a misspelt one names the nearest and never is set in silence."""
    dream = _dream()
    dream.depth = 3.0

    assert dream.depth == dream.get_parameter("depth") == 3.0
    with pytest.raises(ProcessorError, match="did you mean 'depth'"):
        dream.dept = 4.0
    with pytest.raises(AttributeError, match="did you mean 'depth'"):
        _ = dream.dept
    with pytest.raises(ProcessorError, match=r"outside 0\.\.100 steps"):
        dream.depth = 101.0


@pytest.mark.parametrize("sample_rate", [0, -44100, float("nan"), "44100"])
def test_a_dream_wants_a_sample_rate(sample_rate: float) -> None:
    """What is no rate is said, with what is."""
    with pytest.raises(ProcessorError, match="a number of Hz is accepted"):
        _dream(depth=1.0).process(make_sound(), sample_rate)


GATHERED_SAMPLES = {"vst3": 4096, "vst3 in a chain": 4096}
"""A plugin in a process of its own is sent so many samples at a time; fewer wait until they are that many."""


@pytest.mark.parametrize("block", [512, 8192])
@pytest.mark.parametrize("name", cases(sorted(set(FACTORIES) - LOOK_AHEAD)))
def test_latency_is_what_a_stream_withholds(name: str, block: int) -> None:
    """A processor keeps back as many samples as it says it is late by, to the sample, whatever the blocks."""
    processor = FACTORIES[name]()
    told = processor.latency_samples
    sound = make_sound(4 * RATE)
    ready = sum(
        processor.process(sound[:, i : i + block], RATE, reset=False).shape[1]
        for i in range(0, sound.shape[1], block)
    )
    rest = processor.flush().shape[1]

    assert ready + rest == sound.shape[1]
    if name in RUN_WHOLE:
        assert told == 0
        assert ready == 0
    elif name in CODECS:
        assert abs(rest - told) <= 1152
    else:
        waiting = sound.shape[1] % GATHERED_SAMPLES.get(name, 1)
        assert rest == told + waiting


@pytest.mark.parametrize("name", cases(["vst3"]))
def test_latency_is_told_as_it_is_set(name: str) -> None:
    """The conformance plugin is late by what it was told to be."""
    assert FACTORIES[name]().latency_samples == 777
