"""The networks Reverie dreams with: a registry of cards, and one function that loads.

Built in are `timbre` (weights shipped), `yamnet` (weights imported by the user) and `texture` (random weights
from a seed). A network trained by the user is one safetensors file that carries its own card: give its path,
or put it into the folder `dream_core.weights.networks_folder` names and call it by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import nn

from dream_core.errors import NetworkNotFoundError
from dream_core.naming import nearest_names
from dream_core.networks import mel_cnn, texture, timbre, yamnet, yamnet_files
from dream_core.networks.card import LayerInfo, Network, NetworkCard
from dream_core.weights import networks_folder, read_header

__all__ = ["LayerInfo", "Network", "NetworkCard", "get_card", "list_networks", "load_network"]


def list_networks() -> tuple[NetworkCard, ...]:
    """Return the card of every network there is, built in and the user's own; no weights are loaded.

    >>> [card.name for card in list_networks()][:3]
    ['timbre', 'yamnet', 'texture']
    """
    return (timbre.CARD, yamnet_files.installed_card(), texture.CARD, *_user_cards().values())


def _user_files() -> dict[str, Path]:
    """Return the files in the user's folder that carry a card, by network name."""
    files = sorted(networks_folder().glob("*.safetensors"))
    headers = {path: read_header(path) for path in files}
    return {h["card"]["name"]: p for p, h in headers.items() if h.get("kind") == mel_cnn.KIND}


def _user_cards() -> dict[str, NetworkCard]:
    return {name: mel_cnn.read_card(path)[0] for name, path in _user_files().items()}


def get_card(name: str) -> NetworkCard:
    """Return the card of a network by its name, or of a network's file by its path.

    Raises:
        NetworkNotFoundError: No network has that name.
        WeightsError: The file is absent, damaged or carries no card.
    """
    if _is_path(name):
        return mel_cnn.read_card(Path(name))[0]
    cards = {card.name: card for card in list_networks()}
    if name not in cards:
        raise _not_found(name, list(cards))
    return cards[name]


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
    """
    loaders: dict[str, Callable[[], nn.Module]] = {
        timbre.CARD.name: lambda: timbre.load(_path(weights)),
        yamnet.CARD.name: lambda: yamnet_files.load(_path(weights)),
        texture.CARD.name: lambda: texture.Texture(seed),
    }
    if _is_path(name):
        module: nn.Module = mel_cnn.load(Path(name))
    elif name in loaders:
        module = loaders[name]()
    else:
        files = _user_files()
        if name not in files:
            raise _not_found(name, [*loaders, *files])
        module = mel_cnn.load(files[name])
    module = module.to(device=device, dtype=dtype)
    nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    return cast(Network, module.eval().requires_grad_(False))


def _path(weights: Path | str | None) -> Path | None:
    return None if weights is None else Path(weights)


def _is_path(name: str) -> bool:
    return name.endswith(".safetensors")


def _not_found(name: str, accepted: list[str]) -> NetworkNotFoundError:
    return NetworkNotFoundError(
        f"no network is called {name!r}; {nearest_names(name, accepted)} "
        "(a network of your own is given by the path of its .safetensors file)"
    )
