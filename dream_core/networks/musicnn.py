"""`musicnn` and `musicnn_msd`: fifty tags of music each, exactly as published; the user brings the weights.

Its first filters look at most of the spectrum at once, or along time in each band; then a maximum over
frequency, three convolutions over time, and the maximum and the mean over time. There is no hierarchy of
pooling: whatever it hears, it hears at the full resolution of its frames.

A maximum sends its gradient to one place alone, so that a dream would change one band a frame, and often one
frame in three seconds. By default the way back is that of the soft maximum ``logsumexp(10 x) / 10``, over
frequency and over time; the way there stays exact.

Source:
    Pons and Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio tagging"; Pons et
    al. 2018, "End-to-end learning for music audio tagging at scale".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dream_core.errors import WeightsError
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.card import LayerInfo, NetworkCard
from dream_core.networks.log_mel_network import LogMelNetwork
from dream_core.networks.published import Published, PublishedFile
from dream_core.networks.tf_checkpoint import read_checkpoint
from dream_core.networks.weights import load_into

__all__ = ["CARD", "CARD_MSD", "PUBLISHED", "SPEC", "Musicnn", "build", "published_shapes", "read"]

SPEC = FrontendSpec(
    sample_rate=16000,
    window_samples=512,
    hop_samples=256,
    n_fft=512,
    n_mels=96,
    f_min_hz=0.0,
    f_max_hz=8000.0,
    log_offset=1e-4,
    patch_frames=187,
    patch_hop_frames=93,
    mel="slaney",
    power=2,
    centred=True,
    compress="log10",
)

CLASSES = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano"),
    *("ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing"),
    *("vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal"),
    *("pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice"),
    *("female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice"),
    "choral",
)
"""The tags of MagnaTagATune, in the published order."""

CLASSES_MSD = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock"),
    *("soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk"),
    *("oldies", "blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist", "guitar"),
    *("Hip-Hop", "70s", "party", "country", "easy listening", "sexy", "catchy", "funk", "electro"),
    *("heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy"),
)
"""The tags of the Million Song Dataset, in the published order."""

_N_CLASSES = 50
# (frames, bands) of the first filters, in the published order, and how many there are of each.
_TIMBRAL = ((7, 38), (7, 67))
_N_TIMBRAL = 204
_TEMPORAL_FRAMES = (128, 64, 32)
_N_TEMPORAL = 51
_N_FRONT = len(_TIMBRAL) * _N_TIMBRAL + len(_TEMPORAL_FRAMES) * _N_TEMPORAL
_N_MIDDLE = 64
_MIDDLE_FRAMES = 7
_N_POOLED = _N_FRONT + 3 * _N_MIDDLE
_N_PENULTIMATE = 200
_BATCH_NORM_EPSILON = 1e-3
_SHARPNESS = 10.0


def _kernels() -> Iterator[tuple[int, int, int, int]]:
    """Yield the shapes of the convolutions in Torch's layout, in the published order."""
    for n_frames, n_bands in _TIMBRAL:
        yield (_N_TIMBRAL, 1, n_frames, n_bands)
    for n_frames in _TEMPORAL_FRAMES:
        yield (_N_TEMPORAL, 1, n_frames, 1)
    for n_channels in (_N_FRONT, _N_MIDDLE, _N_MIDDLE):
        yield (_N_MIDDLE, 1, _MIDDLE_FRAMES, n_channels)


_KERNELS = tuple(_kernels())
_NORMS = (1, *(kernel[0] for kernel in _KERNELS), 2 * _N_POOLED, _N_PENULTIMATE)
"""Channels of the batch normalisations, in the published order."""


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the published tensors by their names, in Torch's layout.

    >>> published_shapes()["conv2d_1/kernel"]
    (204, 1, 7, 67)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for number, kernel in enumerate(_KERNELS):
        shapes[f"{_numbered('conv2d', number)}/kernel"] = kernel
        shapes[f"{_numbered('conv2d', number)}/bias"] = kernel[:1]
    for number, n_channels in enumerate(_NORMS):
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{_numbered('batch_normalization', number)}/{part}"] = (n_channels,)
    shapes |= {"dense/kernel": (_N_PENULTIMATE, 2 * _N_POOLED), "dense/bias": (_N_PENULTIMATE,)}
    return shapes | {"dense_1/kernel": (_N_CLASSES, _N_PENULTIMATE), "dense_1/bias": (_N_CLASSES,)}


