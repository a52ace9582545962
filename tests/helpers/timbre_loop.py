"""The loop that trained the shipped `timbre`, kept as it was: today's loop has to give its bits."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.files import write_whole
from dream_core.networks.mel_cnn import MelCnn, fold_batch_norm
from dream_core.networks.timbre import CARD, CLASSES, SPEC
from dream_core.training import augmentation
from dream_core.training.attack import attack
from dream_core.training.heads import from_onset, head_features, join_heads, refit_head
from dream_core.training.notes import NoteTable
from dream_core.training.sampler import NoteSampler

__all__ = ["TrainingSettings", "train", "validate"]


_ONE_HEAD = replace(SPEC, n_embedding=SPEC.n_embedding // 2)
"""What is trained; the shipped network has two heads, see `join_heads`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """What a run depends on, besides its data.

    Args:
        epochs: Each of ``steps_per_epoch`` batches, on sounds as they are.
        attack_epochs: Then so many more under attack; one that hears nothing yet learns nothing from it.
        strength: How much of the augmentation, 0..1. Equalisers and speeds that change a sound out of
            recognition cost more on unheard programs than they bring.
        gentle_epochs: How many at the end change the sounds less, so that the network ends near to what
            instruments play.
        gentle_strength: How much of the augmentation then.
        steps_per_epoch: Batches between two validations.
        batch_size: Patches in a batch.
        learning_rate: Of AdamW at its peak; warmed up over one epoch, then a half cosine to zero.
        attack_learning_rate: The same for the epochs under attack.
        weight_decay: Of AdamW.
        label_smoothing: Share of each target given to all classes alike.
        dropout: Of the embedding.
        ema_decay: Of the running mean of the weights, which is what is validated and shipped.
        attack_steps: Steps of the attack on every batch; see `dream_core.training.attack`.
        attack_nepers: How far it goes; 0 trains without one.
        attack_ramp_epochs: Over how many of its epochs it grows to that.
        clean_weight: How much the sounds as they are count beside the attacked ones.
        plain_share: How much the head fitted on sounds as they are counts, beside the attacked one.
        calibration_batches: Batches the mean weights' batch normalisation is measured on, four times as many
            in the end.
        seed: Of initial weights, batches and augmentation.
    """

    epochs: int = 12
    attack_epochs: int = 14
    strength: float = 0.4
    gentle_epochs: int = 4
    gentle_strength: float = 0.15
    steps_per_epoch: int = 128
    batch_size: int = 64
    learning_rate: float = 2e-3
    attack_learning_rate: float = 1e-3
    weight_decay: float = 0.03
    label_smoothing: float = 0.1
    dropout: float = 0.25
    ema_decay: float = 0.997
    attack_steps: int = 3
    attack_nepers: float = 1.0
    attack_ramp_epochs: int = 3
    clean_weight: float = 0.5
    plain_share: float = 1.0
    calibration_batches: int = 16
    seed: int = 0


def validate(network: MelCnn, notes: NoteTable, batch_size: int = 64) -> NDArray[np.int64]:
    """Count what the network takes the held-out notes for: each from its onset, dry of augmentation.

    Returns:
        Confusion counts ``(true family, heard family)``.
    """
    rows = np.flatnonzero(notes.held_out)
    truth = notes.families
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    with torch.inference_mode():
        for first in range(0, len(rows), batch_size):
            part = rows[first : first + batch_size]
            heard = network(network.log_mel(from_onset(notes, part))).argmax(dim=1).numpy()
            np.add.at(confusion, (truth[part], heard), 1)
    return confusion


def _learning_rate(step: int, settings: TrainingSettings) -> float:
    """Return the learning rate at a step, counted over both phases."""
    warm_up, peak, n_epochs = settings.steps_per_epoch, settings.learning_rate, settings.epochs
    plain = settings.epochs * settings.steps_per_epoch
    if step >= plain:
        step, peak, n_epochs = step - plain, settings.attack_learning_rate, settings.attack_epochs
    if step < warm_up:
        return peak * (step + 1) / warm_up
    total = n_epochs * settings.steps_per_epoch
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def _attack_nepers(step: int, settings: TrainingSettings) -> float:
    """Return how far the attack goes at a step; it grows from nothing when its epochs begin."""
    epochs = step / settings.steps_per_epoch - settings.epochs
    return settings.attack_nepers * min(1.0, max(0.0, epochs / max(1, settings.attack_ramp_epochs)))


