"""The networks Reverie dreams with: a registry of cards, and one function that loads.

Built in are `timbre` (weights shipped), `yamnet` (weights imported by the user) and `texture` (random weights
from a seed). A network trained by the user is one safetensors file that carries its own card: give its path,
or put it into the folder `dream_core.networks.weights.networks_folder` names and call it by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from dream_core.errors import NetworkNotFoundError, WeightsError
from dream_core.files import hash_file
from dream_core.names import nearest_names
from dream_core.networks import mel_cnn, texture, timbre, yamnet_files
from dream_core.networks.card import Network, NetworkCard
from dream_core.networks.weights import networks_folder, read_header
from dream_core.runtime import keep_memory, resolve_device

__all__ = ["get_card", "is_ready", "list_damaged", "list_networks", "load_network", "weights_sha256"]


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """How a built-in network's card is got, how it is made from weights and a seed, and whether it can be."""

    card: Callable[[], NetworkCard]
    build: Callable[[Path | None, int], nn.Module]
    takes_weights: bool = False
    is_ready: Callable[[], bool] = lambda: True


_BUILT_IN = {
    "timbre": _BuiltIn(lambda: timbre.CARD, lambda weights, _seed: timbre.load(weights), takes_weights=True),
    "yamnet": _BuiltIn(
        yamnet_files.installed_card,
        lambda weights, _seed: yamnet_files.load(weights),
        takes_weights=True,
        is_ready=yamnet_files.is_installed,
    ),
    "texture": _BuiltIn(lambda: texture.CARD, lambda _weights, seed: texture.Texture(seed)),
}


def list_networks() -> tuple[NetworkCard, ...]:
    """Return the card of every network there is, built in and the user's own; no weights are loaded.

    Damaged files of the user's are left out; :func:`list_damaged` names them.

    >>> [card.name for card in list_networks()][:3]
    ['timbre', 'yamnet', 'texture']
    """
    built_in = (entry.card() for entry in _BUILT_IN.values())
    return (*built_in, *(mel_cnn.read_card(path)[0] for path in _user_files().values()))


def list_damaged() -> tuple[str, ...]:
    """Return a line for each file in the user's folder of networks that cannot be read."""
    return _read_folder()[1]


def _user_files() -> dict[str, Path]:
    """Return the files in the user's folder that carry a card, by network name."""
    return _read_folder()[0]


def _read_folder() -> tuple[dict[str, Path], tuple[str, ...]]:
    found: dict[str, Path] = {}
    damaged: list[str] = []
    for path in sorted(networks_folder().glob("*.safetensors")):
        try:
            if read_header(path).get("kind") == mel_cnn.KIND:
                found[mel_cnn.read_card(path)[0].name] = path
        except WeightsError as error:
            damaged.append(str(error))
    return found, tuple(damaged)


def _find_file(name: str) -> Path:
    if name.endswith(".safetensors"):
        return Path(name)
    files = _user_files()
    if name not in files:
        raise NetworkNotFoundError(
            f"no network is called {name!r}; {nearest_names(name, [*_BUILT_IN, *files])} "
            "(a network of your own is given by the path of its .safetensors file)"
        )
    return files[name]


def get_card(name: str) -> NetworkCard:
    """Return the card of a network by its name, or of a network's own file by its path.

    Raises:
        NetworkNotFoundError: No network has that name.
        WeightsError: The file is absent, damaged or carries no card.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name].card()
    return mel_cnn.read_card(_find_file(name))[0]


def weights_sha256(name: str) -> str:
    """Return what tells a network's weights from others: their file's hash, empty where there is none."""
    card = get_card(name)
    if card.sha256 or card.weights == "random":
        return card.sha256
    path = networks_folder() / f"{name}.safetensors" if name in _BUILT_IN else _find_file(name)
    return hash_file(path) if path.exists() else ""


def is_ready(name: str) -> bool:
    """Say whether a network can be loaded now, or wants its weights first.

    >>> is_ready("texture")
    True
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name].is_ready()
    get_card(name)  # a file of the user's is whole, or says why not
    return True


def load_network(
    name: str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    weights: Path | str | None = None,
    seed: int = 0,
) -> Network:
    """Load a network, ready to be dreamed with: in evaluation mode, its weights fixed.

    Args:
        name: A name `list_networks` gives, or the path of a network's own safetensors file.
        device: Where it runs.
        dtype: What it computes in; weights are folded in float64 and then rounded to it.
        weights: A weights file to use in place of the installed one.
        seed: Of the weights of networks that need no training.

    Raises:
        NetworkNotFoundError: No network has that name.
        WeightsError: The weights are absent, damaged or of another network.
        DeviceError: The device is not there.
    """
    if weights is not None and not (name in _BUILT_IN and _BUILT_IN[name].takes_weights):
        takers = " and ".join(other for other, entry in _BUILT_IN.items() if entry.takes_weights)
        raise WeightsError(f"weights = {str(weights)!r}: network {name!r} takes none; only {takers} do")
    if name in _BUILT_IN:
        module = _BUILT_IN[name].build(None if weights is None else Path(weights), seed)
    else:
        module = mel_cnn.load(_find_file(name))
    where = resolve_device(str(device))
    if where.type == "cpu":
        keep_memory()
    module = module.to(dtype).to(where)  # in this order: not every device has float64
    nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    return cast(Network, module.eval().requires_grad_(False))
