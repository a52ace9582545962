"""torchvision's classifiers: which there are, how one is made, and which of their modules are layers.

torchvision is an optional extra and is imported only when one of its networks is asked for. Layers have their
published names: ``Mixed_5b`` to ``Mixed_7c`` (and ``mixed0`` to ``mixed10``) of Inception, ``inception3a`` to
``inception5b`` of GoogLeNet, ``relu1_1`` to ``relu5_4`` of VGG, ``fire2`` to ``fire9`` of SqueezeNet. Of all
others they are the modules at the top, those of ``features`` and the like one by one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from dream_core.errors import NetworkNotFoundError, WeightsError
from dream_core.names import nearest_names
from dream_core.networks.picture_network import PICTURE

__all__ = [
    "INSTALL",
    "class_names",
    "find_layers",
    "is_head_for_training",
    "make",
    "named_parts",
    "output_as_map",
    "picture_side",
    "published_names",
    "rename_old",
]

INSTALL: Final = "pip install 'reverie-audio[image]'"
"""The command that installs torchvision."""

_SIDE = 224
_SIDES: Final[Mapping[str, int]] = {"inception_v3": 299}
# What was published with heads that help in training alone; and wants its pictures as TensorFlow had them.
_OPTIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "inception_v3": {"aux_logits": False, "init_weights": False, "transform_input": True},
    "googlenet": {"aux_logits": False, "init_weights": False, "transform_input": True},
}
_HEADS = ("AuxLogits.", "aux1.", "aux2.")
_CONTAINERS = ("features", "trunk_output", "blocks", "layers", "encoder")
# What shows nothing that the module before it does not show.
_PLAIN = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Dropout,
    nn.Identity,
    nn.Flatten,
    nn.BatchNorm2d,
    nn.LayerNorm,
)


def _models(architecture: str) -> Any:
    try:
        from torchvision import models
    except ImportError:
        raise WeightsError(
            f"{PICTURE}:{architecture} needs torchvision, which is not installed; run: {INSTALL}"
        ) from None
    return models


def _published(architecture: str) -> list[Any]:
    """Return what torchvision tells of the weights it has published of an architecture."""
    models = _models(architecture)
    known = models.list_models(module=models)
    if architecture not in known:
        raise NetworkNotFoundError(
            f"no network is called '{PICTURE}:{architecture}'; torchvision's classifiers are accepted: "
            f"{nearest_names(architecture, known)}"
        )
    return list(models.get_model_weights(architecture))


def published_names(architecture: str) -> tuple[str, ...]:
    """Return the file names of published weights; each ends in the first digits of the file's SHA-256.

    Raises:
        WeightsError: torchvision is not installed.
        NetworkNotFoundError: It has no classifier of that name.
    """
    return tuple(str(one.url).rsplit("/", 1)[-1] for one in _published(architecture))


def class_names(architecture: str, n_classes: int) -> tuple[str, ...]:
    """Return the classes that published weights know; those of one name get their numbers."""
    names = [str(name) for one in _published(architecture)[:1] for name in one.meta["categories"]]
    if len(names) != n_classes:
        return tuple(f"class_{index}" for index in range(n_classes))
    return tuple(f"{name} {index}" if names.count(name) > 1 else name for index, name in enumerate(names))


def make(architecture: str, device: str = "cpu") -> nn.Module:
    """Make a classifier as torchvision has it, with weights that mean nothing yet.

    Raises:
        WeightsError: torchvision is not installed.
        NetworkNotFoundError: It has no classifier of that name.
    """
    _published(architecture)
    models = _models(architecture)
    with torch.random.fork_rng([]):
        try:
            with torch.device(device):
                module = models.get_model(architecture, weights=None, **_OPTIONS.get(architecture, {}))
        except NotImplementedError:  # it computes its own shape with Torch, which wants numbers
            module = models.get_model(architecture, weights=None).to(device)
    made: nn.Module = module.eval()
    return made


def picture_side(architecture: str) -> int:
    """Return how wide and high the pictures are that an architecture learnt from."""
    return _SIDES.get(architecture, _SIDE)


def is_head_for_training(name: str) -> bool:
    """Say whether a published tensor is of a head that was there for training alone."""
    return name.startswith(_HEADS)


def rename_old(name: str) -> str:
    """Return what a tensor is called today; DenseNet's were published under older names.

    >>> rename_old("features.denseblock1.denselayer1.norm.1.weight")
    'features.denseblock1.denselayer1.norm1.weight'
    """
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name)


def _vgg(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    block, place = 1, 0
    for part in module.features.children():  # type: ignore[union-attr]
        if isinstance(part, nn.MaxPool2d):
            block, place = block + 1, 0
        elif isinstance(part, nn.ReLU):
            place += 1
            yield f"relu{block}_{place}", part


def _squeezenet(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    number = 1
    for part in module.features.children():  # type: ignore[union-attr]
        if isinstance(part, nn.Conv2d):
            yield "conv1", part
        elif type(part).__name__ == "Fire":
            number += 1
            yield f"fire{number}", part


def _inception(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    number = 0
    for name, part in _at_the_top(module):
        yield name, part
        if name.startswith("Mixed"):
            yield f"mixed{number}", part
            number += 1


def _at_the_top(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, part in module.named_children():
        inner = dict(part.named_children())
        if name == "encoder" and "layers" in inner:
            name, inner = "encoder.layers", dict(inner["layers"].named_children())
        if name.split(".")[0] in _CONTAINERS:
            yield from ((f"{name}.{one}", below) for one, below in inner.items())
        else:
            yield name, part


_NAMED: Final[Mapping[str, Callable[[nn.Module], Iterator[tuple[str, nn.Module]]]]] = {
    "vgg": _vgg,
    "squeezenet": _squeezenet,
    "inception_v3": _inception,
}


def output_as_map(architecture: str, output: object) -> Tensor:
    """Return what a module gave as ``(n, channels, rows, columns)``, or ``(n, channels)``.

    Swin transformers have their channels last. Vision transformers have one token for the whole picture and
    one for each tile: the tiles are laid out again.
    """
    assert isinstance(output, Tensor)
    if output.ndim == 4 and architecture.startswith("swin"):
        return output.movedim(3, 1)
    if output.ndim == 3:
        side = math.isqrt(output.shape[1] - 1)
        tiles: Tensor = output[:, 1:].unflatten(1, (side, side)).movedim(3, 1)
        return tiles
    return output


def named_parts(architecture: str, module: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of a classifier that may be layers, by the names they get, in order."""
    named = next((find for first, find in _NAMED.items() if architecture.startswith(first)), _at_the_top)
    return {
        name: part
        for name, part in named(module)
        if not isinstance(part, _PLAIN) and type(part).__name__ != "Permute"
    }


def find_layers(architecture: str, module: nn.Module) -> dict[str, int]:
    """Return the layers of a classifier in order, and how many channels each has.

    Args:
        architecture: Its name.
        module: The classifier on the device ``meta``, where running it costs nothing.
    """
    parts = named_parts(architecture, module)
    given: dict[nn.Module, Tensor] = {}
    handles = [
        part.register_forward_hook(lambda one, _inputs, output: given.__setitem__(one, output))
        for part in parts.values()
    ]
    side = picture_side(architecture)
    with torch.no_grad():
        module(torch.empty(1, 3, side, side, device="meta"))
    for handle in handles:
        handle.remove()
    maps = {name: output_as_map(architecture, given[part]) for name, part in parts.items() if part in given}
    return {name: found.shape[1] for name, found in maps.items() if found.ndim == 4}
