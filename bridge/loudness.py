"""Loudness and peaks of a stream, by ITU-R BS.1770-4 and EBU Tech 3341 and 3342.

The meter takes blocks of any size, keeps no audio, and gives the same figures whatever the blocks.

Source: ITU-R BS.1770-4 (2015), annexes 1 and 2; EBU Tech 3341 v3 (2016); EBU Tech 3342 v3 (2016). Filter
coefficients for other rates than 48 kHz follow from the analogue prototype, as in B. De Man, "Evaluation of
implementations of the EBU R128 loudness measurement", AES 145 (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Loudness", "LoudnessMeter", "k_weighting", "measure_loudness", "true_peak_factor"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_SLOTS_PER_S: Final = 100  # energies are kept in slots of 10 ms, so that windows start every 10 ms
_GATING_STEP: Final = 10  # slots between gating blocks: 100 ms
_MOMENTARY: Final = 40  # slots in 400 ms
_SHORT_TERM: Final = 300  # slots in 3 s
_ABSOLUTE_GATE_LUFS: Final = -70.0
_OFFSET_LUFS: Final = -0.691
_TAPS: Final = 24
_SEGMENT: Final = 64
_SILENCE: Final = -math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    """State how loud a sound is. Silence is minus infinity.

    Args:
        integrated_lufs: Gated loudness of the whole sound.
        momentary_max_lufs: Loudest 400 ms.
        short_term_max_lufs: Loudest 3 s.
        range_lu: Loudness range; 0 for sounds too short to have one.
        true_peak_dbtp: Highest peak between the samples.
        sample_peak_dbfs: Highest sample.
        rms_dbfs: Root mean square over all channels; a full-scale square wave has 0.
        is_gated: False for sounds shorter than 0.4 s, the shortest that BS.1770 measures: `integrated_lufs`
            is then the K-weighted RMS of the whole, on the same scale.
    """

    integrated_lufs: float
    momentary_max_lufs: float
    short_term_max_lufs: float
    range_lu: float
    true_peak_dbtp: float
    sample_peak_dbfs: float
    rms_dbfs: float
    is_gated: bool = True

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to measure: no sound, or all of it below the absolute gate of -70 LUFS."""
        return self.integrated_lufs == _SILENCE


def measure_loudness(samples: npt.NDArray[np.floating[Any]], sample_rate: int) -> Loudness:
    """Measure a whole sound.

    Args:
        samples: (channels, samples), full scale 1.0.
        sample_rate: Hz.

    >>> tone = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    >>> round(measure_loudness(tone[None, :], 48000).integrated_lufs, 1)
    -23.0
    """
    meter = LoudnessMeter(sample_rate, samples.shape[0])
    for start in range(0, samples.shape[1], 1 << 16):
        meter.push(samples[:, start : start + (1 << 16)])
    return meter.result()


