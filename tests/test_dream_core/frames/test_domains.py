"""Frames: exact both ways, against another way to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from dream_core.frames.domains import DOMAINS, compand, decode, encode, expand, reach_samples


def noise(n_samples: int = 4096) -> torch.Tensor:
    return torch.randn(2, n_samples, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("frame_samples", [64, 512])
@pytest.mark.parametrize("domain", DOMAINS)
def test_frames_give_the_sound_back(domain: str, frame_samples: int) -> None:
    """In double precision, wherever every sample is heard as often as it shall be."""
    sound = noise()
    again = decode(encode(sound, domain, frame_samples), domain, frame_samples)  # type: ignore[arg-type]

    assert again.shape == sound.shape
    edge = reach_samples(domain, frame_samples) - frame_samples  # type: ignore[arg-type]
    inner = slice(edge, sound.shape[1] - edge)
    torch.testing.assert_close(again[:, inner], sound[:, inner], atol=1e-12, rtol=0)


def test_the_edges_of_an_mdct_alias_without_silence_around() -> None:
    """What cancels in the middle has nothing to cancel it at the ends: the test above looks where it must."""
    sound = noise()
    again = decode(encode(sound, "mdct", 512), "mdct", 512)

    assert (again - sound)[:, :512].abs().max() > 0.1


def test_the_mdct_is_a_folded_cosine_transform() -> None:
    """Windowed, its four quarters folded into two, then SciPy's DCT-IV: the textbook's other way."""
    n = 64
    sound = noise(2 * n)
    window = np.sin(np.pi * (np.arange(2 * n) + 0.5) / (2 * n))
    a, b, c, d = np.split(sound.numpy() * window, 4, axis=1)
    folded = np.concatenate([-c[:, ::-1] - d, a - b[:, ::-1]], axis=1)

    wanted = scipy.fft.dct(folded, type=4, norm="ortho")

    np.testing.assert_allclose(encode(sound, "mdct", n)[:, 0].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("domain", ["mdct", "time"])
def test_frames_keep_the_energy(domain: str) -> None:
    """A sound with silence around it has in its frames what it has in its samples."""
    sound = torch.nn.functional.pad(noise(), (512, 512))

    energy = encode(sound, domain, 512).square().sum()  # type: ignore[arg-type]

    assert float(energy) == pytest.approx(float(sound.square().sum()), rel=1e-12)


def test_companding_can_be_undone() -> None:
    values = torch.linspace(-30, 30, 601, dtype=torch.float64)

    torch.testing.assert_close(expand(compand(values)), values, atol=1e-12, rtol=1e-12)
    assert (compand(values).diff() > 0).all()
