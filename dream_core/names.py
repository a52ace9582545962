"""Names that people write: what was probably meant by one that is not known, and what notes are called.

C3 is middle C, MIDI key 60, so 440 Hz is A3.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["key_hz", "name_key", "nearest_names", "parse_key"]

_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_SIGNS = {"#": 1, "b": -1, "": 0}


def nearest_names(name: str, accepted: Iterable[str], limit: int = 3) -> str:
    """Say which accepted names are closest to a wrong one, ready to end an error message.

    >>> nearest_names("blok4", ["block4", "logits"])
    "did you mean 'block4'?"
    """
    names = list(dict.fromkeys(accepted))
    folded = {n.casefold(): n for n in names}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=limit, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(folded[c]) for c in close) + "?"
    if not names:
        return "none exist"
    shown = ", ".join(repr(n) for n in names[:24])
    return f"accepted: {shown}" + (f" and {len(names) - 24} more" if len(names) > 24 else "")


def parse_key(text: str) -> int:
    """Read the MIDI key of a note's name or number.

    Raises:
        ValueError: Not a note from C-2 (0) to G8 (127).

    >>> parse_key("C1"), parse_key("F#3"), parse_key("Gb3"), parse_key("60")
    (36, 66, 66, 60)
    """
    matched = re.fullmatch(r"\s*(?:(\d{1,3})|([A-Ga-g])([#b]?)(-?\d))\s*", text, re.ASCII)
    if matched:
        if matched[1]:
            key = int(matched[1])
        else:
            key = _NAMES.index(matched[2].upper()) + _SIGNS[matched[3]] + 12 * (int(matched[4]) + 2)
        if 0 <= key <= 127:
            return key
    raise ValueError(
        f"{text!r} is not a note; names from 'C-2' to 'G8' (C3 is middle C) or 0..127 are accepted"
    )


def name_key(key: int) -> str:
    """Return the name of a MIDI key.

    >>> name_key(60), name_key(69), name_key(0)
    ('C3', 'A3', 'C-2')
    """
    octave, step = divmod(key, 12)
    return f"{_NAMES[step]}{octave - 2}"


def key_hz(key: float) -> float:
    """Return the frequency of a MIDI key in equal temperament, A3 at 440 Hz.

    >>> key_hz(69)
    440.0
    """
    return float(440.0 * 2.0 ** ((key - 69) / 12))
