"""A render's report replaces the one it wrote before, and no file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.session import write_stem

from bridge.cli import main


def test_only_a_report_is_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What stands under its name is looked at before anything is rendered; a link is not followed either."""
    stem = write_stem(tmp_path / "a.wav")
    out = tmp_path / "out"
    command = ["render", str(stem), "-p", "null-reference", "-o", str(out), "--report"]
    out.mkdir()
    report = out / "null-reference.report.html"
    report.write_text("precious")
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert report.read_text() == "precious"
    assert [path.name for path in out.iterdir()] == [report.name]
    report.unlink()
    assert main(command) == 0
    first = report.read_bytes()
    assert main(command) == 0
    assert report.read_bytes() == first
    report.write_text("precious")
    assert main([*command, "--overwrite"]) == 0
    assert report.read_bytes() != b"precious"
