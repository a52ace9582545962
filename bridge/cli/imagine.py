"""`reverie imagine`: dreaming from nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import render_jobs as r
from bridge.cli import shared_options as a
from bridge.cli.job_options import takes_clock

if TYPE_CHECKING:
    from bridge.clock.settings import ClockSettings

__all__ = ["app"]

app = typer.Typer()


@app.command()
@takes_clock
def imagine(
    preset: Annotated[
        str, typer.Option("--preset", "-p", metavar="NAME|FILE", help="A preset whose chain makes sound.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Such as imagined.wav or .flac.")],
    clock: ClockSettings,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="SECONDS", help="How long it is to be.")
    ] = None,
    length: Annotated[
        str | None,
        typer.Option("--length", metavar="LENGTH", help="'4 bars', '16 beats'; the MIDI file's by default."),
    ] = None,
    midi: a.MidiOption = None,
    sample_rate: Annotated[
        int, typer.Option("--rate", metavar="HZ", min=8_000, max=768_000, help="Sample rate.")
    ] = 48_000,
    channels: Annotated[int, typer.Option("--channels", metavar="N", min=1, help="1 mono, 2 stereo.")] = 2,
    settings: a.SetOption = None,
    variation: a.VariationOption = None,
    device: Annotated[
        str, typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda, cuda:1.")
    ] = "auto",
    seed: a.SeedOption = 0,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", min=1, max=256, help="Threads on the CPU.")
    ] = None,
    subtype: Annotated[
        str | None, typer.Option("--subtype", metavar="TYPE", help="16, 24, 32 or float; 24 by default.")
    ] = None,
    overwrite: r.OverwriteOption = False,
    dry_run: r.DryRunOption = False,
    report: r.ReportOption = False,
    steps_log: r.StepsLogOption = None,
    verbose: r.VerboseOption = False,
    trust: a.TrustOption = False,
    as_json: a.JsonOption = False,
) -> None:
    """Dream from nothing: silence of a length goes through a preset whose chain makes sound.

    Noise (`use = "noise"`) or an instrument stands first in such a chain.
    """
    from bridge.errors import InputError
    from bridge.plan.imagine import plan_imagined

    if seconds is not None and length is not None:
        raise InputError(f"--seconds {seconds:g} and --length {length!r} both say how long it is; give one")
    plan = a.ask_for_trust(
        lambda trusted: plan_imagined(
            preset,
            out,
            length=length if seconds is None else f"{seconds:f} s",
            midi=midi,
            clock=clock,
            sample_rate=sample_rate,
            n_channels=channels,
            settings=settings or (),
            variation=variation,
            device=device,
            threads=threads,
            seed=seed,
            subtype=subtype,
            trust=trusted,
        ),
        trust,
    )
    r.render_planned(
        [plan],
        jobs=1,
        overwrite=overwrite,
        dry_run=dry_run,
        keep_going=True,
        report=report,
        steps_log=steps_log,
        verbose=verbose,
        as_json=as_json,
    )
