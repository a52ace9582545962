"""What is wanted over time: a matrix of classes by frames, and what a term makes of it.

`Targets` is what is given: how much of each class is wanted at every frame of the whole sound. `TargetUse` is
how a term asks for it, with its options. `ClassTargets` is the two together for one network: how much is
wanted of each of its classes on average over any stretch of time, exact wherever a stretch begins and ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dream_core.errors import ObjectiveError, SettingError
from dream_core.networks.card import NetworkCard

__all__ = ["N_KEYS", "ClassTargets", "TargetUse", "Targets"]

N_KEYS = 128
"""Rows of targets that are MIDI keys."""

LET_GO_S = 0.05
"""What ends within this time of a rest is let go together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetUse:
    """How a term uses targets.

    Args:
        name: Which ones.
        fold: Any octave will do: keys an octave apart count as one.
        hold: Through rests what was wanted last stays wanted, as much as it was at most since it began.
        transpose: Semitones up.
    """

    name: str
    fold: bool = False
    hold: bool = False
    transpose: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """How much of each class is wanted at every frame of a whole sound.

    Args:
        values: ``(classes, frames)``, 0..1: one row for each MIDI key 0..127, or for each class of the
            network in its order. Before and after them nothing is wanted.
        frame_s: How long a frame is, in seconds.
        start_s: Where in the sound the first one begins, in seconds.

    Attributes:
        digest: Hash of all of it: equal where targets are.

    Raises:
        SettingError: They are no such matrix.

    >>> Targets(values=torch.zeros(128, 4), frame_s=0.01).values.shape
    torch.Size([128, 4])
    """

    values: Tensor
    frame_s: float
    start_s: float = 0.0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        values = torch.as_tensor(self.values, dtype=torch.float32).cpu()
        if values.ndim != 2 or not bool(((values >= 0) & (values <= 1)).all()):
            raise SettingError(
                f"targets of shape {tuple(values.shape)}; (classes, frames) of values 0..1 is accepted"
            )
        if not 0 < self.frame_s < float("inf"):
            raise SettingError(f"targets with frame_s = {self.frame_s!r}; seconds above 0 are accepted")
        object.__setattr__(self, "values", values)  # the class is frozen once it is made
        content = hashlib.blake2b(values.numpy().tobytes(), digest_size=16)
        content.update(repr((tuple(values.shape), self.frame_s, self.start_s)).encode())
        object.__setattr__(self, "digest", content.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassTargets:
    """How much is wanted of a network's classes, or of its pitch classes, over stretches of time.

    Args:
        values: ``(classes, frames)``.
        frame_s: How long a frame is.
        start_s: Where the first one begins.
    """

    values: Tensor
    frame_s: float
    start_s: float

    @classmethod
    def of(cls, targets: Targets, use: TargetUse, card: NetworkCard) -> ClassTargets:
        """Read targets as a term uses them, for a network.

        Raises:
            ObjectiveError: Their rows are neither keys nor this network's classes.
        """
        values = targets.values
        n_classes = len(card.classes)
        if card.keys and len(values) == n_classes and n_classes != N_KEYS:
            of_keys = values.new_zeros(N_KEYS, values.shape[1])
            of_keys[list(card.keys)] = values
            values = of_keys
        if len(values) != (N_KEYS if card.keys else n_classes):
            keys = f"{N_KEYS} MIDI keys or " if card.keys else ""
            raise ObjectiveError(
                f"targets {use.name!r} have {len(values)} rows; network {card.name!r} takes {keys}its "
                f"{n_classes} classes"
            )
        if card.keys:
            values = _moved(values, use.transpose)
            values = _folded(values) if use.fold else values[list(card.keys)]
        return cls(
            values=_held(values, targets.frame_s) if use.hold else values,
            frame_s=targets.frame_s,
            start_s=targets.start_s,
        )

    def over(self, edges_s: Tensor) -> Tensor:
        """Return what is wanted on average between neighbouring edges.

        Args:
            edges_s: Where stretches begin and end, in seconds of the sound, rising.

        Shape:
            ``(edges,)`` -> ``(classes, edges - 1)``.
        """
        n_frames = self.values.shape[1]
        at = ((edges_s.to("cpu", torch.float64) - self.start_s) / self.frame_s).clamp(0.0, float(n_frames))
        first = int(at[0]) if n_frames else 0
        last = min(n_frames, int(at[-1]) + 1)
        near = self.values[:, first:last].to(torch.float64)
        # The integral up to any instant is straight between frames; one more frame stands behind the last.
        total = torch.nn.functional.pad(near.cumsum(dim=1), (1, 0))
        place = at - first
        low = place.floor().long().clamp(max=near.shape[1])
        inside = torch.nn.functional.pad(near, (0, 1))
        integral = total[:, low] + inside[:, low] * (place - low)
        lengths = torch.diff(edges_s.to("cpu", torch.float64)) / self.frame_s
        mean: Tensor = torch.diff(integral, dim=1) / lengths.clamp(min=1e-9)
        return mean


def _moved(values: Tensor, semitones: int) -> Tensor:
    if semitones == 0:
        return values
    moved = torch.zeros_like(values)
    if semitones > 0:
        moved[semitones:] = values[:-semitones]
    else:
        moved[:semitones] = values[-semitones:]
    return moved


def _folded(values: Tensor) -> Tensor:
    """Return the largest of keys an octave apart, ``(12, frames)``."""
    return torch.stack([values[first::12].amax(dim=0) for first in range(12)])


def _held(values: Tensor, frame_s: float) -> Tensor:
    """Return values in which empty frames keep wanting what was wanted just before them.

    That is whatever sounded in the last `LET_GO_S` of sound: fingers leave a chord one by one. How much of it
    would be chance, as a note ends within a frame, or fades: each stays as wanted as it was at most since it
    began.
    """
    if not values.shape[1]:
        return values
    is_some = values.any(dim=0)
    last = torch.where(is_some, torch.arange(values.shape[1]), 0).cummax(dim=0).values
    reach = round(LET_GO_S / frame_s)
    peaks = torch.stack([_peaks(row) for row in values])
    recent = torch.nn.functional.max_pool1d(torch.nn.functional.pad(peaks, (reach, 0)), reach + 1, 1)
    return torch.where(is_some, values, recent[:, last])


def _peaks(row: Tensor) -> Tensor:
    """Return the largest of all values from the last 0 on, at each place."""
    # Each 0 lifts what follows above all before it. Twice as fine as the values, so that they come back.
    lift = 2.0 * (row == 0).cumsum(dim=0).double()
    return ((row + lift).cummax(dim=0).values - lift).to(row.dtype)


def pitch_classes(keys: Sequence[int]) -> list[list[int]]:
    """Return which places of a list of keys belong to each pitch class, from C on.

    >>> pitch_classes([60, 61, 72])[:2]
    [[0, 2], [1]]
    """
    return [[place for place, key in enumerate(keys) if key % 12 == one] for one in range(12)]
