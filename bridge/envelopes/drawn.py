"""What a session draws as a source: its automation of a parameter, straight from point to point."""

from __future__ import annotations

from typing import Final

import numpy as np

from bridge.envelopes.segments import Contour, Segment, SegmentList
from bridge.envelopes.song import Song
from bridge.envelopes.sources import Source
from bridge.errors import EnvelopeError, nearest_names

__all__ = ["LANE", "drawn_lane"]

LANE: Final = "lane:"
"""Begins the name of a source that is a session's automation, ``lane:Track/Parameter``."""


def drawn_lane(name: str, song: Song, sample_rate: float, where: str) -> Source:
    """Return a session's automation as a source.

    Before its first point a lane is what it is there, after its last as well. The lines are straight over
    time between points, so a lane through a ramp of tempo is straight over time as well.

    Args:
        name: ``lane:Track/Parameter``.
        song: With the session's automation.
        sample_rate: Hz.
        where: Put at the start of an error.

    Raises:
        EnvelopeError: The session has no such track or parameter, or there is no session.
    """
    wanted = name.removeprefix(LANE)
    lanes = {} if song.midi is None else song.midi.automation
    folded = {key.casefold(): key for key in lanes}
    if wanted.casefold() not in folded:
        known = (
            nearest_names(wanted, lanes)
            if lanes
            else "no session's tracks are known here; render a session, or give it with --session FILE"
        )
        raise EnvelopeError(
            f"{where}.source: there is no automation of a track's parameter {wanted!r}; {known}"
        )
    points = lanes[folded[wanted.casefold()]]
    beats = np.array([at for at, _, _ in points])
    starts = np.rint(song.tempo_map.beats_to_seconds(beats) * sample_rate).astype(np.int64).tolist()
    segments = SegmentList()
    for index, (_, value, is_line) in enumerate(points):
        has_next = index + 1 < len(points)
        until = starts[index + 1] if has_next else starts[index] + 1
        high = points[index + 1][1] if has_next and is_line else value
        segments.append(
            Segment(
                start=starts[index],
                n=max(1, until - starts[index]),
                low=value,
                high=high,
                curve="linear" if is_line and has_next else "hold",
            )
        )
    return Source(key=name, curve=Contour(segments=segments, before=points[0][1]))
