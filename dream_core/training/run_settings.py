"""What a training run depends on besides its data and the network's shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from dream_core.errors import SettingError
from dream_core.names import nearest_names

__all__ = ["RunSettings"]

_LIMITS = {
    "epochs": (1, 100_000),
    "strength": (0.0, 1.0),
    "steps_per_epoch": (0, 1_000_000),
    "batch_size": (2, 65_536),
    "learning_rate": (1e-7, 1.0),
    "weight_decay": (0.0, 10.0),
    "label_smoothing": (0.0, 0.9),
    "ema_decay": (0.0, 0.99999),
    "clip": (1e-3, 1e6),
    "patience": (1, 100_000),
    "calibration_batches": (1, 10_000),
    "heard_share": (0.0, 0.5),
    "minutes": (0.0, 1e6),
    "seed": (0, 2**31 - 1),
    "gentle_epochs": (0, 100_000),
    "gentle_strength": (0.0, 1.0),
    "ema_ramp": (1.0, 1e6),
    "attack_epochs": (0, 100_000),
    "attack_nepers": (0.0, 10.0),
    "attack_steps": (1, 100),
    "attack_ramp_epochs": (0, 100_000),
    "attack_learning_rate": (1e-7, 1.0),
    "clean_weight": (0.0, 100.0),
}
_KEEP = ("best", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Settings of a run, each with the value that suits most.

    Args:
        epochs: At most; the learning rate falls to nothing over so many.
        strength: How much of the augmentation, 0..1.
        steps_per_epoch: Batches between two validations; 0 takes as many as the segments fill.
        batch_size: Segments in a batch.
        learning_rate: Of AdamW at its peak: warmed up over one epoch, then a half cosine to zero.
        weight_decay: Of AdamW.
        label_smoothing: Share of each target given to all classes alike.
        ema_decay: Of the running mean of the weights, which is what is validated and kept; smaller at first.
        clip: Largest norm of a step's gradient.
        patience: Epochs without a better validation after which the run stops.
        calibration_batches: Batches on which the mean weights' batch normalisation is measured anew.
        heard_share: Share of the training groups' segments that is held out, to measure how much an accuracy
            on groups that were heard is worth.
        minutes: After so many no further epoch begins; 0 sets no limit.
        seed: Of initial weights, batches and augmentation.
        gentle_epochs: How many at the end, those under attack besides, change sounds by `gentle_strength`.
        gentle_strength: How much of the augmentation then.
        ema_ramp: Over about so many steps the running mean grows to its whole length; 1: it has it at once.
        attack_epochs: Then so many more under attack: every batch is changed as a dream would change it, see
            `dream_core.training.attack`. Only networks on log-mel patches can be attacked.
        attack_nepers: How far the attack goes.
        attack_steps: Its steps on every batch.
        attack_ramp_epochs: Over how many of its epochs it grows to that.
        attack_learning_rate: Of AdamW under attack: warmed up and lowered as before.
        clean_weight: How much the sounds as they are count beside the attacked ones.
        keep: ``best``: the epoch that hears the validation groups best; where there is an attack, of those
            under it at its full size. ``last``: the last one.

    Raises:
        SettingError: Naming every setting that is out of its limits.
    """

    epochs: int = 20
    strength: float = 0.4
    steps_per_epoch: int = 0
    batch_size: int = 48
    learning_rate: float = 2e-3
    weight_decay: float = 0.03
    label_smoothing: float = 0.1
    ema_decay: float = 0.997
    clip: float = 2.0
    patience: int = 10
    calibration_batches: int = 8
    heard_share: float = 0.1
    minutes: float = 0.0
    seed: int = 0
    gentle_epochs: int = 0
    gentle_strength: float = 0.15
    ema_ramp: float = 10.0
    attack_epochs: int = 0
    attack_nepers: float = 1.0
    attack_steps: int = 3
    attack_ramp_epochs: int = 3
    attack_learning_rate: float = 1e-3
    clean_weight: float = 0.5
    keep: str = "best"

    def __post_init__(self) -> None:
        mistakes = []
        for one in fields(self):
            if one.name not in _LIMITS:
                continue
            value, (low, high) = getattr(self, one.name), _LIMITS[one.name]
            if not low <= value <= high:
                mistakes.append(f"{one.name} = {value:g}: a number from {low:g} to {high:g} is needed")
        if self.keep not in _KEEP:
            mistakes.append(f"keep = {self.keep}: {nearest_names(self.keep, _KEEP)}")
        if mistakes:
            raise SettingError("; ".join(mistakes))

    @property
    def all_epochs(self) -> int:
        """How many there are at most, those under attack counted."""
        return self.epochs + self.attack_epochs

    def strength_at(self, epoch: int) -> float:
        """Return how much of the augmentation there is in an epoch, counted from 0."""
        is_gentle = epoch >= self.epochs - self.gentle_epochs
        return self.gentle_strength if is_gentle else self.strength

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate at a step, counted over all epochs."""
        peak, epochs, plain = self.learning_rate, self.epochs, self.epochs * steps_per_epoch
        if step >= plain:
            step, peak, epochs = step - plain, self.attack_learning_rate, self.attack_epochs
        if step < steps_per_epoch:
            return peak * (step + 1) / steps_per_epoch
        turn = math.pi * (step - steps_per_epoch) / max(1, epochs * steps_per_epoch - steps_per_epoch)
        return peak * 0.5 * (1.0 + math.cos(turn))

    def nepers_at(self, step: int, steps_per_epoch: int) -> float:
        """Return how far the attack goes at a step; it grows from nothing when its epochs begin."""
        epochs = step / steps_per_epoch - self.epochs
        return self.attack_nepers * min(1.0, max(0.0, epochs / max(1, self.attack_ramp_epochs)))

    def mean_decay_at(self, step: int) -> float:
        """Return how much the running mean keeps of itself at a step.

        The first weights are worth nothing: the mean forgets them faster while the run is young.
        """
        return min(self.ema_decay, (1.0 + step) / (self.ema_ramp + step))
