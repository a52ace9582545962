"""Does a manifest still make what it says? Render it again beside the outputs, and compare.

Three answers a stem: bit-exact; the same but for a residual, in dB; or different. On the machine that made
it a render is bit-exact; on another processor or device float arithmetic differs in its last bits, and a
dream, which climbs gradients, carries such differences on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bridge.audio.hashing import hash_samples
from bridge.audio.null_test import Comparison, compare_files
from bridge.errors import InputError
from bridge.files import private_folder
from bridge.plan.model import Plan, StemPlan
from bridge.plan.output_names import rung_path, stem_outputs
from bridge.presets.trust import check_reaches, find_reaches
from bridge.render.manifest import Manifest, StemRecord
from bridge.render.progress import Progress
from bridge.render.results import StemResult
from bridge.render.runner import render_plan

__all__ = ["StemVerdict", "verify_manifest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StemVerdict:
    """State whether a stem comes out as the manifest says.

    Args:
        name: The stem; one of its ladder says at which depth.
        is_bit_exact: Whether the new samples have the hash in the manifest.
        is_output_intact: Whether the output still has it; None where the output is gone.
        comparison: New against old, where they differ and the old one is there.
        error: Why it could not be rendered, in one line.
    """

    name: str
    is_bit_exact: bool
    is_output_intact: bool | None
    comparison: Comparison | None = None
    error: str = ""

    def is_within(self, tolerance_dbfs: float) -> bool:
        """Whether the stem is reproduced, bit for bit or but for a residual below the tolerance."""
        if self.error or self.is_output_intact is False:
            return False
        return self.is_bit_exact or (
            self.comparison is not None and self.comparison.is_within(tolerance_dbfs)
        )


def verify_manifest(
    manifest: Manifest,
    *,
    jobs: int = 1,
    trust: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> tuple[StemVerdict, ...]:
    """Render the finished stems of a manifest again and compare them; nothing of the render is touched.

    Args:
        manifest: Of the render.
        jobs: Stems rendered at the same time.
        trust: Whether its preset may load plugins and networks from outside the places for them.
        on_progress: Called as stems get on.
        is_cancelled: Asked often; true stops.

    Raises:
        UntrustedError: It does, and `trust` is false.
        InputError: No stem is finished, or something the plan needs is gone or has changed.
    """
    finished = tuple(stem for stem in manifest.plan.stems if stem.name in manifest.stems)
    if not finished:
        raise InputError(
            "no stem of this manifest is finished, so there is nothing to verify; render it first"
        )
    if not trust:
        check_reaches(f"preset {manifest.plan.preset.meta.name!r}", list(find_reaches(manifest.plan.preset)))
    # Beside the outputs, where there is room for another copy of them.
    parent = Path(manifest.plan.out_dir)
    with private_folder(parent if parent.is_dir() else Path(tempfile.gettempdir())) as folder:
        plan = _moved(manifest.plan, folder / "again")
        report = render_plan(plan, jobs=jobs, on_progress=on_progress, is_cancelled=is_cancelled)
        results = {result.name: result for result in report.stems}
        verdicts: list[StemVerdict] = []
        for stem in finished:
            verdicts += _judge(stem, manifest.stems[stem.name], results.get(stem.name))
    return tuple(verdicts)


def _judge(stem: StemPlan, noted: StemRecord, result: StemResult | None) -> Iterator[StemVerdict]:
    """Compare what a stem gave with what is noted of it, at each depth of its ladder too."""
    for depth, old in stem_outputs(stem, noted.ladder).items():
        name = stem.name if depth is None else f"{stem.name} at depth {depth}"
        sha256 = noted.by_depth[depth].sha256_samples
        intact = hash_samples(old) == sha256 if old.exists() else None
        if result is None or result.record is None:
            error = "was not rendered" if result is None else result.error
            yield StemVerdict(name=name, is_bit_exact=False, is_output_intact=intact, error=error)
            continue
        is_exact = result.record.by_depth[depth].sha256_samples == sha256
        new = result.target if depth is None else rung_path(result.target, depth)
        comparison = None if is_exact or not intact else compare_files(old, new)
        yield StemVerdict(name=name, is_bit_exact=is_exact, is_output_intact=intact, comparison=comparison)


def _moved(plan: Plan, folder: Path) -> Plan:
    """Return the same plan for another folder."""
    # All stems stay in the plan: what some follow or dream towards may be others.
    stems = tuple(
        stem.model_copy(update={"target": str(folder / Path(stem.target).name)}) for stem in plan.stems
    )
    return plan.model_copy(update={"out_dir": str(folder), "stems": stems})
