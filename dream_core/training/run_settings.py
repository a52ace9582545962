"""What a training run depends on besides its data and the network's shape."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dream_core.errors import SettingError

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
}


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

    def __post_init__(self) -> None:
        mistakes = []
        for one in fields(self):
            value, (low, high) = getattr(self, one.name), _LIMITS[one.name]
            if not low <= value <= high:
                mistakes.append(f"{one.name} = {value:g}: a number from {low:g} to {high:g} is needed")
        if mistakes:
            raise SettingError("; ".join(mistakes))
