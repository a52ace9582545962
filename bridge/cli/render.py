"""`reverie render`: stems in, dreamed stems out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bridge.cli import render_jobs as r
from bridge.cli import shared_options as a
from bridge.cli.job_options import takes_job

if TYPE_CHECKING:
    from bridge.plan.job import Job

__all__ = ["app"]

app = typer.Typer()


@app.command()
@takes_job
def render(
    job: Job,
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
    """Render stems through presets.

    Finished stems are kept: run the same command again to continue.
    """
    r.render_jobs(
        [job],
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
