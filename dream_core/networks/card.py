"""The card every network carries, and what a network must offer to be dreamed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec

__all__ = [
    "PITCH_CLASSES",
    "LayerInfo",
    "MelHearing",
    "Network",
    "NetworkCard",
    "PictureNetwork",
    "head_sizes",
]

PITCH_CLASSES = tuple(
    f"pitch_{name}" for name in ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
)
"""The last classes of a network with a second head, which hears the pitch class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """One layer that can be dreamed on.

    Args:
        name: The layer's own name, as in its publication.
        n_channels: How many filters it has.
    """

    name: str
    n_channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCard:
    """What a user must know of a network before dreaming with it.

    Args:
        name: Short name, used in presets.
        title: One line.
        sample_rate: Hz, the network's own rate.
        band_hz: Lowest and highest frequency the network hears.
        patch_s: How much sound it looks at, in seconds.
        frame_s: From one of its frames to the next, in seconds.
        layers: In order from the sound upwards.
        classes: Names of its outputs, in order; empty where it has none.
        outputs: Whether several classes may be heard at once (``independent``, each with a probability of its
            own) or one of them is (``exclusive``, probabilities sum to one).
        keys: MIDI keys of the classes, where they are notes; their names are C-2 to G8, C3 is middle C (60).
        keys_layer: The layer that hears those notes frame by frame ``(n, keys, frames)``, each frame in the
            middle of where it stands; empty where only the outputs do, patch by patch.
        looks: What it is given: ``log_mel`` patches, ``waveform`` itself, or a ``picture`` of a spectrogram.
        n_parameters: Weights it has.
        licence: SPDX identifier, or what is known.
        source: Where network and weights come from.
        weights: ``shipped`` with the project, ``import`` by the user, ``random`` from a seed, ``given`` with
            a module of the user's own that was wrapped.
        sha256: Of the weights file, where it is shipped.
        description: What it hears and what it is good for.
    """

    name: str
    title: str
    sample_rate: int
    band_hz: tuple[float, float]
    patch_s: float
    frame_s: float
    layers: tuple[LayerInfo, ...]
    classes: tuple[str, ...]
    n_parameters: int
    licence: str
    source: str
    weights: Literal["shipped", "import", "random", "given"]
    sha256: str
    description: str
    outputs: Literal["independent", "exclusive"] = "exclusive"
    keys: tuple[int, ...] = ()
    keys_layer: str = ""
    looks: Literal["log_mel", "waveform", "picture"] = "log_mel"


def head_sizes(card: NetworkCard) -> tuple[int, ...]:
    """Return how many classes each head has, of a network whose classes exclude each other.

    One class of each head is heard: their probabilities sum to one.
    """
    n_pitches, n_classes = len(PITCH_CLASSES), len(card.classes)
    has_pitch = n_classes > n_pitches and card.classes[-n_pitches:] == PITCH_CLASSES
    return (n_classes - n_pitches, n_pitches) if has_pitch else (n_classes,)


class Network(Protocol):
    """A module the dream core can ascend on.

    Two stages, so that the loop can cut, batch and shift between them: `listen` turns sound into what the
    network looks at, `forward` looks at it.
    """

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        ...

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Turn waveforms at the network's rate into patches, differentiable.

        Args:
            waveform: ``(batch, samples)``.
            offset_frames: Moves the patch grid; every offset gives the same number of patches.
            patch_hop_frames: From one patch to the next; 0 takes the network's own.

        Shape:
            ``(batch, samples)`` -> ``(batch, patches, *input)``.
        """
        ...

    def patch_starts(
        self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0
    ) -> Sequence[int]:
        """Return at which sample each patch begins that `listen` cuts of so many; some begin before it.

        Asked only where something depends on the time of a patch: weights that move, and notes.
        """
        ...

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return how much sound is in each patch ``(n, *input)``: a mean power ``(n,)``, 0 in silence."""
        ...

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave as ``(n, channels, ...)``."""
        ...

    def __call__(self, patches: Tensor) -> Tensor:
        """Return logits ``(n, classes)`` for patches ``(n, *input)``."""
        ...


class MelHearing(Protocol):
    """What a network offers beside that looks at patches of log-mel frames, for updates that ascend on those.

    `LogMelNetwork` has it. A network whose attribute `hearing` has it offers it too.
    """

    @property
    def spec(self) -> FrontendSpec:
        """The numbers of its front end."""
        ...

    def hear_frames(self, waveform: Tensor, patch_hop_frames: int = 0) -> Tensor:
        """Turn waveforms ``(batch, samples)`` into all their frames ``(batch, frames, mels)``."""
        ...

    def cut_patches(
        self, frames: Tensor, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0
    ) -> Tensor:
        """Cut the frames of so many samples into what `listen` returns of these."""
        ...


class PictureNetwork(Protocol):
    """What a network offers beside that whose card says that it looks at a ``picture``."""

    def see(self, pictures: Tensor) -> Tensor:
        """Return logits for pictures of any size that its architecture takes.

        Args:
            pictures: Black is 0, white is 1; across from left to right, then up from the lowest row.

        Shape:
            ``(n, 3, across, up)`` -> ``(n, classes)``.
        """
        ...
