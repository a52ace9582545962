"""`reverie networks train`, `search`, `runs` and `test`: networks of one's own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.console import minutes as show_minutes
from bridge.cli.console import note, open_bars, print_json, print_table, warn
from bridge.cli.networks_told import epoch_line, print_heard, print_keys, print_trained, trial_lines
from bridge.cli.shared_options import JsonOption
from bridge.errors import InputError, nearest_names

if TYPE_CHECKING:
    from dream_core.training.learner import Judged
    from dream_core.training.run import EpochReport
    from dream_core.training.run_settings import RunSettings
    from dream_core.training.search import TrialReport
    from dream_core.training.segments import Segments

__all__ = ["COMMANDS", "open_data"]

_FOLDS = (0.7, 0.15, 0.15)
"""How a plain folder is dealt out: of twenty files a class, three validate and three test."""

DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        help="A prepared data set, or a folder with a folder of sounds for each class.",
    ),
]
KindOption = Annotated[
    str,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="mel_cnn, mel_full, mel_timbral, mel_vgg, mel_conv2d, wave_filterbank, wave_plain or "
        "embedding_head.",
    ),
]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="What the network is called.")]
FromOption = Annotated[
    str,
    typer.Option(
        "--from", metavar="NETWORK:LAYER", help="On what an embedding_head stands, such as timbre:block5."
    ),
]
EpochsOption = Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="At most so many.")]
MinutesOption = Annotated[
    float,
    typer.Option("--minutes", metavar="M", min=0, help="Begin nothing further after so many; 0: no limit."),
]
OwnSeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, help="Of initial weights, batches and augmentation.")
]
ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="OPTION=VALUE",
        help="Shape or training: widths=64,128, strength=0.2; may be repeated.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda, cuda:0 ...")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on where it stopped, to the same bits.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Begin anew where there is one.")]


def train_command(
    ctx: typer.Context,
    data: DataOption,
    kind: KindOption = "mel_full",
    name: NameOption = "mine",
    base: FromOption = "",
    with_pitch: Annotated[
        bool,
        typer.Option("--with-pitch", help="Hear the pitch class too, to dream of as class:pitch_A."),
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option("--like", metavar="RUN.toml", help="As another run; what is given beside it wins."),
    ] = None,
    epochs: EpochsOption = 20,
    minutes: MinutesOption = 0.0,
    seed: OwnSeedOption = 0,
    assignments: ShapeOption = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network on sounds of your own; `--set dream.network=NAME` then dreams with it."""
    from rich.progress import BarColumn, TimeRemainingColumn

    from dream_core.runtime import resolve_device
    from dream_core.training.install import check_name, clear_run, install, runs_folder
    from dream_core.training.loop import train

    if like is not None:
        said, assignments = _like(ctx, like, assignments or [])
        kind, base, with_pitch = str(said["kind"]), str(said["base"]), bool(said["with_pitch"])
        epochs, seed = int(said["epochs"]), int(said["seed"])
    settings, options = _settings(assignments or [], epochs=epochs, minutes=minutes, seed=seed)
    folder = runs_folder() / name
    place = check_name(name, may_replace=overwrite or (resume and (folder / "run.toml").exists()))
    where = resolve_device(device)
    if overwrite and not resume:
        clear_run(folder)
    segments = open_data(data, folder)
    bars = open_bars(BarColumn(), TimeRemainingColumn())
    task = bars.add_task(name, total=epochs)

    def report(told: EpochReport) -> None:
        bars.update(task, completed=told.epoch)
        if not as_json:
            bars.console.print(epoch_line(told), highlight=False, markup=False)

    # No progress bar, and no empty line after one, where output is not a terminal.
    with bars if bars.console.is_terminal else nullcontext():
        trained = train(
            segments,
            kind,
            settings,
            folder,
            report,
            name=name,
            options=options,
            base=base,
            device=where,
            resume=resume,
            with_pitch=with_pitch,
        )
    install(trained.path, place)
    print_trained(trained, name, place, as_json)


