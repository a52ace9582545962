"""Pipes, devices, folders and circles of links given as files are one line from every command, at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.session import write_preset, write_stem

from bridge.cli import main

COMMANDS = {
    "render {odd}.wav -p null-reference -o out": "a stem",
    "render a.wav -p {odd}.toml -o out": "a preset",
    "render a.wav -p null-reference -o out -m {odd}.mid": "MIDI",
    "plan a.wav -p states-{odd}.toml -o out": "a state",
    "batch {odd}.toml": "a TOML list",
    "batch {odd}.csv": "a CSV list",
    "presets check {odd}.toml": "a preset to check",
    "presets show {odd}.json": "a preset as JSON",
    "midi show {odd}.mid": "MIDI to show",
    "envelope {odd}.toml": "a preset to draw",
    "session show {odd}.dawproject": "a DAWproject",
    "session show {odd}.als": "a Live set",
    "session show {odd}.rpp": "a Reaper project",
    "verify {odd}.json": "a manifest to verify",
    "report {odd}.json": "a manifest to report",
    "compare {odd}.wav a.wav": "a file to compare",
    "networks show {odd}.safetensors": "a network",
    "networks import yamnet {odd}.h5": "weights",
    "plugins show {odd}.vst3": "a plugin",
}


@contextmanager
def patience(seconds: int) -> Iterator[None]:
    """End what waits for ever."""

    def ring(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("odd", ["pipe", "zero", "folder", "circle"])
@pytest.mark.parametrize("command", COMMANDS, ids=list(COMMANDS.values()))
def test_what_is_no_file_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    odd: str,
) -> None:
    """Neither waited for nor read without end; nothing is written."""
    monkeypatch.chdir(tmp_path)
    write_stem(tmp_path / "a.wav")
    name = next(word for word in command.split() if "{odd}" in word).format(odd=odd)
    if name.startswith("states-"):
        node = f'[[chain]]\nid = "fx"\nuse = "vst3"\nplugin = "Echo"\nstate = "{odd}.vstpreset"\n'
        write_preset(tmp_path, name=f"states-{odd}", depth=0.0, more=node)
        name = f"{odd}.vstpreset"
    path = tmp_path / name
    if odd == "pipe":
        os.mkfifo(path)
    elif odd == "zero":
        path.symlink_to("/dev/zero")
    elif odd == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with patience(60):
        assert main(command.format(odd=odd).split()) in (1, 2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("reverie")
    assert "Errno" not in error
    assert not (tmp_path / "out").exists()
