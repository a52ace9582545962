"""A table of recordings becomes a prepared set: decoded, trimmed, dealt out by group, cut, written.

Recordings are decoded one at a time into a file beside the set to come; then it is known how much there is of
every class, and the set is written. Neither step holds more than one recording.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from bridge.arrays import Float32Array
from bridge.datasets.decode import read_mono
from bridge.datasets.played import read_played
from bridge.datasets.scan import Reasons
from bridge.datasets.table import Recording, list_mistakes, read_table, shown_path
from bridge.errors import AudioFileError, InputError, nearest_names
from bridge.files import hash_file, private_folder, remove_leftovers
from dream_core.training.cutting import choose_divisors, cut, n_starts, stretch, trim
from dream_core.training.encoded import encoding_for
from dream_core.training.segment_notes import SegmentNote
from dream_core.training.segments import FULL_SCALE, StoredSegments
from dream_core.training.splitting import Group, Sides, check_folds, find_joined, split_groups
from dream_core.training.write_segments import Segment, check_folder, write_segments

__all__ = ["PrepareSettings", "Prepared", "prepare_table"]

STRETCH: Final = 2
_PIECE_SEGMENTS: Final = 32
"""A long recording is stretched in pieces of so many segments: memory stays, however long it is."""

_SIDES: Final = {
    "train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2, "testing": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """How a set is prepared.

    Args:
        sample_rate: Hz of the set, 8000 or more.
        segment_s: Length of a segment, in seconds, above 0.
        split: ``group``, or ``segment``, which lets a network be tested on what it has heard.
        folds: Shares of train, validation and test.
        seed: Of what is dealt out.
        trim_db: What is below at both ends is cut off, in dB relative to the recording's peak, below 0.
        stretches: Whether classes below the median get stretched copies in train, unless these would make
            them the largest.
        knows: Whether the caller knows what splitting by segment means.
        encode: ``waveform``, or ``log_mel`` to keep frames of 64 bands in place of sounds, a third as large.
    """

    sample_rate: int = 22050
    segment_s: float = 1.0
    split: str = "group"
    folds: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    trim_db: float = -45.0
    stretches: bool = True
    knows: bool = False
    encode: str = "waveform"

    def __post_init__(self) -> None:
        """Check what does not fit together."""
        check_folds(self.folds)
        if not 8000 <= self.sample_rate <= 192_000:
            raise InputError(f"--rate {self.sample_rate}: must lie in 8000..192000 Hz")
        if not 0.05 <= self.segment_s <= 60.0:
            raise InputError(f"--segment {self.segment_s:g}: must lie in 0.05..60 s")
        if not -120.0 <= self.trim_db < 0.0:
            raise InputError(f"--trim {self.trim_db:g}: must lie in -120..0 dB, below the recording's peak")
        if self.encode not in ("waveform", "log_mel"):
            raise InputError(f"--encode {self.encode}: {nearest_names(self.encode, ['waveform', 'log_mel'])}")
        if self.split not in ("group", "segment"):
            raise InputError(f"--split {self.split}: group or segment; group keeps a recording on one side")
        if self.split == "segment" and not self.knows:
            raise InputError(
                "--split segment lets pieces of one recording stand on both sides, so a network is tested on "
                "what it has heard: a trial told 84% where unheard instruments got 23%. Use --split group, "
                "or say --i-know"
            )

    @property
    def segment_samples(self) -> int:
        """Length of a segment at the set's rate."""
        return round(self.segment_s * self.sample_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A set, and what became of the table's lines.

    Args:
        segments: The set.
        left_out: Recordings without a segment, by reason.
        failed: Messages of the files that cannot be read.
        notes: What the user should know.
    """

    segments: StoredSegments
    left_out: Reasons
    failed: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Kept:
    """Recordings in the scratch file: which line of the table, where, how long, and where they began."""

    rows: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)


def prepare_table(
    table: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    *,
    overwrite: bool = False,
    report: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Prepared:
    """Prepare a table of recordings; the set appears whole or not at all.

    A file that cannot be read is named, and the others go on. The same sound a second time is left out.

    Args:
        table: As `scan` writes it.
        out: The folder of the set.
        settings: How.
        overwrite: Whether a prepared set of that name may be replaced.
        report: Told what is being done, how much of it, and of how much.

    Raises:
        InputError: Lines of the table make no sense, files are missing, or nothing is left of a class.
        DataError: A class has one group, or the folder may not be replaced.
        OSError: It cannot be written; nothing is left of it.
    """
    settings = settings or PrepareSettings()
    check_folder(out, overwrite=overwrite)
    recordings = read_table(table)
    _check_there(recordings, table)
    sides_of_names(one.split for one in recordings)  # before an hour of decoding
    left_out, failed = Reasons(), list[str]()
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out.parent)
    with _naming(out), private_folder(out.parent) as folder, (folder / "sounds").open("w+b") as scratch:
        kept = _decode(recordings, scratch, settings, left_out, failed, report)
        counts = Counter(recordings[row].label for row in kept.rows)
        gone = sorted({one.label for one in recordings} - set(counts))
        if gone:
            told = "; ".join([*failed[:3], *left_out.lines()])
            raise InputError(f"{table}: nothing is left of {', '.join(gone)}: {told}")
        sides, notes = _deal(recordings, kept, settings)
        noted = read_played(table.with_name("notes.csv"))
        cutting = _Cutting(
            recordings, kept, scratch, settings, sides, table.absolute().parent, left_out, noted
        )
        made_by = cutting.plan(table)
        segments = write_segments(
            out,
            cutting.segments(report),
            classes=sorted(counts),
            sample_rate=settings.sample_rate,
            segment_samples=settings.segment_samples,
            licence=" + ".join(sorted({recordings[row].licence or "unknown" for row in kept.rows})),
            made_by=made_by,
            overwrite=overwrite,
            encoding=encoding_for(settings.sample_rate) if settings.encode == "log_mel" else None,
        )
    return Prepared(segments=segments, left_out=left_out, failed=tuple(failed), notes=tuple(notes))


@contextmanager
def _naming(out: Path) -> Iterator[None]:
    """Say which set could not be written: a full disk is met in the middle of a file without a name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(out)
        raise


def sides_of_names(names: Iterator[str] | Sequence[str]) -> dict[str, int]:
    """Return the side that each name in the column split stands for, -1 for none.

    Of numbered folds the last is for the test, the one before it for validation.

    Raises:
        InputError: A name stands for none, or names and numbers are mixed.

    >>> sides_of_names(["fold1", "fold2", "fold3", "fold4", "fold5"])
    {'fold1': 0, 'fold2': 0, 'fold3': 0, 'fold4': 1, 'fold5': 2}
    """
    found = sorted(set(names))
    matches = {name: re.fullmatch(r"(?:fold)? ?(\d{1,6})", name.casefold()) for name in found}
    folds = {name: int(match[1]) for name, match in matches.items() if match}
    wrong = [name for name in found if name and name not in folds and name.casefold() not in _SIDES]
    if wrong or (folds and len(folds) + ("" in found) < len(found)):
        raise InputError(
            f"column split: {', '.join(wrong or found)}: it holds train, validation and test, or fold1, "
            "fold2 ..., or nothing"
        )
    order = sorted(set(folds.values()))
    if len(order) == 1:
        raise InputError(f"column split: fold{order[0]} is the only fold, so nothing could be tested")
    later = dict(zip(order[::-1], (2, 1)[: len(order) - 1], strict=False))
    return {
        name: later.get(folds[name], 0) if name in folds else _SIDES[name.casefold()] if name else -1
        for name in found
    }


def _check_there(recordings: Sequence[Recording], table: Path) -> None:
    missing = [str(path) for path in dict.fromkeys(one.path for one in recordings) if not path.is_file()]
    if missing:
        raise InputError(
            f"{table}: {len(missing)} of its files {'is' if len(missing) == 1 else 'are'} not there: "
            f"{list_mistakes(missing)}. Scan again, or set the column path right"
        )


def _decode(
    recordings: Sequence[Recording],
    scratch: BinaryIO,
    settings: PrepareSettings,
    left_out: Reasons,
    failed: list[str],
    report: Callable[[str, int, int], None],
) -> _Kept:
    """Write what sounds of each recording to the scratch file, at full scale."""
    kept = _Kept()
    heard: dict[bytes, int] = {}
    offset = 0
    for row, recording in enumerate(recordings):
        report("decoding", row, len(recordings))
        try:
            mono = read_mono(recording, settings.sample_rate)
        except AudioFileError as error:
            failed.append(str(error))
            continue
        sounding = trim(mono, settings.trim_db)
        samples = mono[sounding]
        if len(samples) == 0:
            left_out.add("silent", recording.path)
            continue
        stored = _integers(samples / np.abs(samples).max())
        first = heard.setdefault(hashlib.sha256(stored.tobytes()).digest(), row)
        if first != row:
            other = recordings[first]
            of = "" if other.label == recording.label else f", which is {other.label}, not {recording.label}"
            left_out.add(f"the same sound as another recording{of}", f"{recording.path} and {other.path}")
            continue
        scratch.write(stored.tobytes())
        kept.rows.append(row)
        kept.offsets.append(offset)
        kept.lengths.append(len(stored))
        kept.starts.append(sounding.start)
        offset += stored.nbytes
    return kept


def _deal(
    recordings: Sequence[Recording], kept: _Kept, settings: PrepareSettings
) -> tuple[Sides | None, list[str]]:
    """Deal groups out, as large as what there is of them; None where segments are dealt one by one."""
    if settings.split == "segment":
        return None, ["split by segment: what a test tells holds for recordings that were learned from"]
    side_of = sides_of_names([recordings[row].split for row in kept.rows])
    sizes: dict[str, dict[str, float]] = {}
    given: dict[str, set[int]] = {}
    for row, length in zip(kept.rows, kept.lengths, strict=True):
        one = recordings[row]
        own = sizes.setdefault(one.group, {})
        n_segments = n_starts(length, settings.segment_samples, settings.segment_samples)
        own[one.label] = own.get(one.label, 0.0) + n_segments
        given.setdefault(one.group, set()).add(side_of[one.split])
    joined = find_joined(given)
    sides = split_groups(
        [Group(name=name, sizes=own, side=joined[name]) for name, own in sizes.items()],
        settings.folds,
        settings.seed,
    )
    n_parted = sum(len(one) > 1 for one in given.values())
    parted = [
        f"{n_parted} groups stand on two sides of the split that the table gives; each goes to the later"
    ]
    return sides, [*(parted if n_parted else []), *sides.notes]


@dataclass(slots=True)
class _Cutting:
    """Cuts what lies in the scratch file."""

    recordings: Sequence[Recording]
    kept: _Kept
    scratch: BinaryIO
    settings: PrepareSettings
    sides: Sides | None
    folder: Path
    left_out: Reasons
    noted: Mapping[Path, Sequence[SegmentNote]]
    stretched: set[str] = field(default_factory=set)
    hops: dict[str, int] = field(default_factory=dict)

    def plan(self, table: Path) -> dict[str, Any]:
        """Choose which classes are stretched, and each one's hop; return what makes the set."""
        whole = self.settings.segment_samples
        counts: Counter[str] = Counter()
        more: Counter[str] = Counter()
        for row, length in zip(self.kept.rows, self.kept.lengths, strict=True):
            one = self.recordings[row]
            counts[one.label] += n_starts(length, whole, whole)
            if self._may_stretch(one):
                more[one.label] += n_starts(STRETCH * length, whole, whole)
        if self.settings.stretches:
            median = float(np.median(list(counts.values())))
            # One whose copies would make it the largest is not rare, only smaller than half of them.
            largest = max(counts.values())
            self.stretched = {
                label for label, n in counts.items() if n < median and n + more[label] <= largest
            }
        divisors = choose_divisors(
            {label: n + (more[label] if label in self.stretched else 0) for label, n in counts.items()}
        )
        self.hops = {label: max(1, whole // divisor) for label, divisor in divisors.items()}
        settings = self.settings
        return {
            "table": table.name,
            "table_sha256": hash_file(table),
            "segment_s": settings.segment_s,
            "trim_db": settings.trim_db,
            "split": settings.split,
            "folds": list(settings.folds),
            "seed": settings.seed,
            "stretched": sorted(self.stretched),
            "hop_samples": dict(sorted(self.hops.items())),
            "n_recordings": len(self.kept.rows),
            "left_out": self.left_out.counts,
        }

    def segments(self, report: Callable[[str, int, int], None]) -> Iterator[Segment]:
        """Yield all segments, recording by recording."""
        rng = np.random.default_rng((self.settings.seed, 1))
        for index, row in enumerate(self.kept.rows):
            report("cutting", index, len(self.kept.rows))
            one = self.recordings[row]
            self.scratch.seek(self.kept.offsets[index])
            stored = self.scratch.read(2 * self.kept.lengths[index])
            sound = np.frombuffer(stored, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
            origin_s = one.start_s + self.kept.starts[index] / self.settings.sample_rate
            shown = shown_path(one.path, self.folder)
            played = self._played(one, origin_s + len(sound) / self.settings.sample_rate)
            n_found = 0
            for start_s, times, part in self._cut(sound, one):
                n_found += 1
                side = (
                    int(rng.choice(3, p=self.settings.folds))
                    if self.sides is None
                    else self.sides.of[one.group]
                )
                yield Segment(
                    samples=_integers(part),
                    label=one.label,
                    group=one.group,
                    split=side,
                    pitch=one.pitch,
                    path=shown,
                    start_s=origin_s + start_s,
                    stretch=times,
                    notes=None if played is None else self._inside(played, origin_s + start_s, times),
                )
            if not n_found:
                self.left_out.add("less than a tenth of any segment sounds; try a shorter --segment", shown)

    def _cut(self, sound: Float32Array, one: Recording) -> Iterator[tuple[float, int, Float32Array]]:
        whole, hop, rate = self.settings.segment_samples, self.hops[one.label], self.settings.sample_rate
        for start, part in cut(sound, whole, hop, below_db=self.settings.trim_db):
            yield start / rate, 1, part
        if one.label not in self.stretched or not self._may_stretch(one):
            return
        for first in range(0, len(sound), _PIECE_SEGMENTS * whole):
            longer = stretch(sound[first : first + _PIECE_SEGMENTS * whole], STRETCH)
            longer /= max(1.0, float(np.abs(longer).max(initial=0.0)))
            for start, part in cut(longer, whole, hop, below_db=self.settings.trim_db):
                yield (first + start / STRETCH) / rate, STRETCH, part

    def _played(self, one: Recording, end_s: float) -> list[SegmentNote] | None:
        """Return the notes of a recording, none longer than it sounds; None where the set has no notes."""
        if not self.noted:
            return None
        return [
            replace(note, end_s=min(note.end_s, end_s)) for note in self.noted.get(one.path.absolute(), ())
        ]

    def _inside(self, played: Sequence[SegmentNote], start_s: float, times: int) -> list[SegmentNote]:
        """Return the notes that sound in a segment, in its own time."""
        moved = (
            SegmentNote(note.pitch, (note.start_s - start_s) * times, (note.end_s - start_s) * times)
            for note in played
        )
        whole_s = self.settings.segment_s
        return [note for note in moved if note.end_s > max(0.0, note.start_s) and note.start_s < whole_s]

    def _may_stretch(self, one: Recording) -> bool:
        """Say whether a recording is learned from: what is tested is left as it was played."""
        return self.sides is None or self.sides.of[one.group] == 0


def _integers(sound: Float32Array) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.clip(np.round(sound * FULL_SCALE), -FULL_SCALE, FULL_SCALE).astype("<i2")
