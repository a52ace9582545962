"""Rendered stems into a Reaper project: tracks or takes beside what is there, all other lines as they were.

A new track has the fader, pan, colour, folder, sends and volume and pan automation of the one it was made
from, so that the two are equally loud. Receives name the track they come from by its number, so those
numbers follow the tracks that move down.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bridge.audio.reader import read_info
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import StemTrack
from bridge.daw.reaper import read_reaper
from bridge.daw.reaper_text import Block, locating, number, quoted, read_versions
from bridge.daw.write_back import WriteBack, may_write, place_media
from bridge.errors import SessionError, nearest_names
from bridge.files import write_whole
from bridge.midi.write import TICKS_PER_BEAT

__all__ = ["write_reaper"]

_COPIED_LINES: Final = (
    "PEAKCOL",
    "VOLPAN",
    "PANMODE",
    "PANLAWFLAGS",
    "WIDTH",
    "DUALPAN",
    "IPHASE",
    "MAINSEND",
)
_COPIED_ENVELOPES: Final = (
    "VOLENV",
    "VOLENV2",
    "PANENV",
    "PANENV2",
    "WIDTHENV",
    "WIDTHENV2",
    "MUTEENV",
)
_OWN_LINES: Final = ("EGUID", "TRACKID", "GUID")


def write_reaper(
    source: Path | str,
    target: Path | str,
    stems: Sequence[StemTrack],
    how: WriteBack | None = None,
) -> tuple[str, ...]:
    """Write a copy of a project with a new track, or takes, for each rendered stem, after its source.

    Audio is copied to where the project records to and named from there.

    Args:
        source: The user's .rpp.
        target: Where the copy goes.
        stems: What to add.
        how: What becomes of the tracks they were made from.

    Returns:
        What the user should know.

    Raises:
        SessionError: The source cannot be read, or has no track of a name given.
        OutputError: The target or a file exists or cannot be written.
    """
    source, target, how = Path(source), Path(target), how or WriteBack()
    may_replace = may_write(source, target, how)
    versions = read_versions(source)
    with locating(source, versions):
        project = max(reversed(versions), key=lambda one: one.saved_at)
        editor = _Editor(project, source, target, read_reaper(source).tempo_map)
        _check_names(stems, editor.tracks, source)
        media = place_media(stems, target.parent / editor.media_folder, how.overwrite)
        warnings: list[str] = []
        for stem in stems:
            warnings += editor.add(stem, media[stem.audio], how)
        editor.renumber()
    ending = "\r\n" if project.head.endswith("\r") else "\n"
    text = "".join(line.rstrip("\r") + ending for line in project.lines())
    with write_whole(target, overwrite=may_replace) as part:
        part.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    return tuple(warnings)


def _check_names(stems: Sequence[StemTrack], tracks: Mapping[str, Block], source: Path) -> None:
    for stem in stems:
        if stem.source_track is not None and stem.source_track not in tracks:
            known = nearest_names(stem.source_track, tracks)
            raise SessionError(f"{source}: has no track {stem.source_track!r}; {known}")


class _Editor:
    """Add tracks and takes to a parsed project."""

    def __init__(self, project: Block, source: Path, target: Path, tempo_map: TempoMap) -> None:
        self._project, self._source, self._target, self._tempo_map = project, source, target, tempo_map
        self._before = list(project.blocks("TRACK"))
        self.tracks = {_track_name(block): block for block in reversed(self._before)}
        self._sent: list[tuple[Block, Block]] = []
        folder = next(iter(project.first("RECORD_PATH")), "").replace("\\", "/")
        is_inside = folder and not Path(folder).is_absolute() and ".." not in Path(folder).parts
        self.media_folder = Path(folder) if is_inside and ":" not in folder else Path()

    def add(self, stem: StemTrack, audio: Path, how: WriteBack) -> list[str]:
        """Add one stem; return what the user should know."""
        origin = None if stem.source_track is None else self.tracks[stem.source_track]
        if how.takes and origin is not None:
            reason = self._no_takes(origin)
            if not reason:
                self._add_takes(origin, stem, audio)
                return []
            return [
                f"{stem.name}: added as a track, not as takes: {reason}",
                *self._add_track(origin, stem, audio, how),
            ]
        return self._add_track(origin, stem, audio, how)

    def _add_track(self, origin: Block | None, stem: StemTrack, audio: Path, how: WriteBack) -> list[str]:
        warnings: list[str] = []
        children = self._project.children
        added = [self._new_track(stem, audio, origin)]
        if stem.depth_points:
            added.append(self._depth_track(stem, audio))
        if origin is None:
            last = max(
                (_index(children, block) for block in self._project.blocks("TRACK")),
                default=len(children) - 1,
            )
            children[last + 1 : last + 1] = added
            return warnings
        closing = origin.first("ISBUS")
        if number(closing, 0, 0.0) == 2:  # the last of its folder: the new last one closes it
            _set_line(origin, "ISBUS", "0 0")
            _set_line(added[-1], "ISBUS", " ".join(closing))
        chains = origin.blocks("FXCHAIN") if origin.first("FX")[:1] != ["0"] else ()
        if any(True for chain in chains for _ in chain.blocks()):
            warnings.append(
                f"{stem.name}: {stem.source_track!r} has effects in the session, which its stem was not "
                "played through and the new track does not have"
            )
        at = _index(children, origin) + 1
        children[at:at] = added
        self._sent.append((origin, added[0]))
        if how.original == "mute":
            _mute(origin)
        elif how.original == "replace":
            origin_at = _index(children, origin)
            if number(origin.first("ISBUS"), 0, 0.0) == 1:
                _mute(origin)
                warnings.append(f"{stem.source_track!r} is a folder: muted, not removed")
            else:
                del children[origin_at]
        return warnings

    def renumber(self) -> None:
        """Let receives follow their tracks, and give new tracks the sends of those they were made from."""
        after = list(self._project.blocks("TRACK"))
        places = {id(block): place for place, block in enumerate(after)}
        heirs: dict[int, list[int]] = {}
        for origin, added in self._sent:
            heirs.setdefault(id(origin), []).append(places[id(added)])
        for track in after:
            moved: list[str | Block] = []
            for child in track.children:
                if not isinstance(child, str) or not child.strip().startswith("AUXRECV "):
                    moved.append(child)
                    continue
                words = child.split()
                old = int(words[1]) if words[1:2] and words[1].isdecimal() else -1
                if not 0 <= old < len(self._before):
                    moved.append(child)
                    continue
                origin = self._before[old]
                lines = [places[id(origin)]] if id(origin) in places else []
                moved += [
                    child.replace(f" {old} ", f" {place} ", 1)
                    for place in [*lines, *heirs.get(id(origin), ())]
                ]
            track.children[:] = moved

    def _no_takes(self, origin: Block) -> str:
        spans = sorted(
            (start := number(item.first("POSITION"), 0, 0.0), start + number(item.first("LENGTH"), 0, 0.0))
            for item in origin.blocks("ITEM")
            if number(item.first("MUTE"), 0, 0.0) == 0
        )
        if not spans:
            return "its track has no items"
        if any(second[0] < first[1] - 1e-6 for first, second in itertools.pairwise(spans)):
            return "items of its track overlap"
        return ""

    def _add_takes(self, origin: Block, stem: StemTrack, audio: Path) -> None:
        """Let every item play its own stretch of the stem, which has the item's level and fades in it."""
        for item in origin.blocks("ITEM"):
            if number(item.first("MUTE"), 0, 0.0) != 0:
                continue
            gain = number(item.first("VOLPAN"), 0, 1.0)
            level = 1.0 / gain if gain else 1.0
            offset_s = number(item.first("POSITION"), 0, 0.0) - stem.start_s
            for index, child in enumerate(item.children):
                if isinstance(child, str) and child.split()[:2] == ["TAKE", "SEL"]:
                    item.children[index] = child.replace("TAKE SEL", "TAKE", 1)
            for name in ("FADEIN", "FADEOUT"):
                if item.first(name):
                    _set_line(item, name, "1 0 0 1 0 0 0")
            item.children += [
                "      TAKE SEL",
                f"      NAME {quoted(stem.name)}",
                f"      TAKEVOLPAN 0 {level:.12g} -1",
                f"      SOFFS {offset_s:.12g}",
                "      PLAYRATE 1 1 0 -1 0 0.0025",
                "      CHANMODE 0",
                self._source_block(audio),
            ]

    def _new_track(self, stem: StemTrack, audio: Path, origin: Block | None) -> Block:
        info = read_info(audio)
        n_channels = info.n_channels + info.n_channels % 2
        lines: list[str | Block] = [f"    NAME {quoted(stem.name)}", f"    NCHAN {max(2, n_channels)}"]
        if origin is not None:
            for name in _COPIED_LINES:
                lines += [c for c in origin.children if isinstance(c, str) and c.split()[:1] == [name]]
            lines += [_copy(block) for block in origin.blocks() if block.name in _COPIED_ENVELOPES]
        start_s, offset_s = max(0.0, stem.start_s), max(0.0, -stem.start_s)
        item = Block(
            "    <ITEM",
            [
                f"      POSITION {start_s:.12g}",
                f"      LENGTH {info.duration_s - offset_s:.12g}",
                "      LOOP 0",
                f"      NAME {quoted(stem.name)}",
                f"      SOFFS {offset_s:.12g}",
                self._source_block(audio),
            ],
        )
        return Block("  <TRACK", [*lines, item])

    def _source_block(self, audio: Path) -> Block:
        kind = {"FLAC": "FLAC", "MP3": "MP3", "OGG": "VORBIS"}.get(read_info(audio).format, "WAVE")
        folder = self._target.parent.resolve()
        path = audio.resolve()
        name = path.relative_to(folder) if path.is_relative_to(folder) else path
        return Block(f"      <SOURCE {kind}", [f"        FILE {quoted(name.as_posix())}"])

    def _depth_track(self, stem: StemTrack, audio: Path) -> Block:
        """Return a track of its own with the depth as controller 1, for whatever the user routes it to."""
        duration_s = read_info(audio).duration_s
        start_s = max(0.0, stem.start_s)
        zero = float(self._tempo_map.seconds_to_beats(start_s))
        events, last = [], 0
        for beats, value in stem.depth_points:
            tick = max(last, round((beats - zero) * TICKS_PER_BEAT))
            events.append(f"        E {tick - last} b0 01 {round(127 * value):02x}")
            last = tick
        end = round((float(self._tempo_map.seconds_to_beats(start_s + duration_s)) - zero) * TICKS_PER_BEAT)
        events.append(f"        E {max(0, end - last)} b0 7b 00")
        source = Block("      <SOURCE MIDI", [f"        HASDATA 1 {TICKS_PER_BEAT} QN", *events])
        item = Block(
            "    <ITEM",
            [
                f"      POSITION {start_s:.12g}",
                f"      LENGTH {duration_s:.12g}",
                "      LOOP 0",
                f"      NAME {quoted(f'{stem.name} depth')}",
                source,
            ],
        )
        return Block("  <TRACK", [f"    NAME {quoted(f'{stem.name} depth')}", item])


def _track_name(block: Block) -> str:
    return next(iter(block.first("NAME")), "")


def _index(children: Sequence[str | Block], block: Block) -> int:
    return next(index for index, child in enumerate(children) if child is block)


def _copy(block: Block) -> Block:
    """Copy a block without what names only it."""
    kept = [
        _copy(child) if isinstance(child, Block) else child
        for child in block.children
        if isinstance(child, Block) or child.split()[:1] not in [[name] for name in _OWN_LINES]
    ]
    return Block(block.head, kept, block.end)


def _set_line(block: Block, name: str, values: str) -> None:
    for index, child in enumerate(block.children):
        if isinstance(child, str) and child.split()[:1] == [name]:
            indent = child[: len(child) - len(child.lstrip())]
            block.children[index] = f"{indent}{name} {values}"
            return
    block.children.insert(min(1, len(block.children)), f"    {name} {values}")


def _mute(track: Block) -> None:
    words = track.first("MUTESOLO")
    _set_line(track, "MUTESOLO", f"1 {' '.join(words[1:])}".rstrip() if words else "1 0 0")
