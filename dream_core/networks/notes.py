"""`notes`: Spotify's Basic Pitch, which notes sound; its weights are the user's to bring.

Follows the published graph (basic-pitch 0.4.0, ``icassp_2022``, Apache-2.0): constant-Q levels and their
harmonics, then three branches. Contours, three bins to a semitone, come first; notes are read off them alone;
onsets see the harmonics and the notes. Batch normalisation was folded into the convolutions when the file was
published.

The published network hears two seconds at a time and normalises the level of those two seconds, so a patch
here is the sound itself, and nothing is known of how loud it was once it has been looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dream_core.errors import WeightsError
from dream_core.frontend.patches import patch_starts, slice_patches
from dream_core.names import name_key
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.kinds.blocks import MeanOdds
from dream_core.networks.notes_frontend import (
    BINS_PER_OCTAVE,
    HARMONICS,
    HOP_SAMPLES,
    KERNEL_SAMPLES,
    N_BINS,
    ConstantQ,
    HarmonicStack,
    NormalisedLog,
)
from dream_core.networks.onnx_reader import read_floats
from dream_core.networks.published import Published, PublishedFile
from dream_core.networks.weights import load_into

__all__ = ["CARD", "KEYS", "N_FRAMES", "PATCH_SAMPLES", "PUBLISHED", "SHAPES", "Notes", "build", "read"]

SAMPLE_RATE = 22050
PATCH_SAMPLES = 43844
"""What the network hears at once: two seconds less one hop."""

PATCH_HOP_FRAMES = 86
"""About half a patch."""

N_FRAMES = 1 + PATCH_SAMPLES // HOP_SAMPLES
KEYS = tuple(range(21, 109))
"""The piano's: A-1 to C7, lowest first."""

_BINS_PER_KEY = BINS_PER_OCTAVE // 12
_N_CONTOURS = len(KEYS) * _BINS_PER_KEY
_N_HIDDEN = 32
_LOWEST_HZ = 27.5
_MAX_BYTES = 1 << 20  # four times the published file
_EXPECTED = (
    "basic-pitch 0.4.0's nmp.onnx is expected: call `reverie networks get notes`, or give `reverie networks "
    "import notes` that package's wheel"
)

# A converter named the tensors: by the operations they came from, each said twice, or by a number.
_TWICE = "model_1/{0};model_1/{0}"


def _bias_name(layer: str) -> str:
    return _TWICE.format(f"{layer}/BiasAdd/ReadVariableOp")


def _folded_name(relu: str, norm: str, convolution: str, *more: str) -> str:
    """Return the name of a bias into which batch normalisation was folded: all operations that led to it."""
    parts = [f"{relu}/Relu", f"{norm}/FusedBatchNormV3", f"{convolution}/BiasAdd/ReadVariableOp"]
    parts += [f"{convolution}/BiasAdd", *(f"{layer}/Conv2D" for layer in more), f"{convolution}/Conv2D"]
    return ";".join(_TWICE.format(part) for part in parts)


