"""Steps that updates share, against a second telling of them in numpy and double precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from dream_core import DreamSettings
from dream_core.updates.ascent import (
    aim,
    guard_state,
    guarded,
    hear,
    optimise,
    optimiser_state,
    swing,
)
from dream_core.updates.contract import Window

RATE = 8000
N_BINS, N_FRAMES = 7, 5
Field = npt.NDArray[np.float64]


def directions(n_steps: int, seed: int = 0, turning: float = 1.0) -> list[Field]:
    """Return directions that wander; with no turning they stay."""
    rng = np.random.default_rng(seed)
    steady = rng.standard_normal((1, N_BINS, N_FRAMES))
    return [steady + turning * rng.standard_normal(steady.shape) for _ in range(n_steps)]


def moves(settings: DreamSettings, taken: list[Field]) -> list[Field]:
    field = torch.zeros(1, N_BINS, N_FRAMES, dtype=torch.float64)
    state = optimiser_state(settings, field, field[:, :1])
    free = replace(settings, motion=1.0)
    return [optimise(torch.from_numpy(one), state, free, 0.02).numpy() for one in taken]


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_plain_steps_are_an_average_of_directions(momentum: float) -> None:
    """Without momentum the direction itself; with it a first-order low-pass of unit gain."""
    taken, average = directions(6), np.zeros((1, N_BINS, N_FRAMES))
    found = moves(DreamSettings(optimiser="plain", momentum=momentum), taken)
    for direction, move in zip(taken, found, strict=True):
        average = momentum * average + (1.0 - momentum) * direction
        np.testing.assert_allclose(move, average, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("turning", [0.3, 3.0])
def test_adaptive_steps_grow_with_agreement(momentum: float, turning: float) -> None:
    """A frame's rate is multiplied by exp(0.7 (cosine - 0.3)), held in 0.1..3, and begins with 1."""
    taken = directions(12, turning=turning)
    found = moves(DreamSettings(momentum=momentum), taken)
    before, rate = np.zeros((1, N_BINS, N_FRAMES)), np.ones((1, 1, N_FRAMES))
    for step, (direction, move) in enumerate(zip(taken, found, strict=True)):
        if step:
            sizes = np.linalg.norm(direction, axis=1) * np.linalg.norm(before, axis=1)
            cosine = ((direction * before).sum(axis=1) / sizes)[:, None]
            rate = np.clip(rate * np.exp(0.7 * (cosine - 0.3)), 0.1, 3.0)
        before = momentum * before + (1.0 - momentum) * direction
        np.testing.assert_allclose(move, rate * before, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("sign", "bound"), [(1.0, 3.0), (-1.0, 0.1)])
def test_rates_are_bounded(sign: float, bound: float) -> None:
    """A direction that stays goes three times as far in the end, one that turns about a tenth."""
    direction = directions(1)[0]
    taken = [sign**step * direction for step in range(12)]
    move = moves(DreamSettings(momentum=0.0), taken)[-1]

    np.testing.assert_allclose(np.abs(move), bound * np.abs(direction), rtol=1e-12)


def test_a_frame_without_direction_keeps_its_rate() -> None:
    """Silence between two steps does not slow the frame down, and is not divided by."""
    direction = directions(1)[0]
    silent = direction.copy()
    silent[..., 2] = 0.0
    last = moves(DreamSettings(momentum=0.0), [direction, silent, direction])[-1]
    grown = np.exp(0.7 * 0.7)

    np.testing.assert_allclose(last[..., 2], direction[..., 2], rtol=1e-12)
    np.testing.assert_allclose(last[..., 0], grown**2 * direction[..., 0], rtol=1e-12)


def test_adam_is_adam() -> None:
    """Kingma and Ba's rule with betas of 0.9 and 0.99, epsilon 1e-3, bounded by three."""
    taken = directions(8)
    found = moves(DreamSettings(optimiser="adam"), taken)
    first, second = np.zeros_like(taken[0]), np.zeros_like(taken[0])
    for step, (direction, move) in enumerate(zip(taken, found, strict=True), start=1):
        first = 0.9 * first + 0.1 * direction
        second = 0.99 * second + 0.01 * direction**2
        expected = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-3)
        np.testing.assert_allclose(move, np.clip(expected, -3.0, 3.0), rtol=1e-10)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def window(lanes: dict[str, float | Tensor] | None = None, **changes: object) -> Window:
    """Return a second of noise with a tenth around it, whose score is what it holds of a tone."""
    context, margin = noise(1, 2, RATE + 1600), 800
    tone = torch.sin(2 * torch.pi * 440.0 * torch.arange(context.shape[-1], dtype=torch.float64) / RATE)
    return Window(
        current=context[..., margin:-margin],
        context=context,
        margin=margin,
        n_valid=torch.tensor([[[RATE]]], dtype=torch.float64),
        score=lambda sound: (sound * tone[: sound.shape[-1]]).sum(dim=-1),
        target=None,
        step_index=0,
        sample_rate=RATE,
        lanes={"step": 1.0, **(lanes or {})},
        settings=DreamSettings(**changes),  # type: ignore[arg-type]
    )


