"""From sources to parameters: routes, and the values a render asks for.

Conventions: routes work on a parameter's travel, 0..1 along its own curve from its minimum to its maximum;
what comes out is in the parameter's own unit and never leaves its range.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.arrays import BoolArray, Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.build import Source, Sources, build_sources
from bridge.envelopes.follower import FollowerSource
from bridge.envelopes.grammar import Macro, Modulator, Route
from bridge.envelopes.grid import Grid, Song
from bridge.envelopes.lattice import CELL, Lattice
from bridge.envelopes.played import mapped_lane
from bridge.envelopes.shapes import bend, smooth_step
from bridge.errors import EnvelopeError, nearest_names
from bridge.parameters import ParamSpec

__all__ = ["Envelopes", "build_envelopes"]

_BLOCK = 32768  # large enough to make little of the calls, small enough for the caches
_SPAN = 1 << 18  # samples worked out at once at audio rate
_MAX_GRIDS = 3
_INTEGRAL_STEP = 64
_QUICK = 1.0 / 64.0  # change of a source between points of the lattice that a bent route must not span
_NEAR_LIMIT = 0.002  # of a travel; the quickest sine rises by less between two points


@dataclass(frozen=True, slots=True, kw_only=True)
class Travel:
    """A parameter's range and how a knob's travel maps to it."""

    low: float
    high: float
    is_log: bool

    def of(self, value: float) -> float:
        """Return the travel 0..1 of a value."""
        if self.is_log:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def of_many(self, values: Float64Array) -> Float64Array:
        """Return the travels of values."""
        if self.is_log:
            return np.log(np.maximum(values, self.low) / self.low) / math.log(self.high / self.low)
        return (values - self.low) / (self.high - self.low)

    def value(self, travel: Float64Array) -> Float64Array:
        """Return the values of travels; ends are met exactly."""
        inside = np.minimum(travel, 1.0)
        np.maximum(inside, 0.0, out=inside)
        if self.is_log:
            inside *= math.log(self.high / self.low)
            np.exp(inside, out=inside)
            inside *= self.low
            return np.minimum(inside, self.high, out=inside)
        inside *= self.high - self.low
        inside += self.low
        return inside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lead:
    """One route, ready: a source onto the travel of a parameter."""

    route: Route
    source: Source
    travel: Travel

    def apply(self, travel: Float64Array, grid: Grid) -> Float64Array:
        """Lay this route onto a parameter's travel, which may be written to."""
        route = self.route
        moved = self._shaped(self.source.at(grid))
        low, high = self._limits
        amount = route.amount
        if route.op == "add":
            travel += np.multiply(moved, amount * (high - low), out=grid.scratch)
        else:
            # A source that swings both ways stands in the middle at rest; a negative amount runs backwards.
            upward = moved * 0.5 + 0.5 if self.source.is_bipolar else moved
            if amount < 0:
                upward = 1.0 - upward
            if route.op == "replace":
                np.multiply(upward, abs(amount) * (high - low), out=travel)
                travel += low
            else:
                travel *= 1.0 - abs(amount) * (1.0 - upward)
        if route.min is not None or route.max is not None:
            np.minimum(travel, high, out=travel)
            np.maximum(travel, low, out=travel)
        return travel if route.quantize is None else self._quantized(travel)

    def turns(self, travel: Float64Array, points: Grid) -> BoolArray:
        """Return between which instants what it led to, `travel`, is not smooth."""
        route = self.route
        if route.quantize is not None:
            return np.ones(points.n - 1, np.bool_)
        turns = self.source.turns(points)
        states = []
        if route.min is not None or route.max is not None:
            low, high = self._limits
            at_low, at_high = travel <= low, travel >= high
            # What comes this near may touch the limit between two points.
            is_near = (travel < low + _NEAR_LIMIT) & ~at_low | (travel > high - _NEAR_LIMIT) & ~at_high
            turns = turns | is_near[1:] | is_near[:-1]
            states += [at_low, at_high]
        if not self._is_straight:
            values = self.source.at(points)
            turns = turns | (np.abs(np.diff(values)) > _QUICK)
            states += [values >= 0.0] if self.source.is_bipolar else []
        for state in states:
            turns = turns | (state[1:] != state[:-1])
        return turns

    @property
    def _limits(self) -> tuple[float, float]:
        """Between which travels the route may lead."""
        low = 0.0 if self.route.min is None else self.travel.of(self.route.min)
        return low, 1.0 if self.route.max is None else self.travel.of(self.route.max)

    @property
    def _is_straight(self) -> bool:
        return self.route.curve == "linear" and self.route.tension == 0.0

    def _shaped(self, values: Float64Array) -> Float64Array:
        route = self.route
        if route.invert:
            values = -values if self.source.is_bipolar else 1.0 - values
        if self._is_straight:
            return values
        size = np.abs(values)
        tension = {"exp": 0.5, "log": -0.5}.get(route.curve, 0.0) + route.tension / 2
        shaped = smooth_step(size) if route.curve == "s_curve" else size
        return np.copysign(bend(shaped, tension), values)

    def _quantized(self, travel: Float64Array) -> Float64Array:
        """Take the nearest value allowed that lies between the limits; where none does, what there is."""
        values, grid, route = self.travel.value(travel), self.route.quantize, self.route
        low = self.travel.low if route.min is None else route.min
        high = self.travel.high if route.max is None else route.max
        if isinstance(grid, tuple):
            scale = np.array(sorted(value for value in grid if low <= value <= high))
            if not len(scale):
                return travel
            values = scale[np.searchsorted((scale[1:] + scale[:-1]) / 2, values, side="right")]
        elif grid is not None:
            first, last = math.ceil(low / grid - 1e-9), math.floor(high / grid + 1e-9)
            if first > last:
                return travel
            values = np.clip(np.floor(values / grid + 0.5), first, last) * grid
        return self.travel.of_many(values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Parameter:
    """A parameter that moves: where it rests, and what is laid onto it in order."""

    travel: Travel
    base: float
    leads: tuple[_Lead, ...]

    def at(self, grid: Grid) -> Float64Array:
        """Return the values at any instants."""
        return self.travel.value(self._travels(grid))

    def at_samples(self, lattice: Lattice) -> Float64Array:
        """Return the values at every sample of a block."""
        points = lattice.points
        turns = points.clock_turns
        travel = np.full(points.n, self.base)
        for lead in self.leads:
            travel = lead.apply(travel, points)
            turns = turns | lead.turns(travel, points)
        travels = lattice.join(travel)
        sharp = lattice.sharp(turns)
        if sharp is not None:
            travels[sharp.samples.astype(np.intp) - lattice.start] = self._travels(sharp)
        return self.travel.value(travels)

    def _travels(self, grid: Grid) -> Float64Array:
        travel = np.full(grid.n, self.base)
        for lead in self.leads:
            travel = lead.apply(travel, grid)
        return travel


class Envelopes:
    """Everything that moves in a chain, as pure functions of time.

    Any chunking gives the same numbers, bit for bit; memory does not grow with the song.

    Attributes:
        moving: (node, parameter) pairs that move.
        warnings: What musicians should know: triggers that never fire, controllers that are not there.
        sources: Every source by name.
    """

    def __init__(
        self,
        parameters: Mapping[tuple[str, str], _Parameter],
        sources: Sources,
        tempo_map: TempoMap,
        sample_rate: float,
        warnings: Sequence[str],
    ) -> None:
        self.moving = tuple(parameters)
        self.warnings = tuple(warnings)
        self.sources = sources
        self._parameters, self._tempo_map, self._sample_rate = parameters, tempo_map, sample_rate
        self._grids: OrderedDict[tuple[int, int, int], Grid] = OrderedDict()
        self._lattice: Lattice | None = None
        self._spans: dict[tuple[str, str], tuple[int, Float64Array]] = {}

    def values(
        self, node_id: str, parameter: str, start_sample: int, n_samples: int, step: int = 1
    ) -> Float64Array:
        """Return a parameter's values.

        Args:
            node_id: A node.
            parameter: One of its parameters, of those in `moving`.
            start_sample: First sample.
            n_samples: How many samples the values stand for.
            step: Distance of values in samples: 1 is audio rate, 64 one value a block of 64.

        Returns:
            (ceil(n_samples / step),) float64 in the parameter's own unit, each at its first sample.
        """
        if step == 1:
            return self._samples((node_id, parameter), start_sample, n_samples)
        return self._blocks(self._parameters[node_id, parameter].at, start_sample, n_samples, step)

    def reach(self, node_id: str, parameter: str) -> tuple[float, float]:
        """Return between which values a parameter's routes and its resting place can keep it."""
        found = self._parameters[node_id, parameter]
        routes = [lead.route for lead in found.leads]
        rest = float(found.travel.value(np.array([found.base]))[0])
        low = min(found.travel.low if route.min is None else route.min for route in routes)
        high = max(found.travel.high if route.max is None else route.max for route in routes)
        return min(low, rest), max(high, rest)

    def travel(self, node_id: str, parameter: str, values: Float64Array) -> Float64Array:
        """Return how far values are along their reach and their parameter's curve, 0..1."""
        travel = self._parameters[node_id, parameter].travel
        low, high = self.reach(node_id, parameter)
        return Travel(low=low, high=high, is_log=travel.is_log).of_many(values)

    def source_values(self, name: str, start_sample: int, n_samples: int, step: int = 1) -> Float64Array:
        """Return a source's own values, 0..1 or -1..1; arguments as in `values`."""
        return self._blocks(self.sources[name].at, start_sample, n_samples, step)

    def peak(self, node_id: str, parameter: str, n_samples: int) -> float:
        """Return a parameter's highest value over the first samples, every one looked at."""
        return max(
            (
                float(self.values(node_id, parameter, start, min(_BLOCK, n_samples - start)).max())
                for start in range(0, n_samples, _BLOCK)
            ),
            default=-math.inf,
        )

    def integral(self, node_id: str, parameter: str, n_samples: int) -> float:
        """Return a parameter's value summed over time, in its unit x seconds, by one value in 64 samples."""
        stride = _BLOCK * _INTEGRAL_STEP
        total = sum(
            float(
                self.values(node_id, parameter, start, min(stride, n_samples - start), _INTEGRAL_STEP).sum()
            )
            for start in range(0, n_samples, stride)
        )
        n_values = -(-n_samples // _INTEGRAL_STEP)
        return float(total) / n_values * n_samples / self._sample_rate if n_values else 0.0

    def _samples(self, key: tuple[str, str], start: int, n_samples: int) -> Float64Array:
        """Return a parameter's values at every sample, out of spans that are worked out whole."""
        values = np.empty(n_samples)
        end = start + n_samples
        for index in range(start // _SPAN, -(-end // _SPAN)):
            kept, span = self._spans.get(key, (-1, values))
            if kept != index:
                span = self._parameters[key].at_samples(self._lattice_of(index))
                self._spans[key] = index, span
            first, last = max(start, index * _SPAN), min(end, (index + 1) * _SPAN)
            values[first - start : last - start] = span[first - index * _SPAN : last - index * _SPAN]
        return values

    def _lattice_of(self, index: int) -> Lattice:
        if self._lattice is None or self._lattice.start != index * _SPAN:
            self._lattice = Lattice.of(index * _SPAN, _SPAN // CELL, self._sample_rate, self._tempo_map)
        return self._lattice

    def _blocks(self, function: object, start: int, n_samples: int, step: int) -> Float64Array:
        assert callable(function)
        n = -(-n_samples // step)
        values = np.empty(n)
        for row in range(0, n, _BLOCK):
            count = min(_BLOCK, n - row)
            values[row : row + count] = function(self._grid(start + row * step, count, step))
        return values

    def _grid(self, start: int, n: int, step: int) -> Grid:
        """Return the grid of a block, the recent ones kept with what was worked out on them."""
        key = (start, n, step)
        grid = self._grids.get(key)
        if grid is None:
            grid = Grid(start, n, self._sample_rate, self._tempo_map, step)
            self._grids[key] = grid
            if len(self._grids) > _MAX_GRIDS:
                self._grids.popitem(last=False)
        return grid


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
        followers: How loud stems are, by name. None while an estimate is made: followers then stand at their
            highest, and audio triggers stay silent.
        macro_values: Positions of knobs that win over the macros' own.

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
    wanted: dict[tuple[str, str], list[tuple[str, Route]]] = {}
    for index, route in enumerate(routes):
        if route.enabled:
            node_id, _, name = route.target.partition(".")
            where = f"routes[{index}]"
            _check_source(route.source, sources, where)
            wanted.setdefault((node_id, name), []).append((where, route))
    parameters: dict[tuple[str, str], _Parameter] = {}
    direct = {key: target for key, target in mapping.items() if not target.startswith("macro.")}
    for target in dict.fromkeys([*wanted, *(_split(target) for target in direct.values())]):
        keys = [key for key, text in direct.items() if _split(text) == target]
        leads = wanted.get(target, [])
        where = leads[0][0] if leads else f"midi_map.{keys[0]}"
        spec = _check_target(target, targets, where)
        travel = _travel(spec, [route for _, route in leads], where)
        resting = (bases or {}).get(target[0], {}).get(target[1], spec.default)
        base = travel.of(float(resting))
        if keys:
            lane = mapped_lane(keys, min(max(base, 0.0), 1.0), song, sample_rate, where, warnings)
            if lane is not None:
                name = f"midi_map.{'.'.join(target)}"
                sources[name] = Source(key=name, curve=lane)
                leads = [(where, Route(source=name, target=".".join(target), op="replace")), *leads]
        if leads:
            parameters[target] = _Parameter(
                travel=travel,
                base=base,
                leads=tuple(
                    _Lead(route=route, source=sources[route.source], travel=travel) for _, route in leads
                ),
            )
    return Envelopes(parameters, sources, song.tempo_map, sample_rate, warnings)


def _split(target: str) -> tuple[str, str]:
    node_id, _, name = target.partition(".")
    return node_id, name


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


def _travel(spec: ParamSpec, routes: Sequence[Route], where: str) -> Travel:
    """Return the range routes work in: the parameter's, or the routes' own where it has none."""
    lows = [route.min for route in routes if route.min is not None]
    highs = [route.max for route in routes if route.max is not None]
    low = spec.minimum if spec.minimum is not None else min(lows, default=None)
    high = spec.maximum if spec.maximum is not None else max(highs, default=None)
    if low is None or high is None or low >= high:
        raise EnvelopeError(f"{where}: {spec.name} has no range of its own; say min and max in the route")
    for value in (*lows, *highs):
        if not low <= value <= high:
            unit = f" {spec.unit}" if spec.unit else ""
            raise EnvelopeError(f"{where}: {value:g} is outside {spec.name}'s {low:g}..{high:g}{unit}")
    return Travel(low=float(low), high=float(high), is_log=spec.curve == "log" and low > 0)
