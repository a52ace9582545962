"""A null test finds every difference, its size, and a shift in time."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.audio import noise, on_grid
from scipy.signal import butter, sosfilt
from typer.testing import CliRunner

from bridge.audio.null_test import compare_files, compare_paths
from bridge.cli.compare import app
from bridge.errors import AudioFileError, InputError
from bridge.plan.output_names import rung_path


def write(path: Path, samples: np.ndarray, subtype: str = "FLOAT", sample_rate: int = 48000) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    soundfile.write(path, samples.T, sample_rate, subtype=subtype)
    return path


def test_equal_samples_null_whatever_the_container(tmp_path: Path) -> None:
    """WAV against FLAC of the same samples is bit-exact."""
    samples = on_grid(noise(100_000, 2), 16)
    result = compare_files(write(tmp_path / "a.wav", samples), write(tmp_path / "b.flac", samples, "PCM_16"))
    assert result.is_bit_exact
    assert result.peak_dbfs == -math.inf


def test_one_changed_sample_is_found(tmp_path: Path) -> None:
    """Position, channel and level of a single changed sample are right."""
    samples = noise(200_000, 2)
    changed = samples.copy()
    changed[1, 123_456] += np.float32(0.001)
    result = compare_files(write(tmp_path / "a.wav", samples), write(tmp_path / "b.wav", changed))
    left, right = result.channels
    assert (left.first_difference, right.first_difference) == (None, 123_456)
    assert right.peak_dbfs == pytest.approx(-60, abs=0.01)
    assert right.rms_dbfs == pytest.approx(-60 - 10 * math.log10(200_000), abs=0.01)
    assert result.is_within(-59)
    assert not result.is_within(-61)


@pytest.mark.parametrize("shift", [-20_000, -1, 1, 333, 47_000])
def test_a_shift_in_time_is_found_and_taken_out(tmp_path: Path, shift: int) -> None:
    """B later or earlier by up to a second is measured to the sample; what is left is only what was cut."""
    samples = noise(300_000, 2)
    samples[:, :50_000] = samples[:, -50_000:] = 0
    a = write(tmp_path / "a.wav", samples)
    result = compare_files(a, write(tmp_path / "b.wav", np.roll(samples, shift, axis=1)))
    assert result.offset_samples == shift
    assert result.peak_dbfs == -math.inf
    assert not result.is_within(-90)  # a shifted stem does not line up in the session


def test_missing_samples_count(tmp_path: Path) -> None:
    """A file cut short leaves its lost samples as the residual and does not pass."""
    samples = noise(10_000)
    result = compare_files(write(tmp_path / "a.wav", samples), write(tmp_path / "b.wav", samples[:, :9_000]))
    assert result.channels[0].first_difference == 9_000
    assert not result.is_within(0)


def test_unrelated_sounds_are_not_shifted(tmp_path: Path) -> None:
    """Two noises have no offset to find; the residual has the sum of their powers."""
    result = compare_files(
        write(tmp_path / "a.wav", noise(100_000, seed=1)), write(tmp_path / "b.wav", noise(100_000, seed=2))
    )
    assert result.offset_samples == 0
    assert result.channels[0].rms_dbfs == pytest.approx(20 * math.log10(0.2 * math.sqrt(2)), abs=0.1)


def test_different_layouts_cannot_be_subtracted(tmp_path: Path) -> None:
    """Other rates or channels are refused with both layouts named."""
    with pytest.raises(AudioFileError, match=r"1 channels at 48000 Hz.*2 at 44100 Hz"):
        compare_files(
            write(tmp_path / "a.wav", noise(10)), write(tmp_path / "b.wav", noise(10, 2), sample_rate=44100)
        )


def test_folders_are_paired_by_name(tmp_path: Path) -> None:
    """Files of one name are compared, the others listed."""
    samples = noise(1_000)
    for name in (
        "a/kick.wav",
        "b/kick.wav",
        "a/sub/snare.wav",
        "b/sub/snare.wav",
        "a/only.wav",
        "b/extra.wav",
    ):
        write(tmp_path / name, samples)
    result = compare_paths(tmp_path / "a", tmp_path / "b")
    assert [c.a.name for c in result.files] == ["kick.wav", "snare.wav"]
    assert (result.only_a, result.only_b) == (("only.wav",), ("extra.wav",))
    assert not result.is_within(0)
    with pytest.raises(InputError, match="is a folder and"):
        compare_paths(tmp_path / "a", tmp_path / "a/kick.wav")
    with pytest.raises(InputError, match="no such file or folder"):
        compare_paths(tmp_path / "a", tmp_path / "nowhere")


@pytest.mark.parametrize("is_swapped", [False, True])
def test_a_folder_of_renders_is_paired_with_its_stems(tmp_path: Path, is_swapped: bool) -> None:
    """Names that a template made are paired with the stem they are called after, the longest that fits."""
    samples = noise(1_000)
    stems = ("vox.wav", "vox lead.wav", "kick.wav", "bass.wav", "room.wav")
    renders = (
        "vox__bloom.wav",
        "vox lead__bloom-deep.wav",
        "AB_MI01_kick_48k24.wav",
        "bass.aiff",
        "rooms.wav",
    )
    for folder, names in (("stems", stems), ("renders", renders)):
        for name in names:
            write(tmp_path / folder / name, samples)
    a, b = ("renders", "stems") if is_swapped else ("stems", "renders")
    result = compare_paths(tmp_path / a, tmp_path / b)
    found = {(c.b.name, c.a.name) if is_swapped else (c.a.name, c.b.name) for c in result.files}
    assert found == set(zip(stems[:4], renders[:4], strict=True))
    assert {*result.only_a, *result.only_b} == {"room.wav", "rooms.wav"}  # a part of a word is no name


def test_depths_of_a_ladder_are_compared_with_their_like(tmp_path: Path) -> None:
    """They stand in nobody's way beside their render; two renders with ladders are compared file by file."""
    write(tmp_path / "stems" / "lead.wav", noise(1_000))
    for folder in ("one", "two"):
        render = tmp_path / folder / "lead__x.wav"
        for path in (render, rung_path(render, 5), rung_path(render, 100)):
            write(path, noise(1_000))
    mixed = compare_paths(tmp_path / "stems", tmp_path / "one")

    assert [(pair.a.name, pair.b.name) for pair in mixed.files] == [("lead.wav", "lead__x.wav")]
    assert (mixed.only_a, mixed.only_b) == ((), ())
    assert len(compare_paths(tmp_path / "one", tmp_path / "two").files) == 3


