"""Magnitudes to a waveform: phases found by going to and fro between the two."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["griffin_lim", "spectral_convergence_db"]

_SMALL = 1e-16


def griffin_lim(
    magnitude: Tensor,
    n_fft: int,
    hop_samples: int,
    n_samples: int,
    *,
    window_samples: int = 0,
    n_iterations: int = 32,
    momentum: float = 0.99,
    phase: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """Return waveforms whose short-time magnitudes are those given, as nearly as any waveform has them.

    Args:
        magnitude: Of frames centred at every hop, the first on sample 0.
        n_fft: Length of the transform, even.
        hop_samples: From one frame to the next.
        n_samples: How long the waveforms are.
        window_samples: Length of the periodic Hann window, in the middle of each frame; 0 for all of it.
        n_iterations: How often phases are found anew.
        momentum: How far each search goes on in its direction; 0 is the plain algorithm of 1984.
        phase: In radians, where to begin; None begins anywhere.
        seed: Chooses where.

    Shape:
        ``(..., bins, frames)`` -> ``(..., n_samples)``, with ``frames = 1 + n_samples // hop``.

    Source:
        Griffin and Lim 1984, "Signal estimation from modified short-time Fourier transform"; Perraudin,
        Balazs and Sondergaard 2013, "A fast Griffin-Lim algorithm", for the momentum.
    """
    shape = magnitude.shape
    flat = magnitude.reshape(-1, *shape[-2:])
    if phase is None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(
            flat.shape[1:], generator=generator, dtype=torch.float64
        )  # alike for all waveforms
        phase = (2.0 * torch.pi * drawn).to(flat).expand_as(flat)
    spectrum = torch.polar(flat, phase.reshape_as(flat))
    transform = _Transform(n_fft, hop_samples, n_samples, window_samples or n_fft, flat)
    before = torch.zeros_like(spectrum)
    for _ in range(n_iterations):
        there = transform.forward(transform.back(spectrum))
        moved = there + momentum * (there - before)
        before = there
        spectrum = flat * moved / torch.clamp(moved.abs(), min=_SMALL)
    return transform.back(spectrum).reshape(*shape[:-2], n_samples)


def spectral_convergence_db(
    waveform: Tensor, magnitude: Tensor, n_fft: int, hop_samples: int, window_samples: int = 0
) -> float:
    """Return how far a waveform's magnitudes are from those wanted, relative to these, in dB.

    Args:
        waveform: ``(..., samples)``.
        magnitude: ``(..., bins, frames)``, as :func:`griffin_lim` takes them.
        n_fft: Length of the transform.
        hop_samples: From one frame to the next.
        window_samples: Length of the window; 0 for all of the transform.
    """
    flat = magnitude.reshape(-1, *magnitude.shape[-2:])
    transform = _Transform(n_fft, hop_samples, waveform.shape[-1], window_samples or n_fft, flat)
    there = transform.forward(waveform.reshape(-1, waveform.shape[-1])).abs()
    return float(20.0 * torch.log10(torch.linalg.norm(there - flat) / torch.linalg.norm(flat)))


class _Transform:
    """A short-time transform whose window may be shorter than its frames, and its least-squares inverse."""

    def __init__(
        self, n_fft: int, hop_samples: int, n_samples: int, window_samples: int, like: Tensor
    ) -> None:
        self._n_fft, self._hop, self._n_samples = n_fft, hop_samples, n_samples
        window = torch.hann_window(window_samples, dtype=torch.float64)
        before = (n_fft - window_samples) // 2
        self._window = nn.functional.pad(window, (before, n_fft - window_samples - before)).to(like)

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.stft(
            waveform,
            self._n_fft,
            self._hop,
            window=self._window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )

    def back(self, spectrum: Tensor) -> Tensor:
        # The last samples may lie where only the skirt of a last frame is: they have no weight to speak of.
        frames = torch.fft.irfft(spectrum, n=self._n_fft, dim=1) * self._window[:, None]
        n_whole = (frames.shape[-1] - 1) * self._hop + self._n_fft
        power = self._window.square()[:, None].expand(-1, frames.shape[-1])
        total, weight = (
            nn.functional.fold(one, (1, n_whole), (1, self._n_fft), stride=(1, self._hop)).flatten(1)
            for one in (frames, power[None])
        )
        first = self._n_fft // 2
        waveform = total / torch.clamp(weight, min=1e-3)
        short = first + self._n_samples - n_whole
        return nn.functional.pad(waveform[:, first : first + self._n_samples], (0, max(0, short)))
