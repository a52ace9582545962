"""The training loop: it knows no network, only a `Learner`.

AdamW with a warm-up and half a cosine; a running mean of the weights is what is validated, its batch
normalisation measured anew each time; the epoch that hears the validation groups best is kept; the test
groups are heard once, in the end. Everything an epoch draws follows from the seed and its number, and the
state after each epoch is on disk, so a run that was stopped ends with the same bits as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.training.learner import Judged, Learner
from dream_core.training.learners import learner_for
from dream_core.training.run import EpochReport, Run
from dream_core.training.run_card import describe, run_card
from dream_core.training.run_folder import (
    CHECKPOINT,
    RunRecord,
    check_free_folder,
    read_state,
    write_run,
    write_text,
)
from dream_core.training.run_settings import RunSettings
from dream_core.training.segment_rows import RowParts, part_rows
from dream_core.training.segments import Segments
from dream_core.training.team import ALONE, Team

__all__ = ["EpochReport", "Trained", "begin_run", "finish_run", "open_run", "run_record", "train"]

_FREE_SETTINGS = ("minutes",)
"""What may change when a run goes on: it changes no bit of an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of a run.

    Args:
        network: Ready to dream with, in evaluation mode.
        path: Its file.
        sha256: Of that file.
        epochs: That were trained.
        best_epoch: Whose weights these are.
        unheard: What it takes the test groups for; the validation groups where there are no others.
        heard: What it takes unheard segments of groups it learnt from for.
        is_tested: Whether `unheard` is of test groups, or of those that chose the epoch.
    """

    network: nn.Module
    path: Path
    sha256: str
    epochs: int
    best_epoch: int
    unheard: Judged
    heard: Judged
    is_tested: bool


def train(
    segments: Segments,
    kind: str,
    settings: RunSettings,
    folder: Path,
    report: Callable[[EpochReport], None] = lambda _report: None,
    *,
    name: str = "mine",
    options: Mapping[str, str] | None = None,
    base: str = "",
    device: torch.device | str = "cpu",
    resume: bool = False,
    heard: dict[int, Tensor] | None = None,
    with_pitch: bool = False,
    workers: int = 0,
    team: Team = ALONE,
) -> Trained:
    """Train a network, or go on training.

    Args:
        segments: What is learnt from.
        kind: One of `dream_core.training.learners.KINDS`.
        settings: Of the run.
        folder: The run's own.
        report: Called after each epoch, when its state is kept.
        name: What the network is called.
        options: Of the kind, as text: ``{"widths": "64,128"}``.
        base: For an embedding head, on what it stands: ``NETWORK:LAYER``.
        device: Where it runs; the same bits come of the same device alone.
        resume: Go on where the folder's run stopped; where there is none, begin.
        heard: For a head, what the layer says of segments: filled, and taken from by later runs on it.
        with_pitch: Whether a second head hears the pitch class of segments, beside their class.
        workers: How many processes make batches; 0: this one. The bits are the same.
        team: The processes that train together; each calls this.

    Raises:
        SettingError: A setting, the data or the folder's run does not fit.
    """
    run, record = open_run(
        segments,
        kind,
        settings,
        folder,
        name=name,
        options=options,
        base=base,
        device=device,
        resume=resume,
        heard=heard,
        with_pitch=with_pitch,
        workers=workers,
        team=team,
    )
    with closing(run.learner):
        while not run.is_done:
            report(run.epoch())
        return cast(Trained, team.tell(finish_run(run, record) if team.leads else None))


def open_run(
    segments: Segments,
    kind: str,
    settings: RunSettings,
    folder: Path,
    *,
    name: str,
    options: Mapping[str, str] | None = None,
    base: str = "",
    device: torch.device | str = "cpu",
    resume: bool = False,
    heard: dict[int, Tensor] | None = None,
    with_pitch: bool = False,
    workers: int = 0,
    team: Team = ALONE,
) -> tuple[Run, RunRecord]:
    """Begin a run or take one up, without training; arguments are those of `train`.

    Raises:
        SettingError: A setting, the data or the folder's run does not fit.
    """
    where = torch.device(device)
    parts = part_rows(segments, settings.heard_share, settings.seed)
    if with_pitch and team.size > 1:
        # Its loss is a mean over the segments with a key, and shares of a batch have more of them or fewer.
        raise SettingError("--with-pitch: a second head is trained in one process; call it without torchrun")
    learner = learner_for(
        kind, options or {}, segments, name, settings.seed, base, heard, with_pitch, workers
    )
    record = run_record(segments, kind, settings, name, options or {}, base, where)
    if with_pitch:
        record["run"]["with_pitch"] = True
    return begin_run(learner, segments, parts, settings, record, folder, where, resume, team), record


def begin_run(
    learner: Learner,
    segments: Segments,
    parts: RowParts,
    settings: RunSettings,
    record: RunRecord,
    folder: Path,
    device: torch.device,
    resume: bool,
    team: Team = ALONE,
) -> Run:
    """Begin a run of a learner, or take it up.

    Args:
        learner: What is trained, and on what.
        segments: The data set.
        parts: Which of it is for what.
        settings: Of the run.
        record: Everything that it depends on; see `run_record`.
        folder: The run's own.
        device: Where it runs.
        resume: Go on where the folder's run stopped; where there is none, begin.
        team: The processes that train together.

    Raises:
        SettingError: A setting or the folder's run does not fit.
    """
    run = Run(learner, segments, parts, settings, folder, device, _fingerprint(record), team)
    state = check_free_folder(folder, resume=resume)
    if state is not None:
        run.restore(read_state(state))
    if team.leads:
        write_run(folder, record)
    team.tell(None)  # nobody writes a state before all have looked for one
    return run


def run_record(
    segments: Segments,
    kind: str,
    settings: RunSettings,
    name: str,
    options: Mapping[str, str],
    base: str,
    device: torch.device,
) -> RunRecord:
    """Return everything that a run depends on; the arguments are those of `train`."""
    return {
        "run": {
            "name": name,
            "kind": kind,
            "from": base,
            "device": device.type,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "state": "unfinished",
        },
        "settings": asdict(settings),
        "options": dict(options),
        "data": {
            "sha256": segments.sha256,
            "classes": list(segments.classes),
            "segments": len(segments.labels),
            "sample_rate": segments.sample_rate,
            "licence": segments.licence,
        },
    }


def _fingerprint(record: RunRecord) -> dict[str, str]:
    """Return what must be the same for a run to go on."""
    settings = {key: value for key, value in record["settings"].items() if key not in _FREE_SETTINGS}
    return {
        "kind": str(record["run"]["kind"]),
        "from": str(record["run"]["from"]),
        **({"with_pitch": "True"} if record["run"].get("with_pitch") else {}),
        "classes": repr(record["data"]["classes"]),
        "data": str(record["data"]["sha256"]),
        "options": repr(sorted(record["options"].items())),
        **{key: repr(value) for key, value in settings.items()},
    }


def finish_run(run: Run, record: RunRecord) -> Trained:
    """Write what came of a run: network, card, evaluation."""
    module = run.best_module()
    is_tested = len(run.parts.test) > 0
    unheard = run.hear(module, run.parts.test if is_tested else run.parts.validation)
    heard = run.hear(module, run.parts.heard)
    network: Any = run.learner.finish(module.to("cpu"))
    network._card = describe(network.card, unheard, heard, is_tested=is_tested)
    path = run.folder / CHECKPOINT
    sha256 = run.learner.write(path, network)
    trained = Trained(
        network=cast(nn.Module, network),
        path=path,
        sha256=sha256,
        epochs=len(run.history),
        best_epoch=run.best_epoch,
        unheard=unheard,
        heard=heard,
        is_tested=is_tested,
    )
    record["run"]["state"] = "finished"
    record["result"] = {
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "seconds": sum(row["seconds"] for row in run.history),
        "accuracy_unheard_groups": unheard.accuracy,
        "accuracy_heard_groups": heard.accuracy,
        "is_tested": is_tested,
        "sha256": sha256,
        "parameters": network.card.n_parameters,
    }
    write_text(run.folder / "evaluation.csv", unheard.as_csv(run.segments.classes))
    write_text(run.folder / "card.md", run_card(network.card, unheard, heard, record, sha256))
    write_run(run.folder, record)
    return trained
