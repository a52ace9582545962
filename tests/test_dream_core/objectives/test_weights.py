"""Named weights: terms that count for more or less over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.nets import KeyNet, SmallNet
from torch import Tensor

from dream_core.errors import ObjectiveError, SettingError
from dream_core.loop.dream import dream, dream_each, open_stream
from dream_core.loop.shared_batches import SharedBatches
from dream_core.objectives.ear import When
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective
from dream_core.settings import DreamSettings

RATE = 16000
BOTH = "{air}*class:high + {edge}*class:low"


def noise(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    n = round(seconds * RATE)
    return (0.1 * np.random.default_rng(seed).standard_normal((1, n))).astype(np.float32)


def gradient(text: str, weights: dict[str, float | Tensor], sound: np.ndarray, **options: object) -> Tensor:
    mono = torch.from_numpy(sound).double().requires_grad_(True)
    listener = Listener(SmallNet(dtype=torch.float64), parse_objective(text), RATE, **options)  # type: ignore[arg-type]
    listener.score(mono, when=When(starts_s=[0.0], weights=weights)).sum().backward()
    assert mono.grad is not None
    return mono.grad[0]


def test_a_weight_that_rests_is_a_factor() -> None:
    """The gradient is that of the number written in its place."""
    sound = noise()
    weighed = gradient(BOTH, {"air": 0.3, "edge": 0.9}, sound)

    assert torch.allclose(weighed, gradient("0.3*class:high + 0.9*class:low", {}, sound), rtol=1e-9)


def test_a_weight_that_moves_is_a_factor_of_each_patch() -> None:
    """A lane that is the same everywhere is a number; one that steps gives each side its own gradient."""
    sound = noise()
    n = sound.shape[1]
    constant = torch.full((1, n), 0.3, dtype=torch.float64)
    assert torch.allclose(
        gradient("{air}*class:high", {"air": constant}, sound),
        gradient("0.3*class:high", {}, sound),
        rtol=1e-9,
    )

    first_half = (torch.arange(n)[None] < 3 * 7680).double()  # three patches
    moved = gradient("{air}*layer:second", {"air": first_half}, sound)
    whole = gradient("layer:second", {}, sound)
    assert torch.allclose(moved[: 3 * 7680 - 400], whole[: 3 * 7680 - 400], rtol=1e-9)
    assert not moved[3 * 7680 + 400 :].any()
    assert whole[3 * 7680 + 400 :].any()


def test_a_ramp_weighs_each_patch_by_its_own_mean() -> None:
    """Against the gradients of the patches one by one."""
    sound = noise()
    n = sound.shape[1]
    ramp = torch.linspace(0.0, 1.0, n, dtype=torch.float64)[None]
    moved, whole = (gradient(text, {"air": ramp}, sound) for text in ("{air}*layer:second", "layer:second"))
    for patch in range(6):
        middle = slice(patch * 7680 + 400, (patch + 1) * 7680 - 400)
        share = float((moved[middle] * whole[middle]).sum() / whole[middle].square().sum())

        assert share == pytest.approx(float(ramp[0, patch * 7680 : (patch + 1) * 7680].mean()), rel=1e-6)


def test_two_weights_of_a_term_multiply() -> None:
    """Half of a half is a quarter."""
    sound = noise()
    assert torch.allclose(
        gradient("{a}*{b}*class:high", {"a": 0.5, "b": 0.5}, sound), gradient("0.25*class:high", {}, sound)
    )


def test_between_networks_a_weight_is_a_share() -> None:
    """Each network's gradient is brought to one size, times its weight: also where that moves."""
    sound = noise()
    n = sound.shape[1]
    other = SmallNet(seed=5, dtype=torch.float64)
    object.__setattr__(other.card, "name", "other")
    others = {"others": {"other": other}}
    text = "{air}*class:high + {edge}*other@class:low"
    plain = gradient("0.2*class:high + 0.8*other@class:low", {}, sound, **others)
    constant = torch.full((1, n), 0.2, dtype=torch.float64)

    assert torch.allclose(gradient(text, {"air": 0.2, "edge": 0.8}, sound, **others), plain, rtol=1e-6)
    assert torch.allclose(gradient(text, {"air": constant, "edge": 0.8}, sound, **others), plain, rtol=1e-6)


