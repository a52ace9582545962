"""From a recording to segments: ends trimmed, sound stretched, cut with a hop that rare classes get smaller.

Conventions: one recording is a mono waveform ``(samples,)`` float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from dream_core.dsp.stft import istft, stft
from dream_core.errors import SettingError

__all__ = ["choose_divisors", "cut", "group_counts", "n_starts", "stretch", "trim"]

BLOCK_SAMPLES: Final = 256
"""Sound is looked for in blocks of so many samples."""

DIVISORS: Final = (4, 3, 2, 1)
"""How often the hop goes into a segment, from the rarest group of classes up."""

_N_FFT: Final = 2048
_HOP: Final = 512

SILENT_PEAK: Final = 1e-4
"""A recording that never reaches this is silent: dither and the hum of a muted channel do not."""


def trim(waveform: NDArray[np.float32], below_db: float = -45.0) -> slice:
    """Return where a recording sounds: from its first block above a level to its last.

    Args:
        waveform: ``(samples,)``.
        below_db: Level relative to the recording's peak, in dB, 0 or less.

    Returns:
        Which samples; none where all is silent.

    >>> quiet, loud = np.full(512, 1e-3, np.float32), np.ones(512, np.float32)
    >>> trim(np.concatenate([quiet, loud, quiet]))
    slice(512, 1024, None)
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < SILENT_PEAK:
        return slice(0, 0)
    sounding = np.flatnonzero(_sounding(waveform, peak * 10.0 ** (below_db / 20.0)))
    last = min(len(waveform), (int(sounding[-1]) + 1) * BLOCK_SAMPLES)
    return slice(int(sounding[0]) * BLOCK_SAMPLES, last)


