"""A sung vowel made of sines, which `timbre` hears as a voice, and a plucked line, which it does not."""

from __future__ import annotations

import numpy as np

OH = ((400.0, 80.0, 1.0), (800.0, 80.0, 0.35), (2600.0, 150.0, 0.1), (2900.0, 200.0, 0.1))
"""Formants: their middle and half width in Hz, and how loud each is."""


def sing(seconds: float, sample_rate: int, *, f0_hz: float = 196.0, level: float = 0.3) -> np.ndarray:
    """Return four voices on one vowel, ``(samples,)``."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    rng = np.random.default_rng(0)
    sound = np.zeros_like(t)
    for _ in range(4):
        detune, phase = 2 ** (rng.normal() * 0.06 / 12), rng.uniform(0, 6.28)
        cycles = np.cumsum(f0_hz * detune * (1 + 0.006 * np.sin(2 * np.pi * 5 * t + phase))) / sample_rate
        for harmonic in range(1, int(9000 / f0_hz)):
            shape = sum(gain / (1 + ((harmonic * f0_hz - hz) / width) ** 2) for hz, width, gain in OH)
            sound += (shape + 0.002) / harmonic * np.sin(2 * np.pi * harmonic * cycles + rng.uniform(0, 6.28))
    return (level * sound / np.abs(sound).max()).astype(np.float32)


def pluck(seconds: float, sample_rate: int, *, f0_hz: float = 110.0, level: float = 0.2) -> np.ndarray:
    """Return four plucked notes a second, ``(samples,)``."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    tone = sum(np.sin(2 * np.pi * k * f0_hz * t) / k for k in range(1, 9))
    return (level * tone * np.exp(-9.0 * (t % 0.25)) / 2).astype(np.float32)


def phrases(seconds: float, sample_rate: int, spans: list[tuple[float, float]]) -> np.ndarray:
    """Return a voice that sings in some spans of time alone, ``(samples,)``."""
    sound = sing(seconds, sample_rate)
    gate = np.zeros(len(sound), np.float32)
    for start, stop in spans:
        gate[round(start * sample_rate) : round(stop * sample_rate)] = 1.0
    width = round(0.02 * sample_rate)
    return (sound * np.convolve(gate, np.ones(width) / width, "same")).astype(np.float32)
