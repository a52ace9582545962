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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dream_core.errors import NonFiniteError, SettingError
from dream_core.training.learners import learner_for
from dream_core.training.loop import Trained, open_run, train
from dream_core.training.run_folder import write_text
from dream_core.training.run_settings import RunSettings
from dream_core.training.search_space import Dimension, options_from, recentre, space_of
from dream_core.training.segments import Segments

__all__ = ["SearchBudget", "TrialReport", "search"]

_STARTUP_TRIALS = 10
_PRUNE_AFTER_TRIALS, _PRUNE_AFTER_EPOCHS = 5, 3
_RECENTRE_EVERY = 10
_DONE = "done"


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

    Raises:
        SettingError: Optuna is not installed, something does not fit, or no trial came to an end.
    """
    optuna = _optuna()
    # What is wrong with the data or the kind is wrong with every trial: it is said before the first.
    heard: dict[int, Tensor] = {}
    learner_for(kind, {}, segments, name, settings.seed, base)
    study = _open_study(optuna, folder, _fingerprint(segments, kind, settings, base), resume)
    started = time.monotonic()
    for stale in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(stale.number, state=optuna.trial.TrialState.FAIL)
    while len(done := _done(study)) < budget.trials:
        if budget.minutes > 0 and done and time.monotonic() - started > 60.0 * budget.minutes:
            break
        space, moved = _space_after(kind, done)
        study.sampler = optuna.samplers.TPESampler(
            seed=settings.seed * 1_000_003 + len(done), n_startup_trials=_STARTUP_TRIALS
        )
        trial = study.ask()
        values = {one.name: _suggest(trial, one) for one in space}
        state, accuracy, remark = _try(
            trial, segments, kind, settings, values, _trial_folder(folder, len(done)), base, device, heard
        )
        trial.set_user_attr(_DONE, len(done))
        is_failed = state == "failed"
        wanted = optuna.trial.TrialState
        states = {"complete": wanted.COMPLETE, "pruned": wanted.PRUNED, "failed": wanted.FAIL}
        study.tell(trial, None if is_failed else accuracy, state=states[state])
        _write_table(folder, _done(study))
        best = max((one.value for one in _done(study) if _is_complete(one)), default=0.0)
        report(
            TrialReport(
                number=len(done) + 1,
                trials=budget.trials,
                state=state,
                accuracy=accuracy,
                best=best,
                values=values,
                remarks=(*moved, *remark),
            )
        )
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


def _optuna() -> Any:
    if importlib.util.find_spec("optuna") is None:
        raise SettingError(
            "a search needs Optuna, which is not installed; call: pip install 'reverie-audio[train]'"
        )
    optuna = importlib.import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open_study(optuna: Any, folder: Path, fingerprint: str, resume: bool) -> Any:
    journal = folder / "search.journal"
    if journal.exists() and not resume:
        raise SettingError(
            f"{folder} holds a search already; --resume goes on with it, --overwrite begins anew"
        )
    folder.mkdir(parents=True, exist_ok=True)
    backend = importlib.import_module("optuna.storages.journal").JournalFileBackend(str(journal))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="search",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=_PRUNE_AFTER_TRIALS, n_warmup_steps=_PRUNE_AFTER_EPOCHS
        ),
    )
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


def _fingerprint(segments: Segments, kind: str, settings: RunSettings, base: str) -> str:
    return json.dumps(
        {
            "kind": kind,
            "from": base,
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
    trial: Any,
    segments: Segments,
    kind: str,
    settings: RunSettings,
    values: Mapping[str, float],
    folder: Path,
    base: str,
    device: torch.device | str,
    heard: dict[int, Tensor],
) -> tuple[str, float, tuple[str, ...]]:
    """Run one trial; returns how it ended, the validation accuracy, and what is to be said of it."""
    changed, options = options_from(kind, values)
    shutil.rmtree(folder, ignore_errors=True)  # of a trial that was killed
    best = 0.0
    try:
        run, _ = open_run(
            segments,
            kind,
            replace(settings, **changed),
            folder,
            name="trial",
            options=options,
            base=base,
            device=device,
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
    writer.writerow(["trial", "state", "validation_accuracy", *names])
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
