"""`reverie watch`: whatever is put into a folder."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import render_jobs as r
from bridge.cli import shared_options as a
from bridge.cli.console import note, say, warn
from bridge.cli.job_options import takes_job

if TYPE_CHECKING:
    from bridge.plan.job import Job
    from bridge.render.watch_folder import WatchEvent

__all__ = ["app"]

app = typer.Typer()


@app.command()
@takes_job
def watch(
    job: Job,
    settle_s: Annotated[
        float,
        typer.Option(
            "--settle",
            metavar="SECONDS",
            help="A file whose size and time have stood still so long, and that no program holds open to "
            "write, is whole.",
            min=0.0,
            max=3600.0,
        ),
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="End when all that is there is done.")] = False,
    trust: a.TrustOption = False,
) -> None:
    """Render the files of a folder, and whatever is bounced into it, until Ctrl-C.

    What is finished is kept: the same command again renders what is missing or has changed. A file that
    cannot be used is named, and tried again when it changes.
    """
    from bridge.render.watch_folder import check_watch, watch_folders

    def check(trusted: bool) -> bool:
        check_watch(job, trust=trusted)
        return trusted

    trusted = a.ask_for_trust(check, trust)
    note(f"watching {', '.join(map(str, job.stems))} -> {job.out_dir}{'' if once else '; Ctrl-C ends it'}")
    ends: Counter[str] = Counter()
    for event in watch_folders(job, settle_s=settle_s, is_once=once, trust=trusted):
        _tell(event)
        ends[event.status] += 1
    if ends["failed"]:
        raise typer.Exit(r.SOME_FAILED if ends["done"] + ends["kept"] else 1)


def _tell(event: WatchEvent) -> None:
    name, result = event.path.name, event.result
    for warning in event.warnings:
        warn(f"{name}: {warning}")
    if event.status == "waits":
        note(f"{name}: waits until it is whole")
    elif event.status == "failed":
        note(f"reverie: {name} failed: {event.error}; tried again when it changes")
    elif result is not None and result.record is not None:
        when = "  (finished earlier)" if event.status == "kept" else ""
        say(f"{name} -> {result.target}  {r.levels(result.record)}{when}")