class _Run:
    """The state of a training run: network, its running mean, optimiser, epochs done."""

    def __init__(self, settings: TrainingSettings, folder: Path) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.checkpoint = folder / f"run-{settings.seed}.pt"
        self.network = MelCnn(CARD, _ONE_HEAD, has_batch_norm=True, dropout=settings.dropout).float()
        nn.utils.convert_conv2d_weight_memory_format(self.network, torch.channels_last)
        self._mean = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.epochs_done = 0
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.network.load_state_dict(state["network"])
            self._mean.load_state_dict(state["mean"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.epochs_done = state["epochs_done"]

    def save(self) -> None:
        """Keep the state, whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "mean": self._mean.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epochs_done": self.epochs_done,
        }
        with write_whole(self.checkpoint) as part:
            torch.save(state, part)

    def step(self, sounds: Tensor, targets: Tensor, generator: torch.Generator, nepers: float) -> float:
        """Learn from one batch, attacked by so much and as it is; returns the loss."""
        settings, network = self.settings, self.network
        with torch.no_grad():
            log_mel = network.log_mel(sounds)
            log_mel = augmentation.mask_bands_and_frames(log_mel, network.silence, generator)
        if nepers > 0:
            network.requires_grad_(False)
            attacked = attack(
                network,
                log_mel,
                targets.argmax(dim=1),
                network.silence,
                generator,
                n_steps=settings.attack_steps,
                most_nepers=nepers,
            )
            network.requires_grad_(True)
            # Half of them as they are: in one batch, so that batch normalisation sees both alike.
            log_mel = torch.cat([attacked.detach(), log_mel[::2]])
            targets = torch.cat([targets, targets[::2]])
        losses = nn.functional.cross_entropy(
            network(log_mel), targets, label_smoothing=settings.label_smoothing, reduction="none"
        )
        loss = losses[: len(sounds)].mean()
        if nepers > 0:
            loss = loss + settings.clean_weight * losses[len(sounds) :].mean()
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        self._follow()
        return float(loss.detach())

    def _follow(self) -> None:
        with torch.no_grad():
            for mean, value in zip(self._mean.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1.0 - self.settings.ema_decay)

    def mean_network(self, batches: Iterable[tuple[Tensor, Tensor]]) -> MelCnn:
        """Return the network of the mean weights, its batch normalisation measured anew on some batches.

        The statistics that were tracked belong to weights that are noisier than their mean.
        """
        norms = [module for module in self._mean.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
            norm.train()
        with torch.no_grad():
            for sounds, _targets in batches:
                self._mean(self._mean.log_mel(sounds))
        return self._mean.eval()


def train(
    notes: NoteTable,
    folder: Path,
    settings: TrainingSettings,
    report: Callable[[str], None] = lambda _line: None,
) -> tuple[MelCnn, NDArray[np.int64]]:
    """Train, or go on training; `report` is told a line an epoch.

    Returns:
        The running mean of the weights with batch normalisation folded, and its confusion counts on the
        held-out programs.
    """
    run = _Run(settings, folder)
    sampler = NoteSampler(notes, settings.batch_size)
    n_epochs = settings.epochs + settings.attack_epochs
    for epoch in range(run.epochs_done, n_epochs):
        started = time.perf_counter()
        run.network.train()
        generator = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
        torch.manual_seed(settings.seed * 100_003 + epoch)  # dropout draws from the global generator
        is_gentle = epoch >= settings.epochs - settings.gentle_epochs
        strength = settings.gentle_strength if is_gentle else settings.strength
        losses = []
        batches = sampler.batches(settings.steps_per_epoch, settings.seed, epoch, strength)
        for index, (sounds, targets) in enumerate(batches):
            step = epoch * settings.steps_per_epoch + index
            for group in run.optimiser.param_groups:
                group["lr"] = _learning_rate(step, settings)
            losses.append(run.step(sounds, targets, generator, _attack_nepers(step, settings)))
        run.epochs_done = epoch + 1
        run.save()
        calibration = sampler.batches(settings.calibration_batches, settings.seed, epoch, strength)
        confusion = validate(run.mean_network(calibration), notes)
        accuracy = confusion.trace() / confusion.sum()
        report(
            f"epoch {epoch + 1:3d}/{n_epochs}  loss {np.mean(losses):.3f}  "
            f"held-out accuracy {accuracy:.3f}  {time.perf_counter() - started:.0f} s"
        )
    n_calibration = 4 * settings.calibration_batches
    calibration = sampler.batches(n_calibration, settings.seed, n_epochs, settings.gentle_strength)
    robust = fold_batch_norm(run.mean_network(calibration)).float()
    plain = copy.deepcopy(robust)
    refit_head(plain, *head_features(plain, notes, sampler, settings.seed), settings.seed)
    network = join_heads(robust, plain, settings.plain_share)
    return network, validate(network, notes)
