"""A file is whole or is not there, whatever happens while it is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dream_core.files import hash_file, part_path, write_whole


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """Until then what had the name before is there, and what is written is hidden."""
    target = tmp_path / "folder" / "file.bin"
    target.parent.mkdir()
    target.write_bytes(b"before")
    with write_whole(target) as part:
        part.write_bytes(b"after")
        assert target.read_bytes() == b"before"
        assert part == part_path(target)
        assert part.name.startswith(".")

    assert target.read_bytes() == b"after"
    assert list(target.parent.iterdir()) == [target]


def test_a_file_whose_writing_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    target.write_bytes(b"before")

    def fail_half_way() -> None:
        with write_whole(target) as part:
            part.write_bytes(b"half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()

    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_processes_that_write_one_file_do_not_share_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins while the first is at it; both end whole, and the last one stays."""
    target = tmp_path / "file.bin"
    monkeypatch.setattr("os.getpid", lambda: 1)
    with write_whole(target, is_contended=True) as first:
        first.write_bytes(b"first")
        monkeypatch.setattr("os.getpid", lambda: 2)
        with write_whole(target, is_contended=True) as second:
            second.write_bytes(b"second")
        assert target.read_bytes() == b"second"

    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_hash_is_of_all_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "file.bin").write_bytes(data)

    assert hash_file(tmp_path / "file.bin") == hashlib.sha256(data).hexdigest()
