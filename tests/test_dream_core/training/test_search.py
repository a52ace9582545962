"""The search: what it tries, how its bounds move, and that it goes on as if it had not been stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.segments import MemorySegments, additive, played

from dream_core.errors import SettingError
from dream_core.training.learners import KINDS, learner_for
from dream_core.training.run_settings import RunSettings
from dream_core.training.search import SearchBudget, TrialReport, search
from dream_core.training.search_space import options_from, recentre, space_of

SETTINGS = RunSettings(epochs=4, steps_per_epoch=2, batch_size=8, calibration_batches=1)
KIND, BASE = "embedding_head", "texture:frames8"


@pytest.fixture(scope="module")
def few() -> MemorySegments:
    """Three classes, small."""
    return additive(n_classes=3, groups_per_class=6, segments_per_group=2, seconds=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_every_corner_of_a_space_is_a_network(kind: str) -> None:
    """Names and limits of what is tried are those of the kind's options."""
    one_second = additive(n_classes=2, groups_per_class=5, segments_per_group=1, seconds=1.0)
    if kind == "keys":
        one_second = played(4)
    base = BASE if kind == "embedding_head" else ""
    for at in ("low",) if kind.startswith("mel_vgg") else ("low", "high"):
        settings, options = options_from(kind, {one.name: getattr(one, at) for one in space_of(kind)})
        RunSettings(**settings)
        learner_for(kind, options, one_second, "mine", 0, base)


def test_bounds_move_to_a_best_at_their_edge_and_no_others() -> None:
    space = space_of("mel_conv2d")
    best = {one.name: (one.low + one.high) / 2 for one in space}
    best |= {"learning_rate": 9.9e-3, "filters": 128, "blocks": 7, "dropout": 0.0}

    moved, told = recentre(space, best)
    now = {one.name: one for one in moved}

    # Its middle is the best, it is as wide in ratios as it was.
    assert now["learning_rate"].place(9.9e-3) == pytest.approx(0.5)
    assert now["learning_rate"].high / now["learning_rate"].low == pytest.approx(1e3)
    assert (now["filters"].low, now["filters"].high) == (68, 188)
    # More than seven blocks, or less than no dropout, make no sense.
    assert {name: now[name] for name in ("blocks", "dropout", "strength")} == {
        one.name: one for one in space if one.name in ("blocks", "dropout", "strength")
    }
    assert [line.partition(":")[0] for line in told] == ["learning_rate", "filters"]


def test_without_optuna_one_line_says_what_to_call(
    few: MemorySegments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(SettingError, match=r"pip install 'reverie-audio\[train\]'"):
        search(few, "mel_full", SETTINGS, SearchBudget(), tmp_path / "run")


def test_two_workers_on_one_search_share_its_trials_and_do_none_twice(
    few: MemorySegments, tmp_path: Path
) -> None:
    """By Gaussian process: every place is taken once, whoever was first; others are kept out meanwhile."""
    optuna = pytest.importorskip("optuna", reason="the extra train is not installed")
    told: list[TrialReport] = []
    folder = tmp_path / "both"

    def report(one: TrialReport) -> None:
        told.append(one)
        if one.number == 1:
            with pytest.raises(SettingError, match="another process is at work there"):
                search(
                    few,
                    KIND,
                    SETTINGS,
                    SearchBudget(trials=1),
                    folder,
                    base=BASE,
                    resume=True,
                )

    made = search(
        few,
        KIND,
        SETTINGS,
        SearchBudget(trials=5),
        folder,
        report,
        base=BASE,
        sampler="gp",
        jobs=2,
    )

    journal = optuna.storages.journal.JournalFileBackend(str(folder / "search.journal"))
    study = optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(journal))
    assert sorted(one.user_attrs["done"] for one in study.get_trials()) == [0, 1, 2, 3, 4]
    assert len({tuple(one.params.values()) for one in study.get_trials()}) == 5
    assert len(told) == 5
    assert made.path.exists()
    # What is tried is part of a search: it is not gone on with by another sampler.
    with pytest.raises(SettingError, match="sampler was 'gp', is 'tpe'"):
        search(few, KIND, SETTINGS, SearchBudget(trials=6), folder, base=BASE, resume=True)


def test_a_search_of_another_kind_or_space_is_refused_and_none_is_gone_on_with_unasked(
    few: MemorySegments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna", reason="the extra train is not installed")
    budget = SearchBudget(trials=1)
    search(few, "embedding_head", SETTINGS, budget, tmp_path / "run", base=BASE)
    with pytest.raises(SettingError, match="kind was 'embedding_head', is 'mel_full'"):
        search(few, "mel_full", SETTINGS, budget, tmp_path / "run", resume=True)
    with pytest.raises(SettingError, match="--resume goes on with it"):
        search(few, "embedding_head", SETTINGS, budget, tmp_path / "run", base=BASE)
    monkeypatch.setattr("dream_core.training.search.space_of", lambda kind: space_of(kind)[1:])

    with pytest.raises(SettingError, match="what is tried is another"):
        search(few, "embedding_head", SETTINGS, budget, tmp_path / "run", base=BASE, resume=True)


def test_samplers_that_are_not_there_are_told(
    few: MemorySegments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna", reason="the extra train is not installed")
    with pytest.raises(SettingError, match="--sampler tpu: did you mean 'tpe'"):
        search(few, "mel_full", SETTINGS, SearchBudget(), tmp_path / "run", sampler="tpu")
    monkeypatch.delattr(optuna.samplers, "GPSampler")
    with pytest.raises(SettingError, match="--sampler gp needs Optuna 4 or newer"):
        search(few, "mel_full", SETTINGS, SearchBudget(), tmp_path / "run", sampler="gp")
