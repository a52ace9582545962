"""Three transforms of one sound side by side: short, middle and long, for pictures in colour."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dream_core.dsp.framing import cut_frames
from dream_core.dsp.stft import rfft_magnitudes
from dream_core.frontend.log_mel import FrontendSpec, LogMel, mel_filterbank

__all__ = ["OctaveMel"]


class OctaveMel(LogMel):
    """Turn waveforms into log-mel frames seen through windows of half, once and twice a front end's length.

    All three have their middle where the front end's own window has it, so there are as many frames at the
    same times, and are zero-padded to one length, so the bands are the same. A steady tone is as loud in all
    three; what begins or ends is sharp in the first and broad in the last.

    Args:
        spec: The front end; its own window is the middle one. Frames are not centred.
        dtype: What it computes in.

    Shape:
        ``(batch, samples)`` -> ``(batch, frames, 3 * mels)``: all bands of the short window, then of the
        middle one, then of the long one.

    >>> spec = FrontendSpec(sample_rate=16000, window_samples=512, hop_samples=160, n_mels=40)
    >>> OctaveMel(spec)(torch.zeros(1, 1600)).shape
    torch.Size([1, 8, 120])
    """

    windows: Tensor

    def __init__(self, spec: FrontendSpec, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(spec, dtype)
        longest = 2 * spec.window_samples
        # Twice as many bins in each band; a tone's lobe has the same area through every window.
        bank = 0.5 * mel_filterbank(
            spec.n_mels, 2 * spec.n_fft, spec.sample_rate, spec.f_min_hz, spec.f_max_hz, mel=spec.mel
        )
        windows = torch.zeros(3, longest, dtype=torch.float64)
        for window, n_samples in zip(windows, (longest // 4, longest // 2, longest), strict=True):
            before = (longest - n_samples) // 2
            window[before : before + n_samples] = torch.hann_window(n_samples, dtype=torch.float64)
        self.register_buffer("filterbank", bank.to(dtype), persistent=False)
        self.register_buffer("windows", windows.to(dtype), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the log-mel frames of waveforms at the network's rate."""
        spec, longest = self.spec, self.windows.shape[1]
        n_samples = waveform.shape[-1]
        n_whole = (spec.n_frames(n_samples) - 1) * spec.hop_samples + longest
        before = (longest - spec.window_samples) // 2
        waveform = nn.functional.pad(waveform, (before, n_whole - before - n_samples))
        frames = cut_frames(waveform, longest, spec.hop_samples)
        bands = [rfft_magnitudes(frames * one, 2 * spec.n_fft) @ self.filterbank for one in self.windows]
        return spec.compressed(torch.cat(bands, dim=-1))
