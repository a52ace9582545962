"""Convolution through the frequency domain is convolution."""

from __future__ import annotations

import pytest
import torch

from dream_core.dsp.fft_convolution import fft_conv1d


@pytest.mark.parametrize(
    ("n_samples", "kernel", "stride"),
    [(1532, 512, 4), (191, 64, 1), (64, 64, 1), (65, 64, 1), (130, 6, 3), (101, 8, 4)],
)
def test_it_is_torchs_own_and_so_is_its_gradient(n_samples: int, kernel: int, stride: int) -> None:
    """To float64's rounding, whatever is left over after the last frame."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, n_samples, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, 2, kernel, generator=generator, dtype=torch.float64)
    results = []
    for convolve in (
        lambda sound: fft_conv1d(sound, weight, stride),
        lambda sound: torch.nn.functional.conv1d(sound, weight, stride=stride),
    ):
        leaf = x.clone().requires_grad_(True)
        heard = convolve(leaf)
        heard.sin().sum().backward()
        results.append((heard.detach(), leaf.grad))
    (heard, gradient), (expected, expected_gradient) = results

    assert heard.shape == expected.shape
    assert torch.allclose(heard, expected, rtol=0, atol=1e-11)
    assert gradient is not None
    assert expected_gradient is not None
    assert torch.allclose(gradient, expected_gradient, rtol=0, atol=1e-11)
