"""Prepared data sets, written one segment at a time: the folder appears whole or not at all."""

from __future__ import annotations

import csv
import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from dream_core.errors import DataError
from dream_core.files import hash_file, private_folder
from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.training.augmentation import level_to
from dream_core.training.segment_notes import NOTES_COLUMNS, SegmentNote
from dream_core.training.segments import (
    COLUMNS,
    FORMAT,
    FULL_SCALE,
    SPLITS,
    StoredSegments,
    open_segments,
    shard_name,
    stored_shape,
)

__all__ = ["SHARD_SEGMENTS", "Segment", "check_folder", "name_folder", "write_segments"]

SHARD_SEGMENTS: Final = 65536
"""At most so many lie in one file."""

ENCODED_DBFS: Final = -20.0
"""Level of each segment of which frames are kept: that at which networks are trained."""

_HEADER_BYTES: Final = 256
"""Room for a shard's header, which is written last: only then is it known how many segments there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment, and where it comes from.

    Args:
        samples: int16, ``(segment_samples,)``.
        label: Name of its class.
        group: What it must never be parted from.
        split: 0 train, 1 validation, 2 test.
        pitch: MIDI key, -1 where unknown.
        path: The recording.
        start_s: Where in the recording it begins, in seconds.
        stretch: How many times as long it was made.
        notes: Which keys are down in it, and when; None where that is not known.
    """

    samples: NDArray[np.int16]
    label: str
    group: str
    split: int
    pitch: int = -1
    path: str = ""
    start_s: float = 0.0
    stretch: int = 1
    notes: Sequence[SegmentNote] | None = None


