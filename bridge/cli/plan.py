"""`reverie plan`: what a render would do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from bridge.cli import shared_options as a
from bridge.cli.job_options import takes_job

if TYPE_CHECKING:
    from bridge.plan.job import Job
    from bridge.plan.model import Plan

__all__ = ["app", "print_plans"]

app = typer.Typer()


@app.command()
@takes_job
def plan(job: Job, trust: a.TrustOption = False, as_json: a.JsonOption = False) -> None:
    """Show what a render would do, and what it would cost; write nothing."""
    from bridge.plan.job_list import build_batch

    print_plans(a.ask_for_trust(lambda trusted: build_batch([job], trust=trusted), trust), as_json)


def print_plans(plans: Sequence[Plan], as_json: bool) -> None:
    """Print plans for people, or as JSON."""
    if as_json:
        typer.echo(json.dumps({"plans": [plan.model_dump(mode="json") for plan in plans]}, indent=2))
        return
    for index, one in enumerate(plans):
        if index:
            typer.echo("")
        _print_plan(one)


def _print_plan(plan: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    preset, tempo = plan.preset, plan.tempo_map
    chain = " > ".join(f"{node.id} ({node.use})" for node in preset.chain if node.enabled) or "empty"
    typer.echo(f"preset   {preset.meta.name}: {chain}")
    meter = f"{tempo.meters[0].numerator}/{tempo.meters[0].denominator}"
    typer.echo(f"tempo    {float(tempo.bpm_at(0.0)):g} BPM in {meter} at the start, from {tempo.source}")
    table = Table("stem", "length", "format", "deepest", "work", "target", box=None, pad_edge=False)
    for stem in plan.stems:
        table.add_row(
            stem.name,
            f"{stem.duration_s:.1f} s",
            f"{stem.sample_rate} Hz, {stem.n_channels} ch, {stem.subtype}",
            f"{stem.peak_depth:.1f} steps",
            f"{stem.depth_integral_s:.0f} step-seconds",
            stem.target,
        )
    # A piped table is for grep: no column may be cut for want of a terminal's width.
    console = Console()
    Console(soft_wrap=True, width=None if console.is_terminal else 10_000).print(table)
    total = sum(stem.depth_integral_s for stem in plan.stems)
    typer.echo(f"in all   {total:.0f} step-seconds: seconds of sound times steps of dreaming")
    for warning in plan.warnings:
        typer.echo(f"reverie: warning: {warning}", err=True)
