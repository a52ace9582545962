"""A session's tracks as stems: clips placed, trimmed, faded, looped and weighed, summed by track or bus.

The fader, the pan and the effects of a track are not in its stem: a stem is what goes into the track's chain,
and rendered back into the session its new track gets fader and pan again.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from bridge.audio.reader import AudioInfo, read_info
from bridge.audio.writer import AudioWriter
from bridge.daw.clip_audio import clip_blocks, clip_channels, clip_span
from bridge.daw.model import Clip, Session, Track
from bridge.daw.places import few
from bridge.daw.untrusted import open_zip, read_member, safe_member_names
from bridge.errors import AudioFileError, OutputError, SessionError, nearest_names
from bridge.files import give_name, hash_file, private_folder, remove_leftovers, write_whole

__all__ = ["SessionStem", "SessionStems", "choose_tracks", "write_session_stems"]

_BLOCK_SAMPLES: Final = 1 << 18
_WRITTEN: Final = ".written-by-reverie"
"""Holds the hashes of the stems written into a folder: what is not among them is the user's."""
_NOT_IN_NAMES: Final = re.compile(r'[/\\\0:*?"<>|\x01-\x1f]')


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStem:
    """Name one stem and the tracks it is the sum of."""

    name: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStems:
    """Say what was written.

    Args:
        paths: A file for each stem, by the stem's name.
        tracks: The session's tracks in each, by the stem's name.
        left_out: What is not in any stem, and why.
    """

    paths: Mapping[str, Path]
    tracks: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]


def choose_tracks(
    session: Session, wanted: Sequence[str] = (), buses: Sequence[str] = ()
) -> tuple[tuple[SessionStem, ...], tuple[str, ...]]:
    """Return the stems a session gives, and what it leaves out and why.

    A name or a pattern means a track, or all in a group of that name. Muted tracks are left out unless a name
    means them alone.

    Args:
        session: The session.
        wanted: Names or patterns such as ``Drum*``; none means every track with audio.
        buses: ``NAME=TRACK,TRACK``, or the name of a group: those tracks are summed into one stem.

    Raises:
        SessionError: A name or a pattern means nothing, or nothing sounds.
    """
    left_out: list[str] = []
    stems: list[SessionStem] = []
    names_used: set[str] = set()
    in_bus: set[int] = set()
    for bus in buses:
        name, equals, members = bus.partition("=")
        names = [one.strip() for one in members.split(",")] if equals else [name]
        tracks = [track for one in names for track in _matching(session, one) if track.clips]
        if not tracks:
            why = _why(session, (), _known(session, name))
            raise SessionError(f"{session.path}: no track of the bus {bus!r} has audio; {why}")
        in_bus.update(id(track) for track in tracks)
        heard = tuple(track for track in tracks if not track.is_muted)
        stems.append(SessionStem(name=_free_name(name, names_used), tracks=heard))
    exact = {one.casefold() for one in wanted}
    chosen = {id(t) for one in wanted for t in _matching(session, one)}  # two tracks may be equal
    for one in session.tracks:
        if id(one) in in_bus or ((wanted or buses) and id(one) not in chosen):
            continue
        if not one.clips:
            if wanted:
                left_out.append(f"{one.name}: has no audio that can be rendered")
            continue
        if one.is_muted and one.name.casefold() not in exact:
            left_out.append(f"{one.name}: is muted; to render it, name it with --track")
            continue
        stems.append(SessionStem(name=_free_name(one.name, names_used), tracks=(one,)))
    stems = [stem for stem in stems if stem.tracks]
    if not stems:
        why = _why(session, left_out, "none of its tracks has audio clips")
        raise SessionError(f"{session.path}: gives no stems: {why}")
    return tuple(stems), tuple(left_out)


def _why(session: Session, left_out: Sequence[str], otherwise: str) -> str:
    """Say why nothing sounds: tracks that were left out, and clips that were when the session was read."""
    told = [few(lines) for lines in (left_out, session.warnings) if lines]
    return "; ".join(told) or otherwise


def _matching(session: Session, wanted: str) -> list[Track]:
    folded = wanted.casefold()
    named = [t for t in session.tracks if t.name.casefold() == folded]
    grouped = [t for t in session.tracks if _is_in_group(session, t, folded)]
    if named or grouped:
        return [t for t in session.tracks if t in named and t.clips] + [
            t for t in grouped if t not in named
        ] or named
    matched = [t for t in session.tracks if fnmatch.fnmatchcase(t.name.casefold(), folded)]
    if not matched:
        raise SessionError(f"{session.path}: no track matches {wanted!r}; {_known(session, wanted)}")
    return matched


def _is_in_group(session: Session, track: Track, group: str) -> bool:
    """Whether a track lies in a group, however deep."""
    parents = {t.name: t.group for t in session.tracks}
    name, seen = track.group, set[str]()
    while name and name not in seen:
        if name.casefold() == group:
            return True
        seen.add(name)
        name = parents.get(name, "")
    return False


def _known(session: Session, wanted: str) -> str:
    return nearest_names(wanted, [track.name for track in session.tracks])


def _free_name(name: str, used: set[str]) -> str:
    """Return a name a file may have and none of the others has, even where only case tells them apart."""
    plain = _NOT_IN_NAMES.sub("_", name).strip(" .") or "track"
    numbered = (plain if number == 1 else f"{plain} {number}" for number in itertools.count(1))
    free = next(one for one in numbered if one.casefold() not in used)
    used.add(free.casefold())
    return free


