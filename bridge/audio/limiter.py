"""A look-ahead limiter that keeps the true peak of a stream below a ceiling.

For what a static trim would make too quiet: it turns down only around the peaks that exceed, all channels
alike, so that the image stays. Where nothing exceeds, samples pass bit for bit.

Source: the gain computer is the usual one for look-ahead limiters (maximum over the look-ahead, exponential
release, smoothing by a window as long as the look-ahead), as in U. Zölzer (ed.), "DAFX", 2nd ed., 2011,
section 4.2.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from bridge.arrays import AudioArray, Float64Array
from bridge.audio.true_peak import TAPS, interpolation_kernels, true_peak_factor

__all__ = ["Limiter", "limiter_context"]

_LOOK_AHEAD_S: Final = 0.002
_RELEASE_S: Final = 0.08
_HOP_SAMPLES: Final = 8192  # a fixed grid, so that the result depends on no chunking
_MARGIN: Final = 10 ** (-0.01 / 20)  # a gain that moves shifts the points between samples a little
_INAUDIBLE: Final = 1e-5  # a reduction of 0.0001 dB ends here, so that what follows passes bit for bit


def limiter_context(first: int, last: int, sample_rate: int) -> tuple[int, int]:
    """Return the span a limiter must hear for its output over a part to be what it is over the whole.

    Before the part a peak may still be let go of, until that can no longer be told; after it the next peak is
    looked ahead to. The span begins on the grid the whole is computed on.

    Args:
        first: First sample of the part.
        last: The one after its last.
        sample_rate: Hz.

    >>> limiter_context(96000, 144000, 48000)
    (49152, 144120)
    """
    look_ahead = _look_ahead_samples(sample_rate)
    letting_go = math.ceil(-math.log(_INAUDIBLE) * _RELEASE_S * sample_rate)
    start = max(0, first - letting_go - 2 * look_ahead - TAPS)
    return start - start % _HOP_SAMPLES, last + look_ahead + TAPS


def _look_ahead_samples(sample_rate: int) -> int:
    return max(2, round(_LOOK_AHEAD_S * sample_rate))


class Limiter:
    """Limit a stream; blocks come back later than they went in, and together they are as long.

    Args:
        ceiling_dbtp: Highest true peak that leaves.
        sample_rate: Hz.
        n_channels: Channels.

    >>> limiter = Limiter(-6.0, sample_rate=48000, n_channels=1)
    >>> loud = np.ones((1, 1000), np.float32)
    >>> out = np.concatenate([limiter.push(loud), limiter.flush()], axis=1)
    >>> out.shape[1], round(20 * math.log10(float(out[0, 500])))
    (1000, -6)
    """

    def __init__(self, ceiling_dbtp: float, *, sample_rate: int, n_channels: int) -> None:
        self._ceiling = 10 ** (ceiling_dbtp / 20) * _MARGIN
        self._kernels = interpolation_kernels(true_peak_factor(sample_rate))
        self._look_ahead = _look_ahead_samples(sample_rate)
        window = np.hanning(self._look_ahead + 2)[1:-1]
        self._window = window / window.sum()
        self._decay = math.exp(-1 / (_RELEASE_S * sample_rate))
        # Peaks are looked for up to half the taps and the look-ahead after a sample, and as far before it.
        self._before = TAPS // 2
        self._after = TAPS // 2 + self._look_ahead
        # A look-ahead of silence comes first, and is dropped: a sound may begin with its peak.
        self._n_lead = self._look_ahead
        self._waiting: AudioArray = np.zeros((n_channels, self._before + self._n_lead), np.float32)
        self._held = 0.0
        self._reductions: Float64Array = np.zeros(self._look_ahead - 1)
        self._most = 0.0

    @property
    def most_reduction_db(self) -> float:
        """The most a peak was turned down so far, in dB; 0 where nothing exceeded."""
        return -20 * math.log10(1 - self._most)

    def push(self, block: AudioArray) -> AudioArray:
        """Take (channels, samples) and return those that are ready."""
        self._waiting = np.concatenate([self._waiting, block], axis=1)
        ready = [self._waiting[:, :0]]
        n_context = self._before + self._after
        while self._waiting.shape[1] >= _HOP_SAMPLES + n_context:
            ready.append(self._limit(self._waiting[:, : _HOP_SAMPLES + n_context]))
            self._waiting = self._waiting[:, _HOP_SAMPLES:]
        limited = np.concatenate(ready, axis=1)
        n_dropped = min(self._n_lead, limited.shape[1])
        self._n_lead -= n_dropped
        return limited[:, n_dropped:]

    def flush(self) -> AudioArray:
        """Return what is withheld; the stream is over."""
        n_own = self._waiting.shape[1] - self._before
        n_left = n_own - self._n_lead
        silence = np.zeros((self._waiting.shape[0], self._after + -n_own % _HOP_SAMPLES), np.float32)
        return self.push(silence)[:, :n_left]

    def _limit(self, samples: AudioArray) -> AudioArray:
        own = samples[:, self._before : -self._after]
        held = self._hold(self._needed(samples))
        reductions = np.concatenate([self._reductions, held])
        self._reductions = reductions[-(self._look_ahead - 1) :]
        if not reductions.any():
            return own
        smooth = np.convolve(reductions, self._window, mode="valid")
        self._most = max(self._most, float(smooth.max()))
        limited: AudioArray = (own * (1.0 - smooth)).astype(np.float32)
        return limited

    def _needed(self, samples: AudioArray) -> Float64Array:
        """Return by how much each sample must be turned down for the peaks in its look-ahead."""
        from scipy.ndimage import maximum_filter1d

        peaks = self._peaks(samples)
        needed = 1.0 - self._ceiling / np.maximum(peaks, self._ceiling)
        if not needed.any():
            return np.zeros(len(needed) - self._look_ahead)
        # The window of sample n is n .. n + look_ahead - 1.
        width = self._look_ahead
        ahead: Float64Array = maximum_filter1d(needed, width, origin=-(width // 2))
        return ahead[: len(needed) - width]

    def _peaks(self, samples: AudioArray) -> Float64Array:
        """Return the highest point around each sample, half-way to its neighbours and beyond."""
        n = samples.shape[1] - TAPS
        half = TAPS // 2
        highest = np.abs(samples).max(axis=0)
        if not self._kernels.size or highest.max() * np.abs(self._kernels).sum(axis=0).max() <= self._ceiling:
            return np.asarray(highest[half : half + n], np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(samples, TAPS, axis=1)
        between = np.abs(windows @ self._kernels).max(axis=(0, 2))  # [i]: after sample i + half - 1
        around = np.maximum(between[:-1], between[1:])[:n]
        return np.asarray(np.maximum(highest[half : half + n], around), np.float64)

    def _hold(self, needed: Float64Array) -> Float64Array:
        """Let go of a reduction exponentially: a running maximum of what decays."""
        if self._held == 0.0 and not needed.any():
            return needed
        falling = self._decay ** np.arange(1, len(needed) + 1)
        held: Float64Array = (
            np.maximum.accumulate(np.concatenate([[self._held], needed / falling]))[1:] * falling
        )
        held[held < _INAUDIBLE] = 0.0
        self._held = float(held[-1])
        return held
