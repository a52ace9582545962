"""A ladder's rungs are what dreams of their depth give, and cost no step more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.nets import MelNet

from dream_core import DreamSettings, dream, open_stream
from dream_core.errors import SettingError
from dream_core.settings import StereoMode
from dream_core.updates.contract import State, Window

RATE = 16000
LADDER = (1, 2, 5, 9)


def make_sound(seconds: float = 1.9) -> np.ndarray:
    rng = np.random.default_rng(2)
    t = np.arange(round(seconds * RATE)) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 330 * t) * (t > 0.4) + 0.05 * np.sin(2 * np.pi * 1210 * t)
    return (tone + 0.01 * rng.standard_normal((2, len(t)))).astype(np.float32)


def make_depth(n_samples: int) -> np.ndarray:
    """From 0 through fractions to 6 and back, flat at both ends: some windows take few steps, some none."""
    return np.clip(8.0 * np.sin(np.pi * np.arange(n_samples) / n_samples) - 2.0, 0.0, 6.0)


def climb(
    settings: DreamSettings,
    sound: np.ndarray,
    depth: np.ndarray,
    block: int,
    reports: list[object] | None = None,
) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    stream = open_stream(
        MelNet(), settings, RATE, 2, ladder=LADDER, on_step=None if reports is None else reports.append
    )
    done, rungs = [], {rung: [np.zeros((2, 0), np.float32)] for rung in LADDER}
    for start in range(0, sound.shape[1] + block, block):
        part = slice(start, start + block)
        is_over = start >= sound.shape[1]
        out = (
            stream.finish()
            if is_over
            else stream.push(torch.from_numpy(sound[:, part]), torch.from_numpy(depth[part]))
        )
        done.append(out.numpy())
        taken = stream.take_ladder()
        assert {one.shape for one in taken.values()} == {out.shape}
        for rung, piece in taken.items():
            rungs[rung].append(piece.numpy())
        if is_over:
            break
    assert not any(one.shape[1] for one in stream.take_ladder().values())
    return np.concatenate(done, 1), {rung: np.concatenate(pieces, 1) for rung, pieces in rungs.items()}


@pytest.mark.parametrize("block", [700, 100_000])
@pytest.mark.parametrize("update", ["mask", "add", "filter", "mel", "hear"])
def test_a_rung_is_a_dream_held_to_its_depth(update: str, block: int) -> None:
    """Bit for bit ``min(d(t), k)``, for depths that move, in blocks; the whole dream is as without one."""
    settings = DreamSettings(objective="layer:second", window_s=0.5, fade_s=0.03, update=update)
    sound = make_sound()
    depth = make_depth(sound.shape[1])
    whole, rungs = climb(settings, sound, depth, block)

    assert np.array_equal(whole, dream(sound, RATE, MelNet(), settings, depth=depth))
    for rung, found in rungs.items():
        held = dream(sound, RATE, MelNet(), settings, depth=np.minimum(depth, rung))
        assert np.array_equal(found, held), rung
    assert not np.array_equal(rungs[2], rungs[5])
    assert np.array_equal(rungs[9], whole)


def test_a_ladder_takes_no_step_more() -> None:
    """As many steps as the deepest dream alone."""
    settings = DreamSettings(objective="layer:second", window_s=0.5, update="add")
    sound = make_sound()
    depth = make_depth(sound.shape[1])
    with_ladder: list[object] = []
    climb(settings, sound, depth, 4000, with_ladder)
    alone: list[object] = []
    dream(sound, RATE, MelNet(), settings, depth=depth, on_step=alone.append)

    assert len(with_ladder) == len(alone) > 0


class Lazy:
    """Makes the sound only in the steps it is asked for, as updates with a state of their own may."""

    needs_target = False
    changes_original = True

    def begin(self, context: torch.Tensor, settings: DreamSettings, sample_rate: int) -> State:
        return {"steps": context.new_zeros(len(context), 1, 1)}

    def step(self, window: Window, state: State) -> tuple[torch.Tensor, State, torch.Tensor]:
        window.score(window.current.mean(dim=1))  # who scores is told of
        steps = state["steps"] + 1.0
        wanted = torch.tensor(window.needs_sound)[:, None, None]
        sound = torch.where(wanted, window.original * (1.0 + 0.01 * steps), window.current)
        return sound, {"steps": steps}, torch.ones_like(window.current)


@pytest.mark.parametrize("stereo", ["linked", "mid_side", "independent"])
def test_a_rung_asks_for_the_sound_of_its_step(stereo: StereoMode) -> None:
    """An update that leaves the sound out of steps nobody hears makes it for every rung, bit for bit.

    Also in mid and side, which rounding brings back to left and right.
    """
    settings = DreamSettings(objective="layer:second", window_s=0.5, update=Lazy(), stereo=stereo)
    sound = make_sound()
    depth = np.full(sound.shape[1], 6.0)
    whole, rungs = climb(settings, sound, depth, 4000)

    assert np.array_equal(whole, dream(sound, RATE, MelNet(), settings, depth=depth))

    for rung, found in rungs.items():
        np.testing.assert_allclose(found, sound * (1.0 + 0.01 * min(rung, 6)), rtol=1e-5, atol=1e-7)
        held = dream(sound, RATE, MelNet(), settings, depth=np.minimum(depth, rung))
        assert np.array_equal(found, held), rung


@pytest.mark.parametrize("ladder", [[0], [1.5], [101], [True], ["2"]])
def test_what_is_no_rung_is_said(ladder: list[int]) -> None:
    with pytest.raises(SettingError, match=r"whole numbers of steps, 1\.\.100"):
        open_stream(MelNet(), DreamSettings(objective="layer:second"), RATE, 1, ladder=ladder)
