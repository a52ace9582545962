"""One training run: its state, an epoch, and what is kept of it on disk."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.errors import NonFiniteError, SettingError
from dream_core.files import write_whole
from dream_core.training.evaluation import hear_rows
from dream_core.training.learner import Judged, Learner
from dream_core.training.run_folder import log_events, write_history
from dream_core.training.run_settings import RunSettings
from dream_core.training.segment_rows import RowParts
from dream_core.training.segments import Segments

__all__ = ["EpochReport", "Run"]


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


class Run:
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
        now = self.fingerprint
        changed = [key for key in {**now, **kept} if kept.get(key) != now.get(key)]
        if changed:
            told = "; ".join(f"{key} was {kept.get(key)}, is {now.get(key)}" for key in changed)
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
        validation, heard = (
            self.hear(self.mean, self.parts.validation),
            self.hear(self.mean, self.parts.heard),
        )
        is_best = _merit(validation.accuracy, validation.loss) > max(
            (_merit(row["validation_accuracy"], row["validation_loss"]) for row in self.history),
            default=(-1.0, 0.0),
        )
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
            loss = self.learner.loss(
                module(inputs.to(self.device)), targets.to(self.device), settings.label_smoothing
            )
            if not torch.isfinite(loss):
                raise NonFiniteError(
                    f"{self.folder}: the loss of epoch {number + 1} is not finite; a lower learning "
                    f"rate than {settings.learning_rate:g} may help"
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

    def hear(self, module: nn.Module, rows: NDArray[np.int64]) -> Judged:
        """Return what a module takes segments for."""
        if self.learner.hear is not None:
            return self.learner.hear(module, rows, self.device)
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


def _merit(accuracy: float, loss: float) -> tuple[float, float]:
    """Return what makes an epoch better than another: accuracy, and where it is the same, the loss."""
    return accuracy, -loss
