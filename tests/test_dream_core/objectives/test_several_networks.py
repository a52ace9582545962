"""Several networks in one objective: each hears its terms, and none drowns the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import SmallNet
from torch import Tensor

from dream_core.errors import ClassNotFoundError, NetworkNotFoundError, ObjectiveError, SettingError
from dream_core.loop.dream import dream, dream_each, open_stream
from dream_core.networks.card import Network
from dream_core.networks.registry import load_network
from dream_core.objectives.listener import Listener, _Levelled
from dream_core.objectives.parse import parse_objective
from dream_core.settings import DreamSettings

RATE = 16000
BOTH = "class:high + other@class:bright"


def make_sound(seed: int = 0, n_samples: int = 3 * RATE) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((1, n_samples))).astype(np.float32)


class Louder(SmallNet):
    """Another network, whose scores are a thousand times as steep."""

    def __init__(self) -> None:
        super().__init__(seed=5)
        self.card = replace(self.card, name="other", classes=("dull", "bright", "odd"))

    def forward(self, patches: Tensor) -> Tensor:
        return 1000.0 * super().forward(patches)


def probability(network: Network, sound: np.ndarray, name: str) -> float:
    with torch.no_grad():
        logits = network(network.listen(torch.from_numpy(sound))[0]).double()
    return float(logits.log_softmax(dim=1)[:, network.card.classes.index(name)].mean())


def test_both_networks_hear_more_of_what_they_were_asked_for() -> None:
    """Though one's scores are a thousand times steeper, both rise by a tenth of what they do alone."""
    own, other, sound = SmallNet(), Louder(), make_sound()
    rises = {}
    for objective in ("class:high", "other@class:bright", BOTH):
        dreamed = dream(sound, RATE, own, DreamSettings(objective=objective), 6.0, networks={"other": other})
        rises[objective] = [
            probability(network, dreamed, name) - probability(network, sound, name)
            for network, name in ((own, "high"), (other, "bright"))
        ]

    assert rises[BOTH][0] > rises["class:high"][0] / 10 > 0
    assert rises[BOTH][1] > rises["other@class:bright"][1] / 10 > 0


def test_factors_say_which_network_counts_more() -> None:
    """A gradient's share is its network's factor."""
    sound = torch.from_numpy(make_sound())
    gradients = []
    for text in ("class:high", "other@class:bright", "class:high + 3*other@class:bright"):
        mono = sound.clone().requires_grad_(True)
        listener = Listener(SmallNet(), parse_objective(text), RATE, others={"other": Louder()})
        listener.score(mono).sum().backward()
        assert mono.grad is not None
        gradients.append(mono.grad.flatten().double())
    own, other, both = gradients
    shares = torch.linalg.lstsq(torch.stack([own, other], dim=1), both[:, None]).solution.flatten()

    def effect(gradient: Tensor) -> float:
        """How much turning up the sound's own bins would do: the size gradients are brought to."""
        window = torch.hann_window(512, dtype=torch.float64)
        x, g = (torch.stft(y, 512, window=window, return_complex=True) for y in (sound[0].double(), gradient))
        return float((x.conj() * g).real.abs().mean())

    # Another transform length than the listener's: the ratio of sizes is nearly the same.
    assert float(shares[1] * effect(other) / (shares[0] * effect(own))) == pytest.approx(3.0, rel=0.1)


