"""`reverie midi`: look into MIDI files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import print_json, print_table, say, warn
from bridge.cli.job_options import takes_clock

if TYPE_CHECKING:
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
        print_json(summary)
        return
    division = (
        f"{summary['ticks_per_beat']} ticks a quarter note"
        if summary["ticks_per_beat"]
        else f"{summary['ticks_per_second']:g} SMPTE ticks a second"
    )
    say(
        f"{summary['file']}: type {summary['type']}, {division}, {summary['n_events']} events, "
        f"{summary['length_s']:.3f} s, ends at {summary['length']}"
    )
    for title, headings, rows in _tables(summary):
        if rows:
            say()
            print_table(headings, rows[:MAX_ROWS], title=title)
        if len(rows) > MAX_ROWS:
            say(f"... {len(rows) - MAX_ROWS} more; --json shows all")
    for warning in summary["warnings"]:
        warn(warning)


def _tables(summary: dict[str, Any]) -> list[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    """Return a title, headings and rows for each kind of thing in the file."""
    return [
        (
            f"tempo ({summary['tempo_source']})",
            ("position", "time", "BPM"),
            [(row["position"], f"{row['time_s']:.3f} s", f"{row['bpm']:.4g}") for row in summary["tempos"]],
        ),
        (
            "meter",
            ("position", "time", "meter"),
            [(row["position"], f"{row['time_s']:.3f} s", row["meter"]) for row in summary["meters"]],
        ),
        (
            "markers",
            ("position", "time", "name"),
            [(row["position"], f"{row['time_s']:.3f} s", row["name"]) for row in summary["markers"]],
        ),
        (
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
        (
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
        (
            "parameter numbers",
            ("parameter", "channel", "events", "last value"),
            [
                (f"{row['kind'].upper()} {row['number']}", row["channel"], row["n_events"], row["last"])
                for row in summary["parameters"]
            ],
        ),
        (
            "MPE zones",
            ("master channel", "member channels"),
            [(master, f"{low}..{high}") for master, (low, high) in summary["mpe_zones"].items()],
        ),
    ]
