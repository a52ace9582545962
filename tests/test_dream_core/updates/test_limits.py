"""What a dream is held to: the balance of thirds of an octave, peaks, and the sound around its windows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from dream_core import DreamSettings, dream, load_network
from dream_core.updates.envelope_guard import peak_guard

RATE = 22050


def noise(seconds: float = 4.0) -> np.ndarray:
    """Pink noise: every third of an octave has a level of its own, none speaks for its neighbour."""
    white = np.random.default_rng(0).standard_normal(round(seconds * RATE))
    spectrum = np.fft.rfft(white) / np.sqrt(np.arange(len(white) // 2 + 1) + 30.0)
    pink = np.fft.irfft(spectrum, len(white))
    return (0.05 * pink / pink.std()).astype(np.float32)[None]


def drift_db(dreamed: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """How far thirds of an octave moved over two seconds in the middle, those within 40 dB of the loudest."""
    middle = slice(RATE, 3 * RATE)
    hz = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    edges = 50.0 * 2.0 ** (np.arange(23) / 3)

    def thirds(x: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(x[0, middle] * np.hanning(2 * RATE))) ** 2
        return np.array([power[(hz >= a) & (hz < b)].sum() for a, b in pairwise(edges)])

    before, after = thirds(sound), thirds(dreamed)
    heard = before > 1e-4 * before.max()
    return np.abs(10 * np.log10(after[heard] / before[heard]))


@pytest.mark.parametrize(("balance", "most_db"), [(0.44, 6.0), (1.0, 1.0)])
def test_thirds_of_an_octave_stay_within_what_the_balance_says(balance: float, most_db: float) -> None:
    """Nine in ten within half a decibel, all within three: bands overlap, low thirds are few bins."""
    sound, network = noise(), load_network("timbre")
    settings = DreamSettings(objective="class:brass", step=2.0, n_fft=8192, balance=0.0)
    free = dream(sound, RATE, network, settings, 8.0)
    held = dream(sound, RATE, network, replace(settings, balance=balance), 8.0)

    drift = drift_db(held, sound)
    assert drift_db(free, sound).max() > most_db + 2.0
    assert np.percentile(drift, 90) <= most_db + 0.5
    assert drift.max() <= most_db + 3.0


def test_a_change_stays_below_a_share_of_the_peaks_near_by() -> None:
    """Wherever it is guarded, and nothing is turned down that is below."""
    generator = torch.Generator().manual_seed(0)
    original = 0.1 * torch.randn(1, 2, 8000, generator=generator)
    change = 0.02 * torch.randn(1, 2, 8000, generator=generator)
    change[..., 4000] = 5.0
    gain = peak_guard(original, change, 0.5, RATE)
    reach = round(0.022 * RATE)
    near = torch.nn.functional.max_pool1d(original.abs().amax(dim=1), 2 * reach + 1, 1, padding=reach)

    assert bool(((change * gain).abs().amax(dim=1) <= 0.5 * near + 1e-6).all())
    far = torch.arange(8000).sub(4000).abs() > 0.01 * RATE
    torch.testing.assert_close(gain[0, 0, far], torch.ones(int(far.sum())))


def test_a_peak_guard_bounds_the_crest_of_a_dreamt_attack() -> None:
    """Clicks are dreamed with half their own peak at most."""
    sound = np.zeros((1, 3 * RATE), np.float32)
    burst = np.exp(-np.arange(2000) / 300) * np.random.default_rng(0).standard_normal(2000)
    for start in range(RATE // 8, 3 * RATE - 4000, RATE // 4):
        sound[0, start : start + 2000] += (0.1 * burst).astype(np.float32)
    network, settings = load_network("timbre"), DreamSettings(objective="class:brass", step=3.0)
    free = dream(sound, RATE, network, settings, 8.0)
    held = dream(sound, RATE, network, replace(settings, peak_guard=0.3), 8.0)

    assert np.abs(held - sound).max() <= 0.3 * np.abs(sound).max() + 1e-6
    assert np.abs(free - sound).max() > 0.4 * np.abs(sound).max()


@pytest.mark.parametrize("update", ["mask", "add"])
def test_a_window_is_dreamed_as_its_middle_would_be(update: str) -> None:
    """With the sound around it, a first step near a window's edge is that of one window over all.

    The mask's state is its own in every window, and so are the fixed levels steps are scaled by; what is left
    is a fraction of what it is without context.
    """
    sound, network = noise(6.0), load_network("timbre")
    base = DreamSettings(
        objective="layer:block3",
        update=update,
        jitter=False,
        patch_hop=8,
        fade_s=0.05,
        balance=0.0,
        motion=1.0,
    )
    whole = dream(sound, RATE, network, replace(base, window_s=7.0), 1.0) - sound

    def error_at_edges(*, context: bool) -> float:
        parts = dream(sound, RATE, network, replace(base, window_s=2.0, context=context), 1.0) - sound
        hop = round(2.0 * RATE) - round(0.05 * RATE)
        near = [slice(n * hop - RATE // 5, n * hop + RATE // 5) for n in (1, 2)]
        return float(np.mean([np.abs(parts[0, at] - whole[0, at]).mean() for at in near]))

    assert error_at_edges(context=True) < 0.5 * error_at_edges(context=False)
