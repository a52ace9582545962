"""torchvision's classifiers of photographs, looking at pictures of sound.

The weights are the user's own, or random. The picture is handed to the classifier upright, low notes at the
bottom and time from left to right, and what its layers give is turned back: every layer is ``(n, channels,
time, frequency)`` with low notes first, as in the other networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks import architectures
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.efficientnet import SPEC as LITE_SPEC
from dream_core.networks.picture_network import MelPictureNetwork, PictureName, describe_planes

__all__ = ["TorchvisionNetwork", "build_random", "describe", "dress", "front_end", "weights_of"]

_LOGITS = "logits"
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's photographs, 0 to 1: what torchvision's classifiers are used to."""


def front_end(architecture: str) -> FrontendSpec:
    """Return how sound becomes a picture for an architecture: square, as large as those it learnt from.

    >>> front_end("inception_v3").patch_frames, front_end("inception_v3").patch_hop_frames
    (299, 150)
    """
    side = architectures.picture_side(architecture)
    return replace(LITE_SPEC, n_mels=side, patch_frames=side, patch_hop_frames=math.ceil(side / 2))


def describe(architecture: str) -> NetworkCard:
    """Return the card of an architecture with published weights, grey pictures; its layers are found by it.

    Raises:
        WeightsError: torchvision is not installed.
        NetworkNotFoundError: It has no classifier of that name.
    """
    module = architectures.make(architecture, "meta")
    spec = front_end(architecture)
    layers = architectures.find_layers(architecture, module)
    side = architectures.picture_side(architecture)
    with torch.no_grad():
        n_classes = module(torch.empty(1, 3, side, side, device="meta")).shape[1]
    return NetworkCard(
        name=PictureName(architecture).text,
        title=f"torchvision's {architecture}, which learnt to see photographs, looking at sound.",
        sample_rate=spec.sample_rate,
        band_hz=(spec.f_min_hz, spec.f_max_hz),
        patch_s=spec.patch_samples / spec.sample_rate,
        frame_s=spec.hop_samples / spec.sample_rate,
        layers=(
            *(LayerInfo(name=name, n_channels=n_channels) for name, n_channels in layers.items()),
            LayerInfo(name=_LOGITS, n_channels=n_classes),
        ),
        classes=architectures.class_names(architecture, n_classes),
        n_parameters=sum(parameter.numel() for parameter in module.parameters()),
        licence="BSD-3-Clause; the weights have terms of their own",
        source="https://pytorch.org/vision (torchvision.models)",
        weights="import",
        sha256="",
        description=(
            f"{architecture} sees the spectrogram as a photograph, "
            f"{spec.patch_samples / spec.sample_rate:.1f} s wide, low notes at the "
            "bottom. Its published weights were trained on ImageNet, whose classes have names here."
        ),
        outputs="exclusive",
        looks="picture",
    )


def dress(card: NetworkCard, name: PictureName) -> NetworkCard:
    """Return a card for the colours and the weights that a name asks for."""
    if not name.is_random:
        return describe_planes(card, name)
    return describe_planes(
        replace(
            card,
            title=f"A texture machine: the shape of torchvision's {name.architecture} with random weights.",
            classes=tuple(f"class_{index}" for index in range(len(card.classes))),
            weights="random",
            description=(
                f"{name.architecture} with weights drawn from a seed: it has learnt nothing, its classes "
                "mean nothing, and what it adds is texture. Where it normalises, it does so by what each "
                "picture itself gives."
            ),
        ),
        name,
    )


class _Relay(nn.Module):
    """Passes logits on, for those who tap them here."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits


class TorchvisionNetwork(MelPictureNetwork):
    """A classifier of torchvision's that looks at sound.

    Args:
        card: The network's card.
        module: The classifier, with its weights.
        name: Its architecture, and what the three colours show.

    Shape:
        Log-mel patches ``(n, side, side)``, thrice as wide for ``octaves`` -> logits ``(n, classes)``.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, card: NetworkCard, module: nn.Module, name: PictureName) -> None:
        super().__init__(card, front_end(name.architecture), name.planes)
        self.module, self.logits = module, _Relay()
        self.architecture = name.architecture
        for buffer, values in (("mean", _MEAN), ("deviation", _DEVIATION)):
            value = torch.tensor(values, dtype=torch.float64)[:, None, None]
            self.register_buffer(buffer, value, persistent=False)

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        parts = {**architectures.named_parts(self.architecture, self.module), _LOGITS: self.logits}
        return {layer.name: parts[layer.name] for layer in self.card.layers}

    def see(self, pictures: Tensor) -> Tensor:
        """Return logits for pictures ``(n, 3, across, up)``."""
        # Rows, from the top, become bands, from the lowest; columns become frames.
        upright = (pictures.flip(3).transpose(2, 3) - self.mean) / self.deviation
        logits = self.module(upright.contiguous(memory_format=torch.channels_last))
        return cast(Tensor, self.logits(logits))

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave, turned back, in memory of its own.

        A copy, because ReLUs and sums that follow may work in place.
        """
        del name
        found = architectures.output_as_map(self.architecture, output)
        return found.transpose(2, 3).flip(3) if found.ndim == 4 else found.clone()


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return what a file of weights must hold: all numbers that a classifier learnt, by their names."""
    return {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def build_random(card: NetworkCard, name: PictureName, seed: int) -> TorchvisionNetwork:
    """Make a classifier with random weights: every layer as loud as the one before it (He et al. 2015).

    Batch normalisation has no statistics of a training to go by. Each channel is brought to zero mean and
    unit deviation over its own map instead, picture by picture, so that what is heard in a patch does not
    depend on what else is in the batch.

    Args:
        card: The network's card.
        name: Its architecture, and what the three colours show.
        seed: Of the weights; the same on every machine.
    """
    module = architectures.make(name.architecture)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in weights_of(module).values():
            if tensor.ndim > 1:
                fan_in = max(1, tensor[0].numel())
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * math.sqrt(2.0 / fan_in))
    for parent in list(module.modules()):
        for child, part in list(parent.named_children()):
            if isinstance(part, nn.BatchNorm2d):
                setattr(parent, child, nn.InstanceNorm2d(part.num_features, eps=part.eps, affine=True))
            elif isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
                nn.init.zeros_(part.bias)
    return TorchvisionNetwork(card, module.eval(), name)
