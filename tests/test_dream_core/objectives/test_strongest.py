"""What is heard most: each objective's gradient is that of a restatement by hand, patch by patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from torch import Tensor

from dream_core import parse_objective
from dream_core.errors import ClassNotFoundError, DreamError, LayerNotFoundError, ObjectiveError
from dream_core.objectives.listener import Listener
from dream_core.objectives.objective import LOGITS, Activations

RATE = 16000
SEED = 11
"""Of a network whose strongest places lie in the sound, whose strongest channels differ by sound."""
GENERATOR = np.random.default_rng(3)


def tone(hz: float, seconds: float = 1.7, level: float = 0.2) -> Tensor:
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    swell = 0.2 + torch.sin(torch.pi * t / seconds)
    noise = torch.from_numpy(GENERATOR.standard_normal(len(t)))
    return level * swell * torch.sin(2 * torch.pi * hz * t) + 0.01 * noise


@pytest.fixture(scope="module")
def network() -> SmallNet:
    return SmallNet(SEED, dtype=torch.float64)


@pytest.fixture(scope="module")
def sounds() -> dict[str, Tensor]:
    return {"here": tone(400.0), "pad": tone(1800.0), "thud": tone(110.0, 0.9)}


Heard = dict[str, Tensor]
"""Of one sound: its logits ``(patches, classes)`` and layers ``(patches, channels, height, width)``."""


def hear(network: SmallNet, sound: Tensor) -> Heard:
    """Run the test network by hand, layer by layer."""
    patches = network.listen(sound[None])[0][:, None]
    first = network.first(patches)
    second = network.second(network.act(first))
    return {
        "first": first,
        "second": second,
        LOGITS: network.head(network.act(second).mean(dim=(2, 3))),
        "energy": (patches[:, 0].detach().exp() - 0.01).clamp(min=0).square().mean(dim=(1, 2)),
    }


def as_independent(network: SmallNet) -> SmallNet:
    """Return the network with classes that may be heard together."""
    copy = SmallNet(SEED, dtype=torch.float64)
    copy.card = replace(copy.card, outputs="independent")
    return copy


def best(values: Tensor) -> int:
    return int(values.detach().argmax())


def class_scores(heard: Heard) -> Tensor:
    """`class:NAME` of every class, at every patch alone."""
    return heard[LOGITS].log_softmax(1) + 0.1 * heard[LOGITS]


def _channel_auto(here: Heard, _pad: Heard) -> Tensor:
    means = [here["second"][:, k].mean() for k in range(12)]
    return means[best(torch.stack(means))]


def _channel_of(here: Heard, pad: Heard) -> Tensor:
    return here["first"][:, best(pad["first"].mean(dim=(0, 2, 3)))].mean()


def _probability_auto(here: Heard, _pad: Heard) -> Tensor:
    probabilities = here[LOGITS].softmax(1)
    return probabilities[:, best(probabilities.mean(0))].mean()


def _sum(here: Heard, _pad: Heard) -> Tensor:
    return torch.stack([here["second"][:, k].mean() for k in range(12)]).sum()


def _peak_layer(here: Heard, _pad: Heard) -> Tensor:
    n_patches, _, height, width = here["second"].shape
    means = [
        here["second"][p, :, i, j].mean()
        for p in range(n_patches)
        for i in range(height)
        for j in range(width)
    ]
    return means[best(torch.stack(means))]


def _peak_channel_auto(here: Heard, _pad: Heard) -> Tensor:
    values = here["first"].flatten()
    return values[best(values)]


def _peak_class(here: Heard, _pad: Heard) -> Tensor:
    scores = class_scores(here)[:, 2]
    return scores[best(scores)]


RESTATED: dict[str, Callable[[Heard, Heard], Tensor]] = {
    "probability:middle": lambda here, _: here[LOGITS].softmax(1)[:, 1].mean(),
    "probability:auto": _probability_auto,
    "channel:second:auto": _channel_auto,
    "channel:first:of:pad": _channel_of,
    "sum:second": _sum,
    "peak:layer:second": _peak_layer,
    "peak:channel:first:auto": _peak_channel_auto,
    "peak:logit:low": lambda here, _: here[LOGITS][best(here[LOGITS][:, 0]), 0],
    "peak:class:high": _peak_class,
}


def gradient(score: Callable[[Tensor], Tensor], sound: Tensor) -> Tensor:
    leaf = sound.clone().requires_grad_()
    return torch.autograd.grad(score(leaf), leaf)[0]


@pytest.mark.parametrize("text", RESTATED)
def test_it_scores_and_leads_as_restated_by_hand(
    text: str, network: SmallNet, sounds: dict[str, Tensor]
) -> None:
    """Value and gradient agree to 1e-9 of their size in float64."""
    listener = Listener(network, parse_objective(text), RATE, {"pad": sounds["pad"]})
    pad = hear(network, sounds["pad"])

    def ours(sound: Tensor) -> Tensor:
        return listener.score(sound[None])[0]

    def by_hand(sound: Tensor) -> Tensor:
        return RESTATED[text](hear(network, sound), pad)

    assert float(ours(sounds["here"])) == pytest.approx(float(by_hand(sounds["here"])), rel=1e-9)
    found, expected = (gradient(one, sounds["here"]) for one in (ours, by_hand))
    assert float((found - expected).abs().max()) <= 1e-9 * float(expected.abs().max())
    assert expected.any()


def test_probabilities_that_may_hold_together_are_sigmoids(
    network: SmallNet, sounds: dict[str, Tensor]
) -> None:
    """Which they are is on the network's card."""
    listener = Listener(as_independent(network), parse_objective("probability:high"), RATE)
    expected = hear(network, sounds["here"])[LOGITS].sigmoid()[:, 2].mean()

    assert float(listener.score(sounds["here"][None])[0]) == pytest.approx(float(expected), rel=1e-12)


