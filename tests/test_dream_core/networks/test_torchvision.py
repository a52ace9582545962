"""torchvision's classifiers as networks that look at sound, against torchvision, with random weights."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dream_core.errors import NetworkNotFoundError, SettingError, WeightsError, WeightsMismatchError
from dream_core.frontend.log_mel import LogMel
from dream_core.frontend.octaves import OctaveMel
from dream_core.loop.dream import dream, open_stream
from dream_core.networks import architectures, torchvision_files
from dream_core.networks.card import Network
from dream_core.networks.efficientnet import SPEC
from dream_core.networks.picture_network import parse_picture_name
from dream_core.networks.registry import (
    get_card,
    is_ready,
    list_damaged,
    list_networks,
    load_network,
    weights_owner,
    weights_sha256,
)
from dream_core.objectives.taps import tap
from dream_core.objectives.text import split_terms
from dream_core.settings import DreamSettings

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

SMALL = "squeezenet1_1"
ARCHITECTURES = ["vgg11_bn", "squeezenet1_1", "googlenet", "inception_v3", "resnet18"]
OTHERS = ["densenet121", "mobilenet_v2", "regnet_x_400mf", "shufflenet_v2_x0_5", "swin_t", "vit_b_32"]
"""Some of each way of naming layers and of laying out what they give."""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def theirs(architecture: str, seed: int = 0) -> Any:
    """Return torchvision's own model with random weights, heads for training and all, as it is published."""
    is_inception = architecture in ("inception_v3", "googlenet")
    options = {"init_weights": False} if is_inception or architecture.startswith("vgg") else {}
    # As they are built where published weights are asked for.
    options |= {"transform_input": True} if is_inception else {}
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = models.get_model(architecture, weights=None, **options)
        for part in model.modules():
            if isinstance(part, nn.Conv2d):  # what is seen is still seen at the end
                nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if isinstance(part, nn.BatchNorm2d):  # statistics that are not those of no batch
                part.running_mean.uniform_(-0.1, 0.1)
                part.running_var.uniform_(0.5, 1.5)
    return model.eval()


@cache
def random_network(architecture: str) -> Network:
    """Return a network with random weights, drawn once for all that only look at it."""
    return load_network(f"image:{architecture}:random")


def imported(architecture: str, folder: Path, suffix: str = ".pth", seed: int = 0) -> Any:
    """Import a model's weights; return the model."""
    model = theirs(architecture, seed)
    torch.save(model.state_dict(), folder / f"own{suffix}")
    torchvision_files.install(architecture, folder / f"own{suffix}", trust=True)
    return model


def photograph(side: int, seed: int = 1) -> Tensor:
    """Return a picture as torchvision has them, ``(1, 3, rows from the top, columns)``, 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 12, generator=generator)
    return nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def as_shown(upright: Tensor) -> Tensor:
    """Return an upright picture across, then up from the lowest row."""
    return upright.flip(2).transpose(2, 3)


def normalised(upright: Tensor) -> Tensor:
    """Return what torchvision's presets make of a photograph."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (upright - mean[:, None, None]) / deviation[:, None, None]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_picture_is_seen_as_torchvision_sees_it(architecture: str, folder: Path) -> None:
    model = imported(architecture, folder)
    network = load_network(f"image:{architecture}")
    upright = photograph(architectures.picture_side(architecture))
    with torch.no_grad():
        found = network.see(as_shown(upright))  # type: ignore[attr-defined]
        expected, other = model(normalised(upright)), model(normalised(1.0 - upright))

    # float32 sums in another order of memory.
    size = float(expected.std())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * size)
    assert (other - expected).abs().max() > 0.1 * size


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "resnet18", "densenet121"])
def test_layers_are_what_their_modules_gave_whatever_works_in_place_after_them(
    architecture: str, folder: Path
) -> None:
    """The reference has no module that works in place."""
    model = imported(architecture, folder)
    for part in model.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    network = load_network(f"image:{architecture}")
    names = [layer.name for layer in network.card.layers if layer.name != "logits"]
    parts = architectures.named_parts(architecture, model)
    given: dict[nn.Module, Tensor] = {}
    for name in names:
        parts[name].register_forward_hook(lambda one, _, output: given.__setitem__(one, output.clone()))
    upright = photograph(224)
    with torch.no_grad(), tap(network, names) as heard:
        network.see(as_shown(upright))  # type: ignore[attr-defined]
        model(normalised(upright))

    for name in names:
        expected = as_shown(given[parts[name]])
        # float32 sums in another order of memory, relative to the largest.
        torch.testing.assert_close(heard[name], expected, rtol=0.0, atol=1e-4 * float(expected.abs().max()))


