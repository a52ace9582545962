"""What the fuzz needs to know of a reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Reader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A way a foreign file comes in.

    Args:
        name: Of the reader.
        seeds: Makes intact files of its kinds: file name to bytes; the mutated ones keep the name.
        read: Reads the file at a path as the program does, all of it. Errors a user is told in one line
            (`bridge.errors.ReverieError`, `dream_core.errors.DreamError`) are fine, any other is a finding.
        tokens: Words that are put into the file now and then, beside those every format fears.
    """

    name: str
    seeds: Callable[[], Mapping[str, bytes]]
    read: Callable[[Path], object]
    tokens: tuple[bytes, ...] = ()
