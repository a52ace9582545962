"""`yamnet`: Google's YAMNet, 521 kinds of sound, exactly as published; its weights are the user's to bring.

`yamnet_22050` are the same weights behind the front end that the package dreamsound gives them: frames of 25
ms every 10 ms, counted at 22.05 kHz and rounded there, so that every band lies elsewhere in frequency bins,
and a patch every tenth of a second. It hears other classes than the network was taught to, and is here to
dream as that package does.

Follows tensorflow/models research/audioset/yamnet (Apache-2.0): magnitude log-mel, patches of 0.96 s, one
convolution and thirteen depthwise-separable blocks with TensorFlow's "same" padding. Batch normalisation is
folded into the convolutions in float64; a bare convolution's output is worked out only for those who tap it.

Deep layers see beyond the patch: the zeros that pad it are part of what the network learnt. It is therefore
always run on whole patches, never fully convolutionally.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from dream_core.errors import WeightsError
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.fused import can_fuse, conv_relus
from dream_core.networks.log_mel_network import LogMelNetwork

__all__ = [
    "CARD",
    "CARD_22050",
    "N_CLASSES",
    "SPEC",
    "SPEC_22050",
    "YamNet",
    "card_with_classes",
    "check_published",
    "fold_published",
]

N_CLASSES = 521
_BATCH_NORM_EPSILON = 1e-4

SPEC = FrontendSpec(
    sample_rate=16000,
    window_samples=400,
    hop_samples=160,
    n_fft=512,
    n_mels=64,
    f_min_hz=125.0,
    f_max_hz=7500.0,
    log_offset=0.001,
    patch_frames=96,
    patch_hop_frames=48,
)

SPEC_22050 = replace(
    SPEC, sample_rate=22050, window_samples=551, hop_samples=220, n_fft=1024, patch_hop_frames=10
)

# (stride, channels) of the separable blocks, `layer2` to `layer14`.
_SEPARABLE = (
    (1, 64),
    (2, 128),
    (1, 128),
    (2, 256),
    (1, 256),
    (2, 512),
    *[(1, 512)] * 5,
    (2, 1024),
    (1, 1024),
)


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One convolution of the network: its published name, shape and stride."""

    name: str
    n_inputs: int
    n_outputs: int
    kernel: int
    stride: int
    is_depthwise: bool

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        n_inputs = 1 if self.is_depthwise else self.n_inputs
        return (self.n_outputs, n_inputs, self.kernel, self.kernel)


def _convolutions() -> Iterator[_Convolution]:
    yield _Convolution("layer1/conv", 1, 32, 3, 2, False)
    n_inputs = 32
    for number, (stride, n_outputs) in enumerate(_SEPARABLE, start=2):
        yield _Convolution(f"layer{number}/depthwise_conv", n_inputs, n_inputs, 3, stride, True)
        yield _Convolution(f"layer{number}/pointwise_conv", n_inputs, n_outputs, 1, 1, False)
        n_inputs = n_outputs


CONVOLUTIONS = tuple(_convolutions())
_N_EMBEDDING = CONVOLUTIONS[-1].n_outputs
_N_HALVINGS = sum(convolution.stride == 2 for convolution in CONVOLUTIONS)


def _relu_name(convolution: str) -> str:
    return "layer1/relu" if convolution == "layer1/conv" else f"{convolution}/relu"


def _layers() -> Iterator[LayerInfo]:
    for convolution in CONVOLUTIONS:
        yield LayerInfo(name=convolution.name, n_channels=convolution.n_outputs)
        yield LayerInfo(name=f"{convolution.name}/bn", n_channels=convolution.n_outputs)
        yield LayerInfo(name=_relu_name(convolution.name), n_channels=convolution.n_outputs)
    yield LayerInfo(name="global_average_pooling2d", n_channels=_N_EMBEDDING)
    yield LayerInfo(name="dense", n_channels=N_CLASSES)
    yield LayerInfo(name="activation", n_channels=N_CLASSES)


