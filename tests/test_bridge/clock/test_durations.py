"""Musical times, levels and shares are read exactly, and what is wrong with them is said."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.clock.durations import parse_duration, parse_position, parse_rate
from bridge.errors import TempoError


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("1/4", Fraction(1), "beats"),
        ("1/8D", Fraction(3, 4), "beats"),
        ("1/8.", Fraction(3, 4), "beats"),
        ("1/8T", Fraction(1, 3), "beats"),
        ("4/1", Fraction(16), "beats"),
        ("3x1/16", Fraction(3, 4), "beats"),
        ("2x1/8T", Fraction(2, 3), "beats"),
        ("2 bars", Fraction(2), "bars"),
        ("1 bar", Fraction(1), "bars"),
        ("3 beats", Fraction(3), "beats"),
        ("250 ms", Fraction(1, 4), "seconds"),
        ("1.5 s", Fraction(3, 2), "seconds"),
        (".5s", Fraction(1, 2), "seconds"),
    ],
)
def test_durations_are_exact(text: str, amount: Fraction, unit: str) -> None:
    """Every way to write a length gives its exact fraction."""
    duration = parse_duration(text)

    assert (duration.amount, duration.unit) == (amount, unit)


@pytest.mark.parametrize(
    "text", ["", "1", "1/0", "1/8Q", "-1/4", "2 Hz", "bars", "1//4", "9" * 5000, "1e9 s", "nan s"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused with the ways that are accepted."""
    with pytest.raises(TempoError, match="'1/8T'"):
        parse_duration(text)


def test_a_rate_may_be_a_frequency() -> None:
    """Two hertz are half a second a cycle; no frequency and no length are refused."""
    assert parse_rate("2 Hz").amount == Fraction(1, 2)
    assert parse_rate("1/8T") == parse_duration("1/8T")
    for text in ("0 Hz", "0 s", "0/4"):
        with pytest.raises(TempoError):
            parse_rate(text)


@pytest.mark.parametrize(
    ("text", "anchor", "marker"),
    [
        ("9:1", "bar", ""),
        ("9:2:480", "bar", ""),
        ("24 beats", "beats", ""),
        ("12.5 s", "seconds", ""),
        ("@Chorus", "marker", "Chorus"),
        ("@Chorus+2 bars", "marker", "Chorus"),
        ("@Pre-Chorus", "marker", "Pre-Chorus"),
        ("@Pre-Chorus - 1/4", "marker", "Pre-Chorus"),
        ("@ Verse 2 ", "marker", "Verse 2"),
        ("start", "start", ""),
        ("start+2 bars", "start", ""),
        ("end", "end", ""),
        ("end-4 bars", "end", ""),
    ],
)
def test_positions_are_read(text: str, anchor: str, marker: str) -> None:
    """Every way to write a place is told apart, markers with dashes and spaces included."""
    position = parse_position(text)

    assert (position.anchor, position.marker) == (anchor, marker)


def test_an_offset_keeps_its_direction() -> None:
    """A minus is before, a plus is after."""
    assert parse_position("end-4 bars").is_before
    assert not parse_position("@A+1/8").is_before
    assert parse_position("@A+1/8").offset == parse_duration("1/8")


@pytest.mark.parametrize("text", ["", "@", "9", "9:0", "9:1:960", "2 bars", "1/4", "end-", "end 4 bars"])
def test_what_is_no_position_is_refused(text: str) -> None:
    """Anything else is refused; a number of bars is explained."""
    with pytest.raises(TempoError):
        parse_position(text)
    with pytest.raises(TempoError, match="count from 1"):
        parse_position("2 bars")


@given(st.integers(1, 999), st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]), st.sampled_from(["", "D", "T"]))
def test_note_values_scale_as_music_has_it(numerator: int, denominator: int, feel: str) -> None:
    """A dotted note is one and a half, three triplets are two."""
    straight = parse_duration(f"{numerator}/{denominator}").amount
    factor = {"": Fraction(1), "D": Fraction(3, 2), "T": Fraction(2, 3)}[feel]

    assert parse_duration(f"{numerator}/{denominator}{feel}").amount == straight * factor
