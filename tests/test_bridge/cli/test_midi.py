"""`reverie midi show` tells people and programs what a file holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.midi import marker, meter, random_song, smf, tempo, track
from helpers.paths import SHARED

from bridge.cli import main

CASES = SHARED / "cases"


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Two bars of 4/4, a bar of 7/8, a controller, a bend with its range, a marker with brackets."""
    path = tmp_path / "song.mid"
    events = [
        (0, b"\xff\x03\x04Lead"),
        (0, tempo(500_000)),
        (0, meter(4, 4)),
        (0, b"\xb0\x65\x00"),
        (0, b"\xb0\x64\x00"),
        (0, b"\xb0\x06\x0c"),
        (480, b"\xb0\x01\x10"),
        (500, b"\xe0\x00\x60"),
        (960, b"\xb0\x01\x7f"),
        (960, b"\x90\x3c\x40"),
        (1440, b"\x80\x3c\x40"),
        (3840, meter(7, 8)),
        (3840, marker("[Chorus]")),
    ]
    path.write_bytes(smf(track(events, 5520)))
    return path


def test_programs_get_everything_as_json(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tempo, meters, markers, tracks, lanes with ranges and counts, and doubts."""
    assert main(["midi", "show", str(song), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)

    assert (data["type"], data["ticks_per_beat"], data["tempo_source"]) == (1, 480, "midi")
    assert data["length_s"] == 5.75
    assert [row["meter"] for row in data["meters"]] == ["4/4", "7/8"]
    assert data["markers"] == [{"position": "3:1:000", "time_s": 4.0, "name": "[Chorus]"}]
    wheel = next(row for row in data["lanes"] if row["number"] == 1)
    assert (wheel["n_events"], wheel["minimum"], wheel["maximum"], wheel["first_s"]) == (2, 16, 127, 0.5)
    bend = next(row for row in data["lanes"] if row["event"] == "pitch_bend")
    assert (bend["maximum"], bend["bend_range_semitones"]) == (4096, 12.0)
    assert data["tracks"][0]["name"] == "Lead"
    assert data["warnings"] == []


def test_people_get_tables(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables name what there is, brackets included; nothing goes to standard error."""
    assert main(["midi", "show", str(song)]) == 0
    captured = capsys.readouterr()

    for text in ("480 ticks", "7/8", "[Chorus]", "3:1:000", "CC 1", "16..127", "RPN 0", "Lead"):
        assert text in captured.out
    assert captured.err == ""


def test_what_is_said_wins_and_is_told(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tempo, meter and offset given on the command line hold, with warnings that say who won."""
    assert main(["midi", "show", str(song), "--bpm", "60", "--meter", "3/4", "--offset", "1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)

    assert data["tempos"] == [{"position": "1:1:000", "time_s": 1.0, "bpm": 60.0}]
    assert data["markers"][0]["time_s"] == 9.0
    assert any("60 BPM as given overrides" in warning for warning in data["warnings"])
    assert any("3/4 as given overrides" in warning for warning in data["warnings"])


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (b"", [], "empty"),
        (b"RIFFxxxxWAVE", [], "RIFF file without MIDI"),
        (random_song(1)[:-30], ["--strict"], "strict"),
        (random_song(1), ["--pattern", "2"], "has none"),
        (random_song(1), ["--meter", "7"], "not a meter"),
        (random_song(1), ["--bpm", "0"], "outside 1..1000"),
        (random_song(1), ["--bpm", "120bpm"], "write 120"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, options: list[str], reason: str
) -> None:
    """Bad files and bad options end with exit code 2 and one line on standard error."""
    path = tmp_path / "bad.mid"
    path.write_bytes(content)

    assert main(["midi", "show", str(path), *options]) == 2
    captured = capsys.readouterr()
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_truncated_file_is_shown_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What could be read is shown; what was lost is told on standard error."""
    path = tmp_path / "cut.mid"
    path.write_bytes(random_song(1)[:-30])

    assert main(["midi", "show", str(path)]) == 0
    assert "warning: track 4 at byte" in capsys.readouterr().err


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not here")
def test_remains_after_the_tracks_and_names_that_end_in_a_nul(capsys: pytest.CaptureFixture[str]) -> None:
    """Real files of both kinds: two tracks of half a second, a marker and a track by their plain names."""
    assert main(["midi", "show", str(CASES / "junk_then_stray_track.mid"), "--json"]) == 0
    stray = json.loads(capsys.readouterr().out)
    assert main(["midi", "show", str(CASES / "nul_ended_names.mid"), "--json"]) == 0
    named = json.loads(capsys.readouterr().out)
    preset = str(CASES / "nul_ended_names.toml")
    assert main(["envelope", preset, "--midi", str(CASES / "nul_ended_names.mid")]) == 0

    assert (len(stray["tracks"]), stray["length_s"]) == (2, 0.5)
    assert [row["name"] for row in named["tracks"]] == ["", "Depth"]
    assert [row["name"] for row in named["markers"]] == ["Chorus"]
    assert "warning" not in capsys.readouterr().err
