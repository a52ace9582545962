"""The table of recordings: what is written comes back, and all that is wrong with one is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.datasets.table import Recording, read_table, write_table
from bridge.errors import InputError, OutputError


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    """Paths below the table are relative to it, so both can be moved together."""
    inside = Recording(
        path=tmp_path / "set" / "夢, a.wav", label="bell", group="one", pitch=60, velocity=1,
        source="acoustic",
        split="fold3", start_s=1.5, duration_s=0.25, licence="CC0",
    )  # fmt: skip
    outside = Recording(path=tmp_path / "other.wav", label="drum", group="two")
    write_table(tmp_path / "set" / "data.csv", [inside, outside])

    assert read_table(tmp_path / "set" / "data.csv") == [inside, outside]
    (tmp_path / "set").rename(tmp_path / "moved")
    assert read_table(tmp_path / "moved" / "data.csv")[0].path == tmp_path / "moved" / "夢, a.wav"
    with pytest.raises(OutputError, match="appeared"):
        write_table(tmp_path / "moved" / "data.csv", [inside])


def test_all_lines_that_make_no_sense_are_named(tmp_path: Path) -> None:
    table = tmp_path / "data.csv"
    table.write_text("path,label,pitch,start_s\na.wav,,,\n,bell,,\na.wav,bell,128,\na.wav,bell,,-1\n")

    with pytest.raises(
        InputError, match="line 2: no label; line 3: no path; line 4: pitch '128'.*line 5: start"
    ):
        read_table(table)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"file,labels\na.wav,bell\n", "no column path and no label.*has file,labels"),
        (b"path,label\n", "no lines"),
        (b"", "no column path"),
        (b"path,label\n\xff\xfe,x\n", "UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "data.csv").write_bytes(text)
    with pytest.raises(InputError, match=told):
        read_table(tmp_path / "data.csv")


def test_a_table_that_is_not_there_is_answered_with_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="reverie data scan"):
        read_table(tmp_path / "data.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_table(tmp_path)
