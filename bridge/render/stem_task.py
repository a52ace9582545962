"""One stem's way as tasks that workers run, up to its name: what goes wrong on it fails this stem alone.

Where a stem shares neither gain nor length with others it is rendered and delivered in one task; else all are
rendered first, and delivered when every chain was heard.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import RenderStoppedError, ReverieError
from bridge.installation import reason_of, repair_command, unloadable_package
from bridge.midi.file import MidiFile
from bridge.plan.model import Plan, StemPlan
from bridge.render.gain import GainDecision, decide_gain
from bridge.render.heard_stems import HeardStems
from bridge.render.progress import Progress
from bridge.render.results import DeliveredStem, RenderedStem, StemResult
from bridge.render.stem_delivery import deliver_stem
from bridge.render.stem_render import render_stem

if TYPE_CHECKING:
    from dream_core.loop.shared_batches import SharedBatches

__all__ = ["DeliverStem", "RenderStem", "failed_stem"]


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
            decision = decide_gain(self.plan.preset.level, rendered.before, rendered.after)
            return deliver_stem(self.plan, self.stem, rendered, decision, rendered.n_samples, tell)
        except RenderStoppedError:
            raise
        except Exception as error:
            return failed_stem(self.stem, _reason(error))
        finally:
            if not is_kept:
                self.clean_up()

    def clean_up(self) -> None:
        """Remove the scratch file, whole or half."""
        self.scratch.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverStem:
    """Make a rendered stem a finished file, at a level and a length that all stems have heard of.

    Args:
        plan: The stem's plan.
        stem: The stem.
        rendered: What its chain gave.
        decision: Its gain.
        n_samples: The common length.
    """

    plan: Plan
    stem: StemPlan
    rendered: RenderedStem
    decision: GainDecision
    n_samples: int

    def run(
        self, tell: Callable[[Progress], None], _is_cancelled: Callable[[], bool]
    ) -> StemResult | DeliveredStem:
        """Do it; whatever goes wrong fails this stem alone.

        Raises:
            RenderStoppedError: It was stopped.
        """
        try:
            n_samples = max(self.n_samples, self.rendered.n_samples)
            return deliver_stem(self.plan, self.stem, self.rendered, self.decision, n_samples, tell)
        except RenderStoppedError:
            raise
        except Exception as error:
            return failed_stem(self.stem, _reason(error))
        finally:
            self.clean_up()

    def clean_up(self) -> None:
        """Remove the scratch file, whole or half."""
        self.rendered.scratch.unlink(missing_ok=True)


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