class LoudnessMeter:
    """Measure a stream block by block; memory grows by 3 kB a minute, for the gates alone.

    Args:
        sample_rate: Hz.
        n_channels: Channels. Five are taken as L R C Ls Rs, six as L R C LFE Ls Rs, where surrounds count
            1.5 dB more and the LFE does not count; any others count alike.
    """

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._sample_rate = sample_rate
        self._weights = _channel_weights(n_channels)
        self._sections = k_weighting(sample_rate)
        self._filter_state = np.zeros((len(self._sections), n_channels, 2))
        self._unslotted = np.zeros((2, 0))
        self._n_slots = 0
        self._n_samples = 0
        self._weighted_sum = 0.0
        self._plain_sum = 0.0
        self._recent: Doubles = np.zeros(0)
        self._recent_sizes: Doubles = np.zeros(0)
        self._momentary_max = 0.0
        self._short_term_max = 0.0
        self._gating_energies: list[Doubles] = []
        self._short_term_energies: list[Doubles] = []
        self._sample_peak = 0.0
        self._true_peak = _TruePeak(n_channels, true_peak_factor(sample_rate))

    def push(self, block: npt.NDArray[np.floating[Any]]) -> None:
        """Take the next samples.

        Args:
            block: (channels, samples), full scale 1.0.
        """
        from scipy.signal import sosfilt

        if block.shape[1] == 0:
            return
        self._sample_peak = max(self._sample_peak, float(np.abs(block).max()))
        self._true_peak.push(np.asarray(block, np.float32))
        samples = np.asarray(block, np.float64)
        weighted, self._filter_state = sosfilt(self._sections, samples, axis=1, zi=self._filter_state)
        energies = np.stack([self._weights @ weighted**2, (samples**2).sum(axis=0)])
        self._n_samples += block.shape[1]
        self._unslotted = np.concatenate([self._unslotted, energies], axis=1)
        self._fill_slots()

    def result(self) -> Loudness:
        """Return the figures for everything pushed so far; more may follow."""
        rest = self._unslotted.sum(axis=1)
        n = max(1, self._n_samples)
        n_plain = n * len(self._weights)
        is_gated = self._n_slots >= _MOMENTARY
        return Loudness(
            integrated_lufs=_gated_loudness(np.concatenate(self._gating_energies))
            if is_gated
            else _lufs((self._weighted_sum + float(rest[0])) / n),
            momentary_max_lufs=_lufs(self._momentary_max),
            short_term_max_lufs=_lufs(self._short_term_max),
            range_lu=_loudness_range(self._short_term_energies),
            true_peak_dbtp=_decibels(max(self._sample_peak, self._true_peak.result())),
            sample_peak_dbfs=_decibels(self._sample_peak),
            rms_dbfs=_decibels(math.sqrt((self._plain_sum + float(rest[1])) / n_plain)),
            is_gated=is_gated,
        )

    def _boundary(self, slot: int) -> int:
        return (slot * self._sample_rate + _SLOTS_PER_S // 2) // _SLOTS_PER_S

    def _fill_slots(self) -> None:
        """Sum whole slots only, so that no figure depends on where a block ended."""
        begin = self._boundary(self._n_slots)
        count = 0
        while self._boundary(self._n_slots + count + 1) - begin <= self._unslotted.shape[1]:
            count += 1
        if count == 0:
            return
        edges = np.array([self._boundary(self._n_slots + i) - begin for i in range(count + 1)])
        slots = np.add.reduceat(self._unslotted[:, : edges[-1]], edges[:-1], axis=1)
        self._unslotted = self._unslotted[:, edges[-1] :]
        for weighted, plain in slots.T.tolist():
            self._weighted_sum += weighted
            self._plain_sum += plain
        first_new = self._n_slots
        self._n_slots += count
        self._recent = np.concatenate([self._recent, slots[0]])
        self._recent_sizes = np.concatenate([self._recent_sizes, np.diff(edges)])
        self._update_windows(first_new)
        self._recent = self._recent[-(_SHORT_TERM - 1) :]
        self._recent_sizes = self._recent_sizes[-(_SHORT_TERM - 1) :]

    def _update_windows(self, first_new: int) -> None:
        momentary, ends = self._window_means(_MOMENTARY, first_new)
        if len(momentary):
            self._momentary_max = max(self._momentary_max, float(momentary.max()))
            self._gating_energies.append(momentary[(ends - _MOMENTARY) % _GATING_STEP == 0])
        short_term, ends = self._window_means(_SHORT_TERM, first_new)
        if len(short_term):
            self._short_term_max = max(self._short_term_max, float(short_term.max()))
            self._short_term_energies.append(short_term[(ends - _SHORT_TERM) % _GATING_STEP == 0])

    def _window_means(self, width: int, first_new: int) -> tuple[Doubles, npt.NDArray[np.int64]]:
        """Return the mean energy of every window that ends in a new slot, and the slot it ends before."""
        ends = np.arange(max(first_new + 1, width), self._n_slots + 1)
        if len(ends) == 0:
            return np.zeros(0), ends
        needed = len(ends) + width - 1
        windows = np.lib.stride_tricks.sliding_window_view(self._recent[-needed:], width)
        sizes = np.lib.stride_tricks.sliding_window_view(self._recent_sizes[-needed:], width)
        means: Doubles = windows.sum(axis=1) / sizes.sum(axis=1)
        return means, ends


def true_peak_factor(sample_rate: int) -> int:
    """Return how finely peaks are looked for between samples: at 192 kHz or more in all, as BS.1770 asks.

    >>> [true_peak_factor(rate) for rate in (44100, 48000, 96000, 192000)]
    [4, 4, 2, 1]
    """
    if sample_rate >= 176_400:
        return 1
    return 2 if sample_rate >= 88_200 else 4


class _TruePeak:
    """Find the highest point between samples, by windowed-sinc interpolation at fixed fractions.

    Only where the samples are high enough for an interpolated value to exceed the highest found so far is
    anything interpolated, which leaves the result as it is and saves most of the work. All the points
    between 64 samples come from one row of a matrix product.
    """

    def __init__(self, n_channels: int, factor: int) -> None:
        kernels = _interpolation_kernels(factor)
        self._matrix: Floats = np.zeros((_SEGMENT + _TAPS - 1, kernels.shape[1] * _SEGMENT), np.float32)
        for column in range(self._matrix.shape[1]):
            kernel, start = divmod(column, _SEGMENT)
            self._matrix[start : start + _TAPS, column] = kernels[:, kernel]
        self._gain_limit = float(np.abs(kernels).sum(axis=0).max(initial=1.0))
        self._history = np.zeros((n_channels, _TAPS - 1), np.float32)
        self._peak = 0.0

    def push(self, block: Floats) -> None:
        if self._matrix.shape[1] == 0:
            return
        samples = np.concatenate([self._history, block], axis=1)
        self._peak = self._search(samples, self._peak)
        self._history = samples[:, -(_TAPS - 1) :]

    def result(self) -> float:
        if self._matrix.shape[1] == 0:
            return 0.0
        ringing = np.concatenate([self._history, np.zeros_like(self._history)], axis=1)
        return self._search(ringing, self._peak)

    def _search(self, samples: Floats, peak: float) -> float:
        n_segments = -(-(samples.shape[1] - (_TAPS - 1)) // _SEGMENT)
        length = n_segments * _SEGMENT + _TAPS - 1
        padded = np.pad(samples, ((0, 0), (0, length - samples.shape[1])))
        windows = np.lib.stride_tricks.sliding_window_view(padded, _SEGMENT + _TAPS - 1, axis=1)
        segments = windows[:, ::_SEGMENT].reshape(-1, _SEGMENT + _TAPS - 1)
        bounds = np.maximum(segments.max(axis=1), -segments.min(axis=1)) * self._gain_limit
        highest = int(bounds.argmax())
        if bounds[highest] > peak:
            peak = max(peak, self._interpolated_peak(segments[highest : highest + 1]))
            peak = max(peak, self._interpolated_peak(segments[bounds > peak]))
        return peak

    def _interpolated_peak(self, segments: Floats) -> float:
        values = segments @ self._matrix
        return max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))