CARD = NetworkCard(
    name="musicnn",
    title="Fifty tags of music, from instruments and voices to styles: learnt on MagnaTagATune.",
    sample_rate=SPEC.sample_rate,
    band_hz=(SPEC.f_min_hz, SPEC.f_max_hz),
    patch_s=SPEC.patch_samples / SPEC.sample_rate,
    frame_s=SPEC.hop_samples / SPEC.sample_rate,
    layers=(
        LayerInfo(name="timbral", n_channels=len(_TIMBRAL) * _N_TIMBRAL),
        LayerInfo(name="temporal", n_channels=len(_TEMPORAL_FRAMES) * _N_TEMPORAL),
        LayerInfo(name="cnn1", n_channels=_N_MIDDLE),
        LayerInfo(name="cnn2", n_channels=_N_MIDDLE),
        LayerInfo(name="cnn3", n_channels=_N_MIDDLE),
        LayerInfo(name="max_pool", n_channels=_N_POOLED),
        LayerInfo(name="mean_pool", n_channels=_N_POOLED),
        LayerInfo(name="penultimate", n_channels=_N_PENULTIMATE),
        LayerInfo(name="logits", n_channels=_N_CLASSES),
    ),
    classes=CLASSES,
    # Kernels, biases and the normalisations' scales and shifts, but for the one folded into `dense`.
    n_parameters=sum(math.prod(kernel) + kernel[0] for kernel in _KERNELS)
    + 2 * sum(n_channels for n_channels in _NORMS if n_channels != 2 * _N_POOLED)
    + (2 * _N_POOLED + 1) * _N_PENULTIMATE
    + (_N_PENULTIMATE + 1) * _N_CLASSES,
    licence="ISC",
    source=(
        "https://github.com/jordipons/musicnn: Python package musicnn 0.1.0, (c) Music Technology Group, "
        "Universitat Pompeu Fabra. Trained on the audio and tags of MagnaTagATune."
    ),
    weights="import",
    sha256="",
    description=(
        "Words musicians use: instruments, voices, styles, moods. Its first filters see most of the spectrum "
        "at once (timbral) or two seconds of each band (temporal); no layer loses the place in time."
    ),
    outputs="independent",
)

CARD_MSD = replace(
    CARD,
    name="musicnn_msd",
    title="Fifty tags of music, from genres and decades to moods: learnt on the Million Song Dataset.",
    classes=CLASSES_MSD,
    source=CARD.source.replace(
        "the audio and tags of MagnaTagATune", "the Million Song Dataset and its Last.fm tags"
    ),
    description=(
        "The same network as musicnn with the tags listeners gave to songs: genres, decades, moods. Its "
        "first filters see most of the spectrum at once (timbral) or two seconds of each band (temporal)."
    ),
)


class _SoftMaximum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        ctx.dim = dim
        ctx.save_for_backward(x)
        return x.amax(dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.softmax(_SHARPNESS * x, ctx.dim).mul_(gradients[0].unsqueeze(ctx.dim)), None


class _Maximum(nn.Module):
    """The largest along the last dimension; the way back may be that of a soft maximum."""

    def __init__(self, is_soft: bool) -> None:
        super().__init__()
        self.is_soft = is_soft

    def forward(self, x: Tensor) -> Tensor:
        if self.is_soft:
            return cast(Tensor, _SoftMaximum.apply(x, x.ndim - 1))
        return x.max(dim=-1).values


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=-1)


