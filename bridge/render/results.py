"""What became of a render and of its stems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bridge.audio.loudness import Loudness, LoudnessMeter
from bridge.plan.model import Plan
from bridge.render.dream_steps import DreamStep
from bridge.render.manifest import StemRecord

__all__ = ["DeliveredStem", "RenderReport", "RenderedStem", "StemResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StemResult:
    """What became of a stem.

    Args:
        name: The stem.
        status: ``done``, ``kept`` (finished by an earlier render of the same plan) or ``failed``.
        target: Where it is.
        error: Why it failed, in one line.
        record: What was measured, where it is done.
        warnings: What the user should know.
        steps: What the steps of its dreams did, where they were taken now.
    """

    name: str
    status: Literal["done", "kept", "failed"]
    target: Path
    error: str = ""
    record: StemRecord | None = None
    warnings: tuple[str, ...] = ()
    steps: tuple[DreamStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedStem:
    """A stem in its scratch file, before its level is decided.

    Args:
        scratch: The file.
        before: The stem as it came.
        meter: Has heard what is to be delivered.
        n_samples: How much of it is to be delivered.
        is_section: Whether it is a part of its stem.
        n_before: How much lies before that, for a limiter to have heard.
        wall_s: How long it took.
        warnings: What the user should know.
        plugins: Who they are, by node.
        rungs: The same stem at each depth of its plan's ladder.
        steps: What the steps of its dreams did.
    """

    scratch: Path
    before: Loudness
    meter: LoudnessMeter
    n_samples: int
    is_section: bool
    n_before: int
    wall_s: float
    warnings: tuple[str, ...]
    plugins: dict[str, dict[str, str]]
    rungs: Mapping[int, RenderedStem] = field(default_factory=dict)
    steps: tuple[DreamStep, ...] = ()

    @property
    def scratches(self) -> tuple[Path, ...]:
        """All files it waits in."""
        return (self.scratch, *(rung.scratch for rung in self.rungs.values()))

    @property
    def after(self) -> Loudness:
        """The stem as it left its chain."""
        return self.meter.result()

    @property
    def part(self) -> Path:
        """Where its finished file waits for its name."""
        return self.scratch.with_name(f"{self.scratch.name}.part")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredStem:
    """A finished stem that waits for its name.

    Args:
        result: What is true once it has it.
        part: The file.
        rungs: The files of its ladder, by depth.
    """

    result: StemResult
    part: Path
    rungs: Mapping[int, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderReport:
    """What became of a render."""

    plan: Plan
    stems: tuple[StemResult, ...]
    manifest: Path

    @property
    def failed(self) -> tuple[StemResult, ...]:
        """The stems that failed."""
        return tuple(stem for stem in self.stems if stem.status == "failed")
