"""Nothing in the working folder is run, by whatever process: sample packs come from anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from helpers.paths import ROOT
from helpers.session import write_preset, write_stem
from helpers.vst3 import EFFECT, needs_plugins

NAMES = (
    "numpy", "torch", "json", "signal", "multiprocessing", "runpy", "bridge", "pedalboard", "soundfile",
    "pydantic", "site", "struct", "sitecustomize", "usercustomize", "socket", "random", "tempfile",
)  # fmt: skip
# As the `reverie` command does, and unlike -P, which children would inherit.
COMMAND = "import sys; sys.path.pop(0); from bridge.cli import main; sys.exit(main())"


def run_among_traps(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder whose modules leave a mark when they are run."""
    for name in NAMES:
        mark = folder / f"{name}.ran"
        (folder / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert sorted(path.name for path in folder.glob("*.ran")) == []
    return done


def test_workers_run_nothing_of_it(tmp_path: Path) -> None:
    """Neither the processes that render nor the one that watches over their shared objects."""
    for name in "ab":
        write_stem(tmp_path / f"{name}.wav")
    preset = write_preset(tmp_path, depth=0.5)
    done = run_among_traps(
        tmp_path, "render", "a.wav", "b.wav", "--preset", str(preset), "--out", "out", "--jobs", "2"
    )
    assert done.returncode == 0, done.stderr


def test_the_doctors_probes_run_nothing_of_it(tmp_path: Path) -> None:
    done = run_among_traps(tmp_path, "doctor")
    assert "Traceback" not in done.stderr


class TestHosts:
    pytestmark = needs_plugins

    def test_a_plugins_host_runs_nothing_of_it(self, tmp_path: Path) -> None:
        done = run_among_traps(tmp_path, "plugins", "show", str(EFFECT))
        assert done.returncode == 0, done.stderr

    def test_a_path_of_modules_with_an_empty_place_is_not_passed_on(self, tmp_path: Path) -> None:
        """What was loaded before is what the program itself takes in; its host has no part in it."""
        (tmp_path / "bridge.py").write_text("raise SystemExit('the working folder was searched')")
        code = f"""
            import os, sys
            from bridge.processors.vst3 import VST3
            os.environ["PYTHONPATH"] = os.pathsep.join(("", ".", "relative"))
            os.chdir({str(tmp_path)!r})
            print(VST3({str(EFFECT)!r}).name)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "Conformance Effect\n", done.stderr
