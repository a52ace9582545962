"""`reverie data`: recordings found, rendered, looked at and prepared, to train a network on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import minutes, note, open_bars, print_json, print_table, say, warn
from bridge.cli.shared_options import JsonOption
from bridge.errors import InputError

if TYPE_CHECKING:
    from bridge.datasets.instruments import PluginSound
    from bridge.datasets.summary import Summary

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

SOME_FAILED = 3

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]
Report = Callable[[str, int, int], None]


@contextmanager
def _progress() -> Iterator[Report]:
    """Show how far something is; nothing where output is not a terminal."""
    from rich.progress import BarColumn, TimeRemainingColumn

    bars = open_bars(BarColumn(), TimeRemainingColumn())
    if not bars.console.is_terminal:
        yield lambda _what, _done, _total: None
        return
    with bars:
        task = bars.add_task("", total=None)
        yield lambda what, done, total: bars.update(
            task, description=what, completed=done, total=total or None
        )


@app.command("scan")
def scan_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A data set, or a folder a class.")],
    kind: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="KIND",
            help="folders, nsynth, philharmonia, irmas, esc50, urbansound8k or csv: how it is laid out.",
        ),
    ] = "folders",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The table.")] = Path("data.csv"),
    classes: Annotated[
        str, typer.Option("--map", metavar="FILE|add10", help="Which label becomes which class, as TOML.")
    ] = "",
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", metavar="KEY=VALUE,...", help="Leave out what fits all pairs; may be repeated."
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Make a table of recordings, which may be edited and is prepared next."""
    from bridge.datasets.scan import scan_folder
    from bridge.datasets.table import write_table
    from bridge.datasets.vetting import Vetting, read_drops, read_map
    from bridge.files import check_free

    check_free(out, overwrite)
    vetting = Vetting(classes=read_map(classes) if classes else None, drops=read_drops(drop or ()))
    with _progress() as report:
        scan = scan_folder(
            folder, kind, vetting=vetting, report=lambda done: report("files looked at", done, 0)
        )
    write_table(out, scan.recordings, overwrite=overwrite)
    for line in scan.left_out.lines():
        note(line)
    n_classes = len({one.label for one in scan.recordings})
    length = minutes(sum(one.duration_s for one in scan.recordings))
    say(f"{out}: {len(scan.recordings)} recordings of {n_classes} classes, {length}")
    note(f"next: reverie data show {out}, reverie data prepare {out} --out prepared")


@app.command("render")
def render_command(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the notes go.")],
    soundfonts: Annotated[
        list[Path] | None,
        typer.Option("--soundfont", metavar="FILE", help="An .sf2 or .sf3 file; may be repeated."),
    ] = None,
    plugins: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin", metavar="NAME|PATH", help="A VST3 instrument, installed or a bundle; may be repeated."
        ),
    ] = None,
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--state", metavar="FILE", help="The .vstpreset of each --plugin, in their order; - for none."
        ),
    ] = None,
    plugin_names: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin-name",
            metavar="NAME",
            help="Which plugin of each bundle, in order; - for its only one.",
        ),
    ] = None,
    notes: Annotated[int, typer.Option("--notes", metavar="N", help="Single notes of each preset.")] = 24,
    chords: Annotated[int, typer.Option("--chords", metavar="N", help="Chords of each preset.")] = 0,
    families: Annotated[
        list[str] | None,
        typer.Option("--family", metavar="NAME", help="Only this General MIDI family; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of which notes.")] = 0,
) -> None:
    """Render notes and chords of General MIDI soundfonts and VST3 instruments: a set without recordings."""
    from bridge.datasets.notes import NoteSettings, render_instruments

    settings = NoteSettings(n_notes=notes, n_chords=chords, families=tuple(families or ()), seed=seed)
    with _progress() as report:
        rendered = render_instruments(
            soundfonts or (),
            _plugin_sounds(plugins or (), states or (), plugin_names or ()),
            out,
            settings,
            report=report,
        )
    if rendered.n_absent:
        note(f"{rendered.n_absent} presets are in no soundfont that should have them; left out")
    if rendered.n_silent:
        note(f"{rendered.n_silent} notes lie beyond the keys of their presets; left out")
    n_classes = len({one.label for one in rendered.recordings})
    n_groups = len({one.group for one in rendered.recordings})
    what = ("presets", "families") if not plugins else ("instruments", "classes")
    say(f"{out}: {len(rendered.recordings)} sounds of {n_groups} {what[0]} in {n_classes} {what[1]}")
    note(f"next: reverie data prepare {out / 'data.csv'} --out prepared")


def _plugin_sounds(plugins: Sequence[str], states: Sequence[str], names: Sequence[str]) -> list[PluginSound]:
    """Give each plugin its state and its name inside the bundle, by place."""
    from bridge.datasets.instruments import PluginSound

    for option, given in (("--state", states), ("--plugin-name", names)):
        if len(given) > len(plugins):
            raise InputError(
                f"{option} is given {len(given)} times for {len(plugins)} --plugin; give each plugin its "
                "own, in their order, and - where it has none"
            )
    missing = [one for one in states if one != "-" and not Path(one).is_file()]
    if missing:
        raise InputError(f"--state {missing[0]}: no such file; `reverie plugins state` saves one")
    return [
        PluginSound(
            plugin=plugin,
            state=None if state == "-" else Path(state),
            plugin_name=None if name == "-" else name,
        )
        for plugin, state, name in zip(
            plugins,
            [*states, *["-"] * (len(plugins) - len(states))],
            [*names, *["-"] * (len(plugins) - len(names))],
            strict=True,
        )
    ]


