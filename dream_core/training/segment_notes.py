"""Which keys are down in the segments of a prepared set, and when: `notes.csv` beside the sounds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["NOTES_COLUMNS", "SegmentNote", "SegmentNotes", "read_notes"]

NOTES_COLUMNS: Final = ("segment", "pitch", "start_s", "end_s")
"""Of ``notes.csv`` in a prepared set."""


@dataclass(frozen=True, slots=True)
class SegmentNote:
    """One key, and when it is down.

    Args:
        pitch: MIDI key.
        start_s: From the segment's start, in seconds; below 0 where it was down before.
        end_s: Likewise.
    """

    pitch: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentNotes:
    """The notes of all segments of a set, those of one segment side by side.

    Args:
        firsts: Number of the first note of each segment, and of the one after the last.
        pitches: MIDI keys.
        starts_s: When each goes down, from the segment's start.
        ends_s: When it comes up.
    """

    firsts: NDArray[np.int64]
    pitches: NDArray[np.int64]
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]

    def down(
        self,
        row: int,
        keys: Sequence[int],
        times_s: NDArray[np.float64],
        *,
        transpose: int = 0,
    ) -> Tensor:
        """Return which keys are down at some instants of a segment.

        Args:
            row: Number of the segment.
            keys: MIDI keys that are asked for, rising by one.
            times_s: Instants, from the segment's start.
            transpose: Semitones up that the notes are moved.

        Shape:
            Returns ``(keys, times)`` float32, 0 or 1.
        """
        found = np.zeros((len(keys), len(times_s)), dtype=np.float32)
        for index in range(int(self.firsts[row]), int(self.firsts[row + 1])):
            key = int(self.pitches[index]) + transpose - keys[0]
            if 0 <= key < len(keys):
                found[key, (times_s >= self.starts_s[index]) & (times_s < self.ends_s[index])] = 1.0
        return torch.from_numpy(found)


def read_notes(path: Path, n_segments: int) -> SegmentNotes:
    """Read the notes of a prepared set.

    Raises:
        ValueError, KeyError, TypeError: The file is none, or of another set.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [tuple(float(row[name]) for name in NOTES_COLUMNS) for row in csv.DictReader(file)]
    table = np.array(rows, dtype=np.float64).reshape(-1, len(NOTES_COLUMNS))
    segments = table[:, 0].astype(np.int64)
    if len(segments) and not (
        segments[0] >= 0 and segments[-1] < n_segments and (np.diff(segments) >= 0).all()
    ):
        raise ValueError(f"its notes are not those of {n_segments} segments in their order")
    return SegmentNotes(
        firsts=np.searchsorted(segments, np.arange(n_segments + 1)),
        pitches=table[:, 1].astype(np.int64),
        starts_s=table[:, 2],
        ends_s=table[:, 3],
    )
