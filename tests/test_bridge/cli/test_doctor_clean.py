"""What a killed render has left is removed, by the doctor or by the next render; nothing else is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.plans import make_plan

from bridge import render_plan
from bridge.cli import main
from bridge.files import private_folder
from bridge.plan.model import Plan


def killed(plan: Plan, folder: Path, jobs: int = 1) -> None:
    """Render in processes that die when the first stem is about to get its name."""
    (folder / "plan.json").write_text(plan.to_json())
    program = f"""
        import os, signal, sys
        from pathlib import Path
        from bridge.plan.model import Plan
        from bridge.render import runner
        def die(*_arguments, **_options):
            os.kill(os.getpid(), signal.SIGKILL)
        runner.give_name = die
        if __name__ == "__main__":
            runner.render_plan(Plan.from_json(Path(sys.argv[1]).read_text()), jobs={jobs})
    """
    (folder / "render.py").write_text(textwrap.dedent(program))
    command = [sys.executable, str(folder / "render.py"), str(folder / "plan.json")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_doctor_removes_what_a_killed_render_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    """In a folder and below; the outputs, the journal and folders in use stay."""
    plan = make_plan(tmp_path)
    killed(plan, tmp_path, jobs)
    out = tmp_path / "out"
    left = [path for path in out.iterdir() if path.name.startswith(".reverie-")]
    assert left
    with private_folder(out) as used:
        assert main(["doctor", "--clean", str(tmp_path), "--json"]) == 0
        assert sorted(json.loads(capsys.readouterr().out)["removed"]) == sorted(map(str, left))
        assert used.is_dir()
    assert sorted(path.name for path in out.iterdir()) == [
        ".room.manifest.json.finished",
        "room.manifest.json",
    ]
    assert main(["doctor", "--clean", str(tmp_path)]) == 0
    assert "nothing is left behind" in capsys.readouterr().out


def test_the_next_render_into_the_folder_removes_it(tmp_path: Path) -> None:
    """Of whatever plan: a render of other stems cleans up too."""
    killed(make_plan(tmp_path), tmp_path)
    assert render_plan(make_plan(tmp_path, name="Hall")).failed == ()
    assert not list((tmp_path / "out").glob(".reverie-*"))


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--clean", str(tmp_path / "gone")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["doctor", str(tmp_path)]) == 2
    assert "folders are for --clean" in capsys.readouterr().err
