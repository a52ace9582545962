"""`reverie render`: stems in, dreamed stems out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import render_jobs as r
from bridge.cli import shared_options as a
from bridge.cli.console import note
from bridge.cli.job_options import takes_job

if TYPE_CHECKING:
    from bridge.plan.job import Job
    from bridge.render.results import RenderReport

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
    session_out: Annotated[
        Path | None,
        typer.Option(
            "--session-out", metavar="FILE", help="Write the session with the rendered tracks in it, too."
        ),
    ] = None,
    original: Annotated[
        a.OriginalChoice,
        typer.Option("--original", help="What becomes in it of the tracks the stems were made from."),
    ] = a.OriginalChoice.MUTE,
    trust: a.TrustOption = False,
    as_json: a.JsonOption = False,
) -> None:
    """Render stems, or a session's tracks, through presets.

    Finished stems are kept: run the same command again to continue.
    """
    if session_out is not None:
        _check_session_out(job, session_out, overwrite)
    reports = r.render_jobs(
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
    if session_out is not None and not dry_run:
        _write_session(reports, session_out, original, overwrite)


def _check_session_out(job: Job, out: Path, overwrite: bool) -> None:
    """Refuse before anything is rendered what could not be written after it."""
    from bridge.daw.write_back import WriteBack, check_kinds, may_write
    from bridge.errors import PlanError
    from bridge.files import check_writable
    from bridge.plan.job_list import session_of

    n_renders = len(job.preset) * max(1, len(job.variation)) * max(1, len(job.midi))
    session = session_of(job)
    if n_renders > 1 or session is None:
        raise PlanError(
            "--session-out writes one render into the session it is of: give one preset, and a session in "
            "the place of stems or with --session"
        )
    check_kinds(session, out)
    may_write(session, out, WriteBack(overwrite=overwrite))
    check_writable(out)


def _write_session(
    reports: Sequence[RenderReport], out: Path, original: a.OriginalChoice, overwrite: bool
) -> None:
    from bridge.daw.write_back import WriteBack
    from bridge.render.daw_tracks import write_into_session

    for report in reports:
        assert report.plan.session is not None  # checked before
        how = WriteBack(original=original.value, overwrite=overwrite)
        written = write_into_session(report.manifest, Path(report.plan.session.path), out, how)
        for warning in written.warnings:
            note(f"note: {warning}")
        note(f"session: {written.path}")
