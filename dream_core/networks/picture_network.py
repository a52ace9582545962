"""What all networks that look at pictures of sound have in common, and how their names are read.

A name is ``image[:ARCHITECTURE][:PLANES][:random]``: which network, what the three colours show, and whether
its weights are random. Without an architecture it is EfficientNet-Lite0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, get_args

import torch
from torch import Tensor

from dream_core.errors import NetworkNotFoundError
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.frontend.octaves import OctaveMel
from dream_core.frontend.picture import Planes, make_pictures
from dream_core.networks.card import NetworkCard
from dream_core.networks.log_mel_network import LogMelNetwork

__all__ = ["PICTURE", "MelPictureNetwork", "PictureName", "describe_planes", "parse_picture_name"]

PICTURE: Final = "image"
"""The first word of every picture network's name."""

_RANDOM = "random"
_SHOWN = {
    "grey": "",
    "first": " The red of its pictures is the sound; green and blue are black.",
    "octaves": (
        " Red, green and blue are three transforms, of half, once and twice the length: what begins is red, "
        "what stays is grey."
    ),
}


@dataclass(frozen=True, slots=True)
class PictureName:
    """A picture network's name, taken apart.

    Args:
        architecture: As torchvision calls it; empty is EfficientNet-Lite0.
        planes: What the three colours show.
        is_random: Whether the weights are random.
    """

    architecture: str = ""
    planes: Planes = "grey"
    is_random: bool = False

    @property
    def owner(self) -> str:
        """The name of the network whose weights this one sees by."""
        return f"{PICTURE}:{self.architecture}" if self.architecture else PICTURE

    @property
    def text(self) -> str:
        """The name as it is written, without the words that change nothing."""
        planes = "" if self.planes == "grey" else f":{self.planes}"
        return f"{self.owner}{planes}{f':{_RANDOM}' if self.is_random else ''}"


def parse_picture_name(name: str) -> PictureName:
    """Read a picture network's name.

    Raises:
        NetworkNotFoundError: It is none; the message says how one is written.

    >>> parse_picture_name("image:vgg19:octaves:random")
    PictureName(architecture='vgg19', planes='octaves', is_random=True)
    >>> parse_picture_name("image:grey").text
    'image'
    """
    first, *words = name.split(":")
    left = list(words)
    is_random = bool(left) and left[-1] == _RANDOM
    if is_random:
        left.pop()
    planes: Planes = "grey"
    for known in get_args(Planes):
        if left and left[-1] == known:
            planes = known
            left.pop()
            break
    if first != PICTURE or len(left) > 1 or "" in words:
        raise NetworkNotFoundError(
            f"no network is called {name!r}; those that see are written {PICTURE}[:ARCHITECTURE]"
            f"[:{'|'.join(get_args(Planes))}][:{_RANDOM}], for example {PICTURE}:vgg19:octaves"
        )
    if is_random and not left:
        raise NetworkNotFoundError(
            f"no network is called {name!r}; random weights want an architecture, for example "
            f"{PICTURE}:vgg19:{_RANDOM}"
        )
    return PictureName("".join(left), planes, is_random)


def describe_planes(card: NetworkCard, name: PictureName) -> NetworkCard:
    """Return a network's card under a name that says what the colours show."""
    return replace(card, name=name.text, description=card.description + _SHOWN[name.planes])


class MelPictureNetwork(LogMelNetwork):
    """A network that looks at log-mel patches as pictures; subclasses say how they see.

    Args:
        card: What the network is; its layers are the names `layer_modules` must return.
        spec: The numbers of its front end.
        planes: What the three colours show. With ``octaves`` patches hold three transforms side by side,
            ``(n, frames, 3 * mels)``.
    """

    def __init__(self, card: NetworkCard, spec: FrontendSpec, planes: Planes = "grey") -> None:
        super().__init__(card, spec)
        self.planes = planes
        if planes == "octaves":
            self.log_mel = OctaveMel(spec, dtype=torch.float64)

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for log-mel patches."""
        return self.see(make_pictures(patches, self.silence, self.planes))

    def see(self, pictures: Tensor) -> Tensor:
        """Return logits for pictures, for those who have some.

        Args:
            pictures: Black is 0, white is 1; across from left to right, then up from the lowest row. Any
                size the architecture takes.

        Shape:
            ``(n, 3, across, up)`` -> ``(n, classes)``.
        """
        raise NotImplementedError
