"""A session in the place of stems: its tracks become files, its clock and what it plays go into the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bridge.clock.settings import ClockSettings
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import Session
from bridge.daw.read import READABLE, read_session
from bridge.daw.session_stems import choose_tracks, write_session_stems
from bridge.errors import PlanError
from bridge.files import hash_file
from bridge.midi.file import MidiFile
from bridge.plan.find_stems import resolve_path
from bridge.plan.model import SessionSource

__all__ = ["STEMS_FOLDER", "OpenSession", "find_clock", "is_session", "open_session", "session_clock"]

STEMS_FOLDER: Final = "session stems"
"""Where, in the folder of a render, the tracks of its session lie as they are before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session made ready for a plan.

    Args:
        stems: Files of its tracks; empty where stems were given beside it.
        source: For `build_plan`.
        warnings: What was left out, and why.
    """

    stems: tuple[Path, ...]
    source: SessionSource
    warnings: tuple[str, ...]


def is_session(path: Path) -> bool:
    """Say whether a path is that of a session file."""
    return path.suffix.lower() in READABLE and not path.is_dir()


def open_session(
    path: Path,
    folder: Path | None,
    *,
    tracks: Sequence[str] = (),
    buses: Sequence[str] = (),
    sample_rate: int | None = None,
) -> OpenSession:
    """Read a session, and write its tracks as stems where it is rendered.

    Args:
        path: The session.
        folder: Where its tracks are written; None where stems are given beside it.
        tracks: Names or patterns of tracks; none means all that sound.
        buses: ``NAME=TRACK,TRACK``, or a group's name: tracks summed into one stem.
        sample_rate: Hz; None takes the session's own.

    Raises:
        SessionError: It cannot be read, or gives no stems.
        OutputError: The folder cannot be written.
    """
    path = resolve_path(path)
    session = read_session(path)
    warnings = [f"{path.name}: {warning}" for warning in session.warnings]
    if folder is None:
        if tracks or buses:
            raise PlanError(
                "--track and --bus choose tracks of a session that is rendered; give no stems beside it"
            )
        return OpenSession(stems=(), source=_source(path, {}), warnings=tuple(warnings))
    stems, left_out = choose_tracks(session, tracks, buses)
    written = write_session_stems(session, stems, folder, sample_rate)
    warnings += [f"{path.name}: {one}" for one in (*left_out, *written.left_out)]
    return OpenSession(
        stems=tuple(written.paths.values()),
        source=_source(path, {name: written.tracks[name] for name in written.paths}),
        warnings=tuple(warnings),
    )


def _source(path: Path, tracks: dict[str, tuple[str, ...]]) -> SessionSource:
    return SessionSource(path=str(path), sha256=hash_file(path), tracks=tracks)


def session_clock(session: Session, said: ClockSettings, midi: MidiFile | None) -> TempoMap:
    """Return a session's clock, with what is said of it.

    Raises:
        TempoError: A tempo or a meter that makes no sense.
    """
    own = session.tempo_map
    if said.bpm is not None or said.meter is not None:
        bpm = float(own.bpm_at(0.0)) if said.bpm is None else said.bpm
        first = own.meters[0]
        meter = said.meter or (first.numerator, first.denominator)
        warning = f"{bpm:g} BPM in {meter[0]}/{meter[1]} as given overrides the clock of {session.path.name}"
        constant = TempoMap.constant(bpm, meter, warnings=(warning,))
        times_s = [marker.time_s for marker in own.markers]
        beats = constant.seconds_to_beats(times_s).tolist() if times_s else []
        own = constant.with_markers(zip(beats, [marker.name for marker in own.markers], strict=True))
    placed = replace(
        own,
        offset_s=said.offset_s,
        first_bar=said.first_bar if said.first_bar != 1 else own.first_bar,
        file_ticks_per_beat=None if midi is None else midi.ticks_per_beat,
        ticks_per_second=None if midi is None else midi.ticks_per_second,
    )
    return placed.with_markers((marker.beats, marker.name) for marker in own.markers)


def find_clock(stems: Sequence[Path]) -> Path | None:
    """Return the one session or MIDI file beside stems, as their song; None where that is not clear."""
    folders = {stem.parent for stem in stems}
    if len(folders) != 1:
        return None
    beside = [path for path in sorted(folders.pop().iterdir()) if not path.name.startswith(".")]
    for kinds in ((".rpp", ".dawproject", ".als"), (".mid", ".midi")):
        found = [path for path in beside if path.suffix.lower() in kinds]
        named = [path for path in found if path.stem.casefold() == "song"]
        if len(named or found) == 1:
            return (named or found)[0]
    return None
