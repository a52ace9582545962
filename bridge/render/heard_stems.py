"""What modulators hear in stems, heard once before any of them is rendered.

Workers are given what was heard and hear nothing themselves: however many there are, and in whatever order
they take stems up, a curve is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from bridge.arrays import AudioArray
from bridge.envelopes.hearing import HeardCurve, HearingMeasure, hearing_measures
from bridge.errors import RenderStoppedError
from bridge.plan.model import Plan, StemPlan
from bridge.render.inputs import check_weights
from bridge.render.stem_input import open_stem_sound

__all__ = ["HeardStems", "KnownCurves", "hear_stems"]

HeardStems = Mapping[str, Mapping[HearingMeasure, HeardCurve]]
"""By stem, what was listened for and how much of it was heard."""

KnownCurves = dict[tuple[object, ...], HeardCurve]
"""By all that decides a curve: what one plan of a batch has heard, others need not."""


def hear_stems(
    plan: Plan,
    stems: Sequence[StemPlan],
    known: KnownCurves | None = None,
    *,
    tell: Callable[[StemPlan], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> HeardStems:
    """Hear all that the modulators of some stems listen for; each stem once a network, layer and hop.

    Args:
        plan: The plan.
        stems: Those of its stems that are to be rendered.
        known: What has been heard before; what is heard now is added.
        tell: Called with each stem that is heard.
        is_cancelled: Asked often; true stops.

    Raises:
        ProcessorError: A network is not there, or not the plan's.
        AudioFileError: A stem cannot be read.
        RenderStoppedError: It was stopped.
    """
    known = {} if known is None else known
    wanted: dict[str, dict[HearingMeasure, None]] = {}
    for stem in stems:
        for name, measures in hearing_measures(plan.preset.modulators, stem.name).items():
            wanted.setdefault(name, {}).update(dict.fromkeys(measures))
    by_name = {stem.name: stem for stem in plan.stems}
    heard: dict[str, dict[HearingMeasure, HeardCurve]] = {}
    for name in (name for name in by_name if name in wanted):  # one that is not given is told elsewhere
        stem, curves = by_name[name], heard.setdefault(name, {})
        together: dict[tuple[str, str, int], list[HearingMeasure]] = {}
        for measure in wanted[name]:
            key = _key(plan, stem, measure)
            if key in known:
                curves[measure] = known[key]
            else:
                one_pass = (measure.network, measure.layer, measure.patch_hop)
                together.setdefault(one_pass, []).append(measure)
        for measures_together in together.values():
            if tell is not None:
                tell(stem)
            fresh = _hear(plan, stem, measures_together, is_cancelled or (lambda: False))
            known |= {_key(plan, stem, measure): curve for measure, curve in fresh.items()}
            curves |= fresh
    return heard


def _key(plan: Plan, stem: StemPlan, measure: HearingMeasure) -> tuple[object, ...]:
    """Return what decides a curve."""
    sound = (stem.source, stem.sha256, stem.sample_rate, stem.head_samples, stem.own_samples, stem.n_samples)
    return (*sound, measure, plan.networks.get(measure.network), _device(plan), plan.threads)


def _device(plan: Plan) -> str:
    return plan.device.split(",")[0]


def _hear(
    plan: Plan, stem: StemPlan, measures: Sequence[HearingMeasure], is_cancelled: Callable[[], bool]
) -> Mapping[HearingMeasure, HeardCurve]:
    from bridge.processors.dream_needs import border
    from bridge.processors.hearing import hear_curves, open_ear

    first = measures[0]
    check_weights(plan, [first.network], f"what is heard in stem {stem.name!r}")
    with border("hearing"):
        network = open_ear(
            first.network,
            layer=first.layer,
            patch_hop=first.patch_hop,
            device=_device(plan),
            threads=plan.threads,
        )

    def watched() -> Iterator[AudioArray]:
        for block in reader:
            if is_cancelled():
                raise RenderStoppedError("stopped while hearing")
            yield block

    with open_stem_sound(stem) as reader:
        return hear_curves(watched(), stem.sample_rate, network, measures)
