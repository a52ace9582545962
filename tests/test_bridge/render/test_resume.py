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
from bridge.render.runner import render_plan, render_plans

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


@pytest.mark.parametrize(("module", "name", "n", "noted"), [
    ("stem_task", "render_stem", 2, "a"),  # between two stems
    ("runner", "give_name", 2, "ab"),  # an output is noted and has no name yet
    ("stem_delivery", "read_metadata", 2, "a"),  # the scratch file is there, the output not yet
])  # fmt: skip
def test_a_killed_render_is_taken_up(tmp_path: Path, module: str, name: str, n: int, noted: str) -> None:
    """Whatever was going on, the same plan again finishes with what an undisturbed render makes."""
    plan = make_plan(tmp_path)
    killed(plan, tmp_path, module, name, n)
    finished = read_manifest(manifest_path(plan)).stems
    assert list(finished) == list(noted)
    report = render_plan(plan)
    assert [stem.status for stem in report.stems] == ["kept", "done", "done"]
    outputs = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert not [name for name in outputs if name.startswith(".")]
    undisturbed = render_plan(plan, overwrite=True)
    assert undisturbed.failed == ()
    for stem in plan.stems:
        assert outputs[Path(stem.target).name] == Path(stem.target).read_bytes()


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


def test_a_file_that_comes_where_a_killed_render_was_stays(tmp_path: Path) -> None:
    """The same plan gives no leave either: killed before its file had a name, it has put nothing there."""
    plan = make_plan(tmp_path)
    killed(plan, tmp_path, "runner", "give_name", 2)
    target = Path(plan.stems[1].target)
    target.write_bytes(b"something else")
    with pytest.raises(OutputError, match="exists already"):
        render_plan(plan)
    assert target.read_bytes() == b"something else"


LEVELS: tuple[dict[str, object], ...] = ({}, {"common_trim": True}, {"mode": "peak", "limiter": True})
TAILS: tuple[dict[str, object], ...] = ({}, {"mode": "auto", "max_s": 0.3}, {"mode": "fixed", "seconds": 0.1})


@pytest.mark.parametrize("is_resumed", [False, True], ids=["fresh", "resumed"])
@pytest.mark.parametrize("align", [True, False], ids=["aligned", "alone"])
@pytest.mark.parametrize("tail", TAILS, ids=lambda tail: str(tail.get("mode", "no tail")))
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: str(next(iter(level), "level")))
def test_a_file_that_was_there_is_never_touched(
    tmp_path: Path, level: dict[str, object], tail: dict[str, object], align: bool, is_resumed: bool
) -> None:
    """However stems share gain and length, alone or in a batch, and after a render that was cut short."""
    plans = [make_plan(tmp_path, align=align, name=name, level=level, tail=tail) for name in ("Room", "Hall")]
    if is_resumed:
        for plan in plans:
            render_plan(plan)
            Path(plan.stems[0].target).unlink()
    foreign = [Path(plans[1].stems[0].target), Path(plans[0].stems[2].target)]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"precious")
    before = {path.name: path.read_bytes() for path in foreign[0].parent.iterdir()}
    for jobs in (1, 2):
        with pytest.raises(OutputError, match="exists already"):
            render_plans(plans, jobs=jobs)
    assert {path.name: path.read_bytes() for path in foreign[0].parent.iterdir()} == before


@pytest.mark.parametrize("level", LEVELS[:2], ids=["alone", "shared"])
def test_a_file_that_comes_while_its_stem_is_rendered_fails_that_stem(
    tmp_path: Path, level: dict[str, object]
) -> None:
    """The others are finished, and the same plan is refused until the file is out of the way."""
    plan = make_plan(tmp_path, level=level)
    target = Path(plan.stems[1].target)

    def come(progress: Progress) -> None:
        if progress.phase == "deliver" and not target.exists():
            target.write_bytes(b"precious")

    report = render_plan(plan, on_progress=come)
    assert [stem.status for stem in report.stems] == ["done", "failed", "done"]
    assert "appeared while it was being written" in report.stems[1].error
    assert target.read_bytes() == b"precious"
    with pytest.raises(OutputError, match="exists already"):
        render_plan(plan)
    target.unlink()
    assert render_plan(plan).failed == ()


@pytest.mark.parametrize("change", ["tags", "link"])
def test_what_the_user_has_made_of_an_output_is_not_replaced(tmp_path: Path, change: str) -> None:
    """Stems that share a trim are rendered again together; one with new tags is no longer ours."""
    plan = make_plan(tmp_path, level={"common_trim": True})
    render_plan(plan)
    first, last = Path(plan.stems[0].target), Path(plan.stems[2].target)
    last.unlink()
    if change == "tags":
        with first.open("ab") as file:
            file.write(b"LIST\x04\x00\x00\x00INFO")
    else:
        first.rename(tmp_path / "moved.wav")
        first.symlink_to(tmp_path / "moved.wav")
    before = first.read_bytes(), first.is_symlink()
    with pytest.raises(OutputError, match="exists already"):
        render_plan(plan)
    assert (first.read_bytes(), first.is_symlink()) == before
    render_plan(plan, overwrite=True)
    assert not first.is_symlink()


def test_stems_of_another_shared_trim_are_not_mixed_in(tmp_path: Path) -> None:
    """One manifest says one trim: a render of further stems is refused, and nothing is lost."""
    plan = make_plan(tmp_path, level={"common_trim": True})
    two = plan.model_copy(update={"stems": plan.stems[:2]})
    render_plan(two)
    before = manifest_path(plan).read_bytes()
    with pytest.raises(OutputError, match="Render all of them together with --overwrite"):
        render_plan(plan.model_copy(update={"stems": plan.stems[2:]}))
    assert manifest_path(plan).read_bytes() == before
    assert [stem.status for stem in render_plan(plan, overwrite=True).stems] == ["done"] * 3


def test_a_folder_in_the_journals_place_is_said(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    path = manifest_path(plan)
    path.with_name(f".{path.name}.finished").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"is in the way .*move it elsewhere"):
        render_plan(plan)


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