def write_session_stems(
    session: Session, stems: Sequence[SessionStem], folder: Path, sample_rate: int | None = None
) -> SessionStems:
    """Write each stem as a file of 32-bit floats that begins at the session's start.

    Args:
        session: The session.
        stems: From `choose_tracks`.
        folder: Where they go; it is made.
        sample_rate: Hz; None takes the session's own, or that of most of its files.

    Raises:
        SessionError: Nothing of it can be read.
        OutputError: The folder cannot be written, or holds a file of such a name that is not of a render.
    """
    left_out: list[str] = []
    _make_folder(folder)
    with _media_of(session) as locate:
        infos: dict[str, AudioInfo | str] = {}
        for clip in (clip for stem in stems for track in stem.tracks for clip in track.clips):
            if clip.media not in infos:
                infos[clip.media] = _look_at(clip, locate)
        rate = sample_rate or session.sample_rate or _common_rate(infos)
        paths: dict[str, Path] = {}
        for stem in stems:
            clips = []
            for clip in (clip for track in stem.tracks for clip in track.clips):
                info = infos[clip.media]
                if isinstance(info, str):
                    left_out.append(f"{stem.name}: clip {clip.name!r}: {info}")
                else:
                    clips.append((clip, info))
            if not clips:
                left_out.append(f"{stem.name}: none of its files can be read")
                continue
            paths[stem.name] = folder / f"{stem.name}.wav"
            _write_stem(paths[stem.name], clips, rate)
        if not paths:
            raise SessionError(f"{session.path}: gives no stems: {_why(session, left_out, '')}")
    return SessionStems(
        paths=paths,
        tracks={stem.name: tuple(track.name for track in stem.tracks) for stem in stems},
        left_out=tuple(left_out),
    )


def _look_at(clip: Clip, locate: _Locate) -> AudioInfo | str:
    try:
        return read_info(locate(clip))
    except (AudioFileError, SessionError) as error:
        return str(error)


def _common_rate(infos: Mapping[str, AudioInfo | str]) -> int:
    rates = Counter(info.sample_rate for info in infos.values() if isinstance(info, AudioInfo))
    return rates.most_common(1)[0][0] if rates else 48_000


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        with private_folder(folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written to ({error.strerror}); choose another --out"
        ) from None


def _keep(part: Path, path: Path) -> None:
    """Give a stem its name, unless a file of the user's has it; an equal one stays as it is."""
    record = path.parent / _WRITTEN
    ours = set(record.read_text().split()) if record.exists() else set[str]()
    new = hash_file(part)
    if os.path.lexists(path):
        old = hash_file(path) if path.is_file() else ""
        if old == new:
            return
        if old not in ours:
            raise OutputError(
                f"{path}: was not written by a render, or was changed since; move it, or choose another --out"
            )
    # Noted before it is there: a render killed in between leaves no file it would not know again.
    with write_whole(record) as noted:
        noted.write_text("".join(f"{one}\n" for one in sorted({*ours, new})))
    give_name(part, path, overwrite=True)


def _write_stem(path: Path, clips: Sequence[tuple[Clip, AudioInfo]], sample_rate: int) -> None:
    """Sum clips on a timeline on disk, and write it."""
    n_channels = max(clip_channels(clip, info) for clip, info in clips)
    spans = [clip_span(clip, info, sample_rate) for clip, info in clips]
    n_samples = max(1, max(end for _, end in spans))
    with private_folder(path.parent) as scratch:
        total = np.memmap(scratch / "sum", np.float32, "w+", shape=(n_samples, n_channels))
        for (clip, info), (start, _) in zip(clips, spans, strict=True):
            position = start
            for block in clip_blocks(clip, info.path, sample_rate):
                first = max(0, -position)  # what lies before the session's start is not heard
                wide = np.repeat(block, n_channels, axis=0) if len(block) == 1 else block
                place = slice(position + first, position + block.shape[1])
                total[place, : len(wide)] += wide[:, first:].T
                position += block.shape[1]
        part = scratch / path.name
        with AudioWriter(part, sample_rate=sample_rate, n_channels=n_channels, subtype="FLOAT") as writer:
            for at in range(0, n_samples, _BLOCK_SAMPLES):
                writer.write(np.ascontiguousarray(total[at : at + _BLOCK_SAMPLES].T))
        del total
        _keep(part, path)


class _Locate:
    """Find a clip's file: beside the session, or unpacked from its archive."""

    def __init__(self, session: Session, archive: zipfile.ZipFile | None, folder: Path) -> None:
        self._session, self._archive, self._folder = session, archive, folder
        self._unpacked: dict[str, Path] = {}

    def __call__(self, clip: Clip) -> Path:
        if not clip.is_embedded or self._archive is None:
            path = Path(clip.media)
            if not path.exists():
                raise AudioFileError(
                    f"{path}: is missing; find it in the DAW, or collect all files, and save"
                )
            return path
        if clip.media not in self._unpacked:
            path = self._folder / f"{len(self._unpacked)}{Path(clip.media).suffix}"
            size = self._archive.getinfo(clip.media).file_size
            with path.open("wb") as file:
                for piece in read_member(
                    self._archive, clip.media, str(self._session.path), limit_bytes=size
                ):
                    file.write(piece)
            self._unpacked[clip.media] = path
        return self._unpacked[clip.media]


@contextmanager
def _media_of(session: Session) -> Iterator[_Locate]:
    with TemporaryDirectory(prefix="reverie-session-") as folder:
        if session.format != "dawproject":
            yield _Locate(session, None, Path(folder))
            return
        with open_zip(session.path, ".dawproject") as archive:
            safe_member_names(archive, str(session.path))
            yield _Locate(session, archive, Path(folder))
