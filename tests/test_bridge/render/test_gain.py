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

from bridge.audio.loudness import Loudness, measure_loudness
from bridge.presets.policies import LevelPolicy, TailPolicy
from bridge.render.gain import GainDecision, decide_gain, share_gains
from bridge.render.tail import TailMeter, fade_out, tail_input_samples

BEFORE = Loudness(
    integrated_lufs=-20, momentary_max_lufs=-15, short_term_max_lufs=-18, range_lu=5,
    true_peak_dbtp=-6, sample_peak_dbfs=-6.2, rms_dbfs=-22,
)  # fmt: skip
SILENT = measure_loudness(np.zeros((1, 48000), np.float32), 48000)


def after(integrated_lufs: float, true_peak_dbtp: float) -> Loudness:
    return replace(BEFORE, integrated_lufs=integrated_lufs, true_peak_dbtp=true_peak_dbtp)


def test_a_section_always_goes_through_its_limiter() -> None:
    """Its own peaks do not tell what the limiter still lets go of from before."""
    policy = LevelPolicy(limiter=True)
    for loudness in (BEFORE, after(-20, -6.0)):
        assert decide_gain(policy, BEFORE, loudness, is_section=True).is_limited
        assert not decide_gain(policy, BEFORE, loudness).is_limited


def test_match_ends_at_the_loudness_of_the_input() -> None:
    """Applied to real samples, the gain brings the loudness back within 0.1 LU."""
    source = noise(96_000, 2, level=0.1)
    louder = source * np.float32(1.9)
    decision = decide_gain(LevelPolicy(), measure_loudness(source, 48000), measure_loudness(louder, 48000))
    found = measure_loudness(louder * decision.gain, 48000).integrated_lufs
    assert found == pytest.approx(measure_loudness(source, 48000).integrated_lufs, abs=0.1)


def test_a_trim_is_told() -> None:
    """However small: the reason names it and the ceiling."""
    policy = LevelPolicy(mode="keep", common_trim=True)
    decision = decide_gain(policy, BEFORE, after(-20, -0.4))
    assert decision.reason == "kept, trimmed -0.60 dB for -1 dBTP"
    assert decide_gain(policy, BEFORE, after(-20, -2.0)).reason == "kept"


def test_a_level_that_is_kept_is_kept_even_above_the_ceiling_and_says_so() -> None:
    """No gain at all, so what has no depth stays bit for bit; the warning tells how far peaks stand out."""
    decision = decide_gain(LevelPolicy(mode="keep"), BEFORE, after(-20, 1.5))
    assert decision.gain == 1.0
    assert decision.warning is not None
    assert decision.warning.startswith("its true peak is 2.5 dB above level.ceiling_dbtp")
    assert decide_gain(LevelPolicy(mode="keep"), BEFORE, after(-20, -2.0)).warning is None


def test_a_level_that_is_kept_may_still_be_limited() -> None:
    """Only peaks are turned down then."""
    decision = decide_gain(LevelPolicy(mode="keep", limiter=True), BEFORE, after(-20, 1.5))
    assert decision.gain == 1.0
    assert decision.is_limited


def test_what_has_no_peak_is_silent() -> None:
    """Whatever its loudness is said to be."""
    decision = decide_gain(LevelPolicy(mode="peak"), BEFORE, after(-20, -math.inf))
    assert (decision.gain, decision.reason) == (1.0, "silent: left alone")


def test_match_is_limited_and_says_so() -> None:
    """A stem that lost 30 dB gets 12, and the decision tells."""
    decision = decide_gain(LevelPolicy(), BEFORE, after(-50, -36))
    assert decision.gain_db == 12
    assert "limited to 12 dB" in decision.reason
    assert decision.warning is not None
    assert decision.warning.startswith("18.0 dB below the level asked for")


