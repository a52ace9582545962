"""`musicnn` and `musicnn_msd`: fifty tags of music each, exactly as published; the user brings the weights.

One network, `musicnn_network`, with the weights and tags of either data set. Tensors keep their published
names; each batch normalisation becomes a scale and a shift in float64, the last but one a part of `dense`.

Source:
    Pons and Serra 2019, "musicnn: pre-trained convolutional neural networks for music audio tagging".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dream_core.errors import WeightsError
from dream_core.networks.card import NetworkCard
from dream_core.networks.musicnn_network import (
    KERNELS,
    LAYERS,
    N_CLASSES,
    N_PARAMETERS,
    N_PENULTIMATE,
    N_POOLED,
    NORMS,
    SPEC,
    TEMPORAL_FRAMES,
    TIMBRAL,
    Musicnn,
)
from dream_core.networks.published import Published, PublishedFile
from dream_core.networks.tf_checkpoint import read_checkpoint
from dream_core.networks.weights import load_into

__all__ = ["CARD", "CARD_MSD", "CLASSES", "CLASSES_MSD", "PUBLISHED", "build", "published_shapes", "read"]

_BATCH_NORM_EPSILON = 1e-3
_REMEDY = "get it again with `reverie networks get musicnn` (or musicnn_msd)"

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


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the published tensors by their names, in Torch's layout.

    >>> published_shapes()["conv2d_1/kernel"]
    (204, 1, 7, 67)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for number, kernel in enumerate(KERNELS):
        shapes[f"{_numbered('conv2d', number)}/kernel"] = kernel
        shapes[f"{_numbered('conv2d', number)}/bias"] = kernel[:1]
    for number, n_channels in enumerate(NORMS):
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{_numbered('batch_normalization', number)}/{part}"] = (n_channels,)
    shapes |= {"dense/kernel": (N_PENULTIMATE, 2 * N_POOLED), "dense/bias": (N_PENULTIMATE,)}
    return shapes | {"dense_1/kernel": (N_CLASSES, N_PENULTIMATE), "dense_1/bias": (N_CLASSES,)}


CARD = NetworkCard(
    name="musicnn",
    title="Fifty tags of music, from instruments and voices to styles: learnt on MagnaTagATune.",
    sample_rate=SPEC.sample_rate,
    # Bands begin at 0 Hz, but none weighs the transform's first bin.
    band_hz=(SPEC.sample_rate / SPEC.n_fft, SPEC.f_max_hz),
    patch_s=SPEC.patch_samples / SPEC.sample_rate,
    frame_s=SPEC.hop_samples / SPEC.sample_rate,
    layers=LAYERS,
    classes=CLASSES,
    n_parameters=N_PARAMETERS,
    licence="ISC",
    source=(
        "https://github.com/jordipons/musicnn: Python package musicnn 0.1.0, (c) Music Technology Group, "
        "Universitat Pompeu Fabra. Trained on the audio and tags of MagnaTagATune."
    ),
    weights="import",
    sha256="",
    description=(
        "Words musicians use: instruments, voices, styles, moods. Its first filters see most of the spectrum "
        "at once (timbral) or two seconds of each band (temporal); all but the pools keep the place in time."
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
            f"{origin}: {len(blobs)} files were given, it has two: .index and .data-00000-of-00001; {_REMEDY}"
        )
    shapes = published_shapes()
    theirs = {name: _tf_shape(shape) for name, shape in shapes.items()}
    try:
        tensors = read_checkpoint(blobs[0], blobs[1], theirs, origin)
    except WeightsError as error:
        raise WeightsError(f"{error}; {_REMEDY}") from None
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all() or (name.endswith("variance") and (tensor < 0).any()):
            raise WeightsError(f"{origin}: {name!r} holds impossible values; it is damaged; {_REMEDY}")
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
    if extra := sorted(tensors.keys() - shapes.keys()):
        raise WeightsError(
            f"{origin} hold {extra[0]!r}, which it does not have; they are of another network: get them "
            f"again with `reverie networks get {card.name}`"
        )
    if wrong := [n for n, shape in shapes.items() if n not in tensors or tensors[n].shape != shape]:
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
    norms = [_scale_and_shift(published, number) for number in range(len(NORMS))]
    state["norm.scale"], state["norm.shift"] = norms[0]
    places = [f"timbral.{i}" for i in range(len(TIMBRAL))]
    places += [f"temporal.{i}" for i in range(len(TEMPORAL_FRAMES))]
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


def _published(card: NetworkCard, folder: str, index: str, data: str, tensors: str) -> Published:
    return Published(
        card=card,
        package="musicnn",
        version="0.1.0",
        wheel_bytes=29_292_476,
        files=(
            PublishedFile(member=f"musicnn/{folder}/.index", sha256=index),
            PublishedFile(member=f"musicnn/{folder}/.data-00000-of-00001", sha256=data),
        ),
        tensors_sha256=tensors,
        read=read,
        build=build,
    )


PUBLISHED = (
    _published(
        CARD,
        "MTT_musicnn",
        "da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
        "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
        "55c771aed550e3cc68f216eb167cf2f23e96aabf6a2e96bd7dcd7be7aee1d27c",
    ),
    _published(
        CARD_MSD,
        "MSD_musicnn",
        "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
        "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
        "3d3f5a5e0cf2c7e29a8a3297aaaf247c3f8468678aed12909f4b08b8d71a0f97",
    ),
)