def test_layers_have_their_published_names() -> None:
    names = {
        one: [layer.name for layer in get_card(f"image:{one}").layers]
        for one in ("vgg19", "inception_v3", "googlenet", "squeezenet1_1", "vgg16_bn")
    }

    assert names["vgg19"][-5:] == ["relu5_1", "relu5_2", "relu5_3", "relu5_4", "logits"]
    assert names["vgg16_bn"][-4:] == ["relu5_1", "relu5_2", "relu5_3", "logits"]
    assert {"Mixed_5b", "Mixed_6e", "Mixed_7c", "mixed0", "mixed10"} <= set(names["inception_v3"])
    assert names["inception_v3"].index("mixed3") == names["inception_v3"].index("Mixed_6a") + 1
    assert names["googlenet"][3] == "inception3a"
    assert names["googlenet"][-2] == "inception5b"
    assert names["squeezenet1_1"] == ["conv1", *(f"fire{i}" for i in range(2, 10)), "logits"]


@pytest.mark.parametrize("architecture", ["vgg11", *OTHERS])
def test_the_card_of_a_random_network_is_true(architecture: str) -> None:
    network = random_network(architecture)
    names = [layer.name for layer in network.card.layers]
    sound = 0.1 * torch.randn(1, 60000, generator=torch.Generator().manual_seed(1))  # one picture
    sound.requires_grad_()
    with tap(network, names) as heard:
        logits = network(network.listen(sound)[0])

    assert list(network.layer_modules()) == names
    assert [heard[name].shape[1] for name in names] == [layer.n_channels for layer in network.card.layers]
    assert all(heard[name].ndim == 4 for name in names[:-1])
    assert torch.equal(heard["logits"], logits)
    assert logits.shape[1] == len(network.card.classes)
    assert sum(p.numel() for p in network.parameters()) == network.card.n_parameters  # type: ignore[attr-defined]
    for name in names:
        (gradient,) = torch.autograd.grad(heard[name].mean(), sound, retain_graph=True)
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("architecture", ["resnet18", "swin_t", "vit_b_32"])
def test_layers_are_time_before_frequency_with_low_notes_first(architecture: str) -> None:
    network = random_network(architecture)
    patches = torch.full((1, 224, 224), network.silence)  # type: ignore[attr-defined]
    louder = patches.clone()
    louder[0, 200:, :30] += 4.0  # late and low
    layer = network.card.layers[0].name
    with torch.no_grad(), tap(network, [layer]) as before:
        network(patches)
    with torch.no_grad(), tap(network, [layer]) as after:
        network(louder)

    change = (after[layer] - before[layer]).square().sum(dim=(0, 1))
    assert change.sum(dim=1).argmax() > 0.8 * len(change)
    assert change.sum(dim=0).argmax() < 0.2 * len(change)


def test_what_random_weights_hear_does_not_depend_on_the_batch_and_follows_from_the_seed() -> None:
    network = load_network("image:resnet18:random", seed=3)
    patches = network.listen(torch.randn(1, 200000, generator=torch.Generator().manual_seed(2)))[0]
    patches[0] -= 3.0
    with torch.no_grad():
        together, alone = network(patches), torch.cat([network(patch[None]) for patch in patches])
        again = load_network("image:resnet18:random", seed=3)(patches)
        other = load_network("image:resnet18:random", seed=4)(patches)

    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    assert torch.equal(together, again)
    assert (together - other).abs().max() > 0.1
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_building_a_network_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_network(f"image:{SMALL}:random")

    assert torch.equal(torch.rand(1), expected)


def test_what_is_imported_is_listed_by_name_and_told_by_its_hash(folder: Path, home: Path) -> None:
    assert not is_ready(f"image:{SMALL}")
    imported(SMALL, folder)

    assert (home / "networks" / f"image_{SMALL}.safetensors").is_file()
    assert [card.name for card in list_networks()][-1] == f"image:{SMALL}"
    assert list_damaged() == ()
    assert is_ready(f"image:{SMALL}")
    assert is_ready(f"image:{SMALL}:octaves")
    assert get_card(f"image:{SMALL}:octaves").classes[0] == "tench"
    assert len(set(get_card(f"image:{SMALL}").classes)) == 1000
    assert weights_owner(f"image:{SMALL}:octaves") == f"image:{SMALL}"
    assert len(weights_sha256(f"image:{SMALL}")) == 64
    assert weights_sha256(f"image:{SMALL}") == weights_sha256(f"image:{SMALL}:first")
    assert weights_sha256(f"image:{SMALL}:random") == ""


