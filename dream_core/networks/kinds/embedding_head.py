"""Classes of the user's own on top of a layer of another network: twenty sounds of each may be enough.

The network below stays as it is and is named, not copied: the file holds the last layer alone, and the hash
of the weights that it was made for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from dream_core.errors import LayerNotFoundError, WeightsError
from dream_core.names import nearest_names
from dream_core.networks.card import LayerInfo, Network, NetworkCard
from dream_core.networks.card_data import parse_card
from dream_core.networks.weights import load_into, read_header, read_tensors, write_tensors

__all__ = ["KIND", "EmbeddingHead", "FindBase", "head_card", "load", "read_base", "read_card", "write"]

KIND = "embedding_head"
"""What a weights file's header calls this kind of network."""

LOGITS = "logits"
"""What its own layer is called."""

FindBase = Callable[[str], tuple[nn.Module, str]]
"""Loads a network by name, and gives the hash of its weights."""


class _HeardError(Exception):
    """Carries a layer's output out of a network: what lies behind it costs nothing."""

    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


class _Relay(nn.Module):
    """Passes a value on, for those who tap the layer here."""

    def forward(self, value: object) -> object:
        """Return what is given."""
        return value


class EmbeddingHead(nn.Module):
    """A dense layer on the mean, over time and frequency, of a layer of another network.

    Args:
        card: Its classes are the logits; `head_card` makes it.
        base: The network below; it is left as it is.
        layer: One of its layers.
        base_sha256: What its weights are known by.

    Shape:
        ``(n, *input)`` of the network below -> ``(n, classes)``.
    """

    def __init__(self, card: NetworkCard, base: nn.Module, layer: str, base_sha256: str) -> None:
        super().__init__()
        self._card = card
        self.base = base
        self.layer = layer
        self.base_sha256 = base_sha256
        self.relay = _Relay()
        self.logits = nn.Linear(_width(self._below.card, layer), len(card.classes))
        self._below.layer_modules()[layer].register_forward_hook(_leave)

    @property
    def _below(self) -> Network:
        return cast(Network, self.base)

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        return self._card

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.logits.weight.device

    @property
    def hearing(self) -> object:
        """What listens for it: the network below, or what listens for that."""
        return getattr(self.base, "hearing", self.base)

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        below = self._below.layer_modules()
        names = [layer.name for layer in self._card.layers[:-2]]
        return {**{name: below[name] for name in names}, self.layer: self.relay, LOGITS: self.logits}

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Turn waveforms into patches as the network below does."""
        return self._below.listen(waveform, offset_frames, patch_hop_frames)

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        return list(self._below.patch_starts(n_samples, offset_frames, patch_hop_frames))

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return how much sound is in each patch ``(n,)``, 0 in silence."""
        return self._below.measure_energy(patches)

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave as ``(n, channels, ...)``."""
        if name == LOGITS:
            assert isinstance(output, Tensor)
            return output
        return self._below.read_layer(name, output)

    def embed(self, patches: Tensor) -> Tensor:
        """Return the layer's mean over time and frequency for patches, ``(n, channels)``."""
        try:
            self.base(patches)
        except _HeardError as heard:
            output = self.relay(heard.output)
        else:  # pragma: no cover - a layer that is never run is no layer of the network
            raise WeightsError(f"network {self._below.card.name!r} does not run its layer {self.layer!r}")
        values = self._below.read_layer(self.layer, output)
        return values if values.ndim == 2 else values.flatten(2).mean(dim=2)

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for patches."""
        return cast(Tensor, self.logits(self.embed(patches).to(self.logits.weight.dtype)))


def _leave(_module: nn.Module, _inputs: object, output: object) -> None:
    raise _HeardError(output)


def _width(card: NetworkCard, layer: str) -> int:
    widths = {one.name: one.n_channels for one in card.layers if one.name != LOGITS}
    if layer not in widths:
        raise LayerNotFoundError(
            f"network {card.name!r} has no layer {layer!r} below its logits; {nearest_names(layer, widths)}"
        )
    return widths[layer]


def head_card(card: NetworkCard, base: NetworkCard, layer: str) -> NetworkCard:
    """Return a card that says of hearing and layers what the network below does.

    Args:
        card: Its name, classes and description.
        base: The card of the network below.
        layer: On which of its layers the head stands.

    Raises:
        LayerNotFoundError: It has no such layer, or that is its logits.
        WeightsError: It looks at pictures.
    """
    if base.looks == "picture":
        raise WeightsError(
            f"network {base.name!r} looks at pictures of sound; a head stands on one that hears log-mel or "
            "the waveform, such as timbre:block5 or musicnn:penultimate"
        )
    n_features = _width(base, layer)
    names = [one.name for one in base.layers]
    own = LayerInfo(name=LOGITS, n_channels=len(card.classes))
    return replace(
        card,
        sample_rate=base.sample_rate,
        band_hz=base.band_hz,
        patch_s=base.patch_s,
        frame_s=base.frame_s,
        looks=base.looks,
        layers=(*base.layers[: names.index(layer) + 1], own),
        n_parameters=(n_features + 1) * len(card.classes),
        outputs="exclusive",
        keys=(),
    )


def write(path: Path, network: EmbeddingHead) -> str:
    """Write the last layer, its card and what it stands on to one safetensors file; returns its SHA-256."""
    card = replace(network.card, sha256="")  # a file cannot hold its own hash
    shape = {"network": network._below.card.name, "layer": network.layer, "sha256": network.base_sha256}
    header = {"kind": KIND, "card": asdict(card), "shape": shape}
    return write_tensors(path, network.logits.state_dict(), header)


def read_card(path: Path) -> NetworkCard:
    """Read which network a file holds, without its weights and those below.

    Raises:
        WeightsError: The file is absent, damaged, or of another kind.
    """
    return _read(path)[0]


def read_base(path: Path) -> str:
    """Return the name of the network that a file's head stands on.

    Raises:
        WeightsError: The file is absent, damaged, or of another kind.
    """
    return _read(path)[1]


def load(path: Path, find_base: FindBase) -> EmbeddingHead:
    """Load a head and the network below it.

    Args:
        path: The file of the head.
        find_base: Loads a network by name, and gives the hash of its weights.

    Raises:
        WeightsError: The file is damaged, or the network below is absent or has other weights than those it
            was made for.
    """
    card, name, layer, sha256 = _read(path)
    base, found = find_base(name)
    if found != sha256:
        raise WeightsError(
            f"{path} was made for other weights of {name!r} (sha256 {sha256[:16]}..., here {found[:16]}...); "
            "install those again, or train the head anew: reverie networks train --kind embedding_head"
        )
    complete = head_card(card, cast(Network, base).card, layer)
    tensors = read_tensors(path)
    if complete.layers != card.layers or complete.n_parameters != sum(t.numel() for t in tensors.values()):
        raise WeightsError(f"{path}: its weights are not those its card speaks of; the file is damaged")
    head = EmbeddingHead(complete, base.eval(), layer, sha256)
    load_into(head.logits, tensors, str(path))
    dtype = next((p.dtype for p in base.parameters()), torch.float32)
    head.logits.to(dtype)
    return head


def _read(path: Path) -> tuple[NetworkCard, str, str, str]:
    header = read_header(path)
    if header.get("kind") != KIND:
        raise WeightsError(f"{path} holds a network of kind {str(header.get('kind'))[:40]!r}, not {KIND!r}")
    try:
        card = parse_card(header["card"])
        values = [header["shape"][key] for key in ("network", "layer", "sha256")]
        if not all(isinstance(value, str) and value.isprintable() for value in values):
            raise ValueError("what it stands on is no line of text")
        name, layer, sha256 = values
        if len(card.layers) < 2 or [one.name for one in card.layers[-2:]] != [layer, LOGITS]:
            raise ValueError(f"its layers do not end with {layer[:40]!r} and its own")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{path}: its card cannot be read ({error}); it is damaged or was written by another version"
        ) from None
    return card, name, layer, sha256
