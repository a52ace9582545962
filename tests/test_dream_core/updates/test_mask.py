"""The mask's own arithmetic, against a second telling of it in numpy and double precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.settings import FREE_MASK
from torch import Tensor

from dream_core import DreamSettings
from dream_core.updates.contract import Window
from dream_core.updates.mask import Mask

RATE = 44100


def noise(n_samples: int, n_rows: int = 1) -> Tensor:
    return 0.1 * torch.randn(
        1, n_rows, n_samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def test_what_a_beginning_holds_follows_the_settings() -> None:
    """Flat gains, nothing changed, rates of one; what no setting asks for is not kept."""
    sound = noise(8000)

    def begun(**changes: object) -> dict[str, Tensor]:
        settings = DreamSettings(**changes)  # type: ignore[arg-type]
        return Mask().begin(sound, settings, RATE)

    default = begun()
    assert default.keys() == {
        f"{name}0" for name in ("spectrum", "u", "lost", "change", "held", "velocity", "rate")
    }
    assert not default["u0"].any()
    assert not default["change0"].any()
    assert not default["lost0"].any()
    assert bool((default["rate0"] == 1.0).all())
    assert "held0" not in begun(guard=False, peak_guard=0.0)
    assert begun(optimiser="plain", momentum=0.0).keys().isdisjoint({"velocity0", "rate0"})
    assert begun(optimiser="adam").keys() >= {"velocity0", "power0", "taken0"}
    assert "velocity0" in begun(optimiser="plain", momentum=0.1)
    assert begun(octaves=2).keys() >= {"u0", "u1"}


@pytest.mark.parametrize(
    ("octaves", "lengths"),
    [(1, [2048]), (2, [2048, 1024]), (3, [4096, 2048, 1024]), (5, [8192, 4096, 2048, 1024, 512])],
)
def test_octaves_halve_their_frames(octaves: int, lengths: list[int]) -> None:
    """From long frames, for tones, to short ones, for attacks, around the setting's own."""
    sound = noise(30000)
    state = Mask().begin(sound, DreamSettings(octaves=octaves, n_fft=2048), RATE)

    assert [2 * (state[f"u{index}"].shape[-1] - 1) for index in range(octaves)] == lengths


def window(context: Tensor, margin: int, **changes: object) -> tuple[Window, DreamSettings]:
    settings = replace(FREE_MASK, excitation_db=-96.0, guard=False, jitter=False, context=False, **changes)  # type: ignore[arg-type]
    own = context[..., margin : context.shape[-1] - margin]
    tone = torch.sin(2 * torch.pi * 3000.0 * torch.arange(own.shape[-1], dtype=torch.float64) / RATE)
    made = Window(
        current=own,
        context=context,
        margin=margin,
        n_valid=torch.tensor([[[own.shape[-1]]]], dtype=torch.float64),
        score=lambda sound: (sound * tone).sum(dim=-1).square(),
        target=None,
        step_index=0,
        sample_rate=RATE,
        lanes={"step": 1.0, "low_hz": 60.0, "high_hz": 15000.0},
        settings=settings,
    )
    return made, settings


@pytest.mark.parametrize("step", [1.0, 0.25])
def test_a_first_step_is_two_decibels_times_the_clipped_gradient(step: float) -> None:
    """``u`` is ``step * 2 dB * clip(G / rms(G), -3, 3)``, the root mean square being each frame's own."""
    made, settings = window(noise(12000), 2048, optimiser="plain", momentum=0.0)
    state = Mask().begin(made.context, settings, RATE)
    _, after, gradient = Mask().step(replace(made, lanes={**made.lanes, "step": step}), state)
    # Frames of the margins alone have no gradient, and stay.
    unit = torch.nan_to_num(gradient / gradient.square().mean(dim=1, keepdim=True).sqrt())
    expected = step * 2.0 * np.log(10.0) / 20.0 * unit.clamp(-3.0, 3.0)

    assert float(unit.abs().max()) > 3.0  # so that the bound is seen
    torch.testing.assert_close(after["u0"].mT, expected, rtol=1e-9, atol=1e-12)