def test_a_lane_of_a_weight_leads_the_dream() -> None:
    """With one class in the first half and another in the second, each half is near its own dream."""
    sound = noise(4.0)
    n = sound.shape[1]
    first = (np.arange(n) < n // 2).astype(float)
    settings = DreamSettings(objective=BOTH, motion=1.0, balance=0.0)
    both = dream(sound, RATE, SmallNet(), settings, 4.0, weights={"air": first, "edge": 1.0 - first})
    alone = {
        name: dream(
            sound, RATE, SmallNet(), DreamSettings(objective=f"class:{name}", motion=1.0, balance=0.0), 4.0
        )
        for name in ("high", "low")
    }
    for name, part in (("high", slice(0, n // 2 - RATE // 2)), ("low", slice(n // 2 + RATE // 2, None))):
        change = (both - sound)[:, part]
        likeness = {
            k: np.corrcoef(change.ravel(), (one - sound)[:, part].ravel())[0, 1] for k, one in alone.items()
        }

        assert likeness[name] > 0.8 > likeness["low" if name == "high" else "high"]


def test_blocks_do_not_matter() -> None:
    """However the sound and its weights are cut, the samples are the same."""
    sound = noise(5.0)
    lane = torch.linspace(0.0, 1.0, sound.shape[1], dtype=torch.float64)
    depth = torch.full((sound.shape[1],), 2.0, dtype=torch.float64)
    settings = DreamSettings(objective=BOTH, window_s=1.5)
    results = []
    for size in (sound.shape[1], 7001):
        stream = open_stream(SmallNet(), settings, RATE, 1, weights={"air": 0.0, "edge": 0.4})
        done = []
        for start in range(0, sound.shape[1], size):
            part = slice(start, start + size)
            done.append(stream.push(torch.from_numpy(sound[:, part]), depth[part], {"air": lane[part]}))
        results.append(torch.cat([*done, stream.finish()], 1))

    assert torch.equal(*results)


def test_streams_of_other_weights_share_no_batch() -> None:
    """Two that differ in a resting weight alone each dream as if alone."""
    sound, batches = noise(2.0), SharedBatches()
    settings = DreamSettings(objective=BOTH)
    kinds = set()
    for edge in (0.2, 0.2, 0.7):
        stream = open_stream(
            SmallNet(), settings, RATE, 1, weights={"air": 0.5, "edge": edge}, shared_batches=batches
        )
        stream.push(torch.from_numpy(sound), torch.full((sound.shape[1],), 1.0, dtype=torch.float64))
        stream.schedule.end()
        kinds.add(stream._kind([0])[1:])  # the network's identity apart: each has its own here

    assert len(kinds) == 2


def test_a_weight_of_zero_asks_for_nothing() -> None:
    """The sound passes bit for bit, and nobody complains of a gradient that is not there."""
    sound = noise(2.0)
    dreamed = dream(
        sound, RATE, SmallNet(), DreamSettings(objective="{air}*class:high"), 3.0, weights={"air": 0.0}
    )

    assert np.array_equal(dreamed, sound)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({}, "nobody says how much 'air' is"),
        ({"air": 1.5, "edge": 0.0}, "weight air = 1.5 is outside 0..1"),
        ({"air": 1.0, "edge": 0.0, "ari": 1.0}, "did you mean 'air'"),
        ({"air": np.full(3, 0.5), "edge": 0.0}, r"air has shape (3,)"),
        ({"air": np.full(2 * RATE, 2.0), "edge": 0.0}, "the lane of air is up to 2"),
    ],
)
def test_mistakes_are_told(weights: dict[str, float], said: str) -> None:
    """A weight that nobody gives, that there is not, or out of range."""
    with pytest.raises(SettingError) as caught:
        dream(noise(2.0), RATE, SmallNet(), DreamSettings(objective=BOTH), 1.0, weights=weights)

    assert said in str(caught.value)


def test_a_network_must_say_when_its_patches_are() -> None:
    """One that does not can be dreamed with, but not in time."""

    class Timeless(KeyNet):
        patch_starts = property(lambda self: self.nowhere)

    with pytest.raises(ObjectiveError, match="does not say when its patches begin"):
        Listener(Timeless(), parse_objective("{air}*class:C3"), RATE)
    Listener(Timeless(), parse_objective("class:C3"), RATE)


def test_dreams_apart_take_the_weights_they_name() -> None:
    """One that no objective names is refused."""
    sound, texts = noise(), ["{air}*class:high", "class:low"]
    together = dream_each(sound, RATE, SmallNet(), texts, depth=1.0, weights={"air": 0.0})
    alone = dream(sound, RATE, SmallNet(), DreamSettings(objective="class:low"), depth=1.0)

    assert np.allclose(together, alone, atol=1e-6)  # what is added up is rounded
    with pytest.raises(SettingError, match="has no weight 'edge'"):
        dream_each(sound, RATE, SmallNet(), texts, depth=1.0, weights={"air": 0.5, "edge": 0.5})
