"""Stems are found in files and folders, and what is none of them is told with what would be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bridge.errors import AudioFileError, InputError
from bridge.plan.find_stems import find_stems, resolve_path


def test_files_and_folders_are_found_once(tmp_path: Path) -> None:
    """In the order given, a folder's by name, hidden ones not, links and what they lead to as one."""
    for name in ("b.wav", "a.flac", ".c.wav", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "link.wav").symlink_to("b.wav")

    found = find_stems([tmp_path / "b.wav", tmp_path, tmp_path / "gone.wav"])
    assert [path.name for path in found] == ["b.wav", "a.flac", "gone.wav"]


def test_stems_one_level_down_are_named(tmp_path: Path) -> None:
    """The folders that hold some are; those that hold none, and hidden ones, are not."""
    for folder in ("Drums [dry]", "Keys", ".cache", "Docs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ("x.txt" if folder == "Docs" else "x.wav")).touch()

    with pytest.raises(AudioFileError) as caught:
        find_stems([tmp_path])
    folders = f"{tmp_path / 'Drums [dry]'}, {tmp_path / 'Keys'}"
    assert str(caught.value) == f"{tmp_path}: holds no audio files itself; give the folders in it: {folders}"


def test_of_many_folders_some_are_named(tmp_path: Path) -> None:
    """A message stays readable."""
    for number in range(9):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "x.wav").touch()

    with pytest.raises(AudioFileError, match=r"/0, .*/3 and 5 more$"):
        find_stems([tmp_path])


@pytest.mark.parametrize(("path", "says"), [
    ("loop", "link that leads back to itself"),
    ("x" * 300, "File name too long"),
    ("a\0b", "cannot hold a NUL"),
    ("caf\udce9", "not UTF-8"),
])  # fmt: skip
@pytest.mark.skipif(sys.platform == "win32", reason="other systems, other refusals")
def test_what_cannot_be_a_path_is_refused(
    path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a stem, and as any path that a plan holds."""
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match=says):
        resolve_path(Path(path))
    with pytest.raises(InputError, match=says):
        find_stems([path])