@app.command("prepare")
def prepare_command(
    table: Annotated[Path, typer.Argument(metavar="data.csv", help="What `reverie data scan` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the set goes.")],
    rate: Annotated[int, typer.Option("--rate", metavar="HZ", help="Of the set.")] = 22050,
    segment: Annotated[float, typer.Option("--segment", metavar="S", help="Length of a segment.")] = 1.0,
    split: Annotated[
        str, typer.Option("--split", metavar="group|segment", help="What is never on two sides.")
    ] = "group",
    folds: Annotated[
        str, typer.Option("--folds", metavar="A,B,C", help="Shares of train, validation and test.")
    ] = ".8,.1,.1",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of what goes where.")] = 0,
    trim: Annotated[
        float, typer.Option("--trim", metavar="DB", help="Quieter ends are cut off, relative to the peak.")
    ] = -45.0,
    stretch: Annotated[
        bool,
        typer.Option("--stretch/--no-stretch", help="Give rare classes copies in train, twice as long."),
    ] = True,
    encode: Annotated[
        str,
        typer.Option("--encode", metavar="waveform|log_mel", help="What is kept; log_mel for large sets."),
    ] = "waveform",
    i_know: Annotated[bool, typer.Option("--i-know", help="Let --split segment be.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Cut a table's recordings into segments of one length and deal them out, whole groups at a time."""
    from bridge.datasets.prepare import PrepareSettings, prepare_table

    settings = PrepareSettings(
        sample_rate=rate,
        segment_s=segment,
        split=split,
        folds=_read_folds(folds),
        seed=seed,
        trim_db=trim,
        stretches=stretch,
        knows=i_know,
        encode=encode,
    )
    with _progress() as report:
        prepared = prepare_table(table, out, settings, overwrite=overwrite, report=report)
    for line in (*prepared.left_out.lines(), *prepared.notes):
        note(line)
    for line in prepared.failed:
        warn(f"left out: {line}")
    segments = prepared.segments
    sides = [int((segments.splits == side).sum()) for side in range(3)]
    say(
        f"{out}: {len(segments)} segments of {len(segments.classes)} classes: {sides[0]} in train, "
        f"{sides[1]} in validation, {sides[2]} in test"
    )
    if prepared.failed:
        raise typer.Exit(SOME_FAILED)


@app.command("show")
def show_command(
    path: Annotated[Path, typer.Argument(metavar="FOLDER|data.csv", help="A prepared set, or a table.")],
    picture: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw spectrograms of every class.")
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell how much there is of every class, on which side, and what leaks from one side to another."""
    from bridge.datasets.summary import summarise_segments, summarise_table
    from bridge.files import check_free
    from bridge.report.hearing_picture import check_picture

    is_set = path.is_dir()
    if picture is not None:
        if not is_set:
            raise InputError(f"--png draws segments; prepare {path} first: reverie data prepare {path}")
        check_free(picture, overwrite)
        check_picture(picture)
    with _progress() as report:
        summarise = summarise_segments if is_set else summarise_table
        summary = summarise(path, report=lambda done, total: report("compared", done, total))
    if picture is not None:
        from bridge.datasets.sheet import draw_sheet
        from dream_core.training.segments import open_segments

        draw_sheet(picture, open_segments(path))
    if as_json:
        print_json({**asdict(summary), "imbalance": summary.imbalance})
    else:
        _print_summary(summary)
    for line in summary.unreadable:
        warn(line)
    if picture is not None:
        note(f"written: {picture}")


def _print_summary(summary: Summary) -> None:
    from dream_core.training.segments import SPLITS

    rows = [
        (
            one.label,
            one.n_items,
            minutes(one.duration_s),
            one.n_groups,
            *(f"{n} ({groups})" if n else "-" for n, groups in zip(one.items, one.groups, strict=True)),
        )
        for one in summary.classes
    ]
    print_table(("class", summary.what, "length", "groups", *(f"{side} (groups)" for side in SPLITS)), rows)
    total = minutes(sum(one.duration_s for one in summary.classes))
    n_items = sum(one.n_items for one in summary.classes)
    say(f"{n_items} {summary.what}, {total}; the largest class is {summary.imbalance:.1f} times the smallest")
    for line in summary.leaks:
        say(f"leak: {line}")
    if not summary.leaks:
        say("no leaks: no group and no sound is on two sides")


def _read_folds(text: str) -> tuple[float, float, float]:
    try:
        train, validation, test = (float(share) for share in text.split(","))
    except ValueError:
        raise InputError(f"--folds {text}: three shares are needed, such as .8,.1,.1") from None
    return train, validation, test
