"""The loop: the recurrence holds, and nothing depends on blocks, shared_batches or neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import MelNet

from dream_core import DreamSettings, dream, dream_each, load_network, open_stream, parse_objective
from dream_core.errors import CancelledError, NonFiniteError, SettingError
from dream_core.objectives.listener import Listener

RATE = 16000
SETTINGS = DreamSettings(objective="layer:second", window_s=0.5, fade_s=0.03)
UPDATES = (
    "mask",
    "add",
    "filter",
    "filter_swapped",
    "hard_cut",
    "hard_cut_add",
    "hard_cut_add_swapped",
    "gradient",
    "mel",
    "hear",
)


@pytest.fixture(scope="module")
def network() -> MelNet:
    return MelNet()


def make_sound(seconds: float = 1.7, n_channels: int = 2, seed: int = 1) -> np.ndarray:
    """A chord with an onset and noise, a quarter second of silence before it."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    tone = sum(np.sin(2 * np.pi * f * t + p) for f, p in ((220, 0), (554, 1), (1330, 2)))
    sound = 0.1 * tone * np.exp(-2 * np.abs(t - 0.6)) + 0.01 * rng.standard_normal((n_channels, n))
    sound[:, : n // 7] = 0.0
    return sound.astype(np.float32)


def with_update(update: str, **changes: object) -> DreamSettings:
    return DreamSettings(
        objective="layer:second",
        window_s=0.5,
        fade_s=0.03,
        update=update,
        **changes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("update", UPDATES)
def test_depth_zero_is_the_input_bit_for_bit(network: MelNet, update: str) -> None:
    """Where no step is taken no sample changes."""
    sound = make_sound()

    assert np.array_equal(sound, dream(sound, RATE, network, with_update(update), depth=0.0))


@pytest.mark.parametrize("update", UPDATES)
def test_a_passage_of_depth_changes_nothing_outside_it(network: MelNet, update: str) -> None:
    """Depth is sample-accurate: the first and the last sample of a passage are its own."""
    sound = make_sound()
    depth = np.zeros(sound.shape[1])
    depth[9000:17003] = 2.6

    dreamed = dream(sound, RATE, network, with_update(update), depth=depth)

    changed = np.flatnonzero((dreamed != sound).any(axis=0))
    assert changed.min() >= 9000
    assert changed.max() <= 17002
    assert changed.min() <= 9002
    assert changed.max() >= 17000


def test_depth_n_with_add_is_n_single_steps(network: MelNet) -> None:
    """The loop is the operator applied n times, also across the windows' cross-fades.

    Without context: what is heard around a window is undreamed at every step.
    """
    sound = make_sound()
    settings = replace(with_update("add"), context=False)

    together = dream(sound, RATE, network, settings, depth=3.0)
    apart = sound
    for step in range(3):
        apart = dream(apart, RATE, network, settings, depth=1.0, first_step=step)

    assert np.array_equal(apart, together)


@pytest.mark.parametrize("update", UPDATES)
def test_depth_is_continuous_through_whole_numbers(network: MelNet, update: str) -> None:
    """1.99 and 2.01 are as near to each other as their fiftieth of a step allows."""
    sound = make_sound()
    below, at, above = (
        dream(sound, RATE, network, with_update(update), depth=d).astype(np.float64)
        for d in (1.99, 2.0, 2.01)
    )
    step = np.abs(dream(sound, RATE, network, with_update(update), depth=3.0) - at).max()
    before = np.abs(dream(sound, RATE, network, with_update(update), depth=1.0) - at).max()

    # m_k is linear in depth, so a hundredth of depth moves at most a hundredth of a step (rounding apart).
    assert np.abs(above - at).max() <= 0.011 * step + 1e-6
    assert np.abs(below - at).max() <= 0.011 * before + 1e-6


def test_fractional_depth_is_the_recurrence_written_out(network: MelNet) -> None:
    """A slow twin of the recurrence for one window agrees to rounding."""
    sound = make_sound(0.4)
    whole = DreamSettings(objective="layer:second", update="add", window_s=0.5, context=False)
    depth = np.linspace(0.0, 2.5, sound.shape[1])

    x = sound.astype(np.float64)
    for k in range(3):
        amount = np.clip(depth - k, 0.0, 1.0)
        proposal = dream(x.astype(np.float32), RATE, network, whole, depth=1.0, first_step=k)
        x = x + amount * (proposal - x)

    # float32 steps, from a sound rounded at each, against float64 blending: how much a step makes of the last
    # digit depends on the processor, 1.3e-6 at most on those tried.
    np.testing.assert_allclose(dream(sound, RATE, network, whole, depth=depth), x, atol=3e-6)


@pytest.mark.parametrize("update", ["mask", "add"])
@pytest.mark.parametrize("batch", [1, 3])
def test_blocks_do_not_matter(network: MelNet, update: str, batch: int) -> None:
    """Any cutting into blocks gives the same samples."""
    sound = make_sound()
    depth = 2.0 + 2.0 * np.sin(np.arange(sound.shape[1]) / 3000.0)
    whole = dream(sound, RATE, network, with_update(update), depth=depth, batch=batch)
    rng = np.random.default_rng(7)

    stream = open_stream(network, with_update(update), RATE, 2, batch=batch)
    pieces, start = [], 0
    while start < sound.shape[1]:
        stop = min(sound.shape[1], start + int(rng.integers(1, 5000)))
        pieces.append(
            stream.push(torch.from_numpy(sound[:, start:stop]), torch.from_numpy(depth[start:stop]))
        )
        start = stop
    pieces.append(stream.finish())

    assert np.array_equal(torch.cat(pieces, 1).numpy(), whole)


def test_what_else_is_in_a_batch_does_not_matter(network: MelNet) -> None:
    """A window's result is the same whatever the other windows of its batch hold."""
    first, other = make_sound(0.9), make_sound(0.9, seed=5)
    settings = with_update("mask", jitter=False)
    n = first.shape[1]
    long_a = np.concatenate([first, np.zeros((2, 3 * RATE), np.float32)], 1)
    long_b = np.concatenate([first, np.zeros((2, RATE), np.float32), other, other], 1)[:, : long_a.shape[1]]

    dreamed_a = dream(long_a, RATE, network, settings, depth=3.0, batch=4)
    dreamed_b = dream(long_b, RATE, network, settings, depth=3.0, batch=4)

    assert np.array_equal(dreamed_a[:, : n - RATE // 4], dreamed_b[:, : n - RATE // 4])


def test_work_follows_the_integral_of_depth(network: MelNet) -> None:
    """A window whose depth is at most k takes no part in step k."""
    sound = make_sound(6.0)
    sound += np.float32(1e-3)
    depth = np.zeros(sound.shape[1])
    depth[: depth.size // 4] = 8.0
    counts = {}
    for name, d in (("always", 8.0), ("quarter", depth)):
        steps: list[object] = []
        dream(sound, RATE, network, with_update("add"), depth=d, on_step=steps.append)
        counts[name] = len(steps)

    assert counts["quarter"] <= 0.35 * counts["always"]
    assert counts["always"] == 8 * 13


def test_every_length_comes_back_as_long(network: MelNet) -> None:
    """Sounds shorter than a patch, of exactly a window, and of a window and a stub keep their length."""
    for n in (1, 50, 3000, 7520, 7521, 8000, 8001, 15040, 15041, 15500):
        sound = make_sound(1.7)[:, 4000 : 4000 + n]
        dreamed = dream(sound, RATE, network, with_update("mask"), depth=1.5)

        assert dreamed.shape == sound.shape
        assert np.isfinite(dreamed).all()


def test_digital_silence_stays_silent(network: MelNet) -> None:
    """Nothing is dreamed into silence, whatever the update."""
    silence = np.zeros((2, RATE), np.float32)
    for update in UPDATES:
        assert not dream(silence, RATE, network, with_update(update), depth=2.0).any()


def test_linked_stereo_keeps_the_image(network: MelNet) -> None:
    """With a shared mask a channel that is a scaled copy stays that copy."""
    sound = make_sound(0.45, n_channels=1)
    both = np.concatenate([sound, 0.5 * sound])

    dreamed = dream(both, RATE, network, with_update("mask", guard=False), depth=4.0)

    # The mask is one and the same; float32 rounding of the transform remains.
    np.testing.assert_allclose(dreamed[1], 0.5 * dreamed[0], atol=1e-6)
    assert np.abs(dreamed - both).max() > 0.01


@pytest.mark.parametrize("mode", ["mid_side", "independent"])
def test_unlinked_stereo_hears_each_group_apart(network: MelNet, mode: str) -> None:
    """Each group is dreamed as if it were alone."""
    sound = make_sound(0.45)
    encode = np.array([[0.5, 0.5], [0.5, -0.5]]) if mode == "mid_side" else np.eye(2)
    groups = (encode @ sound).astype(np.float32)

    dreamed = dream(sound, RATE, network, with_update("mask", stereo=mode, jitter=False), depth=2.0)
    alone = np.concatenate(
        [dream(g[None], RATE, network, with_update("mask", jitter=False), depth=2.0) for g in groups]
    )

    np.testing.assert_allclose(encode @ dreamed, alone, atol=2e-5)  # two items a batch against one


def test_seeds_choose_and_repeat(network: MelNet) -> None:
    """The same seed gives the same samples, another seed others."""
    sound = make_sound()
    first, again, other = (
        dream(sound, RATE, network, with_update("mask", seed=seed), depth=3.0) for seed in (1, 1, 2)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cancel_stops_and_is_said(network: MelNet) -> None:
    """The caller can stop between any two steps."""
    calls = iter([False, False, True])
    with pytest.raises(CancelledError):
        dream(make_sound(), RATE, network, SETTINGS, depth=5.0, is_cancelled=lambda: next(calls))


def test_what_cannot_be_dreamed_is_said(network: MelNet) -> None:
    """Samples that are no numbers, depths out of range and impossible settings name themselves."""
    sound = make_sound()
    broken = sound.copy()
    broken[0, 77] = np.nan
    with pytest.raises(NonFiniteError, match="not finite"):
        dream(broken, RATE, network, SETTINGS)
    with pytest.raises(SettingError, match=r"0\.\.100 steps"):
        dream(sound, RATE, network, SETTINGS, depth=101.0)
    with pytest.raises(SettingError, match="needs a target"):
        dream(sound, RATE, network, with_update("target_figure"))
    with pytest.raises(SettingError, match="needs 2 channels"):
        dream(sound[:1], RATE, network, with_update("mask", stereo="mid_side"))
    with pytest.raises(SettingError, match="did you mean 'mask'"):
        dream(sound, RATE, network, with_update("masc"))


def test_an_objective_without_gradient_names_step_and_window(network: MelNet) -> None:
    """A dead objective stops the sound instead of pretending to dream."""
    settings = DreamSettings(objective="layer:second - layer:second", window_s=0.5, jitter=False)
    with pytest.raises(NonFiniteError, match=r"step 1 of the window at 0\.00 s.*no gradient"):
        dream(make_sound()[:, 6000:], RATE, network, settings)


@pytest.mark.parametrize("update", [*UPDATES, "legacy_0163_0"])
def test_a_gradient_beyond_numbers_names_step_and_window(update: str) -> None:
    """Whatever the update, the stem stops; it is not passed on as if it had been dreamed."""
    overflowing = MelNet()
    overflowing.small.second.weight.mul_(1e39)
    with pytest.raises(NonFiniteError, match=r"step 1 of the window at 0\.00 s.*not finite"):
        dream(make_sound()[:, 6000:], RATE, overflowing, with_update(update), depth=2.0)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 1.7])
def test_the_end_of_a_sound_is_heard_without_the_padding_after_it(seconds: float) -> None:
    """The last window of a sound scores as its end does alone, not as that and the silence behind it."""
    timbre = load_network("timbre")
    settings = DreamSettings(update="add", jitter=False, window_s=2.0, fade_s=0.05, context=False)
    start = round(2.0 * RATE) - round(settings.cross_fade_s * RATE)
    sound = make_sound(seconds=start / RATE + seconds)
    in_window: list = []
    dream(sound, RATE, timbre, settings, depth=1.0, on_step=in_window.append, batch=2)
    alone: list = []
    dream(sound[:, start:], RATE, timbre, settings, depth=1.0, on_step=alone.append)

    assert [report.window_index for report in in_window] == [0, 1]
    # 1e-2: the resampler rings on past the end, where there is room for it.
    assert in_window[1].score == pytest.approx(alone[0].score, rel=1e-2)


@pytest.mark.parametrize("objective", ["layer:second", "class:auto", "neuron:first:3"])
def test_a_short_window_beside_it_changes_no_bit_of_a_whole_window(network: MelNet, objective: str) -> None:
    """Scores and gradients beside a sound's end are those beside another whole window."""
    listener = Listener(network, parse_objective(objective), RATE)
    sounds = torch.from_numpy(make_sound(3.0)).reshape(2, -1)[:, :24000]

    def heard(n_valid: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = sounds.clone().requires_grad_(True)
        scores = listener.score(leaf, 5, n_valid=n_valid)
        return scores.detach()[0], torch.autograd.grad(scores.sum(), leaf)[0][0]

    for beside_whole, beside_short in zip(heard([24000, 24000]), heard([24000, 9000]), strict=True):
        assert torch.equal(beside_whole, beside_short)


@pytest.mark.parametrize("update", [*UPDATES, "legacy_0163_1"])
def test_an_end_that_leaves_the_network_cold_stays_as_it_is(update: str) -> None:
    """Less than a patch without a gradient fails nothing, and nothing is cut out of it either."""
    deaf = load_network("timbre")
    settings = DreamSettings(
        objective="layer:block1 - layer:block1", update=update, jitter=False, window_s=2.0
    )
    start = 2.0 - settings.cross_fade_s
    sound = make_sound(start + 0.3)
    # Depth only where the first window, which is whole and would be refused, has no part.
    depth = np.where(np.arange(sound.shape[1]) < 2.0 * RATE, 0.0, 2.0)

    assert np.array_equal(dream(sound, RATE, deaf, settings, depth=depth), sound)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (np.zeros(100, np.float32), r"reference 'pad': .*shape \(100,\)"),
        (np.zeros((1, 100), np.int16), "reference 'pad': .*int16"),
        (None, "reference 'pad': the sound is NoneType"),
        (np.zeros((1, 0), np.float32), "reference 'pad' is empty"),
        (np.full((1, 100), np.nan, np.float32), "reference 'pad' holds values that are not finite"),
    ],
)
def test_references_are_checked_like_sounds(network: MelNet, reference: object, message: str) -> None:
    """What cannot be heard is named, not met in the middle of a dream."""
    with pytest.raises(SettingError, match=message):
        dream(make_sound(), RATE, network, SETTINGS, references={"pad": reference}, target="pad")


@pytest.mark.parametrize(
    ("channels", "lanes", "message"),
    [
        (2, {"stepp": 1.0}, "did you mean 'step'"),
        (2, {"step": 50.0}, r"the lane of step is up to 50; .*0\.\.10"),
        (2, {"low_hz": float("nan")}, "the lane of low_hz is up to nan"),
        (1, {}, r"a block of \(1, 100\)"),
    ],
)
def test_blocks_and_lanes_are_checked(
    network: MelNet, channels: int, lanes: dict[str, float], message: str
) -> None:
    """What does not fit the stream is named before it is dreamed."""
    stream = open_stream(network, SETTINGS, RATE, 2)
    moving = {name: torch.full((100,), value) for name, value in lanes.items()}
    with pytest.raises(SettingError, match=message):
        stream.push(torch.zeros(channels, 100), torch.ones(100), moving)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("octaves", 2.0, "a whole number"),
        ("seed", 1.5, "a whole number"),
        ("update", None, "a text"),
        ("jitter", "off", "true or false"),
        ("energy", 1, "true or false"),
        ("octaves", True, "a whole number"),
    ],
)
def test_settings_of_another_kind_are_refused(name: str, value: object, message: str) -> None:
    """A text is never true, half an octave never rounded."""
    with pytest.raises(SettingError, match=f"{name} = .*{message}"):
        DreamSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sound", "depth", "sample_rate", "message"),
    [
        (make_sound()[0], 1.0, RATE, r"pass sound\[None, :\]"),
        ([[0.0, 0.1]], 1.0, RATE, "the sound is list"),
        ((make_sound() * 32767).astype(np.int16), 1.0, RATE, "samples are int16"),
        (make_sound(), np.ones(7), RATE, r"depth has shape \(7,\)"),
        (make_sound(), 1.0, 0, "sample_rate = 0"),
        (make_sound(), 1.0, 44100.5, r"sample_rate = 44100\.5"),
        (make_sound(), float("nan"), RATE, "depth must stay"),
    ],
)
def test_what_is_no_sound_or_depth_is_said(
    network: MelNet, sound: np.ndarray, depth: float, sample_rate: int, message: str
) -> None:
    """Layout, type, length and rate are never guessed."""
    with pytest.raises(SettingError, match=message):
        dream(sound, sample_rate, network, SETTINGS, depth=depth)


