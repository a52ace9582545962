"""The modulator `hearing`: what was heard in a stem, as a curve between its patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.envelopes import SAMPLE_RATE, envelopes, song, source
from pydantic import TypeAdapter

from bridge.envelopes.follower import FollowerSource, follower_stems
from bridge.envelopes.hearing import HeardCurve, HearingMeasure, hearing_measures
from bridge.envelopes.schema import Modulator
from bridge.errors import EnvelopeError

VOCAL = HearingMeasure(network="timbre", class_name="vocal")
HEARD = HeardCurve(values=np.array([0.2, 0.8, 0.4, 0.4]), first_s=0.5, hop_s=0.25)
AT_ONCE = {"type": "hearing", "class": "vocal", "attack": "0 ms", "release": "0 ms"}
MODULATORS: TypeAdapter[Any] = TypeAdapter(tuple[Modulator, ...])


def heard(measure: HearingMeasure = VOCAL, curve: HeardCurve = HEARD) -> dict[str, FollowerSource]:
    return {"vox": FollowerSource(level_db={}, hop_samples=64, sample_rate=48_000, heard={measure: curve})}


def at(values: np.ndarray, seconds: float) -> float:
    return float(values[round(seconds * SAMPLE_RATE)])


def test_a_value_stands_at_the_middle_of_its_patch_and_lines_lead_to_the_next() -> None:
    """Before the first and after the last they hold; rows of 10 ms round corners off by 0.02 at most."""
    values = source(AT_ONCE, 2 * SAMPLE_RATE, song(length_s=2.0), stem="vox", followers=heard())

    places = {0.0: 0.2, 0.4: 0.2, 0.5: 0.2, 0.625: 0.5, 0.75: 0.8, 0.875: 0.6, 1.0: 0.4, 1.25: 0.4, 1.9: 0.4}
    for seconds, wanted in places.items():
        assert at(values, seconds) == pytest.approx(wanted, abs=0.02), seconds


def test_floor_and_ceiling_stretch_what_is_heard() -> None:
    """Below the floor is 0, above the ceiling 1; a layer's means may lie anywhere."""
    values = source(
        AT_ONCE | {"floor": 0.3, "ceiling": 0.5},
        2 * SAMPLE_RATE,
        song(length_s=2.0),
        stem="vox",
        followers=heard(),
    )
    assert [at(values, 0.3), at(values, 0.75), at(values, 1.2)] == pytest.approx([0.0, 1.0, 0.5], abs=1e-9)

    measure = HearingMeasure(network="timbre", layer="block3", channel=7)
    curve = HeardCurve(values=np.array([-4.0, 6.0]), first_s=0.5, hop_s=1.0)
    layer = {**AT_ONCE, "layer": "block3", "channel": 7, "floor": -4.0, "ceiling": 6.0}
    del layer["class"]
    values = source(layer, 2 * SAMPLE_RATE, song(length_s=2.0), stem="vox", followers=heard(measure, curve))
    assert at(values, 1.0) == pytest.approx(0.5, abs=0.01)


def test_it_rests_at_what_is_heard_first_and_follows_with_its_times() -> None:
    """A step up takes the attack to go 63% of the way, a step down the release."""
    step = HeardCurve(values=np.repeat([0.0, 1.0, 0.0], 40), first_s=0.0, hop_s=0.02)
    values = source(
        AT_ONCE | {"attack": "100 ms", "release": "200 ms"},
        3 * SAMPLE_RATE,
        song(length_s=3.0),
        stem="vox",
        followers=heard(curve=step),
    )
    assert at(values, 0.79 + 0.1) == pytest.approx(1 - np.exp(-1), abs=0.06)
    assert at(values, 1.59 + 0.2) == pytest.approx(np.exp(-1), abs=0.06)
    resting = source(AT_ONCE | {"attack": "1 s"}, 10, song(length_s=2.0), stem="vox", followers=heard())
    assert resting[0] == pytest.approx(0.2)


def test_any_chunking_gives_the_same_numbers() -> None:
    """Also where it is bipolar and smoothed, and on a coarser grid."""
    for more in ({}, {"polarity": "bipolar"}, {"smooth": "30 ms"}):
        modulators = [AT_ONCE | {"id": "it"} | more]
        built = envelopes(modulators, of=song(length_s=2.0), stem="vox", followers=heard())
        whole = built.source_values("it", 0, 90_000)
        pieces = [built.source_values("it", start, 7_500) for start in range(0, 90_000, 7_500)]

        assert np.array_equal(np.concatenate(pieces), whole)
        assert np.array_equal(built.source_values("it", 0, 90_000, 64), whole[::64])
        assert whole.min() >= (-1.0 if "polarity" in more else 0.0)


def test_it_listens_to_its_own_stem_or_another() -> None:
    """Every stem that is asked for is listed, with all that is listened for in it."""
    modulators = MODULATORS.validate_python(
        [
            {"type": "hearing", "id": "a", "class": "vocal"},
            {"type": "hearing", "id": "b", "class": "flute", "stem": "lead", "network": "musicnn"},
            {"type": "hearing", "id": "c", "layer": "block3", "channel": 0, "stem": "lead"},
            {"type": "follower", "id": "d", "source": "sidechain", "stem": "kick"},
        ]
    )

    assert follower_stems(modulators, "pad") == ("kick", "lead", "pad")
    assert hearing_measures(modulators, "pad") == {
        "pad": (VOCAL,),
        "lead": (
            HearingMeasure(network="musicnn", class_name="flute"),
            HearingMeasure(network="timbre", layer="block3", channel=0),
        ),
    }


def test_nobody_having_listened_is_an_error_and_an_estimate_is_full() -> None:
    assert source(AT_ONCE, 10).tolist() == [1.0] * 10
    with pytest.raises(EnvelopeError, match=r"modulators.it: no stem 'voc' to follow; did you mean 'vox'"):
        source(AT_ONCE | {"stem": "voc"}, 10, followers=heard())
    other = HearingMeasure(network="musicnn", class_name="vocal")
    with pytest.raises(EnvelopeError, match="nobody listened to stem 'vox'"):
        source(AT_ONCE, 10, stem="vox", followers=heard(other))
