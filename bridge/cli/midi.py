"""`reverie midi`: look into MIDI files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli import shared_options as a
from bridge.cli.job_options import takes_clock

if TYPE_CHECKING:
    from rich.table import Table

    from bridge.clock.settings import ClockSettings

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

MAX_ROWS = 40
"""Rows of a table that people are shown; ``--json`` has them all."""


@app.callback()
def group() -> None:
    """Show a MIDI file as a render reads it."""


@app.command("show")
@takes_clock
def show_command(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    clock: ClockSettings,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse whatever mido refuses.")] = False,
    as_json: a.JsonOption = False,
) -> None:
    """Show tempo, meters, markers, tracks, controller lanes and warnings."""
    from bridge.midi.file import read_midi
    from bridge.midi.song_clock import build_clock
    from bridge.midi.summary import summarise_midi

    midi = read_midi(file, strict=strict, pattern=clock.pattern, ppq=clock.ppq)
    tempo_map = build_clock(midi, clock)
    summary = summarise_midi(midi, tempo_map)
    if as_json:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    division = (
        f"{summary['ticks_per_beat']} ticks a quarter note"
        if summary["ticks_per_beat"]
        else f"{summary['ticks_per_second']:g} SMPTE ticks a second"
    )
    typer.echo(
        f"{summary['file']}: type {summary['type']}, {division}, {summary['n_events']} events, "
        f"{summary['length_s']:.3f} s, ends at {summary['length']}"
    )
    for table in _tables(summary):
        console.print()
        console.print(table)
    for warning in summary["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def _tables(summary: dict[str, Any]) -> list[Table]:
    tables = [
        _table(
            f"tempo ({summary['tempo_source']})",
            ("position", "time", "BPM"),
            [(row["position"], f"{row['time_s']:.3f} s", f"{row['bpm']:.4g}") for row in summary["tempos"]],
        ),
        _table(
            "meter",
            ("position", "time", "meter"),
            [(row["position"], f"{row['time_s']:.3f} s", row["meter"]) for row in summary["meters"]],
        ),
        _table(
            "markers",
            ("position", "time", "name"),
            [(row["position"], f"{row['time_s']:.3f} s", row["name"]) for row in summary["markers"]],
        ),
        _table(
            "tracks",
            ("track", "name", "channels", "events", "notes", "range"),
            [
                (
                    row["track"],
                    row["name"],
                    ", ".join(map(str, row["channels"])),
                    row["n_events"],
                    row["n_notes"],
                    f"{row['lowest_note']}..{row['highest_note']}" if row["n_notes"] else "",
                )
                for row in summary["tracks"]
            ],
        ),
        _table(
            "lanes",
            ("lane", "channel", "events", "range", "from", "to"),
            [
                (
                    f"CC {row['number']}" if row["event"] == "cc" else row["event"].replace("_", " "),
                    row["channel"],
                    row["n_events"],
                    f"{row['minimum']}..{row['maximum']}",
                    f"{row['first_s']:.3f} s",
                    f"{row['last_s']:.3f} s",
                )
                for row in summary["lanes"]
            ],
        ),
        _table(
            "parameter numbers",
            ("parameter", "channel", "events", "last value"),
            [
                (f"{row['kind'].upper()} {row['number']}", row["channel"], row["n_events"], row["last"])
                for row in summary["parameters"]
            ],
        ),
        _table(
            "MPE zones",
            ("master channel", "member channels"),
            [(master, f"{low}..{high}") for master, (low, high) in summary["mpe_zones"].items()],
        ),
    ]
    return [table for table in tables if table.row_count]


def _table(title: str, headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*headings, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows[:MAX_ROWS]:
        table.add_row(*(escape(str(cell)) for cell in row))
    if len(rows) > MAX_ROWS:
        table.add_row(f"... {len(rows) - MAX_ROWS} more; --json shows all")
    return table
