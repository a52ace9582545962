"""One stem's way as tasks that workers run, up to its name: what goes wrong on it fails this stem alone.

Where a stem shares neither gain nor length with others it is rendered and delivered in one task; else all are
rendered first, and delivered when every chain was heard.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import RenderStoppedError, ReverieError
from bridge.installation import reason_of, repair_command, unloadable_package
from bridge.midi.file import MidiFile
from bridge.plan.model import Plan, StemPlan
from bridge.presets.policies import LevelPolicy
from bridge.render.gain import GainDecision, decide_gain, share_gains
from bridge.render.heard_stems import HeardStems
from bridge.render.ladder import scratch_of
from bridge.render.progress import Progress
from bridge.render.results import DeliveredStem, RenderedStem, StemResult
from bridge.render.stem_delivery import Level, deliver_stem
from bridge.render.stem_render import render_stem

if TYPE_CHECKING:
    from dream_core.loop.shared_batches import SharedBatches

__all__ = ["DeliverStem", "RenderStem", "failed_stem", "own_level", "shared_levels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderStem:
    """Send a stem through its chain, and on to a finished file where nothing has to be waited for.

    Args:
        plan: The stem's plan.
        stem: The stem.
        scratch: Where it waits between its chain and its level.
        midi: From ``plan.load_midi()``.
        is_delivered: Whether it is delivered as well.
        batches: Shared with the dreams of stems in other threads.
        heard: What modulators listen for, from `hear_stems`.
    """

    plan: Plan
    stem: StemPlan
    scratch: Path
    midi: MidiFile | None = None
    is_delivered: bool = True
    batches: SharedBatches | None = None
    heard: HeardStems | None = None

    def run(
        self, tell: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> StemResult | DeliveredStem | RenderedStem:
        """Do it; whatever goes wrong fails this stem alone.

        Raises:
            RenderStoppedError: It was stopped.
        """
        is_kept = False
        try:
            rendered = render_stem(
                self.plan, self.stem, self.scratch, self.midi, tell, is_cancelled, self.batches, self.heard
            )
            if not self.is_delivered:
                is_kept = True
                return rendered
            return deliver_stem(self.plan, self.stem, rendered, own_level(self.plan, rendered), tell)
        except RenderStoppedError:
            raise
        except Exception as error:
            return failed_stem(self.stem, _reason(error))
        finally:
            if not is_kept:
                self.clean_up()

    def clean_up(self) -> None:
        """Remove the scratch files, whole or half."""
        for path in (self.scratch, *(scratch_of(self.scratch, depth) for depth in self.plan.ladder)):
            path.unlink(missing_ok=True)


def own_level(plan: Plan, rendered: RenderedStem) -> Level:
    """Return how a stem is delivered that shares neither gain nor length with others."""
    return Level(
        decision=_gain(plan.preset.level, rendered),
        n_samples=rendered.n_samples,
        ladder={depth: own_level(plan, rung) for depth, rung in rendered.rungs.items()},
    )


def _gain(policy: LevelPolicy, rendered: RenderedStem) -> GainDecision:
    return decide_gain(policy, rendered.before, rendered.after, is_section=rendered.is_section)


def shared_levels(plan: Plan, rendered: Mapping[str, RenderedStem]) -> dict[str, Level]:
    """Return how stems are delivered that share a gain or a length: one for all, at each depth."""
    policy, stems = plan.preset.level, list(rendered.values())
    decisions = share_gains(policy, [_gain(policy, stem) for stem in stems])
    ladders = {
        depth: shared_levels(plan, {name: r.rungs[depth] for name, r in rendered.items()})
        for depth in (stems[0].rungs if stems else ())
    }
    return {
        name: Level(
            decision=decision,
            n_samples=max(r.n_samples for r in stems),
            ladder={depth: levels[name] for depth, levels in ladders.items()},
        )
        for name, decision in zip(rendered, decisions, strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverStem:
    """Make a rendered stem a finished file, at a level and a length that all stems have heard of.

    Args:
        plan: The stem's plan.
        stem: The stem.
        rendered: What its chain gave.
        level: Its gain, and the common length.
    """

    plan: Plan
    stem: StemPlan
    rendered: RenderedStem
    level: Level

    def run(
        self, tell: Callable[[Progress], None], _is_cancelled: Callable[[], bool]
    ) -> StemResult | DeliveredStem:
        """Do it; whatever goes wrong fails this stem alone.

        Raises:
            RenderStoppedError: It was stopped.
        """
        try:
            return deliver_stem(self.plan, self.stem, self.rendered, self.level, tell)
        except RenderStoppedError:
            raise
        except Exception as error:
            return failed_stem(self.stem, _reason(error))
        finally:
            self.clean_up()

    def clean_up(self) -> None:
        """Remove the scratch files, whole or half."""
        for path in self.rendered.scratches:
            path.unlink(missing_ok=True)


def failed_stem(stem: StemPlan, error: str) -> StemResult:
    """Return the result of a stem that failed, for a reason in one line."""
    return StemResult(name=stem.name, status="failed", target=Path(stem.target), error=error)


def _reason(error: Exception) -> str:
    """Return one line for what went wrong; what nobody foresaw says where it happened, for a report of it."""
    if isinstance(error, ReverieError):
        return str(error)
    broken = unloadable_package(error)
    if broken is not None:
        return f"{broken} cannot be loaded: {reason_of(error)}; `{repair_command(broken, error)}` may fix it"
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return f"an unexpected error, please report it: {type(error).__name__}: {error} ({where})".replace(
        "\n", " "
    )
