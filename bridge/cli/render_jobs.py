"""What the commands that render share: their options, the run, its progress and what is printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import minutes, note, open_bars, print_json, say, warn
from bridge.cli.plan import print_plans

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from bridge.plan.job import Job
    from bridge.plan.model import Plan, StemPlan
    from bridge.render.dream_steps import DreamStep
    from bridge.render.manifest import StemRecord
    from bridge.render.progress import Progress
    from bridge.render.results import RenderReport, StemResult

__all__ = [
    "SOME_FAILED",
    "Display",
    "DryRunOption",
    "KeepGoingOption",
    "LogOption",
    "OverwriteOption",
    "ReportOption",
    "StepsLogOption",
    "VerboseOption",
    "levels",
    "print_reports",
    "render_jobs",
    "render_planned",
]

SOME_FAILED = 3
T = TypeVar("T")

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and exit.")]
KeepGoingOption = Annotated[
    bool, typer.Option("--keep-going/--fail-fast", help="Whether to continue after a stem has failed.")
]
ReportOption = Annotated[
    bool, typer.Option("--report", help="Write a report, one HTML file, beside each manifest.")
]
StepsLogOption = Annotated[
    Path | None,
    typer.Option("--steps-log", metavar="FILE", help="Write every step of every dream to a file, as CSV."),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell of every step of every dream, and what is heard.")
]
LogOption = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="Append events to a file, as JSON lines.")
]


def render_jobs(
    job_list: Sequence[Job],
    *,
    jobs: int,
    overwrite: bool,
    dry_run: bool,
    keep_going: bool,
    report: bool,
    log: Path | None,
    steps_log: Path | None,
    verbose: bool,
    trust: bool,
    as_json: bool,
) -> Sequence[RenderReport]:
    """Plan jobs, render them with progress on a terminal, print what became of them and return it."""
    from bridge.plan.job_list import build_batch

    with TemporaryDirectory(prefix="reverie-plan-") as folder:

        def build(trusted: bool) -> tuple[Plan, ...]:
            return build_batch(job_list, trust=trusted, session_folder=Path(folder) if dry_run else None)

        return render_planned(
            a.ask_for_trust(build, trust),
            jobs=jobs,
            overwrite=overwrite,
            dry_run=dry_run,
            keep_going=keep_going,
            report=report,
            log=log,
            steps_log=steps_log,
            verbose=verbose,
            as_json=as_json,
        )


def render_planned(
    plans: Sequence[Plan],
    *,
    jobs: int,
    overwrite: bool,
    dry_run: bool,
    keep_going: bool,
    report: bool,
    log: Path | None = None,
    steps_log: Path | None = None,
    verbose: bool = False,
    as_json: bool,
) -> Sequence[RenderReport]:
    """Render plans with progress on a terminal, print what became of them and return it."""
    from bridge.render.runner import render_plans

    began = time.monotonic()
    if dry_run:
        print_plans(plans, as_json)
        return ()
    for warning in dict.fromkeys(warning for plan in plans for warning in plan.warnings):
        warn(warning)
    if report:
        _check_reports(plans, overwrite)
    listeners: list[Callable[[Progress], None]] = []
    takers: list[Callable[[StemResult], None]] = []
    with ExitStack() as held:
        if log is not None:
            from bridge.render.event_log import EventLog

            events = held.enter_context(EventLog(log))
            events.begin(plans)
            listeners.append(events.on_progress)
            takers.append(events.on_result)
        if steps_log is not None:
            from bridge.render.steps_log import StepsLog

            rows = held.enter_context(StepsLog(steps_log, plans, overwrite=overwrite))
            takers.append(rows.on_result)
        if verbose:
            lines = _StepLines()
            listeners.append(lines.on_progress)
            takers.append(lines.on_result)
        elif not as_json and Display.is_wanted():
            listeners.append(held.enter_context(Display(plans)).on_progress)
        reports = render_plans(
            plans,
            overwrite=overwrite,
            jobs=jobs,
            keep_going=keep_going,
            on_progress=_to_all(listeners),
            on_result=_to_all(takers),
        )
    if report:
        _write_reports(reports, overwrite)
    print_reports(reports, as_json)
    if not as_json:
        _note_time(reports, time.monotonic() - began)
    n_failed = sum(len(one.failed) for one in reports)
    if n_failed:
        raise typer.Exit(SOME_FAILED if n_failed < sum(len(one.stems) for one in reports) else 1)
    return reports


def _to_all(listeners: Sequence[Callable[[T], None]]) -> Callable[[T], None]:
    def tell(what: T) -> None:
        for listener in listeners:
            listener(what)

    return tell


class _StepLines:
    """A line for every step of every dream."""

    def on_progress(self, progress: Progress) -> None:
        """Tell of a step as it is taken."""
        if progress.phase == "hear":
            note(f"{progress.stem}: a network listens to it")
        if progress.step is not None:
            note(_step_line(progress.stem, progress.step))

    def on_result(self, result: StemResult) -> None:
        """Tell how a stem went."""
        for node, heard in () if result.record is None else result.record.heard.items():
            note(
                f"{result.name}: {node} heard {heard.first} ({heard.first_probability:.0%}) before its first "
                f"step, {heard.last} ({heard.last_probability:.0%}) before its last"
            )


def _step_line(stem: str, step: DreamStep) -> str:
    heard = "" if step.heard is None else f", hears {step.heard[0]} ({step.heard[1]:.0%})"
    return (
        f"{stem}: {step.dream} at {step.start_s:.1f} s, step {step.step + 1} of {step.n_steps}: "
        f"score {step.score:.4g}{heard}, change {step.change_db:.1f} dB"
    )


class Display:
    """Bars on a terminal: one for all, one for each stem under way."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._lengths_s = {Path(stem.target): stem.duration_s for plan in plans for stem in plan.stems}
        self._fractions = dict.fromkeys(self._lengths_s, 0.0)
        self._stems: dict[Path, TaskID] = {}

    @staticmethod
    def is_wanted() -> bool:
        """Return whether somebody looks."""
        return sys.stderr.isatty()

    def __enter__(self) -> Display:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

        percent = TextColumn("{task.percentage:3.0f}%")
        self._bars: Bars = open_bars(BarColumn(), percent, TimeRemainingColumn())
        self._bars.start()
        self._began = time.monotonic()
        self._all = self._bars.add_task("all", total=sum(self._lengths_s.values()))
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def on_progress(self, progress: Progress) -> None:
        """Move the bars."""
        self._fractions[progress.target] = progress.fraction
        if progress.phase == "done":
            if progress.target in self._stems:
                self._bars.remove_task(self._stems.pop(progress.target))
        else:
            if progress.target not in self._stems:
                self._stems[progress.target] = self._bars.add_task(progress.stem, total=1.0)
            self._bars.update(self._stems[progress.target], completed=progress.fraction)
        done_s = sum(length * self._fractions[path] for path, length in self._lengths_s.items())
        speed = done_s / max(time.monotonic() - self._began, 1e-3)
        n_done = sum(fraction == 1.0 for fraction in self._fractions.values())
        text = f"all: {n_done} of {len(self._fractions)} stems, {speed:.2g}x real time"
        self._bars.update(self._all, completed=done_s, description=text)


