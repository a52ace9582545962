"""What moves a plan's parameters over its song."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bridge.envelopes.assemble import build_envelopes
from bridge.envelopes.evaluate import Envelopes
from bridge.envelopes.follower import FollowerSource
from bridge.envelopes.map_keys import controllers
from bridge.envelopes.places import find_stretches
from bridge.envelopes.song import Song
from bridge.midi.file import MidiFile
from bridge.parameters import ParamSpec
from bridge.plan.model import Plan, StemPlan
from bridge.presets.model import NodeSpec, Preset, node_parameters
from bridge.processors.catalogue import DREAMING, processor_parameters
from bridge.processors.contract import DURING, DURING_SPEC

__all__ = ["build_preset_envelopes", "stem_envelopes", "stem_song"]


def build_preset_envelopes(
    preset: Preset,
    song: Song,
    sample_rate: int,
    seed: int,
    *,
    stem: str,
    opened: Mapping[str, Mapping[str, ParamSpec]] | None = None,
    followers: Mapping[str, FollowerSource] | None = None,
) -> Envelopes:
    """Build what moves a preset's parameters over a song.

    Args:
        preset: The resolved preset.
        song: Clock, MIDI and length.
        sample_rate: Hz, of the stem.
        seed: Added to the modulators' seeds.
        stem: Name of the stem, for modulators that follow it.
        opened: Parameters of nodes that are known only once they are open (plugins), by node id; routes to
            such nodes are left out while it is None.
        followers: How loud stems are, by name; None while an estimate is made.
    """
    nodes = [node for node in preset.chain if node.enabled]
    targets: dict[str, Mapping[str, ParamSpec]] = {
        node.id: node_parameters(node, preset.midi_map) for node in nodes
    }
    if opened is not None:
        targets |= {node_id: {**targets[node_id], **specs} for node_id, specs in opened.items()}
    unopened = {node.id for node in nodes if node.use == "vst3"} if opened is None else set()
    disabled = {node.id for node in preset.chain if not node.enabled}
    idle = unopened | disabled
    during = {
        (node.id, "depth" if node.use in DREAMING else DURING): (f"node {node.id!r}: during", node)
        for node in nodes
        if node.during
    }
    for node_id, name in during:
        if name == DURING:
            targets[node_id] = {**targets[node_id], name: DURING_SPEC}
    for index, route in enumerate(preset.routes):
        if route.enabled and route.target.partition(".")[0] in unopened:
            find_stretches(route.during, song, f"routes[{index}].during")
    # Left in their places: errors count them as the preset does.
    routes = tuple(
        route.model_copy(update={"enabled": False}) if route.target.partition(".")[0] in idle else route
        for route in preset.routes
    )
    return build_envelopes(
        modulators=preset.modulators,
        routes=routes,
        macros=preset.macros,
        midi_map=controllers(preset.midi_map),
        targets=targets,
        bases={node.id: _bases(node, targets[node.id]) for node in nodes},
        song=song,
        sample_rate=sample_rate,
        seed=seed,
        stem=stem,
        followers=followers,
        during=during,
    )


def _bases(node: NodeSpec, specs: Mapping[str, ParamSpec]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, spec in specs.items():
        if spec.is_continuous:
            own = node.params.get(name, spec.default)
            is_node_mix = name == "mix" and (
                node.use == "vst3" or "mix" not in processor_parameters(node.use)
            )
            values[name] = float(node.mix if is_node_mix else own)
    return values


def stem_song(plan: Plan, stem: StemPlan, midi: MidiFile | None) -> Song:
    """Return what a stem's envelopes follow: the plan's clock and MIDI, over the stem's length.

    Args:
        plan: The plan.
        stem: One of its stems.
        midi: From ``plan.midi.load()``, where the plan has any; read once, it serves all stems.
    """
    return Song(tempo_map=plan.tempo_map, midi=midi, length_s=stem.duration_s)


def stem_envelopes(
    plan: Plan,
    stem: StemPlan,
    midi: MidiFile | None,
    *,
    missing: Collection[str] = (),
    opened: Mapping[str, Mapping[str, ParamSpec]] | None = None,
    followers: Mapping[str, FollowerSource] | None = None,
) -> Envelopes:
    """Build what moves a stem's parameters.

    Args:
        plan: The plan.
        stem: One of its stems.
        midi: From ``plan.midi.load()``, where the plan has any.
        missing: Nodes that are bypassed.
        opened: As in `build_preset_envelopes`.
        followers: As in `build_preset_envelopes`.

    Raises:
        EnvelopeError: Something asked for does not exist or makes no sense; the place is named.
    """
    return build_preset_envelopes(
        plan.preset.without(missing) if missing else plan.preset,
        stem_song(plan, stem, midi),
        stem.sample_rate,
        plan.seed,
        stem=stem.name,
        opened=opened,
        followers=followers,
    )