def test_torchvisions_own_hash_is_trusted_and_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(theirs(SMALL).state_dict(), folder / "own.pth")
    digits = hashlib.sha256((folder / "own.pth").read_bytes()).hexdigest()[:8]
    with pytest.raises(WeightsMismatchError, match=r"begin with b8a52dc0; .* --trust"):
        torchvision_files.install(SMALL, folder / "own.pth")
    (folder / "own.pth").rename(folder / "squeezenet1_1-b8a52dc0.pth")
    with pytest.raises(WeightsMismatchError, match="its name says b8a52dc0"):
        torchvision_files.install(SMALL, folder / "squeezenet1_1-b8a52dc0.pth")
    assert not is_ready(f"image:{SMALL}")

    monkeypatch.setattr(architectures, "published_names", lambda _name: (f"squeezenet1_1-{digits}.pth",))
    torchvision_files.install(SMALL, folder / "squeezenet1_1-b8a52dc0.pth")  # whatever it is called
    assert is_ready(f"image:{SMALL}")


def test_what_torch_hub_has_fetched_is_found(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no weights of squeezenet1_1: there is no squeezenet1_1-"):
        torchvision_files.find_in_hub(SMALL)
    there = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    there.parent.mkdir(parents=True)
    there.touch()

    assert torchvision_files.find_in_hub(SMALL) == there


def test_weights_of_another_architecture_are_refused_by_name(folder: Path) -> None:
    torch.save(theirs("resnet18").state_dict(), folder / "resnet.pth")
    with pytest.raises(WeightsError, match=r"lacks 'features.0.weight' and 51 more .*resnet.pth.*b8a52dc0"):
        torchvision_files.install(SMALL, folder / "resnet.pth", trust=True)
    fewer = models.squeezenet1_1(num_classes=10).state_dict()
    torch.save(fewer, folder / "ten.pth")
    with pytest.raises(WeightsError, match=r"classifier.1.weight' has shape \(10, 512, 1, 1\)"):
        torchvision_files.install(SMALL, folder / "ten.pth", trust=True)
    with pytest.raises(WeightsError, match=r"read from \.pth, \.pt and \.safetensors"):
        torchvision_files.install(SMALL, folder / "ten.onnx", trust=True)
    with pytest.raises(WeightsError, match="is not there"):
        torchvision_files.install(SMALL, folder / "gone.pth", trust=True)
    assert not is_ready(f"image:{SMALL}")


def test_other_weights_are_replaced_only_when_asked(folder: Path) -> None:
    imported(SMALL, folder)
    first = weights_sha256(f"image:{SMALL}")
    torch.save(theirs(SMALL, seed=1).state_dict(), folder / "second.pth")
    with pytest.raises(WeightsError, match="--overwrite"):
        torchvision_files.install(SMALL, folder / "second.pth", trust=True)
    assert weights_sha256(f"image:{SMALL}") == first
    torchvision_files.install(SMALL, folder / "second.pth", trust=True, overwrite=True)
    assert weights_sha256(f"image:{SMALL}") != first


def test_a_file_that_was_changed_after_the_import_does_not_load(folder: Path, home: Path) -> None:
    imported(SMALL, folder)
    path = home / "networks" / f"image_{SMALL}.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not those that were imported"):
        load_network(f"image:{SMALL}")


def test_densenets_old_names_are_read(folder: Path) -> None:
    model = theirs("densenet121")
    old = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for name, value in model.state_dict().items()
    }
    assert set(old) != set(model.state_dict())
    torch.save(old, folder / "old.pth")
    torchvision_files.install("densenet121", folder / "old.pth", trust=True)
    upright = photograph(224)
    with torch.no_grad():
        found = load_network("image:densenet121").see(as_shown(upright))  # type: ignore[attr-defined]
        torch.testing.assert_close(found, model(normalised(upright)), rtol=1e-3, atol=1e-4)


@pytest.fixture
def without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchvision", None)


def test_without_torchvision_one_line_says_how_it_is_installed(without_torchvision: None) -> None:
    command = r"needs torchvision, .* pip install 'reverie-audio\[image\]'"
    with pytest.raises(WeightsError, match=command):
        get_card("image:vgg19")
    with pytest.raises(WeightsError, match=command):
        load_network("image:vgg19:random")
    assert get_card("image:octaves").name == "image:octaves"


