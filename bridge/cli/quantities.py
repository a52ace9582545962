"""Levels, shares and times as a command line writes them: ``-6 dB``, ``40%``, ``2 kHz``, ``250 ms``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from bridge.errors import InputError, nearest_names

__all__ = ["parse_quantity"]

_NUMBER = r"\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}"
_QUANTITY = re.compile(rf"([+-]?(?:{_NUMBER}|inf)(?:e[+-]?\d+)?)\s*([a-zA-Z%]*)", re.IGNORECASE)
_QUANTITY_SCALES: Mapping[tuple[str, str], float] = MappingProxyType({
    ("hz", "khz"): 1000.0, ("s", "ms"): 1e-3, ("ms", "s"): 1e3, ("", "%"): 0.01, ("%", ""): 1.0,
})  # fmt: skip


def parse_quantity(text: str, unit: str = "", where: str = "value") -> float:
    """Read a number with its unit into the unit wanted.

    Args:
        text: Such as ``-6 dB``, ``40%``, ``2 kHz``, ``250 ms``; a bare number is already in `unit`.
        unit: What the value is wanted in: ``dB``, ``Hz``, ``ms``, ``s``, any other word, or nothing.
        where: Put at the start of an error.

    Raises:
        InputError: Not a number, or in a unit that cannot become the one wanted.

    >>> parse_quantity("2 kHz", "Hz"), parse_quantity("40%"), parse_quantity("-6 dB", "dB")
    (2000.0, 0.4, -6.0)
    """
    matched = _QUANTITY.fullmatch(text.strip())
    if not matched:
        example = f"12 {unit}" if unit else "0.4 or 40%"
        raise InputError(f"{where}: {text!r} is not a number; something like {example!r} is accepted")
    number, given, wanted = float(matched[1]), matched[2].lower(), unit.lower()
    if given in ("", wanted):
        return number
    scale = _QUANTITY_SCALES.get((wanted, given))
    if scale is None:
        accepted = [unit] + [g for w, g in _QUANTITY_SCALES if w == wanted]
        raise InputError(
            f"{where}: {text!r} has the unit {matched[2]!r}; {nearest_names(matched[2], accepted)}"
        )
    return number * scale
