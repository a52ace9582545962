"""A convolution and its ReLU in one pass over memory, with a gradient to the input alone.

On a CPU most of a small network's time goes into moving activations, not into arithmetic. oneDNN applies the
ReLU while a result is still in a register, and takes a 1x1 convolution as the matrix product it is, without
packing the weights anew at every call. The weights of a network that dreams are fixed: they get no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["can_fuse", "conv_relu"]


def can_fuse(x: Tensor) -> bool:
    """Say whether `conv_relu` can compute on this input: float32 on a CPU that oneDNN knows."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()


def conv_relu(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Return ``relu(convolution(x))``.

    Args:
        x: ``(n, channels, height, width)``, float32 on a CPU; fastest with channels last in memory.
        convolution: Its weights are taken as fixed.
    """
    if convolution.kernel_size == (1, 1):
        product: Tensor = _ProductRelu.apply(  # type: ignore[no-untyped-call]
            x.permute(0, 2, 3, 1), convolution.weight.flatten(1), convolution.bias
        )
        return product.permute(0, 3, 1, 2)
    result: Tensor = _ConvolutionRelu.apply(x, convolution)  # type: ignore[no-untyped-call]
    return result


class _ProductRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu", [], "")
        ctx.save_for_backward(out, weight)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        out, weight = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], out, 0) @ weight, None, None


class _ConvolutionRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, convolution: nn.Conv2d) -> Tensor:
        ctx.shape = (convolution.stride, convolution.padding, convolution.dilation)
        ctx.groups = convolution.groups
        weight = convolution.weight
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            weight,
            convolution.bias,
            convolution.padding,
            convolution.stride,
            convolution.dilation,
            convolution.groups,
            "relu",
            [],
            "",
        )
        ctx.save_for_backward(x, out, weight)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, out, weight = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradients[0], out, 0)
        to_input, *_ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, *ctx.shape, False, [0, 0], ctx.groups, [True, False, False]
        )
        return to_input, None
