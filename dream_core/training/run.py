"""One training run: its state, an epoch, and what is kept of it on disk."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.errors import NonFiniteError, SettingError
from dream_core.runtime import save_state
from dream_core.training.attack import attack
from dream_core.training.evaluation import hear_rows
from dream_core.training.learner import Judged, Learner
from dream_core.training.norms import measure_norms, share_norms
from dream_core.training.run_folder import log_events, write_history
from dream_core.training.run_settings import RunSettings
from dream_core.training.segment_rows import RowParts
from dream_core.training.segments import Segments
from dream_core.training.team import ALONE, Team

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
        team: Team = ALONE,
    ) -> None:
        self.learner, self.segments, self.parts, self.settings = learner, segments, parts, settings
        self.folder, self.device, self.fingerprint, self.team = folder, device, fingerprint, team
        _check(learner, settings, team)
        module = learner.module.to(device)
        self.mean = copy.deepcopy(module).eval().requires_grad_(False)
        self.module = share_norms(module, team)
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
        first = self._first_kept
        is_stuck = done - max(first, self.best_epoch) >= settings.patience and settings.keep == "best"
        return done >= settings.all_epochs or is_stuck or is_late

    @property
    def _first_kept(self) -> int:
        """How many epochs pass before one is worth keeping: the attack has to be at its full size."""
        settings = self.settings
        ramp = min(settings.attack_ramp_epochs, settings.attack_epochs - 1)
        return settings.epochs + ramp if settings.attack_epochs else 0

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
            # Dropout draws from the global generator, in every process by itself.
            torch.manual_seed(settings.seed * 100_003 + number + self.team.rank * 1_000_003)
            losses = self._learn(number)
        loss = float(self.team.sum(torch.tensor(math.fsum(losses), dtype=torch.float64, device=self.device)))
        row = self._judge(number, loss / len(losses), started) if self.team.leads else {}
        row = self.team.tell(row)
        is_best = len(self.history) >= self._first_kept and _merit(row) > max(
            map(_merit, self.history[self._first_kept :]), default=(-1.0, 0.0)
        )
        self.history.append(row)
        # Where time runs out before the attack is at its full size, the last epoch is what there is.
        if is_best or settings.keep == "last" or number < self._first_kept:
            self.best = {key: value.detach().cpu().clone() for key, value in self.mean.state_dict().items()}
            self.best_epoch = number + 1
        if self.team.leads:
            self._keep()
            write_history(self.folder, self.history)
            log_events(self.folder, row)
        told = {key: value for key, value in row.items() if key != "epoch"}
        return EpochReport(epoch=number + 1, epochs=settings.all_epochs, is_best=is_best, **told)

    def _judge(self, number: int, loss: float, started: float) -> dict[str, float]:
        """Return the epoch's line of the history."""
        settings, learner = self.settings, self.learner
        batches = (learner.calibration or learner.batches)(
            self.parts.train,
            settings.calibration_batches,
            settings.batch_size,
            (settings.seed, number, 1),
            settings.strength_at(number),
        )
        measure_norms(self.mean, (inputs.to(self.device) for inputs, _ in batches))
        validation = self.hear(self.mean, self.parts.validation)
        heard = self.hear(self.mean, self.parts.heard)
        return {
            "epoch": number + 1,
            "train_loss": loss,
            "validation_loss": validation.loss,
            "validation_accuracy": validation.accuracy,
            "heard_accuracy": heard.accuracy,
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "seconds": time.perf_counter() - started,
        }

    def _learn(self, number: int) -> list[float]:
        settings, module, team = self.settings, self.module, self.team
        module.train()
        losses = []
        # By it sounds are masked and attacked where the learner leaves that to the step.
        generator = torch.Generator().manual_seed(settings.seed * 100_003 + number + team.rank * 1_000_003)
        batches = self.learner.batches(
            self.parts.train,
            self.steps_per_epoch,
            settings.batch_size,
            (settings.seed, number),
            settings.strength_at(number),
        )
        for index, (inputs, targets) in enumerate(batches):
            step = number * self.steps_per_epoch + index
            for group in self.optimiser.param_groups:
                group["lr"] = settings.learning_rate_at(step, self.steps_per_epoch)
            loss = self._loss(inputs, targets, generator, settings.nepers_at(step, self.steps_per_epoch))
            if not torch.isfinite(loss):
                raise NonFiniteError(
                    f"{self.folder}: the loss of epoch {number + 1} is not finite; a lower learning "
                    f"rate than {settings.learning_rate:g} may help"
                )
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            team.sum_gradients(module)
            nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
            self.optimiser.step()
            decay = settings.mean_decay_at(step)
            with torch.no_grad():
                for mean, value in zip(self.mean.parameters(), module.parameters(), strict=True):
                    mean.lerp_(value, 1.0 - decay)
            losses.append(float(loss.detach()))
        return losses

    def _loss(self, inputs: Tensor, targets: Tensor, generator: torch.Generator, nepers: float) -> Tensor:
        """Return the loss of this process's share of a batch, attacked by so much and as it is."""
        settings, module, learner, team = self.settings, self.module, self.learner, self.team
        n_all = len(inputs)
        inputs, targets = team.share(inputs), team.share(targets)
        if learner.prepare is not None:
            with torch.no_grad():
                inputs = learner.prepare(inputs, generator)
        inputs, targets = inputs.to(self.device), targets.to(self.device)
        n_own = len(inputs)
        if nepers > 0:
            module.requires_grad_(False)
            attacked = attack(
                module,
                inputs,
                targets.argmax(dim=1),
                cast(float, learner.silence),
                generator,
                n_steps=settings.attack_steps,
                most_nepers=nepers,
            )
            module.requires_grad_(True)
            # Half of them as they are: in one batch, so that batch normalisation sees both alike.
            inputs = torch.cat([attacked.detach(), inputs[::2]])
            targets = torch.cat([targets, targets[::2]])
        logits, smoothing = module(inputs), settings.label_smoothing
        loss = learner.loss(logits[:n_own], targets[:n_own], smoothing)
        if nepers > 0:
            clean = learner.loss(logits[n_own:], targets[n_own:], smoothing)
            loss = loss + settings.clean_weight * clean
        return loss * (n_own / n_all)

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
        save_state(self.folder / "state.pt", state)


def _merit(row: Mapping[str, float]) -> tuple[float, float]:
    """Return what makes an epoch better than another: accuracy, and where it is the same, the loss."""
    return row["validation_accuracy"], -row["validation_loss"]


def _check(learner: Learner, settings: RunSettings, team: Team) -> None:
    """Refuse settings that this learner or these processes cannot follow."""
    if settings.attack_epochs and learner.silence is None:
        raise SettingError(
            f"attack_epochs = {settings.attack_epochs}: only networks on natural log-mel patches can be "
            "attacked, such as mel_full and mel_cnn, with one head; others, and keys, take attack_epochs = 0"
        )
    if settings.batch_size < 2 * team.size:
        raise SettingError(
            f"batch_size = {settings.batch_size}: {team.size} processes share it, each needs two segments; "
            f"set batch_size to {2 * team.size} at least"
        )
