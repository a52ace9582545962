"""`reverie session`: what a DAW's session file says, and rendered stems handed back to it."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import note, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.clock.tempo_map import TempoMap
    from bridge.daw.model import Session

__all__ = ["app"]

_MOST_LINES = 50
"""So many places or notes of a kind are printed; a program that wants all asks for JSON."""
_SIXTEENTH_BEATS = 0.25

app = typer.Typer(help="Sessions of DAWs: .dawproject, .rpp and .als.", no_args_is_help=True)

ManifestArgument = Annotated[
    Path, typer.Argument(metavar="MANIFEST", help="A render's PRESET.manifest.json.")
]


class FolderFormat(StrEnum):
    """What the stems in a folder for any DAW are."""

    RENDERED = "rendered"
    PROTOOLS = "protools"


OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]


@app.command("show")
def show_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .dawproject, .rpp or .als file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print tempo, meter, markers, tracks and clips of a session."""
    from bridge.daw.read import read_session

    session = read_session(file)
    if as_json:
        print_json(_to_json(session))
        return
    _print(session)
    for warning in session.warnings[:_MOST_LINES]:
        note(f"note: {warning}")
    if len(session.warnings) > _MOST_LINES:
        note(f"note: and {len(session.warnings) - _MOST_LINES} more; --json has all")


@app.command("write")
def write_command(
    manifest: ManifestArgument,
    into: Annotated[Path, typer.Option("--into", metavar="SESSION", help="A .dawproject or .rpp file.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The copy that gets the new tracks.")
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Write into the session itself; a backup stays beside it.")
    ] = False,
    original: Annotated[
        a.OriginalChoice,
        typer.Option("--original", help="What becomes of the tracks the stems were made from."),
    ] = a.OriginalChoice.KEEP,
    added: Annotated[
        a.AddedChoice,
        typer.Option("--as", help="Add stems as tracks, or as takes (Reaper)."),
    ] = a.AddedChoice.TRACKS,
    changed: Annotated[
        bool, typer.Option("--changed", help="Write into a session that changed since it was rendered.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a render back: a copy of the session with one new track per stem and no other changes."""
    from bridge.daw.write_back import WriteBack
    from bridge.errors import OutputError
    from bridge.render.daw_tracks import write_into_session

    if (out is None) != in_place:
        raise OutputError(
            "give --out FILE for a copy, or --in-place to write into the session, with a backup"
        )
    takes = added is a.AddedChoice.TAKES
    if takes and original is not a.OriginalChoice.KEEP:
        raise OutputError(
            f"--original {original.value} goes with new tracks; takes lie on the tracks they were made from: "
            "leave out --original, or --as takes"
        )
    how = WriteBack(
        original=original.value,
        takes=takes,
        overwrite=overwrite,
        in_place=in_place,
    )
    written = write_into_session(manifest, into, into if out is None else out, how, may_have_changed=changed)
    for warning in written.warnings:
        note(f"note: {warning}")
    if written.backup is not None:
        note(f"as it was: {written.backup}")
    say(str(written.path))


@app.command("folder")
def folder_command(
    manifest: ManifestArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to make.")],
    file_format: Annotated[
        FolderFormat,
        typer.Option(
            "--format", help="Stems as they were rendered, or for Pro Tools: 24-bit WAV with time stamps."
        ),
    ] = FolderFormat.RENDERED,
    overwrite: OverwriteOption = False,
) -> None:
    """Hand a render to any DAW: aligned stems, song.mid with depth lanes, and how to import them."""
    from bridge.daw.stem_folder import write_exchange_folder
    from bridge.render.daw_tracks import build_rendered_stems
    from bridge.render.manifest import read_manifest

    read = read_manifest(manifest)
    stems = build_rendered_stems(read)
    pro_tools = file_format is FolderFormat.PROTOOLS
    say(str(write_exchange_folder(out, stems, read.plan.tempo_map, pro_tools=pro_tools, overwrite=overwrite)))


def _print(session: Session) -> None:
    clock = session.tempo_map
    rate = f", {session.sample_rate} Hz" if session.sample_rate else ""
    say(f"{session.path.name}: {session.format}{rate}")
    _say_places(session, "tempo ", _tempo_lines(clock))
    meters = [(meter.tick / clock.ticks_per_beat, str(meter)) for meter in clock.meters]
    _say_places(session, "meter ", meters)
    _say_places(session, "marker", [(marker.beats, marker.name) for marker in clock.markers])
    rows = []
    for track in session.tracks:
        ends = [clip.start_s + clip.duration_s for clip in track.clips]
        row = (
            track.name + (" (muted)" if track.is_muted else ""),
            len(track.clips),
            len(track.notes),
            ", ".join(f"CC{lane.controller}" for lane in track.lanes),
            f"{track.clips[0].start_s:.3f} s" if track.clips else "",
            f"{max(ends):.3f} s" if ends else "",
        )
        rows.append(row)
    if rows:
        print_table(("track", "clips", "notes", "lanes", "from", "to"), rows)
    else:
        say("no tracks")


def _say_places(session: Session, what: str, lines: Sequence[tuple[float, str]]) -> None:
    """Print what begins at some beats; of very many the first, and how many more there are."""
    import numpy as np

    clock, shown = session.tempo_map, lines[:_MOST_LINES]
    beats = np.array([at for at, _ in shown], np.float64)
    places, times_s = clock.position_texts(beats), clock.beats_to_seconds(beats).tolist()
    for place, time_s, (_, text) in zip(places, times_s, shown, strict=True):
        say(f"{what}  {place}  {time_s:9.3f} s  {text}")
    if len(lines) > len(shown):
        say(f"{what}  and {len(lines) - len(shown)} more; --json has all")


def _tempo_lines(clock: TempoMap) -> list[tuple[float, str]]:
    """Return a line for each tempo; one for a ramp, even where it is played in steps of a sixteenth."""
    beats = [tempo.tick / clock.ticks_per_beat for tempo in clock.tempos]
    bpms = [tempo.bpm for tempo in clock.tempos]
    is_held = [tempo.ramp == "hold" for tempo in clock.tempos]
    lines: list[tuple[float, str]] = []
    index = 0
    while index < len(beats):
        last = _last_step(beats, bpms, is_held, index)
        if last > index + 1:
            text = f"{bpms[index]:.6g} BPM, ramp in sixteenths to {bpms[last]:.6g} BPM"
            is_passed = _last_step(beats, bpms, is_held, last) <= last + 1  # nothing new begins where it ends
            lines.append((beats[index], text))
            index = last + 1 if is_passed else last
            continue
        lines.append(
            (beats[index], f"{bpms[index]:.6g} BPM" + ("" if is_held[index] else ", ramp to the next"))
        )
        index += 1
    return lines


def _last_step(beats: Sequence[float], bpms: Sequence[float], is_held: Sequence[bool], first: int) -> int:
    """Return the last of the tempos that rise, or fall, a sixteenth apart from one on."""
    last = first
    while (
        last + 1 < len(beats)
        and is_held[last]
        and abs(beats[last + 1] - beats[last] - _SIXTEENTH_BEATS) < 1e-6
        and (bpms[last + 1] > bpms[last]) == (bpms[first + 1] > bpms[first])
    ):
        last += 1
    return last if is_held[last] else max(first, last - 1)


def _to_json(session: Session) -> dict[str, Any]:
    return {
        "path": str(session.path),
        "format": session.format,
        "sample_rate": session.sample_rate,
        "tempo_map": session.tempo_map.to_dict(),
        "tracks": [asdict(track) for track in session.tracks],
        "warnings": list(session.warnings),
    }
