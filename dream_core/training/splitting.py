"""Which groups a network learns from, which choose its best epoch, which test it: none is split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dream_core.errors import DataError, SettingError
from dream_core.training.segments import SPLITS

__all__ = ["Group", "Sides", "find_joined", "split_groups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What is never split.

    Args:
        name: Recording, instrument, preset.
        sizes: How much it has of each class.
        side: 0 train, 1 validation, 2 test where its data set says so; -1 where it does not.
    """

    name: str
    sizes: Mapping[str, float]
    side: int = -1

    @property
    def label(self) -> str:
        """The class it has most of."""
        return max(sorted(self.sizes), key=lambda label: self.sizes[label])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Which side each group is on.

    Args:
        of: 0 train, 1 validation, 2 test, by the group's name.
        notes: What the user should know, a line each.
    """

    of: Mapping[str, int]
    notes: tuple[str, ...] = ()


def split_groups(
    groups: Sequence[Group], folds: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0
) -> Sides:
    """Deal whole groups out to train, validation and test, each class by itself.

    Sides that a data set gives are kept; of what they lack (most often validation), a share is dealt from
    train. A class with few groups has one in train first, then in validation, then in test.

    Args:
        groups: All of them, each name once.
        folds: Shares of train, validation and test; they sum to 1, the first is above 0.
        seed: Of the deal.

    Raises:
        SettingError: The shares make no sense.
        DataError: A class has one group, so nothing unheard could test it; all such classes are named.

    >>> few = [Group(name=f"{label}{n}", sizes={label: 1.0}) for label in ("oboe", "tuba") for n in range(10)]
    >>> sides = split_groups(few)
    >>> [list(sides.of.values()).count(side) for side in range(3)]
    [16, 2, 2]
    """
    check_folds(folds)
    lonely = sorted(_lonely(groups))
    if lonely:
        one = len(lonely) == 1
        raise DataError(
            f"{', '.join(lonely)}: {'has' if one else 'have'} one group each, so no unheard one could tell "
            "whether anything was learned. Add recordings, or give finer groups in the table's column group"
        )
    given = {group.side for group in groups} - {-1}
    lacking = {side for side in (1, 2) if given and side not in given}
    rng = np.random.default_rng(seed)
    of: dict[str, int] = {}
    by_class: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: group.name):
        by_class.setdefault(group.label, []).append(group)
    for _, own in sorted(by_class.items()):
        of.update({group.name: group.side for group in own if group.side > 0})
        is_free = all(group.side < 0 for group in own)
        shares = [share if is_free or side in {0, *lacking} else 0.0 for side, share in enumerate(folds)]
        of.update(_deal([group for group in own if group.side <= 0], shares, rng))
    notes = _missing(groups, of, folds)
    unlearned = [label for label, sides in notes.items() if 0 in sides]
    if unlearned:
        raise DataError(
            f"{', '.join(unlearned)}: the split that the table gives leaves none to learn from; empty its "
            "column split, and groups are dealt out anew"
        )
    lines = [
        f"{label}: too few groups, none is in {SPLITS[side]}"
        for label, sides in notes.items()
        for side in sides
    ]
    return Sides(of=of, notes=tuple(lines))


def find_joined(given: Mapping[str, set[int]]) -> dict[str, int]:
    """Return the one side each group takes of those its data set gives it: what is tested stays unheard.

    >>> find_joined({"a": {0}, "b": {0, 2}, "c": {1, 2}})
    {'a': 0, 'b': 2, 'c': 2}
    """
    return {name: max(sides) for name, sides in given.items()}


def check_folds(folds: Sequence[float]) -> None:
    """Refuse shares that make no sense.

    Raises:
        SettingError: They are not three of 0..1 that sum to 1, or leave nothing to learn from.
    """
    if len(folds) != 3 or any(not 0 <= share <= 1 for share in folds) or abs(sum(folds) - 1.0) > 1e-6:
        raise SettingError(
            f"folds {','.join(f'{share:g}' for share in folds)}: three shares of 0..1 are needed, for train, "
            "validation and test, that sum to 1, such as .8,.1,.1"
        )
    if folds[0] <= 0:
        raise SettingError("folds leave nothing to learn from; the first share must be above 0")


def _deal(groups: Sequence[Group], folds: Sequence[float], rng: np.random.Generator) -> dict[str, int]:
    """Deal one class's groups: the largest first, each to the side that lacks most of its share."""
    order = [groups[i] for i in rng.permutation(len(groups))]
    order.sort(key=lambda group: -sum(group.sizes.values()))
    total = sum(sum(group.sizes.values()) for group in groups)
    wanted = [share * total for share in folds]
    seats = [side for side in range(3) if folds[side] > 0]
    of: dict[str, int] = {}
    dealt = [0.0, 0.0, 0.0]
    for index, group in enumerate(order):
        size = sum(group.sizes.values())
        empty = [side for side in seats if side not in of.values()]
        if len(order) - index <= len(empty):
            side = empty[0]  # as many groups are left as sides that have none
        else:
            side = max(seats, key=lambda side: (wanted[side] - dealt[side], -side))
        of[group.name] = side
        dealt[side] += size
    return of


def _lonely(groups: Sequence[Group]) -> Iterator[str]:
    n_groups: dict[str, int] = {}
    for group in groups:
        for label in group.sizes:
            n_groups[label] = n_groups.get(label, 0) + 1
    yield from (label for label, n in n_groups.items() if n == 1)


def _missing(groups: Sequence[Group], of: Mapping[str, int], folds: Sequence[float]) -> dict[str, list[int]]:
    """Return the sides on which a class has nothing, by its label."""
    found: dict[str, set[int]] = {}
    for group in groups:
        for label in group.sizes:
            found.setdefault(label, set()).add(of[group.name])
    return {
        label: missing
        for label, sides in sorted(found.items())
        if (missing := [side for side in range(3) if folds[side] > 0 and side not in sides])
    }