class _Norm(nn.Module):
    """Batch normalisation as it is once trained: a scale and a shift of each channel, which come second."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_channels))
        self.shift = nn.Parameter(torch.zeros(n_channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.ndim - 2))
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


class _Bank(nn.Module):
    """First filters of one size: padded over time, then the loudest place in the spectrum."""

    def __init__(self, kernel: tuple[int, ...], soft_backward: bool) -> None:
        super().__init__()
        n_outputs, _, n_frames, n_bands = kernel
        # As TensorFlow pads: of an even length the odd zero comes after.
        self.padding = (0, 0, (n_frames - 1) // 2, n_frames // 2)
        # No `Conv2d`, whose weights may be put channels last: from one channel that is three times as slow.
        self.weight = nn.Parameter(torch.zeros(kernel))
        self.bias = nn.Parameter(torch.zeros(n_outputs))
        self.is_narrow = n_bands == 1
        self.norm = _Norm(n_outputs)
        self.maximum = _Maximum(soft_backward)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, self.padding)
        if self.is_narrow:
            heard = self._along_time(padded)
        else:
            heard = nn.functional.conv2d(padded, self.weight, self.bias)
        return cast(Tensor, self.maximum(self.norm(nn.functional.relu(heard))))

    def _along_time(self, padded: Tensor) -> Tensor:
        """Convolve each band by itself, as one product of matrices: on a CPU the way back is ten times as fast."""
        n_bands, kernel = padded.shape[-1], self.weight.flatten(1)
        pieces = nn.functional.unfold(padded, (kernel.shape[1], 1))
        product = torch.baddbmm(self.bias[:, None], kernel.expand(len(pieces), -1, -1), pieces)
        return product.unflatten(2, (-1, n_bands))


class _Banks(nn.ModuleList):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([bank(x) for bank in self], dim=1)


class _Middle(nn.Module):
    """A convolution over time; where it has as many inputs as outputs, it adds to what came in."""

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_inputs, _N_MIDDLE, _MIDDLE_FRAMES, padding=_MIDDLE_FRAMES // 2)
        self.norm = _Norm(_N_MIDDLE)
        self.is_residual = n_inputs == _N_MIDDLE

    def forward(self, x: Tensor) -> Tensor:
        heard = cast(Tensor, self.norm(nn.functional.relu(self.conv(x))))
        return heard + x if self.is_residual else heard


class Musicnn(LogMelNetwork):
    """musicnn without its weights; `build` makes it of the published ones.

    Args:
        card: `CARD`, or `CARD_MSD`, which has the same shape.
        soft_backward: Whether maxima hand their gradient to all places, to the largest the most, or to the
            largest alone, as published.

    Shape:
        ``(n, frames, 96)`` -> logits ``(n, 50)``; probabilities are their sigmoid.
    """

    def __init__(self, card: NetworkCard = CARD, *, soft_backward: bool = True) -> None:
        super().__init__(card, SPEC)
        n_timbral, n_first = len(_TIMBRAL), len(_TIMBRAL) + len(_TEMPORAL_FRAMES)
        self.norm = _Norm(1)
        self.timbral = _Banks(_Bank(kernel, soft_backward) for kernel in _KERNELS[:n_timbral])
        self.temporal = _Banks(_Bank(kernel, soft_backward) for kernel in _KERNELS[n_timbral:n_first])
        self.middle = nn.ModuleList(_Middle(kernel[3]) for kernel in _KERNELS[n_first:])
        self.max_pool = _Maximum(soft_backward)
        self.mean_pool = _Mean()
        self.penultimate = nn.Sequential(
            nn.Linear(2 * _N_POOLED, _N_PENULTIMATE), nn.ReLU(), _Norm(_N_PENULTIMATE)
        )
        self.logits = nn.Linear(_N_PENULTIMATE, _N_CLASSES)

    def layer_modules(self) -> Mapping[str, nn.Module]:
        """Return the modules whose outputs are the card's layers, by the names of the publication."""
        return {
            "timbral": self.timbral,
            "temporal": self.temporal,
            **{f"cnn{number}": module for number, module in enumerate(self.middle, start=1)},
            "max_pool": self.max_pool,
            "mean_pool": self.mean_pool,
            "penultimate": self.penultimate,
            "logits": self.logits,
        }

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits for log-mel patches."""
        x = self.norm(patches.unsqueeze(1))
        heard = [torch.cat([self.timbral(x), self.temporal(x)], dim=1)]
        for module in self.middle:
            heard.append(module(heard[-1]))
        joined = torch.cat(heard, dim=1)
        # The two of each channel side by side, as the published weights want them.
        pooled = torch.stack([self.max_pool(joined), self.mean_pool(joined)], dim=2).flatten(1)
        return cast(Tensor, self.logits(self.penultimate(pooled)))


def read(blobs: Sequence[bytes]) -> dict[str, Tensor]:
    """Read musicnn's tensors from the bytes of a published checkpoint: its index and its data.

    Returns:
        Tensors by their published names, in Torch's layout.

    Raises:
        WeightsError: The files are damaged, cut short, or of another network.
    """
    origin = "musicnn's checkpoint"
    if len(blobs) != 2:
        raise WeightsError(
            f"{origin}: {len(blobs)} files were given, it has two: .index and .data-00000-of-00001; "
            "give the wheel of musicnn 0.1.0, which holds both"
        )
    shapes = published_shapes()
    theirs = {name: _tf_shape(shape) for name, shape in shapes.items()}
    tensors = read_checkpoint(blobs[0], blobs[1], theirs, origin)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all() or (name.endswith("variance") and (tensor < 0).any()):
            raise WeightsError(f"{origin}: {name!r} holds impossible values; it is damaged: get it again")
    return {name: _to_torch_layout(tensor) for name, tensor in tensors.items()}


def _tf_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return TensorFlow's shape: kernels are ``(height, width, in, out)`` or ``(in, out)``."""
    if len(shape) == 4:
        n_outputs, n_inputs, height, width = shape
        return height, width, n_inputs, n_outputs
    return shape[::-1]


