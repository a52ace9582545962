"""Objectives: each ascends, they compute as algebra, and what a network does not have is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from scipy.signal import resample_poly
from torch import nn

from dream_core import DreamSettings, dream, parse_objective
from dream_core.errors import (
    ChannelNotFoundError,
    ClassNotFoundError,
    DreamError,
    LayerNotFoundError,
    ObjectiveError,
)
from dream_core.objectives.classes import logit
from dream_core.objectives.listener import Listener
from dream_core.objectives.taps import tap
from dream_core.objectives.terms import (
    Activations,
    Objective,
    channel,
    content,
    guided,
    layer,
    style,
)

RATE = 16000


def make_sound(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(RATE) / RATE
    tone = 0.1 * np.sin(2 * np.pi * (300 + 200 * seed) * t) * (1 + np.sin(2 * np.pi * 3 * t))
    return (tone + 0.02 * rng.standard_normal((1, RATE))).astype(np.float32)


ALL = [
    "layer:first",
    "layer_l2:second",
    "channel:second:3",
    "neuron:second:2",
    "direction:second:7",
    "class:high",
    "class:auto",
    "class:high - class:low",
    "0.5*layer:first + 0.25*layer:second + class:middle",
    "guided:second:other",
    "style:first:other",
    "layer:second + 0.1*content:first",
    "probability:high",
    "probability:auto",
    "channel:second:auto",
    "channel:second:of:other",
    "class:of:other",
    "peak:class:high",
    "peak:channel:second:auto",
    "sum:second",
    "invert:first:other",
    "axis:second:other-own",
    "diverse:second:own",
]


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("update", ["mask", "add"])
def test_every_objective_ascends(text: str, update: str) -> None:
    """Eight steps leave the network hearing more of what was asked for than none."""
    network, sound = SmallNet(), make_sound()
    # A sound unlike the first, so that there is a way to go.
    other = 0.3 * np.random.default_rng(9).standard_normal((1, RATE)) * np.linspace(0, 1, RATE)
    references = {"other": other.astype(np.float32), "own": sound}
    listener = Listener(
        network,
        parse_objective(text),
        RATE,
        {name: torch.from_numpy(reference[0]) for name, reference in references.items()},
    )
    # Without context the dream hears what is scored here: with it, patches begin elsewhere.
    settings = DreamSettings(objective=text, update=update, jitter=False, step=0.5, context=False)
    dreamed = dream(sound, RATE, network, settings, depth=8.0, references=references)

    def score(x: np.ndarray) -> float:
        with torch.no_grad():
            return float(listener.score(torch.from_numpy(x), 0, torch.from_numpy(sound))[0])

    assert score(dreamed) > score(sound)


def test_objectives_add_subtract_and_scale() -> None:
    """The score of a sum is the sum of the scores."""
    network, sound = SmallNet(), torch.from_numpy(make_sound())

    def score(objective: object) -> float:
        return float(Listener(network, objective, RATE).score(sound)[0])  # type: ignore[arg-type]

    both = 2.0 * layer("first") - channel("second", 1) + logit("low")
    parts = 2.0 * score(layer("first")) - score(channel("second", 1)) + score(logit("low"))

    assert score(both) == pytest.approx(parts, rel=1e-5)
    assert both.text == "2*layer:first - channel:second:1 + logit:low"
    assert score(parse_objective(both.text)) == pytest.approx(score(both), rel=1e-6)


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (-(layer("first") + 0.5 * layer("second")), "-layer:first - 0.5*layer:second"),
        (2.0 * (layer("first") - logit("low")), "2*layer:first - 2*logit:low"),
        (1e-7 * layer("first") - -1.0 * layer("second"), "1e-07*layer:first + layer:second"),
        (layer("first") * (1.0 / 3.0), "0.3333333333333333*layer:first"),
        (logit("a name"), 'logit:"a name"'),
    ],
)
def test_an_objective_reads_back_as_it_is_written(objective: Objective, text: str) -> None:
    """Factors and signs reach every term of a sum, and the text means the objective it was written by."""
    assert objective.text == text
    assert parse_objective(text).terms == objective.terms


def test_auto_takes_the_class_heard_loudest() -> None:
    """`logit:auto` scores as the class with the largest mean logit."""
    network, sound = SmallNet(), torch.from_numpy(make_sound())
    by_class = [float(Listener(network, logit(name), RATE).score(sound)[0]) for name in network.card.classes]

    assert float(Listener(network, logit("auto"), RATE).score(sound)[0]) == pytest.approx(max(by_class))


def test_content_is_highest_where_nothing_changed() -> None:
    """The undreamed sound itself has no distance to itself."""
    network, sound = SmallNet(), torch.from_numpy(make_sound())
    listener = Listener(network, content("first"), RATE)

    assert float(listener.score(sound, 0, sound)[0]) == 0.0
    assert float(listener.score(0.5 * sound, 0, sound)[0]) < 0.0


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("layer:frist", LayerNotFoundError, "did you mean 'first'"),
        ("channel:first:99", ChannelNotFoundError, r"0\.\.7; got 99"),
        ("class:hihg", ClassNotFoundError, "did you mean 'high'"),
        ("guided:first:pad", ObjectiveError, "no reference sound is called 'pad'"),
        ("layers:first", ObjectiveError, "did you mean 'layer'"),
        ("layer:first layer:second", ObjectiveError, "cannot read 'layer:second'"),
        ("", ObjectiveError, "empty"),
        ("channel:first:x", ObjectiveError, "not a whole number"),
    ],
)
def test_what_does_not_fit_is_said(text: str, error: type[DreamError], message: str) -> None:
    """Unknown layers, channels, classes, references and kinds name what there is."""
    with pytest.raises(error, match=message):
        Listener(SmallNet(), parse_objective(text), RATE)


def test_taps_leave_nothing_behind() -> None:
    """Hooks are gone after the block, also when it ended in an error or a layer was unknown."""
    network = SmallNet()

    def n_hooks() -> int:
        return sum(len(m._forward_hooks) for m in network.modules() if isinstance(m, nn.Module))

    with tap(network, ["first", "second"]) as heard:
        network(network.listen(torch.from_numpy(make_sound()))[0])
        assert heard["second"].shape[1] == 12
        assert n_hooks() == 2
    with pytest.raises(ZeroDivisionError), tap(network, ["first"]):
        raise ZeroDivisionError
    with pytest.raises(LayerNotFoundError), tap(network, ["first", "third"]):
        pass

    assert n_hooks() == 0


def test_a_tap_can_leave_when_all_is_heard() -> None:
    """What lies behind the last layer asked for is not computed, and what was heard is the same."""
    network = SmallNet()
    patches = network.listen(torch.from_numpy(make_sound()))[0]
    with tap(network, ["first"]) as whole:
        network(patches)
    reached: list[str] = []
    handle = network.second.register_forward_hook(lambda *_: reached.append("second"))
    with tap(network, ["first"], leaves_early=True) as heard:
        network(patches)
        reached.append("the end")
    handle.remove()

    assert torch.equal(heard["first"], whole["first"])
    assert reached == []


def test_guided_pulls_each_place_to_its_best_match() -> None:
    """The score is the dot product with the guide's most alike place, not with its mean or its first."""
    here = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]])  # one item, one patch, two channels at two places
    guide = torch.tensor([[[3.0, 0.5, -9.0], [0.0, 4.0, 9.0]]])  # three places: (3, 0), (0.5, 4), (-9, 9)
    heard = Activations({"first": here}, SmallNet().card, references={"other": {"first": guide}})

    # (1, 0) is most like (3, 0), (0, 2) most like (-9, 9): 3 and 18 over two places by two channels.
    assert float(guided("first", "other").terms[0].score(heard)[0]) == pytest.approx((3.0 + 18.0) / 4)


@pytest.mark.parametrize("kind", [guided, style])
def test_a_reference_is_heard_at_the_networks_rate(kind: Callable[[str, str], Objective]) -> None:
    """The same two sounds at three times the rate score the same: the reference is resampled as well."""
    sound, other = make_sound()[0], make_sound(3)[0]

    def score(rate: int, heard: np.ndarray, guide: np.ndarray) -> float:
        listener = Listener(SmallNet(), kind("first", "other"), rate, {"other": torch.from_numpy(guide)})
        return float(listener.score(torch.from_numpy(heard[None]))[0])

    fast = [resample_poly(x, 3, 1).astype(np.float32) for x in (sound, other)]
    # Two resamplers of other lengths differ near the upper edge of the band.
    assert score(3 * RATE, *fast) == pytest.approx(score(RATE, sound, other), rel=0.02)
