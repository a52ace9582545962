"""`reverie render`: stems in, dreamed stems out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli import arguments as a
from bridge.cli.arguments import OnMissing
from bridge.cli.plan import print_plan

if TYPE_CHECKING:
    from bridge.plan import Plan
    from bridge.render import Progress, RenderReport

__all__ = ["app"]

app = typer.Typer()

SOME_FAILED = 3


@app.command()
def render(
    stems: a.StemsArgument,
    preset: a.PresetOption,
    out: a.OutOption,
    midi: a.MidiOption = None,
    bpm: a.BpmOption = None,
    settings: a.SetOption = None,
    variation: a.VariationOption = None,
    device: a.DeviceOption = "auto",
    seed: a.SeedOption = 0,
    threads: a.ThreadsOption = None,
    subtype: a.SubtypeOption = None,
    name: a.NameOption = "reverie",
    on_missing: a.OnMissingOption = OnMissing.FAIL,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", help="Stems rendered at the same time.", min=1)
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    as_json: a.JsonOption = False,
) -> None:
    """Render stems through a preset.

    Finished stems are kept: the same command again takes up where it stopped.
    """
    from bridge.planning import build_plan

    plan = build_plan(
        stems,
        preset,
        out_dir=out,
        midi=midi,
        bpm=bpm,
        settings=settings or (),
        variation=variation,
        device=device,
        threads=threads,
        seed=seed,
        subtype=subtype,
        name_template=name,
        on_missing=on_missing.value,
    )
    if dry_run:
        print_plan(plan, as_json)
        return
    for warning in plan.warnings:
        typer.echo(f"reverie: warning: {warning}", err=True)
    report = _run(plan, overwrite, jobs, is_quiet=as_json or not sys.stderr.isatty())
    print_report(report, as_json)
    if report.failed:
        raise typer.Exit(SOME_FAILED if len(report.failed) < len(report.stems) else 1)


def _run(plan: Plan, overwrite: bool, jobs: int, is_quiet: bool) -> RenderReport:
    from bridge.render import render_plan

    if is_quiet:
        return render_plan(plan, overwrite=overwrite, jobs=jobs)
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"))
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks = {stem.name: bars.add_task(stem.name, total=1.0) for stem in plan.stems}

        def show(progress: Progress) -> None:
            bars.update(tasks[progress.stem], completed=progress.fraction)

        return render_plan(plan, overwrite=overwrite, jobs=jobs, on_progress=show)


def print_report(report: RenderReport, as_json: bool) -> None:
    """Print what became of each stem."""
    if as_json:
        data: dict[str, Any] = {
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
        typer.echo(json.dumps(data, indent=2))
        return
    for stem in report.stems:
        for warning in stem.warnings:
            typer.echo(f"reverie: warning: {stem.name}: {warning}", err=True)
        if stem.record is None:
            typer.echo(f"reverie: {stem.name} failed: {stem.error}", err=True)
            continue
        before, after = stem.record.before, stem.record.after
        note = "  (finished earlier)" if stem.status == "kept" else ""
        typer.echo(
            f"{stem.target}  {_level(before['integrated_lufs'])} -> {_level(after['integrated_lufs'])} LUFS, "
            f"{_level(after['true_peak_dbtp'])} dBTP{note}"
        )
    typer.echo(f"manifest: {report.manifest}", err=True)


def _level(value: float | bool | None) -> str:
    return "silent" if value is None else f"{value:.1f}"
