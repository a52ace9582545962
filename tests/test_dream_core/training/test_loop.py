"""The training loop: it learns, goes on to the same bits, keeps groups apart and says both accuracies."""

from __future__ import annotations

import resource
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.segments import MemorySegments, additive

from dream_core import dream, load_network
from dream_core.errors import NonFiniteError, SettingError
from dream_core.settings import DreamSettings
from dream_core.training.evaluation import Heard
from dream_core.training.hearing import hear_segments
from dream_core.training.install import check_name, clear_run, install
from dream_core.training.learners import learner_for
from dream_core.training.loop import train
from dream_core.training.run import EpochReport
from dream_core.training.run_settings import RunSettings
from dream_core.training.segment_rows import draw_rows, part_rows
from dream_core.training.write_segments import Segment, write_segments

QUICK = RunSettings(epochs=3, steps_per_epoch=3, batch_size=8, calibration_batches=1, strength=0.3)
SHAPE = {"widths": "8,8,12"}


@pytest.fixture(scope="module")
def few() -> MemorySegments:
    """Three classes, small."""
    return additive(n_classes=3, groups_per_class=6, segments_per_group=3, seconds=0.25)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of networks of the test's own."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_sixty_steps_tell_tones_from_noises_it_never_heard(tmp_path: Path) -> None:
    segments = additive(seconds=0.3)
    settings = RunSettings(epochs=6, steps_per_epoch=10, batch_size=24, strength=0.1, calibration_batches=2)
    told: list[EpochReport] = []

    made = train(
        segments, "mel_full", settings, tmp_path / "run", told.append, options={"widths": "48,48,64"}
    )

    assert len(segments.labels) == 200
    assert made.unheard.accuracy >= 0.9
    assert made.is_tested
    assert set(made.unheard.rows) == set(np.flatnonzero(segments.splits == 2))
    assert not set(made.heard.rows) & set(part_rows(segments, 0.1, 0).train)
    assert [one.epoch for one in told] == [1, 2, 3, 4, 5, 6]


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("kind", ["mel_full", "embedding_head"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    kind: str, few: MemorySegments, tmp_path: Path
) -> None:
    options = SHAPE if kind == "mel_full" else {}
    base = "texture:frames8" if kind == "embedding_head" else ""

    def stop(told: EpochReport) -> None:
        if told.epoch == 1:
            raise KilledError

    whole = train(few, kind, QUICK, tmp_path / "whole", options=options, base=base)
    torch.rand(5)  # nothing outside the run has a part in it
    with pytest.raises(KilledError):
        train(few, kind, QUICK, tmp_path / "parts", stop, options=options, base=base)
    torch.rand(7)
    parts = train(few, kind, QUICK, tmp_path / "parts", options=options, base=base, resume=True)

    assert parts.sha256 == whole.sha256
    assert parts.epochs == whole.epochs == 3
    assert (tmp_path / "parts/evaluation.csv").read_bytes() == (
        tmp_path / "whole/evaluation.csv"
    ).read_bytes()


def test_another_seed_gives_other_bits(few: MemorySegments, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=1)
    one, other = (
        train(few, "mel_full", replace(settings, seed=seed), tmp_path / str(seed), options=SHAPE).sha256
        for seed in (0, 1)
    )

    assert one != other


def test_training_leaves_the_global_generator_alone(few: MemorySegments, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(few, "mel_full", replace(QUICK, epochs=1), tmp_path / "run", options=SHAPE)

    assert torch.equal(torch.rand(1), expected)


def test_a_runs_folder_tells_all_of_it(few: MemorySegments, tmp_path: Path) -> None:
    made = train(few, "mel_full", QUICK, tmp_path / "run", options=SHAPE)
    record = tomllib.loads((tmp_path / "run/run.toml").read_text())
    card = (tmp_path / "run/card.md").read_text()

    assert record["run"]["state"] == "finished"
    assert record["options"] == SHAPE
    assert record["result"]["sha256"] == made.sha256
    assert len((tmp_path / "run/history.csv").read_text().splitlines()) == 1 + 3
    assert len((tmp_path / "run/evaluation.csv").read_text().splitlines()) == 1 + len(made.unheard.rows)
    assert "Groups it never heard" in card
    assert "New segments of groups it learnt from" in card
    assert "| **class2** |" in card
    assert f"{made.unheard.accuracy:.0%} of groups it never heard" in made.network.card.description  # type: ignore[union-attr]
    assert "groups it learnt from" in made.network.card.description  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kind": "mel_vgg", "options": {"widths": "4,4,4,4"}}, "kind was mel_full, is mel_vgg"),
        ({"options": {"widths": "8,8,16"}}, "options was"),
        ({"settings": replace(QUICK, learning_rate=1e-3)}, "learning_rate was 0.002, is 0.001"),
    ],
)
def test_a_run_of_another_kind_or_shape_is_not_gone_on_with(
    change: dict[str, object], match: str, few: MemorySegments, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    train(few, "mel_full", replace(QUICK, epochs=1), folder, options=SHAPE)
    wanted: dict[str, object] = {"kind": "mel_full", "settings": replace(QUICK, epochs=1), "options": SHAPE}
    wanted |= change

    with pytest.raises(SettingError, match=match):
        train(few, folder=folder, resume=True, **wanted)  # type: ignore[arg-type]


def test_a_run_that_is_there_is_not_begun_anew_unasked(few: MemorySegments, tmp_path: Path) -> None:
    train(few, "mel_full", replace(QUICK, epochs=1), tmp_path / "run", options=SHAPE)

    with pytest.raises(SettingError, match="--resume goes on with it"):
        train(few, "mel_full", replace(QUICK, epochs=1), tmp_path / "run", options=SHAPE)
    clear_run(tmp_path / "run")
    train(few, "mel_full", replace(QUICK, epochs=1), tmp_path / "run", options=SHAPE)


def test_a_damaged_state_is_said_to_be_one(few: MemorySegments, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/state.pt").write_bytes(b"nothing")

    with pytest.raises(SettingError, match=r"state.pt cannot be read"):
        train(few, "mel_full", QUICK, tmp_path / "run", options=SHAPE, resume=True)


def test_folders_of_others_are_not_cleared(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()

    with pytest.raises(SettingError, match="holds no training run"):
        clear_run(tmp_path / "photos")


def test_every_class_without_groups_to_learn_or_validate_is_named(few: MemorySegments) -> None:
    one_group = np.where(few.labels == 1, 99, few.groups)
    splits = np.where(few.labels == 1, 0, few.splits).astype(np.int8)
    splits[few.labels == 2] = np.where(splits[few.labels == 2] == 1, 2, splits[few.labels == 2])

    with pytest.raises(SettingError) as caught:
        part_rows(replace(few, groups=one_group, splits=splits), 0.1, 0)

    assert "class 'class1' has 1 group " in str(caught.value)
    assert "class 'class2' has no group to validate with" in str(caught.value)


def test_a_group_on_two_sides_is_refused(few: MemorySegments) -> None:
    splits = few.splits.copy()
    splits[0] = 1

    with pytest.raises(SettingError, match="1 groups are on two sides, group 0 among them"):
        part_rows(replace(few, splits=splits), 0.1, 0)


def test_held_out_segments_leave_something_of_every_group(few: MemorySegments) -> None:
    parts = part_rows(few, 0.5, 0)

    assert set(few.groups[parts.heard]) <= set(few.groups[parts.train])
    assert set(few.groups[parts.train]) == set(few.groups[few.splits == 0])
    assert not set(parts.heard) & set(parts.train)
    assert len(parts.heard) + len(parts.train) == (few.splits == 0).sum()


def test_batches_hold_classes_alike_often_however_rare_they_are(few: MemorySegments) -> None:
    rows = np.flatnonzero((few.labels != 2) | (few.groups == 12))  # one group left of class 2
    drawn = np.concatenate(list(draw_rows(few, rows, 30, 9, np.random.default_rng(0))))

    assert np.bincount(few.labels[drawn]).tolist() == [90, 90, 90]
    assert set(drawn) <= set(rows)


@pytest.mark.parametrize(
    ("kind", "options", "base", "match"),
    [
        ("mel_ful", {}, "", "mel_full"),
        ("mel_full", {"width": "8"}, "", "'width'; did you mean 'widths'"),
        ("mel_full", {}, "timbre:embedding", "no other kind takes it"),
        ("embedding_head", {}, "", "it is needed"),
        ("embedding_head", {}, "timbre", "NETWORK:LAYER is needed"),
        ("embedding_head", {"widths": "3"}, "texture:frames8", "'widths'"),
        ("mel_cnn", {"widths": "8,8,8,8,8,8,8"}, "", "7 blocks halve 64 bands"),
        ("wave_plain", {"patch_samples": "500"}, "", "1024 are needed"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(
    kind: str, options: dict[str, str], base: str, match: str, few: MemorySegments
) -> None:
    with pytest.raises(SettingError, match=match):
        learner_for(kind, options, few, "mine", 0, base)


def test_settings_out_of_their_limits_are_all_named() -> None:
    with pytest.raises(SettingError, match=r"strength = 2: .*; learning_rate = -1: "):
        RunSettings(strength=2.0, learning_rate=-1.0)


def test_a_learning_rate_far_too_high_is_said_to_be(few: MemorySegments, tmp_path: Path) -> None:
    silent = replace(few, waveforms=np.full_like(few.waveforms, np.nan))

    with pytest.raises(NonFiniteError, match=r"a lower learning rate than 0\.002"):
        train(silent, "mel_full", QUICK, tmp_path / "run", options=SHAPE)


def test_early_stop_and_minutes_end_a_run(few: MemorySegments, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=12, learning_rate=1e-7, patience=2, steps_per_epoch=1)
    patient = train(few, "mel_full", settings, tmp_path / "a", options=SHAPE)
    timed = train(few, "mel_full", replace(QUICK, minutes=1e-4), tmp_path / "b", options=SHAPE)

    assert patient.epochs == min(12, patient.best_epoch + 2)
    assert timed.epochs == 1


def test_confidence_and_accuracy_are_compared() -> None:
    """Ten sure answers of which six are right are 0.3 away from what they say."""
    probabilities = np.tile([0.9, 0.1], (10, 1))
    truth = np.array([0] * 6 + [1] * 4)
    heard = Heard(rows=np.arange(10), truth=truth, probabilities=probabilities)

    assert heard.calibration == [(pytest.approx(0.9), 0.6, 10)]
    assert heard.calibration_error == pytest.approx(0.3)
    assert heard.confusion.tolist() == [[6, 0], [4, 0]]
    assert heard.accuracy == 0.5  # a mean over the classes: all of one, none of the other


def test_a_class_from_twenty_files_is_raised_on_sounds_it_never_heard(home: Path, tmp_path: Path) -> None:
    """On top of `timbre`, three classes; a dream towards a class raises its probability in nine of ten.

    All 24 pairs of a sound and another class are dreamed: with one in four a single miss would decide.
    """
    segments = additive(n_classes=3, groups_per_class=20, segments_per_group=1, seconds=1.2, rate=22050)
    settings = RunSettings(epochs=15, steps_per_epoch=4, batch_size=24)
    made = train(segments, "embedding_head", settings, tmp_path / "run", name="own", base="timbre:block5")
    install(made.path, check_name("own", may_replace=False))
    network = load_network("own")
    held_out = np.flatnonzero(segments.splits == 2)
    raised = []
    for index in range(3):
        wanted = DreamSettings(objective=f"class:class{index}")
        chosen = held_out[segments.labels[held_out] != index]
        dreamt = replace(segments, waveforms=segments.waveforms.copy())
        for row in chosen:
            sound = segments.waveforms[row][None]
            dreamt.waveforms[row] = dream(sound, segments.sample_rate, network, wanted, depth=3)[0]
        before, after = (
            hear_segments(network, data, chosen).probabilities[:, index] for data in (segments, dreamt)
        )
        raised += (after > before).tolist()

    assert made.unheard.accuracy >= 0.9
    assert len(raised) == 24
    assert np.mean(raised) >= 0.9


def test_a_test_on_another_set_matches_classes_by_name(
    few: MemorySegments, home: Path, tmp_path: Path
) -> None:
    made = train(few, "mel_full", QUICK, tmp_path / "run", options=SHAPE)
    network = made.network.double()
    rows = np.flatnonzero(few.splits == 2)
    # The same sounds at another order of classes, and fewer of them.
    kept = rows[few.labels[rows] != 0]
    swapped = replace(few, classes=("class2", "class1"), labels=np.where(few.labels == 2, 0, 1))

    plain = hear_segments(network, few, kept).probabilities  # type: ignore[arg-type]
    named = hear_segments(network, swapped, kept).probabilities  # type: ignore[arg-type]

    np.testing.assert_allclose(named[:, :2], plain[:, [2, 1]], rtol=1e-12)
    np.testing.assert_allclose(named[:, 2], plain[:, 0], rtol=1e-12)
    with pytest.raises(SettingError, match="knows no class 'kazoo'"):
        hear_segments(network, replace(few, classes=("class0", "class1", "kazoo")), rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["timbre", "../x", "a b", "", "x" * 65])
def test_a_name_that_cannot_be_used_is_refused(name: str, home: Path) -> None:
    with pytest.raises(SettingError, match="--name"):
        check_name(name, may_replace=True)


def test_a_full_disk_keeps_the_last_epoch_and_its_bits(few: MemorySegments, tmp_path: Path) -> None:
    """The state of the second epoch finds no room: the first is whole, and gone on from when there is."""
    whole = train(few, "mel_full", QUICK, tmp_path / "whole", options=SHAPE)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(told: EpochReport) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, usual[1]))

    try:
        with pytest.raises(OSError, match="too large"):
            train(few, "mel_full", QUICK, tmp_path / "full", fill, options=SHAPE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    parts = train(few, "mel_full", QUICK, tmp_path / "full", options=SHAPE, resume=True)

    assert parts.sha256 == whole.sha256


def test_memory_does_not_grow_with_what_was_read(tmp_path: Path) -> None:
    """Twenty megabytes of segments are read one batch after the other: none of it stays."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-3000, 3000, 1 << 16).astype(np.int16)
    n, length = 2000, 5000
    stored = write_segments(
        tmp_path / "set",
        (
            Segment(samples=noise[i * 20 : i * 20 + length], label="ab"[i % 2], group=str(i // 4), split=0)
            for i in range(n)
        ),
        classes=["a", "b"],
        sample_rate=16000,
        segment_samples=length,
    )
    stored.sounds(np.arange(50))

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    before, most = resident_bytes(), 0
    for first in range(0, n, 50):
        stored.sounds(np.arange(first, first + 50))
        most = max(most, resident_bytes())

    assert most - before < 4_000_000


def test_an_attack_begins_after_the_plain_epochs_and_the_best_is_one_under_it(
    few: MemorySegments, tmp_path: Path
) -> None:
    """It grows from nothing to its full size; without it the run ends elsewhere."""
    settings = replace(QUICK, epochs=1, attack_epochs=3, attack_ramp_epochs=1, steps_per_epoch=2)
    assert [settings.nepers_at(step, 2) for step in range(6)] == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
    attacked = train(few, "mel_full", settings, tmp_path / "attacked", options=SHAPE)
    calm = train(few, "mel_full", replace(settings, attack_nepers=0.0), tmp_path / "calm", options=SHAPE)

    assert attacked.epochs == 4
    assert attacked.best_epoch >= 3
    assert attacked.sha256 != calm.sha256
    hurried = train(few, "mel_full", replace(settings, minutes=1e-9), tmp_path / "hurried", options=SHAPE)
    assert hurried.best_epoch == hurried.epochs == 1
