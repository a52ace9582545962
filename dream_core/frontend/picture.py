"""Log-mel patches as pictures, for networks that learnt to see.

A loud place is bright and silence is black; the three colours are equal. Pictures keep the order of sound,
``(n, 3, time, mels)`` with low notes first. A network that wants them upright (low notes at the bottom, time
from left to right) turns its kernels instead, once, so that its layers are in that order too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["make_pictures"]

_NATS_TO_WHITE = 8.0
_BRIGHTEST = 1.2


class _Limit(torch.autograd.Function):
    """Limit values to a range; the gradient goes through as if there were no limit.

    With the true gradient, nothing, a place that is too bright could not become darker again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, least: float, most: float) -> Tensor:
        del ctx
        return x.clamp(least, most)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        del ctx
        return gradients[0], None, None


def make_pictures(patches: Tensor, silence: float) -> Tensor:
    """Make pictures of log-mel patches: 0 is digital silence, 1 is 8 nats (69 dB) above, 1.2 the brightest.

    Args:
        patches: Log-mel patches, natural logarithm.
        silence: The value of a band in digital silence.

    Shape:
        ``(n, frames, mels)`` -> ``(n, 3, frames, mels)``, the three channels the same memory.

    >>> make_pictures(torch.full((1, 2, 2), 4.0), 0.0)[0, :, 0, 0]
    tensor([0.5000, 0.5000, 0.5000])
    """
    brightness: Tensor = _Limit.apply((patches - silence) / _NATS_TO_WHITE, 0.0, _BRIGHTEST)
    return brightness.unsqueeze(1).expand(-1, 3, -1, -1)
