"""Which keys are down when in recordings: the `notes.csv` that `reverie data render` writes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bridge.datasets.table import list_mistakes
from bridge.errors import InputError
from dream_core.training.segment_notes import SegmentNote

__all__ = ["PLAYED_COLUMNS", "read_played"]

PLAYED_COLUMNS: Final = ("path", "pitch", "velocity", "start_s", "end_s")


def read_played(path: Path) -> Mapping[Path, Sequence[SegmentNote]]:
    """Read the notes of recordings; there may be none.

    Args:
        path: The file beside a table of recordings.

    Returns:
        Notes by the recording's absolute path, in seconds of the file; empty where there is no such file.

    Raises:
        InputError: Naming every line that makes no sense.
    """
    if not path.is_file():
        return {}
    found: dict[Path, list[SegmentNote]] = {}
    mistakes = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in PLAYED_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path}: lacks the columns {', '.join(missing)}; rename it if it is not what "
                "`reverie data render` wrote"
            )
        for row in reader:
            try:
                note = _read_note(row)
            except ValueError as error:
                mistakes.append(f"line {reader.line_num}: {error}")
                continue
            found.setdefault((path.parent / row["path"]).absolute(), []).append(note)
    if mistakes:
        raise InputError(f"{path}: {list_mistakes(mistakes)}")
    return found


def _read_note(row: Mapping[str, Any]) -> SegmentNote:
    try:
        note = SegmentNote(int(row["pitch"]), float(row["start_s"]), float(row["end_s"]))
    except (TypeError, ValueError):
        raise ValueError("pitch, start_s and end_s must be numbers") from None
    if not 0 <= note.pitch <= 127:
        raise ValueError(f"pitch {note.pitch} is no MIDI key, 0 to 127")
    if not (math.isfinite(note.end_s) and 0.0 <= note.start_s < note.end_s):
        raise ValueError(f"a note from {note.start_s:g} to {note.end_s:g} s")
    return note
