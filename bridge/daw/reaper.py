"""Reaper projects: read what lies on the timeline, write tracks back beside the lines that are there.

A .rpp is text: one element a line, blocks from ``<NAME`` to ``>``. Lines are kept as they stand, so a project
goes through unchanged but for what is added. Times are seconds; a tempo point's shape is 0 for a ramp that is
straight in time, 1 for a held tempo.

Source: Cockos, "State Chunk Definitions", REAPER wiki.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from bridge.audio.reader import read_info
from bridge.clock.tempo_map import TempoMap
from bridge.clock.tempo_segments import RampLaw
from bridge.daw.model import Clip, Session, StemTrack, Track
from bridge.daw.untrusted import MAX_ITEMS, MAX_TEMPOS, check_count, naming, parse_number
from bridge.errors import SessionError, nearest_names
from bridge.files import check_free, read_regular, write_whole

__all__ = ["read_reaper", "write_reaper"]

_MAX_BYTES: Final = 64 << 20
_MAX_LINES: Final = 1_500_000
_MAX_LINE_LENGTH: Final = 1 << 20
_MAX_DEPTH: Final = 64
_WAVE_SOURCES: Final = ("WAVE", "FLAC", "MP3", "VORBIS", "WAVPACK")
_METER_BASE: Final = 65536
_WORD: Final = re.compile(r""""([^"]*)"?|'([^']*)'?|`([^`]*)`?|(\S+)""")
_CP1252: Final = re.compile(rb"[^\x81\x8d\x8f\x90\x9d]*")  # bytes that stand for nothing there


@dataclass(slots=True)
class _Block:
    """Lines and blocks between ``<NAME ...`` and ``>``; a line keeps its carriage return."""

    head: str
    children: list[str | _Block] = field(default_factory=list)
    end: str = ""

    @property
    def name(self) -> str:
        return self.head.strip()[1:].split(" ", 1)[0]

    def blocks(self, name: str) -> Iterator[_Block]:
        return (child for child in self.children if isinstance(child, _Block) and child.name == name)

    def values(self, name: str) -> Iterator[list[str]]:
        """Return the words of every line that begins with a name."""
        for child in self.children:
            if isinstance(child, str) and child.strip().split(" ", 1)[0] == name:
                yield _words(child)[1:]

    def first(self, name: str) -> list[str]:
        return next(self.values(name), [])

    def lines(self) -> Iterator[str]:
        yield self.head
        for child in self.children:
            if isinstance(child, _Block):
                yield from child.lines()
            else:
                yield child
        yield self.end or self.head[: len(self.head) - len(self.head.lstrip())] + ">"


def read_reaper(path: Path | str) -> Session:
    """Read a .rpp file.

    Raises:
        SessionError: Not such a file, or damaged.
    """
    path = Path(path)
    project = _read(path)
    warnings: list[str] = []
    with naming(path):
        tempo_map = _build_tempo_map(project, str(path))
    n_items = sum(1 for track in project.blocks("TRACK") for _ in track.blocks("ITEM"))
    check_count(n_items, MAX_ITEMS, "items", str(path))
    rate = project.first("SAMPLERATE")  # the rate, and whether the project insists on it
    is_fixed = _number(rate, 1, 0.0, str(path)) != 0
    return Session(
        path=path,
        format="reaper",
        tempo_map=tempo_map,
        tracks=tuple(_build_track(block, path, warnings) for block in project.blocks("TRACK")),
        sample_rate=int(_number(rate, 0, 0.0, str(path))) if is_fixed else None,
        warnings=tuple(warnings),
    )


