"""What dreaming does to a sound, in numbers; every measure is a function of arrays alone.

Conventions: sounds are mono, ``(samples,)``, full scale 1; ``dry`` is undreamed, ``wet`` is dreamed. Equal
sounds give zeros, but for the onset correlation, which gives one, and shares, which give nothing (NaN).

Source:
    Uemura et al. 2008, "Automatic optimization scheme of spectral subtraction based on musical noise
    assessment via higher-order statistics": the kurtosis ratio.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bridge.audio.loudness import measure_loudness

__all__ = [
    "crest_change_db",
    "edge_step_db",
    "log_kurtosis_ratio",
    "log_mel_db",
    "log_mel_distance_db",
    "loudness_change_lu",
    "onset_correlation",
    "quiet_rise_db",
    "static_share",
    "third_octave_changes_db",
    "third_octave_levels_db",
    "tremolo",
]

Array = NDArray[np.float64]
N_FFT = 2048
HOP = 512
_N_MELS = 96
_FLOOR_DB = 80.0
_BAND_FLOOR_DB = 40.0
_TREMOLO_HZ = (2.0, 12.0)
_LEVEL_FRAME_S = 0.02
_LEVEL_RATE_HZ = 100.0
_SILENCE_DBFS = -60.0
_EDGE_REACH_S = 0.1
_QUIET_FRAME = 1024


def power_frames(sound: NDArray[np.floating], n_fft: int = N_FFT, hop: int = HOP) -> Array:
    """Return the power spectrogram ``(frames, bins)``; frames begin at multiples of the hop."""
    padded = np.pad(np.asarray(sound, np.float64), (0, max(0, n_fft - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power: Array = np.abs(np.fft.rfft(frames * np.hanning(n_fft))) ** 2
    return power


def mel_filters(sample_rate: int, n_bands: int = _N_MELS) -> Array:
    """Return triangular mel filters ``(bands, bins)`` from 30 Hz to 16 kHz, each of unit sum."""
    low, high = 30.0, min(16000.0, 0.5 * sample_rate)
    lowest, highest = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (low, high))
    mels = np.linspace(lowest, highest, n_bands + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(N_FFT, 1.0 / sample_rate)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters: Array = np.maximum(0.0, np.minimum(rising, falling))
    # A band narrower than a bin takes the nearest one.
    centres = np.abs(bins - edges[1:-1, None]).argmin(axis=1)
    filters[np.arange(n_bands), centres] += filters.sum(axis=1) == 0
    filters /= filters.sum(axis=1, keepdims=True)
    return filters


def log_mel_db(sounds: Sequence[NDArray[np.floating]], sample_rate: int) -> list[Array]:
    """Return log-mel spectrograms ``(frames, bands)``, dB, floored 80 dB below the loudest of the first."""
    filters = mel_filters(sample_rate)
    powers = [power_frames(sound) @ filters.T for sound in sounds]
    floor = max(float(powers[0].max()) * 10.0 ** (-_FLOOR_DB / 10.0), 1e-20)
    return [10.0 * np.log10(np.maximum(power, floor)) for power in powers]


def onset_correlation(dry_mel: Array, wet_mel: Array) -> float:
    """Return the correlation of the onset envelopes: the mean rise of log-mel bands from frame to frame."""
    rises = [np.maximum(np.diff(mel, axis=0), 0.0).mean(axis=1) for mel in (dry_mel, wet_mel)]
    if min(rise.std() for rise in rises) < 1e-9:
        return 1.0 if np.array_equal(*rises) else 0.0
    return float(np.corrcoef(*rises)[0, 1])


def log_mel_distance_db(dry_mel: Array, wet_mel: Array) -> float:
    """Return the root mean square difference of log-mel spectrograms, dB."""
    return float(np.sqrt(np.mean((wet_mel - dry_mel) ** 2)))


def static_share(dry_mel: Array, wet_mel: Array) -> float:
    """Return which share of the log-mel change's power one fixed equaliser would make, 0..1.

    Only where the dry sound is above the floor: an equaliser moves no silence.
    """
    heard = dry_mel > dry_mel.min() + 1e-9
    change = np.where(heard, wet_mel - dry_mel, 0.0)
    total = float((change**2).sum())
    counts = heard.sum(axis=0)
    means = change.sum(axis=0) / np.maximum(counts, 1)
    return float((counts * means**2).sum() / total) if total > 1e-9 else float("nan")


def third_octave_levels_db(sound: NDArray[np.floating], sample_rate: int) -> Array:
    """Return the levels of the thirds of an octave from 31.5 Hz to 16 kHz over the whole sound, dB."""
    power = np.abs(np.fft.rfft(np.asarray(sound, np.float64))) ** 2 / len(sound) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1.0 / sample_rate)
    edges = 1000.0 * 2.0 ** ((np.arange(-15, 14) - 0.5) / 3.0)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    indices = np.searchsorted(frequencies, edges)
    return np.asarray(10.0 * np.log10(np.diff(sums[indices]).clip(1e-20)))


def third_octave_changes_db(dry: NDArray[np.floating], wet: NDArray[np.floating], sample_rate: int) -> Array:
    """Return how the bands move that, before or after, lie within 40 dB of the loudest, dB."""
    before, after = (third_octave_levels_db(sound, sample_rate) for sound in (dry, wet))
    counts = (before > before.max() - _BAND_FLOOR_DB) | (after > after.max() - _BAND_FLOOR_DB)
    return np.asarray((after - before)[counts])


def _levels_db(sound: NDArray[np.floating], sample_rate: int) -> Array:
    hop, frame = round(sample_rate / _LEVEL_RATE_HZ), round(_LEVEL_FRAME_S * sample_rate)
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(sound, np.float64) ** 2)])
    starts = np.arange(0, len(sound) - frame + 1, hop)
    return np.asarray(10.0 * np.log10((sums[starts + frame] - sums[starts]) / frame + 1e-12))


def tremolo(
    dry: NDArray[np.floating], wet: NDArray[np.floating], sample_rate: int, start_s: float, end_s: float
) -> tuple[float, float]:
    """Return the depth of the tremolo that dreaming adds, and its main rate.

    Args:
        dry: Undreamed.
        wet: Dreamed.
        sample_rate: Hz.
        start_s: Where the sustained part begins.
        end_s: Where it ends.

    Returns:
        Root mean square of the level's change from 2 to 12 Hz, dB, and the rate with the most of it, Hz
        (NaN where there is none).
    """
    change = _levels_db(wet, sample_rate) - _levels_db(dry, sample_rate)
    part = change[round(start_s * _LEVEL_RATE_HZ) : round(end_s * _LEVEL_RATE_HZ)]
    return _modulation(part[:, None])


def _modulation(change_db: Array) -> tuple[float, float]:
    """Return depth and rate of what moves at 2 to 12 Hz in columns of levels, dB and Hz."""
    window = np.hanning(len(change_db))[:, None]  # lets no fade or swell leak in
    spectrum = np.fft.rfft((change_db - change_db.mean(axis=0)) * window, axis=0)
    power = (2.0 * np.abs(spectrum) ** 2 / (window**2).sum() / len(change_db)).mean(axis=1)
    rates = np.fft.rfftfreq(len(change_db), 1.0 / _LEVEL_RATE_HZ)
    counts = (rates >= _TREMOLO_HZ[0]) & (rates <= _TREMOLO_HZ[1])
    depth = float(np.sqrt(power[counts].sum()))
    return depth, float(rates[counts][power[counts].argmax()]) if depth > 1e-6 else float("nan")


def band_tremolo_db(
    dry: NDArray[np.floating], wet: NDArray[np.floating], sample_rate: int, start_s: float, end_s: float
) -> float:
    """Return the tremolo that dreaming adds to mel bands, dB.

    Where one falls as another rises, the level says nothing. Root mean square over the bands within 40 dB of
    the loudest.
    """
    filters, hop = mel_filters(sample_rate, 40), round(sample_rate / _LEVEL_RATE_HZ)
    part = slice(round(start_s * sample_rate), round(end_s * sample_rate))
    powers = [power_frames(sound[part], hop=hop) @ filters.T + 1e-12 for sound in (dry, wet)]
    means = powers[0].mean(axis=0)
    loud = means > means.max() * 10.0 ** (-_BAND_FLOOR_DB / 10.0)
    return _modulation(10.0 * np.log10(powers[1] / powers[0])[:, loud])[0]


def log_kurtosis_ratio(dry: NDArray[np.floating], wet: NDArray[np.floating]) -> float:
    """Return the logarithm of the power spectrum's kurtosis, dreamed to dry.

    Above 0, isolated peaks were added. Bin by bin over time, as raw moments; the mean over the bins within
    60 dB of the loudest.
    """
    powers = [power_frames(sound) for sound in (dry, wet)]
    means = powers[0].mean(axis=0)
    counts = means > max(float(means.max()) * 1e-6, 1e-20)
    if not counts.any():
        return 0.0
    kurtoses = [
        (power**4).mean(axis=0) / np.maximum((power**2).mean(axis=0) ** 2, 1e-80)
        for power in (p[:, counts] / means.max() for p in powers)
    ]
    return float(np.log(np.maximum(kurtoses[1], 1e-9) / np.maximum(kurtoses[0], 1e-9)).mean())


def crest_change_db(dry: NDArray[np.floating], wet: NDArray[np.floating]) -> float:
    """Return how much further peaks stand above the level, dB."""
    crests = [
        20.0 * np.log10((np.abs(sound).max() + 1e-12) / (np.sqrt(np.mean(np.square(sound))) + 1e-12))
        for sound in (dry, wet)
    ]
    return float(crests[1] - crests[0])


def loudness_change_lu(dry: NDArray[np.floating], wet: NDArray[np.floating], sample_rate: int) -> float:
    """Return the change of integrated loudness of ``(channels, samples)``, LU; none where one is silent."""
    before, after = (measure_loudness(sound, sample_rate).integrated_lufs for sound in (dry, wet))
    return after - before if np.isfinite(before) and np.isfinite(after) else 0.0


def quiet_rise_db(dry: NDArray[np.floating], wet: NDArray[np.floating]) -> float:
    """Return how far frames of a passage below -60 dBFS rise at most, dB; NaN where there is no such passage.

    Frames of 1024 samples; louder ones' neighbours do not count, and below -90 dBFS all is silence.
    """
    count = len(dry) // _QUIET_FRAME

    def levels(sound: NDArray[np.floating]) -> Array:
        frames = np.asarray(sound[: count * _QUIET_FRAME], np.float64).reshape(count, -1)
        return np.asarray(10.0 * np.log10((frames**2).mean(axis=1) + 1e-9))

    loud = np.pad(levels(dry) >= _SILENCE_DBFS, 1)
    quiet = ~(loud[:-2] | loud[1:-1] | loud[2:])
    return float((levels(wet) - levels(dry))[quiet].max()) if quiet.any() else float("nan")


def edge_step_db(dry_mel: Array, wet_mel: Array, sample_rate: int, edges_s: Sequence[float]) -> float:
    """Return how much more the change's timbre steps at window edges than elsewhere, dB.

    A step is the root mean square over mel bands of the difference between the change's means over 0.1 s
    before and after, 50 ms apart from each other; elsewhere is the median of all other places.

    Args:
        dry_mel: From `log_mel_db`.
        wet_mel: The same.
        sample_rate: Hz.
        edges_s: The middles of the cross-fades.
    """
    change = wet_mel - dry_mel
    frame_s = HOP / sample_rate
    reach, gap = round(_EDGE_REACH_S / frame_s), round(0.5 * 0.05 / frame_s) + N_FFT // (2 * HOP)
    sums = np.concatenate([np.zeros((1, change.shape[1])), np.cumsum(change, axis=0)])
    middles = np.arange(reach + gap, len(change) - reach - gap)
    after = sums[middles + gap + reach] - sums[middles + gap]
    before = sums[middles - gap] - sums[middles - gap - reach]
    steps = np.sqrt((((after - before) / reach) ** 2).mean(axis=1))
    times_s = (middles * HOP + N_FFT / 2) / sample_rate
    inside = (times_s > 0.5) & (times_s < times_s[-1] - 0.5)
    at_edge = np.zeros(len(steps), bool)
    for edge_s in edges_s:
        at_edge |= np.abs(times_s - edge_s) <= frame_s
    at_edge &= inside
    if not at_edge.any():
        return float("nan")
    near = np.zeros(len(steps), bool)
    for edge_s in edges_s:
        near |= np.abs(times_s - edge_s) < 2 * _EDGE_REACH_S + gap * frame_s
    return float(steps[at_edge].mean() - np.median(steps[inside & ~near]))
