"""The transfer bench measures what it says: known changes are found with their size, nothing in no change."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
from helpers.paths import ROOT
from numpy.typing import NDArray

sys.path.insert(0, str(ROOT / "tests" / "bench"))

import transfer_features as features
import transfer_measures as measures
from transfer_judges import log_odds, top_family
from transfer_rows import Row, filtered, parse_dream
from transfer_tables import Outcome, outside, verdicts

RATE = 44100
Sound = NDArray[np.float64]


def times(length_s: float) -> Sound:
    return np.arange(round(length_s * RATE)) / RATE


def saw(length_s: float = 9.0, f0_hz: float = 220.0) -> Sound:
    """A tone of twenty harmonics after 0.1 s of silence."""
    t = times(length_s)
    tone = sum(np.sin(2 * np.pi * k * f0_hz * t + k * k) / k for k in range(1, 21))
    return np.asarray(0.1 * tone * (t > 0.1))


def noise(length_s: float = 4.0, seed: int = 0) -> Sound:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(length_s * RATE))


def mels(dry: Sound, wet: Sound) -> tuple[Sound, Sound]:
    first, second = measures.log_mel_db([dry, wet], RATE)
    return first, second


def on_mels(measure: Callable[[Sound, Sound], float]) -> Callable[[Sound, Sound], float]:
    return lambda dry, wet: measure(*mels(dry, wet))


NOTHING: dict[str, Callable[[Sound, Sound], float]] = {
    "mel": on_mels(measures.log_mel_distance_db),
    "thirds": lambda dry, wet: float(np.abs(measures.third_octave_changes_db(dry, wet, RATE)).max()),
    "tremolo": lambda dry, wet: measures.tremolo(dry, wet, RATE, 0.5, 3.5)[0],
    "bands": lambda dry, wet: measures.band_tremolo_db(dry, wet, RATE, 0.5, 3.5),
    "noise": measures.log_kurtosis_ratio,
    "crest": measures.crest_change_db,
    "LU": lambda dry, wet: measures.loudness_change_lu(dry[None], wet[None], RATE),
    "quiet": measures.quiet_rise_db,
    "edges": on_mels(lambda dry, wet: measures.edge_step_db(dry, wet, RATE, [2.0])),
    "onsets": on_mels(lambda dry, wet: 1.0 - measures.onset_correlation(dry, wet)),
}


@pytest.mark.parametrize("name", NOTHING)
def test_equal_sounds_have_suffered_nothing(name: str) -> None:
    sound = saw(4.0)

    assert NOTHING[name](sound, sound.copy()) == pytest.approx(0.0, abs=1e-9)


def test_a_share_of_no_change_is_no_number() -> None:
    assert np.isnan(measures.static_share(*mels(saw(1.0), saw(1.0))))


@pytest.mark.parametrize(("rate_hz", "swing_db"), [(4.0, 3.0), (9.0, 1.0)])
def test_tremolo_is_found_with_its_depth_and_rate(rate_hz: float, swing_db: float) -> None:
    gain_db = swing_db * np.sin(2 * np.pi * rate_hz * times(9.0))
    dry = saw()

    depth, rate = measures.tremolo(dry, dry * 10 ** (gain_db / 20), RATE, 0.5, 8.5)

    assert depth == pytest.approx(swing_db / np.sqrt(2), rel=0.07)
    assert rate == pytest.approx(rate_hz, abs=0.2)


def test_a_slow_swell_is_no_tremolo() -> None:
    dry = saw()
    wet = dry * 10 ** (6 * np.sin(2 * np.pi * 0.2 * times(9.0)) / 20)

    assert measures.tremolo(dry, wet, RATE, 0.5, 8.5)[0] < 0.05


def test_a_steady_fade_is_no_tremolo() -> None:
    dry = saw()
    wet = dry * 10 ** (-4 * times(9.0) / 20)

    assert measures.tremolo(dry, wet, RATE, 0.5, 8.5)[0] < 0.05


def test_tremolo_of_bands_is_found_where_the_level_stands_still() -> None:
    t = times(9.0)
    low, high = (0.1 * np.sin(2 * np.pi * hz * t) for hz in (300.0, 3000.0))
    swing = np.sqrt(0.5 + 0.4 * np.sin(2 * np.pi * 5 * t))
    wet = np.sqrt(2) * (swing * low + np.sqrt(1 - swing**2) * high)

    assert measures.tremolo(low + high, wet, RATE, 0.5, 8.5)[0] < 0.1
    assert measures.band_tremolo_db(low + high, wet, RATE, 0.5, 8.5) > 2.0


def test_a_gain_is_the_log_mel_distance_and_one_equaliser_explains_it() -> None:
    dry = noise()
    dry_mel, wet_mel = mels(dry, dry * 10 ** (6 / 20))

    assert measures.log_mel_distance_db(dry_mel, wet_mel) == pytest.approx(6.0, abs=0.05)
    assert measures.static_share(dry_mel, wet_mel) == pytest.approx(1.0, abs=0.01)
    assert measures.onset_correlation(dry_mel, wet_mel) == pytest.approx(1.0, abs=1e-3)


def test_what_turns_over_with_time_no_equaliser_explains() -> None:
    dry = noise()
    gain_db = 6 * np.sign(np.sin(2 * np.pi * times(4.0)))

    assert measures.static_share(*mels(dry, dry * 10 ** (gain_db / 20))) < 0.05


def test_a_third_of_an_octave_that_is_turned_down_is_the_largest_change() -> None:
    t = times(2.0)
    low, high = (0.1 * np.sin(2 * np.pi * hz * t) for hz in (250.0, 4000.0))

    changes = measures.third_octave_changes_db(low + high, low + high * 10 ** (-9 / 20), RATE)

    assert changes.min() == pytest.approx(-9.0, abs=0.01)
    assert changes.max() == pytest.approx(0.0, abs=0.01)


def test_a_band_that_dreaming_makes_loud_counts_too() -> None:
    t = times(2.0)
    low, high = (0.1 * np.sin(2 * np.pi * hz * t) for hz in (250.0, 4000.0))

    assert measures.third_octave_changes_db(low + 1e-3 * high, low + high, RATE).max() == pytest.approx(
        60, abs=0.1
    )


def test_isolated_peaks_are_musical_noise() -> None:
    dry = noise()
    bursts = (
        dry
        * (1.0 + 9.0 * (np.random.default_rng(1).random(len(dry) // 1024 + 1) > 0.95)).repeat(1024)[
            : len(dry)
        ]
    )

    assert measures.log_kurtosis_ratio(dry, bursts) > 1.0


def test_clipping_lowers_the_crest() -> None:
    sine = np.sin(2 * np.pi * 100 * times(1.0))

    assert measures.crest_change_db(sine, np.sign(sine)) == pytest.approx(-3.01, abs=0.05)


def test_loudness_is_told_in_units_of_its_own() -> None:
    dry = noise()[None]

    assert measures.loudness_change_lu(dry, dry * 10 ** (-2 / 20), RATE) == pytest.approx(-2.0, abs=0.01)


def test_what_rises_out_of_silence_is_found() -> None:
    dry = saw(2.0)
    wet = dry + 10 ** (-70 / 20) * np.sign(noise(2.0))

    assert measures.quiet_rise_db(dry, wet) == pytest.approx(20.0, abs=0.2)
    assert np.isnan(measures.quiet_rise_db(noise(), noise()))


def test_a_step_of_timbre_at_an_edge_is_found_there_and_nowhere_else() -> None:
    dry = noise(9.0)
    low = np.fft.irfft(np.fft.rfft(dry) * (np.fft.rfftfreq(len(dry), 1 / RATE) < 2000), len(dry))
    wet = np.where(times(9.0) < 4.0, dry, low + 0.25 * (dry - low))

    assert measures.edge_step_db(*mels(dry, wet), RATE, [4.0]) > 5.0
    assert abs(measures.edge_step_db(*mels(dry, wet), RATE, [6.0])) < 0.5


def test_an_onset_that_is_smeared_correlates_less() -> None:
    dry = saw(2.0)
    wet = dry * np.clip((times(2.0) - 0.1) / 0.5, 0, 1)

    assert measures.onset_correlation(*mels(dry, wet)) < 0.5


def test_log_odds_are_the_logit_against_the_families_a_judge_has_words_for() -> None:
    scores = np.log([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
    silent = np.where(np.arange(6) == 1, np.nan, scores)

    assert log_odds(scores, "brass") == pytest.approx(0.0)
    assert log_odds(silent, "brass") == pytest.approx(np.log(0.5 / 0.3))
    assert np.isnan(log_odds(silent, "flute"))
    assert top_family(silent) == "brass"


def outcome(index: int, target: str, **shares: list[float]) -> Outcome:
    return Outcome(
        row="a",
        index=index,
        kind="note",
        source="reed",
        target=target,
        scores={judge: np.log(one) for judge, one in shares.items()},
        measures={},
        cpu_s=0.0,
    )


EVEN, FLUTE, BRASS = [1 / 6] * 6, [0.1, 0.5, 0.1, 0.1, 0.1, 0.1], [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]


def test_a_verdict_counts_the_target_heard_and_the_rise_over_the_undreamed_sound() -> None:
    before = {index: outcome(index, "flute", features=EVEN) for index in (0, 1)}

    found = verdicts([outcome(0, "flute", features=FLUTE), outcome(1, "flute", features=EVEN)], before)

    assert found["features"].top == pytest.approx(0.5)
    assert found["features"].rise == pytest.approx(0.5 * np.log(5))


def test_a_judge_without_a_word_for_the_target_says_nothing_of_it() -> None:
    wordless = [np.nan, 0.5, 0.2, np.nan, 0.2, 0.1]
    brass, flute = outcome(0, "brass", musicnn=wordless), outcome(0, "flute", musicnn=wordless)

    assert verdicts([brass], {0: brass}) == {}
    assert verdicts([flute], {0: flute})["musicnn"].top == 1.0


def test_neither_timbre_nor_who_takes_part_counts_as_outside() -> None:
    before = {0: outcome(0, "flute", timbre=EVEN, yamnet=EVEN, features=EVEN)}
    after = outcome(0, "flute", timbre=FLUTE, yamnet=FLUTE, features=BRASS)

    mean = outside([after], before, frozenset({"yamnet"}))

    assert mean is not None
    assert mean.top == 0.0
    assert mean.rise == pytest.approx(np.log(0.1 / 0.9) - np.log(0.2))


def test_the_error_is_that_of_the_mean_over_notes_and_not_over_judges() -> None:
    both = {"yamnet": EVEN, "features": EVEN}
    before = {index: outcome(index, "flute", **both) for index in range(2)}
    after = [
        outcome(0, "flute", yamnet=FLUTE, features=FLUTE),
        outcome(1, "flute", **both),
    ]

    mean = outside(after, before, frozenset())

    assert mean is not None
    assert mean.error == pytest.approx(np.log(5) / 2)


def test_a_probe_learns_what_separates_classes_and_is_no_surer_than_it_is_right() -> None:
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(3), 80)
    rows = random.standard_normal((240, 60)) + np.eye(3, 60)[classes]

    probe = features.fit_probe(rows[::2], classes[::2], np.tile(np.arange(8), 15))
    scores = probe.scores(rows[1::2])

    right = scores.argmax(axis=1) == classes[1::2]
    assert right.mean() > 0.45
    assert np.exp(scores.max(axis=1)).mean() == pytest.approx(right.mean(), abs=0.12)
    assert np.exp(scores).sum(axis=1) == pytest.approx(np.ones(120))


def test_features_hear_brightness_attack_and_vibrato() -> None:
    t = times(2.0)
    plain = saw(2.0)
    soft = plain * np.clip((t - 0.1) / 0.3, 0, 1)
    shaken = np.asarray(0.1 * np.sin(2 * np.pi * 220 * t + 3 * np.sin(2 * np.pi * 5 * t)) * (t > 0.1))
    sine = np.asarray(0.1 * np.sin(2 * np.pi * 220 * t) * (t > 0.1))

    described = {
        name: features.describe(sound, 220.0, RATE)
        for name, sound in (("plain", plain), ("soft", soft), ("shaken", shaken), ("sine", sine))
    }
    slope, attack, pitch = 16, 16 + 3 + 13 + 6 + 7, -2

    assert described["plain"][slope] == pytest.approx(-6.0, abs=0.5)
    assert described["sine"][slope] < described["plain"][slope] - 2.0
    assert described["soft"][attack] > described["plain"][attack] + 1.0
    assert described["shaken"][pitch] > described["sine"][pitch] + 0.3


def test_an_equaliser_has_the_gains_it_is_given_and_rings_only_afterwards() -> None:
    click = np.zeros((1, RATE), np.float32)
    click[0, RATE // 2] = 1.0
    points_hz, gains_db = np.array([100.0, 1000.0, 1100.0, 10000.0]), np.array([0.0, 0.0, -20.0, -20.0])

    rung = filtered(click, points_hz, gains_db)
    gains = 20 * np.log10(np.abs(np.fft.rfft(rung[0])))

    assert np.abs(rung[0, : RATE // 2 - 1]).max() < 1e-4 * np.abs(rung).max()
    assert gains[300] - gains[5000] == pytest.approx(20.0, abs=0.1)


def test_a_dream_is_read_with_its_settings_network_objective_and_depth() -> None:
    row = parse_dream("A=n_fft=8192,smooth_frames=4,jitter=false,depth=3")

    assert row == Row(
        name="A", network="timbre", settings={"n_fft": 8192, "smooth_frames": 4.0, "jitter": False}, depth=3.0
    )


@pytest.mark.parametrize("text", ["A=n_ftt=8192", "A=n_fft=5", "A=n_fft=x", "A=jitter=1", "A=network=nobody"])
def test_a_dream_that_cannot_be_is_refused_before_anything_is_measured(text: str) -> None:
    with pytest.raises(SystemExit):
        parse_dream(text)


def test_a_network_without_a_word_for_a_family_is_left_out_there() -> None:
    row = Row(name="A", network="timbre", objective="class:{family} + 0.5*musicnn@class:{word}")

    assert row.objective_for("vocal") == 'class:vocal + 0.5*musicnn@class:"choir"'
    assert row.objective_for("brass") == "class:brass"
    alone = Row(name="A", network="yamnet", objective="class:{word}")
    assert alone.objective_for("brass") == 'class:"Brass instrument"'
