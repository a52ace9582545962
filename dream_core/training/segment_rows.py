"""Which segments are learnt from, which validate, and which are looked at once: groups are never split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dream_core.errors import SettingError
from dream_core.training.segments import Segments

__all__ = ["RowParts", "draw_rows", "part_rows"]

TRAIN, VALIDATION, TEST = 0, 1, 2

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowParts:
    """The rows of a data set by what they are for.

    Args:
        train: Learnt from.
        heard: Of the same groups, held out: the accuracy on them is the one that leaks.
        validation: Of groups that are not learnt from; they choose the epoch.
        test: Of other such groups; looked at once, in the end. May be empty.
    """

    train: Rows
    heard: Rows
    validation: Rows
    test: Rows


def part_rows(segments: Segments, heard_share: float, seed: int) -> RowParts:
    """Part the rows of a data set.

    Args:
        segments: The data set; it says of each group on which side it is.
        heard_share: Share of the training rows held out though their groups are learnt from.
        seed: Draws which.

    Raises:
        SettingError: Naming every class that lacks a group on a side, and every group on two.
    """
    check_splits(segments)
    train, validation, test = (np.flatnonzero(segments.splits == side) for side in (TRAIN, VALIDATION, TEST))
    rng = np.random.default_rng((seed, 7))
    heard: list[int] = []
    for index in range(len(segments.classes)):
        own = rng.permutation(train[segments.labels[train] == index])
        # Something is left of every class, and of every group.
        groups, counts = np.unique(segments.groups[own], return_counts=True)
        left = dict(zip(groups.tolist(), counts.tolist(), strict=True))
        wanted = round(heard_share * len(own))
        for row in own.tolist():
            group = int(segments.groups[row])
            if wanted > 0 and left[group] > 1:
                heard.append(row)
                left[group] -= 1
                wanted -= 1
    held = np.array(sorted(heard), dtype=np.int64)
    return RowParts(train=np.setdiff1d(train, held), heard=held, validation=validation, test=test)


def check_splits(segments: Segments) -> None:
    """Refuse a data set that cannot be learnt from and validated fairly.

    Raises:
        SettingError: Naming everything that is wrong.
    """
    mistakes = []
    if len(segments.classes) < 2:
        mistakes.append(f"there is one class, {', '.join(segments.classes) or 'or none'}; two are needed")
    for index, name in enumerate(segments.classes):
        own = segments.labels == index
        n_groups = len(np.unique(segments.groups[own]))
        if n_groups < 2:
            mistakes.append(
                f"class {name!r} has {n_groups} group{'' if n_groups == 1 else 's'} (a recording, an "
                "instrument); two are needed at least, one to learn from and one to validate with"
            )
            continue
        for side, what in ((TRAIN, "learn from"), (VALIDATION, "validate with")):
            if not (own & (segments.splits == side)).any():
                mistakes.append(f"class {name!r} has no group to {what}; prepare the data with other folds")
    sides: dict[int, set[int]] = {}
    for group, side in zip(segments.groups.tolist(), segments.splits.tolist(), strict=True):
        sides.setdefault(group, set()).add(side)
    split = [group for group, found in sides.items() if len(found) > 1]
    if split:
        mistakes.append(
            f"{len(split)} groups are on two sides, group {split[0]} among them: their accuracy would leak"
        )
    if mistakes:
        raise SettingError("; ".join(mistakes))


def draw_rows(
    segments: Segments, rows: Rows, n_batches: int, batch_size: int, rng: np.random.Generator
) -> Iterator[Rows]:
    """Yield batches of rows: classes alike often, groups of a class alike often, then segments.

    Args:
        segments: The data set.
        rows: What may be drawn.
        n_batches: How many.
        batch_size: Rows in each.
        rng: Draws them.
    """
    by_class = [
        _by_group(segments, rows[segments.labels[rows] == index]) for index in range(len(segments.classes))
    ]
    order: list[int] = []
    for _ in range(n_batches):
        while len(order) < batch_size:
            order += rng.permutation(len(by_class)).tolist()
        batch, order = order[:batch_size], order[batch_size:]
        drawn = []
        for index in batch:
            own = by_class[index][rng.integers(len(by_class[index]))]
            drawn.append(own[rng.integers(len(own))])
        yield np.array(drawn, dtype=np.int64)


def _by_group(segments: Segments, rows: Rows) -> list[Rows]:
    """Return the rows of each group, in order."""
    if not len(rows):
        return []
    groups = segments.groups[rows]
    order = np.argsort(groups, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(groups[order])) + 1)
