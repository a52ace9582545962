"""The limiter holds the ceiling between the samples, and leaves alone what does not exceed it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.audio import noise, sine

from bridge.arrays import AudioArray
from bridge.audio.limiter import Limiter
from bridge.audio.loudness import measure_loudness


def limit(
    samples: AudioArray, ceiling_dbtp: float, sample_rate: int = 48000, block: int = 5000
) -> AudioArray:
    """Push in blocks, flush, and put together."""
    limiter = Limiter(ceiling_dbtp, sample_rate=sample_rate, n_channels=samples.shape[0])
    parts = [limiter.push(samples[:, start : start + block]) for start in range(0, samples.shape[1], block)]
    return np.concatenate([*parts, limiter.flush()], axis=1)


def bursts(sample_rate: int = 48000) -> AudioArray:
    """Four seconds of stereo noise whose bursts exceed full scale by 9 dB."""
    samples = noise(4 * sample_rate, 2, level=0.8, seed=5)
    time_s = np.arange(samples.shape[1]) / sample_rate
    return (2.8 * samples * np.exp(-((time_s % 0.7) * 12))).astype(np.float32)


@pytest.mark.parametrize("sample_rate", [44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("ceiling", [-1.0, -6.0])
def test_the_true_peak_stays_below_the_ceiling(sample_rate: int, ceiling: float) -> None:
    """Nothing between the samples exceeds the ceiling, at any rate: noise has more there than any music."""
    loud = bursts(sample_rate)
    assert measure_loudness(loud, sample_rate).true_peak_dbtp > 0
    limited = limit(loud, ceiling, sample_rate)
    assert limited.shape == loud.shape
    assert measure_loudness(limited, sample_rate).true_peak_dbtp <= ceiling
    assert measure_loudness(limited, sample_rate).true_peak_dbtp > ceiling - 1  # and no more than needed


def test_a_peak_between_samples_is_seen() -> None:
    """A sine at a quarter of the rate with its crests between samples is limited by its true peak."""
    tone = sine(12_000, 1.0, level_dbfs=3.0, phase_deg=45.0)  # its samples are at 0 dBFS
    limited = limit(tone, -1.0)
    assert measure_loudness(limited, 48_000).true_peak_dbtp <= -1.0
    assert float(np.abs(limited[:, 4800:-4800]).max()) == pytest.approx(10 ** (-4.01 / 20), rel=2e-3)


def test_what_does_not_exceed_passes_bit_for_bit() -> None:
    """A second after a peak and before its look-ahead nothing is touched; nor is a quiet sound at all."""
    quiet = noise(96_000, 2, level=0.05, seed=2)
    assert np.array_equal(limit(quiet, -1.0), quiet)
    loud = quiet.copy()
    loud[0, 40_000] = 1.5
    limited = limit(loud, -1.0)
    changed = np.flatnonzero((limited != loud).any(axis=0))
    assert 40_000 - changed[0] <= 2 * 96 + 24  # the look-ahead of 2 ms and its smoothing
    assert changed[-1] - 40_000 < 48_000
    assert abs(float(limited[0, 40_000])) <= 10 ** (-1 / 20)


def test_all_channels_turn_down_alike() -> None:
    """A peak on one side moves the other side by the same gain, so that the image stays."""
    samples = sine(500, 0.5, n_channels=2, level_dbfs=-12)
    samples[0, 12_000] = 2.0
    limited = limit(samples, -1.0)
    near = slice(11_990, 11_999)
    gains = limited[:, near] / samples[:, near]
    assert np.allclose(gains[0], gains[1], atol=1e-6)
    assert gains.max() < 0.99


@pytest.mark.parametrize("block", [1, 777, 8192, 60_000])
def test_the_result_depends_on_no_chunking(block: int) -> None:
    """Blocks of any size give the same samples, bit for bit."""
    samples = bursts()[:, : 20_000 if block == 1 else 60_000]
    assert np.array_equal(limit(samples, -3.0, block=block), limit(samples, -3.0, block=8191))


def test_the_gain_moves_smoothly() -> None:
    """Down within the look-ahead and up over the release: a steady tone beside a peak gets no click.

    The window is 96 samples long, so the gain moves by at most its highest weight, 2/97, times the reduction.
    """
    samples = np.full((1, 48_000), 0.5, np.float32)
    samples[0, 20_000] = 4.0
    limiter = Limiter(-1.0, sample_rate=48_000, n_channels=1)
    limited = np.concatenate([limiter.push(samples), limiter.flush()], axis=1)
    gain = np.delete(limited[0] / samples[0], 20_000)
    assert np.abs(np.diff(gain)).max() <= 2 / 97 * 0.8
    assert limiter.most_reduction_db == pytest.approx(20 * math.log10(4.0) + 1, abs=1.0)
