"""A convolution fused with its ReLU is that convolution, in its result and in its gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dream_core.networks.fused import can_fuse, conv_relu

SHAPES = {
    "first": {"in_channels": 1, "out_channels": 8, "kernel_size": 3, "stride": 2},
    "depthwise": {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": 1, "groups": 8},
    "strided depthwise": {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "stride": 2, "groups": 8},
    "pointwise": {"in_channels": 8, "out_channels": 12, "kernel_size": 1},
}


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="Torch was built without oneDNN")
@pytest.mark.parametrize("name", SHAPES)
def test_fused_is_convolution_then_relu(name: str) -> None:
    """Every kind of convolution YAMNet has agrees with Torch's own in float64, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(**SHAPES[name]).requires_grad_(False)
    x = torch.randn(3, SHAPES[name]["in_channels"], 17, 12, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(True)
    exact = x.detach().double().requires_grad_(True)

    out = conv_relu(x, convolution)
    weight = torch.randn(out.shape, generator=generator)
    (gradient,) = torch.autograd.grad((out * weight).sum(), x)
    expected = convolution.double()(exact).relu()
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), exact)

    # Some seventy products of numbers near one, in float32.
    torch.testing.assert_close(out.double(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(gradient.double(), expected_gradient, atol=1e-5, rtol=0)


def test_only_what_one_dnn_computes_is_fused() -> None:
    """Double precision keeps Torch's own path."""
    assert not can_fuse(torch.zeros(1, dtype=torch.float64))
