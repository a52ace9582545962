"""Numbers from session files: finite, and of a size that a session can hold."""

from __future__ import annotations

from typing import Final

from bridge.errors import SessionError

__all__ = ["parse_number"]

_LARGEST: Final = 1e9  # 30 years in seconds, 1900 years of beats at 60 BPM


def parse_number(text: str, where: str) -> float:
    """Read a number.

    Args:
        text: As it stands in the file.
        where: Put at the start of an error.

    Raises:
        SessionError: No number, not finite, or beyond a billion.

    >>> parse_number("-63072000", "song.als")
    -63072000.0
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _LARGEST:
        raise SessionError(
            f"{where}: {text[:40]!r} stands where a number belongs; save the session again in its own program"
        )
    return value
