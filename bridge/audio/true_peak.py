"""Peaks between the samples: the highest of a stream for the meter, one a sample for the limiter.

Source: ITU-R BS.1770-4 (2015), annex 2.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float32Array

__all__ = ["TAPS", "TruePeakMeter", "interpolation_kernels", "true_peak_factor"]


TAPS: Final = 24
"""Samples an interpolated value is made of, half of them on each side."""

_SEGMENT: Final = 64


def true_peak_factor(sample_rate: int) -> int:
    """Return how finely peaks are looked for between samples: at 192 kHz or more in all, as BS.1770 asks.

    >>> [true_peak_factor(rate) for rate in (44100, 48000, 96000, 192000)]
    [4, 4, 2, 1]
    """
    if sample_rate >= 176_400:
        return 1
    return 2 if sample_rate >= 88_200 else 4


def interpolation_kernels(factor: int) -> Float32Array:
    """Return the taps for the points between two samples: a windowed sinc at fixed fractions.

    Shape:
        Output: (TAPS, factor - 1); the two samples stand at rows TAPS / 2 - 1 and TAPS / 2.
    """
    offsets = np.arange(1, factor) / factor
    distance = np.arange(TAPS)[:, None] - (TAPS // 2 - 1) - offsets[None, :]
    # Kaiser's window at beta 6 keeps images 65 dB down and the band flat to 20 kHz at 48 kHz.
    window = np.i0(6.0 * np.sqrt(np.clip(1 - (distance / (TAPS / 2)) ** 2, 0, 1))) / np.i0(6.0)
    kernels = np.sinc(distance) * window
    normalised: Float32Array = (kernels / kernels.sum(axis=0)).astype(np.float32)
    return normalised


class TruePeakMeter:
    """Find the highest point between the samples of a stream.

    Only where the samples are high enough for an interpolated value to exceed the highest found so far is
    anything interpolated, which leaves the result as it is and saves most of the work. All the points
    between 64 samples come from one row of a matrix product.

    Args:
        n_channels: Channels.
        factor: Points looked at per sample, see `true_peak_factor`.
    """

    def __init__(self, n_channels: int, factor: int) -> None:
        kernels = interpolation_kernels(factor)
        self._matrix: Float32Array = np.zeros((_SEGMENT + TAPS - 1, kernels.shape[1] * _SEGMENT), np.float32)
        for column in range(self._matrix.shape[1]):
            kernel, start = divmod(column, _SEGMENT)
            self._matrix[start : start + TAPS, column] = kernels[:, kernel]
        self._gain_limit = float(np.abs(kernels).sum(axis=0).max(initial=1.0))
        self._waiting: Float32Array = np.zeros((n_channels, TAPS - 1), np.float32)
        self._peak = 0.0

    def push(self, block: Float32Array) -> None:
        """Take the next (channels, samples)."""
        samples = np.concatenate([self._waiting, block], axis=1)
        # Only whole segments: a block's end is not a step down to silence.
        n_segments = max(0, samples.shape[1] - (TAPS - 1)) // _SEGMENT
        self._peak = self._search(samples, n_segments, self._peak)
        self._waiting = samples[:, n_segments * _SEGMENT :].copy()

    def result(self) -> float:
        """Return the highest amplitude between samples so far; more may follow."""
        n_segments = -(-self._waiting.shape[1] // _SEGMENT)
        return self._search(self._waiting, n_segments, self._peak)

    def _search(self, samples: Float32Array, n_segments: int, peak: float) -> float:
        """Look between the samples of so many segments, the first TAPS - 1 samples being known already."""
        if self._matrix.shape[1] == 0 or n_segments == 0:
            return peak
        padded = np.zeros((samples.shape[0], (n_segments + 1) * _SEGMENT), np.float32)
        n_used = min(samples.shape[1], padded.shape[1])
        padded[:, :n_used] = samples[:, :n_used]
        cells = np.abs(padded).reshape(samples.shape[0], n_segments + 1, _SEGMENT).max(axis=2)
        bounds = np.maximum(cells[:, :-1], cells[:, 1:]) * self._gain_limit
        segments = np.lib.stride_tricks.sliding_window_view(padded, self._matrix.shape[0], axis=1)
        segments = segments[:, ::_SEGMENT][:, :n_segments]
        highest = np.unravel_index(bounds.argmax(), bounds.shape)
        if bounds[highest] > peak:
            peak = max(peak, self._interpolated_peak(segments[highest][None]))
            peak = max(peak, self._interpolated_peak(segments[bounds > peak]))
        return peak

    def _interpolated_peak(self, segments: npt.NDArray[Any]) -> float:
        values = segments @ self._matrix
        return max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
