"""How loud and how long a delivered stem is: policies as data, decisions as pure functions.

Levels are set by one static gain a stem, so stems keep their shape. The gain has two parts: the level asked
for (`level_db`) and a trim that keeps the true peak below the ceiling (`trim_db`). With a common trim every
stem gets the same one, so that the stems still add up to their mix. Where a limiter is asked for there is no
trim: it turns down the peaks alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.audio.loudness import Loudness
from bridge.presets.policies import LevelPolicy, TailPolicy

__all__ = ["GainDecision", "TailMeter", "decide_gain", "fade_out", "share_gains", "tail_input_samples"]

_GAIN_DIGITS = 4  # far below anything audible, and no figure depends on the last bits of a measurement
_AUTO_HOLD_S = 0.5
_HEARD_DB = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class GainDecision:
    """State the gain of one stem and why.

    Args:
        wanted_db: What the level asked for would take.
        level_db: The same within `max_gain_db`.
        trim_db: 0 or less, for the ceiling.
        reason: One line for people and the manifest.
        is_limited: Whether peaks exceed the ceiling with this gain and are left to a limiter.
    """

    wanted_db: float = 0.0
    level_db: float = 0.0
    trim_db: float = 0.0
    reason: str
    is_limited: bool = False

    @property
    def gain_db(self) -> float:
        """The gain to apply."""
        return round(self.level_db + self.trim_db, _GAIN_DIGITS)

    @property
    def gain(self) -> float:
        """The factor to multiply with; exactly 1 where nothing is to be changed."""
        return 1.0 if self.gain_db == 0.0 else float(10.0 ** (self.gain_db / 20.0))

    @property
    def warning(self) -> str | None:
        """What to tell the user where the level asked for is given up; a tenth of a dB is not heard."""
        missed_db = self.wanted_db - self.gain_db
        if abs(missed_db) <= _HEARD_DB:
            return None
        side = "below" if missed_db > 0 else "above"
        remedy = (
            "level.limiter = true would turn down only the peaks, a higher level.ceiling_dbtp let them be"
            if self.trim_db < -_HEARD_DB
            else "a higher level.max_gain_db allows more"
        )
        return f"{abs(missed_db):.1f} dB {side} the level asked for ({self.reason}); {remedy}"


def decide_gain(policy: LevelPolicy, before: Loudness, after: Loudness) -> GainDecision:
    """Decide the gain of one stem from what was measured before and after its chain.

    A stem whose measurements did not change is left alone, even where its own peaks are above the ceiling:
    nothing that was rendered made them. Silence is left alone too.

    >>> from dataclasses import replace
    >>> loud = Loudness(integrated_lufs=-20, momentary_max_lufs=-15, short_term_max_lufs=-18, range_lu=5,
    ...     true_peak_dbtp=-6, sample_peak_dbfs=-6.2, rms_dbfs=-22)
    >>> decide_gain(LevelPolicy(), loud, replace(loud, integrated_lufs=-23, true_peak_dbtp=-3)).gain_db
    2.0
    """
    if after.is_silent or not math.isfinite(after.true_peak_dbtp):
        return GainDecision(reason="silent: left alone")
    if policy.mode in ("match", "keep") and before == after:
        return GainDecision(reason="unchanged: left alone")
    wanted, reason = _wanted_level(policy, before, after)
    level = round(min(max(wanted, -policy.max_gain_db), policy.max_gain_db), _GAIN_DIGITS)
    if abs(wanted) > policy.max_gain_db:
        reason += f", limited to {policy.max_gain_db:g} dB"
    over = max(0.0, after.true_peak_dbtp + level - policy.ceiling_dbtp)
    trim = -math.ceil(over * 10**_GAIN_DIGITS) / 10**_GAIN_DIGITS + 0.0
    if policy.limiter and trim < 0:
        reason += f", peaks up to {over:.2f} dB above {policy.ceiling_dbtp:g} dBTP limited"
        return GainDecision(wanted_db=wanted, level_db=level, reason=reason, is_limited=True)
    if trim < 0:
        reason += f", trimmed {trim:.2f} dB for {policy.ceiling_dbtp:g} dBTP"
    return GainDecision(wanted_db=wanted, level_db=level, trim_db=trim, reason=reason)


def share_gains(policy: LevelPolicy, decisions: Sequence[GainDecision]) -> tuple[GainDecision, ...]:
    """Give the stems of a session one trim, where the policy asks for it.

    With ``match`` and ``keep`` the balance of the stems is in their own levels, so only the trim is shared.
    With ``peak`` and ``lufs`` the level is shared too: the loudest stem meets the target, the others keep
    their distance to it.
    """
    moved = [d for d in decisions if not d.reason.startswith("silent")]
    if not policy.common_trim or not moved:
        return tuple(decisions)
    if policy.mode in ("peak", "lufs"):
        level = min(d.level_db for d in moved)
        trim = min(min(d.level_db + d.trim_db for d in moved) - level, 0.0)
        reason = f"{policy.mode} of the loudest stem, shared"
        return tuple(
            GainDecision(wanted_db=level + trim, level_db=level, trim_db=trim, reason=reason)
            for _ in decisions
        )
    trim = min(d.trim_db for d in moved)
    return tuple(
        replace(
            d,
            wanted_db=d.wanted_db + trim,
            trim_db=trim,
            reason=d.reason if d.trim_db == trim else f"{d.reason}, shared trim {trim:.2f} dB",
        )
        for d in decisions
    )


def _wanted_level(policy: LevelPolicy, before: Loudness, after: Loudness) -> tuple[float, str]:
    if policy.mode == "keep":
        return 0.0, "kept"
    if policy.mode == "peak":
        return policy.ceiling_dbtp - after.true_peak_dbtp, f"true peak at {policy.ceiling_dbtp:g} dBTP"
    if policy.mode == "lufs":
        return policy.target_lufs - after.integrated_lufs, f"loudness at {policy.target_lufs:g} LUFS"
    if before.is_silent:
        return 0.0, "kept: the input is silent"
    return before.integrated_lufs - after.integrated_lufs, "matched to the input"


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