def test_the_ceiling_holds_in_every_mode_that_changes_levels() -> None:
    """No mode but keep delivers a true peak above the ceiling, by real measurement."""
    loud = sine(11_025, 1.0, 44_100, level_dbfs=2.0, phase_deg=45)
    before = measure_loudness(loud * np.float32(0.9), 44_100)
    for mode in ("match", "peak", "lufs"):
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


POLICIES = [
    (LevelPolicy, "target_lufs", -18.0, -70.0, 0.0),
    (LevelPolicy, "ceiling_dbtp", -1.0, -40.0, 20.0),
    (LevelPolicy, "max_gain_db", 12.0, 0.0, 60.0),
    (TailPolicy, "seconds", 2.0, 0.0, 600.0),
    (TailPolicy, "max_s", 10.0, 1e-9, 600.0),
    (TailPolicy, "threshold_dbfs", -90.0, -160.0, -20.0),
    (TailPolicy, "fade_s", 0.02, 0.0, 60.0),
]
"""Every number of both: its default, and the least and most that is accepted."""


@pytest.mark.parametrize(("policy", "name", "default", "low", "high"), POLICIES)
def test_every_number_has_its_default_and_range(
    policy: type[LevelPolicy | TailPolicy], name: str, default: float, low: float, high: float
) -> None:
    """Both ends are accepted, and nothing beyond them."""
    assert getattr(policy(), name) == default
    for value in (low, high):
        assert getattr(policy.model_validate({name: value}), name) == value
    for value in (low - 0.01, high + 0.01):
        with pytest.raises(ValidationError):
            policy.model_validate({name: value})


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (LevelPolicy, {"mode": "match", "common_trim": False, "limiter": False}),
        (TailPolicy, {"mode": "none"}),
    ],
)
def test_policies_are_plain_data(policy: type[LevelPolicy | TailPolicy], expected: dict[str, object]) -> None:
    """What is not a number has its default too; no other key is taken, and nothing is changed afterwards."""
    numbers = {name for kind, name, *_ in POLICIES if kind is policy}
    assert policy().model_dump(exclude=numbers) == expected
    with pytest.raises(ValidationError):
        policy.model_validate({"unknown": 1})
    with pytest.raises(ValidationError, match="frozen"):
        policy().mode = "keep"  # type: ignore[assignment]


def test_a_limiter_and_a_common_trim_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="no longer add up"):
        LevelPolicy(limiter=True, common_trim=True)


@given(st.floats(-60, 30))
def test_a_gain_is_its_decibels(gain_db: float) -> None:
    """A tenth of a thousandth of a dB is kept, and 0 dB is exactly 1."""
    decision = GainDecision(level_db=gain_db, reason="")
    assert decision.gain_db == pytest.approx(gain_db, abs=5.1e-5)
    assert decision.gain == pytest.approx(10.0 ** (decision.gain_db / 20.0), rel=1e-12)
    assert GainDecision(level_db=-1.0, reason="").gain == pytest.approx(0.8912509, abs=1e-7)
    assert GainDecision(reason="").gain == 1.0


@given(st.floats(-0.9, 6.0))
def test_a_trim_is_what_is_over_and_hardly_more(true_peak_dbtp: float) -> None:
    """It is rounded up to a tenth of a thousandth of a dB, so that the ceiling holds."""
    policy = LevelPolicy(mode="keep", common_trim=True)
    decision = decide_gain(policy, BEFORE, after(-20, true_peak_dbtp))
    over = true_peak_dbtp + 1.0
    assert over <= -decision.trim_db <= over + 1.0001e-4


def test_stems_too_soft_for_the_common_level_say_by_how_much() -> None:
    """With a shared level the quietest stem's own wish is no warning; the shared one is what was asked."""
    policy = LevelPolicy(mode="lufs", target_lufs=-14.0, common_trim=True)
    decisions = [decide_gain(policy, BEFORE, m) for m in (after(-20, -3), after(-30, -20))]
    shared = share_gains(policy, decisions)
    assert [d.gain_db for d in shared] == [2.0, 2.0]  # 6 dB for the louder one, 4 of them over the ceiling
    assert [d.warning for d in shared] == [None, None]


