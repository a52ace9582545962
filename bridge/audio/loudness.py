"""Loudness and peaks of a stream, by ITU-R BS.1770-4 and EBU Tech 3341 and 3342.

The meter takes blocks of any size, keeps no audio, and gives the same figures whatever the blocks.

Source: ITU-R BS.1770-4 (2015), annexes 1 and 2; EBU Tech 3341 v3 (2016); EBU Tech 3342 v3 (2016). Filter
coefficients for other rates than 48 kHz follow from the analogue prototype, as in B. De Man, "Evaluation of
implementations of the EBU R128 loudness measurement", AES 145 (2018).
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bridge.arrays import BLOCK_SAMPLES, Float32Array, Float64Array
from bridge.audio.true_peak import TruePeakMeter, true_peak_factor

__all__ = ["Loudness", "LoudnessMeter", "k_weighting", "measure_loudness"]


_SLOTS_PER_S: Final = 100  # energies are kept in slots of 10 ms, so that windows start every 10 ms
_GATING_STEP: Final = 10  # slots between gating blocks: 100 ms
_MOMENTARY: Final = 40  # slots in 400 ms
_SHORT_TERM: Final = 300  # slots in 3 s
_ABSOLUTE_GATE_LUFS: Final = -70.0
_OFFSET_LUFS: Final = -0.691
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
    for start in range(0, samples.shape[1], BLOCK_SAMPLES):
        meter.push(samples[:, start : start + BLOCK_SAMPLES])
    return meter.result()


class LoudnessMeter:
    """Measure a stream block by block; memory grows by 10 kB a minute, for the gates alone.

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
        self._waiting: Float32Array = np.zeros((n_channels, 0), np.float32)
        self._n_slots = 0
        self._weighted_sum = 0.0
        self._plain_sum = 0.0
        self._recent: Float64Array = np.zeros(0)
        self._recent_sizes: Float64Array = np.zeros(0)
        self._momentary_max = 0.0
        self._short_term_max = 0.0
        self._gating_energies = array("d")
        self._short_term_energies = array("d")
        self._sample_peak = 0.0
        self._true_peak = TruePeakMeter(n_channels, true_peak_factor(sample_rate))

    def push(self, block: npt.NDArray[np.floating[Any]]) -> None:
        """Take the next samples.

        Args:
            block: (channels, samples), full scale 1.0.
        """
        if block.shape[1] == 0:
            return
        samples = np.asarray(block, np.float32)
        self._sample_peak = max(self._sample_peak, float(samples.max()), -float(samples.min()))
        self._true_peak.push(samples)
        self._waiting = np.concatenate([self._waiting, samples], axis=1)
        edges = self._slot_edges()
        if len(edges) > 1:
            whole, self._waiting = np.split(self._waiting, edges[-1:], axis=1)
            self._fill_slots(whole, edges)

    @property
    def n_channels(self) -> int:
        """Channels."""
        return len(self._weights)

    @property
    def n_samples(self) -> int:
        """How much was pushed so far."""
        return int(self._boundary(self._n_slots) + self._waiting.shape[1])

    def result(self, gain: float = 1.0) -> Loudness:
        """Return the figures for everything pushed so far; more may follow.

        Args:
            gain: What the sound is going to be multiplied with: the figures are those it will then have.
        """
        weighted, plain, _ = self._energies(self._waiting, np.zeros(1, np.int64))
        power, n_samples = gain * gain, max(1, self.n_samples)
        weighted_mean = power * (self._weighted_sum + float(weighted.sum())) / n_samples
        plain_mean = power * (self._plain_sum + float(plain.sum())) / (n_samples * len(self._weights))
        is_gated = self._n_slots >= _MOMENTARY
        return Loudness(
            integrated_lufs=_gated_loudness(power * np.array(self._gating_energies))
            if is_gated
            else _lufs(weighted_mean),
            momentary_max_lufs=_lufs(power * self._momentary_max),
            short_term_max_lufs=_lufs(power * self._short_term_max),
            range_lu=_loudness_range(power * np.array(self._short_term_energies)),
            true_peak_dbtp=_decibels(gain * max(self._sample_peak, self._true_peak.result())),
            sample_peak_dbfs=_decibels(gain * self._sample_peak),
            rms_dbfs=_decibels(math.sqrt(plain_mean)),
            is_gated=is_gated,
        )

    def _boundary(self, slot: int) -> int:
        return (slot * self._sample_rate + _SLOTS_PER_S // 2) // _SLOTS_PER_S

    def _slot_edges(self) -> npt.NDArray[np.int64]:
        """Return where the waiting samples are cut into whole slots; no figure depends on blocks' ends."""
        begin = self._boundary(self._n_slots)
        n_most = self._waiting.shape[1] * _SLOTS_PER_S // self._sample_rate + 2
        edges = np.array([self._boundary(self._n_slots + i) - begin for i in range(n_most)])
        whole: npt.NDArray[np.int64] = edges[edges <= self._waiting.shape[1]]
        return whole

    def _fill_slots(self, samples: Float32Array, edges: npt.NDArray[np.int64]) -> None:
        weighted, plain, self._filter_state = self._energies(samples, edges[:-1])
        for weighted_energy, plain_energy in zip(weighted.tolist(), plain.tolist(), strict=True):
            self._weighted_sum += weighted_energy
            self._plain_sum += plain_energy
        first_new = self._n_slots
        self._n_slots += len(weighted)
        self._recent = np.concatenate([self._recent, weighted])
        self._recent_sizes = np.concatenate([self._recent_sizes, np.diff(edges)])
        self._update_windows(first_new)
        self._recent = self._recent[-(_SHORT_TERM - 1) :]
        self._recent_sizes = self._recent_sizes[-(_SHORT_TERM - 1) :]

    def _energies(
        self, samples: Float32Array, starts: npt.NDArray[np.int64]
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return K-weighted and plain energy from each start to the next, and the filters' new state."""
        from scipy.signal import sosfilt

        if samples.shape[1] == 0:
            return np.zeros(0), np.zeros(0), self._filter_state
        weighted, state = sosfilt(self._sections, samples, axis=1, zi=self._filter_state)
        np.square(weighted, out=weighted)
        plain = np.add.reduceat(np.square(samples), starts, axis=1)
        return self._weights @ np.add.reduceat(weighted, starts, axis=1), plain.sum(axis=0), state

    def _update_windows(self, first_new: int) -> None:
        momentary, ends = self._window_means(_MOMENTARY, first_new)
        if len(momentary):
            self._momentary_max = max(self._momentary_max, float(momentary.max()))
            self._gating_energies.extend(momentary[(ends - _MOMENTARY) % _GATING_STEP == 0])
        short_term, ends = self._window_means(_SHORT_TERM, first_new)
        if len(short_term):
            self._short_term_max = max(self._short_term_max, float(short_term.max()))
            self._short_term_energies.extend(short_term[(ends - _SHORT_TERM) % _GATING_STEP == 0])

    def _window_means(self, width: int, first_new: int) -> tuple[Float64Array, npt.NDArray[np.int64]]:
        """Return the mean energy of every window that ends in a new slot, and the slot it ends before."""
        ends = np.arange(max(first_new + 1, width), self._n_slots + 1)
        if len(ends) == 0:
            return np.zeros(0), ends
        needed = len(ends) + width - 1
        windows = np.lib.stride_tricks.sliding_window_view(self._recent[-needed:], width)
        sizes = np.lib.stride_tricks.sliding_window_view(self._recent_sizes[-needed:], width)
        means: Float64Array = windows.sum(axis=1) / sizes.sum(axis=1)
        return means, ends


def _channel_weights(n_channels: int) -> Float64Array:
    weights = {5: [1, 1, 1, 1.41, 1.41], 6: [1, 1, 1, 0, 1.41, 1.41]}.get(n_channels, [1] * n_channels)
    return np.array(weights, np.float64)


def k_weighting(sample_rate: int) -> Float64Array:
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


def _gated_loudness(energies: Float64Array) -> float:
    loud = energies[energies > _energy(_ABSOLUTE_GATE_LUFS)]
    if len(loud) == 0:
        return _SILENCE
    gate = loud.mean() * 10 ** (-10 / 10)
    return _lufs(float(loud[loud > gate].mean()))


def _loudness_range(energies: Float64Array) -> float:
    """Return the span from the 10th to the 95th percentile of the gated short-term loudness, in LU."""
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
