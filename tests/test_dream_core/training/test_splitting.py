"""Groups dealt out: whole, by class, and as a data set says where it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dream_core.errors import DataError, SettingError
from dream_core.training.splitting import Group, split_groups

SIZES = st.dictionaries(st.sampled_from(["bell", "drum", "oboe"]), st.floats(1, 50), min_size=1, max_size=2)


def _groups(label: str, n: int, side: int = -1) -> list[Group]:
    return [Group(name=f"{label} {side} {i}", sizes={label: 1.0 + i % 3}, side=side) for i in range(n)]


@given(st.lists(SIZES, min_size=6, max_size=30), st.integers(0, 99))
def test_every_group_has_one_side_whatever_it_holds(sizes: list[dict[str, float]], seed: int) -> None:
    """Also where a group holds two classes; the same seed deals the same."""
    groups = [Group(name=f"g{i}", sizes=own) for i, own in enumerate(sizes)]
    try:
        sides = split_groups(groups, seed=seed)
    except DataError as error:
        assert "one group" in str(error) or "none to learn from" in str(error)
        return

    assert set(sides.of) == {group.name for group in groups}
    assert split_groups(groups[::-1], seed=seed).of == sides.of
    for label in {label for group in groups for label in group.sizes}:
        assert 0 in {sides.of[group.name] for group in groups if label in group.sizes}


@given(st.integers(10, 60), st.integers(10, 60), st.integers(0, 9))
def test_every_class_gets_its_shares(n_bells: int, n_drums: int, seed: int) -> None:
    """To the size of a group or two, since none is split."""
    groups = [*_groups("bell", n_bells), *_groups("drum", n_drums)]
    sides = split_groups(groups, (0.6, 0.2, 0.2), seed)

    for label in ("bell", "drum"):
        own = [group for group in groups if label in group.sizes]
        total = sum(group.sizes[label] for group in own)
        for side, share in enumerate((0.6, 0.2, 0.2)):
            got = sum(group.sizes[label] for group in own if sides.of[group.name] == side)
            assert abs(got - share * total) <= 3.0


def test_few_groups_are_in_train_first_and_what_is_missing_is_told() -> None:
    sides = split_groups([*_groups("bell", 2), *_groups("drum", 3)])

    assert sorted(sides.of[f"bell -1 {i}"] for i in range(2)) == [0, 1]
    assert sorted(sides.of[f"drum -1 {i}"] for i in range(3)) == [0, 1, 2]
    assert sides.notes == ("bell: too few groups, none is in test",)


def test_classes_with_one_group_are_refused_all_at_once() -> None:
    with pytest.raises(DataError, match="bell, oboe: have one group each.*column group"):
        split_groups([*_groups("bell", 1), *_groups("drum", 5), *_groups("oboe", 1)])


def test_a_given_split_is_kept_and_validation_comes_out_of_train() -> None:
    """As IRMAS and UrbanSound8K have train and test alone."""
    groups = [*_groups("bell", 20, side=0), *_groups("bell", 6, side=2), *_groups("drum", 20, side=0)]
    groups += _groups("drum", 6, side=2)
    sides = split_groups(groups)

    for group in groups:
        assert sides.of[group.name] in ((2,) if group.side == 2 else (0, 1))
    assert 1 <= sum(side == 1 for side in sides.of.values()) <= 10
    whole = [*_groups("bell", 4, side=0), *_groups("bell", 2, side=1), *_groups("bell", 2, side=2)]
    assert split_groups(whole).of == {group.name: group.side for group in whole}


def test_a_given_split_without_anything_to_learn_from_is_refused() -> None:
    groups = [*_groups("bell", 3, side=2), *_groups("drum", 3, side=0), *_groups("drum", 3, side=2)]
    with pytest.raises(DataError, match="bell: the split"):
        split_groups(groups)


@pytest.mark.parametrize("folds", [(0.8, 0.1, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_shares_that_make_no_sense_are_refused(folds: tuple[float, float, float]) -> None:
    with pytest.raises(SettingError, match="folds"):
        split_groups(_groups("bell", 5), folds)
