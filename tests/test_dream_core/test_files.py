"""A file is whole or is not there, whatever happens while it is written."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

from dream_core.files import (
    give_name,
    hash_file,
    list_leftovers,
    open_regular,
    private_folder,
    read_regular,
    remove_leftovers,
    write_whole,
)


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """Until then what had the name before is there, and what is written is hidden."""
    target = tmp_path / "folder" / "file.bin"
    target.parent.mkdir()
    target.write_bytes(b"before")
    with write_whole(target) as part:
        part.write_bytes(b"after")
        assert target.read_bytes() == b"before"
        assert part.parent.name.startswith(".reverie-")
        assert part.parent.parent == target.parent

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


def test_processes_that_write_one_file_do_not_share_a_part(tmp_path: Path) -> None:
    """The second begins while the first is at it; both end whole, and the last one stays."""
    target = tmp_path / "file.bin"
    with write_whole(target) as first:
        first.write_bytes(b"first")
        with write_whole(target) as second:
            second.write_bytes(b"second")
        assert target.read_bytes() == b"second"

    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
def test_what_appears_while_a_file_is_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Also a link that leads nowhere counts as there, and also where a file cannot have two names."""
    if not has_links:

        def refuse(*_: object) -> None:
            raise PermissionError(errno.EPERM, "no links here")

        monkeypatch.setattr("os.link", refuse)
    for name, make in {
        "file": lambda path: path.write_bytes(b"theirs"),
        "link": lambda path: path.symlink_to("nowhere"),
    }.items():
        target, part = tmp_path / name, tmp_path / "part"
        part.write_bytes(b"ours")
        make(target)
        with pytest.raises(FileExistsError):
            give_name(part, target, overwrite=False)
    assert (tmp_path / "file").read_bytes() == b"theirs"
    assert (tmp_path / "link").readlink() == Path("nowhere")
    assert not (tmp_path / "nowhere").exists()

    give_name(part, tmp_path / "free", overwrite=False)
    assert (tmp_path / "free").read_bytes() == b"ours"
    assert not part.exists()


def test_a_link_under_the_name_of_an_output_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    target = tmp_path / "out.bin"
    target.symlink_to(victim)
    with write_whole(target) as part:
        part.write_bytes(b"new")

    assert victim.read_bytes() == b"precious"
    assert not target.is_symlink()


def test_the_folder_of_a_killed_process_is_found_and_one_in_use_is_not(tmp_path: Path) -> None:
    """Foreign folders with such a name that are links are left alone as well."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".reverie-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".reverie-notes").mkdir()  # the user's own
    code = (
        "import os, pathlib, signal, sys; from dream_core.files import private_folder\n"
        "with private_folder(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=ROOT)
    with private_folder(tmp_path) as used:
        found = list_leftovers(tmp_path)
        assert len(found) == 1
        assert found[0] != used
        assert remove_leftovers(tmp_path) == found
        assert used.is_dir()

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".reverie-link",
        ".reverie-notes",
        "elsewhere",
    ]


def test_only_files_are_read(tmp_path: Path) -> None:
    """A pipe nobody writes to would be waited for, a device never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="is a pipe, a socket or a device"):
            open_regular(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        open_regular(tmp_path)
    with pytest.raises(OSError, match="cannot hold a NUL"):
        open_regular(Path("a\0b"))


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1001))
    with pytest.raises(OSError, match=r"larger than the 0\.001 MB read here"):
        read_regular(tmp_path / "file", 1000)
    assert len(read_regular(tmp_path / "file", 1001)) == 1001


def test_a_hash_is_of_all_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "file.bin").write_bytes(data)

    assert hash_file(tmp_path / "file.bin") == hashlib.sha256(data).hexdigest()
