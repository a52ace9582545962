"""What a table or a prepared set holds: counts, balance, and what stands on two sides of a split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridge.audio.hashing import hash_samples
from bridge.datasets.prepare import sides_of_names
from bridge.datasets.table import Recording, read_table
from bridge.errors import AudioFileError
from dream_core.training.segments import SPLITS, StoredSegments, open_segments

__all__ = ["ClassCounts", "Summary", "summarise_segments", "summarise_table"]

_BLOCK_ROWS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCounts:
    """How much there is of a class.

    Args:
        label: Its name.
        n_items: Recordings of a table, segments of a prepared set.
        duration_s: How long they are together.
        n_groups: How many groups they come from.
        items: How many are in train, validation and test; of a table those whose split is given.
        groups: The same for groups.
    """

    label: str
    n_items: int
    duration_s: float
    n_groups: int
    items: tuple[int, int, int]
    groups: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a table or a prepared set holds.

    Args:
        what: ``recordings`` or ``segments``.
        classes: One entry a class.
        leaks: What stands on two sides, or is there twice, a line each.
        unreadable: Files that cannot be read.
    """

    what: str
    classes: tuple[ClassCounts, ...]
    leaks: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    @property
    def imbalance(self) -> float:
        """How many times as large the largest class is as the smallest."""
        counts = [one.n_items for one in self.classes]
        return max(counts) / max(1, min(counts))


def summarise_table(
    path: Path, *, report: Callable[[int, int], None] = lambda _done, _total: None
) -> Summary:
    """Look at a table; files that may be the same sound are decoded.

    Args:
        path: The table.
        report: Told how many recordings have been looked at, and of how many.

    Raises:
        InputError: It is none.
    """
    recordings = read_table(path)
    side_of = sides_of_names([one.split for one in recordings])
    sides = [side_of[one.split] for one in recordings]
    durations = [one.duration_s for one in recordings]
    labels, groups = [one.label for one in recordings], [one.group for one in recordings]
    twice, unreadable = _same_files(recordings, report)
    return Summary(
        what="recordings",
        classes=_count(labels, groups, sides, durations),
        leaks=(*_parted(groups, sides), *twice),
        unreadable=tuple(unreadable),
    )


def summarise_segments(
    folder: Path, *, report: Callable[[int, int], None] = lambda _done, _total: None
) -> Summary:
    """Look at a prepared set: all its sounds are read once, and compared with the hashes kept.

    Args:
        folder: The set.
        report: Told how many segments have been looked at, and of how many.

    Raises:
        DataError: It is none, or damaged.
    """
    segments = open_segments(folder)
    segments.check()
    labels = [segments.classes[label] for label in segments.labels]
    groups = [segments.group_names[group] for group in segments.groups]
    sides = [int(side) for side in segments.splits]
    duration_s = segments.segment_samples / segments.sample_rate
    return Summary(
        what="segments",
        classes=_count(labels, groups, sides, [duration_s] * len(labels)),
        leaks=(*_parted(groups, sides), *_same_segments(segments, report)),
    )


def _count(
    labels: Sequence[str], groups: Sequence[str], sides: Sequence[int], durations_s: Sequence[float]
) -> tuple[ClassCounts, ...]:
    counted = []
    for label in sorted(set(labels)):
        own = [row for row, name in enumerate(labels) if name == label]
        by_side = [[row for row in own if sides[row] == side] for side in range(3)]
        items = [len(rows) for rows in by_side]
        in_groups = [len({groups[row] for row in rows}) for rows in by_side]
        counted.append(
            ClassCounts(
                label=label,
                n_items=len(own),
                duration_s=float(sum(durations_s[row] for row in own)),
                n_groups=len({groups[row] for row in own}),
                items=(items[0], items[1], items[2]),
                groups=(in_groups[0], in_groups[1], in_groups[2]),
            )
        )
    return tuple(counted)


def _parted(groups: Sequence[str], sides: Sequence[int]) -> list[str]:
    found: dict[str, set[int]] = defaultdict(set)
    for group, side in zip(groups, sides, strict=True):
        if side >= 0:
            found[group].add(side)
    return [
        f"group {group} is in {' and in '.join(SPLITS[side] for side in sorted(own))}"
        for group, own in sorted(found.items())
        if len(own) > 1
    ]


def _same_files(
    recordings: Sequence[Recording], report: Callable[[int, int], None]
) -> tuple[list[str], list[str]]:
    """Find recordings that sound the same; only those of one length can."""
    alike: dict[float, list[Recording]] = defaultdict(list)
    for one in recordings:
        alike[round(one.duration_s, 6)].append(one)
    wanted = [own for own in alike.values() if len({one.path for one in own}) > 1]
    unreadable = [f"{one.path}: no such file" for one in recordings if not one.path.is_file()]
    done, total = 0, sum(map(len, wanted))
    found: dict[str, list[str]] = defaultdict(list)
    for own in wanted:
        for path in dict.fromkeys(one.path for one in own if one.path.is_file()):
            report(done, total)
            done += 1
            try:
                found[hash_samples(path)].append(str(path))
            except AudioFileError as error:
                unreadable.append(str(error))
    return [
        f"the same recording twice: {' and '.join(paths)}" for paths in found.values() if len(paths) > 1
    ], (unreadable)


def _same_segments(segments: StoredSegments, report: Callable[[int, int], None]) -> Iterable[str]:
    """Find segments with the same samples on two sides."""
    first: dict[bytes, int] = {}
    leaks: list[str] = []
    for start in range(0, len(segments), _BLOCK_ROWS):
        report(start, len(segments))
        rows = np.arange(start, min(len(segments), start + _BLOCK_ROWS))
        for row, samples in zip(rows.tolist(), segments.stored(rows), strict=True):
            other = first.setdefault(hashlib.blake2b(samples.tobytes(), digest_size=16).digest(), row)
            if segments.splits[other] != segments.splits[row]:
                leaks.append(f"the same sound in {_name(segments, other)} and in {_name(segments, row)}")
    return leaks


def _name(segments: StoredSegments, row: int) -> str:
    return f"{SPLITS[segments.splits[row]]}, segment {row} of {segments.path_names[segments.paths[row]]}"
