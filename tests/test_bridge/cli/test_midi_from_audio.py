"""`reverie midi from-audio` as a user meets it: what it prints, writes and refuses, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile as sf
from helpers.notes_net import play
from helpers.wheels import wheel

from bridge.cli import main
from bridge.midi.file import read_midi
from bridge.midi.notes import read_notes
from dream_core.networks import notes, published_files

RATE = 22050


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def with_notes(home: Path) -> Path:
    published_files.install(notes.PUBLISHED[0], wheel("basic-pitch", "0.4.0"))
    return home


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    """Two notes, the first at half a second, the second a second later."""
    path = tmp_path / "lead.wav"
    sf.write(path, play([(0.5, 1.2, 60), (1.5, 2.2, 67)], 2.5, RATE), RATE)
    return path


@pytest.mark.usefixtures("with_notes", "stem")
def test_it_writes_a_file_named_as_the_stem_and_says_what_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the tempo that is said, bars are where that tempo has them; no bar of progress on no terminal."""
    assert main(["midi", "from-audio", "lead.wav", "--bpm", "120"]) == 0

    captured = capsys.readouterr()
    assert captured.out == "lead.mid: 2 notes in 2.5 s, C3 to G3, none of them bent\n"
    assert captured.err == ""
    read = read_notes(read_midi(tmp_path / "lead.mid"))
    assert read.note.tolist() == [60, 67]
    # Two frames of 11.6 ms at 1920 ticks a second.
    assert abs(read.start_tick - [960, 2880]).max() < 45


@pytest.mark.usefixtures("with_notes", "stem")
def test_programs_get_notes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["midi", "from-audio", "lead.wav", "--meter", "3/4", "--json"]) == 0

    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert (data["file"], data["network"], data["length_s"]) == ("lead.mid", "notes", 2.5)
    assert [note["key"] for note in data["notes"]] == [60, 67]
    assert data["notes"][1]["position"].startswith(("1:3:", "2:1:"))
    assert data["notes"][0]["bends"] == []
    assert data["warnings"] == ["no tempo was given: 120 BPM is used (default). Give --midi or --bpm."]
    assert captured.err == f"reverie: warning: {data['warnings'][0]}\n"


@pytest.mark.usefixtures("with_notes", "stem")
def test_nothing_is_replaced_unless_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lead.mid").write_bytes(b"mine")

    assert main(["midi", "from-audio", "lead.wav", "--bpm", "120"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "lead.mid").read_bytes() == b"mine"
    assert main(["midi", "from-audio", "lead.wav", "--bpm", "120", "--overwrite"]) == 0
    assert (tmp_path / "lead.mid").read_bytes()[:4] == b"MThd"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.wav"], "none.wav: no such file"),
        (["lead.wav"], "run `reverie networks get notes`"),
        (["lead.wav", "--network", "timbre"], "notes (chords) and crepe (one voice) do"),
        (["lead.wav", "--out", "."], "is a folder; name a file in it, such as lead.mid"),
        (["lead.wav", "--onset", "1.5"], "onset = 1.5 is no probability"),
        (["lead.wav", "--shortest", "1/16"], "--shortest: '1/16' is not a number"),
        (["lead.wav", "--device", "gpu"], "did you mean 'cuda'?"),
        (["lead.wav", "--midi", "none.mid"], "none.mid: cannot be read"),
    ],
)
@pytest.mark.usefixtures("stem")
def test_mistakes_end_in_one_line_and_2(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is written."""
    if "--device" in arguments or "--midi" in arguments:
        published_files.install(notes.PUBLISHED[0], wheel("basic-pitch", "0.4.0"))

    assert main(["midi", "from-audio", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.glob("*.mid")) == []
