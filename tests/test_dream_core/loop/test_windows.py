"""The schedule: what a window looks at beside itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dream_core.loop.windows import WindowSchedule

RATE = 1000
CPU = torch.device("cpu")


def schedule(
    sound: np.ndarray, margin: int, block: int = 10**6
) -> list[tuple[int, torch.Tensor, torch.Tensor]]:
    """Return every window's start, context and lane, taken as soon as it can step; windows are 0.5 s long."""
    made = WindowSchedule(RATE, 0.5, 0.1, margin, CPU)
    lane = torch.arange(sound.shape[1], dtype=torch.float32)
    found: dict[int, tuple[int, torch.Tensor, torch.Tensor]] = {}

    def look() -> None:
        made.advance()
        for i in made.ready():
            window = made.windows[i]
            found[window.index] = (
                made.start_sample(window),
                made.context_under(i),
                made.lanes_under(i)["step"],
            )
            window.proposal, window.taken = made.sound_under(i)[:, : window.n_samples], window.taken + 1
        made.advance()
        made.take_finished()

    for start in range(0, sound.shape[1], block):
        part = torch.from_numpy(sound[:, start : start + block])
        ones = torch.ones(part.shape[1], dtype=torch.float64)
        made.push(part, ones, {"step": lane[start : start + block]})
        look()
    made.end()
    for _ in range(len(made.windows) + 1):
        look()
    return [found[index] for index in sorted(found)]


def noise(n_samples: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, n_samples)).astype(np.float32)


@pytest.mark.parametrize("block", [10**6, 170])
@pytest.mark.parametrize("margin", [50, 300, 700])
def test_a_window_sees_the_sound_on_both_sides(margin: int, block: int) -> None:
    """Also where the margin is longer than a window, and in blocks; at the ends the sound is turned round."""
    sound = noise(2900)
    around = np.pad(sound, ((0, 0), (margin, margin)), mode="reflect", reflect_type="odd")
    windows = schedule(sound, margin, block)

    assert [start for start, _, _ in windows] == [0, 400, 800, 1200, 1600, 2000, 2400]
    for start, context, lane in windows:
        n_samples = min(500, 2900 - start)
        n_seen = n_samples + 2 * margin
        assert context.shape[1] == 500 + 2 * margin
        np.testing.assert_array_equal(context[:, :n_seen], around[:, start : start + n_seen])
        assert not context[:, n_seen:].any()
        positions = np.clip(np.arange(start - margin, start - margin + len(lane)), 0, 2899)
        np.testing.assert_array_equal(lane, positions)


def test_a_sound_shorter_than_its_margins_goes_to_and_fro() -> None:
    """Turned round at its end, then back; and nothing jumps there."""
    sound = np.array([[0.0, 1.0, 3.0, 4.0] + [5.0] * 16], np.float32)
    made = WindowSchedule(RATE, 0.5, 0.1, 45, CPU)
    made.push(torch.from_numpy(sound), torch.ones(20, dtype=torch.float64), {})
    made.end()
    after = made.context_under(0)[0, 45 + 20 :].numpy()
    back = 10.0 - sound[0, -2::-1]

    np.testing.assert_array_equal(after[:19], back)
    np.testing.assert_array_equal(after[19:37], back[-2::-1])
    assert np.abs(np.diff(after)).max() <= 2.0
