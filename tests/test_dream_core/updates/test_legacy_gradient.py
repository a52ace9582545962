"""The gradient of dreamsound 0.1.6.3, restated: its preset dreams along the package's own.

The restatement is written from the published numbers in plain Torch, in float64, and uses nothing of the
project: the front end of YAMNet counted at 22.05 kHz, the network layer by layer with its batch normalisation
as it was trained, the class of the largest mean activation, and the loss of the package. The weights lie
beside the repository, not in it.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import ROOT, SHARED
from torch import Tensor
from torch.nn import functional

from dream_core import DreamSettings, dream, load_network
from dream_core.networks.card import Network

WEIGHTS, WHISTLE = SHARED / "weights/yamnet.h5", SHARED / "audio/whistle.wav"
pytestmark = pytest.mark.skipif(
    not (WEIGHTS.is_file() and WHISTLE.is_file()),
    reason="YAMNet's weights and the whistle are not beside the repository",
)

RATE, WINDOW, HOP, N_FFT, N_MELS, PATCH, PATCH_HOP = 22050, 551, 220, 1024, 64, 96, 10
STRIDES = [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]  # of the fourteen layers


# The restatement.


def mel_weights() -> Tensor:
    """HTK triangles, linear in mel, without the bin of 0 Hz."""

    def mel(hz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log(1.0 + hz / 700.0)

    bins = mel(np.arange(N_FFT // 2 + 1) * RATE / N_FFT)
    edges = np.linspace(mel(np.array(125.0)), mel(np.array(7500.0)), N_MELS + 2)
    weights = np.zeros((len(bins), N_MELS))
    for band in range(N_MELS):
        low, middle, high = edges[band : band + 3]
        weights[:, band] = np.maximum(
            0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
        )
    weights[0] = 0.0
    return torch.from_numpy(weights)


def log_mel_patches(sound: Tensor) -> Tensor:
    """Patches ``(patches, 96, 64)`` of a sound ``(samples,)``, padded by counting seconds, as upstream."""
    shortest, hop = int(0.975 * RATE), int(0.1 * RATE)
    n_hops = math.ceil(max(0, len(sound) - shortest) / hop)
    sound = functional.pad(sound, (0, shortest + n_hops * hop - len(sound)))
    n = torch.arange(WINDOW, dtype=torch.float64)
    hann = 0.5 - 0.5 * torch.cos(2 * torch.pi * n / (WINDOW - 1))  # symmetric: 551 is odd
    frames = torch.stack([sound[s : s + WINDOW] * hann for s in range(0, len(sound) - WINDOW + 1, HOP)])
    log_mel = torch.log(torch.fft.rfft(frames, N_FFT).abs() @ mel_weights() + 0.001)
    starts = range(0, len(log_mel) - PATCH + 1, PATCH_HOP)
    return torch.stack([log_mel[s : s + PATCH] for s in starts])


def activations(patches: Tensor) -> Tensor:
    """Return YAMNet's sigmoids ``(patches, 521)``, straight from the published file."""
    h5py = pytest.importorskip("h5py", reason="the extra `yamnet` is not installed")
    with h5py.File(WEIGHTS) as file:

        def get(name: str) -> Tensor:
            return torch.from_numpy(file[name][()]).double()

        def convolve(x: Tensor, layer: str, stride: int) -> Tensor:
            depthwise = "depthwise" in layer
            kernel = get(f"{layer}/{layer}/{'depthwise_kernel' if depthwise else 'kernel'}:0")
            kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
            size = kernel.shape[-1]
            for axis in (3, 2):  # "same" padding: what is odd goes after
                total = max(0, (math.ceil(x.shape[axis] / stride) - 1) * stride + size - x.shape[axis])
                pad = [0, 0, 0, 0]
                pad[2 * (3 - axis)], pad[2 * (3 - axis) + 1] = total // 2, total - total // 2
                x = functional.pad(x, pad)
            x = functional.conv2d(x, kernel, stride=stride, groups=x.shape[1] if depthwise else 1)
            beta, mean, variance = (
                get(f"{layer}/bn/{layer}/bn/{part}:0")[:, None, None]
                for part in ("beta", "moving_mean", "moving_variance")
            )
            return torch.relu((x - mean) / torch.sqrt(variance + 1e-4) + beta)

        x = convolve(patches[:, None], "layer1/conv", STRIDES[0])
        for number, stride in enumerate(STRIDES[1:], start=2):
            x = convolve(x, f"layer{number}/depthwise_conv", stride)
            x = convolve(x, f"layer{number}/pointwise_conv", 1)
        return torch.sigmoid(x.mean(dim=(2, 3)) @ get("logits/logits/kernel:0") + get("logits/logits/bias:0"))


