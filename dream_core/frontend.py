"""What a network hears: waveform -> log-mel patches, differentiable down to the waveform.

The resampler is part of the front end, so a gradient reaches the waveform at its full rate and only the
change made by a dream is ever band-limited, never the sound.

Conventions: waveforms are ``(batch, samples)``; log-mel is ``(batch, frames, mels)``; patches are
``(batch, patches, frames, mels)``. Frames start at sample 0 and are not centred; the frame at the end is
padded with zeros, so that frame ``i`` hears samples ``i * hop .. i * hop + n_fft``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torchaudio.functional as taf
from torch import Tensor, nn

__all__ = ["FrontendSpec", "LogMel", "mel_filterbank", "resample", "slice_patches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSpec:
    """The numbers that define a log-mel front end.

    Args:
        sample_rate: Hz, the network's own rate.
        window_samples: Length of the Hann window.
        hop_samples: From one frame to the next.
        n_fft: Length of the transform; frames are zero-padded at their end to it.
        n_mels: Bands.
        f_min_hz: Lower edge of the lowest band.
        f_max_hz: Upper edge of the highest band.
        log_offset: Added before the logarithm: ``log(mel + log_offset)``.
        patch_frames: Length of what the network looks at.
        patch_hop_frames: From one patch to the next, by default.
    """

    sample_rate: int
    window_samples: int
    hop_samples: int
    n_fft: int
    n_mels: int
    f_min_hz: float
    f_max_hz: float
    log_offset: float
    patch_frames: int
    patch_hop_frames: int

    @property
    def patch_samples(self) -> int:
        """Samples one patch hears, at the network's rate."""
        return (self.patch_frames - 1) * self.hop_samples + self.window_samples


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


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample with a windowed sinc, differentiable; the same rate returns the very tensor.

    Shape:
        ``(..., samples)`` -> ``(..., ceil(samples * to_rate / from_rate))``.
    """
    if from_rate == to_rate:
        return waveform
    resampled: Tensor = taf.resample(waveform, from_rate, to_rate, lowpass_filter_width=16)
    return resampled


class LogMel(nn.Module):
    """Turn waveforms at the network's rate into log-mel frames.

    Shape:
        ``(batch, samples)`` -> ``(batch, frames, mels)``, ``frames = 1 + (samples - window) // hop``,
        one frame at least (shorter sounds are padded with zeros).
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
        bank = mel_filterbank(
            spec.n_mels, spec.n_fft, spec.sample_rate, spec.f_min_hz, spec.f_max_hz, dtype
        )
        self.register_buffer("filterbank", bank, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel frames of waveforms at the network's rate."""
        spec = self.spec
        short = spec.window_samples - waveform.shape[-1]
        if short > 0:
            waveform = nn.functional.pad(waveform, (0, short))
        frames = waveform.unfold(-1, spec.window_samples, spec.hop_samples) * self.window
        spectrum = torch.fft.rfft(frames, n=spec.n_fft)
        # The gradient of |z| at z = 0 is not a number; silence must have none.
        power = spectrum.real.square() + spectrum.imag.square()
        is_silent = power == 0
        magnitude = torch.where(is_silent, 0.0, torch.sqrt(torch.where(is_silent, 1.0, power)))
        return torch.log(magnitude @ self.filterbank + spec.log_offset)


def slice_patches(frames: Tensor, patch_frames: int, hop_frames: int, offset_frames: int = 0) -> Tensor:
    """Cut frames into patches; frames beyond the end repeat the quietest value a frame can have.

    The grid starts at ``offset_frames - hop_frames`` rounded up so that no frame is left unheard, and its
    length depends on the number of frames alone, never on the offset: every offset costs the same.

    Shape:
        ``(batch, frames, mels)`` -> ``(batch, patches, patch_frames, mels)``.

    >>> slice_patches(torch.zeros(1, 100, 4), 96, 48, 7).shape
    torch.Size([1, 3, 96, 4])
    """
    n_frames = frames.shape[1]
    n_patches = max(1, math.ceil(max(0, n_frames - patch_frames) / hop_frames) + 1)
    if hop_frames > 1:
        n_patches += 1 if n_frames > 1 else 0
    lead = offset_frames % hop_frames if hop_frames > 1 else 0
    total = (n_patches - 1) * hop_frames + patch_frames
    trail = max(0, total - lead - n_frames)
    floor = frames.detach().amin(dim=(1, 2), keepdim=True)
    padded = torch.cat(
        [
            floor.expand(-1, lead, frames.shape[2]),
            frames,
            floor.expand(-1, trail, frames.shape[2]),
        ],
        dim=1,
    )
    return padded.unfold(1, patch_frames, hop_frames)[:, :n_patches].transpose(-1, -2)
