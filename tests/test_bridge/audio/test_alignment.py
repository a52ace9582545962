"""Stems of different rates, starts and lengths come out on one timeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.audio import noise, on_grid, sine

from bridge.audio.alignment import AlignedReader, Alignment, align_stems, measure_sum, resampled_length
from bridge.audio.loudness import measure_loudness
from bridge.audio.metadata import AudioMetadata, Broadcast
from bridge.audio.reader import read_audio, read_info, read_metadata
from bridge.audio.writer import AudioWriter
from bridge.errors import AudioFileError, InputError


def stem(path: Path, samples: np.ndarray, sample_rate: int = 48000, start: int | None = None) -> Path:
    metadata = None if start is None else AudioMetadata(broadcast=Broadcast(time_reference=start))
    with AudioWriter(
        path, sample_rate=sample_rate, n_channels=len(samples), subtype="FLOAT", metadata=metadata
    ) as writer:
        writer.write(samples)
    return path


def align(*paths: Path, sample_rate: int | None = None) -> Alignment:
    return align_stems([(read_info(p), read_metadata(p)) for p in paths], sample_rate=sample_rate)


def read(alignment: Alignment, index: int, block: int = 1 << 16) -> np.ndarray:
    reader = AlignedReader(
        alignment.placements[index], sample_rate=alignment.sample_rate, n_samples=alignment.n_samples
    )
    with reader:
        parts = []
        while (part := reader.read(block)).shape[1]:
            parts.append(part)
    return np.concatenate(parts, axis=1)


def test_a_stem_that_fits_comes_through_bit_for_bit(tmp_path: Path) -> None:
    """One rate, one start, one length: nothing is touched."""
    samples = on_grid(noise(100_000, 2), 24)
    alignment = align(stem(tmp_path / "a.wav", samples), stem(tmp_path / "b.wav", samples))
    assert alignment.warnings == ()
    np.testing.assert_array_equal(read(alignment, 0), samples)


def test_starts_and_lengths_are_made_equal(tmp_path: Path) -> None:
    """The earliest time stamp is the start; heads and ends are silence to the sample."""
    early = stem(tmp_path / "a.wav", noise(1_000), start=172_800_000)
    late = stem(tmp_path / "b.wav", noise(5_000, seed=2), start=172_800_300)
    alignment = align(early, late)
    assert (alignment.start_samples, alignment.n_samples) == (172_800_000, 5_300)
    first, second = read(alignment, 0), read(alignment, 1, block=77)
    assert first.shape == second.shape
    np.testing.assert_array_equal(first[:, :1_000], read_audio(early)[0])
    np.testing.assert_array_equal(second[:, 300:], read_audio(late)[0])
    assert not first[:, 1_000:].any()
    assert not second[:, :300].any()


def test_a_stem_without_a_stamp_puts_all_at_one_start(tmp_path: Path) -> None:
    """Half a set of time stamps is no set, and the user is told."""
    alignment = align(stem(tmp_path / "a.wav", noise(100), start=5_000), stem(tmp_path / "b.wav", noise(100)))
    assert alignment.start_samples is None
    assert [p.head_samples for p in alignment.placements] == [0, 0]
    assert "b.wav has no time stamp" in alignment.warnings[0]


def test_the_majority_decides_the_rate(tmp_path: Path) -> None:
    """Two stems at 48 kHz convert one at 44.1, in exact length and in time with a tone made at 48 kHz."""
    tone = sine(997, 1.0, 44100, level_dbfs=-6)
    paths = [stem(tmp_path / f"{i}.wav", sine(997, 1.0, level_dbfs=-6)) for i in range(2)]
    alignment = align(*paths, stem(tmp_path / "odd.wav", tone, 44100))
    assert alignment.sample_rate == 48000
    assert alignment.warnings == ("odd.wav: converted from 44100 to 48000 Hz",)
    native, converted = read(alignment, 0), read(alignment, 2)
    assert converted.shape == native.shape
    # Away from the cut ends, where any converter rings, the residual of VHQ lies below -100 dBFS.
    assert np.abs(converted - native)[:, 4_800:-4_800].max() < 1e-5


def test_conversion_depends_on_no_chunking(tmp_path: Path) -> None:
    """Read in any blocks, a converted stem has the same samples."""
    alignment = align(stem(tmp_path / "a.wav", noise(150_000), 44100), sample_rate=48000)
    np.testing.assert_array_equal(read(alignment, 0, block=999), read(alignment, 0))


def test_time_stamps_of_other_rates_mean_the_same_time(tmp_path: Path) -> None:
    """One hour is one hour at 44.1 and at 48 kHz."""
    alignment = align(
        stem(tmp_path / "a.wav", noise(100), 48000, start=3_600 * 48000),
        stem(tmp_path / "b.wav", noise(100), 44100, start=3_600 * 44100),
        sample_rate=48000,
    )
    assert [p.head_samples for p in alignment.placements] == [0, 0]


def test_a_tie_of_rates_needs_a_decision(tmp_path: Path) -> None:
    """Half at 44.1, half at 48 kHz is refused in one line; a given rate settles it."""
    paths = (stem(tmp_path / "a.wav", noise(100), 44100), stem(tmp_path / "b.wav", noise(100)))
    with pytest.raises(InputError, match=r"1 at 44100 Hz, 1 at 48000 Hz.*--rate"):
        align(*paths)
    assert align(*paths, sample_rate=44100).sample_rate == 44100


def test_a_stamp_beyond_a_day_is_refused(tmp_path: Path) -> None:
    """A time stamp after 24 h is damaged, and the file is named."""
    with pytest.raises(AudioFileError, match=r"late\.wav: its time stamp is 24\.0 h"):
        align(stem(tmp_path / "late.wav", noise(100), start=86_400 * 48000))


def test_no_stems_are_refused() -> None:
    """An empty session is an input error."""
    with pytest.raises(InputError, match="no stems"):
        align_stems([])


@pytest.mark.parametrize("rates", [(44100, 48000), (96000, 44100), (48000, 48000)])
def test_lengths_are_to_the_nearest_sample(rates: tuple[int, int]) -> None:
    """The converted length differs from the exact one by half a sample at most."""
    for n in (1, 7, 44_101, 10**9):
        assert abs(resampled_length(n, *rates) - n * rates[1] / rates[0]) <= 0.5


def test_the_sum_is_what_the_stems_make_together(tmp_path: Path) -> None:
    """Two halves of one sound add up to it, a mono stem counting on both sides; opposites to silence."""
    whole = noise(96_000, 1, level=0.1)
    half = (whole / 2).astype(np.float32)
    stereo = stem(tmp_path / "a.wav", np.repeat(half, 2, axis=0))
    found = measure_sum(align(stereo, stem(tmp_path / "b.wav", half)))
    expected = measure_loudness(np.repeat(whole, 2, axis=0), 48000)
    assert found.integrated_lufs == pytest.approx(expected.integrated_lufs, abs=1e-6)
    assert found.true_peak_dbtp == pytest.approx(expected.true_peak_dbtp, abs=1e-4)
    assert measure_sum(align(stem(tmp_path / "c.wav", -half), tmp_path / "b.wav")).is_silent


def test_stems_of_other_channels_do_not_add_up(tmp_path: Path) -> None:
    """Stereo and surround are not mixed by guessing."""
    with pytest.raises(InputError, match=r"a\.wav: has 2 channels where others have 6"):
        measure_sum(align(stem(tmp_path / "a.wav", noise(100, 2)), stem(tmp_path / "b.wav", noise(100, 6))))


# --- time stamps that cannot be meant ------------------------------------------------------------

HOUR = 3_600 * 48_000


def test_a_session_across_midnight_is_one_session(tmp_path: Path) -> None:
    """23:59:50 and 00:00:05 are fifteen seconds apart, whichever file comes first."""
    late = stem(tmp_path / "a.wav", noise(16 * 48_000), start=24 * HOUR - 10 * 48_000)
    early = stem(tmp_path / "b.wav", noise(100), start=5 * 48_000)
    for paths, heads in (((late, early), [0, 15 * 48_000]), ((early, late), [15 * 48_000, 0])):
        alignment = align(*paths)
        assert alignment.start_samples == 24 * HOUR - 10 * 48_000
        assert [p.head_samples for p in alignment.placements] == heads
        assert alignment.warnings == ()


def test_midnight_itself_is_a_time_like_any_other(tmp_path: Path) -> None:
    """A stem stamped 0 beside one at 23:59:59 begins a second after it."""
    alignment = align(
        stem(tmp_path / "a.wav", noise(50_000), start=24 * HOUR - 48_000),
        stem(tmp_path / "b.wav", noise(50_000), start=0),
    )
    assert [p.head_samples for p in alignment.placements] == [0, 48_000]
    assert alignment.warnings == ()


@pytest.mark.parametrize("hours", [1, 10, 13, 20])
def test_a_stamp_of_zero_far_from_the_others_is_none(tmp_path: Path, hours: int) -> None:
    """A program that writes 0 for "unknown" makes no hours of silence: all start together, and it is said."""
    alignment = align(
        stem(tmp_path / "a.wav", noise(100), start=hours * HOUR),
        stem(tmp_path / "b.wav", noise(200), start=hours * HOUR),
        stem(tmp_path / "c.wav", noise(100), start=0),
    )
    assert alignment.start_samples is None
    assert [p.head_samples for p in alignment.placements] == [0, 0, 0]
    assert alignment.n_samples == 200
    (warning,) = alignment.warnings
    assert "c.wav has the time stamp 00:00:00" in warning
    assert "--no-align" in warning


def test_silence_longer_than_every_stem_is_said(tmp_path: Path) -> None:
    """Single hits of a long session keep their places, with one warning of the largest gap."""
    alignment = align(
        stem(tmp_path / "a.wav", noise(100), start=HOUR),
        stem(tmp_path / "b.wav", noise(100), start=HOUR + 90 * 48_000),
        stem(tmp_path / "c.wav", noise(100), start=HOUR + 30 * 48_000),
    )
    assert [p.head_samples for p in alignment.placements] == [0, 90 * 48_000, 30 * 48_000]
    (warning,) = alignment.warnings
    assert warning.startswith("b.wav begins 00:01:30.0 after the first stem")


def test_a_session_that_starts_at_zero_keeps_its_stamps(tmp_path: Path) -> None:
    """A first hit at 0 and a second eight seconds later are meant."""
    alignment = align(
        stem(tmp_path / "a.wav", noise(100), start=0), stem(tmp_path / "b.wav", noise(100), start=8 * 48_000)
    )
    assert alignment.start_samples == 0
    assert [p.head_samples for p in alignment.placements] == [0, 8 * 48_000]
