"""Names that others gave to files, tracks, presets, plugins and networks command no terminal and no page."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.midi import marker, meta, smf, tempo, track
from helpers.paths import SHARED
from helpers.session import write_preset, write_stem
from helpers.terminal import UNSAFE

from bridge.cli import doctor, main
from bridge.cli.probes import Finding
from bridge.hosts.plugin_cache import PluginCache, PluginEntry, ScannedBundle
from dream_core.networks import registry

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses such file names itself")

NAME = "vox [dry] [red]\x1b[2J\x9b31m\x07\n\u202egnp\u2066 :ghost: {0} %s <b>"
"""Brackets of markup, an escape sequence, an end of line, an override of direction: what a file may bear."""
NAMES = f"[/b]{NAME}[/]"
"""The same for what is no file: a closing tag of nothing ends rich's markup in an error."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which everything has such a name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "plugins.json"))
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    stems = tmp_path / NAME
    stems.mkdir()
    write_stem(tmp_path / "plain.wav").rename(stems / f"{NAME}.wav")
    told = 'name = "under-test"'
    preset = write_preset(tmp_path).read_text().replace(told, f"name = {json.dumps(NAMES)}")
    preset = preset.replace("[[chain]]", f'description = {json.dumps(NAMES)}\ntags = ["{{0}}"]\n\n[[chain]]')
    preset += (
        '[[modulators]]\nid = "lift"\ntype = "lfo"\nrate = "1 bars"\n'
        '[[routes]]\nsource = "lift"\ntarget = "dream.depth"\namount = 0.01\n'
    )
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / f"{NAME}.toml").write_text(preset)
    named = meta(0x03, NAMES.encode())
    (tmp_path / f"{NAME}.mid").write_bytes(
        smf(track([(0, named), (0, tempo(500_000)), (480, marker(NAMES))]), track([(0, named)]))
    )
    rpp = NAMES.replace("\n", " ")
    (tmp_path / f"{NAME}.rpp").write_text(
        f'<REAPER_PROJECT 0.1 "7.0" 0\n  TEMPO 120 4 4\n  MARKER 1 1 "{rpp}" 0\n'
        f'  <TRACK\n    NAME "{rpp}"\n  >\n>\n'
    )
    plugin = PluginEntry(
        name=NAMES,
        uid="0" * 32,
        vendor=NAMES,
        version=NAMES,
        category=NAMES,
        is_instrument=False,
        n_parameters=1,
        backend="pedalboard",
    )
    bundles = (
        ScannedBundle(path=f"/{NAME}.vst3", plugins=(plugin,)),
        ScannedBundle(path=f"/{NAME}2.vst3", blocked=NAMES),
    )
    PluginCache(tmp_path / "plugins.json", {one.path: one for one in bundles}).write()
    findings = [Finding(what=NAMES, state=NAMES, is_good=False, remedy=NAMES)]
    monkeypatch.setattr(doctor, "_findings", lambda: iter(findings))
    return tmp_path