def search_command(
    data: DataOption,
    kind: KindOption = "mel_full",
    name: NameOption = "mine",
    base: FromOption = "",
    trials: Annotated[int, typer.Option("--trials", metavar="N", min=1, help="In all, so many.")] = 30,
    epochs: EpochsOption = 20,
    minutes: MinutesOption = 0.0,
    seed: OwnSeedOption = 0,
    assignments: ShapeOption = None,
    device: DeviceOption = "auto",
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search for the shape and the settings that hear unheard groups best, and keep the best network."""
    from rich.progress import BarColumn, TimeRemainingColumn

    from dream_core.runtime import resolve_device
    from dream_core.training.install import check_name, clear_run, install, runs_folder
    from dream_core.training.search import SearchBudget, search

    settings, options = _settings(assignments or [], epochs=epochs, minutes=0.0, seed=seed)
    if options:
        raise InputError(
            f"--set {next(iter(options))}: a search chooses the shape; training settings are taken"
        )
    folder = runs_folder() / f"{name}.search"
    place = check_name(name, may_replace=overwrite or (resume and (folder / "search.journal").exists()))
    where = resolve_device(device)
    if overwrite and not resume:
        clear_run(folder)
    segments = open_data(data, folder)
    bars = open_bars(BarColumn(), TimeRemainingColumn())
    task = bars.add_task(name, total=trials)

    def report(told: TrialReport) -> None:
        bars.update(task, completed=told.number)
        if not as_json:
            for line in trial_lines(told):
                bars.console.print(line, highlight=False, markup=False)

    with bars if bars.console.is_terminal else nullcontext():
        trained = search(
            segments,
            kind,
            settings,
            SearchBudget(trials=trials, minutes=minutes),
            folder,
            report,
            name=name,
            base=base,
            device=where,
            resume=resume,
        )
    install(trained.path, place)
    print_trained(trained, name, place, as_json)
    if not as_json:
        note(f"every trial: {folder / 'search.csv'}")


def runs_command(
    serve: Annotated[bool, typer.Option("--serve", help="Open TensorBoard on their logs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List training runs: how far they are and how well they hear groups they never heard."""
    from dream_core.errors import SettingError
    from dream_core.training.install import runs_folder
    from dream_core.training.run_folder import read_run

    if serve:
        _serve(runs_folder())
        return
    found = []
    for path in sorted(runs_folder().glob("*/run.toml")):
        try:
            found.append((path.parent, read_run(path.parent)))
        except SettingError as error:
            warn(f"left out: {error}")
    if as_json:
        print_json([{"folder": str(folder), **record} for folder, record in found])
        return
    rows = []
    for folder, record in found:
        result = record.get("result", {})
        rows.append(
            (
                folder.name,
                record["run"].get("kind", ""),
                record["run"].get("state", ""),
                f"{result.get('epochs', _epochs_done(folder))}/{record['settings'].get('epochs', '')}",
                *(
                    f"{result[key]:.1%}" if key in result else ""
                    for key in ("accuracy_unheard_groups", "accuracy_heard_groups")
                ),
                show_minutes(result["seconds"]) if "seconds" in result else "",
            )
        )
    print_table(("run", "kind", "state", "epochs", "unheard groups", "heard groups", "time"), rows)
    if not rows:
        note(f"no runs in {runs_folder()}; reverie networks train begins one")


def judge_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A network, e.g. mine.")],
    data: DataOption,
    split: Annotated[
        str, typer.Option("--split", metavar="SIDE", help="all, train, validation or test.")
    ] = "all",
    as_json: JsonOption = False,
) -> None:
    """Test a network on another data set: accuracy, confusion, and how far to believe its probabilities.

    One that hears notes is tested frame by frame: precision, recall and F1 of the keys that are down.
    """
    from dream_core.training.hearing import OTHER
    from dream_core.training.key_evaluation import HeardKeys

    sides = ["train", "validation", "test", "all"]
    if split not in sides:
        raise InputError(f"--split {split}: {nearest_names(split, sides)}")
    with tempfile.TemporaryDirectory() as scratch:
        segments = open_data(data, Path(scratch))
        heard = _hear(name, data, segments, split, sides.index(split))
    if isinstance(heard, HeardKeys):
        print_keys(name, heard, as_json)
        return
    names = [*segments.classes, OTHER]
    if as_json:
        print_json(
            {
                "network": name,
                "segments": len(heard.rows),
                "accuracy": heard.accuracy,
                "confusion": {"classes": names, "counts": heard.confusion.tolist()},
                "calibration_error": heard.calibration_error,
                "calibration": [list(one) for one in heard.calibration],
            }
        )
        return
    print_heard(heard, names)


