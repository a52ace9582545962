"""What the commands that train share: options, data, settings, and how they are stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.console import note, warn
from bridge.errors import InputError, RenderStoppedError

if TYPE_CHECKING:
    from dream_core.training.run_settings import RunSettings
    from dream_core.training.segments import Segments

__all__ = [
    "DataOption",
    "DeviceOption",
    "EpochsOption",
    "FromOption",
    "KindOption",
    "MinutesOption",
    "NameOption",
    "OverwriteOption",
    "OwnSeedOption",
    "ResumeOption",
    "ShapeOption",
    "WorkersOption",
    "open_data",
    "read_settings",
    "stoppable",
]

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
        help="mel_cnn, mel_full, mel_timbral, mel_vgg, mel_conv2d, wave_filterbank, wave_plain, "
        "keys or embedding_head.",
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
WorkersOption = Annotated[
    int,
    typer.Option("--workers", metavar="N", min=0, max=64, help="Processes that make batches; the same bits."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Begin anew where there is one.")]


@contextmanager
def stoppable(state: Path) -> Iterator[None]:
    """Say truly what a training that is stopped by Ctrl-C leaves behind.

    Args:
        state: The file that is there once there is something to go on from.

    Raises:
        RenderStoppedError: It was stopped.
    """
    try:
        yield
    except KeyboardInterrupt:
        kept = (
            "what is finished is kept, the same command with --resume goes on"
            if state.exists()
            else "nothing was finished yet, the same command begins again"
        )
        raise RenderStoppedError(f"stopped; {kept}") from None


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


def read_settings(
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
                numbers[key] = _as(own[key].default, value)
            except ValueError:
                mistakes.append(f"--set {assignment}: a number is needed")
        else:
            options[key] = value
    if mistakes:
        raise InputError("; ".join(mistakes))
    return RunSettings(epochs=epochs, minutes=minutes, seed=seed, **numbers), options


def _as(default: Any, value: str) -> Any:
    """Read a value as what its default is."""
    return type(default)(value)
