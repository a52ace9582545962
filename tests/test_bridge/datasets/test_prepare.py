"""Tables prepared: what is cut, where it goes, what is left out; and what a summary finds of it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import datasets
from helpers.datasets import RATE, class_folders, tone

from bridge.datasets.decode import read_mono
from bridge.datasets.prepare import PrepareSettings, prepare_table, sides_of_names
from bridge.datasets.scan import scan_folder
from bridge.datasets.summary import summarise_segments, summarise_table
from bridge.datasets.table import Recording, read_table, write_table
from bridge.errors import InputError
from dream_core.errors import DataError, SettingError

SHORT = PrepareSettings(sample_rate=8000, segment_s=0.25)


def _table(folder: Path, kind: str = "folders") -> Path:
    write_table(folder / "data.csv", scan_folder(folder, kind).recordings)
    return folder / "data.csv"


def _lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "segments.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_no_group_is_on_two_sides_and_no_sound(tmp_path: Path) -> None:
    """Every class is on every side; every segment's label is its folder's; the summary finds no leak."""
    table = _table(class_folders(tmp_path / "in"))
    prepared = prepare_table(table, tmp_path / "out", SHORT)

    lines = _lines(tmp_path / "out")
    sides: dict[str, set[str]] = {}
    for line in lines:
        sides.setdefault(line["group"], set()).add(line["split"])
        assert line["path"].partition("/")[0] == line["label"]
    assert len(sides) == 18
    assert all(len(own) == 1 for own in sides.values())
    summary = summarise_segments(tmp_path / "out")
    assert summary.leaks == ()
    assert [one.label for one in summary.classes] == ["high", "low", "mid"]
    assert all(min(one.groups) >= 1 for one in summary.classes)
    assert sum(one.n_items for one in summary.classes) == len(lines) == len(prepared.segments)


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    table = _table(class_folders(tmp_path / "in", n_files=3))
    for name in ("a", "b"):
        prepare_table(table, tmp_path / name, SHORT)

    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    other = prepare_table(table, tmp_path / "c", replace(SHORT, seed=1))
    assert (tmp_path / "c" / "prepared.toml").read_text() != (tmp_path / "a" / "prepared.toml").read_text()
    assert other.segments.sample_rate == 8000


def test_a_segment_is_what_its_line_says(tmp_path: Path) -> None:
    """Read again from the file, at the place named, at the recording's full scale; to 16 bits."""
    rng = np.random.default_rng(0)
    (tmp_path / "in" / "x").mkdir(parents=True)
    for k in range(3):
        noise = 0.2 * rng.uniform(-1.0, 1.0, (20_000, 2))
        noise[:3000] = 0.0
        soundfile.write(tmp_path / "in" / "x" / f"{k}.wav", noise, RATE, subtype="FLOAT")
    table = _table(tmp_path / "in")
    kept = prepare_table(table, tmp_path / "out", PrepareSettings(sample_rate=RATE, segment_s=0.25)).segments

    lines = _lines(tmp_path / "out")
    for row in (0, 1, len(lines) - 2):
        mono = soundfile.read(tmp_path / "in" / lines[row]["path"])[0].mean(axis=1)
        start = round(float(lines[row]["start_s"]) * RATE)
        assert start >= 3000 - 256
        part = mono[start : start + 4000]
        stored = kept.sounds(np.array([row]))[0].numpy()
        np.testing.assert_allclose(stored[: len(part)], part / np.abs(mono).max(), atol=1.0 / 32767)
        assert not stored[len(part) :].any()


def test_a_recording_is_mixed_to_one_channel_and_resampled(tmp_path: Path) -> None:
    """A tone on one channel comes at half its level, at the same pitch, as long as it was."""
    t = np.arange(44100) / 44100
    left = np.sin(2 * np.pi * 1000.0 * t)
    soundfile.write(tmp_path / "a.wav", np.stack([left, 0 * left], axis=1), 44100, subtype="FLOAT")
    whole = Recording(path=tmp_path / "a.wav", label="a", group="a")
    mono = read_mono(whole, 22050)

    assert mono.shape == (22050,)
    wanted = 0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(22050) / 22050)
    np.testing.assert_allclose(mono[500:-500], wanted[500:-500], atol=1e-4)  # soxr's ripple at VHQ
    part = read_mono(replace(whole, start_s=0.25, duration_s=0.5), 44100)
    np.testing.assert_allclose(part, 0.5 * left[11025:33075], atol=1e-7)


