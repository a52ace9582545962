"""`reverie networks hear` as a user meets it: what it prints, writes and refuses, and how it ends."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.voice import phrases, pluck

from bridge.cli import main
from bridge.report.hearing_picture import draw_hearing
from dream_core.networks.registry import get_card

RATE = 44100


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two stems: a plucked line of six seconds, a voice from the second to the fourth of five."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stems").mkdir()
    soundfile.write(tmp_path / "stems" / "line.wav", pluck(6.0, RATE), RATE)
    soundfile.write(tmp_path / "stems" / "vox.wav", phrases(5.0, 22050, [(2.0, 4.0)]), 22050)
    return tmp_path


def test_it_tells_the_strongest_classes_of_every_stem_and_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Mean, maximum and where that is: the voice's lies in its phrase. No bar on no terminal."""
    assert main(["networks", "hear", "stems", "--top", "2"]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert [line for line in lines if line.endswith(" s") and "," in line] == [
        "line, 6.0 s", "vox, 5.0 s", "all stems, 6.0 s",
    ]  # fmt: skip
    name, mean, highest, at_s, _ = lines[lines.index("vox, 5.0 s") + 2].split()
    assert name == "vocal"
    assert float(mean.rstrip("%")) <= float(highest.rstrip("%"))
    assert 2.0 <= float(at_s) <= 4.0
    assert len(lines) == 3 * 4


def test_json_holds_the_strongest_over_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "hear", "stems", "--json", "--top", "1"]) == 0

    told = json.loads(capsys.readouterr().out)
    vox = told["stems"]["vox"]
    assert (told["network"], told["layer"], list(told["stems"])) == ("timbre", None, ["line", "vox"])
    assert vox["strongest"][0]["name"] == "vocal"
    assert len(vox["seconds"]) == len(vox["values"]["vocal"])
    assert vox["file"].endswith("stems/vox.wav")
    assert len(told["session"]["seconds"]) == len(told["stems"]["line"]["seconds"])


def test_a_table_holds_every_class_at_every_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To a file, and to standard output, which is then nothing else; `timbre`'s classes sum to 1."""
    assert main(["networks", "hear", "stems/vox.wav", "--csv", "heard.csv"]) == 0
    assert "written: heard.csv" in capsys.readouterr().err
    rows = list(csv.DictReader((folder / "heard.csv").read_text().splitlines()))
    assert list(rows[0]) == ["stem", "seconds", "level_db", *get_card("timbre").classes]
    sums = [sum(float(row[name]) for name in get_card("timbre").classes) for row in rows]
    assert sums == pytest.approx([1.0] * len(rows), abs=1e-4)
    assert max(float(row["level_db"]) for row in rows) == pytest.approx(0.0)
    steps = np.diff([float(row["seconds"]) for row in rows])
    assert steps.max() < 0.26

    assert main(["networks", "hear", "stems/vox.wav", "--csv", "-"]) == 0
    assert capsys.readouterr().out == (folder / "heard.csv").read_text()


def test_a_layer_is_told_by_its_channels(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["networks", "hear", "stems/vox.wav", "--layer", "block2", "--top", "3", "--patch-hop", "10"]
    assert main([*arguments, "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["session"] is None
    strongest = told["stems"]["vox"]["strongest"]
    assert len(strongest) == 3
    assert all(0 <= int(one["name"]) < get_card("timbre").layers[1].n_channels for one in strongest)
    assert np.diff(told["stems"]["vox"]["seconds"]).max() == pytest.approx(10 * get_card("timbre").frame_s)
    assert main(arguments) == 0
    assert f"block2:{strongest[0]['name']}" in capsys.readouterr().out


def test_a_picture_is_drawn_and_kept_unless_told_otherwise(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["networks", "hear", "stems", "--picture", "heard.png"]
    assert main(arguments) == 0
    assert (folder / "heard.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main(arguments) == 2
    assert "heard.png: exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


def test_a_picture_shows_a_row_a_class_the_strongest_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fields' heights and colours are the values; the first row of the stem is its strongest class."""
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    from bridge.processors.hearing import hear_files, open_ear

    (sound,) = hear_files([folder / "stems" / "vox.wav"], open_ear("timbre"))
    drawn: list[np.ndarray] = []
    plain = Axes.pcolormesh

    def kept(axis: Axes, *arguments: object, **options: object) -> object:
        drawn.append(np.asarray(arguments[2]))
        return plain(axis, *arguments, **options)

    monkeypatch.setattr(Axes, "pcolormesh", kept)
    draw_hearing(folder / "x.png", {"vox": sound}, top=4, title="t")

    assert drawn[0].shape == (4, len(sound.values))
    assert np.array_equal(drawn[0][0], sound.values[:, sound.names.index("vocal")])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["stems", "--network", "timber"], "did you mean 'timbre'"),
        (["stems", "--network", "musicnn"], "'musicnn' is not installed; `reverie networks get musicnn`"),
        (["stems", "--network", "texture"], "has no classes; name one of its layers"),
        (["stems", "--layer", "blok2"], "did you mean 'block2'"),
        (["stems", "--patch-hop", "1000"], "so 0..99 is accepted"),
        (["gone.wav"], "gone.wav"),
        (["stems", "gone.wav", "lost.wav"], "2 of 4 stems cannot be heard"),
        (["stems", "--picture", "x.txt"], "pictures are drawn as .png, .svg, .pdf"),
        (["stems", "--csv", "stems"], "stems: exists already"),
        (["stems", "--device", "cuda:99"], "cuda:99"),
        (["stems", "--top", "0"], "--top 0"),
        ([], "Missing argument"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "hear", *arguments]) == 2

    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_without_matplotlib_it_says_how_it_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is heard."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["networks", "hear", "gone.wav", "--picture", "x.png"]) == 2
    assert "pip install 'reverie-audio[plot]'" in capsys.readouterr().err


def test_stems_of_one_name_are_told_by_their_paths(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "more").mkdir()
    soundfile.write(folder / "more" / "vox.wav", pluck(1.0, RATE), RATE)
    assert main(["networks", "hear", "stems/vox.wav", "more/vox.wav", "--json"]) == 0

    names = list(json.loads(capsys.readouterr().out)["stems"])
    assert [Path(name).parent.name for name in names] == ["stems", "more"]
