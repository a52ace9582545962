"""Cut sound into overlapping frames and add overlapping frames up again, fast in both directions.

The two are each other's gradient. Torch's own (``unfold``, ``istft``) scatter sample by sample in one of the
directions; here both are a few contiguous copies, one for each time a frame overlaps the next.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["cut_frames", "overlap_add"]


def _gather(waveform: Tensor, frame_samples: int, hop_samples: int) -> Tensor:
    return waveform.unfold(-1, frame_samples, hop_samples)


def _scatter(frames: Tensor, hop_samples: int, n_samples: int) -> Tensor:
    *leading, n_frames, frame_samples = frames.shape
    total = frames.new_zeros(*leading, max(n_samples, n_frames * hop_samples + frame_samples))
    for start in range(0, frame_samples, hop_samples):
        width = min(hop_samples, frame_samples - start)
        lane = total[..., start : start + n_frames * hop_samples].unflatten(-1, (n_frames, hop_samples))
        lane[..., :width] += frames[..., start : start + width]
    return total[..., :n_samples]


class _CutFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, waveform: Tensor, frame_samples: int, hop_samples: int) -> Tensor:
        ctx.hop_samples, ctx.n_samples = hop_samples, waveform.shape[-1]
        return _gather(waveform, frame_samples, hop_samples).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _scatter(gradients[0], ctx.hop_samples, ctx.n_samples), None, None


class _OverlapAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, frames: Tensor, hop_samples: int, n_samples: int) -> Tensor:
        ctx.hop_samples, ctx.shape = hop_samples, frames.shape
        return _scatter(frames, hop_samples, n_samples)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        n_frames, frame_samples = ctx.shape[-2:]
        needed = (n_frames - 1) * ctx.hop_samples + frame_samples
        gradient = gradients[0]
        if gradient.shape[-1] < needed:
            gradient = torch.nn.functional.pad(gradient, (0, needed - gradient.shape[-1]))
        return _gather(gradient[..., :needed], frame_samples, ctx.hop_samples), None, None


def cut_frames(waveform: Tensor, frame_samples: int, hop_samples: int) -> Tensor:
    """Cut waveforms into frames; the end that fills no frame is left out.

    Shape:
        ``(..., samples)`` -> ``(..., 1 + (samples - frame) // hop, frame)``.

    >>> cut_frames(torch.arange(5.0), 3, 2)
    tensor([[0., 1., 2.],
            [2., 3., 4.]])
    """
    frames: Tensor = _CutFrames.apply(waveform, frame_samples, hop_samples)
    return frames


def overlap_add(frames: Tensor, hop_samples: int, n_samples: int) -> Tensor:
    """Add frames up where they overlap; the gradient of :func:`cut_frames`.

    Shape:
        ``(..., frames, frame)`` -> ``(..., n_samples)``.

    >>> overlap_add(torch.ones(2, 3), 2, 5)
    tensor([1., 1., 2., 1., 1.])
    """
    waveform: Tensor = _OverlapAdd.apply(frames, hop_samples, n_samples)
    return waveform
