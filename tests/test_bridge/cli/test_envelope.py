"""`reverie envelope` draws what moves, or writes it as numbers or as a lane a DAW takes back."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from helpers.midi import marker, smf, tempo, track

from bridge.cli import main
from bridge.midi.file import read_midi
from bridge.midi.lanes import read_lane
from bridge.midi.song_clock import build_tempo_map

PRESET = """
format = "reverie/preset"
version = 1
uuid = "9a2f9d38-6f0b-4a4e-9df0-2a1a3b8f2f10"

[meta]
name = "Wheel"
author = "Test"
license = "CC0-1.0"
category = "Utility"
description = "CC 1 moves the depth."

[[chain]]
id = "dream"
use = "dream"

[[modulators]]
id = "wheel"
type = "midi"
number = 1
smooth = "0 ms"

[[routes]]
source = "wheel"
target = "dream.depth"
op = "replace"
min = 0.0
max = 8.0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A preset, and a song whose controller 1 goes 0, 127, 64 at bars 1, 2 and 3."""
    (tmp_path / "wheel.toml").write_text(PRESET)
    events = [(0, tempo(500_000)), (1920, b"\xb0\x01\x7f"), (1920, marker("Up")), (3840, b"\xb0\x01\x40")]
    (tmp_path / "song.mid").write_bytes(smf(track(events, 5760)))
    return tmp_path


def _run(folder: Path, *options: str) -> int:
    return main(["envelope", str(folder / "wheel.toml"), "--midi", str(folder / "song.mid"), *options])


def test_numbers_come_with_their_places(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows at the distance asked for, with seconds, bar, beat, tick and the parameter in its own unit."""
    assert _run(folder, "--csv", "-", "--every", "1/4") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))

    assert [float(row["dream.depth"]) for row in rows] == pytest.approx(
        [0.0] * 4 + [8.0] * 4 + [8 * 64 / 127] * 4
    )
    assert [(row["bar"], row["beat"], row["tick"]) for row in rows[4:6]] == [
        ("2", "1", "0.0"),
        ("2", "2", "0.0"),
    ]


def test_a_lane_is_taken_back(folder: Path) -> None:
    """The lane written holds the envelope to one step of 14 bits, at its own times."""
    out = folder / "depth.mid"
    assert _run(folder, "--mid", str(out), "--bits", "14") == 0
    midi = read_midi(out)
    lane = read_lane(midi, "cc14", 1)
    times = build_tempo_map(midi).ticks_to_seconds(lane.ticks)

    assert midi.tracks[1].name == "dream.depth 0..8"
    assert times.tolist() == pytest.approx([0.0, 2.0, 4.0], abs=0.01)
    assert np.abs(lane.values - [0.0, 1.0, 64 / 127]).max() <= 1 / 16383


def test_a_picture_is_drawn(folder: Path) -> None:
    """A PNG of some size appears; nothing is shown on a screen."""
    pytest.importorskip("matplotlib")
    out = folder / "depth.png"

    assert _run(folder, "--png", str(out)) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_without_an_output_it_is_sketched(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of figures and one of blocks a parameter: low, high, middle."""
    assert _run(folder) == 0
    figures, blocks = capsys.readouterr().out.splitlines()

    assert figures == "dream.depth: mean 4.01, peak 8, drawn from 0 to 8"
    assert (blocks.strip()[0], blocks.strip()[32], blocks.strip()[-1]) == ("▁", "█", "▅")


def test_a_wrong_route_is_told_with_its_file_and_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `envelope` and by `presets check`; where a preset extends another, with its file."""
    wrong = folder / "wrong.toml"
    wrong.write_text(PRESET.replace('target = "dream.depth"', 'target = "drem.depth"'))
    line = wrong.read_text().splitlines().index('target = "drem.depth"') + 1
    child = folder / "child.toml"
    child.write_text(
        PRESET.split("[[chain]]")[0].replace("version = 1", 'version = 1\nextends = "wrong.toml"')
    )

    for command in (["presets", "check", str(wrong)], ["envelope", str(wrong), "--bpm", "120"]):
        assert main(command) == 2
        assert f"wrong.toml:{line}: routes[0].target: there is no node 'drem'" in capsys.readouterr().err
    assert main(["presets", "check", str(child)]) == 2
    assert "child.toml: routes[0].target: there is no node 'drem'" in capsys.readouterr().err


def test_a_follower_without_stems_is_told_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is drawn for it is not what a render will do."""
    preset = folder / "follow.toml"
    preset.write_text(
        PRESET.replace('type = "midi"\nnumber = 1', 'type = "follower"').replace('smooth = "0 ms"', "")
    )

    assert main(["envelope", str(preset), "--bpm", "120"]) == 0
    assert "wheel follow the sound of stems, which is not read here" in capsys.readouterr().err


def test_what_exists_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An output that exists stays, with exit code 2."""
    out = folder / "depth.mid"
    out.write_bytes(b"mine")

    assert _run(folder, "--mid", str(out)) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert _run(folder, "--mid", str(out), "--overwrite") == 0


def test_a_preset_that_needs_midi_says_so_without_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a MIDI file the envelope is drawn over bars at the tempo said, with a warning."""
    assert main(["envelope", str(folder / "wheel.toml"), "--bpm", "100", "--length", "8 bars"]) == 0
    captured = capsys.readouterr()

    assert "no MIDI file is given" in captured.err
    assert "peak 0" in captured.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--every", "0s", "--csv", "out.csv"), "rows need a distance"),
        (("--bpm", "0"), "0.0 BPM is outside 1..1000"),
        (("--png", "out.xyz"), ".png, .svg, .pdf"),
        (("--csv", "file/out.csv"), "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_or_written_is_one_line(
    arguments: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong distances, tempos, kinds of pictures and places end with one line and leave nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    assert main(["envelope", "lucid-bloom", *arguments]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("option", "writer"), [("--csv", "write_envelopes_csv"), ("--png", "Figure.savefig")]
)
def test_a_full_disk_leaves_no_half_file(
    option: str,
    writer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is half written when the disk is full is removed, and what stood there before stays."""

    def fill(target: object, *_arguments: object, **_options: object) -> None:
        if hasattr(target, "write"):
            target.write("half")
        raise OSError(28, "No space left on device")

    if option == "--csv":
        monkeypatch.setattr(f"bridge.envelopes.export.{writer}", fill)
    else:
        monkeypatch.setattr(f"matplotlib.figure.{writer}", fill)
    target = tmp_path / f"out.{option[2:]}"
    target.write_text("before")
    assert main(["envelope", "lucid-bloom", option, str(target), "--overwrite"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
