"""`reverie plan`: what a render would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bridge.cli import arguments as a
from bridge.cli.arguments import OnMissing

if TYPE_CHECKING:
    from bridge.plan import Plan

__all__ = ["app", "print_plan"]

app = typer.Typer()


@app.command()
def plan(
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
    as_json: a.JsonOption = False,
) -> None:
    """Say what a render would do, and what it would cost; write nothing."""
    from bridge.planning import build_plan

    built = build_plan(
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
    print_plan(built, as_json)


def print_plan(plan: Plan, as_json: bool) -> None:
    """Print a plan for people, or as JSON."""
    if as_json:
        typer.echo(plan.to_json())
        return
    from rich.console import Console
    from rich.table import Table

    preset = plan.read_preset()
    tempo = plan.read_tempo_map()
    chain = " > ".join(f"{node.id} ({node.use})" for node in preset.chain if node.enabled) or "empty"
    typer.echo(f"preset   {preset.meta.name}: {chain}")
    typer.echo(f"tempo    {float(tempo.bpm_at(0.0)):g} BPM at the start, from {tempo.source}")
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
    Console(soft_wrap=True).print(table)
    total = sum(stem.depth_integral_s for stem in plan.stems)
    typer.echo(f"in all   {total:.0f} step-seconds: seconds of sound times steps of dreaming")
    for warning in plan.warnings:
        typer.echo(f"reverie: warning: {warning}", err=True)
