"""Data sets as they are published: which files there are, and where their labels stand.

Each loader goes through a folder as its archive unpacks and yields a recording, or why a file is left out.
Nothing is heard here: whether a file is a sound at all, `scan` finds out.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bridge.audio.formats import AUDIO_SUFFIXES
from bridge.datasets.table import Recording, read_table
from bridge.errors import InputError

__all__ = ["LOADERS", "LeftOut", "Loader", "Loading"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that gives no recording.

    Args:
        path: The file.
        reason: Why, in words that files with the same fault share.
    """

    path: Path
    reason: str


Loading = Iterator[Recording | LeftOut]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """How one kind of folder is read.

    Args:
        load: Goes through it.
        holds: What such a folder holds, for a message.
        licence: Of its recordings.
    """

    load: Callable[[Path], Loading]
    holds: str
    licence: str = ""


def _audio_below(folder: Path) -> Iterator[Path | LeftOut]:
    """Go through all files below a folder in order; hidden ones are nobody's recordings."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in AUDIO_SUFFIXES:
                yield LeftOut(path, "not an audio file by its suffix")
            else:
                yield path


def _find_root(folder: Path, *inside: str) -> Path | None:
    """Return a folder that holds something, itself or the one folder an archive unpacked into it."""
    candidates = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    return next((path for path in candidates if any((path / name).exists() for name in inside)), None)


def _not_there(folder: Path, kind: str) -> InputError:
    fitting = [
        name
        for name, marks in _MARKS.items()
        if name != kind and any(_find_root(folder, mark) for mark in marks)
    ]
    hint = f"; it looks like --as {fitting[0]}" if fitting else ""
    return InputError(f"{folder}: --as {kind} needs a folder that holds {LOADERS[kind].holds}{hint}")


_MARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "nsynth": ("nsynth-train", "nsynth-valid", "nsynth-test", "examples.json"),
    "irmas": (
        "IRMAS-TrainingData",
        "IRMAS-TestingData-Part1",
        "IRMAS-TestingData-Part2",
        "IRMAS-TestingData-Part3",
    ),
    "esc50": ("meta/esc50.csv",),
    "urbansound8k": ("metadata/UrbanSound8K.csv",),
}
"""What tells a published set from another folder."""


def _load_folders(folder: Path) -> Loading:
    for path in _audio_below(folder):
        if isinstance(path, LeftOut):
            yield path
        elif path.parent == folder:
            yield LeftOut(path, "beside the folders of the classes, not in one")
        else:
            inside = path.relative_to(folder)
            yield Recording(path=path, label=inside.parts[0], group=inside.as_posix())


def _load_nsynth(folder: Path) -> Loading:
    root = _find_root(folder, *_MARKS["nsynth"])
    if root is None:
        raise _not_there(folder, "nsynth")
    parts = [root] if (root / "examples.json").is_file() else sorted(root.glob("nsynth-*"))
    splits = {"nsynth-train": "train", "nsynth-valid": "validation", "nsynth-test": "test"}
    for part in parts:
        if part.is_dir():
            yield from _load_nsynth_part(part, splits.get(part.name, ""))


def _load_nsynth_part(part: Path, split: str) -> Loading:
    index, audio = part / "examples.json", part / "audio"
    try:
        examples = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{index}: is missing; NSynth's archives hold it beside audio/") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{index}: is no JSON ({error}); unpack the archive again") from None
    there = {path.name for path in audio.iterdir()} if audio.is_dir() else set()
    for name, about in sorted(examples.items()):
        path = audio / f"{name}.wav"
        if path.name not in there:
            yield LeftOut(path, "in examples.json, but there is no such file")
            continue
        there.discard(path.name)
        try:
            yield Recording(
                path=path,
                label=str(about["instrument_family_str"]),
                group=str(about.get("instrument_str", about["instrument"])),
                pitch=int(about["pitch"]),
                velocity=int(about["velocity"]),
                source=str(about["instrument_source_str"]),
                split=split,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            yield LeftOut(path, "examples.json does not say what it is")
    for name in sorted(there):
        yield LeftOut(audio / name, "not in examples.json")


_PHILHARMONIA: Final = re.compile(
    r"^(?P<instrument>.+?)_(?P<note>[A-G]s?\d)?_(?P<length>[^_]+)_(?P<dynamic>[^_]+)_(?P<articulation>[^_]+)$"
)
_STEPS: Final = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def _load_philharmonia(folder: Path) -> Loading:
    n_found = 0
    for path in _audio_below(folder):
        if isinstance(path, LeftOut):
            yield path
            continue
        found = _PHILHARMONIA.match(path.stem)
        if found is None:
            yield LeftOut(path, "its name is not instrument_NOTE_LENGTH_DYNAMIC_ARTICULATION")
            continue
        n_found += 1
        instrument = found["instrument"].replace("-", " ")
        is_percussion = "percussion" in path.relative_to(folder).parts[:-1]
        yield Recording(
            path=path,
            label="percussion" if is_percussion else instrument,
            # One note played short, long, softly and loudly by one player is one thing heard several times.
            group=f"{instrument} {found['note'] or ''}".strip(),
            pitch=_philharmonia_key(found["note"]) if found["note"] else -1,
            source="acoustic",
        )
    if not n_found:
        raise _not_there(folder, "philharmonia")


def _philharmonia_key(note: str) -> int:
    """Return the MIDI key of a note as Philharmonia's files name it, where middle C is C4.

    >>> _philharmonia_key("A4"), _philharmonia_key("As4")
    (69, 70)
    """
    return _STEPS[note[0]] + note.count("s") + 12 * (int(note[-1]) + 1)


_IRMAS: Final = {
    "cel": "cello", "cla": "clarinet", "flu": "flute", "gac": "acoustic guitar", "gel": "electric guitar",
    "org": "organ", "pia": "piano", "sax": "saxophone", "tru": "trumpet", "vio": "violin", "voi": "voice",
}  # fmt: skip


def _load_irmas(folder: Path) -> Loading:
    root = _find_root(folder, *_MARKS["irmas"])
    if root is None:
        raise _not_there(folder, "irmas")
    training = root / "IRMAS-TrainingData"
    for path in _audio_below(training):
        if isinstance(path, LeftOut):
            yield path
            continue
        number = re.search(r"(\d+)__\d+$", path.stem)
        if path.parent.name not in _IRMAS:
            yield LeftOut(path, "in none of the folders cel, cla, flu ... voi")
        elif number is None:
            yield LeftOut(path, "its name does not end in NUMBER__EXCERPT")
        else:
            yield Recording(
                path=path, label=_IRMAS[path.parent.name], group=f"training {number[1]}", split="train"
            )
    for part in sorted(root.glob("IRMAS-TestingData-Part*")):
        for path in _audio_below(part):
            if isinstance(path, Path):
                yield _irmas_test(path)
            elif path.path.suffix != ".txt":
                yield path


def _irmas_test(path: Path) -> Recording | LeftOut:
    tags = path.with_suffix(".txt")
    if not tags.is_file():
        return LeftOut(path, "no .txt of tags beside it")
    found = tags.read_text(encoding="utf-8", errors="replace").split()
    if len(found) != 1:
        return LeftOut(path, "several instruments at once, or none")
    if found[0] not in _IRMAS:
        return LeftOut(path, "its tag is none of cel, cla, flu ... voi")
    piece = re.sub(r"-\d+$", "", path.stem)
    return Recording(path=path, label=_IRMAS[found[0]], group=f"testing {piece}", split="test")


def _load_esc50(folder: Path) -> Loading:
    root = _find_root(folder, *_MARKS["esc50"])
    if root is None:
        raise _not_there(folder, "esc50")
    yield from _by_index(
        root / "meta" / "esc50.csv",
        root / "audio",
        lambda row: row["filename"],
        lambda row: {"label": row["category"], "group": row["src_file"], "split": f"fold{int(row['fold'])}"},
    )


def _load_urbansound8k(folder: Path) -> Loading:
    root = _find_root(folder, *_MARKS["urbansound8k"])
    if root is None:
        raise _not_there(folder, "urbansound8k")
    # start and end tell where the slice was cut from; the file holds nothing but the slice.
    yield from _by_index(
        root / "metadata" / "UrbanSound8K.csv",
        root / "audio",
        lambda row: f"fold{int(row['fold'])}/{row['slice_file_name']}",
        lambda row: {"label": row["class"], "group": row["fsID"], "split": f"fold{int(row['fold'])}"},
    )


def _by_index(
    index: Path,
    audio: Path,
    name_of: Callable[[Mapping[str, str]], str],
    read: Callable[[Mapping[str, str]], dict[str, Any]],
) -> Loading:
    """Go through a CSV that names files, then through the files that it does not name."""
    named = set()
    with index.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            try:
                path, about = audio / name_of(row), read(row)
            except (KeyError, TypeError, ValueError):
                yield LeftOut(index, f"lines of {index.name} lack a column or a number")
                continue
            named.add(path)
            if path.is_file():
                yield Recording(path=path, **about)
            else:
                yield LeftOut(path, f"in {index.name}, but there is no such file")
    for found in _audio_below(audio):
        if isinstance(found, LeftOut):
            yield found
        elif found not in named:
            yield LeftOut(found, f"not in {index.name}")


def _load_csv(folder: Path) -> Loading:
    tables = [folder] if folder.is_file() else sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        raise InputError(f"{folder}: holds {len(tables)} .csv files; name the table itself")
    for recording in read_table(tables[0]):
        if recording.path.is_file():
            yield recording
        else:
            yield LeftOut(recording.path, f"in {tables[0].name}, but there is no such file")


LOADERS: Final[Mapping[str, Loader]] = {
    "folders": Loader(load=_load_folders, holds="a folder of sounds for each class"),
    "nsynth": Loader(
        load=_load_nsynth,
        holds="nsynth-train, nsynth-valid or nsynth-test, each with examples.json and audio/",
        licence="CC BY 4.0",
    ),
    "philharmonia": Loader(
        load=_load_philharmonia,
        holds="files as violin_A3_1_forte_arco-normal.mp3",
        licence="CC BY-SA 3.0",
    ),
    "irmas": Loader(
        load=_load_irmas, holds="IRMAS-TrainingData or IRMAS-TestingData-Part1", licence="CC BY-NC-SA"
    ),
    "esc50": Loader(load=_load_esc50, holds="meta/esc50.csv and audio/", licence="CC BY-NC"),
    "urbansound8k": Loader(
        load=_load_urbansound8k,
        holds="metadata/UrbanSound8K.csv and audio/fold1 ... fold10",
        licence="CC BY-NC",
    ),
    "csv": Loader(load=_load_csv, holds="one table with the columns path and label"),
}
"""Every kind of folder that `scan` knows, by its name."""
