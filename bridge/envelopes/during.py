"""A gate that is open in some sections of a song: what has `during` in a preset acts as far as it is open.

Conventions: 1 in a section, 0 outside, and a straight line between over the length of the fade: equal gain,
as dry and wet sound are much alike. The fade lies outside, before the start and after the end, so that a
section is whole. Where two fades meet between sections the gate turns at the level at which they meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge.clock.durations import Duration, parse_duration
from bridge.envelopes.places import During, Stretch, find_stretches
from bridge.envelopes.segments import Contour, Segment, SegmentList
from bridge.envelopes.song import Song
from bridge.envelopes.sources import Source

__all__ = ["during_gate"]


def during_gate(
    wanted: During, song: Song, sample_rate: float, where: str, warnings: list[str]
) -> Source | None:
    """Return what opens in the sections of a node or a route, or None where it acts everywhere.

    Args:
        wanted: The node or the route.
        song: Clock, markers and length.
        sample_rate: Hz.
        where: Put at the start of an error.
        warnings: What is doubtful is added.

    Raises:
        EnvelopeError: There is no such marker, or a section has no length.
    """
    if not wanted.during:
        return None
    stretches, doubts = find_stretches(wanted.during, song, where)
    warnings += [doubt for doubt in doubts if doubt not in warnings]
    fade = parse_duration(wanted.fade)
    segments = _segments(stretches, fade, song, sample_rate)
    key = f"during {fade}: {'; '.join(wanted.during)}"
    return Source(key=key, curve=Contour(segments=segments, before=0.0))


def _segments(stretches: Sequence[Stretch], fade: Duration, song: Song, sample_rate: float) -> SegmentList:
    """Draw the gate; times are whole samples."""

    def sample(seconds: float) -> int:
        return int(np.rint(seconds * sample_rate))

    def fade_to(seconds: float, times: float) -> int:
        return sample(float(song.tempo_map.advance(seconds, fade, times)))

    segments = SegmentList()
    ended: Segment | None = None  # the last fade out, not yet drawn
    for start_s, end_s in stretches:
        start = sample(start_s)
        rise = Segment(start=fade_to(start_s, -1.0), n=0, low=0.0, high=1.0)
        rise = rise._replace(n=start - rise.start)
        if ended is not None:
            ended, rise = _meet(ended, rise)
            segments.append(ended)
            ended = None
        if rise.n:
            segments.append(rise)
        segments.append(Segment(start=start, n=1, low=1.0, high=1.0, curve="hold"))
        if end_s is not None:
            end = sample(end_s)
            ended = Segment(start=end, n=fade_to(end_s, 1.0) - end, low=1.0, high=0.0)
    if ended is not None:
        segments.append(ended)
    return segments


def _meet(fall: Segment, rise: Segment) -> tuple[Segment, Segment]:
    """Cut a fade out and the fade in after it off where they meet, if they do."""
    gap = rise.start + rise.n - fall.start
    if fall.n + rise.n <= gap:
        return fall, rise
    n = round(gap * fall.n / (fall.n + rise.n))
    level = 1.0 - n / fall.n
    return fall._replace(n=n, high=level), Segment(start=fall.start + n, n=gap - n, low=level, high=1.0)
