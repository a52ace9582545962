"""Training: a loop is learnt, the same bits from the same seed and after any stop, wrong sounds named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.frames_net import RATE, TRAINING, loop, trained

from dream_core.errors import NonFiniteError, SettingError, WeightsError
from dream_core.frames.network import FramesSpec
from dream_core.frames.training import FrameTraining, TrainingStep, train_frames

TINY = FrameTraining(
    spec=FramesSpec(sample_rate=RATE, frame_samples=64, width=12), steps=12, batch_size=2, sequence_frames=20
)


def test_a_loop_of_two_seconds_is_learnt() -> None:
    """To a tenth of its variance and less, in 140 short steps."""
    assert trained().error <= 0.1
    assert TRAINING.steps == trained().steps == 140


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (train_frames([loop()], RATE, TINY).network.state_dict() for _ in range(2))
    other = train_frames([loop()], RATE, replace(TINY, seed=1)).network.state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["leave.weight"], other["leave.weight"])


def test_what_is_stopped_and_resumed_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """StoppedError twice, at steps that were kept and at one that was not."""
    monkeypatch.setattr("dream_core.frames.training._SAVE_EVERY_S", -1.0)
    kept = tmp_path / "kept.training"
    whole = train_frames([loop()], RATE, TINY)

    class StoppedError(Exception):
        pass

    for last in (4, 9):

        def stop(step: TrainingStep, last: int = last) -> None:
            if step.step == last:
                raise StoppedError

        with pytest.raises(StoppedError):
            train_frames([loop()], RATE, TINY, stop, checkpoint=kept)
    steps: list[int] = []
    resumed = train_frames([loop()], RATE, TINY, lambda step: steps.append(step.step), checkpoint=kept)

    assert steps == [10, 11, 12]
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "kept.training"
    train_frames([loop()], RATE, TINY, checkpoint=kept)
    with pytest.raises(WeightsError, match="other sounds or settings"):
        train_frames([loop()], RATE, replace(TINY, seed=3), checkpoint=kept)
    with pytest.raises(WeightsError, match="other sounds or settings"):
        train_frames([0.5 * loop()], RATE, TINY, checkpoint=kept)
    kept.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="no checkpoint"):
        train_frames([loop()], RATE, TINY, checkpoint=kept)


def test_sounds_shorter_than_a_sequence_are_learnt_too() -> None:
    """Beside a long one, a short one changes what is drawn, no more."""
    short = loop()[: 12 * 64]
    trained = train_frames([short, loop()], RATE, replace(TINY, sequence_frames=60, steps=4))

    assert trained.error < 1.5


def test_frames_that_are_not_there_do_not_count() -> None:
    """A sequence's padding weighs nothing: with or without more of it the first error is the same."""
    short = loop()[: 12 * 64]
    errors: list[list[float]] = [[], []]
    quiet = replace(TINY, noise=0.0, steps=1, batch_size=1)
    for into, n in zip(errors, (30, 60), strict=True):
        train_frames(
            [short], RATE, replace(quiet, sequence_frames=n), lambda step, i=into: i.append(step.error)
        )

    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_wrong_sounds_are_named_all_at_once() -> None:
    silent, brief, whole = torch.zeros(RATE), loop()[:100], torch.ones(8, dtype=torch.int16)
    with pytest.raises(SettingError) as caught:
        train_frames([loop(), silent, brief, whole], RATE, TINY)

    for part in ("sound 2 is silent", "sound 3 is 0.013 s long", "sound 4 has shape"):
        assert part in str(caught.value)
    with pytest.raises(SettingError, match="no sound was given"):
        train_frames([], RATE, TINY)
    with pytest.raises(NonFiniteError, match="sound 1"):
        train_frames([torch.full((RATE,), float("nan"))], RATE, TINY)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"noise": -1.0}, "noise = -1"),
        ({"batch_size": 0}, "batch_size"),
        ({"steps": 0, "seconds": 0.0}, "how long"),
    ],
)
def test_wrong_settings_are_explained(wrong: dict[str, float], expected: str) -> None:
    with pytest.raises(SettingError, match=expected):
        replace(TINY, **wrong)  # type: ignore[arg-type]
