"""How rendered stems go back into a session, whatever program wrote it.

A copy is written, unless the file itself is asked for, which then is backed up beside it. New tracks sound
where and as loud as the tracks they were made from.
"""

from __future__ import annotations

import filecmp
import itertools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import StemTrack
from bridge.errors import OutputError, SessionError
from bridge.files import check_free, write_whole

__all__ = ["WriteBack", "back_up", "check_kinds", "clock_warning", "may_write", "place_media"]

Original = Literal["mute", "keep", "replace"]

_WRITABLE: Final = (".dawproject", ".rpp")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBack:
    """Say what becomes of the tracks that stems were made from, and what the stems become.

    Args:
        original: ``mute`` the source track, ``keep`` it as it is, or ``replace`` it: it goes.
        takes: Whether stems become takes on the source's items, not tracks, where a program has takes.
        overwrite: Whether files in the way may be replaced.
        in_place: Whether the session itself may be.
    """

    original: Original = "keep"
    takes: bool = False
    overwrite: bool = False
    in_place: bool = False


def check_kinds(source: Path, target: Path) -> None:
    """Refuse a session that is only read, and a copy of it that has another kind's name.

    Raises:
        SessionError: Saying what can be done.
    """
    kind = source.suffix.lower()
    if kind not in _WRITABLE:
        raise SessionError(
            f"{source}: {kind} sessions cannot be written, only {' and '.join(_WRITABLE)}; render it, then "
            "export the stems with reverie session folder"
        )
    if target.suffix.lower() != kind:
        raise SessionError(f"{target}: a copy of {source.name} is such a session, too: name it *{kind}")


def may_write(source: Path, target: Path, how: WriteBack) -> bool:
    """Return whether what is at the target may be replaced.

    Raises:
        OutputError: Something is there that may not be.
    """
    if target.exists() and target.samefile(source):
        if not how.in_place:
            raise OutputError(
                f"{target}: exists already, and is the session itself; reverie session write --in-place "
                "writes into it, with a backup"
            )
        return True
    check_free(target, how.overwrite)
    return how.overwrite


@contextmanager
def back_up(source: Path, target: Path) -> Iterator[Path | None]:
    """Keep a copy of a session beside it before it is written in place; yield where that is."""
    if not (target.exists() and target.samefile(source)):
        yield None
        return
    for number in itertools.count(1):
        copy = source.with_name(f"{source.stem}.backup{number}{source.suffix}")
        if not copy.exists():
            break
    with write_whole(copy) as part:
        shutil.copyfile(source, part)
    yield copy


def place_media(stems: Sequence[StemTrack], folder: Path, overwrite: bool) -> dict[Path, Path]:
    """Copy stems into a project's media folder; return where each is now.

    A file that is there already and has the same bytes is used as it is; another one of that name is left
    alone, and the copy gets a number.

    Raises:
        OutputError: It cannot be written.
    """
    placed: dict[Path, Path] = {}
    for stem in stems:
        target = _free_name(folder / stem.audio.name, stem.audio, overwrite)
        if not (target.exists() and target.samefile(stem.audio)) and not _is_copy(target, stem.audio):
            check_free(target, overwrite)
            target.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(target, overwrite=overwrite) as part:
                shutil.copyfile(stem.audio, part)
        placed[stem.audio] = target
    return placed


def _free_name(wanted: Path, source: Path, overwrite: bool) -> Path:
    for number in itertools.count(1):
        name = wanted if number == 1 else wanted.with_name(f"{wanted.stem} {number}{wanted.suffix}")
        if overwrite or not name.exists() or name.samefile(source) or _is_copy(name, source):
            return name
    raise AssertionError


def _is_copy(one: Path, other: Path) -> bool:
    return one.is_file() and filecmp.cmp(one, other, shallow=False)


def clock_warning(rendered: TempoMap, session: TempoMap, length_s: float, sample_rate: int) -> str | None:
    """Say where a render's clock and a session's are more than a sample apart; None where they agree."""
    n_beats = max(1, int(min(1e5, float(session.seconds_to_beats(length_s)))) + 1)
    beats = np.arange(0, n_beats + 1, 1.0)
    apart_s = np.abs(rendered.beats_to_seconds(beats) - session.beats_to_seconds(beats))
    first = np.flatnonzero(apart_s > 1.0 / sample_rate)
    if not len(first):
        return None
    beat = float(beats[first[0]])
    return (
        f"the render's clock ({rendered.source}) and the session's differ from "
        f"{session.position_text(beat)} on, by up to {1e3 * float(apart_s.max()):.3g} ms: its envelopes and "
        "synced times may not fall on the session's beats; render with --session to use the session's clock"
    )
