"""What the one network of a dream looks at, for updates that work on that and not on the sound."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dream_core.frontend.log_mel import FrontendSpec
from dream_core.objectives.answers import Answer, find_answers
from dream_core.objectives.ear import Ear, When
from dream_core.objectives.loudest import HeardClasses

__all__ = ["Look"]

ScoreFrames = Callable[[Tensor, Tensor | None], Tensor]
"""Mono sound ``(items, samples)``, and the frames heard in its place, to a score an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the network looks at in a window, and what it says to something else in its place.

    Args:
        ear: The network's, with the dream's objective.
        offset_frames: Where this step's patch grid begins.
        score: Scores sound, or the frames heard in place of it.
        when: When in the whole sound what is that many samples before the windows is, and the weights there.
        tell: Called with the scores ``(items,)`` of what is looked at, for reports.
        classes: Asked before a score who is told of the classes heard, for reports too.
    """

    ear: Ear
    offset_frames: int
    score: ScoreFrames
    when: Callable[[int], When]
    tell: Callable[[Tensor], None]
    classes: Callable[[], HeardClasses | None] = lambda: None

    @property
    def spec(self) -> FrontendSpec:
        """The numbers of the network's log-mel frames."""
        assert self.ear.mel_hearing is not None
        return self.ear.mel_hearing.spec

    def hear_frames(self, mono: Tensor) -> Tensor:
        """Return the log-mel frames of sounds at the session's rate.

        Shape:
            ``(items, samples)`` -> ``(items, frames, mels)``.
        """
        return self.ear.hear_frames(mono)

    def score_frames(self, mono: Tensor, frames: Tensor) -> Tensor:
        """Return each item's score, differentiable, were these frames heard in place of its sound.

        Args:
            mono: The sounds, the windows or the windows with their margins; they say how long items are.
            frames: Of those sounds, as `hear_frames` gives them, changed.
        """
        return self.score(mono, frames)

    def score_pictures(self, pictures: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the score of each picture, differentiable: one patch, whose network looks at pictures.

        Args:
            pictures: ``(items, 3, across, up)``; black is 0, white is 1. Or one ``(1, 3, across, up)`` for
                each item, where they differ in size.
        """
        when, classes = self.when(0), self.classes()
        if isinstance(pictures, Tensor):
            scores = self.ear.score_pictures(pictures, when, classes)
        else:
            own = [when.item(index, sys.maxsize) for index in range(len(pictures))]
            scores = torch.cat(
                [
                    self.ear.score_pictures(one, at, classes, index)
                    for index, (one, at) in enumerate(zip(pictures, own, strict=True))
                ]
            )
        self.tell(scores.detach())
        return scores

    def answers(self, mono: Tensor, n_around: int = 0) -> list[Answer]:
        """Return where in each patch of the sounds the network answers to the objective, patch by patch.

        Args:
            mono: ``(items, samples)``, the windows or the windows with their margins.
            n_around: How many samples these margins have.
        """
        answers, score = find_answers(self.ear, mono, self.offset_frames, self.when(n_around), self.classes())
        self.tell(score)
        return answers

    def frames_gradient(self, mono: Tensor, frames: Tensor) -> Tensor:
        """Return the gradient of the score with respect to the frames ``(items, frames, mels)``."""
        leaf = frames.detach().requires_grad_(True)
        gradient: Any
        (gradient,) = torch.autograd.grad(self.score_frames(mono, leaf).sum(), leaf)
        return torch.as_tensor(gradient)
