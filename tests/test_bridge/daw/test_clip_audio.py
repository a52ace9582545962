"""A clip's sound is its file's, where and as the session says, against sums done by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bridge.arrays import AudioArray
from bridge.audio.reader import read_info
from bridge.daw.clip_audio import clip_blocks, clip_span, fade_curve
from bridge.daw.model import Clip, ClipFade, FadeShape, FileLoop

RATE = 48_000


def sound_of(clip: Clip) -> AudioArray:
    return np.concatenate(list(clip_blocks(clip, Path(clip.media), RATE)), axis=1)


def clip_of(path: Path, **facts: object) -> Clip:
    given = {"name": "c", "media": str(path), "is_embedded": False, "start_s": 0.0, "duration_s": 0.5}
    return Clip(**{**given, **facts})  # type: ignore[arg-type]


@pytest.fixture
def noise(tmp_path: Path) -> tuple[Path, AudioArray]:
    """A second of stereo noise as floats, so that nothing is rounded."""
    audio = np.random.default_rng(3).uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, audio.T, RATE, subtype="FLOAT")
    return path, audio


def test_a_plain_clip_is_the_files_own_samples(noise: tuple[Path, AudioArray]) -> None:
    """Trimmed on both sides, bit for bit; after the file's end it is silent."""
    path, audio = noise
    np.testing.assert_array_equal(sound_of(clip_of(path, offset_s=0.25)), audio[:, 12_000:36_000])
    late = sound_of(clip_of(path, offset_s=0.75))
    np.testing.assert_array_equal(late[:, :12_000], audio[:, 36_000:])
    np.testing.assert_array_equal(late[:, 12_000:], 0.0)


def test_a_clip_without_length_goes_on_to_the_end_of_its_file(noise: tuple[Path, AudioArray]) -> None:
    """A length of 0 means as long as there is sound."""
    path, _ = noise
    assert clip_span(clip_of(path, start_s=1.0, duration_s=0.0, offset_s=0.25), read_info(path), RATE) == (
        48_000, 84_000,
    )  # fmt: skip


def test_loops_go_back_to_their_start(noise: tuple[Path, AudioArray]) -> None:
    """From 0.4 s to the loop's end at 0.5 s, then a quarter of a second again and again."""
    path, audio = noise
    loop = FileLoop(start_s=0.25, end_s=0.5)
    expected = np.concatenate([audio[:, 19_200:24_000], *[audio[:, 12_000:24_000]] * 3], axis=1)[:, :24_000]
    np.testing.assert_array_equal(sound_of(clip_of(path, offset_s=0.4, loop=loop)), expected)
    whole = sound_of(clip_of(path, duration_s=1.5, loop=FileLoop()))
    np.testing.assert_array_equal(whole, np.concatenate([audio, audio[:, :24_000]], axis=1))


def test_sections_are_files_of_their_own_forwards_and_backwards(noise: tuple[Path, AudioArray]) -> None:
    """A section's end is its end, also for a loop; turned, its last sample comes first."""
    path, audio = noise
    section = audio[:, 9_600:24_000]
    there = sound_of(clip_of(path, section_s=(0.2, 0.5), loop=FileLoop()))
    np.testing.assert_array_equal(there, np.concatenate([section, section], axis=1)[:, :24_000])
    back = sound_of(clip_of(path, section_s=(0.2, 0.5), is_reversed=True))
    np.testing.assert_array_equal(back[:, :14_400], section[:, ::-1])
    np.testing.assert_array_equal(back[:, 14_400:], 0.0)


def test_gain_pan_and_channels_are_factors(noise: tuple[Path, AudioArray]) -> None:
    """The far side falls with the pan, the near one stays; channels are chosen before."""
    path, audio = noise
    panned = sound_of(clip_of(path, gain=0.5, pan=0.25))
    np.testing.assert_allclose(panned, audio[:, :24_000] * [[0.375], [0.5]], atol=1e-7)
    np.testing.assert_array_equal(sound_of(clip_of(path, channel="right")), audio[1:, :24_000])
    np.testing.assert_array_equal(sound_of(clip_of(path, channel="swapped")), audio[::-1, :24_000])
    np.testing.assert_allclose(
        sound_of(clip_of(path, channel="mono"))[0], audio[:, :24_000].mean(axis=0), atol=1e-7
    )


@pytest.mark.parametrize("shape", [
    "linear", "fast_start", "slow_start", "faster_start", "slower_start", "s_curve", "steep_s_curve",
])  # fmt: skip
def test_fades_rise_from_silence_to_all_and_only_within_their_length(
    noise: tuple[Path, AudioArray], shape: FadeShape
) -> None:
    """Every curve begins at 0, ends at 1 and never falls; a fade out is a fade in backwards."""
    path, audio = noise
    curve = fade_curve(np.linspace(0.0, 1.0, 1001), shape)
    assert (curve[0], curve[-1]) == (0.0, 1.0)
    assert (np.diff(curve) >= 0).all()
    fade = ClipFade(length_s=0.1, shape=shape)
    faded = sound_of(clip_of(path, fade_in=fade, fade_out=fade))
    gain = np.ones(24_000)
    gain[:4_800] = fade_curve(np.arange(4_800) / 4_800, shape)
    gain[-4_799:] = gain[4_799:0:-1]
    np.testing.assert_allclose(faded, audio[:, :24_000] * gain, atol=1e-7)


def test_a_rate_without_pitch_is_a_tape_that_runs_faster(tmp_path: Path) -> None:
    """A sine of 500 Hz at twice the speed is one of 1000 Hz, on its place to a thousandth of a cycle."""
    time_s = np.arange(2 * RATE) / RATE
    path = tmp_path / "sine.wav"
    soundfile.write(path, np.sin(2 * np.pi * 500 * time_s), RATE, subtype="FLOAT")
    played = sound_of(clip_of(path, offset_s=0.25, rate=2.0))[0]
    expected = np.sin(2 * np.pi * (500 * 0.25 + 1000 * np.arange(24_000) / RATE))
    # The converter's pass band ends below half the rate; a tone far within it keeps 1e-3.
    np.testing.assert_allclose(played[500:-500], expected[500:-500], atol=1e-3)


def test_a_file_at_another_rate_lies_on_its_place(tmp_path: Path) -> None:
    """A sine in a file of 44.1 kHz, begun off the grid both rates share, comes out in phase."""
    path = tmp_path / "sine.wav"
    soundfile.write(path, np.sin(2 * np.pi * 500 * np.arange(2 * 44_100) / 44_100), 44_100, subtype="FLOAT")
    played = sound_of(clip_of(path, offset_s=0.7303))[0]
    expected = np.sin(2 * np.pi * 500 * (np.arange(24_000) + round(0.7303 * RATE)) / RATE)
    np.testing.assert_allclose(played, expected, atol=1e-3)


def test_a_rate_that_keeps_the_pitch_keeps_it(tmp_path: Path) -> None:
    """A sine of 500 Hz at 1.25 times the speed is still one of 500 Hz, and 0.5 s of it are as loud."""
    path = tmp_path / "sine.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 500 * np.arange(2 * RATE) / RATE), RATE, subtype="FLOAT")
    played = sound_of(clip_of(path, rate=1.25, keeps_pitch=True))[0]
    spectrum = np.abs(np.fft.rfft(played[4_800:-4_800] * np.hanning(14_400)))
    assert np.argmax(spectrum) * RATE / 14_400 == pytest.approx(500, abs=4)  # a bin is 3.3 Hz
    assert np.sqrt(np.mean(played[4_800:-4_800] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
