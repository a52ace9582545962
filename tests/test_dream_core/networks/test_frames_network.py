"""The network that plays on, as one that listens: file, layers, dreams towards what it expects."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers.frames_net import RATE, SPEC, loop, trained, untrained

from dream_core.errors import WeightsError
from dream_core.loop.dream import dream
from dream_core.networks import frames_network
from dream_core.networks.frames_network import FramesNetwork, describe, load, read_card, write
from dream_core.networks.registry import get_card, list_networks, load_network
from dream_core.networks.weights import read_header, write_tensors
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective
from dream_core.objectives.taps import tap
from dream_core.settings import DreamSettings


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path))
    return tmp_path / "networks"


def player() -> FramesNetwork:
    return FramesNetwork(describe("amen", SPEC), trained().network)


def test_a_file_gives_the_network_back(home: Path) -> None:
    """By name from the user's folder, and by its path: the same card, the same bits, the same answers."""
    path = home / "amen.safetensors"
    write(path, trained().network, describe("amen", SPEC, title="Plays on as amen."))

    assert get_card("amen") == read_card(path)
    assert "amen" in [card.name for card in list_networks()]
    again = load_network("amen")
    assert isinstance(again, FramesNetwork)
    assert again.frames.spec == SPEC
    for name, value in trained().network.state_dict().items():
        assert torch.equal(value, load(path).frames.state_dict()[name])


def test_the_card_names_every_layer_with_its_channels_in_order() -> None:
    network = player()
    names = [layer.name for layer in network.card.layers]
    with torch.no_grad(), tap(network, names) as heard:
        logits = network(network.listen(loop(4)[None])[0])

    assert list(network.layer_modules()) == names == ["rnn1", "rnn2", "fit"]
    assert [heard[name].shape[1] for name in names] == [128, 128, 1]
    assert logits.shape[1] == 0
    assert network.card.n_parameters == sum(one.numel() for one in network.parameters())


def test_patches_begin_where_it_says() -> None:
    network, sound = player(), loop(4)
    for offset in (0, 7):
        patches = network.listen(sound[None], offset)[0]
        starts = network.patch_starts(len(sound), offset)
        assert len(patches) == len(starts)
        start = max(0, starts[1])
        assert torch.equal(patches[1][:100], sound[start : start + 100])


def test_it_fits_what_it_learnt_better_than_another_sound() -> None:
    network = player()
    other = torch.randn(4 * RATE, generator=torch.Generator().manual_seed(0)) * loop().std()
    with torch.no_grad(), tap(network, ["fit"]) as heard:
        network(network.listen(loop(2)[None])[0][:1])
        known = float(heard["fit"].mean())
        network(network.listen(other[None])[0][:1])
        unknown = float(heard["fit"].mean())

    assert known > -0.5 > unknown


@pytest.mark.parametrize(("objective", "sign"), [("layer:fit", 1.0), ("-1*layer:fit", -1.0)])
def test_a_dream_goes_towards_what_it_expects_or_away(objective: str, sign: float) -> None:
    """Of a noisy loop, in four steps; scored on the patch grids that no step used, in the mean."""
    network = player()
    noise = 0.05 * torch.randn(4 * RATE, generator=torch.Generator().manual_seed(2))
    sound = (loop(2) + noise)[None].numpy()
    settings = DreamSettings(objective=objective)
    dreamed = dream(sound, RATE, network, settings, depth=4.0)
    listener = Listener(network, parse_objective("layer:fit"), RATE)
    with torch.no_grad():
        before, after = (float(listener.score(torch.from_numpy(one), 0)[0]) for one in (sound, dreamed))

    assert sign * (after - before) > 0.01


def test_every_layer_has_a_gradient_down_to_the_waveform() -> None:
    """In double precision too."""
    network = FramesNetwork(describe("small", untrained().spec), untrained()).double()
    for layer in network.card.layers:
        sound = loop(2)[None].double().requires_grad_()
        with tap(network, [layer.name]) as heard:
            network(network.listen(sound)[0])
            heard[layer.name].mean().backward()
        assert sound.grad is not None
        assert torch.isfinite(sound.grad).all()
        assert sound.grad.abs().max() > 0.0


def test_silence_has_no_energy_and_a_finite_answer() -> None:
    network = player()
    patches = network.listen(torch.zeros(1, 4 * RATE))[0]
    with torch.no_grad(), tap(network, ["fit"]) as heard:
        network(patches)

    assert not network.measure_energy(patches).any()
    assert torch.isfinite(heard["fit"]).all()


def test_another_kind_of_file_or_a_damaged_one_is_refused(home: Path) -> None:
    other = home / "other.safetensors"
    write_tensors(other, {"w": torch.zeros(2)}, {"kind": "mel_cnn"})
    with pytest.raises(WeightsError, match="train-frames"):
        read_card(other)

    network = untrained()
    good = frames_network.describe("amen", network.spec)
    header = {"kind": "frames", "card": asdict(good), "shape": {"width": 10**9}}
    write_tensors(other, network.state_dict(), header)
    with pytest.raises(WeightsError, match="its card cannot be read"):
        load(other)

    write(other, network, good)
    write_tensors(other, {"w": torch.zeros(2)}, read_header(other))
    with pytest.raises(WeightsError, match="not those its card speaks of"):
        load(other)
