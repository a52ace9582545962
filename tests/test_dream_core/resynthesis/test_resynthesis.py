"""Mel bands to magnitudes, magnitudes to sound, magnitudes to the earliest filter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.optimize import nnls

from dream_core.frontend.log_mel import mel_filterbank
from dream_core.resynthesis.griffin_lim import griffin_lim, spectral_convergence_db
from dream_core.resynthesis.mel_inversion import mel_to_magnitude
from dream_core.resynthesis.minimum_phase import minimum_phase

KEYS = Path(__file__).parents[3] / "examples" / "song" / "keys.flac"


def keys(seconds: float) -> torch.Tensor:
    sound, rate = soundfile.read(KEYS, dtype="float32", always_2d=True)
    return torch.from_numpy(sound.T[:1, : round(seconds * rate)].copy())


def magnitudes(sound: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    window = torch.hann_window(n_fft)
    return torch.stft(sound, n_fft, hop, window=window, pad_mode="constant", return_complex=True).abs()


def test_magnitudes_of_a_real_sound_become_it_from_any_phase() -> None:
    """64 turns from random phases come within -20 dB of the magnitudes, closer than without momentum."""
    sound = keys(2.0)
    wanted = magnitudes(sound, 2048, 512)
    reached = {
        momentum: spectral_convergence_db(
            griffin_lim(wanted, 2048, 512, sound.shape[1], n_iterations=64, momentum=momentum),
            wanted,
            2048,
            512,
        )
        for momentum in (0.99, 0.0)
    }

    assert reached[0.99] <= -20.0
    assert reached[0.99] < reached[0.0] - 3.0


def test_the_right_phase_gives_the_sound_back() -> None:
    """Magnitudes with their own phases are the sound itself, with a window shorter than its frames too."""
    sound, window = keys(0.5), torch.hann_window(400)
    spectrum = torch.stft(sound, 512, 160, 400, window, center=True, pad_mode="constant", return_complex=True)
    made = griffin_lim(
        spectrum.abs(), 512, 160, sound.shape[1], window_samples=400, n_iterations=1, phase=spectrum.angle()
    )

    # The last samples lie where only the skirt of the last frame is.
    inside = slice(0, sound.shape[1] - 200)
    torch.testing.assert_close(made[:, inside], sound[:, inside], atol=1e-4, rtol=0)


def test_seeds_choose_the_phase() -> None:
    sound = keys(0.3)
    wanted = magnitudes(sound, 512, 128)
    one, again, other = (
        griffin_lim(wanted, 512, 128, sound.shape[1], n_iterations=2, seed=seed) for seed in (1, 1, 2)
    )

    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("n_mels", "mel"), [(64, "htk"), (96, "slaney")])
def test_inverted_bands_are_the_bands(n_mels: int, mel: str) -> None:
    """The magnitudes found have the bands of a real sound to -40 dB, none is below 0, none lies outside."""
    bank = mel_filterbank(n_mels, 1024, 22050, 60.0, 10000.0, torch.float32, mel)  # type: ignore[arg-type]
    bands = magnitudes(keys(1.0), 1024, 256)[0].T @ bank
    found = mel_to_magnitude(bands, bank)
    error = torch.linalg.norm(found @ bank - bands) / torch.linalg.norm(bands)

    assert 20 * float(torch.log10(error)) <= -40.0
    assert float(found.min()) >= 0.0
    assert not found[:, bank.sum(dim=1) == 0].any()


def test_inversion_is_nearly_as_good_as_the_best_there_is() -> None:
    """Of bands that no spectrum has, an active-set solver's answer is at most a hundredth of them nearer."""
    rng = np.random.default_rng(0)
    bank = mel_filterbank(40, 512, 16000, 60.0, 7800.0)
    bands = torch.from_numpy(rng.uniform(0.0, 1.0, (3, 40)))
    found = mel_to_magnitude(bands, bank, n_iterations=400)
    for row, magnitude in zip(bands, found, strict=True):
        _, least = nnls(bank.T.numpy(), row.numpy())
        error = float(torch.linalg.norm(magnitude @ bank - row))
        assert error <= least + 0.01 * float(torch.linalg.norm(row))


def test_a_filter_whose_zeros_lie_inside_is_found_from_its_magnitudes() -> None:
    """Such a filter is the earliest of its magnitudes; turned round in time it has the same, and is late."""
    taps = np.poly([0.6, -0.5, 0.7j, -0.7j, 0.3 + 0.4j, 0.3 - 0.4j]).real
    for given in (taps, taps[::-1].copy()):
        magnitude = torch.fft.rfft(torch.from_numpy(given), n=512).abs()
        found = torch.fft.irfft(minimum_phase(magnitude), n=512)[: len(taps)].numpy()
        # The cepstrum falls by 0.7 a sample: nothing is left of it at half the transform.
        np.testing.assert_allclose(found, taps, atol=1e-9)