def _check_reports(plans: Sequence[Plan], overwrite: bool) -> None:
    """Refuse, before anything is rendered, to replace what is no report of ours."""
    from bridge.files import check_free
    from bridge.plan.output_names import manifest_path, report_path
    from bridge.report.page import is_report

    for plan in plans:
        path = report_path(manifest_path(plan))
        check_free(path, overwrite or is_report(path))


def _write_reports(reports: Sequence[RenderReport], overwrite: bool) -> None:
    from bridge.plan.output_names import report_path
    from bridge.render.manifest import read_manifest
    from bridge.report.page import is_report, write_report

    for one in reports:
        if any(stem.record is not None for stem in one.stems):
            path = report_path(one.manifest)
            write_report(read_manifest(one.manifest), path, overwrite=overwrite or is_report(path))
            note(f"report: {path}")


def print_reports(reports: Sequence[RenderReport], as_json: bool) -> None:
    """Print what became of each stem."""
    if as_json:
        print_json({"renders": [_report_data(one) for one in reports]})
        return
    for one in reports:
        for stem in one.stems:
            _print_stem(stem)
        if any(stem.record is not None for stem in one.stems):
            note(f"manifest: {one.manifest}")


def _note_time(reports: Sequence[RenderReport], took_s: float) -> None:
    """Say how long it took, and how fast it dreamed: by that, the next plan tells how long it will take."""
    done: list[StemPlan] = []
    for one in reports:
        names = {stem.name for stem in one.stems if stem.status == "done"}
        done += [stem for stem in one.plan.stems if stem.name in names]
    if not done:
        return
    sound = minutes(sum(stem.rendered_s for stem in done))
    work = sum(stem.depth_integral_s for stem in done)
    speed = f", {work / took_s:.3g} step-seconds a second" if work else ""
    stems = "1 stem" if len(done) == 1 else f"{len(done)} stems"
    note(f"rendered {stems}, {sound} of sound, in {minutes(took_s)}{speed}")


def _report_data(report: RenderReport) -> dict[str, Any]:
    return {
        "manifest": str(report.manifest),
        "stems": [
            {
                "name": stem.name,
                "status": stem.status,
                "target": str(stem.target),
                "error": stem.error or None,
                "record": stem.record.model_dump(mode="json") if stem.record else None,
            }
            for stem in report.stems
        ],
    }


def _print_stem(stem: StemResult) -> None:
    for warning in stem.warnings:
        warn(f"{stem.name}: {warning}")
    if stem.record is None:
        note(f"reverie: {stem.name} failed: {stem.error}")
        return
    when = "  (finished earlier)" if stem.status == "kept" else ""
    say(f"{stem.target}  {levels(stem.record)}{when}")


def levels(record: StemRecord) -> str:
    """Return how loud a stem was and is."""
    before, after = record.before, record.after
    return (
        f"{_level(before['integrated_lufs'])} -> {_level(after['integrated_lufs'])} LUFS, "
        f"{_level(after['true_peak_dbtp'])} dBTP"
    )


def _level(value: float | bool | None) -> str:
    return "silent" if value is None else f"{value:.1f}"
