"""What a network hears: waveform -> log-mel patches, differentiable down to the waveform.

The resampler is part of the front end, so a gradient reaches the waveform at its full rate and only the
change made by a dream is ever band-limited, never the sound.

Conventions: waveforms are ``(batch, samples)``; log-mel is ``(batch, frames, mels)``; patches are
``(batch, patches, frames, mels)``. Frames start at sample 0 and are not centred: frame ``i`` hears samples
``i * hop .. i * hop + window``, and zeros are added after the sound until its last sample is heard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dream_core.dsp.framing import cut_frames
from dream_core.dsp.stft import rfft_magnitudes

__all__ = ["FrontendSpec", "LogMel", "mel_filterbank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSpec:
    """The numbers that define a log-mel front end; the rate alone gives a usual one.

    Args:
        sample_rate: Hz, the network's own rate.
        window_samples: Length of the Hann window; 0 takes 25 ms.
        hop_samples: From one frame to the next; 0 takes 10 ms.
        n_fft: Length of the transform; frames are zero-padded at their end to it; 0 takes the next
            power of two.
        n_mels: Bands.
        f_min_hz: Lower edge of the lowest band.
        f_max_hz: Upper edge of the highest band; 0 takes half the rate.
        log_offset: Added before the logarithm: ``log(mel + log_offset)``.
        patch_frames: Length of what the network looks at.
        patch_hop_frames: From one patch to the next, by default; 0 takes half a patch.

    >>> spec = FrontendSpec(sample_rate=16000)
    >>> spec.window_samples, spec.hop_samples, spec.n_fft, spec.f_max_hz, spec.patch_hop_frames
    (400, 160, 512, 8000.0, 48)
    """

    sample_rate: int
    window_samples: int = 0
    hop_samples: int = 0
    n_fft: int = 0
    n_mels: int = 64
    f_min_hz: float = 60.0
    f_max_hz: float = 0.0
    log_offset: float = 0.01
    patch_frames: int = 96
    patch_hop_frames: int = 0

    def __post_init__(self) -> None:
        window_samples = self.window_samples or max(1, self.sample_rate // 40)
        usual: dict[str, float] = {
            "window_samples": window_samples,
            "hop_samples": max(1, self.sample_rate // 100),
            "n_fft": 1 << (window_samples - 1).bit_length(),
            "f_max_hz": self.sample_rate / 2.0,
            "patch_hop_frames": max(1, self.patch_frames // 2),
        }
        for name, value in usual.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)  # the class is frozen once it is made

    @property
    def patch_samples(self) -> int:
        """Samples one patch hears, at the network's rate."""
        return (self.patch_frames - 1) * self.hop_samples + self.window_samples

    def n_frames(self, n_samples: int) -> int:
        """Frames it takes to hear every sample of a sound."""
        return 1 + math.ceil(max(0, n_samples - self.window_samples) / self.hop_samples)


def _hz_to_mel(frequency_hz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(frequency_hz / 700.0)


def mel_filterbank(
    n_mels: int,
    n_fft: int,
    sample_rate: int,
    f_min_hz: float,
    f_max_hz: float,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Build HTK mel triangles, linear in mel, without area normalisation, the DC bin left out.

    Source:
        ``tf.signal.linear_to_mel_weight_matrix``; O'Shaughnessy 1987 for the scale.

    Shape:
        Returns ``(n_fft // 2 + 1, n_mels)``.

    >>> mel_filterbank(4, 512, 16000, 125.0, 7500.0).shape
    torch.Size([257, 4])
    """
    bins_hz = torch.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1, dtype=torch.float64)[1:]
    bins_mel = _hz_to_mel(bins_hz)[:, None]
    limits = _hz_to_mel(torch.tensor([f_min_hz, f_max_hz], dtype=torch.float64))
    edges = torch.linspace(float(limits[0]), float(limits[1]), n_mels + 2, dtype=torch.float64)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins_mel - lower) / (centre - lower)
    falling = (upper - bins_mel) / (upper - centre)
    weights = torch.clamp(torch.minimum(rising, falling), min=0.0)
    return nn.functional.pad(weights, (0, 0, 1, 0)).to(dtype)


class LogMel(nn.Module):
    """Turn waveforms at the network's rate into log-mel frames.

    Shape:
        ``(batch, samples)`` -> ``(batch, frames, mels)``, with ``spec.n_frames(samples)`` frames: zeros are
        added at the end until the last sample is heard.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, spec: FrontendSpec, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.spec = spec
        # TensorFlow's periodic Hann is periodic only for even lengths.
        is_even = spec.window_samples % 2 == 0
        window = torch.hann_window(spec.window_samples, periodic=is_even, dtype=torch.float64)
        self.register_buffer("window", window.to(dtype), persistent=False)
        bank = mel_filterbank(spec.n_mels, spec.n_fft, spec.sample_rate, spec.f_min_hz, spec.f_max_hz, dtype)
        self.register_buffer("filterbank", bank, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel frames of waveforms at the network's rate."""
        spec = self.spec
        n_samples = waveform.shape[-1]
        n_whole = (spec.n_frames(n_samples) - 1) * spec.hop_samples + spec.window_samples
        waveform = nn.functional.pad(waveform, (0, n_whole - n_samples))
        frames = cut_frames(waveform, spec.window_samples, spec.hop_samples) * self.window
        return torch.log(rfft_magnitudes(frames, spec.n_fft) @ self.filterbank + spec.log_offset)
