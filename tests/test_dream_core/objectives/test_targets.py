"""What is wanted over time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import KeyNet, SmallNet

from dream_core.errors import ObjectiveError, SettingError
from dream_core.objectives.targets import N_KEYS, ClassTargets, Targets, TargetUse

CARD = KeyNet().card


def some_targets(seed: int = 0, n_frames: int = 40) -> Targets:
    values = torch.rand(N_KEYS, n_frames, generator=torch.Generator().manual_seed(seed))
    return Targets(values=values, frame_s=0.03, start_s=0.2)


def test_a_stretch_is_the_mean_of_what_is_in_it() -> None:
    """Against a sum over half a million instants, wherever edges lie, before and after the frames too."""
    targets = some_targets()
    edges = torch.tensor([-0.5, 0.1, 0.215, 0.2200001, 0.5, 0.77, 1.39, 1.41, 3.0])
    found = ClassTargets.of(targets, TargetUse(name="x"), CARD).over(edges)

    instants = np.linspace(-0.5, 3.0, 500_001)[:-1] + 3.5e-6
    frame = np.floor((instants - 0.2) / 0.03).astype(int)
    inside = (frame >= 0) & (frame < 40)
    for row, key in enumerate(CARD.keys):
        values = np.where(inside, targets.values.numpy()[key, np.clip(frame, 0, 39)], 0.0)
        for place, (first, last) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            chosen = (instants >= first) & (instants < last)
            if chosen.sum() > 100:  # one stretch is shorter than the instants' distance
                assert float(found[row, place]) == pytest.approx(values[chosen].mean(), abs=2e-4)


def test_keys_move_by_semitones_and_fall_off_at_the_ends() -> None:
    """Transposed by 12 up the row of C4 holds what was wanted of C3."""
    targets = some_targets()
    edges = torch.tensor([0.2, 0.23])
    plain = ClassTargets.of(targets, TargetUse(name="x"), CARD).over(edges)
    for semitones in (12, -12):
        moved = ClassTargets.of(targets, TargetUse(name="x", transpose=semitones), CARD).over(edges)
        expected = torch.roll(targets.values[:, :1], semitones, dims=0)[list(CARD.keys)]

        assert torch.allclose(moved.float(), expected)
        assert not torch.allclose(moved, plain)
    lowest = replace(targets, values=torch.zeros(N_KEYS, 1).index_fill(0, torch.tensor([0]), 1.0))
    assert not ClassTargets.of(lowest, TargetUse(name="x", transpose=-1), CARD).values.any()


def test_folded_keys_count_as_their_pitch_class() -> None:
    """The hardest pressed of keys an octave apart."""
    values = torch.zeros(N_KEYS, 1)
    values[[12, 24, 37]] = torch.tensor([[0.3], [0.6], [0.2]])
    targets = Targets(values=values, frame_s=0.1)
    folded = ClassTargets.of(targets, TargetUse(name="x", fold=True), CARD).values[:, 0]

    assert torch.allclose(folded[:2], torch.tensor([0.6, 0.2]))
    assert not folded[2:].any()


def test_held_targets_repeat_the_last_through_rests() -> None:
    """Rests before the first note stay rests."""
    values = torch.zeros(N_KEYS, 6)
    values[60, 1], values[62, 3] = 0.5, 1.0
    held = ClassTargets.of(Targets(values=values, frame_s=0.1), TargetUse(name="x", hold=True), CARD).values

    assert held[0].tolist() == [0.0, 0.5, 0.5, 0.0, 0.0, 0.0]
    assert held[2].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def test_a_chord_that_fingers_leave_one_by_one_is_held_whole() -> None:
    """What ended within 50 ms of the rest; a note before that is over."""
    values = torch.zeros(N_KEYS, 60)
    values[60, :20], values[64, :24], values[67, :23], values[69, :10] = 1.0, 0.5, 0.25, 1.0
    targets = Targets(values=values, frame_s=0.01)
    held = ClassTargets.of(targets, TargetUse(name="x", hold=True), CARD).values[:, 40]

    assert {CARD.keys[row]: float(held[row]) for row in held.nonzero().flatten().tolist()} == {
        60: 1.0,
        64: 0.5,
        67: 0.25,
    }


def test_rows_may_be_the_networks_own_classes() -> None:
    """For a network without notes its classes, in order; for one with notes both are taken."""
    of_keys = Targets(values=torch.eye(len(CARD.keys)), frame_s=0.1)

    assert torch.equal(ClassTargets.of(of_keys, TargetUse(name="x"), CARD).values, of_keys.values)
    assert ClassTargets.of(
        Targets(values=torch.ones(3, 2), frame_s=0.1), TargetUse(name="x"), SmallNet().card
    ).values.shape == (3, 2)
    with pytest.raises(ObjectiveError, match="have 5 rows; network 'keys' takes 128 MIDI keys or its 24"):
        ClassTargets.of(Targets(values=torch.ones(5, 2), frame_s=0.1), TargetUse(name="x"), CARD)


def test_equal_targets_have_equal_digests() -> None:
    """And a change of anything changes it."""
    first = some_targets()

    assert first.digest == some_targets().digest
    others = [some_targets(1), replace(first, frame_s=0.031), replace(first, start_s=0.0)]
    assert first.digest not in {other.digest for other in others}


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": torch.ones(128)},
        {"values": torch.full((128, 2), 1.5)},
        {"values": torch.full((128, 2), float("nan"))},
        {"frame_s": 0.0},
        {"frame_s": float("inf")},
    ],
)
def test_what_is_no_matrix_is_refused(wrong: dict[str, object]) -> None:
    """Values outside 0..1, another shape, or frames without length."""
    given: dict[str, object] = {"values": torch.ones(128, 2), "frame_s": 0.1, **wrong}
    with pytest.raises(SettingError, match="accepted"):
        Targets(**given)  # type: ignore[arg-type]


def test_held_targets_do_not_depend_on_where_a_note_ends() -> None:
    """One that fills an eighth of its last frame, or fades, is held as hard as it was pressed.

    The note before it, twice as hard, does not count.
    """
    values = torch.zeros(N_KEYS, 8)
    values[60, :2] = 1.0
    values[60, 3:6] = torch.tensor([0.25, 0.5, 0.125])
    held = ClassTargets.of(Targets(values=values, frame_s=0.1), TargetUse(name="x", hold=True), CARD).values

    assert held[0].tolist() == [1.0, 1.0, 1.0, 0.25, 0.5, 0.125, 0.5, 0.5]
