"""A fused run of convolutions and ReLUs is those convolutions, in its result and in its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn

from dream_core.networks import fused
from dream_core.networks.fused import can_fuse, conv_relus
from dream_core.networks.yamnet import YamNet

FIRST = {"in_channels": 1, "out_channels": 8, "kernel_size": 3, "stride": 2}
DEPTHWISE = {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "padding": 1, "groups": 8}
STRIDED = {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "stride": 2, "groups": 8}
POINTWISE = {"in_channels": 8, "out_channels": 8, "kernel_size": 1}
RUNS = {
    "first": [FIRST],
    "depthwise": [DEPTHWISE],
    "strided depthwise": [STRIDED],
    "pointwise": [POINTWISE],
    "all": [FIRST, DEPTHWISE, POINTWISE, STRIDED, POINTWISE],
}


def as_published(x: Tensor, convolutions: Sequence[nn.Conv2d]) -> Tensor:
    """TensorFlow's way: a strided convolution of even length is padded by one zero after the end."""
    for convolution in convolutions:
        if convolution.stride == (2, 2):
            x = nn.functional.pad(x, (0, 1, 0, 1))
        x = convolution(x).relu()
    return x


needs_one_dnn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="Torch was built without oneDNN"
)


@needs_one_dnn
@pytest.mark.parametrize("name", RUNS)
def test_a_fused_run_is_convolution_then_relu(name: str) -> None:
    """Every kind of convolution YAMNet has agrees with Torch's own in float64, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    convolutions = [nn.Conv2d(**shape).requires_grad_(False) for shape in RUNS[name]]  # type: ignore[arg-type]
    x = torch.randn(3, convolutions[0].in_channels, 16, 12, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(True)
    exact = x.detach().double().requires_grad_(True)

    out = conv_relus(x, convolutions)
    weight = torch.randn(out.shape, generator=generator)
    kept = weight.clone()
    (gradient,) = torch.autograd.grad(out, x, weight)
    expected = as_published(exact, [convolution.double() for convolution in convolutions])
    (expected_gradient,) = torch.autograd.grad((expected * weight).sum(), exact)

    # Some seventy products of numbers near one, in float32, up to five times over.
    torch.testing.assert_close(out.double(), expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(gradient.double(), expected_gradient, atol=2e-5, rtol=0)
    assert torch.equal(weight, kept)  # the way back works in place, on what is its own


def test_only_what_one_dnn_computes_is_fused() -> None:
    """Double precision, and lengths that cannot be halved so often, keep Torch's own path."""
    assert not can_fuse(torch.zeros(1, 1, 96, 64, dtype=torch.float64), 5)
    assert not can_fuse(torch.zeros(1, 1, 95, 64), 1)
    assert not can_fuse(torch.zeros(1, 1, 48, 64), 5)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """Have the operators tried again, before and after."""
    fused._are_operators_sound.cache_clear()
    yield
    fused._are_operators_sound.cache_clear()


def gone(*_: object) -> Tensor:
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_convolution_pointwise'")


def of_other_arguments(*_: object) -> Tensor:
    raise RuntimeError("mkldnn::_convolution_pointwise() is missing value for argument 'algorithm'")


def of_other_types(*_: object) -> Tensor:
    raise TypeError("_convolution_pointwise(): argument 'bias' must be a number")


FORWARD, BACKWARD = fused._forward, fused._backward


def without_relu(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    padding = convolution.kernel_size[0] // 2
    weight = convolution.weight.flip(2, 3)
    return nn.functional.conv2d(
        x, weight, convolution.bias, convolution.stride, padding, groups=convolution.groups
    )


def not_depthwise(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    return of_other_arguments() if convolution.groups > 1 else FORWARD(x, convolution)


def twice_the_gradient(gradient: Tensor, before: Tensor, convolution: nn.Conv2d) -> Tensor:
    return 2.0 * BACKWARD(gradient, before, convolution)


@needs_one_dnn
@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("_forward", gone),
        ("_forward", of_other_arguments),
        ("_forward", of_other_types),
        ("_forward", without_relu),
        ("_forward", not_depthwise),
        ("_backward", gone),
        ("_backward", twice_the_gradient),
    ],
)
def test_operators_that_changed_are_done_without(
    name: str, operator: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Torch's private operators are gone, want other arguments or compute something else, all goes on.

    YAMNet gives what it gave with them, and the gradient too, to 1e-4 of the largest: sums of float32.
    """
    network = YamNet().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    patches = torch.randn(1, 96, 64, generator=generator)

    def hear() -> tuple[Tensor, Tensor]:
        leaf = patches.clone().requires_grad_(True)
        logits = network(leaf)
        return logits.detach(), torch.autograd.grad(logits[0, :9].sum(), leaf)[0]

    with_them = hear()
    monkeypatch.setattr(fused, name, operator)
    fused._are_operators_sound.cache_clear()

    assert not can_fuse(patches[None], 5)
    for found, expected in zip(hear(), with_them, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@needs_one_dnn
@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_trying_the_operators_leaves_torch_as_it_was(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    """The generator is not drawn from, and a trial without gradients still tells the truth."""
    before = torch.get_rng_state()

    with mode():
        assert can_fuse(torch.zeros(1, 1, 96, 64), 5)
    assert torch.equal(torch.get_rng_state(), before)


@needs_one_dnn
@pytest.mark.usefixtures("asked_anew")
def test_defaults_of_torch_do_not_matter() -> None:
    """Where doubles are what is made when nothing is said, singles are fused all the same."""
    torch.set_default_dtype(torch.float64)
    try:
        assert can_fuse(torch.zeros(1, 1, 96, 64, dtype=torch.float32), 5)
    finally:
        torch.set_default_dtype(torch.float32)
