"""The networks of every kind that is trained here, and the one file that holds each.

A file says in its header of which kind it is, what its card is, and what shape it has. Batch normalisation is
there while training and folded away in the file, so what is dreamed with has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dream_core.errors import WeightsError
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.card_data import parse_card, whole
from dream_core.networks.kinds import options as o
from dream_core.networks.kinds.blocks import fold_batch_norm
from dream_core.networks.kinds.key_body import KEYS, KEYS_LAYER, KeyBody
from dream_core.networks.kinds.mel_bodies import Parts, TimbralBody, mel_conv2d, mel_full, mel_vgg
from dream_core.networks.kinds.wave_bodies import wave_filterbank, wave_plain
from dream_core.networks.log_mel_network import LogMelNetwork
from dream_core.networks.mel_cnn import read_frontend
from dream_core.networks.weights import load_into, read_header, read_tensors, write_tensors
from dream_core.networks.wrapped_network import SampleHearing

__all__ = [
    "KEYS_KIND",
    "MEL_KINDS",
    "WAVE_KINDS",
    "MelShape",
    "TrainedNetwork",
    "WaveShape",
    "build",
    "fold",
    "load",
    "read_card",
    "readers",
    "write",
]

KEYS_KIND = "keys"
"""The kind that hears which piano keys sound, frame by frame."""

_NATS_PER_UNIT = 4.0


@dataclass(frozen=True, slots=True)
class _Body:
    """How a kind's body is built, and of which options."""

    options: type
    build: Callable[..., nn.Module]


MEL_KINDS: Mapping[str, _Body] = {
    "mel_full": _Body(o.MelFullOptions, mel_full),
    "mel_timbral": _Body(o.MelTimbralOptions, TimbralBody),
    "mel_vgg": _Body(o.MelVggOptions, mel_vgg),
    "mel_conv2d": _Body(o.MelConv2dOptions, mel_conv2d),
    KEYS_KIND: _Body(o.KeysOptions, KeyBody),
}
"""What looks at log-mel patches, by kind; `mel_cnn` has a file of its own."""

WAVE_KINDS: Mapping[str, _Body] = {
    "wave_filterbank": _Body(o.WaveFilterbankOptions, wave_filterbank),
    "wave_plain": _Body(o.WavePlainOptions, wave_plain),
}
"""What looks at the waveform, by kind."""


_KEYS_TOLD: Mapping[str, Any] = {"keys": KEYS, "keys_layer": KEYS_LAYER, "outputs": "independent"}
"""What a card says beside of a network that hears keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MelShape:
    """The shape of a network on log-mel patches.

    Args:
        kind: One of `MEL_KINDS`.
        frontend: What it hears.
        options: Of the kind.
    """

    kind: str
    frontend: FrontendSpec
    options: Any

    @property
    def hears(self) -> dict[str, Any]:
        """What a card says of the front end."""
        spec = self.frontend
        return {
            "sample_rate": spec.sample_rate,
            "band_hz": (spec.f_min_hz, spec.f_max_hz),
            "patch_s": spec.patch_samples / spec.sample_rate,
            "frame_s": spec.hop_samples / spec.sample_rate,
            "looks": "log_mel",
            **(_KEYS_TOLD if self.kind == KEYS_KIND else {}),
        }

    def build_body(self, n_classes: int) -> nn.Module:
        """Build what looks at the patches."""
        spec = self.frontend
        return MEL_KINDS[self.kind].build(self.options, spec.patch_frames, spec.n_mels, n_classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveShape:
    """The shape of a network on the waveform.

    Args:
        kind: One of `WAVE_KINDS`.
        sample_rate: Hz.
        patch_samples: Length of what it looks at.
        options: Of the kind.
    """

    kind: str
    sample_rate: int
    patch_samples: int
    options: Any

    @property
    def hears(self) -> dict[str, Any]:
        """What a card says of how it listens."""
        hearing = SampleHearing(self.sample_rate, self.patch_samples)
        return {
            "sample_rate": self.sample_rate,
            "band_hz": (20.0, self.sample_rate / 2.0),
            "patch_s": self.patch_samples / self.sample_rate,
            "frame_s": hearing.step_samples / self.sample_rate,
            "looks": "waveform",
        }

    def build_body(self, n_classes: int) -> nn.Module:
        """Build what looks at the samples."""
        build = WAVE_KINDS[self.kind].build
        return build(self.options, self.patch_samples, self.sample_rate, n_classes)


class _MelNetwork(LogMelNetwork):
    """A network on log-mel patches, measured from digital silence upwards.

    Args:
        card: Its classes are the logits.
        shape: What it is built as.

    Shape:
        ``(n, patch_frames, mels)`` -> ``(n, classes)``.
    """

    def __init__(self, card: NetworkCard, shape: MelShape) -> None:
        super().__init__(card, shape.frontend)
        self.shape = shape
        self.body = shape.build_body(len(card.classes))
        self._unit = _NATS_PER_UNIT if shape.frontend.compress == "log" else 1.0

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        return _modules(self.body)

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for log-mel patches."""
        return cast(Tensor, self.body(self.levels(patches)))

    def levels(self, patches: Tensor) -> Tensor:
        """Return what the body looks at: silence is 0."""
        return (patches - self.silence) / self._unit


