"""Whatever is put into a folder is rendered once it is whole, and once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.session import write_stem

from bridge.audio.reader import read_audio
from bridge.errors import InputError, OutputError, PresetError
from bridge.plan.job import Job
from bridge.render import settled_files
from bridge.render.manifest import read_manifest, write_manifest
from bridge.render.settled_files import SettledFiles, is_written_to, wakes
from bridge.render.watch_folder import WatchEvent, watch_folders

GAIN = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-000000000001"
meta = { name = "gain", category = "Utility" }
chain = [{ id = "gain", use = "gain", params = { gain_db = -6.0 } }]
level = { mode = "keep", allow_loss = true }
"""
HALF = 10.0 ** (-6.0 / 20.0)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setattr(settled_files, "_LOOK_S", 0.05)
    (tmp_path / "gain.toml").write_text(GAIN)
    (tmp_path / "in").mkdir()
    return Job(stems=(tmp_path / "in",), preset=(str(tmp_path / "gain.toml"),), out=tmp_path / "out")


def once(job: Job, settle_s: float = 0.0) -> list[tuple[str, str]]:
    """Let it do all that is there, and return what became of each file."""
    events = watch_folders(job, settle_s=settle_s, is_once=True)
    return [(event.path.name, event.status) for event in events if event.status != "waits"]


def check_halved(source: Path, rendered: Path) -> None:
    """A gain of -6 dB to the last of 24 bits, which is dithered: two steps."""
    np.testing.assert_allclose(read_audio(rendered)[0], HALF * read_audio(source)[0], atol=2.0**-21)


needs_proc = pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="the system does not tell")


