"""Waves, bends and seeded chance: pure functions of a phase.

Conventions: a phase runs 0..1 over a cycle; every wave gives 0..1. Sine and triangle start in the middle,
rising. Chance is a hash of a seed and a whole number, so that any cycle can be asked for at any time.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array

__all__ = [
    "BEND_STRENGTH",
    "bend",
    "hash_unit",
    "sine",
    "smooth_step",
    "stable_hash",
    "triangle",
    "wave_noise",
]


BEND_STRENGTH = 6.0
"""Exponent at full tension: at half the way a curve has gone 4.7% or 95.3%."""

# Least-squares fit of sin(2 pi z) / z on [-1/4, 1/4] by a polynomial in z squared; 4e-9 off at most.
# NumPy's own sine of float64 is scalar code and costs five times as much.
_SINE = (6.283185159611163, -41.34165492934342, 81.60099819260896, -76.54965682052845, 39.535813710747455)


def sine(phase: Float64Array) -> Float64Array:
    """Return 0.5 + 0.5 sin(2 pi phase), to 1e-8."""
    z = phase - 0.25
    z -= np.floor(z)  # a cosine, so that one fold gives half a wave, rising
    z -= 0.5
    np.abs(z, out=z)
    z -= 0.25
    square = z * z
    total = np.full_like(z, _SINE[-1])
    for coefficient in reversed(_SINE[:-1]):
        total *= square
        total += coefficient
    total *= z
    total *= 0.5 - 4e-9  # so that the fit never leaves 0..1
    total += 0.5
    return total


def triangle(phase: Float64Array) -> Float64Array:
    """Return a triangle that starts in the middle, rising."""
    z = phase + 0.25
    z -= np.floor(z)
    z -= 0.5
    np.abs(z, out=z)
    z *= -2.0
    z += 1.0
    return z


def bend(position: Float64Array, tension: float) -> Float64Array:
    """Bend a straight way 0..1: above 0 slow at first, below 0 fast at first, 0 straight.

    >>> float(bend(np.array(0.5), 1.0).round(3)), float(bend(np.array(0.5), 0.0))
    (0.047, 0.5)
    """
    strength = tension * BEND_STRENGTH
    if abs(strength) < 1e-6:
        return position
    bent: Float64Array = np.exp(position * strength)
    bent -= 1.0
    bent *= 1.0 / math.expm1(strength)
    return bent


def bend_one(position: float, tension: float) -> float:
    """Return what `bend` does for one position, to the last bit, sooner."""
    strength = tension * BEND_STRENGTH
    if abs(strength) < 1e-6:
        return position
    return (float(np.exp(position * strength)) - 1.0) * (1.0 / math.expm1(strength))


def smooth_step(position: Float64Array) -> Float64Array:
    """Return 3x² - 2x³: level at both ends."""
    return position * position * (3.0 - 2.0 * position)


def stable_hash(*parts: int | str) -> int:
    """Return 64 bits that depend on every part, the same on every machine."""
    value = 0
    for part in parts:
        for byte in str(part).encode() + b"\0":
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def hash_unit(seed: int, cycles: npt.NDArray[np.int64]) -> Float64Array:
    """Return a number 0..1 for each cycle, as if thrown by dice.

    Source: SplitMix64 (Steele, Lea and Flood, 2014), its finaliser applied to seed + cycle x golden gamma.
    """
    z = cycles.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def wave_noise(left: Float64Array, right: Float64Array, part: Float64Array) -> Float64Array:
    """Return one-dimensional gradient noise, 0..1: smooth, and level with its neighbours at whole numbers.

    Args:
        left: Gradient at the whole number before, -1..1.
        right: Gradient at the whole number after.
        part: Way between them, 0..1.

    Source: Perlin, Improving Noise (2002): gradients at whole numbers, quintic fade.
    """
    fade = part * 6.0
    fade -= 15.0
    fade *= part
    fade += 10.0
    fade *= part
    fade *= part
    fade *= part
    low = left * part
    high = right * (part - 1.0)
    high -= low
    high *= fade
    high += low
    high += 0.5
    return high
