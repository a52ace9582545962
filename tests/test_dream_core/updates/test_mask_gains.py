"""Gains on a spectrum: as loud as before; and written-out derivatives are the derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dream_core.dsp.stft import (
    bin_frequencies_hz,
    istft,
    istft_gradient,
    k_weighting,
    rfft_magnitudes,
    soft_band,
    stft,
)
from dream_core.updates.mask_gains import GAIN_BOUND, Gains

N_FFT, HOP, N_SAMPLES = 256, 64, 2000


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gains(n_rows: int, *, keeps_energy: bool = True, high_hz: Tensor | None = None) -> Gains:
    """Gains on noise, in a band of hard edges or of a soft one that moves."""
    frequencies_hz = bin_frequencies_hz(N_FFT, 44100, torch.device("cpu"))[:, None]
    if high_hz is None:
        weights = ((frequencies_hz > 300.0) & (frequencies_hz < 9000.0)).to(torch.float64)[None]
    else:
        weights = soft_band(frequencies_hz, 300.0, high_hz).to(torch.float64)
    loudness = weights * k_weighting(frequencies_hz).to(torch.float64)
    spectrum = stft(random(3, n_rows, N_SAMPLES), N_FFT, HOP)
    return Gains(
        spectrum=spectrum,
        weights=weights,
        loudness=loudness,
        power=loudness * spectrum.abs().square().sum(dim=1),
        n_fft=N_FFT,
        hop_samples=HOP,
        n_samples=N_SAMPLES,
        bin_hz=44100 / N_FFT,
        keeps_energy=keeps_energy,
    )


@pytest.mark.parametrize("n_samples", [2000, 2047, 2048])
def test_the_gradient_of_the_inverse_transform_is_its_adjoint(n_samples: int) -> None:
    heard = random(2, n_samples, seed=1)
    gradient = istft_gradient(heard, N_FFT, HOP)
    step = torch.complex(random(*gradient.shape, seed=2), random(*gradient.shape, seed=3))

    along = (gradient.conj() * step).real.sum()
    expected = (heard * istft(step, N_FFT, HOP, n_samples)).sum()

    # 1e-9: two sums of ten thousand products in double precision.
    torch.testing.assert_close(along, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n_frame", "n_fft"), [(12, 12), (9, 16), (11, 11), (16, 9)])
def test_magnitudes_differentiate(n_frame: int, n_fft: int) -> None:
    """Finite differences agree, for frames as long as the transform, shorter and longer."""
    frames = random(3, n_frame).requires_grad_(True)

    assert torch.autograd.gradcheck(lambda x: rfft_magnitudes(x, n_fft), frames)


@pytest.mark.parametrize("keeps_energy", [True, False])
@pytest.mark.parametrize("n_rows", [1, 2])
def test_a_gradient_comes_back_as_automatic_differentiation_brings_it(
    n_rows: int, keeps_energy: bool
) -> None:
    moving_hz = torch.linspace(2000.0, 15000.0, 1 + N_SAMPLES // HOP)[None, None]
    those = gains(n_rows, keeps_energy=keeps_energy, high_hz=moving_hz)
    u = random(3, N_FFT // 2 + 1, 1 + N_SAMPLES // HOP, seed=2).requires_grad_(True)
    lost = 0.1 * random(3, 1, 1 + N_SAMPLES // HOP, seed=3)
    heard = random(3, n_rows, N_SAMPLES, seed=4)

    change = those.change(those.log_gain(u) + those.weights * lost)
    (expected,) = torch.autograd.grad((change * heard).sum(), u)

    torch.testing.assert_close(those.backward(heard, u.detach(), lost), expected, atol=1e-9, rtol=1e-9)


def test_gains_are_bounded_and_leave_every_frame_as_loud() -> None:
    those = gains(2)
    u = 20.0 * random(3, N_FFT // 2 + 1, 1 + N_SAMPLES // HOP, seed=5)

    log_gain = those.log_gain(u)

    after = (those.power * torch.exp(2.0 * log_gain)).sum(dim=1)
    torch.testing.assert_close(after, those.power.sum(dim=1), rtol=1e-9, atol=0)
    assert (log_gain.amax(dim=1) - log_gain.amin(dim=1)).max() <= 2.0 * GAIN_BOUND
    assert bool((log_gain * (those.weights == 0) == 0).all())


def test_flat_gains_change_nothing_at_all() -> None:
    those = gains(1)

    flat = torch.zeros(3, N_FFT // 2 + 1, 1 + N_SAMPLES // HOP, dtype=torch.float64)

    assert not those.change(those.log_gain(flat)).any()


def test_what_overlapping_frames_lose_is_made_up_for() -> None:
    those = gains(1)
    log_gain = those.log_gain(3.0 * random(3, N_FFT // 2 + 1, 1 + N_SAMPLES // HOP, seed=6))
    sound = random(3, 1, N_SAMPLES)

    def apart(log_gain: Tensor) -> float:
        heard = stft(sound + those.change(log_gain), N_FFT, HOP)
        after = (those.loudness * heard.abs().square().sum(dim=1)).sum(dim=1)
        return float(torch.log(after / those.power.sum(dim=1)).abs().mean())

    lost = those.overlap_loss(log_gain, torch.zeros_like(sound))
    assert apart(log_gain + those.weights * lost) < 0.3 * apart(log_gain)


def test_flat_gains_lose_nothing() -> None:
    those = gains(2)
    flat = torch.zeros(3, N_FFT // 2 + 1, 1 + N_SAMPLES // HOP, dtype=torch.float64)

    # 1e-12: a power by another formula.
    assert those.overlap_loss(flat, torch.zeros(3, 2, N_SAMPLES, dtype=torch.float64)).abs().max() < 1e-12
