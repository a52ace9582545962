"""Curves measured in sound: evenly spaced values, straight between them, and how they are followed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bridge.arrays import BoolArray, Float64Array
from bridge.envelopes.grid import Grid

__all__ = ["CurveSource", "attack_release"]

_STRAIGHT = 1e-3
"""A change of slope, as a step to the next value, that a cubic may round off."""


def attack_release(
    values: Float64Array, attack_rows: float, release_rows: float, first: float = 0.0
) -> Float64Array:
    """Follow a curve with one speed upwards and another downwards.

    Args:
        values: (n,) any curve.
        attack_rows: Time constant upwards, in rows; 0 follows at once.
        release_rows: Time constant downwards, in rows.
        first: Where it rests before.
    """
    up = math.exp(-1.0 / attack_rows) if attack_rows > 0 else 0.0
    down = math.exp(-1.0 / release_rows) if release_rows > 0 else 0.0
    followed, now = [], first
    for value in values.tolist():
        now = value + (now - value) * (up if value > now else down)
        followed.append(now)
    return np.array(followed)


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveSource:
    """Evenly spaced values, straight between them.

    Args:
        values: (n,) row k stands at sample (k + 1) x `spacing_samples`.
        spacing_samples: Distance of rows.
        first: Stands at the start.
    """

    values: Float64Array
    spacing_samples: float
    first: float = 0.0

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant."""
        padded = np.concatenate(([self.first], self.values))
        position = np.minimum(grid.samples * (1.0 / self.spacing_samples), len(padded) - 1.0)
        index = np.minimum(position.astype(np.intp), max(len(padded) - 2, 0))
        low, high = padded[index], padded[np.minimum(index + 1, len(padded) - 1)]
        return np.asarray(low + (position - index) * (high - low))

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants the line has a corner worth keeping."""
        return points.cells_of(self._corners)

    @cached_property
    def _corners(self) -> Float64Array:
        bends = np.diff(np.concatenate(([self.first, self.first], self.values, self.values[-1:])), 2)
        return np.flatnonzero(np.abs(bends) > _STRAIGHT).astype(np.float64) * self.spacing_samples
