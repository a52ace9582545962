"""The short-time Fourier transform and its exact inverse, for windows of sound.

Conventions: ``(..., samples)`` <-> ``(..., bins, frames)`` complex; periodic Hann on both sides; frames are
centred, the first on sample 0, with silence beyond both ends, so that every sample is covered and
``istft(stft(x))`` is ``x`` to rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dream_core.dsp.framing import cut_frames, overlap_add

__all__ = [
    "bin_frequencies_hz",
    "istft",
    "istft_gradient",
    "k_weighting",
    "rfft_magnitudes",
    "soft_band",
    "stft",
]


def stft(waveform: Tensor, n_fft: int, hop_samples: int) -> Tensor:
    """Return the short-time spectrum of waveforms.

    Shape:
        ``(..., samples)`` -> ``(..., n_fft // 2 + 1, 1 + samples // hop)``.
    """
    padded = nn.functional.pad(waveform, (n_fft // 2, n_fft // 2))
    frames = cut_frames(padded, n_fft, hop_samples) * _window(waveform, n_fft)
    spectrum: Tensor = torch.fft.rfft(frames)
    return spectrum.transpose(-1, -2)


def istft(spectrum: Tensor, n_fft: int, hop_samples: int, n_samples: int) -> Tensor:
    """Return the waveform of short-time spectra, divided by the sum of squared windows.

    Shape:
        ``(..., bins, frames)`` -> ``(..., n_samples)``.

    Source:
        Griffin and Lim 1984, eq. 6: the signal whose spectrum is nearest in the least-squares sense.
    """
    window = _window(spectrum.real, n_fft)
    frames = torch.fft.irfft(spectrum.transpose(-1, -2), n=n_fft) * window
    n_frames = frames.shape[-2]
    padded_samples = n_samples + n_fft
    weight = _overlap_weight(n_fft, hop_samples, n_frames, padded_samples, window.dtype, window.device)
    waveform = overlap_add(frames, hop_samples, padded_samples) / weight
    return waveform[..., n_fft // 2 : n_fft // 2 + n_samples]


def istft_gradient(gradient: Tensor, n_fft: int, hop_samples: int) -> Tensor:
    """Return the gradient with respect to short-time spectra, given the one with respect to their waveform.

    :func:`istft` is linear; this is its adjoint. A spectrum ``dZ`` further on, the objective is higher by
    the sum of ``Re(conj(G) dZ)``.

    Shape:
        ``(..., samples)`` -> ``(..., bins, frames)``.
    """
    n_samples, n_frames = gradient.shape[-1], 1 + gradient.shape[-1] // hop_samples
    weight = _overlap_weight(
        n_fft, hop_samples, n_frames, n_samples + n_fft, gradient.dtype, gradient.device
    )[n_fft // 2 : n_fft // 2 + n_samples]
    spectrum = stft(gradient * (2.0 / n_fft / weight), n_fft, hop_samples)
    # Bins between the first and the last count twice, once for their mirror image.
    spectrum[..., 0, :] *= 0.5
    spectrum[..., -1, :] *= 0.5
    return spectrum


class _Magnitude(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, frames: Tensor, n_fft: int) -> Tensor:
        spectrum = torch.fft.rfft(frames, n=n_fft)
        magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square())
        ctx.n_fft, ctx.frame_samples = n_fft, frames.shape[-1]
        ctx.save_for_backward(spectrum, magnitude)
        return magnitude

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        spectrum, magnitude = ctx.saved_tensors
        scale = torch.where(magnitude > 0, gradients[0] / magnitude, 0.0) * (0.5 * ctx.n_fft)
        # The inverse counts the bins between the first and the last twice, once for their mirror image.
        scale[..., 0] *= 2.0
        if ctx.n_fft % 2 == 0:
            scale[..., -1] *= 2.0
        gradient = torch.fft.irfft(spectrum * scale, n=ctx.n_fft)
        return nn.functional.pad(gradient, (0, ctx.frame_samples - ctx.n_fft)), None


def rfft_magnitudes(frames: Tensor, n_fft: int) -> Tensor:
    """Return the magnitudes of frames' spectra, differentiable in silence too, where the gradient is zero.

    On the way back half a spectrum is enough, as on the way here; Torch's own derivative fills up a whole
    one, and that of ``|z|`` is not a number where ``z`` is zero.

    Shape:
        ``(..., frame)`` -> ``(..., n_fft // 2 + 1)``.
    """
    magnitudes: Tensor = _Magnitude.apply(frames, n_fft)
    return magnitudes


@lru_cache(maxsize=16)
def _overlap_weight(
    n_fft: int, hop_samples: int, n_frames: int, n_samples: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the sum of squared windows; nearly every window of a sound has the same length."""
    with torch.inference_mode(False):  # what is kept must serve gradients too, whoever asks first
        squares = torch.hann_window(n_fft, dtype=dtype, device=device).square()
        return torch.clamp(overlap_add(squares.expand(n_frames, -1), hop_samples, n_samples), min=1e-8)


def _window(like: Tensor, n_fft: int) -> Tensor:
    return torch.hann_window(n_fft, dtype=like.dtype, device=like.device)


def bin_frequencies_hz(n_fft: int, sample_rate: float, device: torch.device) -> Tensor:
    """Return the centre frequency of every bin."""
    return torch.arange(n_fft // 2 + 1, device=device, dtype=torch.float32) * (sample_rate / n_fft)


def k_weighting(frequencies_hz: Tensor) -> Tensor:
    """Return how much the power at each frequency counts for loudness.

    Source:
        ITU-R BS.1770-4, its two filters as analogue prototypes; De Man 2018, "Evaluation of implementations
        of the EBU R128 loudness measurement".
    """

    def response(f0_hz: float, q: float, gains: tuple[float, float, float]) -> Tensor:
        w = frequencies_hz / f0_hz
        low, middle, high = gains
        above = (low - high * w.square()).square() + (middle * w / q).square()
        return above / ((1.0 - w.square()).square() + (w / q).square())

    shelf_gain = 10.0 ** (3.99984385397 / 20.0)
    shelf = response(1681.9744509555, 0.7071752369554, (1.0, shelf_gain**0.499666774155, shelf_gain))
    return shelf * response(38.13547087613982, 0.5003270373253953, (0.0, 0.0, 1.0))


def soft_band(
    frequencies_hz: Tensor,
    low_hz: float | Tensor,
    high_hz: float | Tensor,
    transition_octaves: float = 1 / 6,
) -> Tensor:
    """Return how much of each frequency belongs to a band: 1 inside, 0 outside, a cosine between.

    The transition lies inside the band, so that nothing outside ``low_hz .. high_hz`` is touched at all.

    >>> soft_band(torch.tensor([50.0, 100.0, 1000.0, 9000.0]), 100.0, 8000.0).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    octaves = torch.log2(torch.clamp(frequencies_hz, min=1e-3))

    def rise(distance_octaves: Tensor) -> Tensor:
        x = torch.clamp(distance_octaves / transition_octaves, 0.0, 1.0)
        return 0.5 - 0.5 * torch.cos(torch.pi * x)

    def octave_of(edge_hz: float | Tensor) -> Tensor:
        edges = torch.as_tensor(edge_hz, dtype=octaves.dtype, device=octaves.device)
        return torch.log2(torch.clamp(edges, min=1e-6))

    return rise(octaves - octave_of(low_hz)) * rise(octave_of(high_hz) - octaves)