def test_the_card_of_what_is_imported_needs_no_torchvision(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    imported(SMALL, folder)
    request.getfixturevalue("without_torchvision")

    assert get_card(f"image:{SMALL}:octaves").layers[0].name == "conv1"
    assert is_ready(f"image:{SMALL}")
    with pytest.raises(WeightsError, match="needs torchvision"):
        load_network(f"image:{SMALL}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image:vgg20", "did you mean 'vgg19'"),
        ("image:vgg19:colour", "image[:ARCHITECTURE][:grey|first|octaves][:random]"),
        ("image:random", "random weights want an architecture"),
        ("image:", "are written image[:ARCHITECTURE]"),
        ("image:octaves:vgg19", "are written image[:ARCHITECTURE]"),
    ],
)
def test_a_name_that_is_none_says_how_one_is_written(name: str, message: str) -> None:
    with pytest.raises(NetworkNotFoundError) as refused:
        get_card(name)
    assert message in str(refused.value)


def test_an_objective_names_such_a_network_and_its_layer() -> None:
    (term,) = split_terms("0.5*image:vgg19:octaves@layer:relu4_1")
    assert (term.network, term.kind, term.arguments[0].text) == ("image:vgg19:octaves", "layer", "relu4_1")
    (plain,) = split_terms("guided:block3:take@2")
    assert (plain.network, plain.arguments[1].text) == ("", "take@2")


def test_a_sound_dreams_by_two_picture_networks() -> None:
    sound = 0.1 * torch.randn(1, 22050, generator=torch.Generator().manual_seed(0)).numpy()
    settings = DreamSettings(
        objective=f"layer:fire3 + image:{SMALL}:octaves:random@layer:conv1", window_s=1.0, context=False
    )
    dreamed = dream(sound, 22050, load_network(f"image:{SMALL}:random"), settings, depth=1.0)

    assert abs(dreamed - sound).max() > 1e-4


def test_three_transforms_are_not_one_picture_to_come_back_from() -> None:
    network = load_network(f"image:{SMALL}:octaves:random")
    with pytest.raises(SettingError, match=f"looks at three. Use 'image:{SMALL}:random'"):
        open_stream(network, DreamSettings(update="mel", objective="layer:fire3"), 44100, 1)
    open_stream(network, DreamSettings(update="picture", objective="layer:fire3"), 44100, 1)


def test_the_middle_octave_of_three_is_the_grey_picture() -> None:
    """A tone is as bright in all three; what differs are bins between which a band's edge lies."""
    spec = replace(SPEC, n_mels=64)
    time = torch.arange(44100) / 44100
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * time)[None]
    grey = LogMel(spec)(tone)
    short, middle, long = OctaveMel(spec)(tone).unflatten(2, (3, -1)).unbind(2)
    assert short.shape == grey.shape

    band = int(grey[0, 40].argmax())
    for plane in (short, middle, long):
        assert int(plane[0, 40].argmax()) == band
        assert float(plane[0, 40, band]) == pytest.approx(float(grey[0, 40, band]), abs=0.15)


def test_octaves_see_a_click_at_one_time_the_shorter_the_sharper() -> None:
    click = torch.zeros(1, 44100)
    click[0, 22050] = 1.0
    loud = OctaveMel(SPEC)(click).unflatten(2, (3, -1))[0, :, :, 150] > SPEC.silence + 0.5
    counts = loud.sum(dim=0).tolist()
    middles = [float(loud[:, plane].nonzero().float().mean()) for plane in range(3)]

    assert counts[0] < counts[1] < counts[2]
    # The middle of the frame that has the click in its middle, to one frame of 512 samples.
    assert middles == pytest.approx([(22050 - 1024) / 512] * 3, abs=1.0)


def test_planes_of_one_network_show_what_they_say() -> None:
    networks = {
        planes: load_network(f"image:{SMALL}:{planes}:random") for planes in ("grey", "first", "octaves")
    }
    sound = 0.1 * torch.randn(1, 120000, generator=torch.Generator().manual_seed(1))
    seen: dict[str, Tensor] = {}
    for planes, network in networks.items():
        network.see = lambda pictures, planes=planes: seen.__setitem__(planes, pictures)  # type: ignore[attr-defined]
        network(network.listen(sound)[0])

    assert parse_picture_name(f"image:{SMALL}:grey:random").text == networks["grey"].card.name
    assert torch.equal(seen["grey"][:, 0], seen["grey"][:, 2])
    assert torch.equal(seen["first"][:, 0], seen["grey"][:, 0])
    assert seen["first"][:, 1:].abs().max() == 0
    assert seen["octaves"].shape == seen["grey"].shape
    assert all((seen["octaves"][:, i] - seen["octaves"][:, j]).abs().max() > 0.1 for i, j in ((0, 1), (1, 2)))
