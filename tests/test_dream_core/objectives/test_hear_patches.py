"""What a network hears patch by patch: cut as it may be, told at the middles of its patches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.nets import KeyNet, SmallNet
from torch import Tensor

from dream_core.errors import ClassNotFoundError, LayerNotFoundError, SettingError
from dream_core.networks.card import Network
from dream_core.networks.registry import get_card, load_network
from dream_core.objectives.hear_patches import (
    HeardPatches,
    PatchListener,
    choose_patch_hop,
    hear_patches,
    join_patches,
)

RATE = 16000


def noise(n_samples: int, seed: int = 0) -> Tensor:
    """Noise whose level and colour move."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(n_samples) / RATE
    plain = torch.randn(n_samples, generator=generator)
    return 0.1 * (1.0 + torch.sin(t)) * (plain + torch.sin(2.0 * torch.pi * 300.0 * t * (1.0 + 0.2 * t)))


def in_blocks(network: Network, sound: Tensor, sizes: list[int], layer: str = "") -> HeardPatches:
    """Hear a sound that comes in blocks of these sizes, over and over."""
    listener = PatchListener(network, layer)
    pieces, at, turn = [], 0, 0
    while at < len(sound):
        size = sizes[turn % len(sizes)]
        pieces += listener.push(sound[at : at + size])
        at, turn = at + size, turn + 1
    return join_patches([*pieces, *listener.finish()], len(listener.names))


@pytest.mark.parametrize("sizes", [[1777], [65536, 3], [160000]])
@pytest.mark.parametrize("layer", ["", "second"])
def test_the_same_is_heard_however_the_sound_is_cut(sizes: list[int], layer: str) -> None:
    """To the last bit: the same patches go through the network together."""
    network, sound = SmallNet(), noise(9 * RATE + 123)

    whole, cut = (in_blocks(network, sound, one, layer) for one in ([len(sound)], sizes))

    assert torch.equal(whole.values, cut.values)
    assert torch.equal(whole.energy, cut.energy)
    assert torch.equal(whole.middles_s, cut.middles_s)


@pytest.mark.parametrize("name", ["timbre", "small", "keys"])
def test_what_is_heard_is_what_a_network_says_of_the_sound_as_one(name: str) -> None:
    """Batches and their edges leave no trace: float32 sums in another order differ by 1e-5."""
    network: Network = {"small": SmallNet, "keys": KeyNet}[name]() if name != "timbre" else load_network(name)
    rate = network.card.sample_rate
    sound = noise(7 * rate + 77)

    heard = hear_patches(network, sound, rate)

    logits = network(network.listen(sound[None], 0, choose_patch_hop(network.card))[0])
    wanted = logits.sigmoid() if network.card.outputs == "independent" else logits.softmax(dim=1)
    assert 0 <= len(wanted) - len(heard) <= 1  # a network may cut one more, of silence alone
    # The last patch aside: the test's own networks hear nothing of the frames in which the sound ends.
    assert torch.allclose(heard.values[:-1], wanted[: len(heard) - 1], atol=1e-5)


def test_a_value_stands_where_its_sound_is() -> None:
    """The energy of a click is spread over a patch around it, and its centre is the click."""
    network = load_network("timbre")
    rate = network.card.sample_rate
    for at_s in (2.0, 3.33, 4.9):
        sound = torch.zeros(7 * rate)
        sound[round(at_s * rate)] = 0.5

        heard = hear_patches(network, sound, rate)

        centre_s = float((heard.energy.double() * heard.middles_s).sum() / heard.energy.double().sum())
        # Patches lie 0.26 s apart, so the centre of those that hold the click is off by half of that at most.
        assert abs(centre_s - at_s) < 0.13
        assert heard.energy[(heard.middles_s - at_s).abs() > 0.6].max() < 1e-6 * heard.energy.max()


def test_patches_cover_the_sound_and_go_no_further() -> None:
    """The last one reaches its end, and the one before it does not."""
    network = SmallNet()
    patch_s = network.card.patch_s
    for n_samples in (1, 7680, 7681, 50_000):
        heard = hear_patches(network, noise(n_samples), RATE)

        ends_s = heard.middles_s + patch_s / 2
        assert float(ends_s[-1]) >= n_samples / RATE - 1e-9
        assert len(heard) == 1 or float(ends_s[-2]) < n_samples / RATE
    assert len(hear_patches(network, torch.zeros(0), RATE)) == 0


def test_a_layer_is_told_by_the_mean_of_each_channel() -> None:
    """Patch by patch, over all places: as the module itself gives it."""
    network, sound = SmallNet(), noise(2 * RATE)

    heard = hear_patches(network, sound, RATE, layer="first")

    patches = network.listen(sound[None], 0, choose_patch_hop(network.card))[0]
    wanted = network.first(patches[:, None]).mean(dim=(2, 3))
    assert torch.allclose(heard.values[:-1], wanted[: len(heard) - 1], atol=1e-5)


def test_a_finer_hop_gives_more_values_and_the_same_where_they_meet() -> None:
    network, sound = SmallNet(), noise(3 * RATE)

    coarse, fine = (hear_patches(network, sound, RATE, patch_hop=hop) for hop in (24, 12))

    n = len(coarse) - 1
    assert torch.allclose(fine.values[::2][:n], coarse.values[:n], atol=1e-5)
    assert torch.allclose(fine.middles_s[::2][:n], coarse.middles_s[:n])


def test_memory_does_not_grow_with_the_sound() -> None:
    """What waits stays below the sound that sixteen patches and their surroundings span."""
    listener = PatchListener(SmallNet())
    for start in range(0, 60 * RATE, RATE):
        list(listener.push(noise(RATE, seed=start)))

        assert len(listener._waiting) < (16 * 0.256 + 0.48 + 0.5) * RATE


def test_no_network_is_asked_less_often_than_four_times_a_second() -> None:
    """Unless its patches are shorter, which then lie side by side."""
    for name in ("timbre", "yamnet", "musicnn", "crepe", "notes", "image", "texture"):
        card = get_card(name)
        assert choose_patch_hop(card) * card.frame_s <= min(card.patch_s, 0.256) + 1e-9


def test_what_cannot_be_heard_is_said() -> None:
    network = SmallNet()
    with pytest.raises(LayerNotFoundError, match="did you mean 'second'"):
        PatchListener(network, "secnd")
    with pytest.raises(ClassNotFoundError, match="name one of its layers, such as"):
        hear_patches(load_network("texture"), torch.zeros(9), 44100)
    with pytest.raises(SettingError, match=r"looks at 48 at a time, so 0..48 is accepted"):
        choose_patch_hop(network.card, 49)
    with pytest.raises(SettingError, match="mono is accepted"):
        hear_patches(network, torch.zeros(2, 9), RATE)
    network.card = replace(network.card, outputs="independent")
    assert bool((hear_patches(network, noise(RATE), RATE).values.sum(dim=1) != 1.0).all())
