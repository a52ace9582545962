"""Objectives that compare with other sounds, against restatements by hand, and what they are for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from torch import Tensor

from dream_core import DreamSettings, dream, parse_objective
from dream_core.errors import DreamError, LayerNotFoundError, ObjectiveError
from dream_core.objectives.listener import Listener
from dream_core.objectives.objective import Activations

RATE = 16000


def make_sound(hz: float, seed: int, seconds: float = 1.7) -> Tensor:
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(t)))
    return 0.2 * (0.2 + torch.sin(torch.pi * t / seconds)) * torch.sin(2 * torch.pi * hz * t) + 0.01 * noise


@pytest.fixture(scope="module")
def network() -> SmallNet:
    return SmallNet(dtype=torch.float64)


@pytest.fixture(scope="module")
def sounds() -> dict[str, Tensor]:
    return {"here": make_sound(400.0, 0), "pad": make_sound(1800.0, 1), "thud": make_sound(110.0, 2, 0.9)}


def first(network: SmallNet, sound: Tensor, offset: int = 0) -> Tensor:
    """Run the first layer by hand: ``(patches, channels, height, width)``."""
    return network.first(network.listen(sound[None], offset)[0][:, None])


def rows(activation: Tensor) -> Tensor:
    """Every place of every patch, one under the other."""
    return torch.stack(
        [
            activation[p, :, i, j]
            for p in range(activation.shape[0])
            for i in range(activation.shape[2])
            for j in range(activation.shape[3])
        ]
    )


def _invert(network: SmallNet, sounds: dict[str, Tensor], sound: Tensor) -> Tensor:
    around = torch.cat([sounds["thud"]] * 2)[: len(sound)]
    here, guide = first(network, sound), first(network, around).detach()
    return -(here - guide).pow(2).sum() / guide.pow(2).sum()


def _axis(network: SmallNet, sounds: dict[str, Tensor], sound: Tensor) -> Tensor:
    line = (
        rows(first(network, sounds["pad"])).mean(0) - rows(first(network, sounds["thud"])).mean(0)
    ).detach()
    return (rows(first(network, sound)) @ (line / line.norm())).mean()


def _diverse(network: SmallNet, sounds: dict[str, Tensor], sound: Tensor) -> Tensor:
    here, cosines = rows(first(network, sound)), []
    for name in ("pad", "thud"):
        guide = rows(first(network, sounds[name])).detach()
        middle = guide.mean(0)
        a = sum(torch.outer(row, row) for row in here - middle) / len(here)
        b = sum(torch.outer(row, row) for row in guide - middle) / len(guide)
        cosines.append((a * b).sum() / (a.norm() * b.norm()))
    return -(cosines[0] + cosines[1]) / 2


RESTATED: dict[str, Callable[[SmallNet, dict[str, Tensor], Tensor], Tensor]] = {
    "invert:first:thud": _invert,
    "axis:first:pad-thud": _axis,
    "diverse:first:pad,thud": _diverse,
}


@pytest.mark.parametrize("text", RESTATED)
def test_it_scores_and_leads_as_restated_by_hand(
    text: str, network: SmallNet, sounds: dict[str, Tensor]
) -> None:
    """Value and gradient agree to 1e-9 of their size in float64."""
    listener = Listener(network, parse_objective(text), RATE, sounds)
    results = []
    for score in (lambda x: listener.score(x[None])[0], lambda x: RESTATED[text](network, sounds, x)):
        leaf = sounds["here"].clone().requires_grad_()
        value = score(leaf)
        results.append((float(value.detach()), torch.autograd.grad(value, leaf)[0]))

    (value, found), (by_hand, expected) = results
    assert value == pytest.approx(by_hand, rel=1e-9)
    assert float((found - expected).abs().max()) <= 1e-9 * float(expected.abs().max())
    assert expected.any()


@pytest.mark.parametrize("offset", [0, 17])
@pytest.mark.parametrize("speed", [1.0, 1.25])
def test_a_sound_is_its_own_inversion_wherever_the_grid_lies(
    network: SmallNet, sounds: dict[str, Tensor], offset: int, speed: float
) -> None:
    """The reference is heard on the same grid of patches and at the same speed: no distance at all."""
    listener = Listener(network, parse_objective("invert:second:here"), RATE, sounds)

    assert float(listener.score(sounds["here"][None], offset, speed=speed)[0]) == 0.0
    assert float(listener.score(sounds["pad"][None], offset, speed=speed)[0]) < -0.01


def test_an_inversion_does_not_depend_on_what_else_is_in_its_batch(
    network: SmallNet, sounds: dict[str, Tensor]
) -> None:
    """Items that end before their batch does are compared as long as they are."""
    listener = Listener(network, parse_objective("invert:first:pad"), RATE, sounds)
    short = torch.nn.functional.pad(sounds["thud"], (0, len(sounds["here"]) - len(sounds["thud"])))
    both = listener.score(torch.stack([sounds["here"], short]), n_valid=[len(short), len(sounds["thud"])])
    alone = [listener.score(sounds[name][None])[0] for name in ("here", "thud")]

    torch.testing.assert_close(both, torch.stack(alone), rtol=1e-12, atol=0)


def test_an_inversion_comes_nearer_to_the_sound(sounds: dict[str, Tensor]) -> None:
    """Noise dreamed towards a tone has the tone's partial in it: the reference can be heard."""
    noise = (0.05 * np.random.default_rng(5).standard_normal((1, 2 * RATE))).astype(np.float32)
    pad = make_sound(1800.0, 1, 2.0).numpy().astype(np.float32)[None]
    settings = DreamSettings(objective="invert:first:pad", jitter=False, context=False, balance=0.0)
    out = dream(noise, RATE, SmallNet(), settings, 20.0, references={"pad": pad})

    def share(sound: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sound[0])) ** 2
        hz = np.fft.rfftfreq(sound.shape[1], 1 / RATE)
        return float(power[(hz > 1700) & (hz < 1900)].sum() / power.sum())

    assert share(out) > 2.0 * share(noise)


