"""What `notes` looks at: a constant-Q transform of nine octaves in decibels, and its harmonics side by side.

Every octave is heard with the same 36 kernels: the sound is halved in rate again and again, and the kernels
step half as many samples each time, so that all octaves have the same frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dream_core.dsp.framing import cut_frames

__all__ = [
    "BINS_PER_OCTAVE",
    "HARMONICS",
    "HOP_SAMPLES",
    "KERNEL_SAMPLES",
    "N_BINS",
    "ConstantQ",
    "HarmonicStack",
    "NormalisedLog",
]

BINS_PER_OCTAVE = 36
"""Three to a semitone."""

N_BINS = 309
"""From 27.5 Hz upwards: as many semitones as lie below half the sample rate."""

N_OCTAVES = math.ceil(N_BINS / BINS_PER_OCTAVE)
HOP_SAMPLES = 256
KERNEL_SAMPLES = 256
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7)
_POWER_FLOOR = 1e-10
_BLOCK_SAMPLES = 128


class ConstantQ(nn.Module):
    """Power of a sound in the bins of a constant-Q transform.

    The published graph takes the root of it and squares that again; without the root the numbers are the same
    and silence has a gradient, which is zero.

    Shape:
        ``(n, samples)`` -> ``(n, 1, 1 + samples // 256, 309)``.

    Source:
        Brown 1991; Schörkhuber and Klapuri 2010 for octave by octave; nnAudio's ``CQT2010v2`` (MIT), whose
        kernels and lowpass the published file holds.
    """

    real: Tensor
    imaginary: Tensor
    lowpass: Tensor
    gain: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("real", torch.zeros(BINS_PER_OCTAVE, KERNEL_SAMPLES))
        self.register_buffer("imaginary", torch.zeros(BINS_PER_OCTAVE, KERNEL_SAMPLES))
        self.register_buffer("lowpass", torch.zeros(KERNEL_SAMPLES))
        self.register_buffer("gain", torch.zeros(N_BINS))

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the power of each frame's bins, from the lowest upwards."""
        kernels = torch.cat([self.real, self.imaginary]).T
        octaves: list[Tensor] = []
        for index in range(N_OCTAVES):
            if index:
                waveform = _halve_rate(waveform, self.lowpass)
            frames = cut_frames(_reflected(waveform), KERNEL_SAMPLES, HOP_SAMPLES >> index)
            octaves.append(frames @ kernels)
        bins = [octave.unflatten(2, (2, BINS_PER_OCTAVE)) for octave in reversed(octaves)]
        # The lowest octave goes below the lowest note.
        spectrum = torch.cat(bins, dim=3)[..., -N_BINS:] * self.gain
        return spectrum.square().sum(dim=2)[:, None]


def _halve_rate(waveform: Tensor, lowpass: Tensor) -> Tensor:
    """Return every second sample of the lowpassed sound.

    There are 127 zeros on both sides, as published; a kernel of even length is then half a sample early.
    Many samples are made at a time, as one product: Torch's strided convolutions of one channel took half the
    time of a whole step, most of it on the way back.

    Shape:
        ``(n, samples)`` -> ``(n, samples // 2)``.
    """
    n_taps, lead = len(lowpass), (len(lowpass) - 1) // 2
    n_outputs = waveform.shape[1] // 2
    n_blocks = math.ceil(n_outputs / _BLOCK_SAMPLES)
    n_heard = 2 * _BLOCK_SAMPLES + n_taps - 2
    # Row i is the kernel moved by 2 i: rows two shorter than what is repeated each begin two further on.
    period = nn.functional.pad(lowpass, (0, n_heard + 2 - n_taps))
    rows = period.repeat(_BLOCK_SAMPLES)[: _BLOCK_SAMPLES * n_heard].view(_BLOCK_SAMPLES, n_heard)
    n_padded = 2 * _BLOCK_SAMPLES * (n_blocks - 1) + n_heard
    padded = nn.functional.pad(waveform, (lead, n_padded - lead - waveform.shape[1]))
    blocks = cut_frames(padded, n_heard, 2 * _BLOCK_SAMPLES) @ rows.T
    return blocks.flatten(1)[:, :n_outputs]


def _reflected(waveform: Tensor) -> Tensor:
    """Mirror half a kernel at both ends; Torch's own padding adds gradients in no fixed order on a GPU."""
    half = KERNEL_SAMPLES // 2
    before, after = waveform[:, 1 : half + 1], waveform[:, -half - 1 : -1]
    return torch.cat([before.flip(1), waveform, after.flip(1)], dim=1)


class NormalisedLog(nn.Module):
    """Decibels of each item's powers, its quietest bin at 0 and its loudest at 1; silence is 0 throughout.

    On the way back the quietest bin's level is taken as given. One bin among 53,148, near nothing, has no
    musical sense, and yet its gradient is up to a hundred times as large as all others' together: with it,
    thirty steps of plain ascent took a note on a chord from 0.10 to 0.12, without it to 0.29.

    Shape:
        ``(n, 1, time, frequency)`` -> the same.
    """

    def forward(self, power: Tensor) -> Tensor:
        """Return the levels."""
        level = 10.0 * torch.log10(power + _POWER_FLOOR)
        above = level - level.detach().amin(dim=(1, 2, 3), keepdim=True)
        span = above.amax(dim=(1, 2, 3), keepdim=True)
        # Where all is equally loud `above` is 0: any divisor will do, and this one has a finite gradient.
        return above / torch.where(span > 0.0, span, torch.ones_like(span))


class HarmonicStack(nn.Module):
    """Put each bin's harmonics beside it: channel ``i`` is the spectrum moved down by ``HARMONICS[i]``.

    Args:
        n_bins: How many bins are kept, from the lowest.

    Shape:
        ``(n, 1, time, frequency)`` -> ``(n, 8, time, n_bins)``; what lies beyond the spectrum is 0.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, n_bins: int) -> None:
        super().__init__()
        self.n_bins = n_bins
        self.steps = tuple(round(BINS_PER_OCTAVE * math.log2(harmonic)) for harmonic in HARMONICS)
        # Batch normalisation, one number each.
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("shift", torch.zeros(1))

    def forward(self, levels: Tensor) -> Tensor:
        """Return the normalised levels of every bin's harmonics."""
        x = levels * self.scale + self.shift
        return torch.cat([_moved_down(x, step)[..., : self.n_bins] for step in self.steps], dim=1)


def _moved_down(x: Tensor, step: int) -> Tensor:
    """Return bins that begin at number `step` of x's, as many as x has."""
    return nn.functional.pad(x, (-step, step))
