"""What is noted of a step while it is taken: how windows score, what is heard in them, what it changes."""

from __future__ import annotations

import math

from torch import Tensor

from dream_core.loop.pending_steps import StepFacts
from dream_core.objectives.loudest import HeardClasses

__all__ = ["StepNotes"]


class StepNotes:
    """Notes on one step of a batch; an update may score several times, the first time is before the step."""

    def __init__(self) -> None:
        self._score: Tensor | None = None
        self._classes = HeardClasses()

    @property
    def classes(self) -> HeardClasses | None:
        """Who is told of classes while the next score is made: nobody after the first."""
        return self._classes if self._score is None else None

    def add(self, score: Tensor) -> None:
        """Take the scores of all items."""
        self._score = score.detach() if self._score is None else self._score

    def facts(self, rows: slice, sound: Tensor, proposal: Tensor) -> StepFacts:
        """Return what is known of one window.

        Args:
            rows: Its items.
            sound: Before the step, ``(channels, samples)``, perhaps with padding after it.
            proposal: After it, as long as it is.
        """
        sound = sound[:, : proposal.shape[1]]
        power = float(sound.double().square().sum())
        changed = float((proposal - sound).double().square().sum())
        return StepFacts(
            score=math.nan if self._score is None else float(self._score[rows].mean()),
            heard=self._classes.loudest(rows),
            change_db=10.0 * math.log10(changed / power) if changed > 0 and power > 0 else -math.inf,
        )
