"""`reverie midi`: look into MIDI files, and write what a network hears as one."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import minutes, open_bars, print_json, print_table, say, warn
from bridge.cli.job_options import takes_clock

if TYPE_CHECKING:
    from bridge.clock.settings import ClockSettings
    from bridge.processors.transcribe import Transcript

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

MAX_ROWS = 40
"""Rows of a table that people are shown; ``--json`` has them all."""


@app.callback()
def group() -> None:
    """Show a MIDI file as a render reads it, or write what a network hears as one."""


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


@app.command("from-audio")
@takes_clock
def from_audio_command(
    stem: Annotated[Path, typer.Argument(metavar="STEM", help="A file of sound.")],
    clock: ClockSettings,
    midi_path: a.MidiOption = None,
    network: Annotated[
        str,
        typer.Option("--network", metavar="NAME", help="notes hears chords, crepe one voice more exactly."),
    ] = "notes",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The MIDI file; by default STEM's name, here."),
    ] = None,
    onset: Annotated[
        float, typer.Option("--onset", metavar="P", help="How probable an onset must be, 0 to 1; for notes.")
    ] = 0.5,
    note: Annotated[
        float,
        typer.Option("--note", metavar="P", help="How probable a note stays while it sounds; for notes."),
    ] = 0.3,
    shortest: Annotated[str, typer.Option("--shortest", metavar="TIME", help="Shortest note.")] = "60 ms",
    bends: Annotated[
        bool, typer.Option("--bends/--no-bends", help="Bend notes that stray from their keys.")
    ] = True,
    device: Annotated[
        str, typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda, cuda:0 ...")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")] = False,
    as_json: a.JsonOption = False,
) -> None:
    """Write the notes a network hears in a sound as a MIDI file on the song's clock."""
    from rich.progress import BarColumn, TimeRemainingColumn

    from bridge.audio.reader import read_info
    from bridge.cli.quantities import parse_quantity
    from bridge.midi.pick_notes import PickSettings
    from bridge.processors.transcribe import write_heard_notes
    from dream_core.names import name_key

    path = out or Path(f"{stem.stem}.mid")
    settings = PickSettings(
        onset=onset, note=note, shortest_s=parse_quantity(shortest, "s", "--shortest"), has_bends=bends
    )
    bars = open_bars(BarColumn(), TimeRemainingColumn())
    task = bars.add_task(stem.name, total=read_info(stem).duration_s)
    # No progress bar, and no empty line after one, where output is not a terminal.
    with bars if bars.console.is_terminal else nullcontext():
        heard = write_heard_notes(
            stem,
            path,
            clock,
            midi_path,
            network,
            settings=settings,
            device=device,
            overwrite=overwrite,
            report=lambda done_s: bars.update(task, completed=done_s),
        )
    for warning in heard.warnings:
        warn(warning)
    if as_json:
        print_json({"file": str(path), "network": network, **_heard_json(heard)})
        return
    keys = [note.key for note in heard.notes]
    span = f", {name_key(min(keys))} to {name_key(max(keys))}" if keys else ""
    n_bent = sum(note.is_bent for note in heard.notes)
    say(f"{path}: {len(keys)} notes in {minutes(heard.length_s)}{span}, {n_bent or 'none'} of them bent")


def _heard_json(heard: Transcript) -> dict[str, Any]:
    import numpy as np

    clock = heard.tempo_map
    assert clock is not None
    starts = np.array([note.start_s for note in heard.notes])
    return {
        "length_s": heard.length_s,
        "tempo_source": clock.source,
        "notes": [
            {
                "position": position,
                "start_s": note.start_s,
                "end_s": note.end_s,
                "key": note.key,
                "velocity": note.velocity,
                "bends": [list(bend) for bend in note.bends],
            }
            for note, position in zip(
                heard.notes, clock.position_texts(clock.seconds_to_beats(starts)), strict=True
            )
        ],
        "warnings": list(heard.warnings),
    }
