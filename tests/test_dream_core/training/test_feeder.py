"""Batches: drawn as ever, and made by workers to the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.segments import MemorySegments, additive, store
from numpy.typing import NDArray

from dream_core.training.learners import learner_for
from dream_core.training.segment_rows import draw_rows, part_rows
from dream_core.training.segments import Segments


@pytest.fixture(scope="module")
def few() -> MemorySegments:
    """Three classes, small."""
    return additive(n_classes=3, groups_per_class=6, segments_per_group=3, seconds=0.25)


def slowly_drawn(
    segments: Segments, rows: NDArray[np.int64], n_batches: int, batch_size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Draw class, group and segment one after the other, looking through all rows each time."""
    found, order = [], []
    for _ in range(n_batches):
        while len(order) < batch_size:
            order += rng.permutation(len(segments.classes)).tolist()
        batch, order = order[:batch_size], order[batch_size:]
        drawn = []
        for index in batch:
            groups = np.unique([segments.groups[row] for row in rows if segments.labels[row] == index])
            group = groups[rng.integers(len(groups))]
            own = [row for row in rows if segments.labels[row] == index and segments.groups[row] == group]
            drawn.append(own[rng.integers(len(own))])
        found.append(np.array(drawn))
    return found


def test_rows_are_drawn_as_one_would_look_for_them_by_hand(few: MemorySegments) -> None:
    mixed = np.random.default_rng(1).permutation(len(few.labels))
    segments = replace(few, labels=few.labels[mixed], groups=few.groups[mixed])
    rows = np.arange(0, len(segments.labels), 2)
    drawn = list(draw_rows(segments, rows, 3, 7, np.random.default_rng(4)))

    np.testing.assert_array_equal(drawn, slowly_drawn(segments, rows, 3, 7, np.random.default_rng(4)))


@pytest.mark.parametrize("kind", ["mel_full", "wave_plain"])
def test_a_batch_follows_from_its_own_seed_alone(kind: str, few: MemorySegments) -> None:
    """So it does not matter who makes it, or what was made before."""
    learner = learner_for(kind, {}, few, "mine", 0)
    train = part_rows(few, 0.1, 0).train
    whole = list(learner.batches(train, 3, 6, (0, 1), 0.5))
    torch.rand(3)
    again = list(learner.batches(train, 3, 6, (0, 1), 0.5))
    other = list(learner.batches(train, 3, 6, (0, 2), 0.5))

    for one, same, another in zip(whole, again, other, strict=True):
        assert torch.equal(one[0], same[0])
        assert torch.equal(one[1], same[1])
        assert not torch.equal(one[0], another[0])
    assert not torch.equal(whole[0][0], whole[1][0])


def test_workers_make_the_same_bits_from_a_set_on_disk(few: MemorySegments, tmp_path: Path) -> None:
    """Two epochs of orders, the same workers: every batch in its place, whatever the number of threads."""
    stored = store(few, tmp_path / "set")
    train = part_rows(stored, 0.1, 0).train
    found = {}
    for workers in (0, 2):
        learner = learner_for("mel_full", {}, stored, "mine", 0, workers=workers)
        found[workers] = [
            batch for epoch in (0, 1) for batch in learner.batches(train, 3, 8, (5, epoch), 0.4)
        ]
        learner.close()

    assert len(found[2]) == 6
    for (one, targets), (same, same_targets) in zip(found[0], found[2], strict=True):
        assert torch.equal(one, same)
        assert torch.equal(targets, same_targets)
