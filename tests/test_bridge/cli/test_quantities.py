"""Quantities on the command line come in the unit a command wants."""

from __future__ import annotations

import pytest

from bridge.cli.quantities import parse_quantity
from bridge.errors import InputError


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("-6 dB", "dB", -6.0),
        ("-inf dB", "dB", float("-inf")),
        ("40%", "", 0.4),
        ("40%", "%", 40.0),
        ("2 kHz", "Hz", 2000.0),
        ("440", "Hz", 440.0),
        ("1.5 s", "ms", 1500.0),
        ("250 ms", "s", 0.25),
        ("1e-3", "", 0.001),
    ],
)
def test_quantities_come_in_the_unit_wanted(text: str, unit: str, value: float) -> None:
    """A number with a unit becomes the unit asked for; a bare number is in it already."""
    assert parse_quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit"), [("6 dB", "Hz"), ("six", "dB"), ("", ""), ("2 kHz", "ms"), ("1 2", "")]
)
def test_units_that_do_not_fit_are_refused(text: str, unit: str) -> None:
    """A level is not a frequency."""
    with pytest.raises(InputError):
        parse_quantity(text, unit)
