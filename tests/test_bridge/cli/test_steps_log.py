"""`--steps-log` and `-v`: every step of every dream, for those who look at how it went."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.voice import phrases, pluck

from bridge.cli import main
from bridge.render.manifest import read_manifest
from bridge.render.steps_log import COLUMNS
from bridge.report.page import build_report

RATE = 22050
PRESET = """
format = "reverie/preset"
version = 2
uuid = "00000000-0000-4000-8000-000000000002"
[meta]
name = "Two"
category = "Utility"
[[chain]]
id = "second"
use = "dream"
params = { objective = "class:auto", depth = 2.0, window_s = 2.0 }
[[chain]]
id = "first"
use = "dream"
params = { objective = "layer:block2", depth = 1.0, window_s = 2.0 }
[level]
common_trim = true
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two stems of different lengths, and a preset of two dreams, one of which asks for classes."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stems").mkdir()
    soundfile.write(tmp_path / "stems" / "line.wav", pluck(3.5, RATE), RATE)
    soundfile.write(tmp_path / "stems" / "vox.wav", phrases(3.0, RATE, [(0.0, 3.0)]), RATE)
    (tmp_path / "two.toml").write_text(PRESET)
    return tmp_path


def command(out: str, *more: str) -> list[str]:
    return ["render", "stems", "-p", "two.toml", "--out", out, "--bpm", "120", "--device", "cpu", *more]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_a_window_and_step_in_one_order_whatever_the_workers(folder: Path) -> None:
    """Stems in their order, nodes as in the chain, windows, steps; with one worker and with two the same."""
    assert main(command("one", "--steps-log", "one.csv")) == 0
    assert main(command("two", "--steps-log", "two.csv", "-j", "2")) == 0

    one, two = rows(folder / "one.csv"), rows(folder / "two.csv")
    assert tuple(one[0]) == COLUMNS
    places = [(row["stem"], row["node"], int(row["window"]), int(row["step"])) for row in one]
    order = {"line": 0, "vox": 1, "second": 0, "first": 1}
    assert places == sorted(places, key=lambda place: (order[place[0]], order[place[1]], *place[2:]))
    assert len(set(places)) == len(places)
    for row, other in zip(one, two, strict=True):
        assert Path(row.pop("target")).name == Path(other.pop("target")).name
        assert row == other


def test_rows_tell_the_class_the_score_and_the_change(folder: Path) -> None:
    """Of the dream that asks for classes; the other tells none. Each step's change is below the sound."""
    assert main(command("out", "--steps-log", "steps.csv")) == 0

    told = rows(folder / "steps.csv")
    vox = [row for row in told if (row["stem"], row["node"]) == ("vox", "second")]
    assert {row["class"] for row in vox} == {"vocal"}
    assert all(0.2 < float(row["probability"]) <= 1.0 for row in vox)
    assert {(row["class"], row["probability"]) for row in told if row["node"] == "first"} == {("", "")}
    assert all(-60.0 < float(row["change_db"]) < 0.0 for row in told)
    assert np.isfinite([float(row["score"]) for row in told]).all()
    by_window = {int(row["window"]): float(row["start_s"]) for row in told if row["node"] == "first"}
    assert by_window[0] == 0.0
    assert by_window[1] == pytest.approx(1.75, abs=1e-4)  # two seconds, less the cross-fade


def test_finished_stems_have_no_steps_to_tell_and_a_file_is_not_replaced_unasked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("out", "--steps-log", "steps.csv")) == 0
    assert main(command("out", "--steps-log", "again.csv")) == 0
    assert (folder / "again.csv").read_text() == ",".join(COLUMNS) + "\n"
    (folder / "mine.csv").write_text("mine")
    (folder / "there").mkdir()
    capsys.readouterr()
    for name, said in (
        ("mine.csv", "mine.csv: exists already"),
        ("mine.csv/steps.csv", "mine.csv is no folder"),
        ("there", "there: exists already"),
    ):
        assert main(command("new", "--steps-log", name)) == 2
        assert said in capsys.readouterr().err
    assert main(command("new", "--steps-log", "steps.csv")) == 2, "a log of other outputs"
    assert not (folder / "new").exists()
    assert (folder / "mine.csv").read_text() == "mine"


