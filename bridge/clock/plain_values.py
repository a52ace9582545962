"""Values of a tempo map as plain data, checked: a damaged plan or manifest may say anything."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import get_args

from bridge.clock.tempo_segments import RampLaw

__all__ = ["HIGHEST", "fraction", "number", "ramp_law", "text", "whole"]

HIGHEST = 2**52
"""Ticks, times and counts beyond it have no exact place among floats."""


def whole(given: object, lowest: int = 0) -> int:
    """Return a whole number of plain data.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(given, int) or isinstance(given, bool) or not lowest <= given <= HIGHEST:
        raise ValueError(f"{_short(given)} is not a whole number from {lowest} on")
    return given


def number(given: object) -> float:
    """Return a finite number of plain data.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not abs(given) <= HIGHEST:
        raise ValueError(f"{_short(given)} is not a number")
    return float(given)


def fraction(given: object) -> Fraction:
    """Return a fraction written as text, such as ``60000000/119``.

    Raises:
        ValueError: It is something else.
    """
    # Exponents are left out: a few characters of them make numbers that no memory holds.
    if not isinstance(given, str) or not re.fullmatch(r"\d{1,40}(/[1-9]\d{0,39})?", given, re.ASCII):
        raise ValueError(f"{_short(given)} is not a fraction")
    return Fraction(given)


def ramp_law(given: object) -> RampLaw:
    """Return how a tempo goes on to the next.

    Raises:
        ValueError: It is something else.
    """
    laws: tuple[RampLaw, ...] = get_args(RampLaw)
    for law in laws:
        if given == law:
            return law
    raise ValueError(f"{_short(given)} is not a ramp")


def text(given: object) -> str:
    """Return a text of plain data.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(given, str):
        raise ValueError(f"{_short(given)} is not a text")
    return given


def _short(given: object) -> str:
    """Return how a wrong value is shown: only its kind, where it may be long."""
    if isinstance(given, (str, bool, float)) or given is None:
        return repr(given)[:40]
    if isinstance(given, int):
        return str(given) if abs(given) < 10**18 else "a number of many digits"
    return f"a {type(given).__name__}"
