"""From a plan's nodes to processors that can play: the one place that makes instances."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bridge.clock.durations import parse_rate
from bridge.envelopes.cycle_phase import CyclePhase
from bridge.envelopes.evaluate import Envelopes
from bridge.envelopes.follower import FollowerSource, build_follower, follower_stems
from bridge.envelopes.map_keys import Keyswitch, keyswitches
from bridge.errors import PresetError
from bridge.midi.file import MidiFile
from bridge.midi.keyswitch_lines import KeyswitchLines, read_keyswitches
from bridge.midi.notes import timed_messages
from bridge.midi.pitch_line import PitchLine, read_pitch_line, track_of_stem
from bridge.parameters import ParamSpec
from bridge.plan.checks import NEEDS_NOTES, clock_rates, follows_notes
from bridge.plan.model import Plan, StemPlan
from bridge.plan.stem_envelopes import stem_envelopes
from bridge.presets.keyswitches import key_weight, played_params, switched_keys
from bridge.presets.model import NodeSpec
from bridge.processors.catalogue import DREAMING, processor_parameters
from bridge.processors.chain import Chain, Node
from bridge.processors.contract import Processor
from bridge.processors.frequency_limit import highest_hz, hold_params, parameters_in_hz
from bridge.processors.noise import Noise
from bridge.processors.pedalboard_plugin import build_builtin
from bridge.render.dream_steps import DreamStep
from bridge.render.heard_stems import HeardStems, hear_stems
from bridge.render.inputs import check_network, check_plugin
from bridge.render.open_grow import open_grow
from bridge.render.section import Feed, plan_feed
from bridge.render.stem_input import StemSidechain, find_stem, open_stem_sound, read_reference

if TYPE_CHECKING:
    from bridge.processors.vst3 import VST3
    from dream_core.loop.pending_steps import StepReport
    from dream_core.loop.shared_batches import SharedBatches

__all__ = ["OpenStem", "RenderHooks", "open_stem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderHooks:
    """Whom a render tells and asks while it runs.

    Args:
        on_step: Called after every dream step of every window.
        is_cancelled: Asked often; true stops.
        on_warning: Called with one line the user should see.
    """

    on_step: Callable[[DreamStep], None] | None = None
    is_cancelled: Callable[[], bool] | None = None
    on_warning: Callable[[str], None] | None = None


@dataclass(slots=True, kw_only=True)
class OpenStem:
    """A stem whose processors are loaded and whose envelopes are built.

    `after` holds, for each depth of a ladder, what follows the last dream once more; `copies` its plugins.
    """

    plan: Plan
    stem: StemPlan
    chain: Chain
    envelopes: Envelopes
    after: Mapping[int, Chain] = field(default_factory=dict)
    copies: tuple[VST3, ...] = ()
    plugins: dict[str, VST3] = field(default_factory=dict)
    frequencies: frozenset[tuple[str, str]] = frozenset()
    pitches: Mapping[str, PitchLine] = field(default_factory=dict)
    clocks: Mapping[tuple[str, str], CyclePhase] = field(default_factory=dict)
    keyswitches: Mapping[str, tuple[tuple[Keyswitch, ...], KeyswitchLines]] = field(default_factory=dict)
    feed: Feed | None = None

    def lanes(self, start: int, n_samples: int) -> dict[str, Any]:
        """Return the values of everything that moves, for a block."""
        # The plan has told of frequencies that are held.
        limit_hz = highest_hz(self.stem.sample_rate)
        lanes = {}
        for node_id, name in self.envelopes.moving:
            values = self.envelopes.values(node_id, name, start, n_samples)
            is_held = (node_id, name) in self.frequencies
            lanes[f"{node_id}.{name}"] = np.minimum(values, limit_hz) if is_held else values
        for node_id, line in self.pitches.items():
            lanes[f"{node_id}.f0_hz"] = line.values(start, n_samples)
        if self.keyswitches or self.clocks:
            seconds = np.arange(start, start + n_samples) / self.stem.sample_rate
            for node_id, (keys, lines) in self.keyswitches.items():
                for index, key in enumerate(keys):
                    lanes[f"{node_id}.{key_weight(key)}"] = lines.values(index, seconds)
            lanes |= {
                f"{node_id}.{name}": clock.at(seconds) for (node_id, name), clock in self.clocks.items()
            }
        return lanes if self.feed is None else self.feed.limit(lanes, start, n_samples)

    def close(self) -> None:
        """Let go of what was opened (plugins run in processes of their own)."""
        _close([*self.plugins.values(), *self.copies])


def _close(plugins: Iterable[VST3]) -> None:
    for plugin in plugins:
        if isinstance(plugin.sidechain, StemSidechain):
            plugin.sidechain.close()
        plugin.close()


def open_stem(
    plan: Plan,
    stem: StemPlan,
    midi: MidiFile | None,
    hooks: RenderHooks,
    batches: SharedBatches | None = None,
    heard: HeardStems | None = None,
) -> OpenStem:
    """Load every processor a stem needs and build what moves them; nothing is written.

    Args:
        plan: The plan.
        stem: One of its stems.
        midi: From ``plan.load_midi()``.
        hooks: Whom to tell and to ask.
        batches: Shared by the dreams of all stems on one device.
        heard: What modulators listen for, from `hear_stems`; None hears it now.

    Raises:
        InputError: A network, plugin or parameter is not there.
    """
    preset = plan.preset
    nodes: list[Node] = []
    missing: set[str] = set()
    opened: dict[str, VST3] = {}
    copies: list[VST3] = []
    plugin_specs: dict[str, Mapping[str, ParamSpec]] = {}
    try:
        for node in preset.chain:
            if not node.enabled:
                continue
            processor = _open_node(node, plan, stem, midi, hooks, batches)
            if processor is None:
                missing.add(node.id)
                continue
            if node.use == "vst3":
                plugin = cast("VST3", processor)
                check_plugin(plan, node, plugin.sha256)
                opened[node.id] = plugin
                plugin_specs[node.id] = plugin.parameters
                _feed(plugin, node, nodes, plan, stem, midi, hooks.on_warning or _ignore)
            nodes.append(Node(processor=processor, name=node.id, mix=node.mix))
        after = {depth: _open_after(plan, stem, midi, hooks, missing, copies) for depth in plan.ladder}
        envelopes = stem_envelopes(
            plan,
            stem,
            midi,
            missing=missing,
            opened=plugin_specs,
            followers=_followers(plan, stem, hear_stems(plan, [stem]) if heard is None else heard),
        )
    except BaseException:
        _close([*opened.values(), *copies])
        raise
    return OpenStem(
        plan=plan,
        stem=stem,
        chain=Chain(nodes),
        envelopes=envelopes,
        after=after,
        copies=tuple(copies),
        plugins=opened,
        frequencies=frozenset(
            (node.id, name)
            for node in preset.chain
            if node.use != "vst3"
            for name in parameters_in_hz(processor_parameters(node.use))
        ),
        pitches={
            node.id: _pitch_line(node, plan, stem, midi, hooks.on_warning or _ignore)
            for node in preset.chain
            if node.enabled and follows_notes(node)
        },
        clocks={
            (node.id, name): CyclePhase(cycle=parse_rate(rate), tempo_map=plan.tempo_map)
            for node in preset.dream_nodes
            for name, rate in clock_rates(node).items()
        },
        keyswitches={
            node.id: (keys, read_keyswitches(midi, plan.tempo_map, keys))
            for node in preset.nodes_of("dream")
            if (keys := switched_keys(preset, node))
        },
        feed=None if stem.section is None else plan_feed(plan, stem, nodes, envelopes),
    )


def _open_after(
    plan: Plan,
    stem: StemPlan,
    midi: MidiFile | None,
    hooks: RenderHooks,
    missing: Collection[str],
    copies: list[VST3],
) -> Chain:
    """Open what follows the last dream once more, for one depth of a ladder; plugins go to `copies` too."""
    last = plan.preset.dream_nodes[-1]
    nodes: list[Node] = []
    for node in plan.preset.chain[plan.preset.chain.index(last) + 1 :]:
        if not node.enabled or node.id in missing:
            continue
        processor = _open_node(node, plan, stem, midi, hooks, None)
        assert processor is not None
        if node.use == "vst3":
            plugin = cast("VST3", processor)
            copies.append(plugin)
            if node.sidechain is not None:
                plugin.sidechain = StemSidechain(find_stem(plan, node.sidechain), stem)
        nodes.append(Node(processor=processor, name=node.id, mix=node.mix))
    return Chain(nodes)


def _pitch_line(
    node: NodeSpec, plan: Plan, stem: StemPlan, midi: MidiFile | None, on_warning: Callable[[str], None]
) -> PitchLine:
    """Return the pitch a dream keeps to: of the track it names, else of the one called as the stem, else all.

    Raises:
        PresetError: There is no MIDI.
    """
    if midi is None:
        raise PresetError(f"node {node.id!r}: {NEEDS_NOTES}")
    track = node.track
    if track is None and node.channel is None:
        track = track_of_stem(midi, stem.name)
    line = read_pitch_line(midi, plan.tempo_map, stem.sample_rate, channel=node.channel, track=track)
    if not line.f0_hz.any():
        on_warning(
            f"node {node.id!r}: the MIDI file has no notes for it, so it dreams in bands of noise alone"
        )
    return line


def _open_node(
    node: NodeSpec,
    plan: Plan,
    stem: StemPlan,
    midi: MidiFile | None,
    hooks: RenderHooks,
    batches: SharedBatches | None,
) -> Processor | None:
    if node.use in DREAMING:
        return _open_dream(node, plan, stem, midi, hooks, batches)
    if node.use == "vst3":
        return _open_plugin(node, plan, stem, hooks)
    if node.use == "grow":
        return open_grow(node, plan, stem, midi, hooks.is_cancelled)
    if node.use == "noise":
        seed = float(node.params.get("seed", 0)) + plan.seed
        return Noise(**{**node.params, "seed": seed}, n_samples=stem.n_samples)  # type: ignore[arg-type]
    params = hold_params(node.params, processor_parameters(node.use), stem.sample_rate)
    native = build_builtin(node.use, params)
    native.automation_block_samples = plan.automation_block_samples
    return native


def _open_plugin(node: NodeSpec, plan: Plan, stem: StemPlan, hooks: RenderHooks) -> Processor | None:
    from bridge.hosts.bundle import PluginNotFoundError
    from bridge.hosts.vstpreset import decode_state
    from bridge.processors.vst3 import VST3

    try:
        return VST3(
            node.plugin or "",
            plugin_name=node.plugin_name,
            params=node.params,
            # Of a plan it is the bytes themselves, never a path: manifests come from anywhere.
            state=None if node.state is None else decode_state(node.state, f"node {node.id!r}: state"),
            program=node.program,
            has_sidechain=node.sidechain is not None,
            has_midi=bool(node.midi),
            sample_rate=stem.sample_rate,
            backend=node.backend,
            on_fault=node.on_fault,
            automation_block_samples=plan.automation_block_samples,
            tempo_map=plan.tempo_map,
            on_warning=hooks.on_warning or _ignore,
        )
    except PluginNotFoundError:
        if plan.on_missing == "fail":
            raise
        if hooks.on_warning is not None:
            hooks.on_warning(f"{node.plugin} is not installed, or blocked: node {node.id!r} is bypassed")
        return None


def _feed(
    plugin: VST3,
    node: NodeSpec,
    before: Sequence[Node],
    plan: Plan,
    stem: StemPlan,
    midi: MidiFile | None,
    on_warning: Callable[[str], None],
) -> None:
    """Give a plugin what it hears besides the sound before it: another stem, or the song's notes.

    Raises:
        PresetError: There is no MIDI to play, or the node cannot play any.
    """
    if node.plugin_version not in (None, plugin.version):
        on_warning(
            f"{plugin.name}: version {plugin.version} is installed, the preset's state was saved with "
            f"{node.plugin_version}; check that it sounds as intended"
        )
    if node.sidechain is not None:
        plugin.sidechain = StemSidechain(find_stem(plan, node.sidechain), stem)
    if not (plugin.is_instrument or node.midi):
        if node.channel is not None or node.track is not None:
            raise PresetError(
                f"node {node.id!r}: channel and track belong to instruments; this is an effect, which hears "
                "notes with midi = true"
            )
        return
    if before and plugin.is_instrument:
        raise PresetError(
            f"node {node.id!r}: an instrument takes the place of the sound, so it stands first in its chain"
        )
    if midi is None:
        raise PresetError(f"node {node.id!r}: {plugin.name} plays the song's notes; give --midi FILE")
    messages = timed_messages(midi, plan.tempo_map, channel=node.channel, track=node.track)
    if not any(message[0] & 0xF0 == 0x90 for _, message in messages):
        on_warning(f"{plugin.name}: it gets no notes from the MIDI file, so it is silent")
    plugin.play(messages)


def _ignore(_warning: str) -> None:
    """Leave a warning to the run that renders: it says it once more."""


def _open_dream(
    node: NodeSpec,
    plan: Plan,
    stem: StemPlan,
    midi: MidiFile | None,
    hooks: RenderHooks,
    batches: SharedBatches | None,
) -> Processor:
    from bridge.processors.dream import Dream
    from bridge.processors.dreams import Dreams
    from bridge.processors.played import read_targets

    check_network(plan, node)
    own = played_params(plan.preset, node)
    params = hold_params(own, processor_parameters(node.use), stem.sample_rate)
    dream = (Dreams if node.use == "dreams" else Dream)(
        device=plan.device_for(stem),
        on_step=None if hooks.on_step is None else partial(_tell_step, hooks.on_step, node),
        is_cancelled=hooks.is_cancelled,
        on_warning=hooks.on_warning,
        shared_batches=batches,
        ladder=plan.ladder if node is plan.preset.dream_nodes[-1] else (),
        **{**params, "seed": float(node.params.get("seed", 0)) + plan.seed},  # type: ignore[arg-type]
    )
    for name in sorted(dream.reference_stems):
        dream.references[name] = read_reference(name, plan, stem)
    switches = keyswitches(plan.preset.midi_map)
    for name in dream.song_targets:
        dream.targets[name] = read_targets(
            name,
            midi,
            plan.tempo_map,
            stem.duration_s,
            channel=node.channel,
            track=node.track,
            without=switches,
        )
    dream.open()
    return dream


def _tell_step(tell: Callable[[DreamStep], None], node: NodeSpec, report: StepReport) -> None:
    tell(
        DreamStep(
            node=node.id,
            window=report.window_index,
            step=report.step_index,
            n_steps=report.window_steps,
            start_s=report.start_s,
            score=report.score,
            heard=report.heard,
            change_db=report.change_db,
            each=report.objective if node.use == "dreams" else "",
        )
    )


def _followers(plan: Plan, stem: StemPlan, heard: HeardStems) -> dict[str, FollowerSource]:
    modulators, curves = plan.preset.modulators, {}
    for name in follower_stems(modulators, stem.name):
        other = next((other for other in plan.stems if other.name == name), None)
        if other is not None:
            with open_stem_sound(other) as reader:
                loudness = build_follower(iter(reader), other.sample_rate, modulators)
            curves[name] = replace(loudness, heard=heard.get(name, {}))
    return curves
