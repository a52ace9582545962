"""`reverie networks train`: a network of one's own, from a folder of sounds, a data set or a run file."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import note, open_bars, warn
from bridge.cli.networks_told import epoch_line, print_trained
from bridge.cli.shared_options import JsonOption
from bridge.cli.train_options import (
    DeviceOption,
    EpochsOption,
    FromOption,
    KindOption,
    MinutesOption,
    NameOption,
    OverwriteOption,
    OwnSeedOption,
    ResumeOption,
    ShapeOption,
    WorkersOption,
    open_data,
    read_settings,
    stoppable,
)
from bridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from dream_core.training.loop import Trained
    from dream_core.training.run import EpochReport
    from dream_core.training.run_file import RunFile
    from dream_core.training.segments import Segments
    from dream_core.training.team import Team

__all__ = ["train_command"]

_SAID_BY_FILE = ("kind", "base", "with_pitch", "epochs", "minutes", "seed", "assignments")


def train_command(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="A prepared data set, or a folder with a folder of sounds for each class.",
        ),
    ] = None,
    run_name: Annotated[
        str,
        typer.Option(
            "--run",
            metavar="FILE",
            help="A run.toml to run again, to the same bits; or timbre or pitch, as these were made.",
        ),
    ] = "",
    kind: KindOption = "mel_full",
    name: NameOption = "mine",
    base: FromOption = "",
    with_pitch: Annotated[
        bool,
        typer.Option("--with-pitch", help="Hear the pitch class too, to dream of as class:pitch_A."),
    ] = False,
    epochs: EpochsOption = 20,
    minutes: MinutesOption = 0.0,
    seed: OwnSeedOption = 0,
    assignments: ShapeOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = 0,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network on sounds of your own; `--set dream.network=NAME` then dreams with it.

    `torchrun --nproc-per-node 2 -m bridge.cli networks train ...` trains on two GPUs together.
    """
    if kind == "frames":
        raise InputError(
            "--kind frames: a network that plays on learns files, not classes; call: "
            f"reverie networks train-frames {data or 'FILE'} --name {name}"
        )
    if run_name:
        _check_beside(context)
        file = _read_file(run_name)
        name = file.name if _is_default(context, "name") else name
    else:
        file = None
        if data is None:
            raise InputError(
                "--data DIR is needed, a folder with a folder of sounds for each class; or --run FILE"
            )
    _train(
        file or _given(kind, name, base, with_pitch, epochs, minutes, seed, assignments),
        data,
        name,
        device,
        workers,
        resume=resume,
        overwrite=overwrite,
        as_json=as_json,
    )


