"""Prepared data sets: segments of sound on disk, more than memory holds.

A prepared set is a folder: ``segments-0000.safetensors`` and so on hold the sounds as int16, or log-mel
frames of them as float16 (`encoding`),
``segments.csv`` says of each what it is, ``notes.csv``, where notes are known, which keys are down in it, and
``prepared.toml`` what made them, with the hash of every other file. Whoever draws batches of them
(`segment_rows`) sees `Segments` and nothing of that.

Conventions: a segment's level is that of its recording at full scale; splits are 0 train, 1 validation and
2 test.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dream_core.errors import DataError
from dream_core.files import hash_file
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.networks.mel_cnn import read_frontend
from dream_core.training.segment_notes import SegmentNotes, read_notes

__all__ = [
    "COLUMNS",
    "SPLITS",
    "Segments",
    "StoredSegments",
    "open_segments",
    "shard_name",
    "stored_shape",
]

SPLITS: Final = ("train", "validation", "test")
"""What the numbers of `Segments.splits` mean."""

COLUMNS: Final = ("path", "label", "group", "split", "pitch", "start_s", "stretch")
"""Of ``segments.csv``."""

FORMAT: Final = 1
"""Of the folder; another is refused."""

FULL_SCALE: Final = 32767.0


class Segments(Protocol):
    """A prepared data set: equally long sounds, and what each of them is.

    What is never split is a group: the recording, instrument or preset that a segment was cut from.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def segment_samples(self) -> int:
        """Length of each sound."""

    @property
    def licence(self) -> str:
        """Of the recordings; empty where unknown."""

    @property
    def sha256(self) -> str:
        """Of all of it: the same sounds and the same labels have the same."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """``(n,)`` index into the classes."""

    @property
    def groups(self) -> NDArray[np.int64]:
        """``(n,)`` number of the group."""

    @property
    def splits(self) -> NDArray[np.int8]:
        """``(n,)`` 0 train, 1 validation, 2 test."""

    @property
    def pitches(self) -> NDArray[np.int64]:
        """``(n,)`` MIDI key, -1 where unknown."""

    @property
    def encoding(self) -> FrontendSpec | None:
        """The front end whose frames are kept in place of sounds; None where sounds are."""

    def frames(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the kept frames of some rows, ``(len(rows), frames, mels)`` float32."""

    @property
    def notes(self) -> SegmentNotes | None:
        """Which keys are down in each, and when; None where that is not known."""

    def sounds(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the sounds of some rows, ``(len(rows), segment_samples)`` float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSegments:
    """A prepared set in a folder; see `Segments` for what the fields hold.

    Sounds stay on disk until they are asked for, and another process may be handed this object: it opens
    the shards for itself.

    Args:
        folder: Where it lies.
        classes: Names.
        sample_rate: Hz.
        segment_samples: Length of each sound.
        licence: Of the recordings.
        sha256: Of the hashes of the other files, and of what is said here.
        labels: Index into the classes.
        groups: Index into the names of the groups.
        splits: 0 train, 1 validation, 2 test.
        pitches: MIDI keys, -1 where unknown.
        group_names: What the groups are called.
        paths: Number of the recording's path in ``path_names``, of each segment.
        path_names: The recordings.
        starts: Number of the first segment in each shard, and of the one after the last.
        offsets: Where the samples begin in each shard, in bytes.
        notes: Which keys are down in each, and when; None where that is not known.
        encoding: The front end whose frames are kept in place of sounds; None where sounds are.
    """

    folder: Path
    classes: tuple[str, ...]
    sample_rate: int
    segment_samples: int
    licence: str
    sha256: str
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    splits: NDArray[np.int8]
    pitches: NDArray[np.int64]
    group_names: tuple[str, ...]
    paths: NDArray[np.int64]
    path_names: tuple[str, ...]
    starts: tuple[int, ...]
    offsets: tuple[int, ...]
    notes: SegmentNotes | None = None
    encoding: FrontendSpec | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def stored(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows as they are stored.

        Shape:
            ``(len(rows), segment_samples)`` int16, or ``(len(rows), frames, mels)`` float16.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{self.folder} holds segments 0 to {len(self) - 1}; asked for {rows.max()}")
        shape = stored_shape(self.encoding, self.segment_samples)
        kind = "<i2" if self.encoding is None else "<f2"
        found = np.empty((len(rows), *shape), dtype=kind)
        shards = np.searchsorted(np.asarray(self.starts), rows, side="right") - 1
        for shard in np.unique(shards):
            stored = np.memmap(
                self.folder / shard_name(int(shard)),
                dtype=kind,
                mode="r",
                offset=self.offsets[shard],
                shape=(self.starts[shard + 1] - self.starts[shard], *shape),
            )
            here = shards == shard
            found[here] = stored[rows[here] - self.starts[shard]]
        return found

    def sounds(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the sounds of some rows.

        Shape:
            ``(len(rows), segment_samples)`` float32, -1..1.

        Raises:
            DataError: The set keeps log-mel frames.
        """
        if self.encoding is not None:
            raise DataError(
                f"{self.folder}: keeps log-mel frames and no sounds, which are needed here; prepare the "
                "table again without --encode log_mel"
            )
        return torch.from_numpy(self.stored(rows).astype(np.float32) / np.float32(FULL_SCALE))

    def frames(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the kept log-mel frames of some rows, each segment at -20 dBFS.

        Shape:
            ``(len(rows), frames, mels)`` float32.
        """
        if self.encoding is None:
            raise DataError(f"{self.folder}: keeps sounds and no log-mel frames")
        return torch.from_numpy(self.stored(rows).astype(np.float32))

    def check(self) -> None:
        """Compare every byte of the sounds with the hashes kept; opening looks at sizes alone.

        Raises:
            DataError: A shard holds other bytes than were written.
        """
        record = _read_record(self.folder)
        for index, shard in enumerate(record["shards"]):
            if hash_file(self.folder / shard_name(index)) != shard["sha256"]:
                raise _damaged(self.folder / shard_name(index), "its bytes are not those that were written")


def stored_shape(encoding: FrontendSpec | None, segment_samples: int) -> tuple[int, ...]:
    """Return the shape of one segment as it is stored."""
    return (segment_samples,) if encoding is None else (encoding.n_frames(segment_samples), encoding.n_mels)


def shard_name(index: int) -> str:
    """Return what a shard is called.

    >>> shard_name(3)
    'segments-0003.safetensors'
    """
    return f"segments-{index:04d}.safetensors"


def open_segments(folder: Path) -> StoredSegments:
    """Open a prepared set; its sounds stay on disk.

    Args:
        folder: What `reverie data prepare` wrote.

    Raises:
        DataError: The folder is none, or a file of it is missing, cut short or of another set.
    """
    record = _read_record(folder)
    table = folder / "segments.csv"
    try:
        if not table.is_file():
            raise _damaged(table, "it is missing")
        if hash_file(table) != record["segments_sha256"]:
            raise _damaged(table, "it is not the table that was written with the sounds")
        classes = tuple(str(one) for one in record["classes"])
        sizes = [int(shard["n_segments"]) for shard in record["shards"]]
        encoding = read_frontend(record["encoding"]) if "encoding" in record else None
        shape = stored_shape(encoding, int(record["segment_samples"]))
        offsets = tuple(
            _find_samples(folder / shard_name(index), (size, *shape), encoding is not None)
            for index, size in enumerate(sizes)
        )
        rows = _read_table(table, classes, sum(sizes))
        notes = _read_notes(folder / "notes.csv", record, sum(sizes))
        return StoredSegments(
            folder=folder,
            classes=classes,
            sample_rate=int(record["sample_rate"]),
            segment_samples=int(record["segment_samples"]),
            licence=str(record["licence"]),
            sha256=_hash_of_all(record),
            starts=tuple(int(start) for start in np.cumsum([0, *sizes])),
            offsets=offsets,
            notes=notes,
            encoding=encoding,
            **rows,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(folder / "prepared.toml", f"{type(error).__name__}: {error}") from None


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / "prepared.toml"
    if not path.is_file():
        raise DataError(
            f"{folder}: is no prepared set, which has a prepared.toml; make one with "
            f"`reverie data prepare data.csv --out {folder}`"
        )
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _damaged(path, str(error)) from None
    if record.get("format") != FORMAT:
        found = record.get("format")
        raise DataError(f"{path}: format {found!r}; this version reads {FORMAT}. Prepare it again")
    return record


def _read_notes(path: Path, record: Mapping[str, Any], n_segments: int) -> SegmentNotes | None:
    if "notes_sha256" not in record:
        return None
    if not path.is_file():
        raise _damaged(path, "it is missing")
    if hash_file(path) != record["notes_sha256"]:
        raise _damaged(path, "it is not what was written with the sounds")
    return read_notes(path, n_segments)


def _hash_of_all(record: Mapping[str, Any]) -> str:
    told = {key: value for key, value in record.items() if key != "made_by"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _find_samples(path: Path, shape: tuple[int, ...], are_frames: bool) -> int:
    """Return where a shard's samples begin, once they are known to be all there."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise _damaged(path, "it is missing")
    try:
        with safe_open(path, framework="numpy") as file:
            kept = file.get_slice("log_mels" if are_frames else "waveforms")
            found = (tuple(kept.get_shape()), kept.get_dtype())
    except SafetensorError as error:
        raise _damaged(path, str(error)) from None
    kind = "F16" if are_frames else "I16"
    if found != (shape, kind):
        raise _damaged(path, f"it holds {found[1]} of {found[0]}, not {kind} of {shape}")
    return path.stat().st_size - math.prod(shape) * 2


def _read_table(path: Path, classes: tuple[str, ...], n_segments: int) -> dict[str, Any]:
    index = {name: number for number, name in enumerate(classes)}
    groups: dict[str, int] = {}
    paths: dict[str, int] = {}
    numbers = np.empty((5, n_segments), dtype=np.int64)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        n_read = 0
        for row in reader:
            if n_read < n_segments:
                numbers[:, n_read] = (
                    index[row["label"]],
                    groups.setdefault(row["group"], len(groups)),
                    SPLITS.index(row["split"]),
                    int(row["pitch"] or -1),
                    paths.setdefault(row["path"], len(paths)),
                )
            n_read += 1
    if n_read != n_segments:
        raise _damaged(path, f"it names {n_read} segments, the shards hold {n_segments}")
    return {
        "labels": numbers[0],
        "groups": numbers[1],
        "splits": numbers[2].astype(np.int8),
        "pitches": numbers[3],
        "paths": numbers[4],
        "group_names": tuple(groups),
        "path_names": tuple(paths),
    }


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: damaged: {reason}. Prepare the set again with `reverie data prepare`")