def _to_torch_layout(tensor: Tensor) -> Tensor:
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    return tensor.T.contiguous() if tensor.ndim == 2 else tensor


def build(tensors: Mapping[str, Tensor], card: NetworkCard) -> Musicnn:
    """Make the network of published tensors, in float64.

    Args:
        tensors: As `read` returns them.
        card: `CARD` or `CARD_MSD`.

    Raises:
        WeightsError: A tensor is missing, too many, has another shape, or holds values that are not finite.
    """
    origin = f"{card.name}'s weights"
    shapes = published_shapes()
    if wrong := [
        name for name, shape in shapes.items() if name not in tensors or tensors[name].shape != shape
    ]:
        raise WeightsError(
            f"{origin} lack {wrong[0]!r} of shape {shapes[wrong[0]]}; they are of another network: get them "
            f"again with `reverie networks get {card.name}`"
        )
    published = {name: tensors[name].double() for name in shapes}
    network = Musicnn(card).double()
    load_into(network, _state(published), origin)
    return network


def _state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    norms = [_scale_and_shift(published, number) for number in range(len(_NORMS))]
    state["norm.scale"], state["norm.shift"] = norms[0]
    places = [f"timbral.{i}" for i in range(len(_TIMBRAL))]
    places += [f"temporal.{i}" for i in range(len(_TEMPORAL_FRAMES))]
    places += [f"middle.{i}" for i in range(3)]
    for number, place in enumerate(places):
        kernel = published[f"{_numbered('conv2d', number)}/kernel"]
        # Published with channels where the bands are in the first filters.
        is_middle = place.startswith("middle")
        conv = f"{place}.conv" if is_middle else place
        state[f"{conv}.weight"] = kernel[:, 0].transpose(1, 2) if is_middle else kernel
        state[f"{conv}.bias"] = published[f"{_numbered('conv2d', number)}/bias"]
        state[f"{place}.norm.scale"], state[f"{place}.norm.shift"] = norms[number + 1]
    scale, shift = norms[-2]
    state["penultimate.0.weight"] = published["dense/kernel"] * scale
    state["penultimate.0.bias"] = published["dense/bias"] + published["dense/kernel"] @ shift
    state["penultimate.2.scale"], state["penultimate.2.shift"] = norms[-1]
    state["logits.weight"], state["logits.bias"] = published["dense_1/kernel"], published["dense_1/bias"]
    return state


def _scale_and_shift(published: Mapping[str, Tensor], number: int) -> tuple[Tensor, Tensor]:
    gamma, beta, mean, variance = (
        published[f"{_numbered('batch_normalization', number)}/{part}"]
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma * torch.rsqrt(variance + _BATCH_NORM_EPSILON)
    return scale, beta - mean * scale


def _published(card: NetworkCard, folder: str, index: str, data: str) -> Published:
    return Published(
        card=card,
        package="musicnn",
        version="0.1.0",
        wheel_bytes=29_292_476,
        files=(
            PublishedFile(member=f"musicnn/{folder}/.index", sha256=index),
            PublishedFile(member=f"musicnn/{folder}/.data-00000-of-00001", sha256=data),
        ),
        read=read,
        build=build,
    )


PUBLISHED = (
    _published(
        CARD,
        "MTT_musicnn",
        "da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
        "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
    ),
    _published(
        CARD_MSD,
        "MSD_musicnn",
        "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
        "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
    ),
)
