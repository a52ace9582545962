"""The quantiser rounds without bias, dithers where it rounds, and depends on no chunking."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from helpers.audio import noise, on_grid, sine
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.audio.quantiser import EXACT_RUN_SAMPLES, Quantiser, tpdf_noise

Floats = npt.NDArray[np.float32]


def quantise(
    samples: Floats, bits: int, seed: int | None = 1, shaping: int = 0, block: int = 8192
) -> npt.NDArray[np.int32]:
    quantiser = Quantiser(bits, len(samples), dither_seed=seed, shaping=shaping)  # type: ignore[arg-type]
    parts = [quantiser.push(samples[:, i : i + block]) for i in range(0, samples.shape[1], block)]
    return np.concatenate([*parts, quantiser.flush()], axis=1)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(("seed", "shaping"), [(None, 0), (3, 0), (3, 1), (3, 2)])
def test_the_mean_error_is_nil(bits: int, seed: int | None, shaping: int) -> None:
    """Over 4 million samples the mean error is at most 0.01 LSB, with and without dither."""
    samples = noise(4_000_000, level=0.1)
    error = quantise(samples, bits, seed, shaping) - samples.astype(np.float64) * 2 ** (bits - 1)
    assert abs(error.mean()) <= 0.01
    # The check can fail: rounding towards minus infinity, as libsndfile 1.2.2 does, is off by half an LSB.
    floored = np.floor(samples.astype(np.float64) * 2**15) - samples.astype(np.float64) * 2**15
    assert abs(floored.mean() + 0.5) <= 0.01


@pytest.mark.parametrize("bits", [16, 24])
def test_it_agrees_with_a_quantiser_written_independently(bits: int) -> None:
    """Rounding x + noise to nearest in plain float64 gives the same integers, sample for sample."""
    samples = noise(200_000, 2, level=0.3)
    dither = np.stack([tpdf_noise(9, channel, 0, 200_000) for channel in range(2)]) / 2.0**32
    scale = 2.0 ** (bits - 1)
    expected = np.clip(np.floor(samples.astype(np.float64) * scale + dither + 0.5), -scale, scale - 1)
    np.testing.assert_array_equal(quantise(samples, bits, seed=9), expected)


def test_the_noise_is_triangular_white_and_different_in_every_channel() -> None:
    """TPDF of +-1 LSB has variance 1/6, kurtosis 2.4, no correlation in time or between channels."""
    left, right = (tpdf_noise(0, channel, 0, 1_000_000) / 2.0**32 for channel in range(2))
    assert np.abs(left).max() < 1.0
    # Standard errors at a million samples are about 2e-4 (variance) and 1e-3 (correlation).
    assert left.var() == pytest.approx(1 / 6, abs=1e-3)
    assert (left**4).mean() / left.var() ** 2 == pytest.approx(2.4, abs=0.01)
    assert abs(np.corrcoef(left[1:], left[:-1])[0, 1]) < 5e-3
    assert abs(np.corrcoef(left, right)[0, 1]) < 5e-3


def test_dither_carries_a_tone_below_the_last_bit() -> None:
    """A sine of 0.4 LSB survives 16 bits with dither, at its own level, and is lost without."""
    amplitude = 0.4 / 2**15
    tone = sine(1000, 10.0, level_dbfs=20 * np.log10(amplitude))
    reference = sine(1000, 10.0)[0]

    def level_lsb(seed: int | None) -> float:
        return float(2 * (quantise(tone, 16, seed)[0] * reference).mean())

    assert level_lsb(seed=1) == pytest.approx(0.4, abs=0.01)
    assert level_lsb(seed=None) == 0.0


@pytest.mark.parametrize("order", [1, 2])
def test_shaping_equals_error_feedback_one_sample_at_a_time(order: int) -> None:
    """The closed form gives exactly what the textbook feedback loop gives, also at 24 bits."""
    samples = noise(3_000, level=0.3)
    scaled = samples[0].astype(np.float64) * 2**23
    dither = tpdf_noise(1, 0, 0, 3_000) / 2.0**32
    errors = [0.0, 0.0]
    expected = []
    for value, noise_value in zip(scaled, dither, strict=True):
        wanted = value - (errors[-1] if order == 1 else 2 * errors[-1] - errors[-2])
        rounded = np.floor(wanted + noise_value + 0.5)
        errors.append(rounded - wanted)
        expected.append(rounded)
    np.testing.assert_array_equal(quantise(samples, 24, seed=1, shaping=order)[0], expected)


def test_shaping_moves_noise_upwards() -> None:
    """White, first and second order have the noise power the theory gives below 2 kHz, within 0.3 dB."""
    samples = noise(960_000, level=0.1)

    def low_noise_db(shaping: int) -> float:
        error = quantise(samples, 16, 1, shaping)[0] - samples[0].astype(np.float64) * 2**15
        power = np.abs(np.fft.rfft(error)) ** 2 / len(error)
        return float(10 * np.log10(power[: len(power) // 12].mean()))

    angle = np.linspace(0, np.pi / 12, 1_000)  # 0 to 2 kHz at 48 kHz
    for order in (0, 1, 2):
        # TPDF dither and rounding together make noise of 1/6 + 1/12 LSB squared.
        theory = 0.25 * (np.abs(1 - np.exp(-1j * angle)) ** (2 * order)).mean()
        assert low_noise_db(order) == pytest.approx(10 * np.log10(theory), abs=0.3)


@settings(deadline=None, max_examples=25)
@given(
    block=st.one_of(st.integers(100, 5_000), st.sampled_from([7, 1_023, 1_024])),
    shaping=st.sampled_from([0, 1, 2]),
    seed=st.integers(0, 2**64 - 1),
)
def test_the_result_depends_on_no_chunking(block: int, shaping: int, seed: int) -> None:
    """Any block size gives the same integers, with untouched passages of every length in between."""
    samples = noise(9_000, 2)
    for start, stop in ((0, 10), (1_000, 2_500), (3_000, 3_500), (5_000, 6_023), (7_000, 8_024)):
        samples[:, start:stop] = on_grid(samples[:, start:stop], 16)
    np.testing.assert_array_equal(
        quantise(samples, 16, seed, shaping, block), quantise(samples, 16, seed, shaping, 9_000)
    )


@pytest.mark.parametrize("n_samples", [1, 100, 1_023, 1_024, 50_000])
def test_samples_on_the_grid_stay_what_they_are(n_samples: int) -> None:
    """A stream that needs no rounding is not dithered, however short it is."""
    samples = on_grid(noise(n_samples, 2), 16)
    np.testing.assert_array_equal(quantise(samples, 16), samples * 2**15)


def test_dither_begins_and_ends_with_the_change() -> None:
    """Around a changed passage every untouched sample stays exact; a short gap inside it is dithered."""
    original = on_grid(noise(30_000), 16)
    changed = original.copy()
    changed[:, 10_000:12_000] *= np.float32(0.7301)
    changed[:, 12_500:14_000] *= np.float32(0.7301)  # the gap before it is shorter than a run
    result = quantise(changed, 16)[0] / 2.0**15
    np.testing.assert_array_equal(result[:10_000], original[0, :10_000])
    np.testing.assert_array_equal(result[14_000:], original[0, 14_000:])
    assert EXACT_RUN_SAMPLES > 500
    assert np.any(result[12_000:12_500] != original[0, 12_000:12_500])


def slow_twin(samples: Floats, seed: int) -> npt.NDArray[np.float64]:
    """Dither all but runs of 1024 samples on the grid; at either end of the stream a run may be shorter."""
    scaled = samples[0].astype(np.float64) * 2**15
    n = len(scaled)
    is_on_grid = scaled == np.rint(scaled)
    is_exact = np.zeros(n, bool)
    start = 0
    while start < n:
        stop = start
        while stop < n and is_on_grid[stop]:
            stop += 1
        if stop - start >= 1024 or (stop > start and (start == 0 or stop == n)):
            is_exact[start:stop] = True
        start = stop + 1
    dithered = np.floor(scaled + tpdf_noise(seed, 0, 0, n) / 2.0**32 + 0.5)
    return np.where(is_exact, scaled, dithered)


@settings(deadline=None, max_examples=60)
@given(
    runs=st.lists(
        st.tuples(st.sampled_from([1, 2, 500, 1_022, 1_023, 1_024, 1_025, 2_100]), st.integers(1, 1_100)),
        min_size=1,
        max_size=5,
    ),
    begins_exact=st.booleans(),
    block=st.sampled_from([1, 333, 1_023, 1_024, 5_000, 100_000]),
)
def test_what_is_left_alone_is_what_the_rule_says(
    runs: list[tuple[int, int]], begins_exact: bool, block: int
) -> None:
    """Runs of 1024 samples on the grid, and shorter ones at either end; all else is dithered, to the sample.

    Off the grid is a quarter of a step: rounding to nearest would give other integers than dither often does.
    """
    pieces = []
    for n_exact, n_changed in runs:
        exact = on_grid(noise(n_exact, seed=n_exact), 16)
        changed = on_grid(noise(n_changed, seed=n_changed), 16) + np.float32(0.25 / 2**15)
        pieces += [exact, changed] if begins_exact else [changed, exact]
    samples = np.concatenate(pieces, axis=1).astype(np.float32)
    block = max(block, samples.shape[1] // 400)  # one sample at a time for short ones alone

    np.testing.assert_array_equal(quantise(samples, 16, 5, block=block)[0], slow_twin(samples, 5))


def test_shaping_starts_anew_after_what_was_left_alone() -> None:
    """The feedback of the sound before an untouched passage is not heard after it."""
    still = np.zeros((1, 3_000), np.float32)
    changed = noise(2_000, level=0.1)
    after = quantise(np.concatenate([changed, still, changed], axis=1), 16, 1, shaping=2)[0, 5_000:]
    alone = Quantiser(16, 1, dither_seed=1, shaping=2)
    alone._position = 5_000  # the same noise
    expected = np.concatenate([alone.push(changed), alone.flush()], axis=1)[0]

    np.testing.assert_array_equal(after, expected)


def test_noise_is_shaped_only_where_that_is_asked() -> None:
    """By default it is white."""
    samples = noise(5_000)
    plain = Quantiser(16, 1, dither_seed=4)

    np.testing.assert_array_equal(
        np.concatenate([plain.push(samples), plain.flush()], axis=1), quantise(samples, 16, 4, shaping=0)
    )


@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_no_more_is_withheld_than_a_run_less_one(n_channels: int) -> None:
    """1023 samples wait, since the next one may complete a run; the flush gives them, and then nothing."""
    quantiser = Quantiser(16, n_channels, dither_seed=1)
    samples = noise(3_000, n_channels)

    assert quantiser.push(samples[:, :1_000]).shape == (n_channels, 0)
    assert quantiser.push(samples[:, 1_000:]).shape == (n_channels, 3_000 - 1_023)
    assert quantiser.flush().shape == (n_channels, 1_023)
    assert quantiser.flush().shape == (n_channels, 0)


def test_an_untouched_channel_stays_exact_beside_a_changed_one() -> None:
    """Channels are judged apart."""
    samples = on_grid(noise(20_000, 2), 16)
    samples[0] *= np.float32(0.9)
    np.testing.assert_array_equal(quantise(samples, 16)[1], samples[1] * 2**15)


def test_overs_are_clipped_and_counted() -> None:
    """Samples beyond full scale stop at the largest integer, and the quantiser says how many there were."""
    quantiser = Quantiser(16, 1, dither_seed=None)
    result = quantiser.push(np.array([[1.5, -1.5, 0.25]], np.float32))
    assert result.tolist() == [[32767, -32768, 8192]]
    assert quantiser.n_clipped == 2
