"""What a plan checks before anything is opened: the dreams' settings and the plugins' presence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.envelopes.follower import follower_stems
from bridge.envelopes.schema import Hearing
from bridge.errors import InputError, PlanError, PresetError, nearest_names
from bridge.files import hash_file
from bridge.plan.model import SELF, StemPlan
from bridge.plan.played import check_weights
from bridge.presets.keyswitches import dreams_of
from bridge.presets.model import NodeSpec, Preset
from bridge.processors.catalogue import DREAMING
from bridge.processors.dream_clocks import clocked
from dream_core.settings import DEPTH_LIMIT

__all__ = [
    "MISSING",
    "NEEDS_NOTES",
    "DreamFacts",
    "channel_warnings",
    "check_dreams",
    "check_followed",
    "check_ladder",
    "check_pitch",
    "check_plugins",
    "check_sidechains",
    "clock_rates",
    "follows_notes",
    "sort_ladder",
]

MISSING = "missing"
"""Stands for the hash of a plugin that is not installed."""

NEEDS_NOTES = "pitch = 'midi' keeps to the song's notes; give --midi FILE, or set pitch = 'auto'"


@dataclass(frozen=True, slots=True, kw_only=True)
class DreamFacts:
    """What the dreams of a preset depend on, and the modulators that hear.

    Args:
        reference_stems: Stems dreams follow or dream towards.
        networks: Network to sha256 of its weights.
        device: Where they will run.
        threads: Torch's threads, where that is a CPU.
    """

    reference_stems: frozenset[str]
    networks: dict[str, str]
    device: str
    threads: int | None


def check_dreams(
    preset: Preset, names: Sequence[str] | None, device: str, threads: int | None, seed: int
) -> DreamFacts:
    """Check every dream of a preset and every modulator that hears, and resolve where they will run.

    Args:
        preset: The preset.
        names: Of the stems; None while they are not known.
        device: Where to compute, as asked for.
        threads: On a CPU, as asked for.
        seed: Added to the dreams' own.

    Raises:
        InputError: A network, layer, class, update, device, band or stem that does not exist or fit.
    """
    reference_stems: frozenset[str] = frozenset()
    nodes = preset.dream_nodes
    hearing = [one for one in preset.modulators if isinstance(one, Hearing)]
    if not nodes and not hearing and not preset.requires.networks:
        return DreamFacts(reference_stems=reference_stems, networks={}, device=device, threads=threads)
    from bridge.processors.dream import Dream
    from bridge.processors.dream_needs import check_installed, hash_networks, networks_of, resolve_compute

    resolved = [resolve_compute(one.strip(), threads) for one in device.split(",")]
    device, threads = ",".join(dict.fromkeys(one for one, _ in resolved)), resolved[0][1]
    for node in nodes:
        if not dreams_of(preset, node):
            raise PresetError(
                f"node {node.id!r}: each names no objective; write some, as each = ['layer:block2', "
                "'class:flute']"
            )
    used = frozenset[str]().union(*(networks_of(own) for node in nodes for own in dreams_of(preset, node)))
    required: dict[str, str] = {}
    for name, _, sha256 in (text.partition("@sha256:") for text in preset.requires.networks):
        if sha256 and required.get(name, sha256) not in ("", sha256):
            raise PresetError(f"[requires] asks for two kinds of weights of network {name!r}; name one")
        required[name] = sha256 or required.get(name, "")
    used |= set(required)
    if names is not None:  # a preset can be checked without the weights it needs
        check_installed(used)
        for modulator in hearing:
            check_installed([modulator.network], f"modulator {modulator.id!r}")
    for node, params in [(one, own) for one in nodes for own in dreams_of(preset, one)]:
        seeded = {**params, "seed": float(params.get("seed", 0)) + seed}
        dream = Dream(device=resolved[0][0], **seeded)  # type: ignore[arg-type]
        if names is not None:
            dream.check_pitch_source()
        try:
            dream.check()
        except InputError:
            check_installed(used)  # without its weights a network may not know its classes' names
            raise
        for name in sorted(dream.reference_stems):
            if names is not None and name not in (SELF, *names):
                raise PresetError(
                    f"node {node.id!r} dreams towards stem {name!r}, which is not given; "
                    f"{nearest_names(name, [SELF, *names])}"
                )
        reference_stems |= dream.reference_stems - {SELF}
        check_weights(preset, node)
    if hearing:
        from bridge.processors.hearing import check_hearing
    for modulator in hearing:
        try:
            check_hearing(modulator)
        except InputError:
            check_installed([modulator.network], f"modulator {modulator.id!r}")
            raise
        used |= {modulator.network}
    hashes = hash_networks(used)
    _check_required(required, hashes)
    return DreamFacts(reference_stems=reference_stems, networks=hashes, device=device, threads=threads)


def _check_required(required: Mapping[str, str], hashes: Mapping[str, str]) -> None:
    for name, wanted in sorted(required.items()):
        if wanted and hashes[name] and hashes[name] != wanted:
            raise PresetError(
                f"[requires] asks for weights of network {name!r} with sha256 {wanted[:16]}..., those here "
                f"have {hashes[name][:16]}...; install the others, or change the preset "
                f"(`reverie networks show {name}` prints the hash)"
            )


def follows_notes(node: NodeSpec) -> bool:
    """Say whether a node is a dream that keeps to the song's notes."""
    return node.use in DREAMING and (node.params.get("update"), node.params.get("pitch")) == (
        "harmonic",
        "midi",
    )


