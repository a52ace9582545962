"""Sound as a row of frames, and back: the forms a recurrent network hears and says.

A frame is so many new samples as numbers that the samples are a linear map of:

- ``mdct``  a modified discrete cosine transform: frames overlap by half and are as many numbers as samples;
            what aliases in one frame cancels in the next, so joins are smooth
- ``time``  the samples themselves
- ``fft``   real and imaginary parts of the transform of the samples, side by side

Conventions: waveforms are ``(..., samples)``, frames ``(..., frames, values)``.

Sources:
    Princen and Bradley 1986, "Analysis/synthesis filter bank design based on time domain aliasing
    cancellation" (``mdct``).
    Nayebi and Vitelli 2015, "GRUV: algorithmic music generation using recurrent neural networks" (others).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from dream_core.dsp.framing import cut_frames, overlap_add

__all__ = ["DOMAINS", "Domain", "compand", "decode", "encode", "expand", "frame_values", "reach_samples"]

Domain = Literal["mdct", "time", "fft"]

DOMAINS: Final = get_args(Domain)

_COMPAND: Final = 3.0
"""How strongly large values are pressed together: ``log(1 + 3 |v|)``."""


def frame_values(domain: Domain, frame_samples: int) -> int:
    """Return how many numbers a frame is.

    >>> [frame_values(domain, 512) for domain in DOMAINS]
    [512, 512, 514]
    """
    return frame_samples + 2 if domain == "fft" else frame_samples


def reach_samples(domain: Domain, frame_samples: int) -> int:
    """Return how many samples a frame is made of: more than it is from the next where frames overlap."""
    return 2 * frame_samples if domain == "mdct" else frame_samples


def encode(waveform: Tensor, domain: Domain, frame_samples: int) -> Tensor:
    """Cut waveforms into frames, differentiable.

    The end that fills no frame is left out. With ``mdct`` the first half of the first frame and the second of
    the last are heard once only: `decode` gives those back aliased, unless silence stands there.

    Args:
        waveform: Any number of sounds.
        domain: The form of the frames.
        frame_samples: From one frame to the next.

    Shape:
        ``(..., samples)`` -> ``(..., frames, values)``.

    >>> encode(torch.zeros(1, 2048), "mdct", 512).shape
    torch.Size([1, 3, 512])
    """
    frames = cut_frames(waveform, reach_samples(domain, frame_samples), frame_samples)
    if domain == "time":
        return frames
    if domain == "fft":
        spectrum = torch.fft.rfft(frames, norm="ortho")
        return torch.cat([spectrum.real, spectrum.imag], dim=-1)
    return frames @ _mdct_matrix(frame_samples, frames)


def decode(frames: Tensor, domain: Domain, frame_samples: int) -> Tensor:
    """Make waveforms of frames: the inverse of `encode`.

    Shape:
        ``(..., frames, values)`` -> ``(..., samples)``, as many as the frames reach over.

    >>> sound = torch.rand(1, 4096)
    >>> again = decode(encode(sound, "mdct", 512), "mdct", 512)
    >>> bool((again - sound)[:, 512:-512].abs().max() < 1e-5)
    True
    """
    if domain == "time":
        return frames.flatten(-2)
    if domain == "fft":
        half = frames.shape[-1] // 2
        spectrum = torch.complex(frames[..., :half], frames[..., half:])
        samples: Tensor = torch.fft.irfft(spectrum, n=frame_samples, norm="ortho")
        return samples.flatten(-2)
    pieces = frames @ _mdct_matrix(frame_samples, frames).transpose(0, 1)
    return overlap_add(pieces, frame_samples, (frames.shape[-2] + 1) * frame_samples)


def compand(values: Tensor) -> Tensor:
    """Press large values together: ``sign(v) log(1 + 3 |v|) / log 4``; 1 stays 1.

    >>> compand(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-1.,  0.,  1.])
    """
    return values.sign() * torch.log1p(_COMPAND * values.abs()) / math.log1p(_COMPAND)


def expand(values: Tensor) -> Tensor:
    """Undo `compand`."""
    size: Tensor = torch.expm1(values.abs() * math.log1p(_COMPAND)) / _COMPAND
    return values.sign() * size


def _mdct_matrix(n: int, like: Tensor) -> Tensor:
    return _windowed_mdct(n).to(like)


@lru_cache(maxsize=4)
def _windowed_mdct(n: int) -> Tensor:
    """Return the windowed transform ``(2 n, n)``; its columns are orthonormal across overlapping frames."""
    time = torch.arange(2 * n, dtype=torch.float64)
    bins = torch.arange(n, dtype=torch.float64)
    window = torch.sin(math.pi / (2 * n) * (time + 0.5))
    phases = math.pi / n * (time[:, None] + 0.5 + n / 2) * (bins + 0.5)
    return window[:, None] * torch.cos(phases) * math.sqrt(2.0 / n)
