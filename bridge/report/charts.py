"""Envelopes over bars and markers, as the coordinates of a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap

__all__ = ["HEIGHT", "WIDTH", "EnvelopeChart", "EnvelopeCurve", "draw_chart"]

WIDTH, HEIGHT = 1000, 150
"""Of the drawing, in its own units."""

_MAX_BAR_LINES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeCurve:
    """Hold a parameter over the length of a stem, evenly spaced."""

    name: str
    values: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class BarLine:
    """Where a bar begins, and its number where that is written."""

    x: float
    number: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerLine:
    """Where a marker stands."""

    x: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveLine:
    """A curve as the points of a polyline, with its range."""

    name: str
    points: str
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeChart:
    """All that is drawn."""

    bars: tuple[BarLine, ...]
    markers: tuple[MarkerLine, ...]
    curves: tuple[CurveLine, ...]


def draw_chart(curves: Sequence[EnvelopeCurve], tempo_map: TempoMap, duration_s: float) -> EnvelopeChart:
    """Lay curves over the bars and markers of a stretch of song.

    Args:
        curves: What moves.
        tempo_map: The song's clock.
        duration_s: Length of the stretch, from the start of the stems.
    """
    return EnvelopeChart(
        bars=tuple(_bars(tempo_map, duration_s)),
        markers=tuple(
            MarkerLine(x=marker.time_s / duration_s * WIDTH, name=marker.name)
            for marker in tempo_map.markers
            if 0 <= marker.time_s <= duration_s
        ),
        curves=tuple(_line(curve) for curve in curves),
    )


def _bars(tempo_map: TempoMap, duration_s: float) -> list[BarLine]:
    last_bar = int(np.ceil(float(tempo_map.beats_to_bars(tempo_map.seconds_to_beats(duration_s)))))
    every = max(1, -(-last_bar // _MAX_BAR_LINES))
    lines = []
    for bar in range(0, last_bar + 1, every):
        time_s = float(tempo_map.beats_to_seconds(tempo_map.bars_to_beats(bar)))
        if 0 <= time_s <= duration_s:
            number = bar + tempo_map.first_bar if bar % (4 * every) == 0 else None
            lines.append(BarLine(x=time_s / duration_s * WIDTH, number=number))
    return lines


def _line(curve: EnvelopeCurve) -> CurveLine:
    lowest, highest = float(curve.values.min()), float(curve.values.max())
    floor = min(0.0, lowest)
    x_values = np.linspace(0, WIDTH, len(curve.values))
    y_values = HEIGHT - 16 - (curve.values - floor) / ((highest - floor) or 1.0) * (HEIGHT - 40)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(x_values, y_values, strict=True))
    return CurveLine(name=curve.name, points=points, lowest=lowest, highest=highest)
