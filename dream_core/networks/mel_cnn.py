"""A small convolutional network on log-mel patches, made to be dreamed with.

Nothing in it has a corner: SiLU instead of ReLU, mean pooling instead of maximum pooling, so every part of a
sound has a gradient. Input is measured from digital silence upwards, so the zeros that pad a convolution are
silence too. Batch normalisation is there while training and folded into the convolutions for dreaming.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dream_core.errors import WeightsError
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.card_data import number, parse_card, whole
from dream_core.networks.log_mel_network import LogMelNetwork
from dream_core.networks.weights import load_into, read_header, read_tensors, write_tensors

__all__ = ["KIND", "MelCnn", "MelCnnSpec", "fold_batch_norm", "load", "read_card", "read_frontend", "write"]

KIND = "mel_cnn"
"""What a weights file's header calls this kind of network."""

_NATS_PER_UNIT = 4.0
_LARGEST = {"sample_rate": 1 << 20, "n_mels": 1 << 9, "power": 2}
_CHOICES = {
    "mel": ("htk", "slaney", "octave"),
    "compress": ("log", "log10", "none"),
    "centred": (False, True),
}
# Four frames by three bands, every second frame: each frame is looked at twice, none more than another.
_FIRST_KERNEL = (4, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelCnnSpec:
    """The shape of a mel CNN.

    Args:
        frontend: What it hears.
        widths: Channels of every block; a block halves time and frequency, the first one time once more.
        depths: Convolutions in every block.
        n_embedding: Width of the layer under the logits.
    """

    frontend: FrontendSpec
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    n_embedding: int

    @property
    def n_features(self) -> int:
        """Channels times bands that reach the embedding."""
        return self.widths[-1] * (self.frontend.n_mels >> len(self.widths))

    def n_parameters(self, n_classes: int) -> int:
        """Count the weights and biases of a network of this shape, batch normalisation folded."""
        total, n_inputs = 0, 1
        for width, depth in zip(self.widths, self.depths, strict=True):
            kernel = 9 if n_inputs > 1 else math.prod(_FIRST_KERNEL)
            total += width * (kernel * n_inputs + 1) + (depth - 1) * width * (9 * width + 1)
            n_inputs = width
        return total + (self.n_features + 1) * self.n_embedding + (self.n_embedding + 1) * n_classes

    def layers(self, n_classes: int) -> tuple[LayerInfo, ...]:
        """Return the layers a network of this shape has."""
        blocks = [LayerInfo(name=f"block{i}", n_channels=w) for i, w in enumerate(self.widths, start=1)]
        return (
            *blocks,
            LayerInfo(name="embedding", n_channels=self.n_embedding),
            LayerInfo(name="logits", n_channels=n_classes),
        )


class MelCnn(LogMelNetwork):
    """Blocks of 3x3 convolutions and mean pooling, an embedding, logits.

    Args:
        card: Its classes are the logits.
        spec: Its shape.
        has_batch_norm: While training; `fold_batch_norm` makes the network that is stored and dreamed with.
        dropout: Share of the embedding left out, while training.

    Shape:
        ``(n, patch_frames, mels)`` -> ``(n, classes)``.
    """

    def __init__(
        self, card: NetworkCard, spec: MelCnnSpec, *, has_batch_norm: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__(card, spec.frontend)
        self.shape = spec
        self.blocks = nn.ModuleList()
        n_inputs = 1
        for width, depth in zip(spec.widths, spec.depths, strict=True):
            self.blocks.append(_block(n_inputs, width, depth, has_batch_norm))
            n_inputs = width
        self.embedding = nn.Sequential(nn.Linear(spec.n_features, spec.n_embedding), nn.SiLU())
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(spec.n_embedding, len(card.classes))

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        blocks = {f"block{i}": block for i, block in enumerate(self.blocks, start=1)}
        return {**blocks, "embedding": self.embedding, "logits": self.logits}

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for log-mel patches."""
        x = ((patches - self.silence) / _NATS_PER_UNIT).unsqueeze(1)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x)
        # A mean over time alone: where in the spectrum something is tells instruments apart.
        return cast(Tensor, self.logits(self.dropout(self.embedding(x.mean(dim=2).flatten(1)))))


def _block(n_inputs: int, width: int, depth: int, has_batch_norm: bool) -> nn.Sequential:
    modules: list[nn.Module] = []
    for index in range(depth):
        n_in = n_inputs if index == 0 else width
        if n_in == 1:
            modules.append(nn.Conv2d(1, width, _FIRST_KERNEL, (2, 1), padding=1, bias=not has_batch_norm))
        else:
            modules.append(nn.Conv2d(n_in, width, 3, padding=1, bias=not has_batch_norm))
        if has_batch_norm:
            modules.append(nn.BatchNorm2d(width))
        modules.append(nn.SiLU(inplace=True))
    modules.append(nn.AvgPool2d(2))
    return nn.Sequential(*modules)


def fold_batch_norm(trained: MelCnn) -> MelCnn:
    """Return the same network without batch normalisation, its scale and shift moved into the convolutions.

    Args:
        trained: In evaluation mode, built with ``has_batch_norm=True``.
    """
    folded = MelCnn(trained.card, trained.shape)
    for source, target in zip(trained.blocks, folded.blocks, strict=True):
        convolutions = [m for m in target.modules() if isinstance(m, nn.Conv2d)]
        originals = [m for m in source.modules() if isinstance(m, nn.Conv2d)]
        norms = [m for m in source.modules() if isinstance(m, nn.BatchNorm2d)]
        for conv, original, norm in zip(convolutions, originals, norms, strict=True):
            fused = nn.utils.fusion.fuse_conv_bn_eval(original.eval(), norm.eval())
            conv.load_state_dict(fused.state_dict())
    folded.embedding.load_state_dict(trained.embedding.state_dict())
    folded.logits.load_state_dict(trained.logits.state_dict())
    return folded.eval()


def write(path: Path, network: MelCnn) -> str:
    """Write a network to one safetensors file that carries its card and shape; returns the file's SHA-256."""
    card = replace(network.card, sha256="")  # a file cannot hold its own hash
    header = {"kind": KIND, "card": asdict(card), "shape": asdict(network.shape)}
    return write_tensors(path, network.state_dict(), header)


def read_card(path: Path) -> tuple[NetworkCard, MelCnnSpec]:
    """Read which network a file holds, without its weights.

    Raises:
        WeightsError: The file is absent, damaged, or not one that `write` made.
    """
    header = read_header(path)
    if header.get("kind") != KIND:
        raise WeightsError(
            f"{path} has no network card of this project; only files its own training wrote can be "
            "loaded by path (YAMNet's weights: reverie networks import yamnet FILE)"
        )
    try:
        card, shape = parse_card(header["card"]), _shape_from(header["shape"])
        spec = shape.frontend
        # What its shape says is not asked of the card.
        card = replace(
            card,
            sample_rate=spec.sample_rate,
            band_hz=(spec.f_min_hz, spec.f_max_hz),
            patch_s=spec.patch_samples / spec.sample_rate,
            frame_s=spec.hop_samples / spec.sample_rate,
            layers=shape.layers(len(card.classes)),
            n_parameters=shape.n_parameters(len(card.classes)),
            keys=(),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{path}: its card cannot be read ({error}); it is damaged or was written by another version"
        ) from None
    return card, shape


def _shape_from(data: dict[str, Any]) -> MelCnnSpec:
    frontend = read_frontend(data["frontend"])
    widths = tuple(whole(width, 1 << 12) for width in data["widths"])
    depths = tuple(whole(depth, 1 << 6) for depth in data["depths"])
    if not 1 <= len(widths) == len(depths) or not frontend.n_mels >> len(widths):
        raise ValueError("its blocks do not fit its bands")
    return MelCnnSpec(
        frontend=frontend, widths=widths, depths=depths, n_embedding=whole(data["n_embedding"], 1 << 14)
    )


def read_frontend(data: Mapping[str, object]) -> FrontendSpec:
    """Read what a header says of the front end.

    Raises:
        TypeError, ValueError, AttributeError: It can be none.
    """
    frontend = FrontendSpec(**{key: _checked(key, value) for key, value in data.items()})
    if not frontend.f_min_hz < frontend.f_max_hz <= frontend.sample_rate / 2 or not frontend.log_offset > 0:
        raise ValueError("its bands make no sense")
    if frontend.window_samples > frontend.n_fft:
        raise ValueError("its window is longer than its transform")
    return frontend


def _checked(key: str, value: object) -> Any:
    """Return what a header says of the front end, if it can be so; older files say less."""
    if key in _CHOICES:
        if not isinstance(value, str | bool) or value not in _CHOICES[key]:
            raise ValueError(f"{key} = {str(value)[:20]!r} is none of {', '.join(map(str, _CHOICES[key]))}")
        return value
    if key in ("f_min_hz", "f_max_hz", "log_offset"):
        return number(value, 1e6)
    return whole(value, _LARGEST.get(key, 1 << 14))


def load(path: Path) -> MelCnn:
    """Load a network from the file that carries its card.

    Raises:
        WeightsError: The file is absent, damaged, or of another kind of network.
    """
    card, shape = read_card(path)
    tensors = read_tensors(path)
    # What the header says decides how much memory is taken, so the tensors must bear it out first.
    if shape.n_parameters(len(card.classes)) != sum(tensor.numel() for tensor in tensors.values()):
        raise WeightsError(f"{path}: its weights are not those its card speaks of; the file is damaged")
    network = MelCnn(card, shape)
    load_into(network, tensors, str(path))
    return network
