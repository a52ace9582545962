"""Levels, tails and fades follow the policy, and stems still add up to their mix."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.audio import noise, sine
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bridge.delivery import (
    LevelPolicy,
    TailMeter,
    TailPolicy,
    decide_gain,
    fade_out,
    share_gains,
    tail_input_samples,
)
from bridge.loudness import Loudness, measure_loudness

BEFORE = Loudness(
    integrated_lufs=-20, momentary_max_lufs=-15, short_term_max_lufs=-18, range_lu=5,
    true_peak_dbtp=-6, sample_peak_dbfs=-6.2, rms_dbfs=-22,
)  # fmt: skip
SILENT = measure_loudness(np.zeros((1, 48000), np.float32), 48000)


def after(integrated_lufs: float, true_peak_dbtp: float) -> Loudness:
    return replace(BEFORE, integrated_lufs=integrated_lufs, true_peak_dbtp=true_peak_dbtp)


def test_match_ends_at_the_loudness_of_the_input() -> None:
    """Applied to real samples, the gain brings the loudness back within 0.1 LU."""
    source = noise(96_000, 2, level=0.1)
    louder = source * np.float32(1.9)
    decision = decide_gain(LevelPolicy(), measure_loudness(source, 48000), measure_loudness(louder, 48000))
    found = measure_loudness(louder * decision.gain, 48000).integrated_lufs
    assert found == pytest.approx(measure_loudness(source, 48000).integrated_lufs, abs=0.1)


def test_match_is_limited_and_says_so() -> None:
    """A stem that lost 30 dB gets 12, and the decision tells."""
    decision = decide_gain(LevelPolicy(), BEFORE, after(-50, -36))
    assert decision.gain_db == 12
    assert "limited to 12 dB" in decision.reason
    assert decision.warning is not None
    assert decision.warning.startswith("18.0 dB below the level asked for")


def test_the_ceiling_holds_in_every_mode() -> None:
    """No mode delivers a true peak above the ceiling, by real measurement."""
    loud = sine(11_025, 1.0, 44_100, level_dbfs=2.0, phase_deg=45)
    before = measure_loudness(loud * np.float32(0.9), 44_100)
    for mode in ("match", "keep", "peak", "lufs"):
        policy = LevelPolicy.model_validate({"mode": mode, "target_lufs": 0.0})
        gain = decide_gain(policy, before, measure_loudness(loud, 44_100)).gain
        assert measure_loudness((loud * gain).astype(np.float32), 44_100).true_peak_dbtp <= -1.0 + 1e-3


def test_modes_aim_where_they_say() -> None:
    """Keep leaves the level, peak meets the ceiling, lufs the target."""
    measured = after(-30, -12)
    assert decide_gain(LevelPolicy(mode="keep"), BEFORE, measured).gain_db == 0
    assert decide_gain(LevelPolicy(mode="peak", ceiling_dbtp=-3), BEFORE, measured).gain_db == 9
    assert decide_gain(LevelPolicy(mode="lufs", target_lufs=-23), BEFORE, measured).gain_db == 7


def test_what_did_not_change_is_left_alone() -> None:
    """An untouched stem above the ceiling keeps its samples: its gain is exactly 1."""
    hot = after(-8, 0.5)
    assert decide_gain(LevelPolicy(), hot, hot).gain == 1.0
    assert decide_gain(LevelPolicy(), after(-8.2, 0.5), hot).gain < 1.0


def test_silence_is_left_alone() -> None:
    """Nothing is amplified out of silence, and a sound from a silent stem is kept as it is."""
    for mode in ("match", "keep", "peak", "lufs"):
        policy = LevelPolicy.model_validate({"mode": mode})
        assert decide_gain(policy, BEFORE, SILENT).gain == 1.0
    assert decide_gain(LevelPolicy(), SILENT, BEFORE).gain == 1.0


@given(
    st.lists(st.tuples(st.floats(-50, 0), st.floats(-20, 6)), min_size=1, max_size=6),
    st.sampled_from(["keep", "match", "peak", "lufs"]),
)
def test_a_common_trim_is_common_and_keeps_the_ceiling(levels: list[tuple[float, float]], mode: str) -> None:
    """All stems get one trim; with peak, lufs and keep one gain; none exceeds the ceiling."""
    policy = LevelPolicy.model_validate({"mode": mode, "common_trim": True})
    measured = [after(lufs, peak) for lufs, peak in levels]
    shared = share_gains(policy, [decide_gain(policy, BEFORE, m) for m in measured])
    assert len({d.trim_db for d in shared}) == 1
    if mode != "match":
        assert len({d.gain_db for d in shared}) == 1
    for decision, m in zip(shared, measured, strict=True):
        assert m.true_peak_dbtp + decision.gain_db <= -1.0 + 1e-4


def test_with_a_common_trim_the_stems_still_add_up() -> None:
    """The sum of the delivered stems is the trimmed sum of the stems, to float rounding."""
    stems = [noise(4_800, 2, level=0.3, seed=seed) for seed in range(4)]
    policy = LevelPolicy(mode="keep", common_trim=True)
    decisions = [decide_gain(policy, BEFORE, measure_loudness(s, 48000)) for s in stems]
    shared = share_gains(policy, decisions)
    assert len({d.gain_db for d in decisions}) > 1  # or there was nothing to share
    delivered = sum(s * d.gain for s, d in zip(stems, shared, strict=True))
    np.testing.assert_allclose(delivered, sum(stems) * shared[0].gain, atol=1e-6)


def test_silent_stems_do_not_decide_for_the_others() -> None:
    """A silent stem neither sets nor blocks the shared level."""
    policy = LevelPolicy(mode="peak", common_trim=True)
    decisions = [decide_gain(policy, BEFORE, m) for m in (SILENT, after(-30, -9), after(-30, -7))]
    assert {d.gain_db for d in share_gains(policy, decisions)} == {6.0}


@pytest.mark.parametrize("values", [
    {"mode": "loud"}, {"target_lufs": 3}, {"ceiling_db": -1}, {"max_gain_db": -1}, {"ceiling_dbtp": math.nan},
])  # fmt: skip
def test_a_wrong_level_policy_is_refused(values: dict[str, object]) -> None:
    """Unknown keys, modes and values out of range do not validate."""
    with pytest.raises(ValidationError):
        LevelPolicy.model_validate(values)


def test_tails_are_fed_as_long_as_their_mode_says() -> None:
    """None, fixed, auto and to_bar give the silence to feed in samples."""
    assert tail_input_samples(TailPolicy(), 48000, 1_000) == 0
    assert tail_input_samples(TailPolicy(mode="fixed", seconds=1.5), 48000, 1_000) == 72_000
    assert tail_input_samples(TailPolicy(mode="auto", max_s=3), 44100, 1_000) == 132_300
    assert tail_input_samples(TailPolicy(mode="to_bar"), 48000, 96_000, next_bar_s=2.0) == 0
    with pytest.raises(ValueError, match="next bar line"):
        tail_input_samples(TailPolicy(mode="to_bar"), 48000, 96_000)


@pytest.mark.parametrize("block", [100, 4_096, 1_000_000])
def test_an_auto_tail_ends_half_a_second_after_the_sound(block: int) -> None:
    """The tail is kept to 0.5 s past its last sample above the threshold, whatever the blocks."""
    policy = TailPolicy(mode="auto", threshold_dbfs=-80)
    sound = np.zeros((2, 200_000), np.float32)
    sound[1, 100_000] = 2e-4  # -74 dBFS
    sound[0, 150_000] = 5e-5  # -86 dBFS
    meter = TailMeter(policy, 48000, n_samples=60_000)
    for start in range(0, 200_000, block):
        meter.push(sound[:, start : start + block])
    assert meter.n_samples == 100_001 + 24_000


def test_an_auto_tail_never_cuts_into_the_stem() -> None:
    """A stem that ends in silence keeps its length."""
    meter = TailMeter(TailPolicy(mode="auto"), 48000, n_samples=60_000)
    meter.push(np.zeros((1, 100_000), np.float32))
    assert meter.n_samples == 60_000


@pytest.mark.parametrize("block", [33, 1_000])
def test_the_fade_ends_at_zero_and_spares_the_stem(block: int) -> None:
    """The last sample is 0, the curve falls, and nothing of the stem is touched."""
    ones = np.ones((1, 1_000), np.float32)
    parts = [
        fade_out(
            ones[:, i : i + block],
            i,
            policy=TailPolicy(fade_s=0.5),
            sample_rate=1_000,
            n_stem=700,
            n_total=1_000,
        )
        for i in range(0, 1_000, block)
    ]
    faded = np.concatenate(parts, axis=1)[0]
    np.testing.assert_array_equal(faded[:700], 1.0)
    assert faded[-1] == 0.0
    assert np.all(np.diff(faded[700:]) < 0)
