"""What Live automates: points joined by lines and curves, and the tempo that Live holds of them.

Conventions: beats rise; of several points on one beat the last is what counts from there. A curve is a cubic
Bezier curve from its point to the next through two controls, which lie at shares of the way in beats and in
value. Live looks at its tempo automation once every sixteenth of the song and holds what it finds.

Source: measurements in Live, https://forum.ableton.com/viewtopic.php?t=251307 (bars of a ramp from 150 to 50
BPM over 16 beats: 0, 1.740, 3.867, 6.604, 10.447 s). That a curve is a Bezier curve is a reading: it follows
the warp markers that Live itself wrote into one set with such a tempo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_segments import RampLaw

__all__ = ["LiveCurve", "held_tempos"]

_SIXTEENTH_BEATS: Final = 0.25
_MAX_STEPS: Final = 100_000
_MAX_MEASURED: Final = 1 << 23
_CHUNK: Final = 1 << 19
_BISECTIONS: Final = 50
_PIECES: Final = 32
_CURVED: Final = (
    "its tempo curves are read as Bezier curves through their controls, held for a sixteenth at a time: a "
    "reading, not measured in Live"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveCurve:
    """Hold the points of an automation.

    Args:
        beats: Where they are, rising.
        values: What it is there.
        controls: (points, 4): beats and value of the two controls of the curve to the next point, as shares
            of the way; NaN where it is a straight line.
    """

    beats: Float64Array
    values: Float64Array
    controls: Float64Array

    @property
    def has_ramps(self) -> bool:
        """Whether it moves between points that lie apart."""
        return bool(self._moves.any())

    @property
    def has_curves(self) -> bool:
        """Whether one of its ramps is no straight line."""
        return bool((self._moves & ~np.isnan(self.controls[:-1, 0])).any())

    @property
    def _moves(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        moves: np.ndarray[tuple[int], np.dtype[np.bool_]]
        moves = (np.diff(self.beats) > 0) & (np.diff(self.values) != 0)
        return moves

    def at(self, beats: Float64Array) -> Float64Array:
        """Return what it is at some beats."""
        if not self.has_curves:
            lines: Float64Array = np.interp(beats, self.beats, self.values)
            return lines
        before = np.maximum(np.searchsorted(self.beats, beats, side="right") - 1, 0)
        after = np.minimum(before + 1, len(self.beats) - 1)
        span = self.beats[after] - self.beats[before]
        share = np.where(span > 0, (beats - self.beats[before]) / np.where(span > 0, span, 1.0), 0.0)
        share = np.clip(share, 0.0, 1.0)
        bent = ~np.isnan(self.controls[before, 0])
        if bent.any():
            share[bent] = _height(self.controls[before[bent]], share[bent])
        found: Float64Array = self.values[before] + share * (self.values[after] - self.values[before])
        return found

    def straightened(self) -> LiveCurve:
        """Return it with its curves as many short lines."""
        if not self.has_curves:
            return self
        curved = np.flatnonzero(self._moves & ~np.isnan(self.controls[:-1, 0]))
        shares = np.arange(1, _PIECES) / _PIECES
        starts, spans = self.beats[curved], self.beats[curved + 1] - self.beats[curved]
        between = (starts[:, None] + spans[:, None] * shares).ravel()
        beats = np.concatenate([self.beats, between])
        order = np.argsort(beats, kind="stable")
        values = np.concatenate([self.values, self.at(between)])
        return LiveCurve(beats=beats[order], values=values[order], controls=np.full((len(beats), 4), np.nan))


def _height(controls: Float64Array, share: Float64Array) -> Float64Array:
    """Return how far Bezier curves have risen at a share of their way in beats."""
    x1, y1, x2, y2 = np.clip(controls.T, 0.0, 1.0)  # so that they never turn back in time
    low, high = np.zeros_like(share), np.ones_like(share)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_short = _bezier(x1, x2, middle) < share
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    return _bezier(y1, y2, (low + high) / 2)


def _bezier(first: Float64Array, second: Float64Array, at: Float64Array) -> Float64Array:
    rest = 1.0 - at
    return 3.0 * rest * rest * at * first + 3.0 * rest * at * at * second + at**3


def held_tempos(curve: LiveCurve) -> tuple[list[tuple[float, float, RampLaw]], tuple[str, ...]]:
    """Return the tempos that Live holds, and what there is to say about how they are read.

    They are what the automation is at each sixteenth, where that changes. A song with far more steps than
    one has gets straight lines, and how far those lead away is said.
    """
    notes = (_CURVED,) if curve.has_curves else ()
    first = np.ceil(np.maximum(curve.beats, 0.0) / _SIXTEENTH_BEATS)
    n_steps = np.where(np.diff(curve.values) != 0.0, np.diff(first), 0.0)
    if n_steps.sum() > _MAX_STEPS:
        return _lines(curve.straightened(), n_steps.sum() * _SIXTEENTH_BEATS, notes)
    ramps = [start + np.arange(n) for start, n in zip(first[:-1], n_steps, strict=True) if n > 0]
    grid = np.unique(np.concatenate([[0.0], first, *ramps])) * _SIXTEENTH_BEATS
    held = curve.at(grid)
    is_new = np.concatenate([[True], held[1:] != held[:-1]])
    steps = zip(grid[is_new].tolist(), held[is_new].tolist(), strict=True)
    return [(beats, bpm, "hold") for beats, bpm in steps], notes


def _lines(
    curve: LiveCurve, ramp_beats: float, notes: tuple[str, ...]
) -> tuple[list[tuple[float, float, RampLaw]], tuple[str, ...]]:
    """Return the tempos as they are drawn, with how far they lead away from those that Live holds."""
    is_later = curve.beats > 0
    beats = np.concatenate([[0.0], curve.beats[is_later]])
    values = np.concatenate([curve.at(np.zeros(1)), curve.values[is_later]])
    away = ""
    if beats[-1] / _SIXTEENTH_BEATS <= _MAX_MEASURED:
        away = (
            f", which lead up to {np.abs(_lead_s(curve, beats, values)).max():.3f} s away from Live's steps"
        )
    most = round(_MAX_STEPS * _SIXTEENTH_BEATS)
    said = (
        f"its tempo moves over {ramp_beats:.0f} beats, more than the {most} whose ramps are read as the "
        f"steps that Live plays: they are read as straight lines{away}"
    )
    rows = zip(beats.tolist(), values.tolist(), strict=True)
    return [(at, bpm, "beats") for at, bpm in rows], (*notes, said)


def _lead_s(curve: LiveCurve, beats: Float64Array, values: Float64Array) -> Float64Array:
    """Return by how much each point comes later along the lines than along the steps."""
    drawn = np.maximum(values, 1.0)  # what is no tempo is refused where it is used
    ratio = drawn[1:] / drawn[:-1]
    pace = np.where(ratio == 1.0, 1.0, np.log(ratio) / np.where(ratio == 1.0, 1.0, ratio - 1.0))
    lines_s = np.concatenate([[0.0], np.cumsum(60.0 * np.diff(beats) / drawn[:-1] * pace)])
    n_steps = int(beats[-1] / _SIXTEENTH_BEATS) + 1
    step_s = np.concatenate(
        [
            60.0 * _SIXTEENTH_BEATS / np.maximum(curve.at(at * _SIXTEENTH_BEATS), 1.0)
            for start in range(0, n_steps, _CHUNK)
            for at in [np.arange(start, min(start + _CHUNK, n_steps), dtype=np.float64)]
        ]
    )
    starts_s = np.concatenate([[0.0], np.cumsum(step_s)])
    whole = (beats / _SIXTEENTH_BEATS).astype(np.int64)
    lead_s: Float64Array = lines_s - starts_s[whole] - (beats / _SIXTEENTH_BEATS - whole) * step_s[whole]
    return lead_s