def clock_rates(node: NodeSpec) -> dict[str, str]:
    """Return what a dream counts on the song's clock: lane to how long one of it is.

    >>> clock_rates(NodeSpec(id="dream", use="dream", params={"motion_rate": "1/8"}))
    {'cycles': '1/8'}
    """
    return {name: rate for name, (_, rate) in clocked(node.params).items()} if node.use in DREAMING else {}


def check_pitch(preset: Preset, has_midi: bool) -> None:
    """Check that dreams that keep to the song's notes have some.

    Raises:
        PresetError: There is no MIDI.
    """
    for node in preset.dream_nodes:
        if follows_notes(node) and not has_midi:
            raise PresetError(f"node {node.id!r}: {NEEDS_NOTES}")


def check_sidechains(preset: Preset, names: Sequence[str]) -> frozenset[str]:
    """Return the stems that plugins hear as their second input.

    Raises:
        PresetError: One is not given.
        PluginError: The host that feeds sidechains is not installed.
    """
    nodes = [node for node in preset.nodes_of("vst3") if node.sidechain is not None]
    if nodes:
        from bridge.hosts.open_plugin import choose_backend
    for node in nodes:
        choose_backend(node.backend, has_sidechain=True)
        if node.sidechain not in names:
            raise PresetError(
                f"node {node.id!r} has stem {node.sidechain!r} for its sidechain, which is not given; "
                f"{nearest_names(str(node.sidechain), names)}"
            )
    return frozenset(str(node.sidechain) for node in nodes)


def channel_warnings(preset: Preset, channels: Mapping[str, int]) -> list[str]:
    """Name the stems that will fail because a dream in mid and side needs two channels."""
    wrong = [f"{name} ({count})" for name, count in channels.items() if count != 2]
    return [
        f"node {node.id!r}: stereo = 'mid_side' needs 2 channels and fails for these stems: "
        f"{', '.join(wrong)}. Use 'linked', or render them separately"
        for node in preset.dream_nodes
        if wrong and node.params.get("stereo") == "mid_side"
    ]


def check_followed(preset: Preset, names: Sequence[str]) -> None:
    """Check that the stems whose sound modulators follow are given.

    Raises:
        PresetError: One is not.
    """
    for modulator in preset.modulators:
        for name in follower_stems([modulator], ""):
            if name and name not in names:
                raise PresetError(
                    f"modulator {modulator.id!r} follows stem {name!r}, which is not given; "
                    f"{nearest_names(name, names)}"
                )


def sort_ladder(ladder: Sequence[int]) -> tuple[int, ...]:
    """Return the depths of a ladder in order, each once.

    Raises:
        PlanError: One is no whole number of steps.
    """
    for depth in ladder:
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= DEPTH_LIMIT:
            raise PlanError(
                f"ladder: {depth!r} is no depth of one; whole numbers of steps, 1..{DEPTH_LIMIT:g}, are "
                "accepted"
            )
    return tuple(sorted(set(ladder)))


def check_ladder(preset: Preset, ladder: Sequence[int], stems: Sequence[StemPlan]) -> tuple[str, ...]:
    """Check that there is a dream to climb; say which depths no stem reaches.

    Raises:
        PresetError: Nothing in the chain dreams.
    """
    if not ladder:
        return ()
    if not preset.dream_nodes:
        raise PresetError(f"a ladder of {preset.meta.name}: nothing in its chain dreams; leave --ladder out")
    deepest = max(stem.peak_depth for stem in stems)
    beyond = [str(depth) for depth in ladder if depth >= deepest]
    if not beyond:
        return ()
    return (
        f"ladder: no dream goes beyond {deepest:g} steps, so at {', '.join(beyond)} the stems are as deep as "
        "they get",
    )


def check_plugins(preset: Preset, on_missing: str) -> dict[str, str]:
    """Return the hash of every plugin a preset hosts or requires, or that it is missing.

    Raises:
        PluginNotFoundError: One is not installed, and `on_missing` is ``fail``.
    """
    wanted = [(node.plugin or "", node.plugin_name) for node in preset.nodes_of("vst3")]
    wanted += [(name, None) for name in preset.requires.plugins]
    if not wanted:
        return {}
    from bridge.hosts.bundle import PluginNotFoundError, check_bundle
    from bridge.hosts.installed_plugins import find_plugin

    found: dict[str, str] = {}
    for plugin, plugin_name in wanted:
        try:
            found[plugin] = hash_file(check_bundle(find_plugin(plugin, plugin_name)[0]))
        except PluginNotFoundError as error:
            if on_missing == "fail":
                raise PluginNotFoundError(f"{error} (or go on without it: --on-missing bypass)") from None
            found[plugin] = MISSING
    return found