def open_data(path: Path, folder: Path) -> Segments:
    """Open what is learnt from; a plain folder of sounds is prepared first.

    Args:
        path: A prepared data set, or a folder with a folder for each class.
        folder: Where a plain folder's table and segments go; those that are there are taken.

    Raises:
        InputError: The folder is not there or holds neither, or its sounds cannot be dealt out.
        DataError: The data set is damaged.
    """
    from bridge.datasets.prepare import PrepareSettings, prepare_table
    from bridge.datasets.scan import scan_folder
    from bridge.datasets.table import write_table
    from dream_core.training import segments

    if not path.is_dir():
        raise InputError(f"--data {path}: no such folder; reverie data prepare writes one")
    if (path / "prepared.toml").exists():
        return segments.open_segments(path)
    if not (folder / "data/prepared.toml").exists():
        scan = scan_folder(path)
        write_table(folder / "data.csv", scan.recordings, overwrite=True)
        made = prepare_table(
            folder / "data.csv", folder / "data", PrepareSettings(folds=_FOLDS), overwrite=True
        )
        for line in (*scan.left_out.lines(), *made.left_out.lines(), *made.notes):
            note(line)
        for line in made.failed:
            warn(f"left out: {line}")
    return segments.open_segments(folder / "data")


def _hear(name: str, data: Path, segments: Segments, split: str, side: int) -> Judged:
    import numpy as np

    from dream_core.networks.registry import load_network
    from dream_core.training.hearing import hear_segments
    from dream_core.training.key_hearing import hear_keys

    rows = np.flatnonzero((segments.splits == side) | (split == "all"))
    if not len(rows):
        raise InputError(f"{data} has no segments in its {split} part")
    network = load_network(name)
    if network.card.keys_layer and segments.notes is not None:
        return hear_keys(network, segments, rows)
    return hear_segments(network, segments, rows)


def _like(ctx: typer.Context, path: Path, assignments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return arguments and assignments of another run, but for what the command line says."""
    from dream_core.training.run_folder import read_run

    record = read_run(path)
    run, settings = record["run"], record["settings"]
    told = {"kind": run.get("kind"), "base": run.get("from"), "with_pitch": run.get("with_pitch")}
    told |= {"epochs": settings.get("epochs"), "seed": settings.get("seed")}
    said = dict(ctx.params)
    for name, value in told.items():
        source = ctx.get_parameter_source(name)
        if value is not None and (source is None or source.name == "DEFAULT"):
            said[name] = value
    kept = {key: value for key, value in settings.items() if key not in ("epochs", "seed", "minutes")}
    return said, [*(f"{key}={value}" for key, value in {**kept, **record["options"]}.items()), *assignments]


def _settings(
    assignments: Sequence[str], *, epochs: int, minutes: float, seed: int
) -> tuple[RunSettings, dict[str, str]]:
    """Part what was set into settings of the run and options of the kind, and read the former.

    Raises:
        InputError: An assignment is none, or no number where one is needed.
    """
    from dream_core.training.run_settings import RunSettings

    own = {one.name: one for one in fields(RunSettings) if one.name not in ("epochs", "minutes", "seed")}
    numbers: dict[str, Any] = {}
    options: dict[str, str] = {}
    mistakes = []
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key or not value:
            mistakes.append(f"--set {assignment}: OPTION=VALUE is needed, as in widths=64,128")
        elif key in ("epochs", "minutes", "seed"):
            mistakes.append(f"--set {assignment}: that is --{key} {value}")
        elif key in own:
            try:
                numbers[key] = (int if isinstance(own[key].default, int) else float)(value)
            except ValueError:
                mistakes.append(f"--set {assignment}: a number is needed")
        else:
            options[key] = value
    if mistakes:
        raise InputError("; ".join(mistakes))
    return RunSettings(epochs=epochs, minutes=minutes, seed=seed, **numbers), options


def _epochs_done(folder: Path) -> int:
    try:
        return max(0, len((folder / "history.csv").read_text(encoding="utf-8").splitlines()) - 1)
    except OSError:
        return 0


def _serve(folder: Path) -> None:
    import importlib.util
    import subprocess

    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("TensorBoard is not installed; call: pip install 'reverie-audio[train]'")
    subprocess.run([sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)], check=False)


COMMANDS: dict[str, Callable[..., None]] = {
    "train": train_command,
    "search": search_command,
    "runs": runs_command,
    "test": judge_command,
}
"""Each command by the name it is called by."""
