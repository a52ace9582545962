"""The loudness meter meets the EBU's test signals and agrees with an independent meter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest
from helpers.audio import noise, sine

from bridge.audio.loudness import Loudness, LoudnessMeter, measure_loudness

Floats = npt.NDArray[np.float32]


def tones(levels_and_durations: Sequence[tuple[float, float]], sample_rate: int = 48000) -> Floats:
    """A stereo 1 kHz sine in steps of (level in dBFS, duration in s), as the EBU documents describe."""
    return np.concatenate(
        [sine(1000, duration, sample_rate, level, n_channels=2) for level, duration in levels_and_durations],
        axis=1,
    )


def silence(duration_s: float) -> Floats:
    return np.zeros((2, round(duration_s * 48000)), np.float32)


@pytest.mark.parametrize("sample_rate", [22050, 44100, 48000, 88200, 96000, 192000])
@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_ebu_3341_cases_1_and_2(sample_rate: int, level: float) -> None:
    """A steady stereo tone reads its level, momentary, short-term and integrated, at every rate."""
    found = measure_loudness(tones([(level, 20)], sample_rate), sample_rate)
    assert found.momentary_max_lufs == pytest.approx(level, abs=0.1)
    assert found.short_term_max_lufs == pytest.approx(level, abs=0.1)
    assert found.integrated_lufs == pytest.approx(level, abs=0.1)


@pytest.mark.parametrize("steps", [
    [(-36, 10), (-23, 60), (-36, 10)],
    [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
    [(-26, 20), (-20, 20.1), (-26, 20)],
])  # fmt: skip
def test_ebu_3341_cases_3_to_5(steps: list[tuple[float, float]]) -> None:
    """The absolute and the relative gate leave out what is too quiet: each programme reads -23 LUFS."""
    assert measure_loudness(tones(steps), 48000).integrated_lufs == pytest.approx(-23, abs=0.1)


def test_ebu_3341_case_6() -> None:
    """Five channels are weighted as the standard says; a sixth, the LFE, does not count."""
    channels = [sine(1000, 20, level_dbfs=level) for level in (-28, -28, -24, -30, -30)]
    assert measure_loudness(np.concatenate(channels), 48000).integrated_lufs == pytest.approx(-23, abs=0.1)
    channels.insert(3, sine(50, 20))
    assert measure_loudness(np.concatenate(channels), 48000).integrated_lufs == pytest.approx(-23, abs=0.1)


def test_ebu_3341_case_9() -> None:
    """Steps shorter than 3 s leave the short-term loudness at -23 LUFS."""
    found = measure_loudness(tones([(-20, 1.34), (-30, 1.66)] * 5), 48000)
    assert found.short_term_max_lufs == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("index", range(0, 20, 3))
def test_ebu_3341_case_10(index: int) -> None:
    """The loudest 3 s are found wherever they begin."""
    signal = np.concatenate([silence(index * 0.15), tones([(-23, 3)]), silence(1)], axis=1)
    assert measure_loudness(signal, 48000).short_term_max_lufs == pytest.approx(-23, abs=0.1)


def test_ebu_3341_case_12() -> None:
    """Steps shorter than 400 ms leave the momentary loudness at -23 LUFS."""
    found = measure_loudness(tones([(-20, 0.18), (-30, 0.22)] * 25), 48000)
    assert found.momentary_max_lufs == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("index", range(20))
def test_ebu_3341_case_13(index: int) -> None:
    """The loudest 400 ms are found wherever they begin."""
    signal = np.concatenate([silence(index * 0.02), tones([(-23, 0.4)]), silence(1)], axis=1)
    assert measure_loudness(signal, 48000).momentary_max_lufs == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize("sample_rate", [44100, 48000])
@pytest.mark.parametrize(("divisor", "phase_deg", "amplitude", "expected_dbtp"), [
    (4, 0.0, 0.5, -6.0),
    (4, 45.0, 0.5, -6.0),
    (6, 60.0, 0.5, -6.0),
    (8, 67.5, 0.5, -6.0),
    (4, 45.0, 1.41, 3.0),
])  # fmt: skip
def test_ebu_3341_cases_15_to_19(
    sample_rate: int, divisor: int, phase_deg: float, amplitude: float, expected_dbtp: float
) -> None:
    """The peak between the samples of a sine is found within +0.2 and -0.4 dB."""
    level = 20 * math.log10(amplitude)
    tone = sine(sample_rate / divisor, 1.0, sample_rate, level, phase_deg, n_channels=2)
    ramp = np.minimum(1, np.arange(tone.shape[1]) / 500)  # the EBU's files fade in and out
    found = measure_loudness((tone * ramp * ramp[::-1]).astype(np.float32), sample_rate)
    assert -0.4 <= found.true_peak_dbtp - expected_dbtp <= 0.2


@pytest.mark.parametrize("offset", range(4))
def test_ebu_3341_cases_20_to_23(offset: int) -> None:
    """A peak of 0 dBTP made at four times the rate is found from any of its four decimations."""
    width = 400
    n = np.arange(-width, width + 1)
    burst = np.zeros(4 * 48000)
    burst[20_000 - width : 20_001 + width] = np.cos(2 * np.pi * n / 16) * np.hanning(2 * width + 1)
    found = measure_loudness(burst[None, offset::4].astype(np.float32), 48000)
    assert -0.4 <= found.true_peak_dbtp <= 0.2


def test_true_peak_agrees_with_a_slow_twin() -> None:
    """Skipping what cannot be higher changes nothing: a whole-signal interpolation agrees within 0.05 dB."""
    samples = noise(20_000, level=0.15, seed=3).astype(np.float64)
    samples = np.convolve(samples[0], np.hanning(5) / 2)[None, :]  # nothing near half the rate
    spectrum = np.fft.rfft(samples[0])
    fine = np.fft.irfft(spectrum, 4 * samples.shape[1]) * 4
    found = measure_loudness(samples.astype(np.float32), 48000).true_peak_dbtp
    assert found == pytest.approx(20 * math.log10(np.abs(fine).max()), abs=0.05)


def test_the_end_of_a_block_is_no_step() -> None:
    """A tone that a block cuts at its crest reads no higher than the same tone uncut."""
    tone = sine(997, 1.0, level_dbfs=-6)
    meter = LoudnessMeter(48000, 1)
    for start in range(0, tone.shape[1], 1003):  # no whole number of anything
        meter.push(tone[:, start : start + 1003])
    assert meter.result().true_peak_dbtp == measure_loudness(tone, 48000).true_peak_dbtp
    assert meter.result().true_peak_dbtp == pytest.approx(-6, abs=0.01)


@pytest.mark.parametrize(("levels", "expected_lu"), [
    ([-20, -30], 10), ([-20, -15], 5), ([-40, -20], 20), ([-50, -35, -20, -35, -50], 15),
])  # fmt: skip
def test_ebu_3342_cases_1_to_4(levels: list[float], expected_lu: float) -> None:
    """The loudness range of stepped tones is theirs within 1 LU."""
    found = measure_loudness(tones([(level, 20) for level in levels]), 48000)
    assert found.range_lu == pytest.approx(expected_lu, abs=1)


def programme(sample_rate: int) -> Floats:
    """Twenty seconds of noise bursts of changing level, no two alike."""
    samples = noise(20 * sample_rate, 2, level=0.2, seed=11)
    time_s = np.arange(samples.shape[1]) / sample_rate
    return (samples * (0.02 + np.abs(np.sin(0.7 * time_s)) ** 3)).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [44100, 48000, 96000])
def test_an_independent_meter_agrees(sample_rate: int) -> None:
    """A peer, pyloudnorm, gives the same integrated loudness within 0.05 LU and the same range within 0.5 LU.

    Its range is computed on other hops and its filters differ slightly away from 48 kHz.
    """
    samples = programme(sample_rate)
    found = measure_loudness(samples, sample_rate)
    peer = pyloudnorm.Meter(sample_rate, filter_class="DeMan")
    assert found.integrated_lufs == pytest.approx(peer.integrated_loudness(samples.T), abs=0.05)
    assert found.range_lu == pytest.approx(peer.loudness_range(samples.T), abs=0.5)


@pytest.mark.parametrize("block", [1_000, 4_801, 100_000])
def test_the_figures_depend_on_no_chunking(block: int) -> None:
    """Blocks of any size give exactly the same record, bit for bit."""
    samples = programme(48000)[:, :200_003]
    meter = LoudnessMeter(48000, 2)
    for start in range(0, samples.shape[1], block):
        meter.push(samples[:, start : start + block])
    assert meter.result() == measure_loudness(samples, 48000)


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.0])
def test_a_gain_is_foreseen(gain: float) -> None:
    """The figures foretold for a gain are those of the sound with that gain, gates and all, within 1e-4 dB.

    Quiet parts pass the absolute gate or do not, so a gain is more than so many dB added to a figure; what
    is left is the rounding of 32-bit samples.
    """
    samples = tones([(-50, 10), (-68, 10)]).astype(np.float32)
    meter = LoudnessMeter(48000, 2)
    meter.push(samples)
    foretold, found = meter.result(gain), measure_loudness(samples * np.float32(gain), 48000)
    for name in ("integrated_lufs", "range_lu", "true_peak_dbtp", "sample_peak_dbfs", "rms_dbfs"):
        assert getattr(foretold, name) == pytest.approx(getattr(found, name), abs=1e-4)
    assert (found.range_lu > 10) == (gain >= 1)  # the quieter half passes the gate, or does not


def test_silence_has_no_loudness() -> None:
    """Digital silence is minus infinity everywhere, without a warning."""
    found = measure_loudness(silence(2), 48000)
    assert found.is_silent
    assert found.true_peak_dbtp == found.sample_peak_dbfs == found.rms_dbfs == -math.inf
    assert found.range_lu == 0


def test_short_sounds_are_measured_without_gates_and_say_so() -> None:
    """Below 0.4 s the K-weighted RMS stands in, on the same scale."""
    found = measure_loudness(tones([(-23, 0.3)]), 48000)
    assert not found.is_gated
    assert found.integrated_lufs == pytest.approx(-23, abs=0.1)
    assert measure_loudness(tones([(-23, 0.4)]), 48000).is_gated
    assert LoudnessMeter(48000, 1).result() == Loudness(
        integrated_lufs=-math.inf, momentary_max_lufs=-math.inf, short_term_max_lufs=-math.inf, range_lu=0,
        true_peak_dbtp=-math.inf, sample_peak_dbfs=-math.inf, rms_dbfs=-math.inf, is_gated=False,
    )  # fmt: skip


def test_peak_and_rms_are_plain() -> None:
    """A full-scale sine has a sample peak of 0 dBFS and an RMS of -3.01 dBFS."""
    found = measure_loudness(sine(1000, 1.0), 48000)
    assert found.sample_peak_dbfs == pytest.approx(0, abs=1e-3)
    assert found.rms_dbfs == pytest.approx(-3.01, abs=0.01)
