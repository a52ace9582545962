"""From a plan's node to a network that plays on, with the song it plays in."""

from __future__ import annotations

from collections.abc import Callable

from bridge.midi.file import MidiFile
from bridge.plan.growth import note_starts
from bridge.plan.model import Plan, StemPlan
from bridge.presets.model import NodeSpec
from bridge.processors.contract import Processor
from bridge.render.inputs import check_weights

__all__ = ["open_grow"]


def open_grow(
    node: NodeSpec,
    plan: Plan,
    stem: StemPlan,
    midi: MidiFile | None,
    is_cancelled: Callable[[], bool] | None,
) -> Processor:
    """Load the network of a node that plays on.

    Raises:
        InputError: The network is not there, not the plan's, or there are no notes to begin at.
    """
    from bridge.processors.grow import Grow

    check_weights(plan, [str(node.params.get("network", ""))], f"node {node.id!r}")
    own = {name: value for name, value in node.params.items() if name not in ("network", "from")}
    grow = Grow(
        str(node.params.get("network", "")),
        str(node.params.get("from", "4 bars")),
        tempo_map=plan.tempo_map,
        length_s=stem.n_samples / stem.sample_rate,
        note_starts_s=note_starts(node, midi, plan.tempo_map),
        is_cancelled=is_cancelled,
        **{**own, "seed": float(node.params.get("seed", 0)) + plan.seed},
    )
    grow.open()
    return grow
