"""A run of convolutions and their ReLUs as one step, with a gradient to the input alone.

On a CPU much of a small network's time goes into moving activations, not into arithmetic. oneDNN applies the
ReLU while a result is still in a register, takes a 1x1 convolution as the matrix product it is, and the way
back works in place, on gradients that are nobody else's. The weights of a network that dreams are fixed: they
get no gradient.

TensorFlow pads a strided convolution of even length by one zero after the end, which oneDNN is not told
through Torch. Read from the end to the start, the zero comes first, and there is one on each side as usual:
so a run turns its input over, and its kernels, and needs no padded copies.

The operators are Torch's own and not promised to anybody. Before they are used they are tried once against
the plain way; where they are gone or do something else, `can_fuse` says so and networks do without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["can_fuse", "conv_relus"]

_KIND: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}
"""What is fused, whatever Torch's defaults are set to."""


def can_fuse(x: Tensor, n_halvings: int) -> bool:
    """Say whether `conv_relus` can compute on this input.

    Args:
        x: ``(n, channels, height, width)``; float32 on a CPU that oneDNN knows.
        n_halvings: Strided convolutions; each must find an even height and width.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    return not any(length % 2**n_halvings for length in x.shape[2:]) and _are_operators_sound()


def conv_relus(x: Tensor, convolutions: Sequence[nn.Conv2d]) -> Tensor:
    """Return ``relu(convolution(.. relu(convolution(x))))``.

    Args:
        x: ``(n, channels, height, width)`` as `can_fuse` accepts it.
        convolutions: 1x1, or 3x3 with "same" padding as TensorFlow has it. Their weights are taken as fixed.
    """
    if not convolutions:
        return x
    result: Tensor = _Run.apply(x, convolutions)
    return result


@cache
def _are_operators_sound() -> bool:
    """Say whether this Torch has the operators, and whether they compute what they should."""
    if not torch.backends.mkldnn.is_available():
        return False
    with torch.inference_mode(False), torch.enable_grad():
        # One of each kind there is: the first, depthwise ones of both strides, and pointwise.
        run = [_trial(1, 2, 3, stride=2), _trial(2, 2, 3, padding=1, groups=2)]
        run += [_trial(2, 2, 1), _trial(2, 2, 3, stride=2, groups=2)]
        x = torch.linspace(-1.0, 1.0, 256, **_KIND).sin().view(1, 1, 16, 16)
        fused, plain = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
        expected: Tensor = plain
        for convolution in run:
            if convolution.stride == (2, 2):
                expected = nn.functional.pad(expected, (0, 1, 0, 1))
            expected = convolution(expected).relu()
        (expected_gradient,) = torch.autograd.grad(expected.square().sum(), plain)
        try:
            found = conv_relus(fused, run)
            (gradient,) = torch.autograd.grad(found.square().sum(), fused)
        except (AttributeError, RuntimeError, TypeError):
            return False
        # A few dozen products of numbers near one, in float32.
        is_same = partial(torch.allclose, rtol=1e-4, atol=1e-4)
        return is_same(found, expected) and is_same(gradient, expected_gradient)


def _trial(*shape: int, **options: int) -> nn.Conv2d:
    """Return a convolution with fixed weights; nothing is drawn from Torch's own generator."""
    convolution: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, *shape, **options, **_KIND)
    weight = convolution.weight.requires_grad_(False)
    weight.copy_(torch.linspace(-1.0, 2.0, weight.numel(), **_KIND).view_as(weight))
    if convolution.bias is not None:
        convolution.bias.requires_grad_(False).fill_(0.25)
    return convolution


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, convolutions: Sequence[nn.Conv2d]) -> Tensor:
        sounds = [_turned(x)]
        for convolution in convolutions:
            sounds.append(_forward(sounds[-1], convolution))
        ctx.convolutions = convolutions
        ctx.save_for_backward(*sounds)
        return _turned(sounds[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = _turned(gradients[0])
        steps = zip(ctx.convolutions, ctx.saved_tensors[:-1], ctx.saved_tensors[1:], strict=True)
        for convolution, before, after in reversed(list(steps)):
            torch.ops.aten.threshold_backward.grad_input(gradient, after, 0, grad_input=gradient)
            gradient = _backward(gradient, before, convolution)
        return _turned(gradient), None


def _turned(x: Tensor) -> Tensor:
    """Return a copy from the end to the start in time and in frequency, channels last in memory."""
    return x.flip(2, 3).contiguous(memory_format=torch.channels_last)


def _forward(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    weight, bias = convolution.weight.detach(), convolution.bias
    if convolution.kernel_size == (1, 1):
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.permute(0, 2, 3, 1), weight.flatten(1), bias, "relu", [], ""
        )
        return product.permute(0, 3, 1, 2)
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight.flip(2, 3), bias, (1, 1), convolution.stride, (1, 1), convolution.groups, "relu", [], ""
    )
    return result


def _backward(gradient: Tensor, before: Tensor, convolution: nn.Conv2d) -> Tensor:
    weight = convolution.weight.detach()
    if convolution.kernel_size == (1, 1):
        return (gradient.permute(0, 2, 3, 1) @ weight.flatten(1)).permute(0, 3, 1, 2)
    if before.shape[1] == 1:
        return _backward_to_one(gradient, before, weight.flip(2, 3), convolution.stride[0])
    to_input, *_ = torch.ops.aten.convolution_backward(
        gradient,
        before,
        weight.flip(2, 3),
        None,
        convolution.stride,
        (1, 1),
        (1, 1),
        False,
        [0, 0],
        convolution.groups,
        [True, False, False],
    )
    return torch.as_tensor(to_input)


def _backward_to_one(gradient: Tensor, before: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient to an input of one channel, which oneDNN is slow at: a product, laid together."""
    n, _, height, width = before.shape
    taps = gradient.permute(0, 2, 3, 1) @ weight.flatten(1)
    rows, columns = gradient.shape[2:]
    padded = gradient.new_zeros(n, height + 2, width + 2)
    for index in range(taps.shape[-1]):
        row, column = divmod(index, 3)
        into = padded[:, row : row + stride * rows : stride, column : column + stride * columns : stride]
        into += taps[..., index]
    return padded[:, None, 1:-1, 1:-1]
