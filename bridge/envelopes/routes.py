"""From sources to parameters: routes, and the values a render asks for.

Conventions: routes work on a parameter's travel, 0..1 along its own curve from its minimum to its maximum;
what comes out is in the parameter's own unit and never leaves its range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bridge.arrays import BoolArray, Float64Array
from bridge.envelopes.grid import Grid
from bridge.envelopes.schema import Route
from bridge.envelopes.sources import Source
from bridge.envelopes.waveforms import bend, smooth_step

_MAX_CUBIC_SPAN = 1.0 / 64.0  # of a source, that a bent route may lead through
_NEAR_LIMIT = 0.002  # of a travel; the quickest sine rises by less between two points


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRange:
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
class RouteStage:
    """One route, ready: a source onto the travel of a parameter."""

    route: Route
    source: Source
    travel: ParameterRange
    gate: Source | None = None

    def apply(self, travel: Float64Array, grid: Grid) -> Float64Array:
        """Lay this route onto a parameter's travel, which may be written to."""
        if self.gate is None:
            return self._lay(travel, grid)
        share = self.gate.at(grid)
        laid = self._lay(travel.copy(), grid)
        # All is exactly all, nothing exactly nothing.
        return np.where(share == 1.0, laid, travel + share * (laid - travel))

    def _lay(self, travel: Float64Array, grid: Grid) -> Float64Array:
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

    def breaks(self, travel: Float64Array, points: Grid) -> BoolArray:
        """Return between which instants what it led to, `travel`, is not smooth."""
        route = self.route
        if route.quantize is not None:
            return np.ones(points.n - 1, np.bool_)
        breaks = self.source.breaks(points)
        if self.gate is not None:
            share = self.gate.at(points)
            is_fading = (share > 0.0) & (share < 1.0)
            breaks = breaks | self.gate.breaks(points) | is_fading[1:] | is_fading[:-1]
        states = []
        if route.min is not None or route.max is not None:
            low, high = self._limits
            at_low, at_high = travel <= low, travel >= high
            # What comes this near may touch the limit between two points.
            is_near = (travel < low + _NEAR_LIMIT) & ~at_low | (travel > high - _NEAR_LIMIT) & ~at_high
            breaks = breaks | is_near[1:] | is_near[:-1]
            states += [at_low, at_high]
        if not self._is_straight:
            values = self.source.at(points)
            breaks = breaks | (np.abs(np.diff(values)) > _MAX_CUBIC_SPAN)
            states += [values >= 0.0] if self.source.is_bipolar else []
        for state in states:
            breaks = breaks | (state[1:] != state[:-1])
        return breaks

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