def test_rare_classes_are_stretched_in_train_alone_and_overlap_more(tmp_path: Path) -> None:
    """What is tested is left as it was played; the hop of the rarest goes four times into a segment."""
    class_folders(tmp_path / "in", n_files=20, labels=("much", "rare"))
    for k in range(3, 20):
        (tmp_path / "in" / "rare" / f"{k:02d}.wav").unlink()
    prepared = prepare_table(_table(tmp_path / "in"), tmp_path / "out", SHORT)

    lines = _lines(tmp_path / "out")
    stretched = [line for line in lines if line["stretch"] == "2"]
    assert stretched
    assert {(line["label"], line["split"]) for line in stretched} == {("rare", "train")}
    assert 'stretched = ["rare"]' in (tmp_path / "out" / "prepared.toml").read_text()
    starts = [float(line["start_s"]) for line in lines if line["label"] == "rare" and line["stretch"] == "1"]
    common = [float(line["start_s"]) for line in lines if line["label"] == "much"]
    assert starts[1] - starts[0] == pytest.approx(0.125)  # two groups of classes: hops of a half and a whole
    assert common[1] - common[0] == pytest.approx(0.25)
    without = prepare_table(tmp_path / "in" / "data.csv", tmp_path / "no", replace(SHORT, stretches=False))
    assert len(without.segments) < len(prepared.segments)
    assert {line["stretch"] for line in _lines(tmp_path / "no")} == {"1"}


def test_what_is_left_out_is_counted_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Silence, the same sound again, a file damaged since it was scanned: the others go on."""
    folder = class_folders(tmp_path / "in", n_files=4)
    soundfile.write(folder / "low" / "silent.wav", np.zeros(8000), RATE)
    soundfile.write(folder / "mid" / "again.flac", soundfile.read(folder / "mid" / "01.wav")[0], RATE)
    soundfile.write(folder / "mid" / "wrong.wav", soundfile.read(folder / "low" / "01.wav")[0], RATE)
    table = _table(folder)
    (folder / "high" / "00.wav").write_bytes(b"RIFF of nothing")
    prepared = prepare_table(table, tmp_path / "out", SHORT)

    assert prepared.left_out.counts == {
        "silent": 1,
        "the same sound as another recording": 1,
        "the same sound as another recording, which is low, not mid": 1,
    }
    assert len(prepared.failed) == 1
    assert "high/00.wav" in prepared.failed[0]
    assert not {"high/00.wav", "low/silent.wav"} & {line["path"] for line in _lines(tmp_path / "out")}


def test_a_click_in_a_long_segment_is_left_out_with_what_would_help(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "in", n_files=4)
    click = np.zeros(RATE)
    click[:200] = 0.5
    soundfile.write(folder / "low" / "click.wav", click, RATE)
    left_out = prepare_table(_table(folder), tmp_path / "out", replace(SHORT, segment_s=1.0)).left_out

    assert [
        (reason, count) for reason, count in left_out.counts.items() if "shorter --segment" in reason
    ] == [("less than a tenth of any segment sounds; try a shorter --segment", 1)]


def test_a_class_of_which_nothing_is_left_and_files_that_are_gone_are_refused(tmp_path: Path) -> None:
    """All at once, and nothing is written."""
    folder = class_folders(tmp_path / "in", n_files=3)
    for k in range(3):
        soundfile.write(folder / "low" / f"{k:02d}.wav", np.zeros(8000), RATE)
    table = _table(folder)
    with pytest.raises(InputError, match="nothing is left of low: 3 left out: silent"):
        prepare_table(table, tmp_path / "out", SHORT)
    (folder / "high" / "00.wav").unlink()
    (folder / "mid" / "01.wav").unlink()
    with pytest.raises(InputError, match=r"2 of its files are not there: .*high/00\.wav; .*mid/01\.wav"):
        prepare_table(table, tmp_path / "out", SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_class_with_one_group_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    table = _table(class_folders(tmp_path / "in", n_files=1))
    with pytest.raises(DataError, match="high, low, mid: have one group each"):
        prepare_table(table, tmp_path / "out", SHORT)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_splitting_by_segment_is_refused_unless_it_is_meant_and_then_leaks(tmp_path: Path) -> None:
    """The summary names every group that stands on two sides."""
    with pytest.raises(InputError, match="84% where unheard instruments got 23%.*--i-know"):
        replace(SHORT, split="segment")
    table = _table(class_folders(tmp_path / "in"))
    settings = replace(SHORT, split="segment", knows=True, folds=(0.4, 0.3, 0.3))
    prepared = prepare_table(table, tmp_path / "out", settings)

    assert "split by segment" in prepared.notes[0]
    leaks = summarise_segments(tmp_path / "out").leaks
    assert sum(leak.startswith("group ") for leak in leaks) > 9  # of 18 recordings of three segments and more


def test_folds_of_a_data_set_are_kept(tmp_path: Path) -> None:
    """The last of ESC-50's folds is for the test, the one before it for validation."""
    datasets.esc50(tmp_path / "in")
    tone(tmp_path / "in" / "audio" / "4-100034-A-0.wav", 304.0)
    prepare_table(_table(tmp_path / "in", "esc50"), tmp_path / "out", SHORT)

    sides = {line["group"]: line["split"] for line in _lines(tmp_path / "out")}
    assert sides == {
        "100031": "train", "100032": "train", "100033": "train", "100034": "validation", "100035": "test",
    }  # fmt: skip


