"""A render killed at any moment is taken up without losing, repeating or mistaking anything."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.plans import make_plan

from bridge.errors import OutputError
from bridge.plan.model import Plan
from bridge.plan.output_names import manifest_path
from bridge.render.manifest import read_manifest
from bridge.render.progress import Progress
from bridge.render.runner import render_plan

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from bridge.render import {module}
    from bridge.plan.model import Plan
    from bridge.render.runner import render_plan
    original, count = {module}.{name}, 0
    def dying(*arguments, **options):
        global count
        count += 1
        if count == {n}:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    {module}.{name} = dying
    render_plan(Plan.from_json(Path(sys.argv[1]).read_text()))
"""


def killed(plan: Plan, folder: Path, module: str, name: str, n: int) -> None:
    """Render in a process that kills itself at the nth call of a function."""
    path = folder / "plan.json"
    path.write_text(plan.to_json())
    program = textwrap.dedent(KILLED.format(module=module, name=name, n=n))
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize(("module", "name", "n"), [
    ("stem_task", "render_stem", 2),  # between two stems
    ("runner", "append_record", 2),  # an output has its name, the manifest does not know it yet
    ("stem_delivery", "read_metadata", 2),  # the scratch file is there, the output not yet
])  # fmt: skip
def test_a_killed_render_is_taken_up(tmp_path: Path, module: str, name: str, n: int) -> None:
    """Whatever was going on, the same plan again finishes with what an undisturbed render makes."""
    plan = make_plan(tmp_path)
    killed(plan, tmp_path, module, name, n)
    finished = read_manifest(manifest_path(plan)).stems
    assert list(finished) == ["a"]
    report = render_plan(plan)
    assert [stem.status for stem in report.stems] == ["kept", "done", "done"]
    outputs = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert not [name for name in outputs if name.startswith(".")]
    undisturbed = render_plan(plan, overwrite=True)
    assert undisturbed.failed == ()
    for stem in plan.stems:
        assert outputs[Path(stem.target).name] == Path(stem.target).read_bytes()
    assert read_manifest(report.manifest).begun == {}


def test_a_file_of_the_users_is_never_taken_for_ours(tmp_path: Path) -> None:
    """Another plan's mark gives no leave: what stands under the name may be anything."""
    plan = make_plan(tmp_path)
    killed(plan, tmp_path, "stem_task", "render_stem", 2)
    target = Path(plan.stems[1].target)
    target.write_bytes(b"something else")
    other = plan.model_copy(update={"seed": 5})
    with pytest.raises(OutputError, match="exists already"):
        render_plan(other)
    assert target.read_bytes() == b"something else"


def test_two_renders_do_not_share_a_folder(tmp_path: Path) -> None:
    """While one writes, a second is refused in one line; a killed one holds nothing, and nothing is left."""
    plan = make_plan(tmp_path)
    refusals: list[str] = []

    def render_meanwhile(_progress: Progress) -> None:
        with pytest.raises(OutputError) as caught:
            render_plan(plan)
        refusals.append(str(caught.value))

    assert render_plan(plan, on_progress=render_meanwhile).failed == ()
    assert len(refusals) >= 3
    assert all("another render is writing into this folder" in refusal for refusal in refusals)
    for stem in plan.stems:
        Path(stem.target).unlink()
    killed(plan, tmp_path, "stem_task", "render_stem", 2)
    assert render_plan(plan).failed == ()
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