# Where a tensor goes in a `Notes`, its name in the published file, its shape there.
_TENSORS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("constant_q.real", "const_fold_opt__655", (BINS_PER_OCTAVE, 1, 1, KERNEL_SAMPLES)),
    ("constant_q.imaginary", "const_fold_opt__664", (BINS_PER_OCTAVE, 1, 1, KERNEL_SAMPLES)),
    ("constant_q.lowpass", "const_fold_opt__734", (1, 1, 1, KERNEL_SAMPLES)),
    ("constant_q.gain", _TWICE.format("cq_t2010v2_1/Sqrt"), (N_BINS, 1, 1)),
    ("harmonics.scale", _TWICE.format("batch_normalization/FusedBatchNormV3"), (1,)),
    ("harmonics.shift", _TWICE.format("batch_normalization/FusedBatchNormV3") + "1", (1,)),
    ("contours_hidden.0.weight", "const_fold_opt__727", (8, len(HARMONICS), 3, 39)),
    ("contours_hidden.0.bias", _folded_name("re_lu_1", "batch_normalization_2", "conv2d_1"), (8,)),
    ("contours_last.weight", "const_fold_opt__710", (1, 8, 5, 5)),
    ("contours_last.bias", _bias_name("contours-reduced"), (1,)),
    ("notes_hidden.0.weight", "const_fold_opt__738", (_N_HIDDEN, 1, 7, 7)),
    ("notes_hidden.0.bias", _bias_name("conv2d_2"), (_N_HIDDEN,)),
    ("notes_last.weight", "const_fold_opt__702", (1, _N_HIDDEN, 7, 3)),
    ("notes_last.bias", _bias_name("conv2d_3"), (1,)),
    ("onsets_hidden.0.weight", "const_fold_opt__707", (_N_HIDDEN, len(HARMONICS), 5, 5)),
    (
        "onsets_hidden.0.bias",
        _folded_name("re_lu_3", "batch_normalization_3", "conv2d_4", "conv2d_2"),
        (_N_HIDDEN,),
    ),
    ("onsets_last.weight", "const_fold_opt__680", (1, 1 + _N_HIDDEN, 3, 3)),
    ("onsets_last.bias", _bias_name("conv2d_5"), (1,)),
)

SHAPES = {published: shape for _own, published, shape in _TENSORS}
"""Every tensor of the published file that is read, by its name there, and its shape."""

CARD = NetworkCard(
    name="notes",
    title="Which notes sound, and where they begin: Basic Pitch, trained on many instruments.",
    sample_rate=SAMPLE_RATE,
    band_hz=(_LOWEST_HZ, _LOWEST_HZ * 2.0 ** ((N_BINS - 1) / BINS_PER_OCTAVE)),
    patch_s=PATCH_SAMPLES / SAMPLE_RATE,
    frame_s=HOP_SAMPLES / SAMPLE_RATE,
    layers=(
        LayerInfo(name="cqt", n_channels=1),
        LayerInfo(name="harmonics", n_channels=len(HARMONICS)),
        LayerInfo(name="contours_hidden", n_channels=8),
        LayerInfo(name="contours_logits", n_channels=_N_CONTOURS),
        LayerInfo(name="contours", n_channels=_N_CONTOURS),
        LayerInfo(name="notes_hidden", n_channels=_N_HIDDEN),
        LayerInfo(name="notes_logits", n_channels=len(KEYS)),
        LayerInfo(name="notes", n_channels=len(KEYS)),
        LayerInfo(name="onsets_hidden", n_channels=_N_HIDDEN),
        LayerInfo(name="onsets_logits", n_channels=len(KEYS)),
        LayerInfo(name="onsets", n_channels=len(KEYS)),
        LayerInfo(name="logits", n_channels=len(KEYS)),
    ),
    classes=tuple(name_key(key) for key in KEYS),
    # The transform was not learnt; batch normalisation is a scale and a shift here, no parameters.
    n_parameters=sum(
        math.prod(shape)
        for own, _published, shape in _TENSORS
        if not own.startswith(("constant_q", "harmonics"))
    ),
    licence="Apache-2.0",
    source="https://github.com/spotify/basic-pitch (basic-pitch 0.4.0, icassp_2022; Bittner et al. 2022)",
    weights="import",
    sha256="",
    description=(
        "Hears two seconds at a time, whatever their level, on a constant-Q spectrum with harmonics side by "
        "side. Classes are the piano's 88 notes, of probability 0.1 in silence and 0.9 at most, as learnt; "
        "onsets and contours, three bins to a semitone, can be dreamed on as layers. Learnt from GuitarSet, "
        "MAESTRO, Slakh, MedleyDB-Pitch and iKala."
    ),
    outputs="independent",
    keys=KEYS,
    keys_layer="notes_logits",
    looks="waveform",
)