def test_what_is_heard_is_the_scores_gradient_where_it_is_scored() -> None:
    """A linear score's gradient is its weights, shared by the rows; without context the margins have none."""
    made = window()
    tone = torch.sin(2 * torch.pi * 440.0 * torch.arange(RATE + 1600, dtype=torch.float64) / RATE)
    around = hear(made, made.context, {})
    alone = hear(replace(made, settings=DreamSettings(context=False)), made.context, {})
    half = hear(made, made.context, {"held": torch.full((1, 1, 1), 0.5)})

    torch.testing.assert_close(around, 0.5 * tone.expand(1, 2, -1))
    torch.testing.assert_close(alone[..., 800:-800], 0.5 * tone[:RATE].expand(1, 2, -1))
    assert not alone[..., :800].any()
    assert not alone[..., -800:].any()
    torch.testing.assert_close(half, 0.5 * around)


@pytest.mark.parametrize("step", [0.7, "a lane"])
def test_a_step_swings_with_the_cycles(step: float | str) -> None:
    """Four fifths more where a cycle begins, as much less in its middle; without cycles as it is."""
    at = np.arange(RATE + 1600)
    sizes = np.full(len(at), 0.7) if isinstance(step, float) else 0.5 + at / RATE
    cycles = 4.0 * at / RATE + 0.3 * (at / RATE) ** 2
    said: float | Tensor = step if isinstance(step, float) else torch.from_numpy(sizes)[None, None]
    still = {"step": said}
    found = swing(window({**still, "cycles": torch.from_numpy(cycles)[None, None]}), 100, 90)
    frames = 100 * np.arange(90)

    expected = sizes[frames] * (1.0 + 0.8 * np.cos(2.0 * np.pi * cycles[frames]))
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(
        np.broadcast_to(swing(window(still), 100, 90), (1, 1, 90))[0, 0], sizes[frames]
    )


def test_an_aim_is_a_mix_of_a_gradient_and_what_is_steady_in_it() -> None:
    """By motion: at 0 its mean by a Gaussian of half a second."""
    gradient = noise(1, 3, 96)
    distance = np.arange(96)[:, None] - np.arange(96)
    sigma = 0.5 * RATE / 500
    taps = np.exp(-0.5 * (np.arange(-3 * sigma, 3 * sigma + 1) / sigma) ** 2)
    weights = np.exp(-0.5 * (distance / sigma) ** 2) * (np.abs(distance) <= 3 * sigma) / taps.sum()
    mean = gradient.numpy() @ weights
    for motion in (0.0, 0.25):
        found = aim(gradient, window(motion=motion), 500).numpy()
        np.testing.assert_allclose(found, motion * gradient.numpy() + (1.0 - motion) * mean, atol=1e-9)
    assert torch.equal(aim(gradient, window(motion=1.0), 500), gradient)


def test_rates_that_may_not_move_are_alike_within_half_a_second() -> None:
    """A frame that turns about among frames that go on slows down with them, not alone."""
    settings = DreamSettings(momentum=0.0, motion=0.0)
    field = torch.zeros(1, N_BINS, 60, dtype=torch.float64)
    own = optimiser_state(settings, field, field[:, :1])
    direction = torch.ones_like(field)
    for sign in (1.0, -1.0, 1.0, -1.0):
        turned = direction.clone()
        turned[..., 28:33] *= sign
        optimise(turned, own, settings, 0.02)
    rate = own["rate"][0, 0]
    assert float(rate[25:35].std() / rate[25:35].mean()) < 0.02
    assert 0.1 < float(rate[30]) < float(rate[0]) - 0.1


@pytest.mark.parametrize(("guard", "peak_guard"), [(True, 0.0), (False, 0.4), (True, 0.4)])
def test_a_guarded_change_is_the_change_times_what_is_kept_of_it(guard: bool, peak_guard: float) -> None:
    """Where it is loud it is held, by each guard that is asked for, and the state knows how much."""
    made = window(guard=guard, peak_guard=peak_guard)
    own = guard_state(made.settings, made.context)
    change = noise(1, 2, RATE + 1600, seed=1)
    change[..., 4000:4400] *= 20.0
    held = guarded(change, made, own)

    torch.testing.assert_close(held, own["held"] * change)
    assert float(own["held"].max()) <= 1.0 + 1e-9
    assert float(own["held"][..., 4100:4300].max()) < 0.2
    if peak_guard:
        assert float(held.abs().max()) <= peak_guard * float(made.context.abs().max()) + 1e-9
    if guard:
        # Silent where the sound is.
        made.context[..., :2000] = 0.0
        assert not guarded(change, made, own)[..., :1900].any()


def test_nothing_is_guarded_where_no_guard_is_asked_for() -> None:
    """The change comes back as it is, and no state is kept for it."""
    made, change = window(guard=False, peak_guard=0.0), noise(1, 2, RATE + 1600, seed=1)
    own = guard_state(made.settings, made.context)

    assert own == {}
    assert guarded(change, made, own) is change
    assert own == {}
