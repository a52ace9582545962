"""An installation that is not whole says what is wrong, and what mends it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import mido
import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.session import GAIN, write_midi, write_preset, write_stem
from helpers.vst3 import INSTRUMENT, misbehaving_copy, needs_plugins

from bridge import build_plan, render_plan
from bridge.cli import COMMANDS
from bridge.cli.probes import OPTIONAL, REQUIRED, probe
from bridge.hosts import bundle
from bridge.hosts.plugin_scan import scan
from bridge.installation import join_command, repair_command
from dream_core.errors import WeightsError

TOO_OLD = """
try:
    raise OSError("libc10_cuda.so: cannot open shared object file")
except OSError as error:
    raise OSError("Could not load this library: /somewhere/libtorchaudio.so") from error
"""
LACKING = "raise ImportError('libatomic.so.1: cannot open shared object file: No such file or directory')"
PAIR = [f"{name}=={metadata.version(name).partition('+')[0]}" for name in ("torch", "torchaudio")]


def reverie(
    *arguments: str | Path, broken: Path, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Call the command line where a folder's modules stand before the installed ones."""
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": f"{broken}{os.pathsep}{ROOT}"} | (environment or {}),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def broken_package(folder: Path, name: str, code: str = TOO_OLD) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    return folder


def report(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return doctor's lines by what they are of, each with its remedy."""
    lines: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if line.startswith(" "):
            last, text = lines.popitem()
            lines[last] = f"{text}\n{line.strip()}"
        else:
            lines[line[4:20].strip()] = line
    return lines


def test_doctor_uses_what_it_reports(tmp_path: Path) -> None:
    """A torchaudio made for another Torch does not load: doctor says so, and the command that mends both.

    Where pip cannot help, since the system lacks a library, the Debian package is told.
    """
    broken = broken_package(tmp_path / "broken", "torchaudio")
    broken_package(broken, "pedalboard", LACKING)
    done = reverie("doctor", broken=broken, folder=tmp_path)
    lines = report(done)

    assert done.returncode == 1
    assert lines["torchaudio"].startswith("!!")
    assert f"does not work beside torch {metadata.version('torch')}: Could not load" in lines["torchaudio"]
    assert "(libc10_cuda.so: cannot open" in lines["torchaudio"]
    assert lines["torchaudio"].endswith(f"-m pip install --force-reinstall {' '.join(PAIR)}")
    assert lines["pedalboard"].endswith("\napt-get install libatomic1")
    assert all(lines[name].startswith("ok") for name in set(REQUIRED) - {"torchaudio", "pedalboard"})
    assert done.stderr == ""


def test_a_library_that_the_system_lacks_is_named(tmp_path: Path) -> None:
    """From any command as from doctor."""
    broken = broken_package(tmp_path / "broken", "pedalboard", LACKING)
    write_stem(tmp_path / "stems" / "lead.wav")
    (tmp_path / "gain.toml").write_text(GAIN)

    done = reverie("render", "stems", "--preset", "gain.toml", "--out", "out", broken=broken, folder=tmp_path)
    assert done.returncode == 1
    assert "pedalboard cannot be loaded: libatomic.so.1" in done.stderr
    assert "`apt-get install libatomic1`" in done.stderr


def test_doctor_outlives_any_broken_package(tmp_path: Path) -> None:
    """Whatever does not load, however it ends, every other line is there and the rest is still good."""
    broken_package(tmp_path / "broken", "numpy", "raise ImportError('undefined symbol: zz')")
    talks = "import sys; print('loading', end=' ', flush=True); sys.exit('undefined symbol: zz')"
    broken_package(tmp_path / "broken", "jinja2", talks)
    broken_package(tmp_path / "broken", "h5py", "import os; os.abort()")
    done = reverie("doctor", broken=tmp_path / "broken", folder=tmp_path)
    lines = report(done)

    assert done.returncode == 1
    assert lines.keys() >= {"python", "reverie-audio", *REQUIRED, *OPTIONAL, "networks", "presets", "plugins"}
    for name in ("numpy", "jinja2"):
        assert lines[name].startswith("!!")
        assert "undefined symbol: zz" in lines[name]
        assert f"install --force-reinstall --no-deps {name}=={metadata.version(name)}" in lines[name]
    assert lines["h5py"].startswith("--")
    assert "SIGABRT" in lines["h5py"]
    assert lines["rich"].startswith("ok")
    assert "Traceback" not in done.stdout + done.stderr
    # Only what is ill itself has a remedy; the others wait for it.
    assert lines["scipy"].endswith("cannot be tried until numpy works")
    assert "install" not in lines["torchaudio"]


@pytest.mark.parametrize("name", ["pydantic", "typer"])
def test_without_what_the_command_line_is_made_of_one_line_tells(name: str, tmp_path: Path) -> None:
    """Where not even doctor can start, what broke is named, not who wanted it, with the command."""
    broken = broken_package(tmp_path / "broken", name, "raise ImportError('undefined symbol: zz')")
    done = reverie("doctor", broken=broken, folder=tmp_path)
    said = done.stderr or done.stdout

    assert done.returncode == 1
    assert "undefined symbol: zz" in said
    assert f"install --force-reinstall --no-deps {name}=={metadata.version(name)}" in said
    assert "Traceback" not in said
    assert done.stderr.count("\n") <= 1
    assert done.stderr.startswith(f"reverie: {name} cannot be loaded: ") or f"!!  {name} " in done.stdout


def test_what_a_package_is_made_of_is_blamed_itself(tmp_path: Path) -> None:
    """Pydantic's compiled half does not load: the command mends that half, at the version that fits."""
    broken = broken_package(tmp_path / "broken", "pydantic_core", "raise ImportError('no GLIBC_2.99')")
    done = reverie("presets", "list", broken=broken, folder=tmp_path)

    assert done.returncode == 1
    assert "pydantic_core cannot be loaded: no GLIBC_2.99" in done.stderr
    assert f"--no-deps pydantic-core=={metadata.version('pydantic-core')}" in done.stderr


def test_a_package_that_breaks_in_a_render_is_named_too(tmp_path: Path) -> None:
    """A stem that fails for it says so, and is no unforeseen error."""
    broken = broken_package(tmp_path / "broken", "scipy", "raise ImportError('undefined symbol: zz')")
    write_stem(tmp_path / "stems" / "lead.wav")
    (tmp_path / "gain.toml").write_text(GAIN)
    done = reverie("render", "stems", "--preset", "gain.toml", "--out", "out", broken=broken, folder=tmp_path)

    assert done.returncode == 1
    assert "scipy cannot be loaded: undefined symbol: zz" in done.stderr
    assert "unforeseen" not in done.stderr


DAMAGE = {
    "empty": ("", "cannot import name '"),
    "half there": ("class Tensor: ...\nclass nn: ...\n", "torch"),
    "no Python": ("def (:\n", "invalid syntax"),
    "an import of its own": ("import torch_that_is_gone\n", "No module named 'torch_that_is_gone'"),
    "a value": ("raise ValueError('not this machine')", "not this machine"),
}


COMMAND_LINES: dict[str, list[str]] = {
    "render": ["stems", "--preset", "under-test.toml", "--out", "out"],
    "imagine": ["--preset", "under-test.toml", "--seconds", "1", "--out", "out/nothing.wav"],
    "batch": ["jobs.toml"],
    "edit": ["stems/lead.wav", "--preset", "under-test.toml"],
    "watch": ["stems", "--preset", "under-test.toml", "--out", "out", "--once", "--settle", "0"],
    "plan": ["stems", "--preset", "under-test.toml", "--out", "out"],
    "presets": ["check", "under-test.toml"],
    "processors": ["show", "dream"],
    "networks": ["list"],
    "data": ["scan", ".", "--as", "folders", "--out", "data.csv"],
    "plugins": ["list"],
    "midi": ["show", "song.mid"],
    "envelope": ["under-test.toml", "--midi", "song.mid", "--length", "4 s"],
    "session": ["show", "song.rpp"],
    "verify": ["out/under-test.manifest.json"],
    "compare": ["stems", "stems"],
    "report": ["out/under-test.manifest.json"],
    "doctor": [],
}
DREAMING = {"render", "imagine", "batch", "edit", "watch", "plan", "presets", "networks", "verify"}

IN_TURN = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from bridge.cli import main

said = []
for line in json.loads(sys.argv[1]):
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(line)
    said.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""
"""Calls command lines one after another in one process, where what loads is loaded once."""


def calls_in_turn(
    lines: list[list[str]], broken: Path, folder: Path
) -> list[subprocess.CompletedProcess[str]]:
    """Call several command lines where a folder's modules stand before the installed ones."""
    done = subprocess.run(
        [sys.executable, "-c", IN_TURN, json.dumps(lines)],
        env=os.environ | {"PYTHONPATH": f"{broken}{os.pathsep}{ROOT}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [
        subprocess.CompletedProcess(line, code, out, err)
        for line, (code, out, err) in zip(lines, json.loads(done.stdout), strict=True)
    ]


@pytest.mark.parametrize("how", DAMAGE)
def test_torch_in_any_state_is_one_line(how: str, tmp_path: Path) -> None:
    """Also where it loads and lacks what is asked of it, as after an installation that was stopped."""
    code, says = DAMAGE[how]
    write_stem(tmp_path / "stems" / "lead.wav")
    write_preset(tmp_path)
    broken = broken_package(tmp_path / "broken", "torch", code)
    lines = [[command, *COMMAND_LINES[command]] for command in ("render", "networks")]
    for done in calls_in_turn(lines, broken, tmp_path):
        assert done.returncode == 1
        assert done.stderr.startswith("reverie: torch")
        assert says in done.stderr
        assert "`reverie doctor`" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["torch", "torchaudio"])
def test_a_package_that_does_not_load_is_one_line_from_every_command(name: str, tmp_path: Path) -> None:
    """It is named, with doctor as the next call; commands that do not dream do their work.

    All in one process, where each tries to load it anew.
    """
    commands = sorted(set(COMMANDS) - {"doctor"})
    assert set(commands) <= set(COMMAND_LINES), "give each command a line that works in COMMAND_LINES"
    stem = write_stem(tmp_path / "stems" / "lead.wav")
    render_plan(build_plan([stem], write_preset(tmp_path), out_dir=tmp_path / "out"))
    write_midi(tmp_path / "song.mid", [])
    (tmp_path / "song.rpp").write_text("<REAPER_PROJECT 0.1\n>\n")
    (tmp_path / "jobs.toml").write_text(
        'preset = "under-test.toml"\nout = "out"\n[[jobs]]\nstems = "stems"\n'
    )
    broken = broken_package(tmp_path / "broken", name)
    lines = [[command, *COMMAND_LINES[command]] for command in commands]
    for command, done in zip(commands, calls_in_turn(lines, broken, tmp_path), strict=True):
        assert "Traceback" not in done.stderr, command
        if command in DREAMING and (command, name) != ("networks", "torchaudio"):  # cards, weights: torch's
            assert done.returncode == 1, command
            assert done.stderr.startswith(f"reverie: {name} cannot be loaded: Could not load this library")
            assert "`reverie doctor`" in done.stderr
            assert done.stderr.count("\n") == 1
        else:
            assert done.returncode == 0, (command, done.stderr)


class Silent:
    """Stands for an effect whose sound is lost."""

    def process(self, sound: np.ndarray, *_: object) -> np.ndarray:
        return 0.0 * sound


WRONG_RESULTS: dict[str, tuple[str, Callable[..., object]]] = {
    "numpy": ("numpy.fft.irfft", lambda spectrum: np.zeros((1, 48000))),
    "torch": ("torch.fft.irfft", lambda spectrum: spectrum.real),
    "torchaudio": ("torchaudio.functional.resample", lambda sound, *_, **__: 0.0 * sound[..., :44100]),
    "scipy": ("scipy.signal.sosfilt", lambda sos, sound, *_, zi=None, **__: (0.5 * sound, zi)),
    "soundfile": ("bridge.audio.reader.read_audio", lambda path: (np.zeros((1, 48000), np.float32), 48000)),
    "soxr": ("soxr.resample", lambda sound, *_: 0.0 * sound),
    "pedalboard": ("bridge.processors.pedalboard_plugin.build_builtin", lambda *_: Silent()),
    "mido": ("bridge.midi.strict.check_strict", lambda *_: mido.MidiFile(file=io.BytesIO(b"MThd"))),
    "pydantic": ("bridge.presets.model.parse_preset", lambda data, _: SimpleNamespace(chain=data["chain"])),
    "safetensors": ("safetensors.numpy.load", lambda data: {"tone": np.zeros((1, 48000), np.float32)}),
    "rich": ("rich.console.Console.print", lambda *_: None),
    "platformdirs": ("platformdirs.user_cache_dir", lambda *_: ""),
    "jinja2": ("jinja2.Template.render", lambda *_, **__: "<b>a<b</b>"),
}


@pytest.mark.parametrize("name", REQUIRED)
def test_a_result_that_is_wrong_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that loads and computes nonsense does not pass; as it is it does."""
    assert [finding.is_good for finding in probe(name)] == [True]
    monkeypatch.setattr(*WRONG_RESULTS[name])
    (finding,) = probe(name)

    assert (finding.is_good, finding.is_needed) == (False, True)
    assert "gives a wrong result" in finding.state or name == "mido"
    assert "--force-reinstall" in finding.remedy


def test_reverie_itself_is_blamed_for_its_own_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Presets or weights that are gone are no fault of the packages that read them."""
    monkeypatch.setattr("bridge.presets.library.preset_folders", lambda: [("factory", tmp_path)])
    monkeypatch.setattr("dream_core.networks.registry.load_network", damaged)
    (presets,) = probe("presets")
    timbre = next(finding for finding in probe("networks") if finding.what == "timbre")

    for finding in (presets, timbre):
        assert (finding.is_good, finding.is_needed) == (False, True)
        assert finding.remedy.startswith("in Reverie's own folder: ")


def damaged(name: str) -> None:
    raise WeightsError(f"{name}: its weights are damaged")


@pytest.mark.parametrize("old", ["2.0.1", "2.0.1+cpu"])
def test_a_pair_that_loads_but_is_not_the_tested_one_is_told(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works, so it is no failure; the versions that are tested are named with the command."""
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: old if name == "torch" else version(name))
    (finding,) = probe("torch")

    assert (finding.is_good, finding.is_needed) == (False, False)
    assert f"tested with {version('torch').partition('+')[0]}" in finding.state
    assert finding.remedy.endswith(f"-m pip install {' '.join(PAIR)}")


def test_another_build_of_the_tested_version_is_the_tested_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Torch for the CPU alone is as good."""
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version(name).partition("+")[0] + "+cpu")

    assert [finding.is_good for finding in probe("torch")] == [True]


def test_what_is_missing_is_installed_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not there is installed, at a version that fits; a stranger comes with the project."""

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)

    assert [finding.state for finding in probe("soxr")] == ["not installed"]
    assert repair_command("soxr").endswith("-m pip install 'soxr>=0.5'")
    assert repair_command("nonesuch").startswith("in Reverie's own folder: ")
    assert repair_command("nonesuch").endswith("-m pip install .")


def test_commands_can_be_copied_into_this_systems_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """cmd.exe knows no single quotes, and takes signs of comparison for files."""
    assert join_command(["pip", "install", "a>=1", "b c"]) == "pip install 'a>=1' 'b c'"
    monkeypatch.setattr("bridge.installation.os.name", "nt")
    assert join_command(["pip", "install", "a>=1", "b c"]) == 'pip install "a>=1" "b c"'


def test_an_optional_package_is_loaded_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is there but does not load is not called installed, and one without a version loads."""
    monkeypatch.syspath_prepend(
        str(broken_package(tmp_path, "minihost", "raise ImportError('no GLIBC_2.99')"))
    )
    monkeypatch.delitem(sys.modules, "minihost", raising=False)
    monkeypatch.setitem(sys.modules, "h5py", ModuleType("h5py"))
    version = metadata.version
    gone = metadata.PackageNotFoundError("h5py")
    monkeypatch.setattr(metadata, "version", lambda name: raising(gone) if name == "h5py" else version(name))
    (broken,), (nameless,) = probe("minihost"), probe("h5py")

    assert not broken.is_good
    assert "no GLIBC_2.99" in broken.state
    assert (nameless.is_good, nameless.state) == (True, "loads")


def raising(error: Exception) -> str:
    raise error


class TestPlugins:
    """A plugin, where there is one, plays in a process of its own."""

    pytestmark = needs_plugins

    @pytest.fixture(autouse=True)
    def plugins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty plugin folder, the only one that is searched."""
        monkeypatch.setattr(bundle, "standard_folders", lambda: (tmp_path / "vst3",))
        monkeypatch.setenv("REVERIE_PLUGIN_CACHE", str(tmp_path / "plugins.json"))
        return tmp_path / "vst3"

    def test_none_is_no_fault(self) -> None:
        """Without plugins there is nothing to mend."""
        assert [finding.is_good for finding in probe("plugins")] == [True]

    def test_one_plays(self, plugins: Path) -> None:
        """It is named, scanned before or not."""
        misbehaving_copy(plugins, "Fine")
        (first,) = probe("plugins")
        scan([plugins])
        (second,) = probe("plugins")

        assert first.is_good
        assert first.state == "1 found; Fine plays"
        assert second.state == "1 found; Conformance Effect plays"

    def test_an_instrument_plays_too(self, plugins: Path) -> None:
        """Where there is no effect."""
        misbehaving_copy(plugins, "Keys", source=INSTRUMENT)

        assert [finding.state for finding in probe("plugins")] == ["1 found; Keys plays"]

    def test_one_that_crashes_is_told(self, plugins: Path) -> None:
        """Doctor lives on, and names the command that looks closer."""
        misbehaving_copy(plugins, "Bad", load="crash")
        (finding,) = probe("plugins")

        assert not finding.is_good
        assert not finding.is_needed
        assert finding.state.startswith("Bad does not play:")
        assert finding.remedy == "reverie plugins check Bad"


def test_doctor_uses_everything_that_is_installed_with_the_library() -> None:
    """A dependency that is added is probed; the command line itself is Typer's proof."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]

    assert {re.split("[=<>~]", line)[0] for line in wanted} == {*REQUIRED, "typer"}
