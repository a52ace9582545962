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
from fractions import Fraction
from functools import lru_cache

import torch
import torchaudio.functional as taf
from torch import Tensor, nn

from dream_core.framing import cut_frames
from dream_core.spectral import rfft_magnitudes

__all__ = ["FrontendSpec", "LogMel", "mel_filterbank", "resample", "slice_patches"]

_SINC_ZEROS = 16
_BLOCK_SAMPLES = 64  # of output that are worked out together
_LARGEST_PART = 1280  # of a ratio of rates, on average: filters grow with the product of its two parts


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


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample with a windowed sinc, differentiable; the same rate returns the very tensor.

    The filter is torchaudio's. Where few outputs share a pattern, blocks of samples times a matrix give the
    sums of its convolution, and their gradient three times sooner. Rates without a ratio in small numbers, as
    44056 Hz after a pull-down, are taken to the nearest that has one: at most 0.2 cents off.

    Shape:
        ``(..., samples)`` -> ``(..., ceil(samples * ratio))``.
    """
    if from_rate == to_rate:
        return waveform
    n_out, n_in = _ratio(to_rate, from_rate)
    if n_out >= _BLOCK_SAMPLES:
        resampled: Tensor = taf.resample(waveform, n_in, n_out, lowpass_filter_width=_SINC_ZEROS)
        return resampled
    n_blocks = math.ceil(_BLOCK_SAMPLES / n_out)
    matrix = _resampling_matrix(n_in, n_out, n_blocks, waveform.dtype, waveform.device)
    hop = n_in * n_blocks
    margin = (len(matrix) - hop) // 2
    n_samples = waveform.shape[-1]
    n_frames = math.ceil(n_samples / hop)
    padded = nn.functional.pad(waveform, (margin, n_frames * hop + margin - n_samples))
    blocks = cut_frames(padded, len(matrix), hop) @ matrix
    return blocks.flatten(-2)[..., : math.ceil(n_samples * n_out / n_in)]


def _ratio(numerator: int, denominator: int) -> tuple[int, int]:
    """Return a ratio in small numbers: exact for the rates that studios use.

    >>> _ratio(22050, 44100), _ratio(16000, 44100)
    ((1, 2), (160, 441))
    """
    small, large = sorted((numerator, denominator))
    near = Fraction(small, large)
    if near.numerator * near.denominator > _LARGEST_PART**2:
        near = near.limit_denominator(_LARGEST_PART)
    parts = near.numerator, near.denominator
    return parts if numerator < denominator else parts[::-1]


@lru_cache(maxsize=16)
def _resampling_matrix(
    n_in: int, n_out: int, n_blocks: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return what each sample of a block, and of a margin on both sides, adds to the block's output.

    Shape:
        ``(n_blocks * n_in + 2 margins, n_blocks * n_out)``.
    """
    reach = math.ceil(1.1 * _SINC_ZEROS * n_in / min(n_in, n_out))
    n_margin_blocks = math.ceil(reach / n_in)
    margin = n_margin_blocks * n_in
    first = n_margin_blocks * n_out
    with torch.inference_mode(False):  # what is kept must serve gradients too, whoever asks first
        impulses = torch.eye(n_blocks * n_in + 2 * margin, dtype=dtype, device=device)
        responses: Tensor = taf.resample(impulses, n_in, n_out, lowpass_filter_width=_SINC_ZEROS)
        return responses[:, first : first + n_blocks * n_out].contiguous()


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


def slice_patches(
    frames: Tensor,
    patch_frames: int,
    hop_frames: int,
    offset_frames: int = 0,
    *,
    fill: float,
    n_heard: int | None = None,
) -> Tensor:
    """Cut frames into patches on a grid that can be moved; every offset costs the same and hears every frame.

    The grid begins ``offset_frames`` before the first frame. Where that would leave the last frames unheard,
    the last patch alone is put so that it ends with the sound. At offset 0 this is the plain grid. Offsets
    wrap at the hop, or sooner where patches overlap too little for the grid to move so far.

    Args:
        frames: Log-mel frames.
        patch_frames: Length of a patch.
        hop_frames: From one patch to the next, at most ``patch_frames``.
        offset_frames: How far the grid is moved, any integer >= 0.
        fill: The value of frames before and after the sound: that of digital silence.
        n_heard: How many frames must be heard, all by default; those after them may be.

    Shape:
        ``(batch, frames, mels)`` -> ``(batch, patches, patch_frames, mels)``, with
        ``patches = 1 + ceil(max(0, n_heard - patch_frames) / hop_frames)``.

    >>> slice_patches(torch.zeros(1, 100, 4), 96, 48, 7, fill=0.0).shape
    torch.Size([1, 2, 96, 4])
    """
    n_frames = frames.shape[1]
    n_heard = n_frames if n_heard is None else n_heard
    n_patches = 1 + math.ceil(max(0, n_heard - patch_frames) / hop_frames)
    n_covered = (n_patches - 1) * hop_frames + patch_frames
    slack = n_covered - n_heard
    longest_lead = min(hop_frames - 1, max(slack, patch_frames - hop_frames))
    lead = offset_frames % (longest_lead + 1)
    padded = nn.functional.pad(frames, (0, 0, lead, max(0, n_covered - lead - n_frames)), value=fill)
    regular = padded[:, :n_covered].unfold(1, patch_frames, hop_frames).transpose(-1, -2)
    if lead <= slack:
        return regular
    end = lead + n_heard
    return torch.cat([regular[:, :-1], padded[:, None, end - patch_frames : end]], dim=1)
