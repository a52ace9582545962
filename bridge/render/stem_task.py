"""One stem's way as a task that workers run: what goes wrong on it fails this stem alone."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bridge.errors import RenderStoppedError, ReverieError
from bridge.installation import mending_command, reason_of, unloadable_package
from bridge.plan.model import Plan, StemPlan
from bridge.render.gain import GainDecision, decide_gain
from bridge.render.progress import Progress
from bridge.render.results import RenderedStem, StemResult
from bridge.render.scratch import scratch_path
from bridge.render.stem_delivery import deliver_stem
from bridge.render.stem_render import render_stem

if TYPE_CHECKING:
    from dream_core.loop.shared_batches import SharedBatches

__all__ = ["StemTask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StemTask:
    """One stem's way, whole or one half of it, to be run here or in another process.

    Args:
        plan: The stem's plan.
        stem: The stem.
        stage: ``whole``; or ``chain``, then ``deliver``, where all stems share a level or a length.
        overwrite: Whether its target may be replaced.
        rendered: For ``deliver``: what its ``chain`` gave.
        decision: For ``deliver``: its gain.
        n_samples: For ``deliver``: the common length.
        shared_batches: Shared with the dreams of stems in other threads.
    """

    plan: Plan
    stem: StemPlan
    stage: Literal["whole", "chain", "deliver"] = "whole"
    overwrite: bool = False
    rendered: RenderedStem | None = None
    decision: GainDecision | None = None
    n_samples: int = 0
    shared_batches: SharedBatches | None = None

    def run(
        self, tell: Callable[[Progress], None], is_cancelled: Callable[[], bool]
    ) -> StemResult | RenderedStem:
        """Do it; whatever goes wrong fails this stem alone.

        Raises:
            RenderStoppedError: It was stopped.
        """
        is_kept = False
        try:
            rendered, decision = self.rendered, self.decision
            if rendered is None:
                rendered = render_stem(self.plan, self.stem, tell, is_cancelled, self.shared_batches)
            if self.stage == "chain":
                is_kept = True
                return rendered
            if decision is None:
                decision = decide_gain(self.plan.read_preset().level, rendered.before, rendered.after)
            n_samples = max(self.n_samples, rendered.n_samples)
            return deliver_stem(self.plan, self.stem, rendered, decision, n_samples, self.overwrite, tell)
        except RenderStoppedError:
            raise
        except Exception as error:
            return self.failed(_reason(error))
        finally:
            if not is_kept:
                self.clean_up()

    def failed(self, error: str) -> StemResult:
        """Return the result of a stem that failed, for a reason in one line."""
        return StemResult(name=self.stem.name, status="failed", target=Path(self.stem.target), error=error)

    def clean_up(self) -> None:
        """Remove the scratch file, whole or half."""
        scratch_path(self.stem).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return one line for what went wrong; what nobody foresaw says where it happened, for a report of it."""
    if isinstance(error, ReverieError):
        return str(error)
    broken = unloadable_package(error)
    if broken is not None:
        return (
            f"{broken} cannot be loaded: {reason_of(error)}; `{mending_command(broken, error)}` may mend it"
        )
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return f"an unforeseen error, please report it: {type(error).__name__}: {error} ({where})".replace(
        "\n", " "
    )