CARD = NetworkCard(
    name="yamnet",
    title="521 kinds of sound, from speech to drum kits: a MobileNet trained on AudioSet.",
    sample_rate=SPEC.sample_rate,
    band_hz=(SPEC.f_min_hz, SPEC.f_max_hz),
    patch_s=SPEC.patch_samples / SPEC.sample_rate,
    frame_s=SPEC.hop_samples / SPEC.sample_rate,
    layers=tuple(_layers()),
    classes=tuple(f"class_{index}" for index in range(N_CLASSES)),
    n_parameters=sum(c.n_outputs * (c.weight_shape[1] * c.kernel**2 + 1) for c in CONVOLUTIONS)
    + (_N_EMBEDDING + 1) * N_CLASSES,
    licence="Apache-2.0",
    source="https://github.com/tensorflow/models/tree/master/research/audioset/yamnet",
    weights="import",
    sha256="",
    outputs="independent",
    description=(
        "The network of the DreamSound papers. Low layers hear edges of partials and attacks, high layers "
        "whole events; classes are AudioSet's, by name once its class map was imported with the weights."
    ),
)


CARD_22050 = replace(
    CARD,
    name="yamnet_22050",
    title="YAMNet's weights behind the front end of the package dreamsound, at 22.05 kHz.",
    sample_rate=SPEC_22050.sample_rate,
    patch_s=SPEC_22050.patch_samples / SPEC_22050.sample_rate,
    frame_s=SPEC_22050.hop_samples / SPEC_22050.sample_rate,
    description=(
        "What dreamsound 0.1.6.3 listens with, for dreams as that package makes them; its patches lie "
        "five times as close as yamnet's. It is there once yamnet's weights are. To know what a sound is, "
        "ask yamnet."
    ),
)


def card_with_classes(classes: tuple[str, ...], card: NetworkCard = CARD) -> NetworkCard:
    """Return YAMNet's card, or the one of its other front end, with its classes named.

    Raises:
        WeightsError: Not one name for each class.
    """
    if len(classes) != N_CLASSES:
        raise WeightsError(f"{len(classes)} class names were given, yamnet has {N_CLASSES} classes")
    return replace(card, classes=classes)


class _ConvRelu(nn.Module):
    """A convolution padded as TensorFlow pads it, batch normalisation folded in, then a ReLU."""

    def __init__(self, shape: _Convolution) -> None:
        super().__init__()
        self.is_strided = shape.stride == 2
        self.bn = nn.Conv2d(
            shape.n_inputs,
            shape.n_outputs,
            shape.kernel,
            stride=shape.stride,
            padding=0 if self.is_strided else shape.kernel // 2,
            groups=shape.n_inputs if shape.is_depthwise else 1,
        )
        self.conv = _Unfolded(shape.n_outputs)
        self.relu = _Relu()

    @property
    def is_tapped(self) -> bool:
        """Whether anyone listens within."""
        return any(
            module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
            for module in (self, self.conv, self.bn, self.relu)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.is_strided:
            # TensorFlow pads a strided 3x3 by one zero after an even length, by one on each side of an odd.
            height, width = x.shape[2:]
            x = nn.functional.pad(x, (width % 2, 1, height % 2, 1))
        normalised = self.bn(x)
        if self.conv._forward_hooks:
            self.conv(normalised)
        # What is tapped must outlive the ReLU; else the ReLU may overwrite it.
        return cast(Tensor, self.relu(normalised, inplace=not self.bn._forward_hooks))


class _Unfolded(nn.Module):
    """Undoes batch normalisation: the output of the bare convolution, from that of the folded one."""

    scale: Tensor
    shift: Tensor

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(n_channels))
        self.register_buffer("shift", torch.zeros(n_channels))

    def forward(self, normalised: Tensor) -> Tensor:
        return (normalised - self.shift[:, None, None]) / self.scale[:, None, None]


class _Relu(nn.Module):
    def forward(self, x: Tensor, inplace: bool) -> Tensor:
        return nn.functional.relu(x, inplace=inplace)


