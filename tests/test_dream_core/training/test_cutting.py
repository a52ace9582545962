"""Recordings cut into segments: against brute force, physics and counting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dream_core.errors import SettingError
from dream_core.training.cutting import choose_divisors, cut, group_counts, stretch, trim

RATE = 22050


def _spread(counts: list[int], groups: tuple[int, ...]) -> float:
    """Return the sum of squared distances to the groups' means."""
    values, numbers = np.array(counts, float), np.array(groups)
    return sum(float(((values[numbers == g] - values[numbers == g].mean()) ** 2).sum()) for g in set(groups))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=5), st.integers(1, 4))
def test_groups_are_the_best_of_all_there_are(counts: list[int], n_groups: int) -> None:
    """No other division of the classes into so many groups has a smaller spread; the rarest come first."""
    found = group_counts(counts, n_groups)

    n_used = min(n_groups, len(set(counts)))
    assert set(found) == set(range(n_used))
    best = min(_spread(counts, groups) for groups in itertools.product(range(n_used), repeat=len(counts)))
    assert _spread(counts, tuple(found)) == pytest.approx(best, rel=1e-9, abs=1e-6)
    order = np.argsort(counts, kind="stable")
    assert all(np.diff(np.array(found)[order]) >= 0)


def test_large_counts_that_differ_little_are_still_told_apart() -> None:
    """Sums of squares of millions must not swallow differences of one."""
    assert group_counts([100_000_000, 100_000_001, 100_000_900, 100_000_901], 2) == [0, 0, 1, 1]


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 9000), min_size=1))
def test_overlap_never_makes_a_small_class_the_largest_by_far(counts: dict[str, int]) -> None:
    """Divisors are 1 to 4, fall with the count, and at most round up to the largest class."""
    divisors = choose_divisors(counts)

    largest = max(counts.values())
    for label, divisor in divisors.items():
        assert 1 <= divisor <= 4
        assert counts[label] * divisor <= 1.5 * largest
    ordered = sorted(counts, key=lambda label: counts[label])
    assert all(divisors[a] >= divisors[b] for a, b in itertools.pairwise(ordered))


@pytest.mark.parametrize("frequency_hz", [110.0, 441.7, 3000.0])
def test_a_stretched_tone_keeps_its_pitch_and_level_and_lasts_twice_as_long(frequency_hz: float) -> None:
    """To a cent and 0.5 dB: frames of 2048 samples leave that much between partials' bins."""
    t = np.arange(2 * RATE) / RATE
    longer = stretch(np.sin(2 * np.pi * frequency_hz * t).astype(np.float32), 2.0)

    assert len(longer) == 4 * RATE
    middle = longer[RATE : 3 * RATE] * np.hanning(2 * RATE)
    spectrum = np.abs(np.fft.rfft(middle, 1 << 20))
    heard_hz = spectrum.argmax() * RATE / (1 << 20)
    assert abs(1200.0 * np.log2(heard_hz / frequency_hz)) < 1.0
    rms = np.sqrt(np.mean(longer[RATE : 3 * RATE] ** 2))
    assert abs(20.0 * np.log10(rms * np.sqrt(2.0))) < 0.5


def test_a_stretched_click_comes_twice_as_late() -> None:
    """Within one frame of the vocoder."""
    sound = np.zeros(RATE, np.float32)
    sound[8000] = 1.0
    energy = stretch(sound, 2.0) ** 2

    centre = float((energy * np.arange(len(energy))).sum() / energy.sum())
    assert abs(centre - 16000) < 2048
    with pytest.raises(SettingError, match="factor"):
        stretch(sound, 0.0)


def test_ends_below_the_level_are_cut_off_and_pauses_kept() -> None:
    """-46 dB goes, -44 dB stays, to the block of 256 samples; silence and dither leave nothing."""
    loud, quiet, faint = (np.full(2560, 10 ** (db / 20), np.float32) for db in (0.0, -44.0, -46.0))
    sound = np.concatenate([faint, quiet, faint, loud, faint])

    assert trim(sound, -45.0) == slice(2560, 4 * 2560)
    assert trim(sound * 0.001, -45.0) == slice(2560, 4 * 2560)
    rng = np.random.default_rng(0)
    for silent in (np.zeros(1000, np.float32), rng.uniform(-3e-5, 3e-5, 1000).astype(np.float32)):
        assert trim(silent) == slice(0, 0)


@given(n=st.integers(1, 5000), divisor=st.integers(1, 4))
def test_segments_cover_a_sound_that_never_pauses(n: int, divisor: int) -> None:
    """Each begins a hop after the one before; the last is filled up, unless it is all but silence."""
    sound = np.ones(n, np.float32)
    found = list(cut(sound, 1000, 1000 // divisor))

    starts = [start for start, _ in found]
    assert starts == [1000 // divisor * i for i in range(len(starts))]
    for start, part in found:
        assert part.shape == (1000,)
        assert part.sum() == min(1000, n - start)
    end = starts[-1] + 1000 if starts else 0
    assert n - end < 100
    assert all(n - start >= 100 for start in starts)


def test_segments_of_which_little_sounds_are_left_out() -> None:
    """A pause of a second is no example of anything."""
    sound = np.concatenate([np.ones(10240), np.zeros(20480), np.ones(10240)]).astype(np.float32)

    assert [start for start, _ in cut(sound, 10240, 10240)] == [0, 30720]
    with pytest.raises(SettingError, match="hop_samples"):
        list(cut(sound, 10240, 0))
