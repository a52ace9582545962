"""How long a stem sounds on after its input has ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.presets.policies import TailPolicy

__all__ = ["TailMeter", "fade_out", "tail_input_samples"]

_AUTO_HOLD_S = 0.5


def tail_input_samples(
    policy: TailPolicy, sample_rate: int, n_samples: int, next_bar_s: float | None = None
) -> int:
    """Return how much silence to feed after a stem, in samples.

    Args:
        policy: The preset's.
        sample_rate: Hz.
        n_samples: Length of the stem.
        next_bar_s: Time of the first bar line at or after the end of the stem, for mode ``to_bar``.

    >>> tail_input_samples(TailPolicy(mode="to_bar"), 48000, 95_000, next_bar_s=2.0)
    1000
    """
    if policy.mode == "fixed":
        return round(policy.seconds * sample_rate)
    if policy.mode == "auto":
        return round(policy.max_s * sample_rate)
    if policy.mode == "to_bar":
        if next_bar_s is None:
            raise ValueError("mode to_bar needs the time of the next bar line")
        return max(0, round(next_bar_s * sample_rate) - n_samples)
    return 0


class TailMeter:
    """Find where a stream has died away, block by block.

    Args:
        policy: The preset's.
        sample_rate: Hz.
        n_samples: Length of the stem without its tail.
    """

    def __init__(self, policy: TailPolicy, sample_rate: int, n_samples: int) -> None:
        self._policy = policy
        self._threshold = 10.0 ** (policy.threshold_dbfs / 20.0)
        self._hold = round(_AUTO_HOLD_S * sample_rate)
        self._n_stem = n_samples
        self._n_seen = 0
        self._loud_end = 0

    def push(self, block: npt.NDArray[np.floating[Any]]) -> None:
        """Take the next (channels, samples)."""
        loud = np.flatnonzero(np.abs(block).max(axis=0, initial=0.0) >= self._threshold)
        if len(loud):
            self._loud_end = self._n_seen + int(loud[-1]) + 1
        self._n_seen += block.shape[1]

    @property
    def n_samples(self) -> int:
        """How many samples to deliver: half a second past the last sound, never less than the stem."""
        if self._policy.mode != "auto":
            return self._n_seen
        if self._loud_end <= self._n_stem:
            return self._n_stem
        return min(self._n_seen, self._loud_end + self._hold)


def fade_out(
    block: npt.NDArray[np.float32],
    start: int,
    *,
    policy: TailPolicy,
    sample_rate: int,
    n_stem: int,
    n_total: int,
) -> npt.NDArray[np.float32]:
    """Fade the end of a tail, by a raised cosine.

    Args:
        block: (channels, samples).
        start: Position of its first sample.
        policy: The preset's; the fade takes `fade_s`, or the tail where that is shorter.
        sample_rate: Hz.
        n_stem: Length of the stem without its tail: nothing before it is touched.
        n_total: Length delivered.
    """
    length = min(round(policy.fade_s * sample_rate), n_total - n_stem)
    first = n_total - length
    if length <= 0 or start + block.shape[1] <= first:
        return block
    position = np.clip(np.arange(start, start + block.shape[1]) - first + 1, 0, length)
    curve = 0.5 + 0.5 * np.cos(np.pi * position / length)
    faded: npt.NDArray[np.float32] = (block * curve).astype(np.float32)
    return faded