def test_the_same_command_again_goes_on_in_the_same_log(folder: Path) -> None:
    """Where a stem is gone its rows come anew; those of a stem that is finished stay, all in one order."""
    unshared = ("--set", "level.common_trim=false")
    assert main(command("out", "--steps-log", "steps.csv", *unshared)) == 0
    whole = (folder / "steps.csv").read_text()
    (folder / "out" / "line__two.wav").unlink()
    assert main(command("out", "--steps-log", "steps.csv", *unshared)) == 0

    assert {row["stem"] for row in rows(folder / "steps.csv")} == {"line", "vox"}
    assert (folder / "steps.csv").read_text() == whole


def test_dreams_of_one_node_are_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row, line and record says which of the objectives it is of."""
    text = PRESET.replace('use = "dream"', 'use = "dreams"', 1).replace(
        'objective = "class:auto"', 'each = ["class:vocal", "class:brass"]'
    )
    (folder / "two.toml").write_text(text)
    assert main(command("out", "-v", "--steps-log", "steps.csv")) == 0

    told = rows(folder / "steps.csv")
    assert {row["each"] for row in told if row["node"] == "second"} == {"class:vocal", "class:brass"}
    assert {row["each"] for row in told if row["node"] == "first"} == {""}
    assert "vox: second (class:brass) at 0.0 s, step 1 of 2: score" in capsys.readouterr().err
    heard = read_manifest(folder / "out" / "two.manifest.json").stems["vox"].heard
    assert list(heard) == ["second (class:vocal)", "second (class:brass)"]


def test_a_depth_of_a_ladder_tells_what_it_heard_last(folder: Path) -> None:
    """At depth 1 the last step is the first: what is heard before both is the same."""
    (folder / "two.toml").write_text(PRESET.replace("depth = 2.0", "depth = 4.0"))
    assert main(command("out", "--ladder", "1,2", "--set", "first.enabled=false")) == 0

    record = read_manifest(folder / "out" / "two.manifest.json").stems["line"]
    shallow, deep = record.ladder[1].heard["second"], record.heard["second"]
    assert (shallow.last, shallow.last_probability) == (deep.first, deep.first_probability)
    assert (deep.last, deep.last_probability) != (deep.first, deep.first_probability)


def test_batch_takes_it_too_and_a_failed_stem_leaves_the_others_rows(folder: Path) -> None:
    """Mid and side needs two channels, which one of the stems has."""
    stereo = np.stack([pluck(3.0, RATE), 0.5 * pluck(3.0, RATE)], axis=1)
    soundfile.write(folder / "stems" / "wide.wav", stereo, RATE)
    (folder / "jobs.toml").write_text(
        '[[jobs]]\nstems = "stems"\npreset = "two.toml"\nout = "out"\nbpm = 120\ndevice = "cpu"\n'
        'settings = ["second.stereo=mid_side"]\n'
    )
    assert main(["batch", "jobs.toml", "--steps-log", "steps.csv"]) == 3

    assert {row["stem"] for row in rows(folder / "steps.csv")} == {"wide"}


def test_verbose_tells_every_step_and_the_manifest_and_the_report_keep_the_ends(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a step as it is taken, with the class heard; per stem the class before and after."""
    assert main(command("out", "-v", "--steps-log", "steps.csv")) == 0

    lines = capsys.readouterr().err.splitlines()
    told = rows(folder / "steps.csv")
    steps = [line for line in lines if ": score " in line]
    assert len(steps) == len(told)
    assert any(line.startswith("vox: second at 0.0 s, step 1 of 2: score") for line in steps)
    assert any("hears vocal (" in line for line in steps)
    assert any(line.startswith("vox: second heard vocal (") for line in lines)
    manifest = read_manifest(folder / "out" / "two.manifest.json")
    record = manifest.stems["vox"].heard
    assert list(record) == ["second"]
    assert (record["second"].first, record["second"].last) == ("vocal", "vocal")
    firsts = [row for row in told if (row["stem"], row["node"], row["step"]) == ("vox", "second", "0")]
    mean = np.mean([float(row["probability"]) for row in firsts])
    assert record["second"].first_probability == pytest.approx(mean, abs=2e-4)
    page = build_report(manifest)
    wanted = f"Before the first step second hears vocal ({100 * record['second'].first_probability:.0f}%)"
    assert wanted in page


def test_a_manifest_of_before_says_nothing_of_it(folder: Path) -> None:
    """Records without what was heard are read as ever."""
    assert main(command("out")) == 0
    path = folder / "out" / "two.manifest.json"
    data = json.loads(path.read_text())
    for record in data["stems"].values():
        del record["heard"]
    path.write_text(json.dumps(data))

    assert read_manifest(path).stems["vox"].heard == {}