@pytest.fixture
def hostile_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that calls itself so, and is asked for whatever is asked for."""
    card = replace(registry.get_card("timbre"), name=NAMES, title=NAMES, description=NAMES)
    monkeypatch.setattr(registry, "list_networks", lambda: (card,))
    monkeypatch.setattr(registry, "list_damaged", lambda: (NAMES,))
    monkeypatch.setattr(registry, "is_ready", lambda name: False)
    monkeypatch.setattr(registry, "get_card", lambda name: card)


MANIFEST = "its manifest"
JOB = [NAME, "--preset", f"presets/{NAME}.toml", "--midi", f"{NAME}.mid", "--out", "out"]
LINES: dict[str, list[str]] = {
    "plan": ["plan", *JOB],
    "plan as JSON": ["plan", *JOB, "--json"],
    "render": ["render", *JOB, "--report"],
    "render again as JSON": ["render", *JOB, "--json"],
    "verify": ["verify", MANIFEST],
    "verify as JSON": ["verify", MANIFEST, "--json"],
    "report": ["report", MANIFEST, "--out", f"{NAME}.html"],
    "session folder": ["session", "folder", MANIFEST, "--out", f"folder {NAME}"],
    "session write": ["session", "write", MANIFEST, "--into", f"{NAME}.rpp", "--out", f"copy {NAME}.rpp"],
    "session show": ["session", "show", f"{NAME}.rpp"],
    "session show as JSON": ["session", "show", f"{NAME}.rpp", "--json"],
    "compare": ["compare", NAME, NAME],
    "compare as JSON": ["compare", NAME, NAME, "--json"],
    "batch": ["batch", f"{NAME}.csv"],
    "presets list": ["presets", "list"],
    "presets list as JSON": ["presets", "list", "--json"],
    "presets show": ["presets", "show", f"presets/{NAME}.toml"],
    "presets show as JSON": ["presets", "show", f"presets/{NAME}.toml", "--json"],
    "presets check": ["presets", "check", f"presets/{NAME}.toml", NAMES],
    "processors show": ["processors", "show", NAMES],
    "networks list": ["networks", "list"],
    "networks list as JSON": ["networks", "list", "--json"],
    "networks show": ["networks", "show", NAMES],
    "networks import": ["networks", "import", NAMES, NAME],
    "networks get": ["networks", "get", NAMES],
    "plugins list": ["plugins", "list"],
    "plugins list as JSON": ["plugins", "list", "--json"],
    "plugins list --blocked": ["plugins", "list", "--blocked"],
    "plugins scan": ["plugins", "scan", NAME],
    "plugins show": ["plugins", "show", NAMES],
    "plugins check": ["plugins", "check", NAMES],
    "plugins state": ["plugins", "state", NAMES, "--out", f"{NAME}.vstpreset"],
    "plugins play": ["plugins", "play", NAMES, f"{NAME}.mid", "--out", f"{NAME}.wav"],
    "midi show": ["midi", "show", f"{NAME}.mid"],
    "midi show as JSON": ["midi", "show", f"{NAME}.mid", "--json"],
    "envelope": ["envelope", f"presets/{NAME}.toml", "--midi", f"{NAME}.mid"],
    "envelope as CSV": ["envelope", f"presets/{NAME}.toml", "--length", "1 s", "--csv", "-"],
    "doctor": ["doctor"],
    "doctor as JSON": ["doctor", "--json"],
    "a setting": ["plan", *JOB, "--set", NAMES],
    "a node": ["plan", *JOB, "--set", f"{NAMES}.depth=2"],
    "a value": ["plan", *JOB, "--set", f"dream.objective={NAMES}"],
    "a device": ["plan", *JOB, "--device", NAMES],
    "a number": ["plan", *JOB, "--bpm", NAMES],
    "a template": ["plan", *JOB, "--name", NAMES],
    "a variation": ["plan", *JOB, "--variation", NAMES],
    "a file that is not there": ["plan", f"{NAME}/no.wav", *JOB[1:]],
    "an option": ["plan", f"--{NAMES}"],
    "a subcommand": ["presets", NAMES],
    "a command": [NAMES],
}


@pytest.mark.parametrize("line", LINES)
def test_names_command_no_terminal(
    line: str, place: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """Every command shows them spelt out, and its JSON is JSON."""
    if line.startswith("networks"):
        request.getfixturevalue("hostile_network")
    arguments = LINES[line]
    if "again" in line or MANIFEST in arguments:
        assert main(["render", *JOB]) == 0
        found = next(place.glob("out/*.manifest.json"))
        arguments = [str(found) if word == MANIFEST else word for word in arguments]
    (place / f"{NAME}.csv").write_text(f"stems,preset,out\n{NAMES},nope,out\n")
    capsys.readouterr()

    code = main(arguments)

    captured = capsys.readouterr()
    assert code in (0, 1, 2)
    assert UNSAFE.search(captured.out + captured.err) is None
    assert "Traceback" not in captured.err
    if "--json" in arguments:
        assert captured.out.isascii()
        json.loads(captured.out)
    elif "envelope" not in line:
        assert r"[2J" in captured.out + captured.err


def test_names_break_no_page(place: Path) -> None:
    """The report holds no control character but line ends, no override of direction, and no tag of a name."""
    assert main(["render", *JOB, "--report"]) == 0
    page = next(place.glob("out/*.report.html")).read_text(encoding="utf-8")

    assert UNSAFE.search(page) is None
    assert r"vox [dry] [red]\x1b[2J\x9b31m\x07 \u202egnp\u2066 :ghost: {0} %s &lt;b&gt;" in page
    assert "<b>" not in page


def test_a_session_with_markup_in_its_names_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in a track's name neither vanish nor end the program."""
    path = SHARED / "cases" / "damaged" / "markup-t.dawproject"
    if not path.exists():
        pytest.skip("the shared cases are not here")
    assert main(["session", "show", str(path)]) == 0

    captured = capsys.readouterr()
    assert "Chörus" in captured.out
    assert UNSAFE.search(captured.out + captured.err) is None


