"""A folder becomes a table of recordings; nothing is left out without a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bridge.audio.reader import read_info
from bridge.datasets.published import LOADERS, LeftOut
from bridge.datasets.table import Recording
from bridge.datasets.vetting import Vetting
from bridge.errors import AudioFileError, InputError, nearest_names

__all__ = ["Reasons", "Scan", "scan_folder"]


@dataclass(slots=True)
class Reasons:
    """Count what is left out, by reason, and keep a first example of each."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: Path | str) -> None:
        """Count one."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.examples.setdefault(reason, str(path))

    def lines(self) -> list[str]:
        """Return a line for each reason, the most frequent first.

        >>> reasons = Reasons()
        >>> reasons.add("silent", "a.wav")
        >>> reasons.lines()
        ['1 left out: silent (a.wav)']
        """
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [
            f"{count} left out: {reason} ({'' if count == 1 else 'as '}{self.examples[reason]})"
            for reason, count in ordered
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a folder holds.

    Args:
        recordings: Those of its files that are sounds and wanted.
        left_out: All others.
    """

    recordings: tuple[Recording, ...]
    left_out: Reasons


def scan_folder(
    folder: Path,
    kind: str = "folders",
    *,
    vetting: Vetting | None = None,
    report: Callable[[int], None] = lambda _done: None,
) -> Scan:
    """Make a table of a folder.

    Args:
        folder: A data set as it was unpacked, or a folder with one folder a class.
        kind: A key of `LOADERS`.
        vetting: Which recordings stay, under which label.
        report: Told how many files have been looked at.

    Raises:
        InputError: There is no such kind or folder, it holds something else, or nothing of it is left.
    """
    if kind not in LOADERS:
        raise InputError(f"--as {kind}: no such kind of folder; {nearest_names(kind, LOADERS)}")
    if not folder.is_dir() and not (kind == "csv" and folder.is_file()):
        raise InputError(f"{folder}: no such folder; --as {kind} needs one with {LOADERS[kind].holds}")
    reasons = Reasons()
    recordings = []
    for done, found in enumerate(LOADERS[kind].load(folder.absolute()), start=1):
        report(done)
        if isinstance(found, LeftOut):
            reasons.add(found.reason, found.path)
            continue
        vetted = (vetting or Vetting()).apply(found)
        if isinstance(vetted, str):
            reasons.add(vetted, found.path)
            continue
        measured = _measured(vetted)
        if isinstance(measured, str):
            reasons.add(measured, found.path)
        else:
            recordings.append(replace(measured, licence=measured.licence or LOADERS[kind].licence))
    if not recordings:
        told = "; ".join(reasons.lines()) or "it is empty"
        raise InputError(f"{folder}: no recordings for --as {kind}, which is {LOADERS[kind].holds}: {told}")
    return Scan(recordings=tuple(recordings), left_out=reasons)


def _measured(recording: Recording) -> Recording | str:
    """Return a recording with its length, or why it cannot be used."""
    try:
        str(recording.path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    try:
        length_s = read_info(recording.path).duration_s
    except AudioFileError as error:
        return f"cannot be read: {str(error).removeprefix(f'{recording.path}: ')}"
    if recording.start_s >= length_s:
        return "begins after the end of its file"
    rest_s = length_s - recording.start_s
    return replace(recording, duration_s=min(recording.duration_s or rest_s, rest_s))