def test_an_axis_leads_from_one_sound_to_the_other(network: SmallNet, sounds: dict[str, Tensor]) -> None:
    """The one it leads to lies further along it than the one it comes from, turned round the other way."""

    def along(text: str, name: str) -> float:
        return float(Listener(network, parse_objective(text), RATE, sounds).score(sounds[name][None])[0])

    assert along("axis:second:pad-thud", "pad") > along("axis:second:pad-thud", "thud")
    assert along("axis:second:thud-pad", "pad") == pytest.approx(-along("axis:second:pad-thud", "pad"))


def test_most_alike_is_least_diverse(network: SmallNet, sounds: dict[str, Tensor]) -> None:
    """A sound is no other than itself: -1; another one is more diverse, by what the patches' edges leave."""
    listener = Listener(network, parse_objective("diverse:first:here"), RATE, sounds)

    assert float(listener.score(sounds["here"][None])[0]) == pytest.approx(-1.0)
    assert float(listener.score(sounds["pad"][None])[0]) > -0.9999


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("invert:frist:pad", LayerNotFoundError, "did you mean 'first'"),
        ("axis:frist:pad-thud", LayerNotFoundError, "did you mean 'first'"),
        ("diverse:frist:pad", LayerNotFoundError, "did you mean 'first'"),
        ("invert:first:pda", ObjectiveError, "no reference sound is called 'pda'; did you mean 'pad'"),
        ("axis:first:pad-thdu", ObjectiveError, "no reference sound is called 'thdu'; did you mean 'thud'"),
        ("diverse:first:pad,thdu", ObjectiveError, "did you mean 'thud'"),
        ("diverse:first", ObjectiveError, "the stems to differ from are named"),
        ("axis:first:pad", ObjectiveError, "write it as axis:LAYER:A-B"),
        ("axis:first:a-b-c", ObjectiveError, 'a name with a dash in quotes, axis:LAYER:"a-b"-c'),
        ("invert:first", ObjectiveError, "write it as invert:LAYER:REFERENCE"),
    ],
)
def test_what_does_not_fit_is_said(
    text: str, error: type[DreamError], message: str, sounds: dict[str, Tensor]
) -> None:
    """With what is accepted, or the nearest name."""
    with pytest.raises(error, match=message):
        Listener(SmallNet(), parse_objective(text), RATE, sounds)


@pytest.mark.parametrize(
    ("text", "message"), [("axis:a:x-y", "hears both alike"), ("diverse:a:x", "the same everywhere")]
)
def test_references_that_say_nothing_are_refused(text: str, message: str) -> None:
    """There is no direction from a sound to itself, and nothing to differ from where nothing varies."""
    even = {"a": torch.ones(2, 3)}
    heard = Activations({"a": torch.randn(1, 2, 3)}, SmallNet().card, references={"x": even, "y": even})
    with pytest.raises(ObjectiveError, match=message):
        parse_objective(text).terms[0].score(heard)