def _interpolation_kernels(factor: int) -> Floats:
    """Return the taps for the points between two samples, as (taps, factor - 1)."""
    offsets = np.arange(1, factor) / factor
    distance = np.arange(_TAPS)[:, None] - (_TAPS // 2 - 1) - offsets[None, :]
    # Kaiser's window at beta 6 keeps images 65 dB down and the band flat to 20 kHz at 48 kHz.
    window = np.i0(6.0 * np.sqrt(np.clip(1 - (distance / (_TAPS / 2)) ** 2, 0, 1))) / np.i0(6.0)
    kernels = np.sinc(distance) * window
    normalised: Floats = (kernels / kernels.sum(axis=0)).astype(np.float32)
    return normalised


def _channel_weights(n_channels: int) -> Doubles:
    weights = {5: [1, 1, 1, 1.41, 1.41], 6: [1, 1, 1, 0, 1.41, 1.41]}.get(n_channels, [1] * n_channels)
    return np.array(weights, np.float64)


def k_weighting(sample_rate: int) -> Doubles:
    """Return the head filter and the high-pass of BS.1770.

    Args:
        sample_rate: Hz.

    Shape:
        Output: (2, 6), second-order sections as SciPy's ``sosfilt`` takes them.
    """
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, gain = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = gain**0.4996667741545416
    a0 = 1 + k / q + k * k
    head = [gain + band * k / q + k * k, 2 * (k * k - gain), gain - band * k / q + k * k]
    head_section = [*(b / a0 for b in head), 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_pass_section = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([head_section, high_pass_section])


def _gated_loudness(energies: Doubles) -> float:
    loud = energies[energies > _energy(_ABSOLUTE_GATE_LUFS)]
    if len(loud) == 0:
        return _SILENCE
    gate = loud.mean() * 10 ** (-10 / 10)
    return _lufs(float(loud[loud > gate].mean()))


def _loudness_range(short_term_energies: list[Doubles]) -> float:
    """Return the span from the 10th to the 95th percentile of the gated short-term loudness, in LU."""
    energies = np.concatenate(short_term_energies) if short_term_energies else np.zeros(0)
    loud = energies[energies > _energy(_ABSOLUTE_GATE_LUFS)]
    if len(loud) == 0:
        return 0.0
    loud = loud[loud > loud.mean() * 10 ** (-20 / 10)]
    low, high = np.percentile(loud, [10, 95])
    return float(10 * np.log10(high / low))


def _energy(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LUFS) / 10))


def _lufs(energy: float) -> float:
    return _OFFSET_LUFS + 10 * math.log10(energy) if energy > 0 else _SILENCE


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else _SILENCE
