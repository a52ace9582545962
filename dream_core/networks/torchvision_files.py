"""The user's weights for torchvision's classifiers: taken out of a file, checked, kept with a card.

torchvision publishes weights under names that end in the first eight digits of the file's SHA-256. A file
that has such a hash is the published one; any other is the user's word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from dream_core.errors import WeightsError, WeightsMismatchError
from dream_core.files import read_regular
from dream_core.networks import architectures
from dream_core.networks.card import NetworkCard
from dream_core.networks.card_data import parse_card
from dream_core.networks.picture_network import PictureName, parse_picture_name
from dream_core.networks.torch_files import check_state, load_state
from dream_core.networks.torchvision_network import TorchvisionNetwork, describe, dress, weights_of
from dream_core.networks.weights import (
    check_file,
    hash_tensors,
    networks_folder,
    read_header,
    read_tensors,
    write_tensors,
)

__all__ = ["KIND", "find_in_hub", "install", "installed_path", "is_installed", "load", "read_card"]

KIND: Final = "torchvision"
"""What such a weights file says of itself."""

_N_DIGITS = 8


def installed_path(architecture: str) -> Path:
    """Return where an architecture's weights are kept once they are installed.

    >>> installed_path("vgg19").name
    'image_vgg19.safetensors'
    """
    return networks_folder() / f"image_{architecture}.safetensors"


def is_installed(architecture: str) -> bool:
    """Say whether an architecture's weights are installed, and whole enough to be opened."""
    try:
        header = read_header(installed_path(architecture))
    except WeightsError:
        return False
    return (header.get("kind"), header.get("architecture")) == (KIND, architecture)


def find_in_hub(architecture: str) -> Path:
    """Return the file of published weights that ``torch.hub`` has fetched before; nothing is fetched.

    Raises:
        WeightsError: There is none, or torchvision is not installed.
        NetworkNotFoundError: It has no classifier of that name.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    names = architectures.published_names(architecture)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"{folder} holds no weights of {architecture}: there is no {' nor '.join(names)}; have torchvision "
        f"fetch them, python -c \"import torchvision; torchvision.models.get_model('{architecture}', "
        "weights='DEFAULT')\", or give a file"
    )


def install(architecture: str, source: Path, *, overwrite: bool = False, trust: bool = False) -> Path:
    """Install the weights of an architecture from a file.

    Args:
        architecture: As torchvision calls it.
        source: A ``.pth`` or ``.pt`` file with a state dict, or ``.safetensors``.
        overwrite: Whether other weights that are there are replaced.
        trust: Whether weights that torchvision has not published are accepted, if they fit.

    Returns:
        The installed file.

    Raises:
        WeightsError: The file cannot be used, or other weights are there; nothing is installed then.
        WeightsMismatchError: torchvision has not published it.
        NetworkNotFoundError: torchvision has no classifier of that name.
    """
    card = describe(architecture)
    data, sha256 = _read(source)
    if not trust:
        _check_published(architecture, source, sha256)
    if data is None:
        state: Mapping[str, object] = read_tensors(source, sha256)
    else:
        state = load_state(data, f"{source}", _ending(architecture))
    tensors = _check(architecture, state, str(source))
    found = hash_tensors(tensors)
    target = installed_path(architecture)
    if not overwrite and target.exists():
        if not is_installed(architecture) or read_header(target).get("tensors_sha256") != found:
            raise WeightsError(
                f"{target} is something else; `reverie networks import {card.name} FILE --overwrite` "
                "replaces it"
            )
        return target
    header = {
        "kind": KIND,
        "architecture": architecture,
        "card": asdict(card),
        "source_sha256": sha256,
        "tensors_sha256": found,
    }
    write_tensors(target, tensors, header)
    return target


def _ending(architecture: str) -> str:
    return f"; give torchvision's weights of {architecture}, {architectures.published_names(architecture)[0]}"


def _read(source: Path) -> tuple[bytes | None, str]:
    """Return a Torch file's bytes, None for safetensors, and its hash."""
    suffix = source.suffix.lower()
    if suffix not in (".pth", ".pt", ".safetensors"):
        raise WeightsError(f"{source}: weights are read from .pth, .pt and .safetensors files; give one")
    check_file(source)
    try:
        data = read_regular(source)
    except OSError as error:
        raise WeightsError(f"{source} cannot be read ({error.strerror or error})") from None
    return None if suffix == ".safetensors" else data, hashlib.sha256(data).hexdigest()


def _check_published(architecture: str, source: Path, sha256: str) -> None:
    names = architectures.published_names(architecture)
    digits = {name: Path(name).stem.rsplit("-", 1)[-1] for name in names}
    if source.name in names and not sha256.startswith(digits[source.name]):
        raise WeightsMismatchError(
            f"{source} has sha256 {sha256[:16]}..., its name says {digits[source.name]}...; it is damaged or "
            "another file: fetch it again, or, if these weights are meant, import it with --trust"
        )
    if sha256[:_N_DIGITS] not in digits.values():
        raise WeightsMismatchError(
            f"{source} has sha256 {sha256[:16]}..., torchvision's weights of {architecture} begin with "
            f"{' or '.join(sorted(digits.values()))}; if these weights are meant, import it with --trust"
        )


def _check(architecture: str, state: Mapping[str, object], origin: str) -> dict[str, Tensor]:
    """Return a state dict's tensors under today's names, if they are an architecture's."""
    module = architectures.make(architecture, "meta")
    shapes = {name: tuple(tensor.shape) for name, tensor in weights_of(module).items()}
    others = set(module.state_dict()) - set(shapes)  # tables that the architecture makes itself
    renamed = {architectures.rename_old(name): value for name, value in state.items()}
    return check_state(
        renamed,
        shapes,
        PictureName(architecture).text,
        f" ({origin}){_ending(architecture)}",
        lambda name: name in others or architectures.is_head_for_training(name),
    )


def _header(path: Path) -> tuple[dict[str, Any], str]:
    header = read_header(path)
    architecture = header.get("architecture")
    if header.get("kind") != KIND or not isinstance(architecture, str):
        raise WeightsError(f"{path} does not hold weights of one of torchvision's classifiers; import them")
    return header, architecture


def read_card(path: Path) -> NetworkCard:
    """Return the card in a weights file; torchvision is not needed.

    Raises:
        WeightsError: The file is absent, damaged or carries no card.
    """
    header, architecture = _header(path)
    try:
        card = parse_card(header["card"])
        if card.name != PictureName(architecture).text or card.looks != "picture":
            raise ValueError("it is of another network")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: its card makes no sense ({error}); import the weights again") from None
    return card


def load(path: Path, name: PictureName | None = None) -> TorchvisionNetwork:
    """Load a classifier from installed weights.

    Args:
        path: The file.
        name: What the three colours show; grey by default.

    Raises:
        WeightsError: The weights are not there, damaged or of another network, or torchvision is not
            installed.
    """
    card, (header, architecture) = read_card(path), _header(path)
    tensors = read_tensors(path)
    if hash_tensors(tensors) != header.get("tensors_sha256"):
        raise WeightsError(f"{path}: its weights are not those that were imported; import them again")
    module = architectures.make(architecture)
    module.load_state_dict(_check(architecture, tensors, str(path)), strict=False)
    named = name or parse_picture_name(card.name)
    return TorchvisionNetwork(dress(card, named), module, named)
