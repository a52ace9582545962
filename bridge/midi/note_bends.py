"""How far notes are from their keys: from a network's contours, or from a line of pitch."""

from __future__ import annotations

import numpy as np

from bridge.arrays import Float64Array, FloatArray

__all__ = ["follow_pitch", "make_bends"]

BINS_PER_KEY = 3
IN_TUNE_BIN = 1

FAINTEST = 0.2
FAINTEST_SHARE = 0.5
"""A contour below this probability, or below such a share of the clearest of a note, tells no pitch."""

STRAYED = 0.15
"""Semitones: a note that is never further from its key is not bent."""

STRAYED_S = 0.05
"""And it is so for at least so long."""

SMOOTH_S = 0.03
"""Half the width of the window that bends are smoothed with: a vibrato of 6 Hz keeps 0.9 of itself."""

EDGE_S = 0.035
"""At both ends of a note its pitch is not told apart from what surrounds it: that beside them is held."""


def follow_pitch(contours: FloatArray, rows: Float64Array, start: int) -> Float64Array:
    """Return the likeliest pitch near a row of keys, frame by frame, between bins by a parabola.

    Args:
        contours: (3 keys, frames) probabilities.
        rows: (n,) the key looked around, in rows; 0.8 of a semitone on both sides is, where its neighbours'
            own contours do not reach.
        start: The frame of the first.

    Returns:
        (n,) rows of keys, NaN where no contour is clear.

    >>> contours = np.zeros((9, 1)); contours[3:6, 0] = 0.2, 0.8, 0.2
    >>> follow_pitch(contours, np.array([1.0]), 0)
    array([1.])
    """
    n_bins = len(contours)
    centre = np.rint(rows * BINS_PER_KEY + IN_TUNE_BIN).astype(np.int64)
    reach = np.arange(1 - BINS_PER_KEY, BINS_PER_KEY)
    bins = np.clip(centre[:, None] + reach, 0, n_bins - 1)
    columns = start + np.arange(len(rows))
    near = contours[bins, columns[:, None]].astype(np.float64)
    # Of contours as clear as each other that of the key itself counts.
    at = (near - 0.02 * np.abs(reach)).argmax(axis=1)
    peak = bins[np.arange(len(rows)), at]
    before = contours[np.maximum(peak - 1, 0), columns].astype(np.float64)
    here = contours[peak, columns].astype(np.float64)
    after = contours[np.minimum(peak + 1, n_bins - 1), columns].astype(np.float64)
    bend = before - 2.0 * here + after
    step = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1.0), 0.0)
    pitch: Float64Array = (peak + np.clip(step, -0.5, 0.5) - IN_TUNE_BIN) / BINS_PER_KEY
    clear = max(FAINTEST, FAINTEST_SHARE * float(here.max(initial=0.0)))
    is_peak = (here >= clear) & (here >= before) & (here >= after)
    return np.where(is_peak, pitch, np.nan)


def make_bends(off: Float64Array, start_s: float, frame_s: float) -> tuple[tuple[float, float], ...]:
    """Return seconds and semitones of a note's bends; none where it keeps to its key.

    Args:
        off: (n,) semitones from the key in each frame; NaN where nothing is known.
        start_s: Seconds of the first frame.
        frame_s: From one frame to the next.

    >>> make_bends(np.full(20, 0.1), 0.0, 0.01), make_bends(np.full(20, 0.5), 2.0, 0.01)[0]
    ((), (2.0, 0.5))
    """
    known = np.isfinite(off)
    edge = min(round(EDGE_S / frame_s), (len(off) - 1) // 3)
    known[:edge], known[len(off) - edge :] = False, False
    if not known.any():
        return ()
    at = np.flatnonzero(known)
    line = np.interp(np.arange(len(off)), at, off[at])
    line = _smooth(line, max(round(SMOOTH_S / frame_s), 1))
    if np.count_nonzero(np.abs(line) > STRAYED) < min(STRAYED_S / frame_s, len(line)):
        return ()
    times_s = start_s + np.arange(len(line)) * frame_s
    return tuple(zip(times_s.tolist(), line.tolist(), strict=True))


def _smooth(line: Float64Array, reach: int) -> Float64Array:
    """Take out single frames that jump, and average over a raised cosine."""
    padded = np.pad(line, 2, mode="edge")
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    window = np.hanning(2 * reach + 1)[1:-1] if reach > 1 else np.ones(1)
    margin = len(window) // 2
    smoothed: Float64Array = np.convolve(
        np.pad(middle, margin, mode="edge"), window / window.sum(), mode="valid"
    )
    return smoothed
