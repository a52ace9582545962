"""`reverie networks search`: trials of shapes and settings, the best network kept."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.console import note, open_bars
from bridge.cli.networks_told import print_trained, trial_lines
from bridge.cli.shared_options import JsonOption
from bridge.cli.train_options import (
    DataOption,
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
    open_data,
    read_settings,
    stoppable,
)
from bridge.errors import InputError

if TYPE_CHECKING:
    from dream_core.training.search import TrialReport

__all__ = ["search_command"]


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
    sampler: Annotated[
        str, typer.Option("--sampler", metavar="NAME", help="What proposes: tpe, or gp, a Gaussian process.")
    ] = "tpe",
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Trials at once.")] = 1,
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

    settings, options = read_settings(assignments or [], epochs=epochs, minutes=0.0, seed=seed)
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

    with stoppable(folder / "search.journal"), bars if bars.console.is_terminal else nullcontext():
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
            sampler=sampler,
            jobs=jobs,
        )
    install(trained.path, place)
    print_trained(trained, name, place, as_json)
    picture = _draw(folder, name, kind)
    if not as_json:
        note(f"every trial: {folder / 'search.csv'}{picture}")


def _draw(folder: Path, name: str, kind: str) -> str:
    """Draw the trials where matplotlib is there; returns what to say of it."""
    from bridge.report.search_picture import can_draw, draw_search
    from dream_core.training.search import read_trials
    from dream_core.training.search_space import space_of

    if not can_draw():
        return "; pip install 'reverie-audio[plot]' draws them as well"
    tried, accuracies = read_trials(folder)
    draw_search(
        folder / "search.png",
        tried,
        accuracies,
        title=f"{name}: {len(accuracies)} complete trials",
        logarithmic={one.name for one in space_of(kind) if one.is_log},
    )
    return f", drawn: {folder / 'search.png'}"