def test_a_stem_with_two_renders_is_not_guessed(tmp_path: Path) -> None:
    """Two presets in one folder make two candidates, which are named; the user decides."""
    for name in ("a/kick.wav", "b/kick__bloom.wav", "b/kick__veil.wav"):
        write(tmp_path / name, noise(1_000))
    with pytest.raises(InputError, match=r"kick\.wav: may belong to kick__bloom\.wav or kick__veil\.wav"):
        compare_paths(tmp_path / "a", tmp_path / "b")


def test_the_command_prints_and_exits_by_the_tolerance(tmp_path: Path) -> None:
    """Exit 0 within the tolerance and 1 beyond it, as a table or as JSON."""
    samples = noise(5_000)
    a = write(tmp_path / "a.wav", samples)
    b = write(tmp_path / "b.wav", samples + np.float32(1e-4))
    run = CliRunner().invoke
    assert run(app, [str(a), str(a)]).exit_code == 0
    assert "bit-exact" in run(app, [str(a), str(a)]).stdout
    assert run(app, [str(a), str(b)]).exit_code == 1
    done = run(app, [str(a), str(b), "--tolerance", "-70dB", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["is_within"] is True
    assert found["files"][0]["channels"][0]["peak_dbfs"] == pytest.approx(-80, abs=0.1)


# --- offsets that are none -------------------------------------------------------------------------


def offset(folder: Path, a: np.ndarray, b: np.ndarray) -> int:
    return compare_files(
        write(folder / "a.wav", np.atleast_2d(a)), write(folder / "b.wav", np.atleast_2d(b))
    ).offset_samples


def low_noise(n_samples: int, cutoff_hz: float, seed: int) -> np.ndarray:
    sos = butter(2, cutoff_hz, fs=48000, output="sos")
    return sosfilt(sos, noise(n_samples, seed=seed)[0]).astype(np.float32)


def beats(n_beats: int) -> np.ndarray:
    """Return a bass drum twice a second, the same every time."""
    n = np.arange(24_000)
    beat = np.sin(2 * np.pi * (50 * n / 48000 + 3 * np.exp(-n / 2000))) * np.exp(-n / 4000)
    return np.tile(beat, n_beats).astype(np.float32)


def test_a_tone_has_no_offset(tmp_path: Path) -> None:
    """A sine of another phase, level or pitch fits in many places, so in none."""
    sine = np.sin(2 * np.pi * 440 * np.arange(96_000) / 48000) * 0.5
    for other in (np.cos(2 * np.pi * 440 * np.arange(96_000) / 48000) * 0.5, sine * 0.7, -sine):
        assert offset(tmp_path, sine, other) == 0


def test_a_loop_has_no_offset_by_a_beat(tmp_path: Path) -> None:
    """A loop that was driven is most like itself where it is."""
    assert offset(tmp_path, beats(8), np.tanh(3 * beats(8))) == 0


def test_a_loop_that_is_late_is_late(tmp_path: Path) -> None:
    """A latency is found though the loop is like itself at every beat, at any level."""
    late = np.concatenate([np.zeros(512), beats(8)])[: 8 * 24_000]
    assert offset(tmp_path, beats(8), late) == 512
    assert offset(tmp_path, beats(8), late * 0.5) == 512


def test_silence_has_no_offset(tmp_path: Path) -> None:
    """Whichever file is silent."""
    assert offset(tmp_path, noise(48_000), np.zeros(48_000)) == 0
    assert offset(tmp_path, np.zeros(48_000), noise(48_000)) == 0


def test_short_low_sounds_are_not_like_each_other(tmp_path: Path) -> None:
    """Two thumps fit somewhere by chance; that is no offset."""
    for seed in range(20):
        one, other = (low_noise(960 + 300 * seed, 40 + 10 * seed, 2 * seed + i) for i in range(2))
        assert offset(tmp_path, one, other) == 0


def test_a_few_samples_have_no_offset(tmp_path: Path) -> None:
    """Less than 20 ms is too little to tell."""
    assert offset(tmp_path, noise(300), np.concatenate([np.zeros((1, 20)), noise(280)], axis=1)) == 0


def test_what_was_cut_off_or_put_in_front_is_an_offset(tmp_path: Path) -> None:
    """A file without its first samples, or with as many as it is long itself, is found."""
    samples = noise(48_000)
    assert offset(tmp_path, samples, samples[:, 20_000:]) == -20_000
    assert offset(tmp_path, samples, np.concatenate([np.zeros((1, 43_200)), samples], axis=1)) == 43_200