def test_tails_are_fed_as_long_as_their_mode_says() -> None:
    """None, fixed, auto and to_bar give the silence to feed in samples."""
    assert tail_input_samples(TailPolicy(), 48000, 1_000) == 0
    assert tail_input_samples(TailPolicy(mode="fixed", seconds=1.5), 48000, 1_000) == 72_000
    assert tail_input_samples(TailPolicy(mode="auto", max_s=3), 44100, 1_000) == 132_300
    assert tail_input_samples(TailPolicy(mode="to_bar"), 48000, 96_000, next_bar_s=2.0) == 0
    assert tail_input_samples(TailPolicy(mode="to_bar"), 48000, 95_000, next_bar_s=2.0) == 1_000
    assert tail_input_samples(TailPolicy(mode="to_bar"), 44100, 100_000, next_bar_s=3.5) == 54_350
    assert tail_input_samples(TailPolicy(mode="to_bar"), 48000, 97_000, next_bar_s=2.0) == 0
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


@given(st.integers(60_000, 99_999), st.sampled_from([-100.0, -60.0, -33.0]))
def test_what_is_above_the_threshold_is_heard(position: int, threshold_dbfs: float) -> None:
    """A tenth of a dB above it counts, a tenth below does not, wherever it is."""
    for margin_db, is_heard in ((0.1, True), (-0.1, False)):
        meter = TailMeter(TailPolicy(mode="auto", threshold_dbfs=threshold_dbfs), 48000, n_samples=50_000)
        sound = np.zeros((1, 150_000), np.float32)
        sound[0, position] = 10 ** ((threshold_dbfs + margin_db) / 20)
        meter.push(sound[:, :70_000])
        meter.push(sound[:, 70_000:])
        assert meter.n_samples == (position + 1 + 24_000 if is_heard else 50_000)


def test_only_an_auto_tail_is_cut() -> None:
    """Other tails are delivered as long as they were fed, and an automatic one no longer than that."""
    for mode, n_samples in (("fixed", 100_000), ("none", 100_000), ("auto", 100_000)):
        meter = TailMeter(TailPolicy(mode=mode), 48000, n_samples=60_000)  # type: ignore[arg-type]
        meter.push(np.ones((1, 100_000), np.float32))
        assert meter.n_samples == n_samples


def test_an_auto_tail_never_cuts_into_the_stem() -> None:
    """A stem that ends in silence keeps its length."""
    meter = TailMeter(TailPolicy(mode="auto"), 48000, n_samples=60_000)
    meter.push(np.zeros((1, 100_000), np.float32))
    assert meter.n_samples == 60_000


def test_without_a_tail_or_a_fade_nothing_is_touched() -> None:
    """The very block comes back: there is nothing to divide by, and nothing to multiply with."""
    block = np.ones((1, 100), np.float32)

    def faded(fade_s: float, n_stem: int, n_total: int, start: int = 0) -> np.ndarray:
        policy = TailPolicy(fade_s=fade_s)
        return fade_out(block, start, policy=policy, sample_rate=1_000, n_stem=n_stem, n_total=n_total)

    assert faded(0.5, 100, 100) is block
    assert faded(0.0, 50, 100) is block
    assert faded(0.02, 50, 300) is block
    assert faded(0.02, 50, 200, start=80) is block  # ends where the fade begins
    assert faded(0.02, 50, 200, start=81) is not block


def test_a_fade_is_a_raised_cosine() -> None:
    """It is half way down in the middle, and has 0.8536 and 0.1464 at the quarters."""
    block = np.ones((2, 1_000), np.float32)
    policy = TailPolicy(fade_s=0.4)
    out = fade_out(block, 0, policy=policy, sample_rate=1_000, n_stem=500, n_total=1_000)
    assert out[1, [598, 699, 799, 899, 999]] == pytest.approx([1.0, 0.8536, 0.5, 0.1464, 0.0], abs=1e-4)


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