class _WaveNetwork(nn.Module):
    """A network on the waveform.

    Args:
        card: Its classes are the logits.
        shape: What it is built as.

    Shape:
        ``(n, patch_samples)`` -> ``(n, classes)``.
    """

    def __init__(self, card: NetworkCard, shape: WaveShape) -> None:
        super().__init__()
        self._card = card
        self.shape = shape
        self.hearing = SampleHearing(shape.sample_rate, shape.patch_samples)
        self.body = shape.build_body(len(card.classes))

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        return self._card

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        return _modules(self.body)

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Cut ``(batch, samples)`` into patches ``(batch, patches, patch_samples)``, differentiable."""
        return self.hearing.listen(waveform, offset_frames, patch_hop_frames)

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        return self.hearing.patch_starts(n_samples, offset_frames, patch_hop_frames)

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return the mean power of each patch ``(n,)``; silence has none."""
        return self.hearing.measure_energy(patches)

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave: its channels come second already."""
        del name
        assert isinstance(output, Tensor)
        return output

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for patches of samples."""
        return cast(Tensor, self.body(patches.to(next(self.parameters()).dtype)))


TrainedNetwork = _MelNetwork | _WaveNetwork
"""A network of one of the kinds here."""


def build(card: NetworkCard, shape: MelShape | WaveShape) -> TrainedNetwork:
    """Build a network that can be trained, with batch normalisation; what its shape says goes into its card.

    Args:
        card: Its name and classes; what it says of layers and hearing is not asked.
        shape: What it is built as.
    """
    full = _complete(card, shape)
    return _MelNetwork(full, shape) if isinstance(shape, MelShape) else _WaveNetwork(full, shape)


def fold(trained: TrainedNetwork) -> TrainedNetwork:
    """Return the network that is stored and dreamed with: without batch normalisation."""
    return cast(TrainedNetwork, fold_batch_norm(trained))


def write(path: Path, network: TrainedNetwork) -> str:
    """Write a folded network to one safetensors file that carries its card and shape; returns its SHA-256."""
    card = replace(network.card, sha256="")  # a file cannot hold its own hash
    shape = asdict(network.shape)
    header = {"kind": shape.pop("kind"), "card": asdict(card), "shape": shape}
    return write_tensors(path, network.state_dict(), header)


def read_card(kind: str, path: Path) -> NetworkCard:
    """Read which network a file of a kind holds, without its weights.

    Raises:
        WeightsError: The file is absent, damaged, or of another kind.
    """
    return _read(kind, path)[0]


def load(kind: str, path: Path) -> TrainedNetwork:
    """Load a network from the file that carries its card.

    Raises:
        WeightsError: The file is absent, damaged, or of another kind.
    """
    card, shape = _read(kind, path)
    tensors = read_tensors(path)
    # What the header says decides how much memory is taken, so the tensors must bear it out first.
    if card.n_parameters != sum(tensor.numel() for tensor in tensors.values()):
        raise WeightsError(f"{path}: its weights are not those its card speaks of; the file is damaged")
    network = fold(build(card, shape))
    load_into(network, tensors, str(path))
    return network


def _read(kind: str, path: Path) -> tuple[NetworkCard, MelShape | WaveShape]:
    header = read_header(path)
    if header.get("kind") != kind:
        raise WeightsError(f"{path} holds a network of kind {str(header.get('kind'))[:40]!r}, not {kind!r}")
    try:
        shape = _shape_from(kind, header["shape"])
        card = _complete(parse_card(header["card"]), shape)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: its card cannot be read ({error}); it is damaged or was written by another version"
        ) from None
    return card, shape


def _shape_from(kind: str, data: dict[str, Any]) -> MelShape | WaveShape:
    if kind in MEL_KINDS:
        options: Any = o.read_options(MEL_KINDS[kind].options, data["options"])
        return MelShape(kind=kind, frontend=read_frontend(data["frontend"]), options=options)
    return WaveShape(
        kind=kind,
        sample_rate=whole(data["sample_rate"], 1 << 20, least=4000),
        patch_samples=whole(data["patch_samples"], 1 << 22),
        options=o.read_options(WAVE_KINDS[kind].options, data["options"]),
    )


def _complete(card: NetworkCard, shape: MelShape | WaveShape) -> NetworkCard:
    """Return a card that says of layers and hearing what the shape does."""
    if not card.classes:
        raise ValueError("it has no classes")
    # On no device at all, whatever size the header speaks of.
    with torch.device("meta"):
        body = fold_batch_norm(shape.build_body(len(card.classes)))
    layers = tuple(LayerInfo(name=name, n_channels=width) for name, (_, width) in _layers(body).items())
    n_parameters = sum(tensor.numel() for tensor in body.state_dict().values())
    told = {"keys": (), "keys_layer": "", **shape.hears}
    return replace(card, layers=layers, n_parameters=n_parameters, **told)


def _layers(body: nn.Module) -> Parts:
    return cast(Parts, cast(Any, body).layers())


def _modules(body: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, (module, _) in _layers(body).items()}


def readers() -> dict[str, tuple[Callable[[Path], NetworkCard], Callable[[Path], nn.Module]]]:
    """Return how a file of each kind is read: its card, and the network."""
    return {kind: (partial(read_card, kind), partial(load, kind)) for kind in (*MEL_KINDS, *WAVE_KINDS)}
