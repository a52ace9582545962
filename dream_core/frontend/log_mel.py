"""What a network hears: waveform -> log-mel patches, differentiable down to the waveform.

The resampler is part of the front end, so a gradient reaches the waveform at its full rate and only the
change made by a dream is ever band-limited, never the sound.

Conventions: waveforms are ``(batch, samples)``; log-mel is ``(batch, frames, mels)``; patches are
``(batch, patches, frames, mels)``. Frame ``i`` hears samples ``i * hop .. i * hop + window``; where frames
are centred, half a window earlier. Zeros stand before the sound, and after it until its last sample is heard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dream_core.dsp.framing import cut_frames
from dream_core.dsp.stft import rfft_magnitudes

__all__ = ["FrontendSpec", "LogMel", "MelScale", "mel_filterbank"]

MelScale = Literal["htk", "slaney", "octave"]
"""Scale and shape of the bands, see :func:`mel_filterbank`."""


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
        log_offset: Added before the logarithm.
        patch_frames: Length of what the network looks at.
        patch_hop_frames: From one patch to the next, by default; 0 takes half a patch.
        mel: Scale and shape of the bands, see :func:`mel_filterbank`.
        power: What the bands add up: 1 magnitudes, 2 their squares.
        centred: Whether frame ``i`` has its middle at sample ``i * hop``, or its start.
        compress: ``log`` is ``log(band + log_offset)``, ``log10`` is ``log10(band / log_offset + 1)``,
            ``none`` the band itself.

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
    mel: MelScale = "htk"
    power: Literal[1, 2] = 1
    centred: bool = False
    compress: Literal["log", "log10", "none"] = "log"

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
    def lead_samples(self) -> int:
        """How long before a sound its first frame begins."""
        return self.window_samples // 2 if self.centred else 0

    @property
    def patch_samples(self) -> int:
        """Samples of a sound its first patch hears, at the network's rate."""
        return (self.patch_frames - 1) * self.hop_samples + self.window_samples - self.lead_samples

    @property
    def silence(self) -> float:
        """The value of every band in digital silence."""
        return math.log(self.log_offset) if self.compress == "log" else 0.0

    def n_frames(self, n_samples: int) -> int:
        """Frames it takes to hear every sample of a sound."""
        first = self.window_samples - self.lead_samples
        return 1 + math.ceil(max(0, n_samples - first) / self.hop_samples)

    def compressed(self, bands: Tensor) -> Tensor:
        """Return the logarithm of bands, or bands as they are."""
        if self.compress == "none":
            return bands
        if self.compress == "log":
            return torch.log(bands + self.log_offset)
        return torch.log10(bands / self.log_offset + 1.0)

    def bands_in(self, log_mel: Tensor) -> Tensor:
        """Return the bands whose logarithms are given; none is below 0."""
        if self.compress == "none":
            return log_mel.clamp(min=0.0)
        if self.compress == "log":
            return (log_mel.exp() - self.log_offset).clamp(min=0.0)
        return (self.log_offset * torch.expm1(math.log(10.0) * log_mel)).clamp(min=0.0)


def _hz_to_mel(frequency_hz: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(frequency_hz / 700.0)


def mel_filterbank(
    n_mels: int,
    n_fft: int,
    sample_rate: int,
    f_min_hz: float,
    f_max_hz: float,
    dtype: torch.dtype = torch.float64,
    mel: MelScale = "htk",
) -> Tensor:
    """Build triangles along frequency: mel, HTK's or Slaney's, or as many in every octave.

    HTK's are linear in mel, reach 1 and leave the DC bin out. Slaney's are linear in hertz, and each has an
    area of 1 Hz. Those of ``octave`` are linear in hertz and reach 1; where they would be narrower than the
    transform resolves, each is as wide as a bin on both sides, so that none is empty.

    Source:
        ``tf.signal.linear_to_mel_weight_matrix``; O'Shaughnessy 1987 for the scale. Slaney 1998, "Auditory
        Toolbox", which is linear up to 1 kHz; ``librosa.filters.mel``.

    Shape:
        Returns ``(n_fft // 2 + 1, n_mels)``.

    >>> mel_filterbank(4, 512, 16000, 125.0, 7500.0).shape
    torch.Size([257, 4])
    """
    if mel == "slaney":
        return _slaney_filterbank(n_mels, n_fft, sample_rate, f_min_hz, f_max_hz).to(dtype)
    if mel == "octave":
        return _octave_filterbank(n_mels, n_fft, sample_rate, f_min_hz, f_max_hz).to(dtype)
    bins_hz = torch.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1, dtype=torch.float64)[1:]
    bins_mel = _hz_to_mel(bins_hz)[:, None]
    limits = _hz_to_mel(torch.tensor([f_min_hz, f_max_hz], dtype=torch.float64))
    edges = torch.linspace(float(limits[0]), float(limits[1]), n_mels + 2, dtype=torch.float64)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins_mel - lower) / (centre - lower)
    falling = (upper - bins_mel) / (upper - centre)
    weights = torch.clamp(torch.minimum(rising, falling), min=0.0)
    return nn.functional.pad(weights, (0, 0, 1, 0)).to(dtype)


def _slaney_filterbank(n_mels: int, n_fft: int, sample_rate: int, f_min_hz: float, f_max_hz: float) -> Tensor:
    # Three mel in 200 Hz up to 1 kHz; from there 27 mel are a factor of 6.4.
    corner_hz, corner_mel, mels_per_nat = 1000.0, 15.0, 27.0 / math.log(6.4)

    def mel_of(hz: float) -> float:
        return 0.015 * hz if hz < corner_hz else corner_mel + mels_per_nat * math.log(hz / corner_hz)

    mels = torch.linspace(mel_of(f_min_hz), mel_of(f_max_hz), n_mels + 2, dtype=torch.float64)
    above_hz = corner_hz * torch.exp((mels - corner_mel) / mels_per_nat)
    edges_hz = torch.where(mels < corner_mel, mels / 0.015, above_hz)
    bins_hz = torch.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    return torch.clamp(torch.minimum(rising, falling), min=0.0) * (2.0 / (upper - lower))


def _octave_filterbank(n_mels: int, n_fft: int, sample_rate: int, f_min_hz: float, f_max_hz: float) -> Tensor:
    edges_hz = f_min_hz * (f_max_hz / f_min_hz) ** torch.linspace(0.0, 1.0, n_mels + 2, dtype=torch.float64)
    bins_hz = torch.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    bin_hz = sample_rate / n_fft
    rising = 1.0 - (centre - bins_hz) / (centre - lower).clamp(min=bin_hz)
    falling = 1.0 - (bins_hz - centre) / (upper - centre).clamp(min=bin_hz)
    return torch.clamp(torch.minimum(rising, falling), min=0.0)


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
        bank = mel_filterbank(
            spec.n_mels, spec.n_fft, spec.sample_rate, spec.f_min_hz, spec.f_max_hz, dtype, spec.mel
        )
        self.register_buffer("filterbank", bank, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel frames of waveforms at the network's rate."""
        spec = self.spec
        n_samples = waveform.shape[-1]
        n_whole = (spec.n_frames(n_samples) - 1) * spec.hop_samples + spec.window_samples
        lead = spec.lead_samples
        waveform = nn.functional.pad(waveform, (lead, n_whole - lead - n_samples))
        frames = cut_frames(waveform, spec.window_samples, spec.hop_samples) * self.window
        spectrum = rfft_magnitudes(frames, spec.n_fft)
        if spec.power == 2:
            spectrum = spectrum.square()
        return spec.compressed(spectrum @ self.filterbank)