def test_bars_show_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress on a terminal takes no markup and no escape sequence out of a stem's name."""
    from bridge.cli.console import open_bars

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "400")
    with open_bars() as bars:
        bars.add_task(NAMES, total=1.0)

    err = capsys.readouterr().err
    assert r"[/b]vox [dry] [red]\x1b[2J\x9b31m\x07\n\u202egnp\u2066 :ghost: {0} %s <b>[/]" in err


NOT_UTF8 = "caf\udce9"


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the system refuses such names itself")
@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["plan", "{bad}", "-p", "null-reference", "-o", "out"], 2, "the name is not UTF-8"),
    (["plan", "{bad}/{bad}.wav", "-p", "null-reference", "-o", "out"], 2, "the name is not UTF-8"),
    (["plan", "a.wav", "-p", "null-reference", "-o", "{bad}"], 2, "the name is not UTF-8"),
    (["render", "a.wav", "-p", "null-reference", "-o", "out", "-m", "{bad}.mid"], 2, "the name is not UTF-8"),
    (["plan", "a.wav", "-p", "null-reference", "-o", "out", "--name", "{{stem}}{bad}"], 0, "acaf_.wav"),
    (["render", "a.wav", "-p", "{bad}.toml", "-o", "out", "--report", "--log", "{bad}.log"], 0, "a__x.wav"),
    (["presets", "check", "{bad}.toml"], 0, r"caf\xe9.toml: valid"),
    (["presets", "show", "{bad}"], 2, "no preset is called"),
    (["midi", "show", "{bad}.mid"], 0, r"caf\xe9.mid"),
    (["midi", "show", "{bad}.mid", "--json"], 0, r"caf\udce9.mid"),
    (["compare", "{bad}", "{bad}"], 0, r"caf\xe9"),
    (["envelope", "{bad}.toml", "--csv", "{bad}.csv", "--length", "1 s"], 0, ""),
    (["session", "show", "{bad}.rpp"], 2, r"caf\xe9.rpp"),
    (["verify", "{bad}.json"], 2, r"caf\xe9.json"),
    (["report", "{bad}.json"], 2, r"caf\xe9.json"),
    (["batch", "{bad}.csv"], 2, r"caf\xe9.csv"),
    (["networks", "show", "{bad}.safetensors"], 2, r"caf\xe9.safetensors"),
    (["plugins", "show", "{bad}.vst3"], 2, r"caf\xe9.vst3"),
    (["plugins", "scan", "{bad}"], 0, r"caf\xe9"),
])  # fmt: skip
def test_a_name_that_is_not_utf8_works_or_is_refused(
    arguments: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line; a plan and a manifest could not hold it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "plugins.json"))
    sound = write_stem(tmp_path / "a.wav").read_bytes()
    (tmp_path / NOT_UTF8).mkdir()
    (tmp_path / NOT_UTF8 / f"{NOT_UTF8}.wav").write_bytes(sound)
    (tmp_path / f"{NOT_UTF8}.mid").write_bytes(smf(track([(0, tempo(500_000))])))
    write_preset(tmp_path, name="x").rename(tmp_path / f"{NOT_UTF8}.toml")

    assert main([word.format(bad=NOT_UTF8) for word in arguments]) == code

    captured = capsys.readouterr()
    assert says in captured.out + captured.err
    assert code != 2 or captured.err.count("\n") == 1
