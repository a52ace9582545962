"""Search for the settings and the shape that hear unheard groups best, trial by trial, by Optuna.

Every trial is proposed from those before it and a seed made of how many these are, so a search that was
stopped goes on as if it had not been. Trials are judged by the validation groups; the test groups are heard
once, by the best of all.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dream_core.errors import NonFiniteError, SettingError
from dream_core.names import nearest_names
from dream_core.training.learners import learner_for
from dream_core.training.loop import Trained, open_run, train
from dream_core.training.run_folder import write_text
from dream_core.training.run_settings import RunSettings
from dream_core.training.search_space import Dimension, options_from, recentre, space_of
from dream_core.training.segments import Segments
from dream_core.training.together import lock_folder, run_together

__all__ = ["SAMPLERS", "SearchBudget", "TrialReport", "read_trials", "search"]

_STARTUP_TRIALS = 10
_PRUNE_AFTER_TRIALS, _PRUNE_AFTER_EPOCHS = 5, 3
_RECENTRE_EVERY = 10
_JOURNAL = "search.journal"
_PLACE, _DONE = "place", "done"
"""What is kept of a trial: which it is, from 0, while it runs and once it came to an end."""

_COLUMNS = ("trial", "state", "validation_accuracy")

SAMPLERS = ("tpe", "gp")
"""What can propose trials: a tree of Parzen estimators, a Gaussian process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBudget:
    """How much a search may try.

    Args:
        trials: In all, those of earlier calls counted.
        minutes: After so many no further trial begins; 0 sets no limit.
    """

    trials: int = 30
    minutes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """How a trial went.

    Args:
        number: From 1.
        trials: How many there are at most.
        state: ``complete``, ``pruned`` (given up, since others were better by then) or ``failed``.
        accuracy: Of the validation groups, 0..1.
        best: The best accuracy so far.
        values: What was tried.
        remarks: Bounds that moved before it, or why it failed.
    """

    number: int
    trials: int
    state: str
    accuracy: float
    best: float
    values: Mapping[str, float]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What every worker of a search is told.

    Args:
        segments: What is learnt from.
        kind: Of networks.
        settings: Of every trial, but for what is tried.
        budget: How much may be tried.
        folder: The search's own.
        base: For an embedding head, on what it stands.
        device: Where trials run.
        sampler: Which proposes: `tpe` or `gp`.
        deadline_s: By the clock, after which no further trial begins; 0: none.
        threads: Torch's, in each worker.
    """

    segments: Segments
    kind: str
    settings: RunSettings
    budget: SearchBudget
    folder: Path
    base: str
    device: torch.device | str
    sampler: str
    deadline_s: float
    threads: int


def search(
    segments: Segments,
    kind: str,
    settings: RunSettings,
    budget: SearchBudget,
    folder: Path,
    report: Callable[[TrialReport], None] = lambda _report: None,
    *,
    name: str = "mine",
    base: str = "",
    device: torch.device | str = "cpu",
    resume: bool = False,
    sampler: str = "tpe",
    jobs: int = 1,
) -> Trained:
    """Search, or go on searching; returns the best network, which lies in its trial's folder.

    Args:
        segments: What is learnt from.
        kind: One of `dream_core.training.learners.KINDS`.
        settings: Of every trial, but for what is tried.
        budget: How much may be tried.
        folder: The search's own.
        report: Called after each trial.
        name: What the best network is called.
        base: For an embedding head, on what it stands.
        device: Where trials run.
        resume: Go on where the folder's search stopped; where there is none, begin.
        sampler: What proposes the next trial: ``tpe``, or ``gp``, a Gaussian process.
        jobs: Trials at once, each in a process of its own. With one, a search that was stopped ends with the
            same best; with more, what is proposed depends on which trial ends first.

    Raises:
        SettingError: Optuna is not installed, something does not fit, another process searches in the
            folder, or no trial came to an end.
    """
    optuna = _optuna(sampler)
    # What is wrong with the data or the kind is wrong with every trial: it is said before the first.
    heard: dict[int, Tensor] = {}
    learner_for(kind, {}, segments, name, settings.seed, base)
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder):
        study = _open_study(optuna, folder, _fingerprint(segments, kind, settings, base, sampler), resume)
        for stale in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(stale.number, state=optuna.trial.TrialState.FAIL)
        task = _Task(
            segments=segments,
            kind=kind,
            settings=settings,
            budget=budget,
            folder=folder,
            base=base,
            device=device,
            sampler=sampler,
            deadline_s=time.time() + 60.0 * budget.minutes if budget.minutes > 0 else 0.0,
            threads=max(1, torch.get_num_threads() // jobs),
        )
        if jobs == 1:
            _work(task, study, heard, report, nullcontext())
        else:
            run_together(_work_alone, task, jobs, report)
        complete = [one for one in _done(study) if _is_complete(one)]
        if not complete:
            raise SettingError(f"{folder}: no trial came to an end; see search.csv there")
        chosen = max(complete, key=lambda one: (one.value, -one.user_attrs[_DONE]))
        changed, options = options_from(kind, chosen.params)
        return train(
            segments,
            kind,
            replace(settings, **changed),
            _trial_folder(folder, chosen.user_attrs[_DONE]),
            name=name,
            options=options,
            base=base,
            device=device,
            resume=True,
            heard=heard,
        )


def read_trials(folder: Path) -> tuple[dict[str, tuple[float, ...]], tuple[float, ...]]:
    """Return what the complete trials of a search tried, by name, and how well each heard.

    Raises:
        SettingError: The folder holds no search.
    """
    try:
        with (folder / "search.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["state"] == "complete"]
    except OSError as error:
        raise SettingError(f"{folder}: holds no search ({error})") from None
    accuracies = tuple(float(row["validation_accuracy"]) for row in rows)
    names = [name for name in (rows[0] if rows else ()) if name not in _COLUMNS]
    return {name: tuple(float(row[name]) for row in rows) for name in names}, accuracies


def _work_alone(task: _Task, report: Callable[[TrialReport], None], one_at_a_time: Any) -> None:
    """Do trials in a process of its own."""
    torch.set_num_threads(task.threads)
    study = _load_study(_optuna(task.sampler), task.folder)
    _work(task, study, {}, report, one_at_a_time)


def _work(
    task: _Task,
    study: Any,
    heard: dict[int, Tensor],
    report: Callable[[TrialReport], None],
    one_at_a_time: AbstractContextManager[Any],
) -> None:
    """Do trials until the budget is spent; whoever holds the lock takes the next place or notes an end."""
    wanted = importlib.import_module("optuna").trial.TrialState
    states = {"complete": wanted.COMPLETE, "pruned": wanted.PRUNED, "failed": wanted.FAIL}
    while True:
        with one_at_a_time:
            done = _done(study)
            place = _next_place(study)
            is_late = bool(task.deadline_s and done and time.time() > task.deadline_s)
            if place >= task.budget.trials or is_late:
                return
            space, moved = _space_after(task.kind, done)
            study.sampler = _sampler(task, place)
            trial = study.ask()
            trial.set_user_attr(_PLACE, place)
            values = {one.name: _suggest(trial, one) for one in space}
        state, accuracy, remark = _try(trial, task, values, place, heard)
        with one_at_a_time:
            trial.set_user_attr(_DONE, place)
            study.tell(trial, None if state == "failed" else accuracy, state=states[state])
            done = _done(study)
            _write_table(task.folder, done)
        report(
            TrialReport(
                number=len(done),
                trials=task.budget.trials,
                state=state,
                accuracy=accuracy,
                best=max((one.value for one in done if _is_complete(one)), default=0.0),
                values=values,
                remarks=(*moved, *remark),
            )
        )


def _next_place(study: Any) -> int:
    """Return the first place that no trial has, done or running; those that were killed leave theirs."""
    taken = {int(one.user_attrs[_DONE]) for one in _done(study)}
    taken |= {
        int(one.user_attrs[_PLACE])
        for one in study.get_trials(deepcopy=False)
        if not one.state.is_finished() and _PLACE in one.user_attrs
    }
    return next(place for place in range(len(taken) + 1) if place not in taken)


def _sampler(task: _Task, place: int) -> Any:
    """Return what proposes a trial: it follows from its place and from the trials before it."""
    samplers = importlib.import_module("optuna").samplers
    seed = task.settings.seed * 1_000_003 + place
    if task.sampler == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)
    return samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)


def _optuna(sampler: str) -> Any:
    if sampler not in SAMPLERS:
        raise SettingError(f"--sampler {sampler}: {nearest_names(sampler, SAMPLERS)}")
    if importlib.util.find_spec("optuna") is None:
        raise SettingError(
            "a search needs Optuna, which is not installed; call: pip install 'reverie-audio[train]'"
        )
    optuna = importlib.import_module("optuna")
    if sampler == "gp" and not hasattr(optuna.samplers, "GPSampler"):
        raise SettingError(
            f"--sampler gp needs Optuna 4 or newer, this is {optuna.__version__}; call: pip install "
            "--upgrade 'reverie-audio[train]'"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Gaussian processes are told to be experimental at every trial.
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _open_study(optuna: Any, folder: Path, fingerprint: str, resume: bool) -> Any:
    if (folder / _JOURNAL).exists() and not resume:
        raise SettingError(
            f"{folder} holds a search already; --resume goes on with it, --overwrite begins anew"
        )
    study = _load_study(optuna, folder)
    kept = study.user_attrs.get("space")
    if kept is None:
        study.set_user_attr("space", fingerprint)
    elif kept != fingerprint:
        before, now = json.loads(kept), json.loads(fingerprint)
        changed = [
            "what is tried is another"
            if key == "space"
            else f"{key} was {before.get(key)!r}, is {now[key]!r}"
            for key in now
            if before.get(key) != now[key]
        ]
        raise SettingError(
            f"{folder} holds another search: {'; '.join(changed)[:400]}. Give what it was begun with, or "
            "--overwrite"
        )
    return study


def _load_study(optuna: Any, folder: Path) -> Any:
    """Return the study of a folder, made where it is not there."""
    backend = importlib.import_module("optuna.storages.journal").JournalFileBackend(str(folder / _JOURNAL))
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="search",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=_PRUNE_AFTER_TRIALS, n_warmup_steps=_PRUNE_AFTER_EPOCHS
        ),
    )


def _fingerprint(segments: Segments, kind: str, settings: RunSettings, base: str, sampler: str) -> str:
    return json.dumps(
        {
            "kind": kind,
            "from": base,
            "sampler": sampler,
            "data": segments.sha256,
            **asdict(settings),
            "space": [asdict(one) for one in space_of(kind)],
        },
        sort_keys=True,
    )


def _done(study: Any) -> list[Any]:
    """Return the trials that came to an end, one way or another, in order."""
    trials = [
        one for one in study.get_trials(deepcopy=False) if _DONE in one.user_attrs and one.state.is_finished()
    ]
    return sorted(trials, key=lambda one: int(one.user_attrs[_DONE]))


def _is_complete(trial: Any) -> bool:
    return bool(trial.state.name == "COMPLETE")


def _space_after(kind: str, done: list[Any]) -> tuple[tuple[Dimension, ...], list[str]]:
    """Return the bounds after some trials; every tenth moves them. The same trials give the same bounds."""
    space, told = space_of(kind), []
    for count in range(_RECENTRE_EVERY, len(done) + 1, _RECENTRE_EVERY):
        complete = [one for one in done[:count] if _is_complete(one)]
        if complete:
            best = max(complete, key=lambda one: (one.value, -one.user_attrs[_DONE]))
            space, moved = recentre(space, best.params)
            told = moved if count == len(done) else []
    return space, told


def _suggest(trial: Any, one: Dimension) -> float:
    if one.is_whole:
        return int(trial.suggest_int(one.name, int(one.low), int(one.high)))
    return float(trial.suggest_float(one.name, one.low, one.high, log=one.is_log))


def _try(
    trial: Any, task: _Task, values: Mapping[str, float], place: int, heard: dict[int, Tensor]
) -> tuple[str, float, tuple[str, ...]]:
    """Run one trial; returns how it ended, the validation accuracy, and what is to be said of it."""
    changed, options = options_from(task.kind, values)
    folder = _trial_folder(task.folder, place)
    shutil.rmtree(folder, ignore_errors=True)  # of a trial that was killed
    best = 0.0
    try:
        run, _ = open_run(
            task.segments,
            task.kind,
            replace(task.settings, **changed),
            folder,
            name="trial",
            options=options,
            base=task.base,
            device=task.device,
            heard=heard,
        )
        while not run.is_done:
            told = run.epoch()
            best = max(best, told.validation_accuracy)
            trial.report(best, told.epoch)
            if trial.should_prune():
                return "pruned", best, ()
    except (SettingError, NonFiniteError) as error:
        return "failed", best, (str(error),)
    return "complete", best, ()


def _trial_folder(folder: Path, number: int) -> Path:
    return folder / "trials" / f"{number + 1:04d}"


def _write_table(folder: Path, done: list[Any]) -> None:
    names = sorted({name for one in done for name in one.params})
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_COLUMNS, *names])
    for one in done:
        value = "" if one.value is None else f"{one.value:.6f}"
        writer.writerow(
            [
                one.user_attrs[_DONE] + 1,
                one.state.name.lower(),
                value,
                *(one.params.get(name, "") for name in names),
            ]
        )
    write_text(folder / "search.csv", stream.getvalue())
