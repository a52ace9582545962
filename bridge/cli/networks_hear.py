"""`reverie networks hear`: what a network hears in stems, over time."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from bridge.cli import shared_options as a
from bridge.cli.console import minutes, note, open_bars, print_json, print_table

if TYPE_CHECKING:
    from bridge.processors.heard_sound import HeardSound, Strong

__all__ = ["hear_command"]

SESSION = "all stems"
"""What the session is called beside its stems."""


def hear_command(
    stems: Annotated[list[Path], typer.Argument(metavar="STEM...", help="Audio files, or folders of them.")],
    network: Annotated[
        str, typer.Option("--network", "-n", metavar="NAME", help="Who hears, e.g. musicnn.")
    ] = "timbre",
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many classes are shown.")] = 5,
    layer: Annotated[
        str, typer.Option("--layer", metavar="NAME", help="Tell the channels of a layer, not classes.")
    ] = "",
    patch_hop: Annotated[
        int,
        typer.Option(
            "--patch-hop", metavar="FRAMES", min=0, help="The network's frames from one value to the next."
        ),
    ] = 0,
    table: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write all over time; - is standard output."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw it: .png, .svg or .pdf.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda, cuda:0 ...")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")] = False,
    as_json: a.JsonOption = False,
) -> None:
    """Tell what a network hears in stems: the strongest classes, or channels of a layer, and when."""
    from rich.progress import BarColumn, TimeRemainingColumn

    from bridge.files import check_free, check_writable, write_whole
    from bridge.plan.find_stems import find_stems
    from bridge.processors.heard_sound import hear_together
    from bridge.processors.hearing import hear_files, open_ear
    from bridge.report.hearing_picture import check_picture, draw_hearing

    for path in (table, picture):
        if path is not None and str(path) != "-":
            check_free(path, overwrite)
            check_writable(path)
    if picture is not None:
        check_picture(picture)
    ear = open_ear(network, layer=layer, patch_hop=patch_hop, device=device)
    paths = find_stems(stems)
    bars = open_bars(BarColumn(), TimeRemainingColumn())
    tasks = {}
    # No progress bar, and no empty line after one, where output is not a terminal.
    with bars if bars.console.is_terminal else nullcontext():
        if bars.console.is_terminal:
            tasks = {path: bars.add_task(path.name, total=_length_s(path)) for path in paths}
        sounds = hear_files(
            paths,
            ear,
            layer=layer,
            patch_hop=patch_hop,
            report=lambda path, done_s: bars.update(tasks[path], completed=done_s) if tasks else None,
        )
    named = dict(zip(_names(paths), sounds, strict=True))
    with_session = dict(named)
    if len(named) > 1:
        with_session[SESSION] = hear_together(sounds)
    if table is not None and str(table) == "-":
        _write_csv(sys.stdout, with_session)
    elif table is not None:
        with (
            write_whole(table, overwrite=overwrite) as part,
            part.open("w", encoding="utf-8", newline="") as stream,
        ):
            _write_csv(stream, with_session)
    what = f"channels of {layer}" if layer else "classes"
    if picture is not None:
        title = f"{ear.card.name}: {what}"
        draw_hearing(picture, with_session, top=top, title=title, is_probability=not layer)
    if as_json:
        heard = {name: _json(sound, top) for name, sound in with_session.items()}
        session = heard.pop(SESSION) if len(named) > 1 else None
        for path, one in zip(paths, heard.values(), strict=True):
            one["file"] = str(path)
        print_json({"network": ear.card.name, "layer": layer or None, "stems": heard, "session": session})
    elif str(table) != "-":
        for name, sound in with_session.items():
            _print_stem(name, sound, top, layer)
        if table is not None or picture is not None:
            note(" and ".join(f"written: {path}" for path in (table, picture) if path is not None))


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what stems are called: as their files, or where two are called alike by their whole paths."""
    names = [path.stem for path in paths]
    return [
        str(path) if names.count(name) > 1 or name == SESSION else name
        for name, path in zip(names, paths, strict=True)
    ]


def _print_stem(name: str, sound: HeardSound, top: int, layer: str) -> None:
    from bridge.processors.heard_sound import strongest

    rows = [
        (f"{layer}:{one.name}" if layer else one.name, *_figures(one, layer), f"{one.at_s:.1f} s")
        for one in strongest(sound, top)
    ]
    heading = "channel" if layer else "class"
    title = f"{name}, {minutes(sound.duration_s)}" + ("" if rows else ": no sound")
    print_table((heading, "mean", "max", "max at") if rows else (), rows, title=title)


def _figures(one: Strong, layer: str) -> tuple[str, str]:
    if layer:
        return f"{one.mean:.4g}", f"{one.highest:.4g}"
    return f"{one.mean:.1%}", f"{one.highest:.1%}"


def _json(sound: HeardSound, top: int) -> dict[str, Any]:
    from bridge.processors.heard_sound import strongest

    strong = strongest(sound, top)
    return {
        "duration_s": sound.duration_s,
        "strongest": [
            {"name": one.name, "mean": one.mean, "max": one.highest, "max_at_s": one.at_s} for one in strong
        ],
        "seconds": sound.middles_s.tolist(),
        "values": {one.name: sound.values[:, sound.names.index(one.name)].tolist() for one in strong},
    }


def _write_csv(stream: TextIO, sounds: Mapping[str, HeardSound]) -> None:
    """Write all that was heard; levels are relative to the loudest patch of all stems."""
    writer = csv.writer(stream, lineterminator="\n")
    loudest = max(float(one.energy.max(initial=0.0)) for name, one in sounds.items() if name != SESSION)
    writer.writerow(["stem", "seconds", "level_db", *next(iter(sounds.values())).names])
    for name, sound in sounds.items():
        for at_s, energy, values in zip(sound.middles_s, sound.energy, sound.values, strict=True):
            level = f"{10.0 * math.log10(energy / loudest):.2f}" if energy > 0 else "-inf"
            writer.writerow([name, f"{at_s:.4f}", level, *(f"{value:.6g}" for value in values)])


def _length_s(path: Path) -> float | None:
    """Return how long a file is; of one that cannot be read whoever reads it tells more."""
    from bridge.audio.reader import read_info
    from bridge.errors import InputError

    try:
        return read_info(path).duration_s
    except InputError:
        return None
