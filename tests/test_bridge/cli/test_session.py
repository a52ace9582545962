"""`reverie session show` prints what a session says."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.dawproject import write_project
from typer.testing import CliRunner

from bridge.cli.session import app
from bridge.errors import SessionError


def test_show_prints_tempo_markers_and_tracks(tmp_path: Path) -> None:
    """Places in bars and seconds, names, and clip counts are on the screen; doubts go to stderr."""
    done = CliRunner().invoke(app, ["show", str(write_project(tmp_path / "a.dawproject"))])
    assert done.exit_code == 0
    for text in ("1:1:000", "120 BPM", "7/8", "Chörus", "Vocals", "CC1"):
        assert text in done.stdout


def test_show_as_json_holds_everything(tmp_path: Path) -> None:
    """The same as data, for programs."""
    done = CliRunner().invoke(app, ["show", str(write_project(tmp_path / "a.dawproject")), "--json"])
    found = json.loads(done.stdout)
    assert found["format"] == "dawproject"
    assert [track["name"] for track in found["tracks"]] == ["Band", "Vocals", "Keys", "Master"]
    assert found["tracks"][1]["clips"][0]["start_s"] == 2.0


def test_another_kind_of_file_names_those_that_are_read(tmp_path: Path) -> None:
    """A suffix that is not read is answered with those that are."""
    done = CliRunner().invoke(app, ["show", str(tmp_path / "song.flp")])
    assert isinstance(done.exception, SessionError)
    assert "'.dawproject'" in str(done.exception)
