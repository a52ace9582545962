"""Sound that goes in where digital silence comes out."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audio import noise, sine

from bridge.processors.silence import SilenceWatch

RATE = 16000
SILENCE = np.zeros((2, 3 * RATE), np.float32)


def lost(sound: np.ndarray, out: np.ndarray, size: int = 3000, late: int = 0) -> tuple[float, float]:
    """Return how much is lost and from when, in blocks, the output that many samples later."""
    watch = SilenceWatch(RATE)
    for start in range(0, max(sound.shape[1], out.shape[1]) + late, size):
        watch.push_input(sound[:, start : start + size])
        watch.push_output(out[:, max(0, start - late) : max(0, start + size - late)])
    return round(watch.lost_s, 2), round(watch.lost_from_s, 2)


@pytest.mark.parametrize("size", [1, 700, 3000, 10**6])
@pytest.mark.parametrize("late", [0, 5000])
def test_silence_is_found_whatever_the_blocks(size: int, late: int) -> None:
    """The half in the middle; at one sample in a block too."""
    n = 3 * RATE if size > 1 else 12800
    sound = noise(n, 2)
    out = sound.copy()
    out[:, n // 4 : 3 * n // 4] = 0.0

    assert lost(sound, out, size, late) == (n / 2 / RATE, n / 4 / RATE)


@pytest.mark.parametrize(
    ("sound", "seconds"),
    [
        (sine(220, 3.0, RATE, -56, n_channels=2), 3.0),
        (sine(220, 3.0, RATE, -58, n_channels=2), 0.0),  # its RMS is 3 dB lower
        (np.stack([SILENCE[0], noise(3 * RATE)[0]]), 3.0),
        (SILENCE, 0.0),
        (np.full_like(SILENCE, 0.25), 0.0),
        (np.full_like(SILENCE, -1.0), 0.0),
    ],
    ids=["-59 dBFS", "-61 dBFS", "one channel", "silence", "constant", "constant at full scale"],
)
def test_what_counts_as_sound(sound: np.ndarray, seconds: float) -> None:
    """What is at -60 dBFS or more in any channel; what is constant is not heard."""
    assert lost(sound, SILENCE)[0] == pytest.approx(seconds, abs=0.06)


def test_only_exact_zeros_are_digital_silence() -> None:
    """A band-pass far from the sound leaves something."""
    assert lost(noise(3 * RATE, 2), np.full_like(SILENCE, 1e-30)) == (0.0, 0.0)


def test_gaps_of_a_drum_do_not_hide_the_loss() -> None:
    """Hits of a tenth of a second, two a second: their time adds up while the output is silent."""
    sound = noise(3 * RATE, 2)
    sound[:, np.arange(3 * RATE) % (RATE // 2) >= RATE // 10] = 0.0

    assert lost(sound, SILENCE)[0] == pytest.approx(0.6, abs=0.06)
    assert lost(sound, sound)[0] == 0.0


def test_a_tail_is_not_silence() -> None:
    """What comes after the input has none to lose."""
    assert lost(noise(RATE, 2), np.concatenate([noise(RATE, 2), SILENCE], 1)) == (0.0, 0.0)
