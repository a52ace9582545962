"""Which section of a song is rendered: places as people write them, as samples of a stem."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.clock.tempo_map import TempoMap
from bridge.errors import PlanError, TempoError

__all__ = ["Section", "read_section"]

_BARS = re.compile(r"\s*(-?\d{1,6})\s*(?:-|\.\.|to)\s*(-?\d{1,6})\s*|\s*(-?\d{1,6})\s*")
_NOT_IN_NAMES = re.compile(r"[^\w.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section as it was asked for.

    Args:
        start: Where it begins: seconds, ``9:1``, ``@Drop``, ``start``.
        end: Where it ends, likewise, or ``end``.
        name: How outputs call it.
    """

    start: str
    end: str
    name: str

    def samples(self, tempo_map: TempoMap, n_samples: int, sample_rate: int, stem: str) -> tuple[int, int]:
        """Return the first sample, and the one after the last.

        Raises:
            PlanError: A place that is none, or a section beyond the stem, or without length.
        """
        length_s = n_samples / sample_rate
        try:
            start_s = tempo_map.locate(_place(self.start), length_s, "section")
            end_s = tempo_map.locate(_place(self.end), length_s, "section")
        except TempoError as error:
            raise PlanError(str(error)) from None
        first, last = round(start_s * sample_rate), round(end_s * sample_rate)
        if first >= n_samples:
            raise PlanError(
                f"the section begins at {self.start} ({start_s:.3f} s), and {stem} ends at {length_s:.3f} s"
            )
        if first >= last:
            raise PlanError(
                f"the section from {self.start} ({start_s:.3f} s) to {self.end} ({end_s:.3f} s) has no "
                "length; the end lies after the start"
            )
        return max(0, first), min(last, n_samples)


def _place(text: str) -> str:
    return f"{text} s" if re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", text) else text


def read_section(start: str | None, end: str | None, bars: str | None) -> Section | None:
    """Return the section that is asked for; None where all of the song is.

    Args:
        start: As ``--from`` says it.
        end: As ``--to`` says it.
        bars: First and last bar, as ``9-16``, or one bar.

    Raises:
        PlanError: Not bars, or bars beside other places.

    >>> read_section(None, None, "9-16")
    Section(start='9:1', end='17:1', name='bars-9-16')
    >>> read_section("@Drop", None, None).name
    'Drop-end'
    """
    if bars is None:
        if start is None and end is None:
            return None
        start, end = start or "start", end or "end"
        return Section(start=start, end=end, name=f"{_slug(start)}-{_slug(end)}")
    if start is not None or end is not None:
        raise PlanError("--bars says both ends of the section; use either it, or --from and --to")
    matched = _BARS.fullmatch(bars)
    if matched is None:
        raise PlanError(f"--bars {bars!r} is not bars; the first and the last are accepted, as 9-16")
    first = int(matched[1] or matched[3])
    last = int(matched[2] or matched[3])
    if last < first:
        raise PlanError(
            f"--bars {bars!r}: bar {last} comes before bar {first}; the first comes first, as 9-16"
        )
    return Section(start=f"{first}:1", end=f"{last + 1}:1", name=f"bars-{first}-{last}")


def _slug(place: str) -> str:
    return _NOT_IN_NAMES.sub("-", place).strip("-") or "start"