def write_segments(
    folder: Path,
    segments: Iterable[Segment],
    *,
    classes: Sequence[str],
    sample_rate: int,
    segment_samples: int,
    licence: str = "",
    made_by: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    shard_segments: int = SHARD_SEGMENTS,
    encoding: FrontendSpec | None = None,
) -> StoredSegments:
    """Write a prepared set; one segment at a time is in memory.

    Args:
        folder: Where it goes.
        segments: All of them, in order.
        classes: Names; every segment's label is one.
        sample_rate: Hz.
        segment_samples: Length of each.
        licence: Of the recordings.
        made_by: What made it: strings, numbers, lists of them, and tables of those; read when the
            last segment is written.
        overwrite: Whether a prepared set of that name may be replaced.
        shard_segments: At most so many in one file.
        encoding: The front end whose frames are kept, as float16, in place of the sounds.

    Raises:
        DataError: The folder exists and may not be replaced, or there are no segments.
        OSError: It cannot be written; nothing is left of it.

    >>> import tempfile
    >>> tone = Segment(samples=np.ones(8, np.int16), label="tone", group="a", split=0)
    >>> kept = write_segments(
    ...     Path(tempfile.mkdtemp()) / "set", [tone, tone], classes=["tone"], sample_rate=8, segment_samples=8
    ... )
    >>> kept.sounds(np.array([1])).shape, kept.licence
    (torch.Size([1, 8]), '')
    """
    check_folder(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with private_folder(folder.parent) as private:
        work = private / "set"
        work.mkdir()
        sizes: list[int] = []
        store = _Store(segment_samples, encoding)
        noted = _NoteWriter(work / "notes.csv")
        rest = noted.passing(segments)
        table = work / "segments.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for first in rest:
                shard = chain([first], islice(rest, shard_segments - 1))
                sizes.append(_write_shard(work / shard_name(len(sizes)), shard, store, writer))
        if not sizes:
            raise DataError(f"{folder}: there are no segments to write")
        record = {
            "format": FORMAT,
            "classes": list(classes),
            "sample_rate": sample_rate,
            "segment_samples": segment_samples,
            "licence": licence,
            **({"encoding": asdict(encoding)} if encoding else {}),
            "segments_sha256": hash_file(table),
            **({"notes_sha256": hash_file(noted.path)} if noted.path.exists() else {}),
            "made_by": dict(made_by or {}),
            "shards": [
                {"n_segments": size, "sha256": hash_file(work / shard_name(index))}
                for index, size in enumerate(sizes)
            ],
        }
        (work / "prepared.toml").write_text("".join(_toml_lines(record)), encoding="utf-8")
        open_segments(work)  # what cannot be read again gets no name
        check_folder(folder, overwrite=overwrite)  # it may have come meanwhile
        name_folder(work, folder, private / "before")
    return open_segments(folder)


@dataclass(frozen=True, slots=True)
class _NoteWriter:
    """Writes the notes of segments that pass; a file only where some segment has its notes told."""

    path: Path

    def passing(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        """Yield the segments as they are."""
        with ExitStack() as files:
            writer: Any = None
            for number, segment in enumerate(segments):
                if writer is None and segment.notes is not None:
                    file = files.enter_context(self.path.open("w", encoding="utf-8", newline=""))
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow(NOTES_COLUMNS)
                for one in segment.notes or ():
                    writer.writerow((number, one.pitch, f"{one.start_s:.6f}", f"{one.end_s:.6f}"))
                yield segment


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace a folder, unless it is a prepared set and that is allowed.

    Raises:
        DataError: It is there.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "prepared.toml").is_file():
        raise DataError(f"{folder}: exists and is no prepared set; give another name")
    if not overwrite:
        raise DataError(f"{folder}: exists already; give another name, or allow it with --overwrite")


def name_folder(work: Path, folder: Path, aside: Path) -> None:
    """Give a finished folder its name; what had it before goes aside."""
    if folder.exists():
        folder.rename(aside)
    try:
        work.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise


class _Store:
    """Turns a segment into the bytes that are kept of it.

    Args:
        segment_samples: Length of each.
        encoding: The front end whose frames are kept; None keeps the samples.
    """

    def __init__(self, segment_samples: int, encoding: FrontendSpec | None) -> None:
        self.segment_samples = segment_samples
        self.shape = stored_shape(encoding, segment_samples)
        self.name, self.kind = ("waveforms", "I16") if encoding is None else ("log_mels", "F16")
        self._log_mel = None if encoding is None else LogMel(encoding, dtype=torch.float32)

    def pack(self, segment: Segment) -> bytes:
        """Return the bytes of a segment."""
        if self._log_mel is None:
            return segment.samples.astype("<i2").tobytes()
        sound = torch.from_numpy(segment.samples.astype(np.float32) / np.float32(FULL_SCALE))
        with torch.no_grad():
            frames = self._log_mel(level_to(sound[None], torch.tensor(ENCODED_DBFS)))[0]
        packed: bytes = frames.numpy().astype("<f2").tobytes()
        return packed


def _write_shard(path: Path, segments: Iterable[Segment], store: _Store, writer: Any) -> int:
    """Write a shard and its lines of the table; return how many segments it holds."""
    count = 0
    with path.open("wb") as file:
        file.write(b" " * (8 + _HEADER_BYTES))
        for segment in segments:
            if segment.samples.shape != (store.segment_samples,) or segment.samples.dtype != np.int16:
                raise DataError(
                    f"{segment.path}: a segment is {segment.samples.dtype} {segment.samples.shape}, not "
                    f"int16 ({store.segment_samples},)"
                )
            file.write(store.pack(segment))
            pitch = segment.pitch if segment.pitch >= 0 else ""
            split = SPLITS[segment.split]
            row = (segment.path, segment.label, segment.group, split, pitch, f"{segment.start_s:.6f}")
            writer.writerow((*row, segment.stretch))
            count += 1
        n_bytes = count * math.prod(store.shape) * 2
        tensor = {"dtype": store.kind, "shape": [count, *store.shape], "data_offsets": [0, n_bytes]}
        header = json.dumps({store.name: tensor}).encode().ljust(_HEADER_BYTES)
        file.seek(0)
        file.write(struct.pack("<Q", len(header)) + header)
    return count


def _toml_lines(record: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Write a table: its values first, then the tables in it."""
    tables = {key: value for key, value in record.items() if _is_table(value)}
    for key, value in record.items():
        if key not in tables:
            yield f"{_key(key)} = {_value(value)}\n"
    for key, value in tables.items():
        name = f"{prefix}{_key(key)}"
        for one in value if isinstance(value, list) else [value]:
            yield f"\n[[{name}]]\n" if isinstance(value, list) else f"\n[{name}]\n"
            yield from _toml_lines(one, f"{name}.")


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and _is_table(value[0]))


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").isalnum() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
