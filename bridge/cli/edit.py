"""`reverie edit`: a file in its own place."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import render_jobs as r
from bridge.cli import shared_options as a
from bridge.cli.console import note, say, warn
from bridge.cli.job_options import takes_clock

if TYPE_CHECKING:
    from bridge.clock.settings import ClockSettings
    from bridge.plan.job import Job

__all__ = ["app"]

app = typer.Typer()


@app.command()
@takes_clock
def edit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A WAV, AIFF, FLAC, W64, CAF or RF64 file.")],
    *,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", metavar="NAME|FILE", help="A preset; --undo needs none.")
    ] = None,
    midi: a.MidiOption = None,
    settings: a.SetOption = None,
    variation: a.VariationOption = None,
    clock: ClockSettings,
    device: Annotated[
        str, typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 ...")
    ] = "auto",
    seed: a.SeedOption = 0,
    tail: Annotated[
        bool, typer.Option("--tail", help="Let the preset's tail sound on: the file may become longer.")
    ] = False,
    backup: Annotated[
        bool, typer.Option("--backup/--no-backup", help="Whether FILE.original.wav keeps what it was.")
    ] = True,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put back what the last edit kept; what FILE holds now is dropped.")
    ] = False,
    trust: a.TrustOption = False,
) -> None:
    """Render a file in its own place: same container, sample type, rate and number of samples.

    A DAW calls this as its external editor and keeps its clip. The file is whole at any moment; where the
    render fails or is stopped it stays as it was.
    """
    from bridge.errors import PlanError

    if undo:
        from bridge.render.edit_in_place import undo_edit

        say(f"{file}  as it was in {undo_edit(file).name}")
        return
    if preset is None:
        raise PlanError("give --preset NAME, or --undo to put back what the last edit kept")
    _edit(_job(file, preset, clock, midi, settings, variation, device, seed), backup, tail, trust)


def _job(
    file: Path,
    preset: str,
    clock: ClockSettings,
    midi: Path | None,
    settings: list[str] | None,
    variation: str | None,
    device: str,
    seed: int,
) -> Job:
    from bridge.plan.job import parse_job

    given = {
        "stems": file,
        "preset": preset,
        "out": file.parent,
        "midi": () if midi is None else midi,
        "settings": settings or (),
        "variation": () if variation is None else variation,
        "device": device,
        "seed": seed,
        **clock.model_dump(),
    }
    return parse_job(given, "command line")


def _edit(job: Job, backup: bool, tail: bool, trust: bool) -> None:
    from bridge.render.edit_in_place import edit_folder, plan_edit, render_edit

    with edit_folder(job.stems[0]) as folder, ExitStack() as held:
        plan = a.ask_for_trust(
            lambda trusted: plan_edit(job, folder, keep_length=not tail, trust=trusted), trust
        )
        for warning in plan.warnings:
            warn(warning)
        on_progress = None
        if r.Display.is_wanted():
            on_progress = held.enter_context(r.Display([plan])).on_progress
        done = render_edit(plan, keep_original=backup, keep_length=not tail, on_progress=on_progress)
    for warning in done.warnings:
        warn(warning)
    say(f"{done.path}  {r.levels(done.record)}")
    if done.original is not None:
        note(f"as it was: {done.original}")
