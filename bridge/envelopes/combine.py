"""Curves made of numbers and of other curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bridge.arrays import BoolArray, Float64Array
from bridge.envelopes.curve import Curve
from bridge.envelopes.grid import Grid

__all__ = ["Bipolar", "Combined", "Constant"]


class Constant(NamedTuple):
    """A knob nobody moves."""

    value: float

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        return np.full(grid.n, self.value)

    def breaks(self, points: Grid) -> BoolArray:
        """Return that it breaks nowhere."""
        return np.zeros(points.n - 1, np.bool_)


class Bipolar(NamedTuple):
    """A curve 0..1 as one of -1..1."""

    curve: Curve

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        return self.curve.at(grid) * 2.0 - 1.0

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants the curve is not smooth."""
        return self.curve.breaks(points)


class Combined(NamedTuple):
    """Curves joined by an operation; polarity says what comes out, and the inputs are taken as they are."""

    op: str
    inputs: Sequence[Curve]

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        values = [curve.at(grid) for curve in self.inputs]
        if self.op == "xfade":
            return values[0] + (values[1] - values[0]) * values[2]
        total = values[0]
        for other in values[1:]:
            if self.op == "multiply":
                total = total * other
            elif self.op == "max":
                total = np.maximum(total, other)
            elif self.op == "min":
                total = np.minimum(total, other)
            else:
                total = total + other
        if self.op == "mean":
            return total / len(values)
        return np.clip(total, -1.0, 1.0) if self.op == "add" else total

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants an input is not smooth, another one wins or a limit is met."""
        breaks: BoolArray = np.any([curve.breaks(points) for curve in self.inputs], axis=0)
        if self.op not in ("max", "min", "add"):
            return breaks
        values = np.stack([curve.at(points) for curve in self.inputs])
        state = np.abs(values.sum(0)) > 1.0 if self.op == "add" else np.argmax(values, 0)
        if self.op == "min":
            state = np.argmin(values, 0)
        changes: BoolArray = state[1:] != state[:-1]
        return breaks | changes
