"""Where things lie: how near is at, and how a note names a clip and its place.

Programs write places in decimals, and loops add them up: what begins within a hair of an end has not begun
before it, and what begins a hair before a start begins at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["HAIR_BEATS", "HAIR_S", "few", "place_text"]

HAIR_BEATS: Final = 1e-4
"""A tenth of the finest tick that programs play by, 960 to a beat."""
HAIR_S: Final = 2e-5
"""A sample of a session at 48 kHz."""


def place_text(track: str, start_s: float, kind: str, name: str) -> str:
    """Name a clip so that it is found again, whether it has a name or not.

    Args:
        track: Name of its track; may be empty.
        start_s: Where it begins, seconds.
        kind: What it is called, such as ``clip`` or ``item``.
        name: Its own name; may be empty.

    >>> place_text("Vox", 4.25, "clip", "")
    "track 'Vox' at 4.250 s: a clip without a name"
    """
    on = f"track {track!r}" if track else "a track without a name"
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{on} at {start_s:.3f} s: " + (f"{kind} {name!r}" if name else f"{article} {kind} without a name")


def few(lines: Sequence[str], most: int = 4, separator: str = "; ") -> str:
    """Join the first of some lines, and say how many more there are.

    >>> few(["a", "b", "c"], 2)
    'a; b; and 1 more'
    """
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return separator.join([*lines[:most], *more])
