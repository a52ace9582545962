"""`reverie data` as a user meets it: from a folder to a prepared set, and what it refuses."""

from __future__ import annotations

import csv
import json
import resource
import shutil
from pathlib import Path

import pytest
import soundfile
from helpers.datasets import class_folders

from bridge.cli import main
from dream_core.training.segments import open_segments

TIM = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
PREPARE = ["data", "prepare", "data.csv", "--out", "prepared", "--rate", "8000", "--segment", "0.25"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of six tones each."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "sounds")
    return tmp_path


def test_a_folder_becomes_a_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says what it made and which comes next; no bar where there is no terminal."""
    (folder / "sounds" / "low" / "readme.txt").touch()
    assert main(["data", "scan", "sounds"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "data.csv: 18 recordings of 3 classes, 13.0 s\n"
    assert captured.err.splitlines()[0].startswith("1 left out: not an audio file")
    assert "next: reverie data show data.csv" in captured.err
    with (folder / "data.csv").open() as file:
        assert next(csv.DictReader(file))["path"] == "sounds/high/00.wav"

    assert main(PREPARE) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("prepared: 60 segments of 3 classes: ")
    assert captured.err == ""
    kept = open_segments(folder / "prepared")
    assert set(kept.splits) == {0, 1, 2}

    assert main(["data", "show", "prepared"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["class", "high", "low", "mid"]
    assert lines[-1] == "no leaks: no group and no sound is on two sides"
    assert main(["data", "show", "prepared", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["leaks"] == []
    assert sum(one["n_items"] for one in told["classes"]) == len(kept)


def test_a_sheet_of_spectrograms_is_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["data", "scan", "sounds"]) == 0
    assert main(PREPARE) == 0
    assert main(["data", "show", "prepared", "--png", "sheet.png"]) == 0
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()

    for wrong, told in (
        (["prepared", "--png", "sheet.png"], "sheet.png: exists already"),
        (["prepared", "--png", "sheet.gif"], "sheet.gif: pictures are drawn as"),
        (["data.csv", "--png", "other.png"], "reverie data prepare data.csv"),
    ):
        assert main(["data", "show", *wrong]) == 2
        assert told in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named_the_others_go_on_and_the_exit_code_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "scan", "sounds"]) == 0
    whole = (folder / "sounds" / "mid" / "03.wav").read_bytes()
    (folder / "sounds" / "mid" / "03.wav").write_bytes(whole[: len(whole) // 2])
    assert main(PREPARE) == 3

    assert "warning: left out: " in (told := capsys.readouterr().err)
    assert "mid/03.wav: truncated" in told
    assert len(open_segments(folder / "prepared").path_names) == 17


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["scan", "gone"], "gone: no such folder"),
        (["scan", "sounds", "--as", "nsynht"], "did you mean 'nsynth'"),
        (["scan", "sounds", "--as", "esc50"], "needs a folder that holds meta/esc50.csv"),
        (["scan", "sounds", "--drop", "lable=low"], "did you mean 'label'"),
        (["scan", "sounds", "--drop", "label=low", "--map", "gone.toml"], "--map gone.toml"),
        (["scan", "sounds", "--map", "add10"], "the map has no class for high"),
        (["prepare", "gone.csv", "--out", "x"], "gone.csv: no such file; make one with `reverie data scan"),
        (["prepare", "sounds", "--out", "x"], "reverie data scan sounds"),
        (["prepare", "data.csv", "--out", "x", "--folds", ".8,.2"], "--folds .8,.2: three shares"),
        (["prepare", "data.csv", "--out", "x", "--folds", ".8,.2,.2"], "sum to 1"),
        (["prepare", "data.csv", "--out", "x", "--split", "segment"], "--i-know"),
        (["prepare", "data.csv", "--out", "x", "--segment", "0"], "--segment 0"),
        (["prepare", "data.csv", "--out", "sounds"], "sounds: exists and is no prepared set"),
        (["show", "sounds"], "sounds: is no prepared set"),
        (["show", "gone.csv"], "gone.csv: no such file"),
        (["render", "--soundfont", "gone.sf2", "--out", "notes"], "gone.sf2: no such soundfont"),
        (["render", "--soundfont", "sounds/low/00.wav", "--out", "notes"], "00.wav: is no soundfont"),
        (["render", "--soundfont", "a.sf2", "--out", "notes", "--family", "flut"], "did you mean 'flute'"),
        (["render", "--soundfont", "a.sf2", "--out", "notes", "--notes", "0"], "must be 1 or more"),
        (["render", "--soundfont", "a.sf2", "--out", "sounds"], "sounds: exists already"),
        (["render", "--out", "notes"], "nothing plays: --soundfont FILE or --plugin NAME"),
        (["render", "--plugin", "gone.vst3", "--out", "notes"], "gone.vst3"),
        (
            ["render", "--plugin", "x", "--state", "a.vstpreset", "--out", "notes"],
            "a.vstpreset: no such file",
        ),
        (["render", "--state", "a.vstpreset", "--out", "notes"], "--state is given 1 times for 0 --plugin"),
        (["prepare", "data.csv", "--out", "x", "--encode", "log_mle"], "did you mean 'log_mel'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """And nothing is written."""
    if arguments[0] == "render" and shutil.which("fluidsynth") is None:
        pytest.skip("needs fluidsynth")
    assert main(["data", "scan", "sounds"]) == 0
    capsys.readouterr()
    before = sorted(folder.rglob("*"))

    arguments = [*arguments, "--out", "y.csv"] if arguments[0] == "scan" else arguments
    assert main(["data", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_a_full_disk_leaves_nothing_and_names_the_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether decoding or cutting meets it."""
    assert main(["data", "scan", "sounds"]) == 0
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sorted(folder.rglob("*"))
    for limit in (20_000, 215_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, usual[1]))
        try:
            code = main(PREPARE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        assert code != 0
        assert "prepared: File too large" in capsys.readouterr().err
        assert sorted(folder.rglob("*")) == before


def test_what_exists_is_replaced_only_with_overwrite(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["data", "scan", "sounds"], PREPARE):
        assert main(command) == 0
        assert main(command) == 2
        assert "--overwrite" in capsys.readouterr().err
        assert main([*command, "--overwrite"]) == 0


def test_soundfonts_are_rendered_with_the_notes_that_sound(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A preset is a group, its family the label; every file's keys stand in notes.csv; it can be prepared."""
    if shutil.which("fluidsynth") is None or not TIM.exists():
        pytest.skip("needs fluidsynth and timgm6mb-soundfont")
    arguments = ["data", "render", "--soundfont", str(TIM), "--out", "notes", "--family", "vocal"]
    assert main([*arguments, "--notes", "2", "--chords", "1"]) == 0

    assert capsys.readouterr().out.endswith("sounds of 4 presets in 1 families\n")
    with (folder / "notes" / "data.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {"vocal"}
    assert {row["group"] for row in rows} == {f"TimGM6mb 000-{program:03d}" for program in (52, 53, 54, 91)}
    with (folder / "notes" / "notes.csv").open() as file:
        notes = list(csv.DictReader(file))
    for row in rows:
        keys = [one["pitch"] for one in notes if one["path"] == row["path"]]
        assert row["pitch"] == (keys[0] if len(keys) == 1 else "")
        assert soundfile.info(folder / "notes" / row["path"]).samplerate == 44100
    assert max(len([one for one in notes if one["path"] == row["path"]]) for row in rows) >= 2
    assert main(["data", "prepare", "notes/data.csv", "--out", "prepared"]) == 0
