"""What every source is: a pure function of time."""

from __future__ import annotations

from typing import Protocol

from bridge.arrays import BoolArray, Float64Array
from bridge.envelopes.grid import Grid

__all__ = ["Curve"]


class Curve(Protocol):
    """A pure function of time that knows where it is not smooth."""

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        ...

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants and their next it jumps, has a kink or is too quick for a cubic.

        Shape:
            ``(n - 1,)``.
        """
        ...