def _train(
    file: RunFile,
    data: Path | None,
    name: str,
    device: str,
    workers: int,
    *,
    resume: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    from dream_core.runtime import resolve_device
    from dream_core.training.install import check_name, clear_run, install, runs_folder
    from dream_core.training.team import join_team

    folder = runs_folder() / name
    with join_team(resolve_device(device)) as (team, where):
        place = None
        segments = None
        if team.leads:
            place = check_name(name, may_replace=overwrite or (resume and (folder / "run.toml").exists()))
            if overwrite and not resume:
                clear_run(folder)
            segments = _open(file, data, folder)
            if workers:
                _warn_of_workers(file, segments, workers)
        team.tell(None)  # the others look when the first one has cleared and prepared
        if not team.leads:
            segments = _open(file, data, folder)
        show = _TrainingLine(name, file.settings.all_epochs, is_silent=as_json, is_shown=team.leads)
        with stoppable(folder / "state.pt"), show.bars:
            trained = _run(file, segments, folder, name, where, workers, resume, team, show.report, data)
        if place is not None:
            install(trained.path, place)
            print_trained(trained, name, place, as_json)


def _run(
    file: RunFile,
    segments: Segments | None,
    folder: Path,
    name: str,
    device: torch.device,
    workers: int,
    resume: bool,
    team: Team,
    report: Callable[[EpochReport], None],
    data: Path | None,
) -> Trained:
    from dream_core.training.loop import train
    from dream_core.training.timbre import train_timbre

    if segments is None:
        if team.size > 1:
            raise InputError(f"{file.path}: its recipe is for one process; call it without torchrun")
        return train_timbre(
            file.settings,
            file.options,
            folder,
            report,
            note,
            notes_folder=data,
            name=name,
            device=device,
            resume=resume,
        )
    return train(
        segments,
        file.kind,
        file.settings,
        folder,
        report,
        name=name,
        options=file.options,
        base=file.base,
        device=device,
        resume=resume,
        with_pitch=file.with_pitch,
        workers=workers,
        team=team,
    )


class _TrainingLine:
    """A bar where there is a terminal, a line an epoch."""

    def __init__(self, name: str, epochs: int, *, is_silent: bool, is_shown: bool) -> None:
        from rich.progress import BarColumn, TimeRemainingColumn

        self._bars = open_bars(BarColumn(), TimeRemainingColumn())
        self._task = self._bars.add_task(name, total=epochs)
        self._is_silent = is_silent or not is_shown
        # No progress bar, and no empty line after one, where output is not a terminal.
        self.bars = self._bars if is_shown and self._bars.console.is_terminal else nullcontext()

    def report(self, told: EpochReport) -> None:
        """Show how an epoch went."""
        self._bars.update(self._task, completed=told.epoch)
        if not self._is_silent:
            self._bars.console.print(epoch_line(told), highlight=False, markup=False)


def _given(
    kind: str,
    name: str,
    base: str,
    with_pitch: bool,
    epochs: int,
    minutes: float,
    seed: int,
    assignments: list[str] | None,
) -> RunFile:
    """Return what the command line says as a run file would."""
    from dream_core.training.run_file import RunFile

    settings, options = read_settings(assignments or [], epochs=epochs, minutes=minutes, seed=seed)
    return RunFile(
        path=Path(),
        name=name,
        kind=kind,
        base=base,
        with_pitch=with_pitch,
        threads=0,
        torch="",
        settings=settings,
        options=options,
        notes="",
        sha256="",
    )


def _read_file(name: str) -> RunFile:
    """Read a run file, and take what decides its bits: the number of threads."""
    import torch

    from dream_core.training.run_file import read_run_file

    file = read_run_file(name)
    if file.threads:
        torch.set_num_threads(file.threads)
    if file.torch and file.torch.partition("+")[0] != torch.__version__.partition("+")[0]:
        warn(f"{file.path} ran with Torch {file.torch}, not {torch.__version__}: other bits may come of it")
    return file


def _open(file: RunFile, data: Path | None, folder: Path) -> Segments | None:
    """Open what a run learns from; None where a recipe makes it."""
    if file.notes:
        return None
    if data is None:
        raise InputError(f"{file.path} learns from a data set: --data DIR is needed, the one it ran with")
    segments = open_data(data, folder)
    if file.sha256 and segments.sha256 != file.sha256:
        raise InputError(
            f"--data {data} is not what {file.path} ran with (hash {segments.sha256[:12]}, not "
            f"{file.sha256[:12]}); give that data set, or leave its sha256 out of a copy of the file"
        )
    return segments


def _warn_of_workers(file: RunFile, segments: Segments | None, workers: int) -> None:
    """Say where workers are not used, and why."""
    if segments is None:
        why = "a recipe draws its own batches"
    elif file.kind == "embedding_head":
        why = "a head hears its sounds once"
    elif file.kind == "keys":
        why = "keys are mixed and heard in this process"
    elif segments.encoding is not None:
        why = "the set keeps log-mel frames, which need no hearing"
    else:
        return
    warn(f"--workers {workers}: not used; {why}")


def _check_beside(context: typer.Context) -> None:
    """Refuse options that a run file says."""
    names = {"base": "from", "assignments": "set", "with_pitch": "with-pitch"}
    wrong = [f"--{names.get(key, key)}" for key in _SAID_BY_FILE if not _is_default(context, key)]
    if wrong:
        raise InputError(f"{', '.join(wrong)}: --run says that; change it in a copy of the file")


def _is_default(context: typer.Context, parameter: str) -> bool:
    source = context.get_parameter_source(parameter)
    return source is None or source.name == "DEFAULT"