def package_gradient(sound: np.ndarray) -> np.ndarray:
    """Return the package's gradient at a sound ``(samples,)``, over its standard deviation."""
    leaf = torch.from_numpy(sound.astype(np.float64)).requires_grad_()
    heard = activations(log_mel_patches(leaf))
    loss = heard[:, int(heard.detach().mean(dim=0).argmax())].sum() ** 0.001
    (gradient,) = torch.autograd.grad(loss, leaf)
    return (gradient / (gradient.std(correction=0) + 1e-8)).numpy()


# The comparison.


def preset_settings() -> tuple[str, DreamSettings]:
    """Return the network and the settings of the preset, read as plain data."""
    params = tomllib.loads((ROOT / "presets/dreamsound-0163.toml").read_text())["chain"][0]["params"]
    assert params.pop("depth") == 10.0
    return params.pop("network"), DreamSettings(**params)


@pytest.fixture(scope="module")
def whistle() -> np.ndarray:
    import soundfile

    sound, rate = soundfile.read(WHISTLE, dtype="float32", always_2d=True)
    assert rate == RATE
    return np.ascontiguousarray(sound.T)


@pytest.fixture(scope="module")
def expected(whistle: np.ndarray) -> np.ndarray:
    """The package's gradient at the whistle, which several tests hold theirs against."""
    return package_gradient(whistle[0])


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(preset_settings()[0], weights=WEIGHTS, dtype=torch.float64)


def steps(sound: np.ndarray, network: Network, depth: float, **changes: Any) -> np.ndarray:
    return dream(sound, RATE, network, replace(preset_settings()[1], **changes), depth)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of two gradients, their means left in as the package leaves them."""
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def test_a_step_of_the_preset_is_a_step_of_the_package(
    network: Network, whistle: np.ndarray, expected: np.ndarray
) -> None:
    """It adds a fifth of the package's gradient: the same direction, and the same size."""
    found = (steps(whistle, network, 1.0) - whistle)[0] / 0.2

    # Sound is float32 between the steps: rounding, relative to a step, is 1e-7.
    assert likeness(found, expected) >= 0.999999
    assert found.std() == pytest.approx(1.0, rel=1e-4)


def test_later_steps_of_the_preset_follow_the_package(network: Network, whistle: np.ndarray) -> None:
    """The class is chosen anew at every step: the fourth follows the package's gradient after three."""
    start = whistle[:, : RATE * 3 // 2]
    three, four = (steps(start, network, depth) for depth in (3.0, 4.0))

    assert likeness((four - three)[0], package_gradient(three[0])) >= 0.999


@pytest.mark.parametrize(
    "changes",
    [{"objective": "class:auto"}, {"patch_hop": 48}, {"jitter": True, "seed": 3}, {"window_s": 1.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_the_preset_sets_is_needed(
    network: Network, whistle: np.ndarray, expected: np.ndarray, changes: dict[str, Any]
) -> None:
    """With any of it otherwise the gradient is not the package's."""
    found = (steps(whistle, network, 1.0, **changes) - whistle)[0]

    assert likeness(found, expected) < 0.99


def test_yamnet_itself_hears_another_gradient(whistle: np.ndarray, expected: np.ndarray) -> None:
    """At its own rate, as it was taught, the same weights lead elsewhere."""
    own = load_network("yamnet", weights=WEIGHTS, dtype=torch.float64)
    found = (steps(whistle, own, 1.0) - whistle)[0]

    assert abs(likeness(found, expected)) < 0.5


def test_single_precision_dreams_along_the_same_gradient(whistle: np.ndarray, expected: np.ndarray) -> None:
    """Float32, in which presets are rendered, leads the same way."""
    single = load_network("yamnet_22050", weights=WEIGHTS)
    found = (steps(whistle, single, 1.0) - whistle)[0]

    # Rounding of the logarithms near their floor, where there is little to hear: 1e-6 here.
    assert likeness(found, expected) >= 0.9999
