"""A recurrent network that goes on playing, as one that listens: sound dreams towards what it expects.

Its layers are what it remembers, ``rnn1``, ``rnn2`` ..., and ``fit``, one channel: minus the mean squared
error of what it expected of each frame. ``layer:fit`` makes a sound one that the network would have gone on
with, ``-1*layer:fit`` one that surprises it.

A file of it carries its card and its shape, and is one of the user's own networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, get_args

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError, WeightsError
from dream_core.frames.domains import Domain
from dream_core.frames.network import Cell, FramesNet, FramesSpec
from dream_core.frontend.samples import sample_starts, slice_samples
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.card_data import parse_card, whole
from dream_core.networks.weights import load_into, read_header, read_tensors, write_tensors

__all__ = ["KIND", "FramesNetwork", "describe", "load", "read_card", "write"]

KIND: Final = "frames"
"""What a weights file's header calls this kind of network."""

_PATCH_FRAMES: Final = 60
_PATCH_HOP_FRAMES: Final = 30
_QUIETEST: Final = 1e-8


def describe(name: str, spec: FramesSpec, *, title: str = "", description: str = "") -> NetworkCard:
    """Return the card of a network of that shape.

    Args:
        name: What presets call it.
        spec: Its shape.
        title: What it learnt, in a line.
        description: More of that.
    """
    rnns = tuple(LayerInfo(name=f"rnn{i}", n_channels=spec.width) for i in range(1, spec.n_layers + 1))
    return NetworkCard(
        name=name,
        title=title or "Plays on what it has learnt.",
        sample_rate=spec.sample_rate,
        band_hz=(20.0, spec.sample_rate / 2),
        patch_s=_patch_samples(spec) / spec.sample_rate,
        frame_s=spec.frame_s,
        layers=(*rnns, LayerInfo(name="fit", n_channels=1)),
        classes=(),
        n_parameters=spec.n_parameters,
        licence="yours",
        source="Trained on the user's own sound.",
        weights="import",
        sha256="",
        description=description or "layer:fit dreams towards what it expects, -1*layer:fit towards surprise.",
        looks="waveform",
    )


def _patch_samples(spec: FramesSpec) -> int:
    return (_PATCH_FRAMES - 1) * spec.frame_samples + spec.reach_samples


class FramesNetwork(nn.Module):
    """A trained :class:`FramesNet` as a network to dream with.

    Args:
        card: What it is.
        frames: The network itself.

    Shape:
        Patches of samples ``(n, samples)``, 60 frames long -> ``(n, 0)``: it has no classes. Its layers are
        ``(n, width, 59)`` and ``(n, 1, 59)``.
    """

    def __init__(self, card: NetworkCard, frames: FramesNet) -> None:
        super().__init__()
        self._card = card
        self.frames = frames
        self.train(False)

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        return self._card

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.frames.mean.device

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        rnns = {f"rnn{index}": layer for index, layer in enumerate(self.frames.layers, start=1)}
        return {**rnns, "fit": self.frames.fit}

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Cut waveforms at the network's rate into patches, differentiable.

        Args:
            waveform: Full scale 1.
            offset_frames: Moves the patch grid by a frame each; wraps at the hop.
            patch_hop_frames: From one patch to the next; 0 takes 30.

        Shape:
            ``(batch, samples)`` -> ``(batch, patches, patch_samples)``.
        """
        spec = self.frames.spec
        hop_samples = (patch_hop_frames or _PATCH_HOP_FRAMES) * spec.frame_samples
        return slice_samples(waveform, _patch_samples(spec), hop_samples, spec.frame_samples, offset_frames)

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        spec = self.frames.spec
        hop_samples = (patch_hop_frames or _PATCH_HOP_FRAMES) * spec.frame_samples
        return sample_starts(n_samples, _patch_samples(spec), hop_samples, spec.frame_samples, offset_frames)

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return the mean power of each patch ``(n,)``; silence has none."""
        return patches.detach().square().mean(dim=1)

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave as ``(n, channels, frames)``."""
        if name == "fit":
            assert isinstance(output, Tensor)
            return output.unsqueeze(1)
        assert isinstance(output, tuple)
        remembered: Tensor = output[0]
        return remembered.transpose(1, 2)

    def forward(self, patches: Tensor) -> Tensor:
        """Foresee the frames of patches of samples, for those who tap it; there are no logits."""
        network = self.frames
        heard = network.standardise(network.hear(patches.to(network.mean)))
        network.fit(network(heard[:, :-1]).expected, heard[:, 1:])
        return patches.new_zeros((patches.shape[0], 0))

    def train(self, mode: bool = True) -> FramesNetwork:
        """Stay in evaluation mode, whatever is asked; on a GPU, cuDNN gives no gradient through it there."""
        del mode
        super().train(False)
        for layer in self.frames.layers:
            layer.training = True  # without dropout it is the same in both
        return self


def write(path: Path, network: FramesNet, card: NetworkCard, facts: Mapping[str, Any] | None = None) -> str:
    """Write a network to one safetensors file that carries its card and shape; returns the file's SHA-256.

    Args:
        path: The file.
        network: The network.
        card: From `describe`.
        facts: What else the file shall say of itself: how it was trained.
    """
    header = {
        "kind": KIND,
        "card": asdict(replace(card, sha256="")),
        "shape": asdict(network.spec),
        "training": dict(facts or {}),
    }
    return write_tensors(path, network.state_dict(), header)


def read_card(path: Path) -> NetworkCard:
    """Read which network a file holds, without its weights.

    Raises:
        WeightsError: The file is absent, damaged, or not one that `write` made.
    """
    return _read(path)[0]


def load(path: Path) -> FramesNetwork:
    """Load a network from the file that carries its card.

    Raises:
        WeightsError: The file is absent, damaged, or of another kind of network.
    """
    card, spec = _read(path)
    tensors = read_tensors(path)
    # What the header says decides how much memory is taken, so the tensors must bear it out first.
    if spec.n_parameters + 3 * spec.n_values != sum(tensor.numel() for tensor in tensors.values()):
        raise WeightsError(f"{path}: its weights are not those its card speaks of; the file is damaged")
    network = FramesNet(spec)
    load_into(network, tensors, str(path))
    return FramesNetwork(card, network)


def _read(path: Path) -> tuple[NetworkCard, FramesSpec]:
    header = read_header(path)
    if header.get("kind") != KIND:
        raise WeightsError(
            f"{path} holds no network that plays on; `reverie networks train-frames` makes one of your sounds"
        )
    try:
        said, spec = parse_card(header["card"]), _shape_from(header["shape"])
    except (KeyError, TypeError, ValueError, AttributeError, SettingError) as error:
        raise WeightsError(
            f"{path}: its card cannot be read ({error}); it is damaged or was written by another version"
        ) from None
    # What its shape says is not asked of the card.
    card = describe(said.name, spec, title=said.title, description=said.description)
    return replace(card, licence=said.licence, source=said.source), spec


def _shape_from(data: dict[str, Any]) -> FramesSpec:
    sizes = {key: whole(data[key], 1 << 20) for key in ("sample_rate", "frame_samples", "width", "n_layers")}
    names = {"domain": get_args(Domain), "cell": get_args(Cell)}
    for key, accepted in names.items():
        if data[key] not in accepted:
            raise ValueError(f"{key} = {str(data[key])[:20]!r} is none of {', '.join(accepted)}")
    return FramesSpec(domain=data["domain"], cell=data["cell"], **sizes)