def test_a_network_that_is_steep_in_one_place_is_not_made_small_elsewhere() -> None:
    """Its gradient is brought to the size it has on average, not to that of its one steep place.

    The network next to it asks for the same everywhere; away from the place both go on at one size.
    """
    n_fft = 512
    sound = torch.from_numpy(make_sound())
    even = torch.randn(sound.shape, generator=torch.Generator().manual_seed(1))
    steep = even.clone()
    steep[0, 9000:9064] *= 300.0
    sizes = []
    for gradient in (even, steep):
        mono = sound.clone().requires_grad_(True)
        levelled = _Levelled.apply(mono, torch.ones(1, 1), n_fft, (0, n_fft // 2 + 1))
        levelled.backward(gradient)
        assert mono.grad is not None
        sizes.append(float(mono.grad[0, 20000:].abs().mean()))

    # 64 samples in 48,000, 300 times as steep: 2.0 times on average; as an effective value it would be 11.
    assert sizes[1] / sizes[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("update", ["mask", "add"])
def test_blocks_and_batches_change_nothing(update: str) -> None:
    """A stream in odd blocks, one window or four at a time, gives the samples of one call."""
    sound, networks = make_sound(), {"other": Louder()}
    settings = DreamSettings(objective=BOTH, window_s=0.5, update=update)
    whole = dream(sound, RATE, SmallNet(), settings, 2.0, networks=networks, batch=1)

    stream = open_stream(SmallNet(), settings, RATE, 1, networks=networks, batch=1)
    depth = torch.full((sound.shape[1],), 2.0)
    pieces = [
        stream.push(torch.from_numpy(sound[:, start : start + 7001]), depth[start : start + 7001])
        for start in range(0, sound.shape[1], 7001)
    ]
    assert np.array_equal(torch.cat([*pieces, stream.finish()], 1).numpy(), whole)

    together = dream(sound, RATE, SmallNet(), settings, 2.0, networks=networks, batch=4)
    # Sums of a batch of four are ordered otherwise, in float32.
    assert np.abs(together - whole).max() < 2e-3 * np.abs(whole).max()


def test_networks_that_are_not_given_are_loaded_by_name() -> None:
    """The objective's text alone is enough."""
    sound = make_sound(n_samples=RATE)
    settings = DreamSettings(objective="class:high + texture@layer:frames8")
    given = dream(sound, RATE, SmallNet(), settings, 1.0, networks={"texture": load_network("texture")})

    assert np.array_equal(dream(sound, RATE, SmallNet(), settings, 1.0), given)


def test_a_network_by_its_own_name_is_the_dreams_own() -> None:
    """One ear, one pass, the very same samples."""
    sound = make_sound(n_samples=RATE)
    plain, named = (
        dream(sound, RATE, SmallNet(), DreamSettings(objective=text), 1.0)
        for text in ("class:high + layer:first", "small@class:high + layer:first")
    )
    assert np.array_equal(plain, named)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("class:bright", ClassNotFoundError, "'other' has it: write other@class:bright"),
        ("other@class:high", ClassNotFoundError, "'small' has it: write small@class:high"),
        ("othr@class:high", NetworkNotFoundError, "did you mean 'other'"),
        ("a.safetensors@class:high", ObjectiveError, "a network is named here, not given by a file"),
    ],
)
def test_what_does_not_fit_says_which_network_does(text: str, error: type[Exception], says: str) -> None:
    """A class that only one of the networks has is an error that names it."""
    with pytest.raises(error, match=says):
        Listener(SmallNet(), parse_objective(text), RATE, others={"other": Louder()})


@pytest.mark.parametrize("n_valid", [20000, 23456, 31000])
@pytest.mark.parametrize("network", [SmallNet(), load_network("timbre"), load_network("texture")],
                         ids=["small", "timbre", "texture"])  # fmt: skip
def test_a_sound_before_padding_is_heard_to_its_end_at_every_offset(network: Network, n_valid: int) -> None:
    """The gradient reaches its last milliseconds, none the padding, and its score is the one it has alone."""
    rate = network.card.sample_rate
    sound = torch.from_numpy(make_sound(n_samples=48000))
    listener = Listener(network, parse_objective(f"layer:{network.card.layers[0].name}"), rate)
    for offset in range(0, listener.jitter_frames, 7):
        mono = torch.cat([sound, sound])
        mono[0, n_valid:] = 0.0
        mono.requires_grad_(True)
        scores = listener.score(mono, offset, n_valid=[n_valid, 48000])
        (gradient,) = torch.autograd.grad(scores.sum(), mono)
        assert bool(gradient[0, n_valid - rate // 50 : n_valid].any()), offset
        assert not bool(gradient[0, n_valid:].any())
        assert torch.equal(scores[0], listener.score(sound[:, :n_valid], offset)[0])


def test_each_network_must_hear_something_of_the_band() -> None:
    """One that is deaf there would have no say, in silence: it is named."""
    other = Louder()
    other.card = replace(other.card, band_hz=(60.0, 500.0))
    settings = DreamSettings(objective=BOTH, low_hz=1000.0)
    with pytest.raises(SettingError, match="'other' hears"):
        dream(make_sound(), RATE, SmallNet(), settings, 1.0, networks={"other": other})


def test_networks_that_cannot_be_told_apart_are_refused() -> None:
    """Two of one name, and what is no network."""
    settings = DreamSettings(objective="layer:first + small@layer:second")
    with pytest.raises(SettingError, match="has the name of the dream's own network"):
        dream(make_sound(), RATE, SmallNet(), settings, 1.0, networks={"small": SmallNet(1)})
    with pytest.raises(SettingError, match="of type str; give a network"):
        dream(make_sound(), RATE, SmallNet(), settings, 1.0, networks={"small": "small"})  # type: ignore[dict-item]
    with pytest.raises(SettingError, match="make one of a Torch module"):
        dream(make_sound(), RATE, torch.nn.Linear(1, 1), settings, 1.0)  # type: ignore[arg-type]


def test_objects_that_are_none_are_refused_in_one_line() -> None:
    """Empty objectives, classes of updates, texts in sums."""
    from dream_core.objectives.objective import Objective
    from dream_core.updates.additive import Add

    for wrong in ((), "class:flute", (1,)):
        with pytest.raises(ObjectiveError, match="one or more terms are accepted"):
            Objective(wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="a text is accepted"):
        DreamSettings(update=Add)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        parse_objective("layer:first") + "layer:second"  # type: ignore[operator]


def test_the_texts_of_terms_with_networks_read_back() -> None:
    """As written, factors and quotes too."""
    text = 'class:high - 0.5*other@class:"two words" + my-net.v2@layer:a.b.0'
    assert parse_objective(text).text == text
    assert parse_objective(text).networks == ("", "other", "my-net.v2")


def test_a_patch_hop_makes_more_patches_and_no_hop_beyond_a_patch_is_taken() -> None:
    """Ten frames, as published, give almost four times the patches of the network's own 48."""
    network, sound = SmallNet(), torch.from_numpy(make_sound())
    assert network.listen(sound, 0, 10).shape[1] == 27
    assert network.listen(sound).shape[1] == 7
    settings = DreamSettings(objective="class:high", patch_hop=10)
    fine, plain = (
        dream(make_sound(), RATE, network, replace(settings, patch_hop=hop), 1.0) for hop in (10, 0)
    )
    assert not np.array_equal(fine, plain)
    with pytest.raises(SettingError, match=r"patch_hop = 49 frames; network 'small' looks at 48 at a time"):
        dream(make_sound(), RATE, network, replace(settings, patch_hop=49), 1.0)


def test_objectives_and_updates_are_taken_as_objects_too() -> None:
    """They dream as their texts do."""
    from dream_core.objectives.classes import class_activation
    from dream_core.updates.registry import build_update

    sound = make_sound(n_samples=RATE)
    objects = DreamSettings(objective=class_activation("high"), update=build_update("add"))
    texts = DreamSettings(objective="class:high", update="add")
    assert np.array_equal(*(dream(sound, RATE, SmallNet(), one, 2.0) for one in (objects, texts)))
    with pytest.raises(SettingError, match="a text is accepted"):
        DreamSettings(objective=3)  # type: ignore[arg-type]


def test_reports_say_how_many_steps_there_are() -> None:
    """The last report's count is the total, which every report of a whole sound gives."""
    reports: list[tuple[int, int | None, int]] = []
    depth = np.linspace(0, 3, 3 * RATE)
    dream(
        make_sound(), RATE, SmallNet(), DreamSettings(objective="layer:first", window_s=1.0), depth,
        on_step=lambda one: reports.append((one.done_steps, one.total_steps, one.window_steps)),
    )  # fmt: skip
    assert [done for done, _, _ in reports] == list(range(1, len(reports) + 1))
    assert {total for _, total, _ in reports} == {len(reports)}
    assert {steps for _, _, steps in reports} <= {1, 2, 3}


def test_dreams_of_several_objectives_count_as_one() -> None:
    """Done goes once from one to the total."""
    reports: list[tuple[int, int | None]] = []
    dream_each(
        make_sound(n_samples=RATE), RATE, SmallNet(), ["layer:first", "layer:second"], depth=2.0,
        on_step=lambda one: reports.append((one.done_steps, one.total_steps)),
    )  # fmt: skip
    assert reports == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_networks_are_balanced_within_the_band_that_may_change() -> None:
    """What a network would change elsewhere does not count against it."""
    sound = torch.from_numpy(make_sound())

    def share(touched_hz: tuple[float, float], band: slice) -> float:
        gradients = []
        for text in ("layer:first", "other@layer:second"):
            mono = sound.clone().requires_grad_(True)
            others = {"other": Louder()}
            plain = Listener(SmallNet(), parse_objective(text), RATE, others=others)
            (alone,) = torch.autograd.grad(plain.score(mono).sum(), mono)
            gradients.append(alone.flatten().double())
        both = Listener(
            SmallNet(), parse_objective("layer:first + other@layer:second"), RATE, others={"other": Louder()},
            touched_hz=touched_hz,
        )  # fmt: skip
        mono = sound.clone().requires_grad_(True)
        (sum_of,) = torch.autograd.grad(both.score(mono).sum(), mono)
        basis = torch.stack(gradients, dim=1)
        shares = torch.linalg.lstsq(basis, sum_of.flatten().double()[:, None]).solution.flatten()
        window = torch.hann_window(1024, dtype=torch.float64)
        x, *sizes = (
            torch.stft(y, 1024, 256, window=window, pad_mode="constant", return_complex=True)[band]
            for y in (sound[0].double(), *(s * g for s, g in zip(shares, gradients, strict=True)))
        )
        first, second = ((x.conj() * g).real.abs().mean() for g in sizes)
        return float(second / first)

    assert share((4000.0, 8000.0), slice(256, 513)) == pytest.approx(1.0, rel=0.02)
    assert share((0.0, np.inf), slice(0, 513)) == pytest.approx(1.0, rel=0.02)