class Notes(nn.Module):
    """Basic Pitch without its weights; `build` makes it with them.

    Args:
        card: The network's card.

    Shape:
        Sound ``(n, 43844)`` -> logits ``(n, 88)``, one a note; probabilities are their sigmoid.
    """

    def __init__(self, card: NetworkCard = CARD) -> None:
        super().__init__()
        self._card = card
        self.constant_q = ConstantQ()
        self.cqt = NormalisedLog()
        self.harmonics = HarmonicStack(_N_CONTOURS)
        # Strided along frequency: from three bins a semitone to one.
        down = (1, _BINS_PER_KEY)
        self.contours_hidden = _conv_relu(nn.Conv2d(len(HARMONICS), 8, (3, 39), padding=(1, 19)))
        self.contours_last = nn.Conv2d(8, 1, 5, padding=2)
        self.notes_hidden = _conv_relu(nn.Conv2d(1, _N_HIDDEN, 7, stride=down, padding=(3, 2)))
        self.notes_last = nn.Conv2d(_N_HIDDEN, 1, (7, 3), padding=(3, 1))
        self.onsets_hidden = _conv_relu(nn.Conv2d(len(HARMONICS), _N_HIDDEN, 5, stride=down, padding=(2, 1)))
        self.onsets_last = nn.Conv2d(1 + _N_HIDDEN, 1, 3, padding=1)
        self.contours_logits, self.contours = _Pitches(), nn.Sigmoid()
        self.notes_logits, self.notes = _Pitches(), nn.Sigmoid()
        self.onsets_logits, self.onsets = _Pitches(), nn.Sigmoid()
        self.logits = MeanOdds()

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        return self._card

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.constant_q.gain.device

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        return {info.name: self.get_submodule(info.name) for info in self._card.layers}

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Cut waveforms at the network's rate into patches of sound, differentiable.

        Args:
            waveform: At 22,050 Hz, full scale 1.
            offset_frames: Moves the patch grid by as many hops of 256 samples; every offset gives the same
                number of patches.
            patch_hop_frames: From one patch to the next; 0 takes the network's own, half a patch.

        Shape:
            ``(batch, samples)`` -> ``(batch, patches, 43844)``.
        """
        hop_samples = (patch_hop_frames or PATCH_HOP_FRAMES) * HOP_SAMPLES
        patches = slice_patches(
            waveform[..., None], PATCH_SAMPLES, hop_samples, offset_frames * HOP_SAMPLES, fill=0.0
        )
        return patches[..., 0]

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        hop_samples = (patch_hop_frames or PATCH_HOP_FRAMES) * HOP_SAMPLES
        return patch_starts(n_samples, PATCH_SAMPLES, hop_samples, offset_frames * HOP_SAMPLES)

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return the mean power of each patch ``(n,)``; silence has none."""
        return patches.detach().square().mean(dim=1)

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave: its channels, or its pitches, come second already."""
        del name
        assert isinstance(output, Tensor)
        return output

    def forward(self, patches: Tensor) -> Tensor:
        """Return one logit a note for patches of sound; see `MeanOdds` for how frames become one."""
        harmonics = self.harmonics(self.cqt(self.hear_power(patches)))
        _, notes_logits = self._hear_pitches(harmonics)
        # The logits do not hear onsets, nor the notes' probabilities: they are for those who tap them.
        if any(module._forward_hooks for module in (self.notes, *self._onset_modules())):
            notes = self.notes(notes_logits)
            if any(module._forward_hooks for module in self._onset_modules()):
                self._hear_onsets(harmonics, notes)
        return cast(Tensor, self.logits(notes_logits))

    def hear_power(self, patches: Tensor) -> Tensor:
        """Return the power of the constant-Q transform's bins, ``(n, 43844)`` -> ``(n, 1, 172, 309)``."""
        return cast(Tensor, self.constant_q(patches.to(next(self.parameters()).dtype)))

    def hear_frames(self, power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities in every frame, for what `hear_power` gives.

        Shape:
            ``(n, 1, 172, 309)`` -> notes and onsets ``(n, 88, 172)``, contours ``(n, 264, 172)``.
        """
        harmonics = self.harmonics(self.cqt(power))
        contours, notes_logits = self._hear_pitches(harmonics)
        notes = self.notes(notes_logits)
        return notes, self._hear_onsets(harmonics, notes), contours

    def _hear_pitches(self, harmonics: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities of contours, and the notes' logits that are read off them."""
        contours = self.contours(self.contours_logits(self.contours_last(self.contours_hidden(harmonics))))
        return contours, self.notes_logits(self.notes_last(self.notes_hidden(_as_picture(contours))))

    def _hear_onsets(self, harmonics: Tensor, notes: Tensor) -> Tensor:
        both = torch.cat([_as_picture(notes), self.onsets_hidden(harmonics)], dim=1)
        return cast(Tensor, self.onsets(self.onsets_logits(self.onsets_last(both))))

    def _onset_modules(self) -> tuple[nn.Module, ...]:
        return self.onsets_hidden, self.onsets_logits, self.onsets


class _Pitches(nn.Module):
    """Turns one channel of ``(n, 1, time, pitches)`` into ``(n, pitches, time)``."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0].transpose(1, 2)


def _conv_relu(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.ReLU())


def _as_picture(pitches: Tensor) -> Tensor:
    """Turn ``(n, pitches, time)`` back into ``(n, 1, time, pitches)``."""
    return pitches.transpose(1, 2)[:, None]


def read(blobs: Sequence[bytes]) -> dict[str, Tensor]:
    """Read Basic Pitch's tensors from the bytes of its ONNX file, by their names in it.

    Args:
        blobs: The bytes of ``nmp.onnx``, alone.

    Raises:
        WeightsError: It is damaged, or another network's.
    """
    if len(blobs) != 1:
        raise WeightsError(f"{len(blobs)} files were given where there is one; {_EXPECTED}")
    found = read_floats(blobs[0], max_bytes=_MAX_BYTES, origin=_EXPECTED)
    tensors: dict[str, Tensor] = {}
    for name, shape in SHAPES.items():
        if name not in found:
            raise WeightsError(f"the file has no tensor {name!r}; {_EXPECTED}")
        if found[name].shape != shape:
            raise WeightsError(f"{name!r} has shape {tuple(found[name].shape)}, not {shape}; {_EXPECTED}")
        if not torch.isfinite(found[name]).all():
            raise WeightsError(f"{name!r} holds values that are not finite; {_EXPECTED}")
        tensors[name] = found[name]
    return tensors


def build(tensors: Mapping[str, Tensor], card: NetworkCard = CARD) -> Notes:
    """Make the network of its published tensors, in float64.

    Raises:
        WeightsError: A tensor is missing or has another shape.
    """
    network = Notes(card).double()
    wanted = network.state_dict()
    state: dict[str, Tensor] = {}
    for own, published, shape in _TENSORS:
        tensor = tensors.get(published)
        if tensor is None or tensor.shape != shape:
            given = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
            raise WeightsError(f"notes: {published!r} is {given}, {shape} is needed; {_EXPECTED}")
        state[own] = tensor.double().reshape(wanted[own].shape)
    load_into(network, state, "notes")
    return network


PUBLISHED = (
    Published(
        card=CARD,
        package="basic-pitch",
        version="0.4.0",
        wheel_bytes=758279,
        files=(
            PublishedFile(
                member="basic_pitch/saved_models/icassp_2022/nmp.onnx",
                sha256="2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
            ),
        ),
        tensors_sha256="cc9b9d37d6027be85bffe74214019dcec95ac81625284743c0899edcf9b91b9d",
        read=read,
        build=build,
    ),
)
"""The one file of weights there is for this network."""
