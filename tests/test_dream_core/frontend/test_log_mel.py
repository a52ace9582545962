"""The log-mel front end against slow twins and physics; the patch grid against its promises."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchaudio.functional as taf
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_core.dsp.resample import resample
from dream_core.frontend.log_mel import FrontendSpec, LogMel, mel_filterbank
from dream_core.frontend.patches import slice_patches

SPEC = FrontendSpec(
    sample_rate=8000,
    window_samples=200,
    hop_samples=80,
    n_fft=256,
    n_mels=20,
    f_min_hz=100.0,
    f_max_hz=3800.0,
    log_offset=0.01,
    patch_frames=8,
    patch_hop_frames=4,
)


def slow_filterbank(n_mels: int, n_fft: int, rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """HTK triangles, one weight at a time."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1.0 + hz / 700.0)

    edges = np.linspace(mel(low_hz), mel(high_hz), n_mels + 2)
    bank = np.zeros((n_fft // 2 + 1, n_mels))
    for bin_index in range(1, n_fft // 2 + 1):
        at = mel(bin_index * rate / n_fft)
        for band in range(n_mels):
            left, centre, right = edges[band : band + 3]
            bank[bin_index, band] = max(
                0.0, min((at - left) / (centre - left), (right - at) / (right - centre))
            )
    return bank


def slow_log_mel(waveform: np.ndarray, spec: FrontendSpec) -> np.ndarray:
    """Log-mel by a plain loop over frames and NumPy's transform."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window_samples) / spec.window_samples)
    bank = slow_filterbank(spec.n_mels, spec.n_fft, spec.sample_rate, spec.f_min_hz, spec.f_max_hz)
    frames = []
    start = 0
    while not frames or start + spec.window_samples - spec.hop_samples < len(waveform):
        piece = np.zeros(spec.n_fft)
        heard = waveform[start : start + spec.window_samples]
        piece[: len(heard)] = heard * window[: len(heard)]
        frames.append(np.log(np.abs(np.fft.rfft(piece)) @ bank + spec.log_offset))
        start += spec.hop_samples
    return np.array(frames)


def test_filterbank_equals_a_slow_twin() -> None:
    expected = slow_filterbank(20, 256, 8000, 100.0, 3800.0)

    bank = mel_filterbank(20, 256, 8000, 100.0, 3800.0).numpy()

    np.testing.assert_allclose(bank, expected, atol=1e-12)


@pytest.mark.parametrize("n_samples", [1, 199, 200, 201, 280, 281, 1234])
def test_log_mel_equals_a_slow_twin_at_every_kind_of_length(n_samples: int) -> None:
    waveform = np.random.default_rng(n_samples).normal(size=n_samples)

    log_mel = LogMel(SPEC, torch.float64)(torch.from_numpy(waveform)[None])[0].numpy()

    np.testing.assert_allclose(log_mel, slow_log_mel(waveform, SPEC), atol=1e-11)
    assert len(log_mel) == SPEC.n_frames(n_samples)


@pytest.mark.parametrize(("low_hz", "high_hz"), [(0.0, 8000.0), (1500.0, 7000.0)])
def test_slaneys_filterbank_is_torchaudios(low_hz: float, high_hz: float) -> None:
    # torchaudio's is made in float32; the highest weight is 0.03.
    expected = taf.melscale_fbanks(257, low_hz, high_hz, 96, 16000, norm="slaney", mel_scale="slaney")

    bank = mel_filterbank(96, 512, 16000, low_hz, high_hz, mel="slaney")

    np.testing.assert_allclose(bank.numpy(), expected.numpy(), atol=5e-7)


CENTRED = replace(SPEC, mel="slaney", power=2, centred=True, compress="log10", log_offset=1e-4)


def slow_centred(waveform: np.ndarray, n_frames: int) -> np.ndarray:
    """Powers in Slaney's bands by a plain loop; frame ``i`` has its middle at sample ``i * hop``."""
    n_window = CENTRED.window_samples
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_window) / n_window)
    bank = mel_filterbank(20, 256, 8000, 100.0, 3800.0, mel="slaney").numpy()
    padded = np.concatenate([np.zeros(n_window), waveform, np.zeros(2 * n_window)])
    frames = []
    for middle in range(0, n_frames * CENTRED.hop_samples, CENTRED.hop_samples):
        start = n_window + middle - n_window // 2
        spectrum = np.fft.rfft(padded[start : start + n_window] * window, CENTRED.n_fft)
        frames.append(np.log10(10000.0 * (np.abs(spectrum) ** 2 @ bank) + 1.0))
    return np.array(frames)


@pytest.mark.parametrize("n_samples", [1, 99, 100, 101, 180, 181, 1234])
def test_centred_frames_equal_a_slow_twin_and_hear_every_sample(n_samples: int) -> None:
    waveform = np.random.default_rng(n_samples).normal(size=n_samples)
    n_frames = CENTRED.n_frames(n_samples)

    log_mel = LogMel(CENTRED, torch.float64)(torch.from_numpy(waveform)[None])[0].numpy()

    np.testing.assert_allclose(log_mel, slow_centred(waveform, n_frames), atol=1e-11)
    last = (n_frames - 1) * CENTRED.hop_samples + CENTRED.window_samples // 2
    assert last - CENTRED.hop_samples < max(n_samples, CENTRED.window_samples // 2) <= last
    assert CENTRED.n_frames(CENTRED.patch_samples) == CENTRED.patch_frames


@pytest.mark.parametrize("spec", [SPEC, CENTRED], ids=["log", "log10"])
def test_bands_come_back_from_their_logarithm(spec: FrontendSpec) -> None:
    bands = torch.tensor([0.0, 1e-6, 0.3, 50.0], dtype=torch.float64)

    log_mel = spec.compressed(bands)

    torch.testing.assert_close(spec.bands_in(log_mel), bands, rtol=1e-9, atol=1e-15)
    assert float(log_mel[0]) == spec.silence


@pytest.mark.parametrize("frequency_hz", [300.0, 1000.0, 2900.0])
def test_a_sine_is_loudest_in_the_band_that_holds_it(frequency_hz: float) -> None:
    time_s = torch.arange(1600, dtype=torch.float64) / SPEC.sample_rate
    bank = mel_filterbank(20, 256, 8000, 100.0, 3800.0)
    nearest_bin = round(frequency_hz * SPEC.n_fft / SPEC.sample_rate)

    log_mel = LogMel(SPEC, torch.float64)(torch.sin(2 * torch.pi * frequency_hz * time_s)[None])

    loudest = int(log_mel[0, 5].argmax())
    assert abs(loudest - int(bank[nearest_bin].argmax())) <= 1


def test_odd_windows_are_symmetric_as_tensorflow_makes_them() -> None:
    odd = FrontendSpec(**{**{f: getattr(SPEC, f) for f in SPEC.__slots__}, "window_samples": 201})

    window = LogMel(odd, torch.float64).window

    torch.testing.assert_close(window, window.flip(0), rtol=0, atol=1e-12)


def test_silence_has_a_gradient_and_it_is_zero() -> None:
    waveform = torch.zeros(1, 1000, requires_grad=True)

    LogMel(SPEC)(waveform).sum().backward()

    assert waveform.grad is not None
    assert (waveform.grad == 0).all()


@pytest.mark.parametrize("spec", [SPEC, CENTRED], ids=["log", "log10"])
def test_log_mel_gradient_equals_finite_differences(spec: FrontendSpec) -> None:
    waveform = torch.randn(1, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel(spec, torch.float64)

    # 1e-4: central differences of step 1e-6 leave that much of a logarithm's curvature.
    assert torch.autograd.gradcheck(log_mel, waveform.requires_grad_(), atol=1e-4, fast_mode=True)


grids = st.tuples(st.integers(1, 200), st.integers(1, 40), st.integers(1, 40)).filter(lambda g: g[2] <= g[1])


@settings(deadline=None, max_examples=200)
@given(grids, st.integers(0, 100))
def test_every_offset_gives_as_many_patches_and_hears_every_frame(
    grid: tuple[int, int, int], offset: int
) -> None:
    n_frames, patch_frames, hop_frames = grid
    frames = torch.arange(1.0, n_frames + 1.0).reshape(1, n_frames, 1)

    plain = slice_patches(frames, patch_frames, hop_frames, fill=0.0)
    moved = slice_patches(frames, patch_frames, hop_frames, offset, fill=0.0)

    assert moved.shape == plain.shape == (1, plain.shape[1], patch_frames, 1)
    assert set(moved.flatten().tolist()) - {0.0} == set(range(1, n_frames + 1))
    for patch in moved[0, :, :, 0]:
        heard = patch[patch > 0]
        assert torch.equal(heard.diff(), torch.ones(len(heard) - 1))  # frames stay in order, none skipped


@settings(deadline=None)
@given(grids)
def test_offset_zero_is_the_plain_grid(grid: tuple[int, int, int]) -> None:
    n_frames, patch_frames, hop_frames = grid
    frames = torch.arange(1.0, n_frames + 1.0).reshape(1, n_frames, 1)

    patches = slice_patches(frames, patch_frames, hop_frames, fill=0.0)

    starts = torch.arange(patches.shape[1]) * hop_frames
    assert torch.equal(patches[0, :, 0, 0], (starts + 1.0) * (starts < n_frames))


def test_offsets_move_the_grid_over_a_whole_hop() -> None:
    frames = torch.arange(1.0, 401.0).reshape(1, 400, 1)

    second_starts = {int(slice_patches(frames, 96, 48, offset, fill=0.0)[0, 1, 0, 0]) for offset in range(96)}

    assert second_starts == set(range(2, 50))


def test_resampling_to_the_same_rate_returns_the_very_tensor() -> None:
    waveform = torch.randn(2, 100)

    assert resample(waveform, 48000, 48000) is waveform


def test_resampling_keeps_a_tone_below_the_new_band_and_kills_one_above() -> None:
    time_s = torch.arange(44100, dtype=torch.float64) / 44100

    def rms_after(frequency_hz: float) -> float:
        tone = torch.sin(2 * torch.pi * frequency_hz * time_s)
        return float(resample(tone, 44100, 22050)[2000:-2000].square().mean().sqrt())

    assert rms_after(5000.0) == pytest.approx(math.sqrt(0.5), rel=1e-3)
    # A Hann-windowed sinc of 16 zero crossings is 60 dB down beyond its transition band.
    assert rms_after(14000.0) < 1e-3


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44100, 22050), (48000, 16000), (22050, 44100)])
@pytest.mark.parametrize("n_samples", [1, 333, 5000])
def test_resampling_in_blocks_is_torchaudios(from_rate: int, to_rate: int, n_samples: int) -> None:
    """Blocks times a matrix are the same sums, forward and backward, at any length."""
    x = torch.randn(2, n_samples, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_(True)
    expected = taf.resample(x, from_rate, to_rate, lowpass_filter_width=16)
    weight = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    ours = resample(x, from_rate, to_rate)

    torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)
    gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, expected)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=0)


def test_rates_without_a_simple_ratio_are_heard_in_tune_and_soon() -> None:
    """44056 Hz, as pull-downs leave it, would need filters of a gigabyte; a tone stays in tune without."""
    n_samples, rate = 44056, 44056
    tone = torch.sin(2 * math.pi * 1000.0 * torch.arange(n_samples) / rate)[None]

    start = time.process_time()
    heard = resample(tone, rate, 22050)[0].double()
    took_s = time.process_time() - start

    expected = torch.sin(2 * math.pi * 1000.0 * torch.arange(len(heard), dtype=torch.float64) / 22050)
    assert abs(len(heard) - 22050) <= 1
    # A millionth of a second's 6283 radians, and what a sinc of 16 zeros leaves.
    assert float((heard - expected)[100:-100].abs().max()) < 0.01
    assert took_s < 5.0
