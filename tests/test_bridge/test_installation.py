"""A whole installation works from its wheel alone; one that is not says what is wrong and what mends it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import soxr
from helpers.session import write_midi, write_preset, write_stem
from helpers.vst3 import misbehaving_copy, needs_plugins
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bridge.cli import COMMANDS
from bridge.cli.probes import (
    OPTIONAL,
    REQUIRED,
    mending_command,
    probe_optional,
    probe_plugin,
    probe_required,
)
from bridge.hosts import bundle
from bridge.hosts.scan import scan

ROOT = Path(__file__).resolve().parents[2]
TOO_OLD = """
try:
    raise OSError("libc10_cuda.so: cannot open shared object file")
except OSError as error:
    raise OSError("Could not load this library: /somewhere/libtorchaudio.so") from error
"""
GAIN = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-000000000001"
meta = { name = "gain", category = "Utility" }
chain = [{ id = "gain", use = "gain" }]
"""
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


def test_doctor_uses_what_it_reports(tmp_path: Path) -> None:
    """A torchaudio made for another Torch does not load: doctor says so, and the command that mends both."""
    broken = broken_package(tmp_path / "broken", "torchaudio")
    done = reverie("doctor", broken=broken, folder=tmp_path)
    lines = done.stdout.splitlines()
    told = next(i for i, line in enumerate(lines) if "torchaudio" in line)

    assert done.returncode == 1
    assert lines[told].startswith("!!")
    assert f"does not work beside torch {metadata.version('torch')}: Could not load" in lines[told]
    assert "(libc10_cuda.so: cannot open" in lines[told]
    assert f"-m pip install --force-reinstall {' '.join(PAIR)}" in lines[told + 1]
    assert any(line.startswith("ok  soundfile") for line in lines)  # the rest is still looked at
    assert "Traceback" not in done.stderr


def test_a_library_that_the_system_lacks_is_named(tmp_path: Path) -> None:
    """Where pip cannot help, the Debian package is told: from doctor and from any command."""
    lacking = "raise ImportError('libatomic.so.1: cannot open shared object file: No such file or directory')"
    broken = broken_package(tmp_path / "broken", "pedalboard", lacking)
    write_stem(tmp_path / "stems" / "lead.wav")
    (tmp_path / "gain.toml").write_text(GAIN)

    assert "apt-get install libatomic1" in reverie("doctor", broken=broken, folder=tmp_path).stdout
    done = reverie("render", "stems", "--preset", "gain.toml", "--out", "out", broken=broken, folder=tmp_path)
    assert done.returncode == 1
    assert "pedalboard cannot be loaded: libatomic.so.1" in done.stderr
    assert "`apt-get install libatomic1`" in done.stderr


@pytest.mark.parametrize("name", sorted(set(REQUIRED) - {"pydantic"}))
def test_doctor_outlives_any_broken_package(name: str, tmp_path: Path) -> None:
    """Whatever does not load, every other line is there and nothing ends in a traceback."""
    broken = broken_package(tmp_path / "broken", name, "raise ImportError('undefined symbol: zz')")
    done = reverie("doctor", broken=broken, folder=tmp_path)

    assert done.returncode == 1
    assert "undefined symbol: zz" in done.stdout
    assert all(f" {one} " in done.stdout for one in (*REQUIRED, *OPTIONAL))
    assert done.stderr == ""


def test_without_pydantic_the_command_that_mends_it_is_told(tmp_path: Path) -> None:
    """Where the command line itself is built with it, one line names what broke, not who wanted it."""
    broken = broken_package(tmp_path / "broken", "pydantic", "raise ImportError('undefined symbol: zz')")
    done = reverie("doctor", broken=broken, folder=tmp_path)
    said = done.stderr or done.stdout

    assert done.returncode == 1
    assert "undefined symbol: zz" in said
    assert "install --force-reinstall --no-deps 'pydantic>=" in said
    assert "Traceback" not in said
    assert done.stderr.count("\n") <= 1
    assert done.stderr.startswith("reverie: pydantic cannot be loaded: ") or "!!  pydantic " in done.stdout


COMMAND_LINES: dict[str, list[str]] = {
    "render": ["stems", "--preset", "under-test.toml", "--out", "out"],
    "batch": ["jobs.toml"],
    "plan": ["stems", "--preset", "under-test.toml", "--out", "out"],
    "presets": ["check", "under-test.toml"],
    "networks": ["list"],
    "plugins": ["list"],
    "midi": ["show", "song.mid"],
    "envelope": ["under-test.toml", "--midi", "song.mid"],
    "session": ["show", "song.rpp"],
    "verify": ["none.manifest.json"],
    "compare": ["stems", "stems"],
    "report": ["none.manifest.json"],
    "doctor": [],
}
DREAMING = {"render", "batch", "plan", "presets", "networks"}


