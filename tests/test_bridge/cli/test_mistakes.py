"""Wrong command lines, as a new user writes them: one line says what is wrong and what is right."""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import mido
import pytest
from helpers.paths import ROOT
from helpers.session import write_midi, write_preset, write_stem

from bridge.cli import main

LONG = "x" * 300
DEEP = "/".join(["y" * 200] * 25)
JOB = "-p ./under-test.toml -o out"
MISTAKES: dict[str, tuple[str, ...]] = {
    # settings
    f"plan stems {JOB} --set depth=2": ("Did you mean dream.depth?",),
    f"plan stems {JOB} --set mode=keep": ("Did you mean level.mode or tail.mode?",),
    f"plan stems {JOB} --set dept=2": ("'dept' is no setting", "node.param=value"),
    f"plan stems {JOB} --set dream=2": ("dream.NAME=value", "'depth'"),
    f"plan stems {JOB} --set level=2": ("level.NAME=value", "'target_lufs'"),
    f"plan stems {JOB} --set macro=2": ("this preset has no macros",),
    f"plan stems {JOB} --set macro.x=2": ("this preset has no macros",),
    f"plan stems {JOB} --set =2": ("node.param=value",),
    f"plan stems {JOB} --set dream.enabled=maybe": ("dream.enabled is true or false",),
    f"plan stems {JOB} --set chain.0.depth=2": ("no node 'chain'", "'dream'"),
    f"plan stems {JOB} --set dream.depth=1,5": ("'1,5' is not a number",),
    "plan stems -p undertow -o out --set tide.rate=often": ("--set 'tide.rate=often'", "is not a rate"),
    "plan stems -p undertow -o out --set rate=1/4": ("Did you mean tide.rate?",),
    # networks and devices
    f"plan stems {JOB} --set dream.network=yamnet": (
        "yamnet' is not installed",
        "reverie networks get yamnet",
    ),
    f"render stems {JOB} --set dream.network=yamnet --set dream.objective=class:Speech": (
        "is not installed",
    ),
    f"plan stems {JOB} --device gpu": ("did you mean 'cuda'?",),
    f"plan stems {JOB} --device GPU:1": ("did you mean 'cuda:1'?",),
    f"plan stems {JOB} --device CPU": ("did you mean 'cpu'?",),
    f"plan stems {JOB} --device cuda:01": ("is not a device; accepted: auto, cpu, cuda",),
    f"plan stems {JOB} --device ''": ("is not a device",),
    # stems and folders
    f"plan pack {JOB}": ("give the folders in it: pack/drums, pack/keys",),
    f"plan empty {JOB}": ("holds no audio files",),
    f"plan mixed {JOB}": ("2 of 3 stems cannot be used", "a.wav", "b.wav"),
    f"plan no.wav stems none.wav {JOB}": ("2 of 3 stems cannot be used", "no.wav", "none.wav"),
    f"plan '' {JOB}": ("is empty; '.' is this folder",),
    f"plan stems {JOB} --midi ''": ("is empty",),
    f"plan loop {JOB}": ("loop: is a link that leads back to itself",),
    f"plan {LONG}.wav {JOB}": ("File name too long",),
    f"plan {DEEP}/a.wav {JOB}": ("File name too long",),
    # where it goes
    "plan stems -p ./under-test.toml -o afile": ("afile: is not a folder",),
    "render stems -p ./under-test.toml -o afile": ("afile: is not a folder",),
    "render stems -p ./under-test.toml -o afile/below": ("afile: is not a folder",),
    "render stems -p ./under-test.toml -o loop": ("loop: is a link that leads back to itself",),
    f"render stems -p ./under-test.toml -o {LONG}": ("File name too long",),
    f"render stems -p ./under-test.toml -o {DEEP}": ("File name too long",),
    f"render stems {JOB} --log stems": ("stems: the event log cannot be written",),
    f"render stems {JOB} --log {LONG}": ("File name too long",),
    "report afile --out x": ("afile",),
    "session folder afile --out x": ("afile",),
    f"envelope undertow --bpm 100 --csv {LONG}": ("File name too long",),
    "envelope undertow --bpm 100 --csv stems": ("stems: exists already",),
    # presets
    "plan stems -p under-test -o out": ("did you mean the file 'under-test.toml'?",),
    "plan stems -p lucid-blom -o out": ("did you mean 'lucid-bloom'?",),
    f"plan stems -p {LONG} -o out": ("no preset is called",),
    f"presets check ./{LONG}.toml": ("File name too long",),
    # what the parser refuses, with the command it was said to
    "render": ("reverie render: Missing argument", "`reverie render --help`"),
    "render stems -o out": ("reverie render:", "--preset"),
    "plan stems -p x": ("reverie plan:", "--out"),
    "plan stems -p x --out": ("reverie plan:", "'--out'", "`reverie plan --help`"),
    f"plan stems {JOB} --overwrite": ("reverie plan:", "--overwrite"),
    f"plan stems {JOB} --bpm=fast": ("bpm = 'fast' is not a number",),
    f"plan stems {JOB} --offset soon": ("reverie plan: --offset soon",),
    f"render stems {JOB} --rate 44.1k": ("reverie render: --rate 44.1k",),
    f"render stems {JOB} -j 0": ("reverie render: -j 0",),
    f"render stems {JOB} --seed -1": ("reverie render: --seed -1",),
    f"render stems {JOB} --on-missing skip": ("reverie render: --on-missing skip", "'bypass'"),
    f"render stems {JOB} --dry-run=1": ("reverie render:", "--dry-run"),
    "presets lst": ("reverie presets:", "lst"),
    "presets check": ("reverie presets check: Missing argument",),
    "presets show a b": ("reverie presets show:", "(b)"),
    "networks get yamnet --address": ("reverie networks", "--address"),
    "networks get yamnet --classes no.csv": ("--classes no.csv: no such file",),
    "plugins scan --timeout soon": ("reverie plugins scan: --timeout soon",),
    "plugins scan --timeout 0": ("reverie plugins scan: --timeout 0",),
    "plugins check x --level 9": ("reverie plugins check: --level 9",),
    "plugins show": ("reverie plugins show: Missing argument",),
    "plugins show Nope": ("reverie plugins scan",),
    "plugins state x --out x.wav": (".vstpreset",),
    "plugins play x song.mid --out a.wav --channel 17": ("reverie plugins play: --channel 17",),
    "midi show": ("reverie midi show: Missing argument",),
    "midi shw song.mid": ("reverie midi:", "shw"),
    "midi show stems": ("stems",),
    "midi show no.mid": ("no.mid",),
    "envelope": ("reverie envelope: Missing argument",),
    "envelope undertow --bits 9": ("7 and 14 are accepted",),
    "envelope undertow --sample-rate 1": ("reverie envelope: --sample-rate 1",),
    "session show song.mid": ("'.rpp'",),
    "session write afile": ("reverie session write: Missing option",),
    "verify": ("reverie verify: Missing argument",),
    "verify no.json": ("no.json: no such manifest",),
    "verify no.json --tolerance loud": ("--tolerance",),
    "compare stems": ("reverie compare: Missing argument",),
    "compare stems none": ("none: no such file or folder",),
    f"compare {LONG} stems": ("File name too long",),
    "compare stems stems/lead.wav": ("compare two files or two folders",),
    "report": ("reverie report: Missing argument",),
    "batch": ("reverie batch: Missing argument",),
    "batch no.toml": ("no.toml: no such job list",),
    "processors show revreb": ("did you mean 'reverb'?",),
    "doctor --jsn": ("reverie doctor:", "--jsn"),
    "rendr": ("reverie: ", "rendr", "`reverie --help`"),
    "--versoin": ("reverie: ", "--versoin"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stems, a preset and a song, and with what is none of these."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "plugins.json"))
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    sound = write_stem(tmp_path / "stems" / "lead.wav").read_bytes()
    for name in ("pack/drums/kick.wav", "pack/keys/organ.wav", "mixed/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(sound)
    for name in ("mixed/a.wav", "mixed/b.wav", "afile"):
        (tmp_path / name).write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    write_preset(tmp_path)
    write_midi(tmp_path / "song.mid", [(0, mido.MetaMessage("set_tempo", tempo=500000))])
    return tmp_path


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_line(line: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, what was written, what is accepted or meant, and nothing on standard output."""
    before = sorted(place.rglob("*"))

    assert main(shlex.split(line)) == 2

    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("reverie")
    for words in MISTAKES[line]:
        assert words in captured.err
    assert captured.out == ""
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("group", ["presets", "processors", "networks", "plugins", "midi", "session"])
def test_a_group_without_a_command_shows_its_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And only that."""
    assert main([group]) == 2
    captured = capsys.readouterr()
    assert f"reverie {group}" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(("number", "code"), [
    (errno.EACCES, 2), (errno.ENOENT, 2), (errno.ENAMETOOLONG, 2), (errno.EROFS, 2), (errno.ELOOP, 2),
    (errno.ENOTDIR, 2), (errno.EISDIR, 2), (errno.ENOSPC, 1), (errno.EIO, 1), (errno.EMFILE, 1),
])  # fmt: skip
def test_what_the_system_refuses_is_the_users_or_not(
    number: int,
    code: int,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A path or a permission can be given otherwise: 2. Against a full disk no other path helps: 1."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "there")

    monkeypatch.setattr("bridge.midi.file.read_midi", refuse)
    assert main(["midi", "show", "song.mid"]) == code
    assert capsys.readouterr().err == f"reverie: there: {os.strerror(number)}\n"


IN_SMALL_LETTERS = {
    "plan 夢.wav -p null-reference -o out": (0, r"\u5922__null-reference.wav"),
    "plan 夢.wav -p null-reference -o out --json": (0, r"\u5922__null-reference.wav"),
    "plan nix夢.wav -p null-reference -o out": (2, r"nix\u5922.wav"),
    "presets show 夢": (2, r"\u5922"),
    "envelope undertow --length '1 s'": (0, r"\u2581"),
    "render --help": (0, "Usage"),
}
ONE_AFTER_THE_OTHER = """
import shlex, sys
from bridge.cli import main
for line in sys.argv[1:]:
    print("ends with", main(shlex.split(line)), flush=True)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_small_encoding_ends_no_command(encoding: str, place: Path) -> None:
    """Where the terminal knows no such characters they are spelt out."""
    (place / "stems" / "lead.wav").rename(place / "夢.wav")
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, *IN_SMALL_LETTERS],
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    text = done.stdout.decode(encoding)
    said = re.split(r"ends with (\d)\n", text)

    assert done.returncode == 0, text
    assert "Traceback" not in text
    for (code, says), there, told in zip(
        IN_SMALL_LETTERS.values(), map(int, said[1::2]), said[::2], strict=False
    ):
        assert there == code, told
        assert says in told
    assert len(said) == 2 * len(IN_SMALL_LETTERS) + 1


def test_a_render_says_how_long_it_took(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a plan how much there is to do: in minutes, so that one can be told from the other."""
    assert main(shlex.split(f"plan stems {JOB}")) == 0
    assert "in all   1.2 s of sound, 1 step-seconds (0.0 step-minutes)" in capsys.readouterr().out
    assert main(shlex.split(f"render stems {JOB}")) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("rendered 1 stem, 1.2 s of sound, in ")
    assert said.endswith(" step-seconds a second")
    assert main(shlex.split(f"render stems {JOB}")) == 0
    assert "rendered" not in capsys.readouterr().err
