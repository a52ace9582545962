"""What a render asks for: a parameter's values at any samples."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.grid import Grid
from bridge.envelopes.lattice import CELL, Lattice
from bridge.envelopes.routes import ParameterRange, RouteStage
from bridge.envelopes.sources import Source, Sources

__all__ = ["Envelopes"]

_BLOCK = 32768  # large enough to make little of the calls, small enough for the caches
_SPAN = 1 << 18  # samples worked out at once at audio rate
_MAX_GRIDS = 3
_INTEGRAL_STEP = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MovingParameter:
    """A parameter that moves: where it rests, what is laid onto it in order, and what lets it through.

    A gate takes the value to the low end of its range where it is shut.
    """

    travel: ParameterRange
    base: float
    stages: tuple[RouteStage, ...]
    gate: Source | None = None

    def at(self, grid: Grid) -> Float64Array:
        """Return the values at any instants."""
        return self._gated(self._travels(grid), grid)

    def at_samples(self, lattice: Lattice) -> Float64Array:
        """Return the values at every sample of a block."""
        points = lattice.points
        breaks = points.clock_breaks
        travel = np.full(points.n, self.base)
        for stage in self.stages:
            travel = stage.apply(travel, points)
            breaks = breaks | stage.breaks(travel, points)
        travels = lattice.join(travel)
        rough = lattice.needs_samples(breaks)
        if rough is not None:
            travels[rough.samples.astype(np.intp) - lattice.start] = self._travels(rough)
        return self._gated(travels, lattice.samples)

    def _gated(self, travels: Float64Array, grid: Grid) -> Float64Array:
        values = self.travel.value(travels)
        if self.gate is None:
            return values
        low = self.travel.low
        return low + (values - low) * self.gate.at(grid)

    def _travels(self, grid: Grid) -> Float64Array:
        travel = np.full(grid.n, self.base)
        for stage in self.stages:
            travel = stage.apply(travel, grid)
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
        parameters: Mapping[tuple[str, str], MovingParameter],
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
        routes = [stage.route for stage in found.stages]
        rest = float(found.travel.value(np.array([found.base]))[0])
        low = min([rest, *(found.travel.low if route.min is None else route.min for route in routes)])
        high = max([rest, *(found.travel.high if route.max is None else route.max for route in routes)])
        if found.gate is not None:
            low = found.travel.low
        return low, high if high > low else found.travel.high

    def travel(self, node_id: str, parameter: str, values: Float64Array) -> Float64Array:
        """Return how far values are along their reach and their parameter's curve, 0..1."""
        travel = self._parameters[node_id, parameter].travel
        low, high = self.reach(node_id, parameter)
        return ParameterRange(low=low, high=high, is_log=travel.is_log).of_many(values)

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

    def integral(self, node_id: str, parameter: str, n_samples: int, first: int = 0) -> float:
        """Return a parameter's value summed over so many samples from the first on, in its unit x seconds.

        One value in 64 samples is looked at.
        """
        stride = _BLOCK * _INTEGRAL_STEP
        total = sum(
            float(
                self.values(
                    node_id, parameter, first + start, min(stride, n_samples - start), _INTEGRAL_STEP
                ).sum()
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
