"""How loud a delivered stem is, decided from what was measured.

Levels are set by one static gain a stem, so stems keep their shape. The gain has two parts: the level asked
for (`level_db`) and a trim that keeps the true peak below the ceiling (`trim_db`). With a common trim every
stem gets the same one, so that the stems still add up to their mix. Where a limiter is asked for there is no
trim: it turns down the peaks alone. A level that is kept is not trimmed either, unless in common: what has no
depth stays bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bridge.audio.loudness import Loudness
from bridge.presets.policies import LevelPolicy

__all__ = ["GainDecision", "decide_gain", "share_gains"]

_GAIN_DIGITS = 4  # far below anything audible, and no figure depends on the last bits of a measurement
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
        over_db: How far peaks exceed the ceiling and stay so.
    """

    wanted_db: float = 0.0
    level_db: float = 0.0
    trim_db: float = 0.0
    reason: str
    is_limited: bool = False
    over_db: float = 0.0

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
        if self.over_db > _HEARD_DB:
            return (
                f"its true peak is {self.over_db:.1f} dB above level.ceiling_dbtp and kept; level.limiter = "
                "true turns down only such peaks"
            )
        missed_db = self.wanted_db - self.gain_db
        if abs(missed_db) <= _HEARD_DB:
            return None
        side = "below" if missed_db > 0 else "above"
        remedy = (
            "level.limiter = true would turn down only the peaks, a higher level.ceiling_dbtp would keep them"
            if self.trim_db < -_HEARD_DB
            else "a higher level.max_gain_db allows more"
        )
        return f"{abs(missed_db):.1f} dB {side} the level asked for ({self.reason}); {remedy}"


def decide_gain(
    policy: LevelPolicy, before: Loudness, after: Loudness, *, is_section: bool = False
) -> GainDecision:
    """Decide the gain of one stem from what was measured before and after its chain.

    A stem whose measurements did not change is left alone, even where its own peaks are above the ceiling:
    nothing that was rendered made them. Silence is left alone too. A section always goes through the limiter
    where there is one: in the whole it may still be letting go of a peak before.

    >>> from dataclasses import replace
    >>> loud = Loudness(integrated_lufs=-20, momentary_max_lufs=-15, short_term_max_lufs=-18, range_lu=5,
    ...     true_peak_dbtp=-6, sample_peak_dbfs=-6.2, rms_dbfs=-22)
    >>> decide_gain(LevelPolicy(), loud, replace(loud, integrated_lufs=-23, true_peak_dbtp=-3)).gain_db
    2.0
    """
    if after.is_silent or not math.isfinite(after.true_peak_dbtp):
        return GainDecision(reason="silent: left alone")
    if policy.mode in ("match", "keep") and before == after:
        if policy.limiter and is_section:
            return GainDecision(reason="unchanged: kept, limited as in the whole", is_limited=True)
        return GainDecision(reason="unchanged: left alone")
    wanted, reason = _wanted_level(policy, before, after)
    level = round(min(max(wanted, -policy.max_gain_db), policy.max_gain_db), _GAIN_DIGITS)
    if abs(wanted) > policy.max_gain_db:
        reason += f", limited to {policy.max_gain_db:g} dB"
    over = max(0.0, after.true_peak_dbtp + level - policy.ceiling_dbtp)
    if policy.mode == "keep" and not policy.limiter and not policy.common_trim:
        # A trim would touch what nothing was done to.
        return GainDecision(reason=reason, over_db=round(over, _GAIN_DIGITS))
    trim = -math.ceil(over * 10**_GAIN_DIGITS) / 10**_GAIN_DIGITS + 0.0
    if policy.limiter and trim < 0:
        reason += f", peaks up to {over:.2f} dB above {policy.ceiling_dbtp:g} dBTP limited"
        return GainDecision(wanted_db=wanted, level_db=level, reason=reason, is_limited=True)
    if policy.limiter and is_section:
        reason += ", limited as in the whole"
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