@pytest.mark.parametrize("name", ["torch", "torchaudio"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_package_that_does_not_load_is_one_line_from_every_command(
    command: str, name: str, tmp_path: Path
) -> None:
    """It is named, with doctor as the next call; commands that do not dream do their work."""
    write_stem(tmp_path / "stems" / "lead.wav")
    write_midi(tmp_path / "song.mid", [])
    write_preset(tmp_path)
    (tmp_path / "song.rpp").write_text("<REAPER_PROJECT 0.1\n>\n")
    (tmp_path / "jobs.toml").write_text(
        'preset = "under-test.toml"\nout = "out"\n[[jobs]]\nstems = "stems"\n'
    )
    broken = broken_package(tmp_path / "broken", name)
    done = reverie(command, *COMMAND_LINES[command], broken=broken, folder=tmp_path)

    assert "Traceback" not in done.stderr
    if command in DREAMING:
        assert done.returncode == 1
        assert done.stderr.startswith(f"reverie: {name} cannot be loaded: Could not load this library")
        assert "`reverie doctor`" in done.stderr
        assert done.stderr.count("\n") == 1
    elif command != "doctor":
        assert "cannot be loaded" not in done.stderr


def test_a_result_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that loads and computes nonsense does not pass."""
    monkeypatch.setattr(soxr, "resample", lambda sound, *_: 0.0 * sound)
    finding = probe_required("soxr")

    assert (finding.is_good, finding.is_needed) == (False, True)
    assert "gives a wrong result" in finding.state
    assert "--force-reinstall" in finding.remedy


def test_a_pair_that_loads_but_is_not_the_tested_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works, so it is no failure; the versions that are tested are named with the command."""
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.0.1" if name == "torch" else version(name))
    finding = probe_required("torch")

    assert (finding.is_good, finding.is_needed) == (False, False)
    assert f"tested with {version('torch').partition('+')[0]}" in finding.state
    assert finding.remedy.endswith(f"-m pip install {' '.join(PAIR)}")


def test_what_is_missing_is_installed_by_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not there is simply installed, at a version that fits."""

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)

    assert probe_required("soxr").state == "not installed"
    assert mending_command("soxr").endswith("-m pip install 'soxr>=0.5'")


def test_an_optional_package_is_loaded_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is there but does not load is not called installed."""
    monkeypatch.syspath_prepend(
        str(broken_package(tmp_path, "minihost", "raise ImportError('no GLIBC_2.99')"))
    )
    monkeypatch.delitem(sys.modules, "minihost", raising=False)
    finding = probe_optional("minihost")

    assert not finding.is_good
    assert "no GLIBC_2.99" in finding.state


def test_every_version_is_listed_and_allowed() -> None:
    """constraints.txt has plain lines, one for each package, and each fits what pyproject.toml asks for."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    listed = dict(line.split("==") for line in lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *chain(*project["dependency-groups"].values())]
    asked += chain(*project["project"]["optional-dependencies"].values())
    requirements = [Requirement(one) for one in asked if not one.startswith("reverie-audio")]

    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)
    assert len(listed) == len(lines)
    for requirement in requirements:
        assert requirement.specifier.contains(listed[canonicalize_name(requirement.name)]), str(requirement)


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
        assert probe_plugin().is_good

    def test_one_plays(self, plugins: Path) -> None:
        """It is named, scanned before or not."""
        misbehaving_copy(plugins, "Fine")
        first = probe_plugin()
        scan([plugins])

        assert first.is_good
        assert first.state == "1 found; Fine plays"
        assert probe_plugin().state == "1 found; Conformance Effect plays"

    def test_one_that_crashes_is_told(self, plugins: Path) -> None:
        """Doctor lives on, and names the command that looks closer."""
        misbehaving_copy(plugins, "Bad", load="crash")
        finding = probe_plugin()

        assert not finding.is_good
        assert not finding.is_needed
        assert finding.state.startswith("Bad does not play:")
        assert finding.remedy == "reverie plugins check Bad"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reverie's wheel, built from its own sdist."""
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (sdist,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(sdist)],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_works_alone(wheel: Path, tmp_path: Path) -> None:
    """Installed into an environment without the repository, it dreams with its own preset and weights."""
    home = tmp_path / "environment"
    venv.create(home)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet", str(wheel)],
        check=True,
        capture_output=True,
    )
    # Gigabytes of dependencies are lent by this environment; the repository is not on the path of either.
    lent = Path(sysconfig.get_path("purelib", vars={"base": str(home)})) / "lent.pth"
    lent.write_text(f"{sysconfig.get_path('purelib')}\n")
    work = tmp_path / "work"
    write_stem(work / "stems" / "lead.wav")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    command = str(home / "bin" / "reverie")
    where = call(str(python), "-c", "import bridge, dream_core; print(bridge.__file__, dream_core.__file__)")
    assert all(Path(one).is_relative_to(home) for one in where.split())
    assert call(command, "--version").strip() == metadata.version("reverie-audio")
    assert "lucid-bloom" in call(command, "presets", "list")
    assert "6 factory presets load" in call(command, "doctor")
    settings = ["--set", "dream.depth=1", "--bpm", "120"]
    call(command, "render", "stems", "--preset", "lucid-bloom", *settings, "--out", "out")
    assert (work / "out" / "lead__lucid-bloom.wav").stat().st_size > 1000