def test_a_group_that_its_data_set_splits_goes_to_the_test_whole(tmp_path: Path) -> None:
    """As NSynth's instruments stand in valid and in test; and it is told."""
    rows = [
        Recording(path=tone(tmp_path / f"{k}.wav", 300.0 + k), label="bell", group=f"g{k // 2}", split=split)
        for k, split in enumerate(["train", "train", "train", "train", "validation", "test"])
    ]
    write_table(tmp_path / "data.csv", rows)
    prepared = prepare_table(tmp_path / "data.csv", tmp_path / "out", SHORT)

    assert {line["split"] for line in _lines(tmp_path / "out") if line["group"] == "g2"} == {"test"}
    assert "1 groups stand on two sides" in prepared.notes[0]
    assert any(
        "group g2 is in validation and in test" in leak
        for leak in summarise_table(tmp_path / "data.csv").leaks
    )


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (["train", "Valid", "test", ""], {"train": 0, "Valid": 1, "test": 2, "": -1}),
        (["fold2", "fold10", "fold9"], {"fold2": 0, "fold9": 1, "fold10": 2}),
        (["1", "2"], {"1": 0, "2": 2}),
    ],
)
def test_names_of_sides_and_numbers_of_folds_are_understood(names: list[str], sides: dict[str, int]) -> None:
    assert sides_of_names(names) == sides


@pytest.mark.parametrize(
    "names", [["folder"], ["train", "fold1", "fold2"], ["fold1"], ["everything", "test"]]
)
def test_other_names_of_sides_are_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match="column split"):
        sides_of_names(names)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 100},
        {"segment_s": 0.0},
        {"segment_s": float("nan")},
        {"trim_db": 3.0},
        {"split": "file"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="--"):
        PrepareSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="folds"):
        PrepareSettings(folds=(0.5, 0.5, 0.5))


def test_a_table_tells_the_same_recording_twice_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Whatever holds it; recordings of other lengths are not read at all."""
    folder = class_folders(tmp_path / "in", n_files=3)
    soundfile.write(folder / "mid" / "again.flac", soundfile.read(folder / "mid" / "01.wav")[0], RATE)
    table = _table(folder)
    (folder / "low" / "00.wav").unlink()
    summary = summarise_table(table)

    assert len(summary.leaks) == 1
    assert "the same recording twice" in summary.leaks[0]
    assert "mid/01.wav" in summary.leaks[0]
    assert "mid/again.flac" in summary.leaks[0]
    assert [one.n_items for one in summary.classes] == [3, 3, 4]
    assert "low/00.wav" in summary.unreadable[0]
    assert len(read_table(table)) == 10
