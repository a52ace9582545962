"""What is printed cannot command a terminal, is cut nowhere, and fails on no encoding."""

from __future__ import annotations

import ast
import io
import json
import math
import re
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.terminal import UNSAFE

import bridge.cli
from bridge.cli import console, main
from bridge.errors import escape


@pytest.mark.parametrize(("given", "shown"), [
    ("vox [dry] [/b] :ghost:", "vox [dry] [/b] :ghost:"),
    ("\x1b[2Jgone", r"\x1b[2Jgone"),
    ("two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
    ("\x9b31m", r"\x9b31m"),
    ("\u202egnp.wav", r"\u202egnp.wav"),
    ("\u2066\u2069\u2028\u2029", r"\u2066\u2069\u2028\u2029"),
    ("caf\udce9", r"caf\xe9"),
    ("half \ud83d", r"half \ud83d"),
    ("夢 Мечта Été 👩‍🎤", "夢 Мечта Été 👩‍🎤"),
])  # fmt: skip
def test_what_commands_a_terminal_is_spelt_out(given: str, shown: str) -> None:
    """Controls, separators, overrides of direction and halves of characters; all that is text stays."""
    assert escape(given) == shown


def test_no_character_gets_through_that_commands() -> None:
    """All of Unicode, one by one."""
    assert UNSAFE.search(escape("".join(map(chr, range(sys.maxunicode + 1))))) is None


def test_a_table_shows_every_cell_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as what is in them on the screen, brackets are no markup, a cell breaks no line."""
    console.print_table(("name", "n"), [("夢 [b]", 1), ("a\nb", 22)], title="[these]")

    assert capsys.readouterr().out == "[these]\nname    n\n夢 [b]  1\na\\nb    22\n"


def test_an_endless_name_does_not_widen_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It sticks out; the other rows stay short."""
    console.print_table(("name", "n"), [("x" * 5000, 1), ("short", 2)])

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "x" * 5000 + "  1"
    assert len(lines[2]) < 60


def test_details_have_the_terminals_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text below a row is wrapped to it, and a path in it is never broken."""
    monkeypatch.setenv("COLUMNS", "30")
    console.print_table(("name",), [("a",), ("b",)], details=["one two three four five six\nseven", "/" * 50])

    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name", "a", "  one two three four five six", "  seven", "b", "  " + "/" * 50]


def test_json_is_ascii_and_valid(capsys: pytest.CaptureFixture[str]) -> None:
    """Names come back as they were, and a number that JSON lacks is null."""
    names = ["caf\udce9", "\x1b\x7f\x9b\u202e", "夢"]
    console.print_json({"names": names, "level": -math.inf, "more": (math.nan, 1.5)})

    out = capsys.readouterr().out
    assert out.isascii()
    assert UNSAFE.search(out) is None
    assert json.loads(out, parse_constant=pytest.fail) == {"names": names, "level": None, "more": [None, 1.5]}


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_encoding_is_too_small(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a terminal cannot show is spelt out."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    console.accept_all_text()
    console.say("夢 \udce9")

    expected = "夢" if encoding == "utf-8" else r"\u5922"
    assert stream.buffer.getvalue().decode(encoding) == f"{expected} \\xe9\n"


@pytest.mark.parametrize(("seconds", "shown"), [
    (0.0, "0.0 s"), (59.9, "59.9 s"), (59.96, "1:00"), (75.4, "1:15"), (3599.6, "1:00:00"), (3725, "1:02:05"),
])  # fmt: skip
def test_durations_are_said_in_minutes(seconds: float, shown: str) -> None:
    """From a minute on."""
    assert console.minutes(seconds) == shown


@pytest.mark.parametrize("command", ["presets", "networks", "processors"])
def test_lists_fit_80_columns_and_are_sorted(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not a terminal is there."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main([command, "list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines[1:] if not line.startswith(" ")]
    assert len(names) > 2
    assert names == sorted(names, key=str.casefold)


@pytest.mark.parametrize(("arguments", "says"), [
    (("presets", "list", "--suits", "kazoo"), "suits 'kazoo'; to see all run: reverie presets list"),
    (("presets", "list", "--tag", "x", "--suits", "y"), "has the tag 'x' and suits 'y'"),
    (("plugins", "list"), "reverie plugins scan"),
    (("plugins", "list", "--blocked"), "no plugin is blocked"),
    (("plugins", "scan", "."), "no VST3 plugin (NAME.vst3) in ."),
])  # fmt: skip
def test_an_empty_list_says_so(
    arguments: tuple[str, ...],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what to do next, and without a table of no rows."""
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "plugins.json"))
    monkeypatch.chdir(tmp_path)
    assert main(list(arguments)) == 0

    captured = capsys.readouterr()
    assert says in captured.err
    assert "name" not in captured.out


def _calls(tree: ast.AST) -> set[str]:
    """Return what a module calls, as it is written."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", sorted(Path(bridge.cli.__file__).parent.glob("*.py")), ids=lambda p: p.stem)
def test_nothing_is_printed_around_the_border(path: Path) -> None:
    """No module of the command line writes to a terminal but `console`; a probe's print goes to a file."""
    if path.stem == "console":
        pytest.skip("is the border")
    printing = r"print|(typer|click)\.s?echo|sys\.std(out|err)\.write|json\.dump|.*Console|.*Progress"
    calls = _calls(ast.parse(path.read_text(encoding="utf-8")))
    found = {call for call in calls if re.fullmatch(printing, call)}

    assert found == ({"Console"} if path.stem == "probes" else set())


def test_the_border_is_found_wherever_something_prints() -> None:
    """The search sees the calls it is for."""
    source = "typer.echo('a'); print(1); Console(stderr=True).print(2); sys.stderr.write('x')"
    assert {"typer.echo", "print", "Console", "sys.stderr.write"} <= _calls(ast.parse(source))
    assert (ROOT / "bridge" / "cli" / "console.py").exists()