def stretch(waveform: NDArray[np.float32], factor: float = 2.0) -> NDArray[np.float32]:
    """Make a recording longer without changing its pitch, by a phase vocoder, 2048 samples every 512.

    Transients smear, as they do in every phase vocoder: so stretched copies are for classes that have little.

    Args:
        waveform: ``(samples,)``.
        factor: How many times as long, above 0.

    Shape:
        ``(samples,)`` -> ``(round(samples * factor),)``.

    Source:
        Laroche and Dolson 1999, "Improved phase vocoder time-scale modification": a peak's phase advances by
        what it turned between two frames, and the bins around it keep their phases to it.

    >>> stretch(np.zeros(1000, np.float32), 2.0).shape
    (2000,)
    """
    if factor <= 0:
        raise SettingError(f"factor {factor} must be above 0")
    length = round(len(waveform) * factor)
    padded = np.pad(waveform, (0, _N_FFT))  # the last frame has one after it
    spectrum = stft(torch.from_numpy(padded), _N_FFT, _HOP).numpy().T
    steps = np.arange(1 + length // _HOP + _N_FFT // _HOP) / factor
    left = np.minimum(steps.astype(np.int64), len(spectrum) - 2)
    share = np.clip(steps - left, 0.0, 1.0)[:, None]
    levels, angles = np.abs(spectrum), np.angle(spectrum).astype(np.float64)
    magnitude = levels[left] * (1.0 - share) + levels[left + 1] * share
    turn = 2.0 * np.pi * _HOP * np.arange(_N_FFT // 2 + 1) / _N_FFT
    advance = np.diff(angles, axis=0) - turn
    advance += turn - 2.0 * np.pi * np.round(advance / (2.0 * np.pi))
    phase = np.empty_like(magnitude, dtype=np.float64)
    phase[0] = angles[0]
    for frame in range(1, len(left)):
        turned = phase[frame - 1] + advance[left[frame - 1]] - angles[left[frame]]
        phase[frame] = angles[left[frame]] + turned[_nearest_peaks(magnitude[frame])]
    turned_spectrum = torch.from_numpy((magnitude * np.exp(1j * phase)).T.astype(np.complex64))
    stretched: NDArray[np.float32] = istft(turned_spectrum, _N_FFT, _HOP, length).numpy()
    return stretched


def _nearest_peaks(magnitude: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Return for every bin the peak of the spectrum that is nearest; itself where there is none."""
    padded = np.pad(magnitude, 2, constant_values=-1.0)
    middle = padded[2:-2]
    is_peak = (
        (middle > padded[:-4]) & (middle > padded[1:-3]) & (middle >= padded[3:-1]) & (middle >= padded[4:])
    )
    peaks = np.flatnonzero(is_peak)
    bins = np.arange(len(magnitude))
    if len(peaks) == 0:
        return bins
    nearest: NDArray[np.int64] = peaks[np.searchsorted((peaks[1:] + peaks[:-1]) / 2.0, bins)]
    return nearest


def cut(
    waveform: NDArray[np.float32],
    segment_samples: int,
    hop_samples: int,
    *,
    below_db: float = -45.0,
    least_sound: float = 0.1,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield where each segment begins, and its samples; the last is filled with silence.

    Args:
        waveform: ``(samples,)``, trimmed, its recording's peak at 1.
        segment_samples: Length of each.
        hop_samples: From the start of one to the next.
        below_db: What is below counts as silence, in dB relative to 1.
        least_sound: A segment of which a smaller share sounds is left out, 0..1.

    >>> [start for start, _ in cut(np.ones(2500, np.float32), 1024, 512)]
    [0, 512, 1024, 1536]
    """
    if not 0 < hop_samples <= segment_samples:
        raise SettingError(f"hop_samples {hop_samples} must lie in 1..{segment_samples}, a segment's length")
    floor = 10.0 ** (below_db / 20.0)
    for start in range(0, n_starts(len(waveform), segment_samples, hop_samples) * hop_samples, hop_samples):
        part = waveform[start : start + segment_samples]
        blocks = _sounding(part, floor)
        n_sounding = int(blocks.sum()) * BLOCK_SAMPLES
        if len(part) % BLOCK_SAMPLES and blocks[-1]:
            n_sounding -= BLOCK_SAMPLES - len(part) % BLOCK_SAMPLES
        if n_sounding and n_sounding >= least_sound * segment_samples:
            yield start, np.pad(part, (0, segment_samples - len(part)))


def n_starts(n_samples: int, segment_samples: int, hop_samples: int) -> int:
    """Return how many segments reach to a recording's end.

    >>> n_starts(1000, 1000, 250), n_starts(1001, 1000, 250), n_starts(10, 1000, 1000)
    (1, 2, 1)
    """
    return 1 + max(0, -(-(n_samples - segment_samples) // hop_samples)) if n_samples else 0


def group_counts(counts: Sequence[int], n_groups: int) -> list[int]:
    """Divide counts into groups of near ones, exactly: squared distances to the groups' means are least.

    In one dimension each group is a run of the sorted counts, so dynamic programming over where the runs end
    finds the best of all divisions; random starts find some.

    Args:
        counts: One a class.
        n_groups: At most so many; not more than there are different counts.

    Returns:
        The group of each count, 0 for the smallest.

    Source:
        Bellman 1973; Wang and Song 2011, "Ckmeans.1d.dp".

    >>> group_counts([10, 900, 12, 100, 880], 3)
    [0, 2, 0, 1, 2]
    """
    values = np.unique(np.asarray(counts, dtype=np.float64))
    weights = np.array([np.count_nonzero(np.asarray(counts) == value) for value in values], dtype=np.float64)
    n_groups = min(n_groups, len(values))
    # Squares of differences to the middle: counts of millions would leave nothing of them.
    centred = values - values.mean()
    total, sums, squares = (
        np.concatenate([[0.0], np.cumsum(weights * centred**power)]) for power in (0, 1, 2)
    )

    def cost(first: int, end: int) -> float:
        spread = squares[end] - squares[first] - (sums[end] - sums[first]) ** 2 / (total[end] - total[first])
        return float(max(0.0, spread))

    best = [cost(0, end) if end else 0.0 for end in range(len(values) + 1)]
    cuts: list[list[int]] = []
    for group in range(1, n_groups):
        choices = [
            min((best[at] + cost(at, end), at) for at in range(group, end)) if end > group else (np.inf, 0)
            for end in range(len(values) + 1)
        ]
        best = [choice[0] for choice in choices]
        cuts.append([choice[1] for choice in choices])
    ends = [len(values)]
    for row in reversed(cuts):
        ends.append(row[ends[-1]])
    ranks = np.searchsorted(np.asarray(ends[:0:-1]), np.searchsorted(values, counts), side="right")
    return [int(rank) for rank in ranks]


def choose_divisors(counts: Mapping[str, int]) -> dict[str, int]:
    """Choose for each class how often its hop goes into a segment: more where there is less of it.

    Classes form four groups by how many segments they have without overlap, fewer where fewer counts differ;
    from the rarest up the divisors are 4, 3, 2 and 1. None is larger than what makes the class as large as
    the largest: classes alike in size stay so.

    Args:
        counts: Segments of each class, 1 or more.

    >>> choose_divisors({"organ": 900, "bass": 400, "flute": 90, "vocal": 20})
    {'organ': 1, 'bass': 2, 'flute': 3, 'vocal': 4}
    >>> choose_divisors({"organ": 61, "bass": 60})
    {'organ': 1, 'bass': 1}
    """
    if not counts:
        return {}
    groups = group_counts(list(counts.values()), len(DIVISORS))
    divisors = DIVISORS[-1 - max(groups) :]
    largest = max(counts.values())
    return {
        label: min(divisors[group], max(1, round(largest / count)))
        for (label, count), group in zip(counts.items(), groups, strict=True)
    }


def _sounding(waveform: NDArray[np.float32], floor: float) -> NDArray[np.bool_]:
    """Return which blocks reach a level; the last may be short."""
    n_blocks = -(-len(waveform) // BLOCK_SAMPLES)
    padded = np.pad(np.abs(waveform), (0, n_blocks * BLOCK_SAMPLES - len(waveform)))
    blocks: NDArray[np.bool_] = padded.reshape(n_blocks, BLOCK_SAMPLES).max(axis=1, initial=0.0) >= floor
    return blocks
