"""The training loop: it knows no network, only a `Learner`.

AdamW with a warm-up and half a cosine; a running mean of the weights is what is validated, its batch
normalisation measured anew each time; the epoch that hears the validation groups best is kept; the test
groups are heard once, in the end. Everything an epoch draws follows from the seed and its number, and the
state after each epoch is on disk, so a run that was stopped ends with the same bits as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.files import write_whole
from dream_core.training.evaluation import Heard, hear_rows
from dream_core.training.learner import Learner
from dream_core.training.learners import learner_for
from dream_core.training.run_card import describe, run_card
from dream_core.training.run_folder import (
    RunRecord,
    log_events,
    read_state,
    write_history,
    write_run,
    write_text,
)
from dream_core.training.run_settings import RunSettings
from dream_core.training.segment_rows import RowParts, part_rows
from dream_core.training.segments import Segments

__all__ = ["EpochReport", "Trained", "train"]

_FREE_SETTINGS = ("minutes",)
"""What may change when a run goes on: it changes no bit of an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """How an epoch went.

    Args:
        epoch: From 1.
        epochs: How many there are at most.
        train_loss: Mean over its batches.
        validation_loss: Of the groups that are not learnt from.
        validation_accuracy: Of these, 0..1, a mean over the classes.
        heard_accuracy: The same of unheard segments of groups that are learnt from: it leaks.
        learning_rate: At its end.
        seconds: It took.
        is_best: Whether no epoch before heard the validation groups better.
    """

    epoch: int
    epochs: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    heard_accuracy: float
    learning_rate: float
    seconds: float
    is_best: bool


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
    unheard: Heard
    heard: Heard
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
    should_stop: Callable[[EpochReport], bool] = lambda _report: False,
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
        should_stop: Asked after each epoch.

    Raises:
        SettingError: A setting, the data or the folder's run does not fit.
    """
    where = torch.device(device)
    parts = part_rows(segments, settings.heard_share, settings.seed)
    learner = learner_for(kind, options or {}, segments, name, settings.seed, base)
    record = _record(segments, kind, settings, name, options or {}, base, where)
    run = _Run(learner, segments, parts, settings, folder, where, _fingerprint(record))
    state = folder / "state.pt"
    if resume and state.exists():
        run.restore(read_state(state))
    elif state.exists():
        raise SettingError(f"{folder} holds a run already; --resume goes on with it, --overwrite begins anew")
    write_run(folder, record)
    while not run.is_done:
        told = run.epoch()
        report(told)
        if should_stop(told):
            break
    return _finish(run, record, name)


def _record(
    segments: Segments,
    kind: str,
    settings: RunSettings,
    name: str,
    options: Mapping[str, str],
    base: str,
    device: torch.device,
) -> RunRecord:
    """Return everything that the run depends on."""
    return {
        "run": {
            **{"name": name, "kind": kind, "from": base, "device": device.type},
            **{"torch": torch.__version__, "threads": torch.get_num_threads(), "state": "unfinished"},
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
        "classes": repr(record["data"]["classes"]),
        "data": str(record["data"]["sha256"]),
        "options": repr(sorted(record["options"].items())),
        **{key: repr(value) for key, value in settings.items()},
    }


class _Run:
    """A run's state: module, running mean, optimiser, the best so far, and how it went."""

    def __init__(
        self,
        learner: Learner,
        segments: Segments,
        parts: RowParts,
        settings: RunSettings,
        folder: Path,
        device: torch.device,
        fingerprint: dict[str, str],
    ) -> None:
        self.learner, self.segments, self.parts, self.settings = learner, segments, parts, settings
        self.folder, self.device, self.fingerprint = folder, device, fingerprint
        self.module = learner.module.to(device)
        self.mean = copy.deepcopy(self.module).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        filled = -(-len(parts.train) // settings.batch_size)
        self.steps_per_epoch = settings.steps_per_epoch or max(4, filled)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0

    @property
    def is_done(self) -> bool:
        """Whether no further epoch is due."""
        settings, done = self.settings, len(self.history)
        spent_s = sum(row["seconds"] for row in self.history)
        is_late = settings.minutes > 0 and done > 0 and spent_s * (1.0 + 1.0 / done) > 60.0 * settings.minutes
        return done >= settings.epochs or done - self.best_epoch >= settings.patience or is_late

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that was kept.

        Raises:
            SettingError: It is of another run.
        """
        kept = state["fingerprint"]
        changed = [key for key in self.fingerprint if kept.get(key) != self.fingerprint[key]]
        if changed:
            told = "; ".join(f"{key} was {kept.get(key)}, is {self.fingerprint[key]}" for key in changed)
            raise SettingError(
                f"{self.folder} holds another run: {told}. Give what it was begun with, or --overwrite"
            )
        self.module.load_state_dict(state["module"])
        self.mean.load_state_dict(state["mean"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.best_epoch = dict(state["best"]), int(state["best_epoch"])
        self.history = [dict(row) for row in state["history"]]

    def epoch(self) -> EpochReport:
        """Train one epoch, validate, and keep the state."""
        started = time.perf_counter()
        settings, number = self.settings, len(self.history)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(settings.seed * 100_003 + number)  # dropout draws from the global generator
            losses = self._learn(number)
        self._measure_norms(number)
        validation, heard = self.hear(self.mean, self.parts.validation), self.hear(self.mean, self.parts.heard)
        is_best = not self.history or validation.accuracy > max(r["validation_accuracy"] for r in self.history)
        row = {
            "epoch": number + 1,
            "train_loss": math.fsum(losses) / len(losses),
            "validation_loss": validation.loss,
            "validation_accuracy": validation.accuracy,
            "heard_accuracy": heard.accuracy,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "seconds": time.perf_counter() - started,
        }
        self.history.append(row)
        if is_best:
            self.best = {key: value.detach().cpu().clone() for key, value in self.mean.state_dict().items()}
            self.best_epoch = number + 1
        self._keep()
        write_history(self.folder, self.history)
        log_events(self.folder, row)
        told = {key: value for key, value in row.items() if key != "epoch"}
        return EpochReport(epoch=number + 1, epochs=settings.epochs, is_best=is_best, **told)

    def _learn(self, number: int) -> list[float]:
        settings, module = self.settings, self.module
        module.train()
        losses = []
        batches = self.learner.batches(
            self.parts.train,
            self.steps_per_epoch,
            settings.batch_size,
            (settings.seed, number),
            settings.strength,
        )
        for index, (inputs, targets) in enumerate(batches):
            step = number * self.steps_per_epoch + index
            for group in self.optimiser.param_groups:
                group["lr"] = self._learning_rate(step)
            loss = nn.functional.cross_entropy(
                module(inputs.to(self.device)),
                targets.to(self.device),
                label_smoothing=settings.label_smoothing,
            )
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
            self.optimiser.step()
            # The first weights are worth nothing: the mean forgets them faster while the run is young.
            decay = min(settings.ema_decay, (1.0 + step) / (10.0 + step))
            with torch.no_grad():
                for mean, value in zip(self.mean.parameters(), module.parameters(), strict=True):
                    mean.lerp_(value, 1.0 - decay)
            losses.append(float(loss.detach()))
        return losses

    def _learning_rate(self, step: int) -> float:
        warm_up, total = self.steps_per_epoch, self.settings.epochs * self.steps_per_epoch
        if step < warm_up:
            return self.settings.learning_rate * (step + 1) / warm_up
        turn = math.pi * (step - warm_up) / max(1, total - warm_up)
        return self.settings.learning_rate * 0.5 * (1.0 + math.cos(turn))

    def _measure_norms(self, number: int) -> None:
        """Measure the mean weights' batch normalisation: what was tracked belongs to noisier weights."""
        norms = [m for m in self.mean.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
            norm.train()
        settings = self.settings
        n_batches = settings.calibration_batches if norms else 0
        batches = self.learner.batches(
            self.parts.train, n_batches, settings.batch_size, (settings.seed, number, 1), settings.strength
        )
        with torch.no_grad():
            for inputs, _ in batches:
                self.mean(inputs.to(self.device))
        self.mean.eval()

    def hear(self, module: nn.Module, rows: Any) -> Heard:
        """Return what a module takes segments for."""
        return hear_rows(module, self.learner.plain, rows, self.segments.labels, self.device)

    def best_module(self) -> nn.Module:
        """Return the module of the best epoch."""
        module = copy.deepcopy(self.mean)
        module.load_state_dict(self.best)
        return module.eval()

    def _keep(self) -> None:
        state = {
            "fingerprint": self.fingerprint,
            "module": self.module.state_dict(),
            "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "history": self.history,
        }
        with write_whole(self.folder / "state.pt") as part:
            torch.save(state, part)


def _finish(run: _Run, record: RunRecord, name: str) -> Trained:
    module = run.best_module()
    is_tested = len(run.parts.test) > 0
    unheard = run.hear(module, run.parts.test if is_tested else run.parts.validation)
    heard = run.hear(module, run.parts.heard)
    network: Any = run.learner.finish(module.to("cpu"))
    network._card = describe(network.card, unheard, heard, is_tested=is_tested)
    path = run.folder / "checkpoint.safetensors"
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
