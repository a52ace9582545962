"""Sources, routes and knobs put together into what moves a chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bridge.envelopes.drawn import LANE, drawn_lane
from bridge.envelopes.during import during_gate
from bridge.envelopes.evaluate import Envelopes, MovingParameter
from bridge.envelopes.follower import FollowerSource
from bridge.envelopes.midi_map import direct_targets, mapped_lane
from bridge.envelopes.places import During
from bridge.envelopes.routes import ParameterRange, RouteStage
from bridge.envelopes.schema import Macro, Modulator, Route
from bridge.envelopes.song import Song
from bridge.envelopes.sources import Source, Sources, build_sources
from bridge.errors import EnvelopeError, nearest_names
from bridge.parameters import ParamSpec

__all__ = ["build_envelopes"]


def build_envelopes(
    *,
    modulators: Sequence[Modulator] = (),
    routes: Sequence[Route] = (),
    macros: Sequence[Macro] = (),
    midi_map: Mapping[str, str] | None = None,
    targets: Mapping[str, Mapping[str, ParamSpec]],
    bases: Mapping[str, Mapping[str, float]] | None = None,
    song: Song,
    sample_rate: float,
    seed: int = 0,
    stem: str = "",
    followers: Mapping[str, FollowerSource] | None = None,
    macro_values: Mapping[str, float] | None = None,
    during: Mapping[tuple[str, str], tuple[str, During]] | None = None,
) -> Envelopes:
    """Build everything that moves in a chain.

    Args:
        modulators: Sources.
        routes: Where they go.
        macros: Knobs.
        midi_map: MIDI source to ``macro.<id>`` or ``node.param``, such as ``{"cc1": "macro.depth"}``.
        targets: What parameters each node offers, by node id and name.
        bases: Where each parameter rests, in its own unit; its default where nothing is said.
        song: Clock, MIDI and length.
        sample_rate: Hz, of the stem.
        seed: Mixed into the modulators' own seeds.
        stem: Name of the stem that is rendered, which ``self`` followers follow.
        followers: How loud stems are, and what is heard in them, by name. None while an estimate is made:
            followers and hearing then stand at their highest, and audio triggers stay silent.
        macro_values: Positions of knobs that win over the macros' own.
        during: Parameters that are let through in sections of the song alone, by node id and name: the
            sections, and how errors call their place.

    Raises:
        EnvelopeError: Something asked for does not exist or makes no sense; the place is named.
    """
    warnings: list[str] = []
    mapping = midi_map or {}
    sources = build_sources(
        modulators=modulators,
        macros=macros,
        midi_map=mapping,
        macro_values=macro_values or {},
        song=song,
        sample_rate=sample_rate,
        seed=seed,
        stem=stem,
        followers=followers,
        warnings=warnings,
    )
    shut: dict[str, Source | None] = {}
    wanted: dict[tuple[str, str], list[tuple[str, Route]]] = {}
    for index, route in enumerate(routes):
        if route.enabled:
            node_id, _, name = route.target.partition(".")
            where = f"routes[{index}]"
            if route.source.startswith(LANE) and route.source not in sources:
                sources[route.source] = drawn_lane(route.source, song, sample_rate, where)
            _check_source(route.source, sources, where)
            shut[where] = during_gate(route, song, sample_rate, f"{where}.during", warnings)
            wanted.setdefault((node_id, name), []).append((where, route))
    parameters: dict[tuple[str, str], MovingParameter] = {}
    direct = direct_targets(mapping)
    for target in dict.fromkeys([*wanted, *direct]):
        keys = direct.get(target, [])
        stages = wanted.get(target, [])
        where = stages[0][0] if stages else f"midi_map.{keys[0]}"
        spec = _check_target(target, targets, where)
        travel = _travel(spec, [route for _, route in stages], where)
        resting = (bases or {}).get(target[0], {}).get(target[1], spec.default)
        base = travel.of(float(resting))
        if keys:
            lane = mapped_lane(keys, min(max(base, 0.0), 1.0), song, sample_rate, where, warnings)
            if lane is not None:
                name = f"midi_map.{'.'.join(target)}"
                sources[name] = Source(key=name, curve=lane)
                stages = [(where, Route(source=name, target=".".join(target), op="replace")), *stages]
        if stages:
            parameters[target] = MovingParameter(
                travel=travel,
                base=base,
                stages=tuple(
                    RouteStage(route=route, source=sources[route.source], travel=travel, gate=shut.get(place))
                    for place, route in stages
                ),
            )
    for target, (where, sections) in (during or {}).items():
        gate = during_gate(sections, song, sample_rate, where, warnings)
        moving = parameters.get(target)
        if moving is None:
            spec = targets[target[0]][target[1]]
            travel = _travel(spec, [], where)
            resting = (bases or {}).get(target[0], {}).get(target[1], spec.default)
            moving = MovingParameter(travel=travel, base=travel.of(float(resting)), stages=())
        parameters[target] = replace(moving, gate=gate)
    return Envelopes(parameters, sources, song.tempo_map, sample_rate, warnings)


def _check_source(name: str, sources: Sources, where: str) -> None:
    if name not in sources:
        raise EnvelopeError(f"{where}.source: there is no source {name!r}; {nearest_names(name, sources)}")


def _check_target(
    target: tuple[str, str], targets: Mapping[str, Mapping[str, ParamSpec]], where: str
) -> ParamSpec:
    """Return what is known of a route's target, or say why nothing can move it."""
    node_id, name = target
    if node_id not in targets:
        raise EnvelopeError(
            f"{where}.target: there is no node {node_id!r}; {nearest_names(node_id, targets)}"
        )
    specs = targets[node_id]
    if name not in specs:
        known = nearest_names(name, [n for n, spec in specs.items() if spec.automation != "none"])
        raise EnvelopeError(f"{where}.target: node {node_id!r} has no parameter {name!r}; {known}")
    spec = specs[name]
    if not spec.is_continuous or spec.automation == "none":
        movable = [n for n, other in specs.items() if other.is_continuous and other.automation != "none"]
        reason = "is fixed for a render" if spec.is_continuous else "is a choice, not a number"
        raise EnvelopeError(
            f"{where}.target: {node_id}.{name} {reason} and cannot move; {nearest_names(name, movable)}"
        )
    return spec


def _travel(spec: ParamSpec, routes: Sequence[Route], where: str) -> ParameterRange:
    """Return the range routes work in: the parameter's, or the routes' own where it has none."""
    lows = [route.min for route in routes if route.min is not None]
    highs = [route.max for route in routes if route.max is not None]
    low = spec.minimum if spec.minimum is not None else min(lows, default=None)
    high = spec.maximum if spec.maximum is not None else max(highs, default=None)
    if low is None or high is None or low >= high:
        raise EnvelopeError(f"{where}: {spec.name} has no range of its own; set min and max in the route")
    for value in (*lows, *highs):
        if not low <= value <= high:
            unit = f" {spec.unit}" if spec.unit else ""
            raise EnvelopeError(f"{where}: {value:g} is outside {spec.name}'s {low:g}..{high:g}{unit}")
    return ParameterRange(low=float(low), high=float(high), is_log=spec.curve == "log" and low > 0)
