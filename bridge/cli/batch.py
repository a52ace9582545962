"""`reverie batch`: every job of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli import render_jobs as r
from bridge.cli import shared_options as a

__all__ = ["app"]

app = typer.Typer()


@app.command()
def batch(
    jobs_list: Annotated[Path, typer.Argument(metavar="LIST", help="A .toml or .csv list of jobs.")],
    jobs: a.JobsOption = 1,
    overwrite: r.OverwriteOption = False,
    dry_run: r.DryRunOption = False,
    keep_going: r.KeepGoingOption = True,
    report: r.ReportOption = False,
    log: r.LogOption = None,
    steps_log: r.StepsLogOption = None,
    verbose: r.VerboseOption = False,
    trust: a.TrustOption = False,
    as_json: a.JsonOption = False,
) -> None:
    """Render every job of a list: stems times presets times variations times MIDI files.

    Finished stems are kept: run the same command again to continue.
    """
    from bridge.plan.job_list import read_jobs

    r.render_jobs(
        read_jobs(jobs_list),
        jobs=jobs,
        overwrite=overwrite,
        dry_run=dry_run,
        keep_going=keep_going,
        report=report,
        log=log,
        steps_log=steps_log,
        verbose=verbose,
        trust=trust,
        as_json=as_json,
    )
