"""`reverie plan`: what a render would do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import minutes, print_json, print_table, say, warn
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

    with TemporaryDirectory(prefix="reverie-plan-") as folder:  # a session's tracks, to be looked at

        def build(trusted: bool) -> tuple[Plan, ...]:
            return build_batch([job], trust=trusted, session_folder=Path(folder))

        print_plans(a.ask_for_trust(build, trust), as_json)


def print_plans(plans: Sequence[Plan], as_json: bool) -> None:
    """Print plans for people, or as JSON."""
    if as_json:
        print_json({"plans": [plan.model_dump(mode="json") for plan in plans]})
        return
    for index, one in enumerate(plans):
        if index:
            say()
        _print_plan(one)


def _print_plan(plan: Plan) -> None:
    preset, tempo = plan.preset, plan.tempo_map
    chain = " > ".join(f"{node.id} ({node.use})" for node in preset.chain if node.enabled) or "empty"
    say(f"preset   {preset.meta.name}: {chain}")
    meter = f"{tempo.meters[0].numerator}/{tempo.meters[0].denominator}"
    say(f"tempo    {float(tempo.bpm_at(0.0)):g} BPM in {meter} at the start, from {tempo.source}")
    rows = [
        (
            stem.name,
            minutes(stem.rendered_s),
            f"{stem.sample_rate} Hz, {stem.n_channels} ch, {stem.subtype}",
            f"{stem.peak_depth:.1f} steps",
            f"{stem.depth_integral_s:.0f} step-seconds",
            stem.target,
        )
        for stem in plan.stems
    ]
    print_table(("stem", "length", "format", "deepest", "work", "target"), rows)
    total = sum(stem.depth_integral_s for stem in plan.stems)
    length_s = sum(stem.rendered_s for stem in plan.stems)
    say(
        f"in all   {minutes(length_s)} of sound, {total:.0f} step-seconds ({total / 60:.1f} step-minutes): "
        "time of sound times steps of dreaming"
    )
    for warning in plan.warnings:
        warn(warning)