def test_a_step_ascends_and_only_within_its_band() -> None:
    """The score rises with every step, and outside the band the spectrum's gains stay at one."""
    made, settings = window(noise(12000), 2048)
    state, scores, current = Mask().begin(made.context, settings, RATE), [], made.current
    for index in range(6):
        scores.append(float(made.score(current.mean(dim=1))))
        current, state, _ = Mask().step(replace(made, current=current, step_index=index), state)

    assert scores == sorted(scores)
    assert scores[-1] > 3.0 * scores[0]
    change = np.abs(np.fft.rfft((current - made.current).numpy()[0, 0] * np.hanning(current.shape[-1])))
    frequencies = np.fft.rfftfreq(current.shape[-1], 1 / RATE)
    assert change[frequencies > 17000].max() < 1e-3 * change.max()


@pytest.mark.parametrize("hop_divisor", [4, 8, 16])
def test_attacks_are_protected_where_they_are(hop_divisor: int) -> None:
    """Full protection leaves every frame over an onset where it was, and others move as without it."""
    context = noise(30000)
    context[..., :15000] *= 1e-3
    made, _ = window(context, 2048, optimiser="plain", momentum=0.0, hop_divisor=hop_divisor)

    def gains(amount: float) -> Tensor:
        settings = replace(made.settings, protect_transients=amount)
        state = Mask().begin(made.context, settings, RATE)
        return Mask().step(replace(made, settings=settings), state)[1]["u0"][0].abs().mean(dim=-1)

    free, held = gains(0.0), gains(1.0)
    hop = 2048 // hop_divisor
    over = torch.arange(15000 - 512, 15000 + 384, hop) // hop
    assert float((held[over] / free[over]).max()) < 0.2
    assert float(held[25600 // hop] / free[25600 // hop]) > 0.6


@pytest.mark.parametrize(
    ("margin", "expected"), [(0, [0, 10, 20, 30]), (15, [-15, -5, 5, 15]), (-100, [100, 110, 119, 119])]
)
def test_what_moves_is_taken_at_the_middles_of_frames(margin: int, expected: list[int]) -> None:
    """Frame ``i`` takes the value at sample ``i * hop``, counted from where the margin begins."""
    made, _ = window(noise(140), 20)
    lane = torch.arange(-20.0, 120.0)[None, None]  # counted from where the window begins
    moving = replace(made, lanes={**made.lanes, "step": lane})
    taken = moving.lane_at_frames("step", 10, 4, margin)

    assert isinstance(taken, Tensor)
    assert taken[0, 0].tolist() == expected
    assert isinstance(moving.step, Tensor)
    assert moving.step[0, 0].tolist() == list(range(100))
    assert made.lane_at_frames("step", 10, 4, margin) == 1.0


def test_a_band_that_moves_is_taken_there_too() -> None:
    """An edge that jumps at a frame's middle counts from that frame on, and from none before it."""
    made, _ = window(noise(12000), 2048)
    n_samples = made.context.shape[-1]
    low = torch.where(torch.arange(n_samples) < made.margin + 512, 100.0, 9000.0)[None, None]
    weights = replace(made, lanes={**made.lanes, "low_hz": low}).band_weights(2048, 512, 3)
    bin_of_1000_hz = round(1000 * 2048 / RATE)

    assert weights[0, bin_of_1000_hz].tolist() == [1.0, 0.0, 0.0]


def test_a_level_is_over_all_rows_and_what_is_no_padding() -> None:
    """A stereo item's root mean square, over its own samples alone."""
    made, _ = window(noise(12000), 2048)
    stereo = noise(1000, n_rows=2)
    stereo[..., 600:] = 0.0
    held = replace(made, n_valid=torch.tensor([[[600.0]]], dtype=torch.float64))

    expected = stereo[..., :600].square().mean().sqrt()
    torch.testing.assert_close(held.rms(stereo)[0, 0, 0], expected)