def write_reaper(
    source: Path | str,
    target: Path | str,
    stems: Sequence[StemTrack],
    *,
    mute_sources: bool = False,
    overwrite: bool = False,
) -> None:
    """Write a copy of a project with one new track a rendered stem, after the track it was made from.

    Args:
        source: The user's .rpp.
        target: Where the copy goes. Files are named by their full path.
        stems: What to add; depth lanes become no automation here.
        mute_sources: Whether the tracks they were made from are muted.
        overwrite: Whether an existing target is replaced.

    Raises:
        SessionError: The source cannot be read, or has no track of a name given.
        OutputError: The target exists or cannot be written.
    """
    source, target = Path(source), Path(target)
    check_free(target, overwrite)
    project = _read(source)
    for stem in stems:
        tracks = {_track_name(block): block for block in reversed(list(project.blocks("TRACK")))}
        if stem.source_track is None:
            last = max(map(project.children.index, tracks.values()), default=len(project.children) - 1)
            project.children.insert(last + 1, _new_track(stem))
            continue
        if stem.source_track not in tracks:
            known = nearest_names(stem.source_track, tracks)
            raise SessionError(f"{source}: has no track {stem.source_track!r}; {known}")
        origin = tracks[stem.source_track]
        if mute_sources:
            _mute(origin)
        project.children.insert(project.children.index(origin) + 1, _new_track(stem))
    ending = "\r\n" if project.head.endswith("\r") else "\n"
    text = "".join(line.rstrip("\r") + ending for line in project.lines())
    with write_whole(target, overwrite=overwrite) as part:
        part.write_bytes(text.encode("utf-8", errors="surrogateescape"))


def _read(path: Path) -> _Block:
    try:
        data = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise SessionError(f"{path}: cannot be read ({error.strerror or error})") from None
    if data.count(b"\n") > _MAX_LINES:
        raise SessionError(f"{path}: has more than {_MAX_LINES} lines, too many for a project")
    lines = data.decode("utf-8", errors="surrogateescape").split("\n")
    if not lines[0].startswith("<REAPER_PROJECT"):
        raise SessionError(f"{path}: is not a Reaper project: it does not begin with <REAPER_PROJECT")
    if max(map(len, lines)) > _MAX_LINE_LENGTH:
        raise SessionError(f"{path}: has a line of more than {_MAX_LINE_LENGTH} characters, not a project's")
    root = _Block(lines[0])
    stack = [root]
    for number, line in enumerate(lines[1:], 2):
        stripped = line.strip()
        if not stack:
            if stripped:
                raise SessionError(f"{path}: line {number} comes after the end of the project")
        elif stripped == ">":
            stack.pop().end = line
        elif stripped.startswith("<"):
            block = _Block(line)
            stack[-1].children.append(block)
            stack.append(block)
            if len(stack) > _MAX_DEPTH:
                raise SessionError(f"{path}: nested deeper than {_MAX_DEPTH} levels in line {number}")
        else:
            stack[-1].children.append(line)
    if stack:
        raise SessionError(f"{path}: ends within <{stack[-1].name}: it is truncated; save it again in Reaper")
    return root


def _words(line: str) -> list[str]:
    """Split a line; words with spaces stand in "", '' or ``, whichever they do not hold."""
    return [_readable(next(filter(None, match.groups()), "")) for match in _WORD.finditer(line)]


def _readable(word: str) -> str:
    """Return a word as text: what is not UTF-8 was written in the character set of Western Windows."""
    word = word.partition("\0")[0]
    if word.isascii():
        return word
    data = word.encode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252" if _CP1252.fullmatch(data) else "latin-1")


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    quote = next((q for q in "\"'`" if q not in text), None)
    return f"{quote}{text}{quote}" if quote else "`" + text.replace("`", "'") + "`"


def _number(words: Sequence[str], index: int, default: float, where: str) -> float:
    return parse_number(words[index], where) if index < len(words) else default