@needs_proc
def test_a_file_written_slowly_is_waited_for(job: Job, tmp_path: Path) -> None:
    """Its pauses are longer than the wait, but it is open: it is rendered once, when all is there."""
    whole = write_stem(tmp_path / "source.wav", seconds=0.4)
    data = whole.read_bytes()
    is_writing = threading.Event()

    def write() -> None:
        with (tmp_path / "in" / "vox.wav").open("wb", buffering=0) as file:
            for part in (data[:20], data[20:5000], data[5000:]):
                file.write(part)
                is_writing.set()
                time.sleep(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    is_writing.wait()
    found = once(job, settle_s=0.1)
    writer.join()

    assert found == [("vox.wav", "done")]
    check_halved(whole, tmp_path / "out" / "vox__gain.wav")


@needs_proc
def test_who_only_reads_is_no_writer(tmp_path: Path) -> None:
    """A player that has the file open does not hold it up; a program that can write to it does."""
    path = write_stem(tmp_path / "a.wav", seconds=0.1)
    with path.open("rb"):
        assert not is_written_to(path)
    with path.open("r+b"):
        assert is_written_to(path)
    assert not is_written_to(path)


def test_a_file_is_whole_when_it_has_stood_still(tmp_path: Path) -> None:
    """Each change begins the wait anew; each state is told once."""
    files = SettledFiles([tmp_path], settle_s=2.0)
    path = write_stem(tmp_path / "a.wav", seconds=0.1)
    (tmp_path / ".hidden.wav").touch()
    (tmp_path / "notes.txt").touch()
    assert (files.look(0.0), files.waiting) == ([], (path,))
    assert files.look(1.9) == []
    os.truncate(path, 100)
    assert files.look(2.5) == []
    assert files.look(4.4) == []
    assert (files.look(4.5), files.waiting) == ([path], ())
    assert files.look(9.0) == []
    write_stem(path, seconds=0.2)
    assert files.look(10.0) == []
    assert files.look(12.0) == [path]


def test_a_restart_renders_what_is_missing_or_has_changed(job: Job, tmp_path: Path) -> None:
    """What is finished and unchanged is kept, to the time stamp of its file."""
    for name in ("a", "b", "c"):
        write_stem(tmp_path / "in" / f"{name}.wav", seconds=0.1)
    assert once(job) == [(f"{name}.wav", "done") for name in "abc"]
    stamp = (tmp_path / "out" / "a__gain.wav").stat().st_mtime_ns
    (tmp_path / "out" / "b__gain.wav").unlink()
    write_stem(tmp_path / "in" / "c.wav", seconds=0.1, seed=1)

    assert once(job) == [("a.wav", "kept"), ("b.wav", "done"), ("c.wav", "done")]
    assert (tmp_path / "out" / "a__gain.wav").stat().st_mtime_ns == stamp
    check_halved(tmp_path / "in" / "c.wav", tmp_path / "out" / "c__gain.wav")
    assert not list((tmp_path / "out").glob(".*"))


def test_a_render_killed_while_it_replaces_an_earlier_one_is_taken_up(job: Job, tmp_path: Path) -> None:
    """Its manifest is new and empty by then: what was put aside proves that the old file may go."""
    source, rendered = write_stem(tmp_path / "in" / "a.wav", seconds=0.1), tmp_path / "out" / "a__gain.wav"
    once(job)
    manifest = tmp_path / "out" / "a__gain.manifest.json"
    earlier = read_manifest(manifest)
    write_stem(source, seconds=0.1, seed=1)
    write_manifest(earlier, tmp_path / "out" / ".a__gain.manifest.json.earlier")
    write_manifest(earlier.model_copy(update={"stems": {}}), manifest)

    assert once(job) == [("a.wav", "done")]
    check_halved(source, rendered)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [manifest.name, rendered.name]


def test_a_file_of_the_users_is_never_replaced(job: Job, tmp_path: Path) -> None:
    """Neither one that was there first nor a render that was worked on since."""
    write_stem(tmp_path / "in" / "a.wav", seconds=0.1)
    mine = write_stem(tmp_path / "out" / "a__gain.wav", seed=5, seconds=0.1)
    before = mine.read_bytes()
    assert once(job) == [("a.wav", "failed")]
    assert mine.read_bytes() == before
    mine.unlink()
    assert once(job) == [("a.wav", "done")]
    write_stem(tmp_path / "in" / "a.wav", seconds=0.1, seed=1)
    mine.write_bytes(before)
    assert once(job) == [("a.wav", "failed")]
    assert mine.read_bytes() == before


def until(events: Iterator[WatchEvent], status: str) -> WatchEvent:
    """Return the next event of a kind, within ten seconds' worth of them."""
    return next(event for event in events if event.status == status)


def test_a_bad_file_is_named_and_tried_again_when_it_changes(job: Job, tmp_path: Path) -> None:
    """Others are rendered meanwhile; once it can be read it is rendered, too."""
    bad = tmp_path / "in" / "bad.wav"
    bad.write_bytes(b"RIFF\0\0\0\0WAVE")
    write_stem(tmp_path / "in" / "good.wav", seconds=0.1)
    events = watch_folders(job, settle_s=0.0)
    failed, done = until(events, "failed"), until(events, "done")
    assert (failed.path.name, done.path.name) == ("bad.wav", "good.wav")
    assert "bad.wav" in failed.error
    write_stem(bad, seconds=0.1)
    assert until(events, "done").path.name == "bad.wav"
    events.close()


def test_without_watchfiles_it_looks_by_itself(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that comes later is found likewise."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    turns = wakes([tmp_path / "in"], SettledFiles([tmp_path / "in"], 0.0))
    next(turns)
    next(turns)
    events = watch_folders(job, settle_s=0.05)
    write_stem(tmp_path / "in" / "a.wav", seconds=0.1)
    assert until(events, "done").path.name == "a.wav"


def test_two_files_with_one_output_are_told_apart(job: Job, tmp_path: Path) -> None:
    """The second is refused by name, whichever order they are looked at in later."""
    write_stem(tmp_path / "in" / "a.wav", seconds=0.1)
    once(job)
    write_stem(tmp_path / "in" / "a.flac", seconds=0.1)
    assert once(job) == [("a.flac", "failed"), ("a.wav", "kept")]


def test_what_would_fail_every_file_is_refused_at_once(job: Job, tmp_path: Path) -> None:
    """A folder that is none, renders into the same folder, an unknown preset or setting."""
    changes: list[tuple[dict[str, object], type[Exception]]] = [
        ({"stems": (tmp_path / "nowhere",)}, InputError),
        ({"out_dir": tmp_path / "in"}, OutputError),
        ({"preset": ("no-such",)}, PresetError),
        ({"settings": ("gain.nix=3",)}, InputError),
    ]
    for change, error in changes:
        with pytest.raises(error):
            next(watch_folders(job.model_copy(update=change)))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_the_command_with_130(tmp_path: Path) -> None:
    """The file that was there is finished and told; one line says that it was stopped; no more is left."""
    (tmp_path / "gain.toml").write_text(GAIN)
    write_stem(tmp_path / "in" / "a.wav", seconds=0.1)
    line = ["watch", "in", "--preset", "gain.toml", "--out", "out", "--settle", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "bridge.cli", *line],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        told = running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)

    assert told.startswith("a.wav -> ")
    assert running.returncode == 130
    assert said.splitlines()[-1].startswith("reverie: stopped")
    assert "Traceback" not in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a__gain.manifest.json",
        "a__gain.wav",
    ]
