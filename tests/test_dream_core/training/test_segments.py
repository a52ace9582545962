"""Prepared sets on disk: what was written comes back, damage is refused, batches hold every class alike."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from dream_core.errors import DataError
from dream_core.training.segments import StoredSegments, open_segments
from dream_core.training.write_segments import Segment, write_segments

LENGTH = 64


def _segments(n: int) -> Iterator[Segment]:
    """Segment i is a constant i, of the class i mod 3, of a group of four; every fifth has no pitch."""
    for i in range(n):
        yield Segment(
            samples=np.full(LENGTH, i, np.int16),
            label=("bell", "drum", "voice, high")[i % 3],
            group=f'group "{i // 4}"',
            split=i // 4 % 3,
            pitch=-1 if i % 5 == 0 else 40 + i,
            path=f"夢/{i // 2}.wav",
            start_s=i / 10,
            stretch=1 + i % 2,
        )


def _write(folder: Path, n: int = 23, **more: object) -> StoredSegments:
    settings = {"classes": ["bell", "drum", "voice, high"], "sample_rate": 8000, "segment_samples": LENGTH}
    return write_segments(folder, _segments(n), **{**settings, **more})  # type: ignore[arg-type]


def test_what_was_written_comes_back_over_several_shards(tmp_path: Path) -> None:
    """Sounds in any order and across shards, and all that is said of them."""
    kept = _write(tmp_path / "set", shard_segments=10, licence="CC0", made_by={"a": {"b c": [1, 2.5]}})

    assert sorted(path.name for path in kept.folder.iterdir()) == [
        "prepared.toml", "segments-0000.safetensors", "segments-0001.safetensors",
        "segments-0002.safetensors", "segments.csv",
    ]  # fmt: skip
    rows = np.array([22, 0, 10, 9, 9])
    np.testing.assert_array_equal(kept.stored(rows), np.repeat(rows[:, None], LENGTH, axis=1))
    np.testing.assert_allclose(kept.sounds(rows).numpy()[:, 0] * 32767.0, rows, rtol=1e-6)  # float32
    assert (kept.licence, kept.classes, kept.sample_rate) == ("CC0", ("bell", "drum", "voice, high"), 8000)
    every = list(_segments(23))
    assert [kept.classes[label] for label in kept.labels] == [one.label for one in every]
    assert [kept.group_names[group] for group in kept.groups] == [one.group for one in every]
    assert [kept.path_names[path] for path in kept.paths] == [one.path for one in every]
    assert kept.splits.tolist() == [one.split for one in every]
    assert kept.pitches.tolist() == [one.pitch for one in every]
    kept.check()


def test_a_shard_is_a_safetensors_file(tmp_path: Path) -> None:
    """An independent reader finds the same samples."""
    _write(tmp_path / "set")

    loaded = safetensors.numpy.load_file(tmp_path / "set" / "segments-0000.safetensors")
    np.testing.assert_array_equal(loaded["waveforms"][:, 5], np.arange(23))


def test_another_process_can_be_handed_a_set(tmp_path: Path) -> None:
    """What is sent holds no sounds."""
    kept = _write(tmp_path / "set")
    sent = pickle.dumps(kept)

    np.testing.assert_array_equal(pickle.loads(sent).stored(np.array([7])), np.full((1, LENGTH), 7))
    assert b"segments-" not in sent


def test_the_same_set_has_the_same_hash_and_another_another(tmp_path: Path) -> None:
    first, again = _write(tmp_path / "a"), _write(tmp_path / "b", made_by={"table": "elsewhere"})

    assert first.sha256 == again.sha256
    assert _write(tmp_path / "c", n=22).sha256 != first.sha256
    assert _write(tmp_path / "d", sample_rate=16000).sha256 != first.sha256


def _cut_short(folder: Path) -> None:
    with (folder / "segments-0000.safetensors").open("r+b") as file:
        file.truncate(400)


def _cut_by_a_segment(folder: Path) -> None:
    path = folder / "segments-0000.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 2 * LENGTH)


def _other_labels(folder: Path) -> None:
    table = folder / "segments.csv"
    table.write_text(table.read_text().replace("drum", "bell"))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_cut_short, "segments-0000"),
        (_cut_by_a_segment, "segments-0000"),
        (_other_labels, "segments.csv"),
        (lambda folder: (folder / "segments-0000.safetensors").unlink(), "segments-0000"),
        (lambda folder: (folder / "segments.csv").unlink(), "segments.csv"),
        (lambda folder: (folder / "prepared.toml").write_text("format = 1\n"), "prepared.toml"),
        (lambda folder: (folder / "prepared.toml").write_text("format = 99\n"), "format 99"),
        (lambda folder: (folder / "prepared.toml").write_text("=\n"), "prepared.toml"),
        (lambda folder: (folder / "prepared.toml").unlink(), "no prepared set"),
    ],
)
def test_a_damaged_set_is_refused(tmp_path: Path, damage: object, named: str) -> None:
    """With the name of the file, and what to do."""
    _write(tmp_path / "set")
    damage(tmp_path / "set")  # type: ignore[operator]

    with pytest.raises(DataError, match=f"{named}.*[Pp]repare"):
        open_segments(tmp_path / "set")


def test_a_shard_with_another_byte_is_found_when_it_is_looked_for(tmp_path: Path) -> None:
    kept = _write(tmp_path / "set")
    with (tmp_path / "set" / "segments-0000.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")

    with pytest.raises(DataError, match="segments-0000"):
        kept.check()


def test_a_disk_that_is_full_leaves_nothing_half_done(tmp_path: Path) -> None:
    """In the middle of a shard; the set that was there stays, whole."""
    before = _write(tmp_path / "set", n=5)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, usual[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            _write(tmp_path / "set", n=3000, overwrite=True)
        with pytest.raises(OSError, match="too large"):
            _write(tmp_path / "new", n=3000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)

    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert open_segments(tmp_path / "set").sha256 == before.sha256


def test_what_is_there_is_replaced_only_when_allowed_and_only_a_set(tmp_path: Path) -> None:
    _write(tmp_path / "set")
    with pytest.raises(DataError, match="--overwrite"):
        _write(tmp_path / "set", n=3)
    assert len(_write(tmp_path / "set", n=3, overwrite=True)) == 3
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(DataError, match="no prepared set"):
        _write(tmp_path / "photos", overwrite=True)
    with pytest.raises(DataError, match="no segments"):
        _write(tmp_path / "none", n=0)
