"""Noise is what its colour says, the same wherever it is cut, and each channel's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import welch

from bridge.errors import ProcessorError
from bridge.processors.chain import Chain, Node
from bridge.processors.noise import Noise

SLOPES = {"white": 0.0, "pink": 1.0, "brown": 2.0}
FIRST = [0.38921985, -0.71820801, -0.12144125, 0.54871887]


def silence(seconds: float = 1.0, rate: int = 48000, n_channels: int = 2) -> np.ndarray:
    return np.zeros((n_channels, round(seconds * rate)), np.float32)


def level_db(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(sound.astype(np.float64) ** 2)))


@pytest.mark.parametrize("rate", [22050, 44100, 96000])
@pytest.mark.parametrize("color", SLOPES)
def test_a_color_falls_as_it_says(color: str, rate: int) -> None:
    """Power times f ** slope is even within a dB from 60 Hz to 0.45 of the rate.

    The filter is within 0.45 dB by its design; means over a third of an octave of 40 s scatter by 0.3 dB at
    60 Hz.
    """
    noise = Noise(color)(silence(40.0, rate, 1), rate)[0]  # type: ignore[arg-type]
    hertz, power = welch(noise.astype(np.float64), rate, nperseg=8192)
    heard = (hertz > 60) & (hertz < 0.45 * rate)
    even = power[heard] * hertz[heard] ** SLOPES[color]
    thirds = np.floor(3 * np.log2(hertz[heard])).astype(int)
    levels = np.array([10 * np.log10(even[thirds == one].mean()) for one in np.unique(thirds)])

    assert np.abs(levels - np.median(levels)).max() < 1.0


@pytest.mark.parametrize("color", SLOPES)
def test_its_level_is_an_rms(color: str) -> None:
    """20 s are at the level asked for within 0.5 dB: brown noise is slow, and scatters by that."""
    assert level_db(Noise(color, -34.0)(silence(20.0), 48000)) == pytest.approx(-34.0, abs=0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("color", ["pink", "brown"])
def test_it_is_whole_from_the_first_sample(color: str) -> None:
    """The first millisecond of many seeds is as loud as one later: the filter did not start from rest."""
    sound = silence(0.1, n_channels=1)
    noises = np.stack([Noise(color, seed=seed)(sound, 48000)[0] for seed in range(300)])  # type: ignore[arg-type]

    # Mean powers of 300 draws scatter by sqrt(2 / 300), 0.4 dB; starts from rest miss 1.6 and 12 dB.
    assert level_db(noises[:, :48]) == pytest.approx(level_db(noises[:, 4000:4048]), abs=1.2)


def test_cuts_do_not_matter() -> None:
    """A stream in odd blocks is the whole sound bit for bit, beyond several blocks of the counted source."""
    sound = silence(2.0)
    whole = Noise("pink", seed=5)(sound, 48000)
    noise, pieces, start = Noise("pink", seed=5), [], 0
    for size in (1, 16383, 2, 40000, 7, 39607):
        pieces.append(noise.process(sound[:, start : start + size], 48000, reset=False))
        start += size
    assert start == sound.shape[1]

    assert np.array_equal(np.concatenate(pieces, axis=1), whole)


def test_channels_and_seeds_have_their_own() -> None:
    """Two channels, and two seeds, correlate by chance alone; correlated channels are one."""
    sound = silence(4.0)
    left, right = Noise("white")(sound, 48000)
    (other, _) = Noise("white", seed=1)(sound, 48000)
    for one in (right, other):
        # Of 192 000 independent samples the correlation's deviation is 0.0023.
        assert abs(np.corrcoef(left, one)[0, 1]) < 0.012
    same = Noise("white", correlated=True)(sound, 48000)
    assert np.array_equal(same[0], same[1])
    assert np.array_equal(same[0], left)


def test_the_first_samples_are_these() -> None:
    """White noise is integers and one division, so the same numbers on every machine."""
    noise = Noise("white", 0.0, seed=7)(silence(0.001, n_channels=1), 48000)[0]

    assert noise[:4].tolist() == pytest.approx(FIRST, abs=1e-7)


def test_it_replaces_or_adds() -> None:
    """Added, the sound is under it; in place of the sound, nothing of that is left."""
    sound = np.full((1, 4800), 0.25, np.float32)
    alone = Noise("white", seed=3)(sound, 48000)
    added = Noise("white", seed=3, replace=False)(sound, 48000)

    assert np.array_equal(alone, Noise("white", seed=3)(0 * sound, 48000))
    np.testing.assert_allclose(added, sound + alone, atol=1e-7)  # one rounding


def test_its_level_moves_at_every_sample() -> None:
    """A lane of levels is a gain on the same noise."""
    sound = silence(0.1)
    lane = np.linspace(-60.0, 0.0, sound.shape[1])
    moved = Chain([Node(processor=Noise("white"), name="noise")])(
        sound, 48000, automation={"noise.level_db": lane}
    )
    loud = Noise("white", 0.0)(sound, 48000)

    np.testing.assert_allclose(moved, loud * 10 ** (lane / 20), rtol=1e-5, atol=1e-9)
    with pytest.raises(ProcessorError, match="cannot be automated"):
        Noise()(sound, 48000, automation={"seed": lane})


def test_it_ends_where_the_stem_does() -> None:
    """With a length of its own a tail is silent behind it."""
    noise = Noise("white", n_samples=3000)(silence(0.1), 48000)

    assert noise[:, :3000].all(axis=0).mean() > 0.99
    assert not noise[:, 3000:].any()