def test_auto_chooses_in_each_window_for_itself(network: SmallNet, sounds: dict[str, Tensor]) -> None:
    """Two sounds in one batch score as each does alone, though their strongest channels differ."""
    n = len(sounds["thud"])
    both = torch.stack([sounds["here"][:n], sounds["thud"]])
    for text in ("channel:second:auto", "probability:auto", "peak:channel:first:auto"):
        listener = Listener(network, parse_objective(text), RATE)
        together, alone = listener.score(both), [listener.score(one[None])[0] for one in both]
        torch.testing.assert_close(together, torch.stack(alone), rtol=1e-12, atol=0)
    chosen = {best(hear(network, one)["second"].mean(dim=(0, 2, 3))) for one in both}
    assert len(chosen) == 2


def known(logits: Tensor, energy: Tensor, of: Tensor, of_energy: Tensor) -> Activations:
    card = replace(SmallNet().card, classes=("low", "middle", "Silence"))
    return Activations(
        {LOGITS: logits},
        card,
        energy,
        references={"pad": {LOGITS: of}},
        reference_energy={"pad": of_energy},
    )


def test_the_class_of_another_sound_is_what_is_heard_in_it() -> None:
    """Silent patches have no vote, silence is never it, as for `class:auto`; it is scored as `class:` is."""
    logits, energy = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)), torch.ones(2, 3)
    middle = torch.tensor([[0.0, 3.0, 5.0], [9.0, 0.0, 0.0]])
    heard = known(logits, energy, middle, torch.tensor([1.0, 0.0]))
    found = parse_objective("class:of:pad").terms[0].score(heard)
    named = {
        name: parse_objective(f"class:{name}").terms[0].score(heard) for name in ("low", "middle", "Silence")
    }

    assert torch.equal(found, named["middle"])
    assert not torch.equal(found, named["low"])
    assert not torch.equal(found, named["Silence"])


def test_a_silent_patch_is_no_peak() -> None:
    """Whatever a network makes of silence, the peak is where there is sound."""
    logits = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 9.0, 0.0]]])
    heard = known(logits, torch.tensor([[1.0, 0.0]]), logits[0], torch.ones(2))
    found = float(parse_objective("peak:class:middle").terms[0].score(heard)[0])

    assert found == pytest.approx(float(logits[0, 0].log_softmax(0)[1]) + 0.1)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("probability:hihg", ClassNotFoundError, "did you mean 'high'"),
        ("channel:frist:auto", LayerNotFoundError, "did you mean 'first'"),
        ("peak:layer:frist", LayerNotFoundError, "did you mean 'first'"),
        ("sum:thrid", LayerNotFoundError, "no layer 'thrid'"),
        ("peak:class:hihg", ClassNotFoundError, "did you mean 'high'"),
        ("class:of:pda", ObjectiveError, "no reference sound is called 'pda'; did you mean 'pad'"),
        ("channel:first:of:pda", ObjectiveError, "did you mean 'pad'"),
        ("channel:first:off:pad", ObjectiveError, "channel:LAYER:auto or channel:LAYER:of:REFERENCE"),
        ("class:off:pad", ObjectiveError, "class:auto or class:of:REFERENCE"),
        ("peak:style:first:pad", ObjectiveError, "peak: takes one term of layer, sum"),
        ("peak:layers:first", ObjectiveError, "did you mean 'layer'"),
        (
            "peak:musicnn@class:choir",
            ObjectiveError,
            r"with factor and network before it, as 0\.5\*musicnn@peak",
        ),
    ],
)
def test_what_does_not_fit_is_said(text: str, error: type[DreamError], message: str) -> None:
    """With what is accepted, or the nearest name."""
    with pytest.raises(error, match=message):
        Listener(SmallNet(), parse_objective(text), RATE, {"pad": torch.zeros(RATE)})


@pytest.mark.parametrize(
    "text",
    [
        'probability:"no vocals"',
        "channel:second:auto",
        'class:of:"my pad"',
        "channel:second:of:pad - 2*sum:first",
        "0.5*musicnn@peak:class:choir + peak:channel:first:auto",
        'invert:first:pad + axis:first:pad-lead - axis:first:"a-pad"-lead',
        'diverse:first:pad,lead + diverse:first:"a,b",c',
    ],
)
def test_texts_read_back_as_they_are_written(text: str) -> None:
    """Written again, a text is the same objective."""
    objective = parse_objective(text)

    assert objective.text == text
    assert parse_objective(objective.text).terms == objective.terms
