"""Worker processes that cannot begin are told apart from those that die at work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from helpers.paths import ROOT
from helpers.session import GAIN, write_stem

SCRIPT = """
from bridge import build_plan, render_plan
from bridge.errors import RenderError

def render():
    plan = build_plan(["stems"], "gain.toml", out_dir="out")
    try:
        report = render_plan(plan, jobs=2)
    except RenderError as error:
        print(error)
    else:
        print([stem.status for stem in report.stems])

{call}
"""


def run_script(folder: Path, call: str) -> subprocess.CompletedProcess[str]:
    for name in ("a", "b"):
        write_stem(folder / "stems" / f"{name}.wav")
    (folder / "gain.toml").write_text(GAIN)
    (folder / "script.py").write_text(SCRIPT.format(call=call))
    return subprocess.run(
        [sys.executable, "script.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_without_a_guard_is_told_what_is_missing(tmp_path: Path) -> None:
    """Its workers would run it again: they end without a word, and the script gets one line."""
    done = run_script(tmp_path, "render()")

    assert 'outside of `if __name__ == "__main__":`' in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert list((tmp_path / "out").glob("*.wav")) == []


def test_a_script_with_a_guard_renders(tmp_path: Path) -> None:
    """The same with what was missing."""
    done = run_script(tmp_path, 'if __name__ == "__main__":\n    render()')

    assert done.stdout == "['done', 'done']\n"
    assert done.stderr == ""