def test_out_of_memory_halves_the_batch_and_says_so(network: MelNet) -> None:
    """A device with room for two windows dreams what one dreams that is given two at a time."""

    class TightNet(MelNet):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            if patches.shape[0] > 2 * patches_a_window:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(patches)

    patches_a_window = network.listen(torch.zeros(1, RATE // 2)).shape[1]
    sound, said = make_sound(), []
    settings = replace(SETTINGS, context=False)
    dreamed = dream(sound, RATE, TightNet(), settings, depth=2.0, batch=8, on_warning=said.append)

    assert np.array_equal(dreamed, dream(sound, RATE, network, settings, depth=2.0, batch=2))
    assert said == [f"the device is out of memory; going on with {n} windows at a time" for n in (4, 2)]


def test_without_room_for_one_window_the_error_is_the_devices(network: MelNet) -> None:
    """Halving ends at one window."""

    class NoRoomNet(MelNet):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        dream(make_sound(), RATE, NoRoomNet(), SETTINGS, depth=1.0, batch=4)


def test_a_target_runs_beside_the_sound(network: MelNet) -> None:
    """Every window takes from the target what lies under it, not its beginning."""
    sound = make_sound(2.0)
    n = sound.shape[1]
    # A target that sounds only from 1.2 s on: what is added before that can only be misplaced.
    target = make_sound(2.0, seed=3)
    target[:, : round(1.2 * RATE)] = 0.0
    settings = DreamSettings(
        objective="layer:second", window_s=0.5, fade_s=0.03, update="cut:target:target:target:add"
    )
    dreamed = dream(sound, RATE, network, settings, depth=1.0, references={"t": target}, target="t")
    change = np.abs(dreamed - sound).max(axis=0)

    frame = settings.n_fft_at(RATE)
    assert change[: round(1.2 * RATE) - frame].max() < 1e-6
    assert change[round(1.2 * RATE) + frame : n - frame].max() > 0.01


def test_a_last_stub_belongs_to_the_window_before_it(network: MelNet) -> None:
    """A sound that ends within a cross-fade keeps what that window changes to the end; nothing fades it."""
    hop = round(0.5 * RATE) - round(0.03 * RATE)
    sound = make_sound(3.0)[:, 9000 : 9000 + 2 * hop + 400]
    # A fifth of a steady tone is added everywhere, so its level at the end says how much was let through.
    tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE)[None].astype(np.float32)
    settings = with_update("cut:target:target:target:add", threshold_db=-96.0)
    dreamed = dream(sound, RATE, network, settings, depth=1.0, references={"t": tone}, target="t")
    change = (dreamed - sound)[:, -100:]

    assert np.abs(change).max() == pytest.approx(0.2 * 0.1, rel=0.05)


def test_dreams_of_each_layer_add_up(network: MelNet) -> None:
    """The changes add up; by default those of the strongest channel of each of the last three layers."""
    sound = make_sound()
    apart = [
        dream(sound, RATE, network, DreamSettings(objective=f"channel:{name}:auto"), depth=2.0) - sound
        for name in ("first", "second")
    ]
    settings = DreamSettings(update="mask")

    np.testing.assert_allclose(
        dream_each(sound, RATE, network, settings=settings, depth=2.0), sound + apart[0] + apart[1], atol=1e-7
    )
    np.testing.assert_array_equal(
        dream_each(sound, RATE, network, ["channel:second:auto"], depth=2.0), sound + apart[1]
    )
