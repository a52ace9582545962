"""One step of one window, and who takes it: what a stream and a shared batch say to each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from dream_core.errors import DreamError
from dream_core.loop.windows import ScheduledWindow, WindowSchedule

__all__ = ["Fault", "PendingStep", "StepFacts", "StepReport", "Stepper"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFacts:
    """What is known of one step of one window.

    Args:
        score: The objective before the step.
        heard: The class heard most before the step and its mean probability, where the objective asks for
            classes.
        change_db: How loud the step's whole change is beside the sound before it.
    """

    score: float
    heard: tuple[str, float] | None
    change_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one step of one window did, for progress displays and benches.

    Args:
        window_index: Which window, from 0.
        step_index: Which step, from 0.
        start_s: Where the window begins.
        score: The objective before the step.
        window_steps: How many steps the window takes in all.
        done_steps: How many steps were taken so far, of all windows.
        total_steps: How many there will be; None where the sound has not been seen to its end.
        heard: The class that is heard most in the window before the step, and its mean probability, each
            patch counting by its level; None where the objective asks for no classes.
        change_db: How loud all that the step proposes to change is, relative to the sound under the window
            before it; minus infinity where it changes nothing. The depth decides how much of it happens.
        objective: What is maximised: which of several dreams it is.
    """

    window_index: int
    step_index: int
    start_s: float
    score: float
    window_steps: int
    done_steps: int
    total_steps: int | None
    heard: tuple[str, float] | None = None
    change_db: float = -math.inf
    objective: str = ""


class Stepper(Protocol):
    """Whoever has windows that wait for a step: a stream."""

    @property
    def schedule(self) -> WindowSchedule:
        """The sound, with its windows."""
        ...

    @property
    def batch(self) -> int:
        """How many windows step together."""
        ...

    def step_batch(self, steps: Sequence[PendingStep]) -> list[Fault]:
        """Step windows, of this stream or of others of its kind; return what went wrong with whose."""
        ...

    def report_step(self, window: ScheduledWindow, step_index: int, facts: StepFacts) -> None:
        """Tell that a step of a window has been taken."""
        ...


class PendingStep(NamedTuple):
    """A window that is to take a step, and whose it is."""

    stream: Stepper
    window_index: int

    @property
    def schedule(self) -> WindowSchedule:
        """The sound the window is in."""
        return self.stream.schedule

    @property
    def window(self) -> ScheduledWindow:
        """The window."""
        return self.schedule.windows[self.window_index]


class Fault(NamedTuple):
    """What went wrong with a window, and whose it is."""

    owner: Stepper
    error: DreamError
