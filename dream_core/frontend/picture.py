"""Log-mel patches as pictures, for networks that learnt to see.

A loud place is bright and silence is black; what the three colours show is a choice, see
:func:`make_pictures`. Pictures keep the order of sound,
``(n, 3, time, mels)`` with low notes first. A network that wants them upright (low notes at the bottom, time
from left to right) turns its kernels instead, once, so that its layers are in that order too.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["Planes", "make_pictures"]

Planes = Literal["grey", "first", "octaves"]
"""What the three colours of a picture show."""

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


def make_pictures(patches: Tensor, silence: float, planes: Planes = "grey") -> Tensor:
    """Make pictures of log-mel patches: 0 is digital silence, 1 is 8 nats (69 dB) above, 1.2 the brightest.

    Args:
        patches: Log-mel patches, natural logarithm.
        silence: The value of a band in digital silence.
        planes: ``grey`` shows the same in all three colours, ``first`` leaves the other two black,
            ``octaves`` shows three transforms that stand side by side in the patches' last axis.

    Shape:
        ``(n, frames, mels)``, three times as many mels for ``octaves`` -> ``(n, 3, frames, mels)``; where it
        is grey, the three channels are the same memory.

    >>> make_pictures(torch.full((1, 2, 2), 4.0), 0.0)[0, :, 0, 0]
    tensor([0.5000, 0.5000, 0.5000])
    >>> make_pictures(torch.full((1, 2, 2), 4.0), 0.0, "first")[0, :, 0, 0]
    tensor([0.5000, 0.0000, 0.0000])
    """
    brightness: Tensor = _Limit.apply((patches - silence) / _NATS_TO_WHITE, 0.0, _BRIGHTEST)
    if planes == "octaves":
        coloured: Tensor = brightness.unflatten(2, (3, -1)).movedim(2, 1)
        return coloured
    if planes == "first":
        return torch.nn.functional.pad(brightness.unsqueeze(1), (0, 0, 0, 0, 0, 2))
    return brightness.unsqueeze(1).expand(-1, 3, -1, -1)