class _GlobalMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class YamNet(LogMelNetwork):
    """YAMNet without its weights; `fold_published` makes those that fit it.

    Args:
        card: YAMNet's card, its classes named or not.
        spec: The numbers of its front end.

    Shape:
        ``(n, 96, 64)`` -> logits ``(n, 521)``; scores are their sigmoid.
    """

    def __init__(self, card: NetworkCard = CARD, spec: FrontendSpec = SPEC) -> None:
        super().__init__(card, spec)
        self.convolutions = nn.ModuleList(_ConvRelu(shape) for shape in CONVOLUTIONS)
        self.global_average_pooling2d = _GlobalMean()
        self.dense = nn.Linear(_N_EMBEDDING, N_CLASSES)
        self.activation = nn.Sigmoid()

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by Keras' layer names."""
        modules: dict[str, nn.Module] = {}
        for shape, module in zip(CONVOLUTIONS, self.convolutions, strict=True):
            block = cast(_ConvRelu, module)
            modules[shape.name] = block.conv
            modules[f"{shape.name}/bn"] = block.bn
            modules[_relu_name(shape.name)] = block.relu
        modules["global_average_pooling2d"] = self.global_average_pooling2d
        modules["dense"] = self.dense
        modules["activation"] = self.activation
        return modules

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for log-mel patches."""
        x = patches.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        run: list[nn.Conv2d] = []
        is_fused = can_fuse(x, _N_HALVINGS)
        for module in self.convolutions:
            convolution = cast(_ConvRelu, module)
            if is_fused and not convolution.is_tapped:
                run.append(convolution.bn)
            else:
                x, run = convolution(conv_relus(x, run)), []
        x = conv_relus(x, run)
        logits = self.dense(self.global_average_pooling2d(x))
        self.activation(logits)  # for those who tap the scores
        return cast(Tensor, logits)


def _published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for convolution in CONVOLUTIONS:
        shapes[f"{convolution.name}/kernel"] = convolution.weight_shape
        for name in ("beta", "moving_mean", "moving_variance"):
            shapes[f"{convolution.name}/bn/{name}"] = (convolution.n_outputs,)
    shapes["dense/kernel"] = (N_CLASSES, _N_EMBEDDING)
    shapes["dense/bias"] = (N_CLASSES,)
    return shapes


def check_published(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Check that tensors are YAMNet's, whole and of the right shape.

    Args:
        tensors: By Keras' layer names, in Torch's layout: kernels ``(out, in, height, width)``.
        origin: Where they come from, for messages.

    Raises:
        WeightsError: One is missing, has another shape, holds values that are not finite, or is a negative
            variance.
    """
    for name, shape in _published_shapes().items():
        if name not in tensors:
            raise WeightsError(
                f"{origin} has no {name!r}; it does not hold YAMNet's weights, or not all of them"
            )
        tensor = tensors[name]
        if tuple(tensor.shape) != shape:
            raise WeightsError(
                f"{origin}: {name!r} has shape {tuple(tensor.shape)}, YAMNet's has {shape}; "
                "it holds the weights of another network"
            )
        if not tensor.is_floating_point():
            raise WeightsError(f"{origin}: {name!r} holds {tensor.dtype}; weights are floating-point numbers")
        if not torch.isfinite(tensor).all() or (name.endswith("variance") and (tensor < 0).any()):
            raise WeightsError(f"{origin}: {name!r} holds impossible values; the file is damaged")


def fold_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold YAMNet's batch normalisation into its convolutions, in float64.

    Batch normalisation has a shift but no scale of its own:
    ``(w * x - mean) / sqrt(variance + 1e-4) + beta``.

    Args:
        tensors: As `check_published` accepts them.

    Returns:
        The state of a `YamNet`.
    """
    state: dict[str, Tensor] = {}
    for index, convolution in enumerate(CONVOLUTIONS):
        kernel = tensors[f"{convolution.name}/kernel"].double()
        beta, mean, variance = (
            tensors[f"{convolution.name}/bn/{name}"].double()
            for name in ("beta", "moving_mean", "moving_variance")
        )
        scale = torch.rsqrt(variance + _BATCH_NORM_EPSILON)
        state[f"convolutions.{index}.bn.weight"] = kernel * scale[:, None, None, None]
        state[f"convolutions.{index}.bn.bias"] = beta - mean * scale
        state[f"convolutions.{index}.conv.scale"] = scale
        state[f"convolutions.{index}.conv.shift"] = beta - mean * scale
    state["dense.weight"] = tensors["dense/kernel"].double()
    state["dense.bias"] = tensors["dense/bias"].double()
    return state