def _build_tempo_map(project: _Block, where: str) -> TempoMap:
    header = project.first("TEMPO")
    bpm = _number(header, 0, 120.0, where)
    tempos: list[tuple[float, float, RampLaw]] = []
    meters: list[tuple[float, int, int]] = []
    beats = last_s = 0.0
    for envelope in project.blocks("TEMPOENVEX"):
        for point in envelope.values("PT"):
            check_count(len(tempos), MAX_TEMPOS, "tempos", where)
            time_s, value = _number(point, 0, 0.0, where), _number(point, 1, bpm, where)
            if tempos:
                _, before, ramp = tempos[-1]
                beats += (time_s - last_s) / 60 * ((before + value) / 2 if ramp == "time" else before)
            elif time_s > 0:
                tempos.append((0.0, bpm, "hold"))
                beats = time_s / 60 * bpm
            last_s = time_s
            tempos.append((beats, value, "hold" if _number(point, 2, 1.0, where) == 1 else "time"))
            code = int(_number(point, 3, 0.0, where))
            if code > 0:
                meters.append((beats, code % _METER_BASE, code // _METER_BASE))
    if not tempos:
        tempos.append((0.0, bpm, "hold"))
    if not meters or meters[0][0] > 0:
        meters.insert(0, (0.0, int(_number(header, 1, 4.0, where)), int(_number(header, 2, 4.0, where))))
    clock = TempoMap.from_points(tempos, meters, source="session")
    marked = [words for words in project.values("MARKER") if len(words) > 2 and words[2]]
    check_count(len(marked), MAX_ITEMS, "markers", where)
    beats = clock.seconds_to_beats(np.array([_number(words, 1, 0.0, where) for words in marked])).tolist()
    return clock.with_markers(zip(beats, [words[2] for words in marked], strict=True))


def _track_name(block: _Block) -> str:
    return next(iter(block.first("NAME")), "")


def _build_track(block: _Block, path: Path, warnings: list[str]) -> Track:
    clips: list[Clip] = []
    for item in block.blocks("ITEM"):
        clip = _build_clip(item, path, warnings)
        if clip is not None:
            clips.append(clip)
    mute = block.first("MUTESOLO")
    return Track(
        name=_track_name(block),
        is_muted=bool(mute) and mute[0] == "1",
        clips=tuple(sorted(clips, key=lambda clip: clip.start_s)),
    )


def _build_clip(item: _Block, path: Path, warnings: list[str]) -> Clip | None:
    name = next(iter(item.first("NAME")), "")
    where = str(path)
    source = next(item.blocks("SOURCE"), None)
    section_s = 0.0
    if source is not None and source.head.split()[-1] == "SECTION":
        section_s = _number(source.first("STARTPOS"), 0, 0.0, where)
        source = next(source.blocks("SOURCE"), None)
    if source is None or source.head.split()[-1] not in _WAVE_SOURCES:
        return None
    media = next(iter(source.first("FILE")), "")
    if not media:
        warnings.append(f"item {name!r} names no file: left out")
        return None
    if _number(item.first("PLAYRATE"), 0, 1.0, where) != 1.0:
        warnings.append(f"item {name!r} plays at another rate: left out; glue it in Reaper")
        return None
    return Clip(
        name=name or Path(media).stem,
        media=str(path.parent / media.replace("\\", "/")),
        is_embedded=False,
        start_s=_number(item.first("POSITION"), 0, 0.0, where),
        duration_s=_number(item.first("LENGTH"), 0, 0.0, where),
        offset_s=_number(item.first("SOFFS"), 0, 0.0, where) + section_s,
    )


def _new_track(stem: StemTrack) -> _Block:
    info = read_info(stem.audio)
    kind = {"FLAC": "FLAC"}.get(info.format, "WAVE")
    source = _Block(f"      <SOURCE {kind}", [f"        FILE {_quoted(str(stem.audio.resolve()))}"])
    item = _Block(
        "    <ITEM",
        [
            f"      POSITION {stem.start_s:.12g}",
            f"      LENGTH {info.duration_s:.12g}",
            "      LOOP 0",
            f"      NAME {_quoted(stem.name)}",
            "      SOFFS 0",
            source,
        ],
    )
    return _Block(
        "  <TRACK", [f"    NAME {_quoted(stem.name)}", f"    NCHAN {max(2, info.n_channels)}", item]
    )


def _mute(track: _Block) -> None:
    for index, child in enumerate(track.children):
        if isinstance(child, str) and child.strip().startswith("MUTESOLO "):
            indent = child[: len(child) - len(child.lstrip())]
            track.children[index] = f"{indent}MUTESOLO 1 {' '.join(_words(child)[2:])}".rstrip()
            return
    track.children.insert(0, "    MUTESOLO 1 0 0")
