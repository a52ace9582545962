"""What lies on a Reaper track: audio items with their takes, fades, sections and loops, and MIDI items.

An item plays one of its takes. Its own lines stand for the first; each ``TAKE`` line begins another, ``TAKE
SEL`` the one that plays. Item and take both have a volume; a section is a part of a file, forwards or
backwards.

Source: Cockos, "State Chunk Definitions", REAPER wiki.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from bridge.audio.formats import AUDIO_SUFFIXES
from bridge.clock.tempo_map import TempoMap
from bridge.daw.media import find_media
from bridge.daw.model import Clip, ClipFade, ControllerLane, DawNote, FadeShape, FileLoop
from bridge.daw.places import HAIR_BEATS, place_text
from bridge.daw.reaper_text import Block, Words, number
from bridge.daw.untrusted import MAX_ITEMS, check_count

__all__ = ["ItemReader", "LyingItems"]

_SHAPES: Final[tuple[FadeShape, ...]] = (
    "linear",
    "fast_start",
    "slow_start",
    "faster_start",
    "slower_start",
    "s_curve",
    "steep_s_curve",
)
_CHANNELS: Final[dict[int, Literal["all", "mono", "swapped", "left", "right"]]] = {
    0: "all",
    1: "swapped",
    2: "mono",
    3: "left",
    4: "right",
}
_NO_SOUND: Final = ("VIDEO", "RPP_PROJECT")
_MADE_BY_REAPER: Final = {"CLICK": "Reaper's click", "LTC": "Reaper's timecode"}
_OF_TAKES: Final = {
    "VOLENV": "an envelope of its volume",
    "PANENV": "an envelope of its pan",
    "MUTEENV": "an envelope of its mute",
    "PITCHENV": "an envelope of its pitch",
    "TAKEFX": "effects of its own",
}
"""What a take may have that is not rendered."""
_REVERSED: Final = 2
_MAX_EVENTS: Final = 300_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LyingItems:
    """What lies on one track."""

    clips: tuple[Clip, ...]
    notes: tuple[DawNote, ...]
    lanes: tuple[ControllerLane, ...]


class _Take:
    """The lines and the source of one take, beside those of its item."""

    def __init__(self, item: Block) -> None:
        self.item = item
        self.block = _active_take(item)

    @property
    def name(self) -> str:
        return next(iter(self.block.first("NAME")), "") or next(iter(self.item.first("NAME")), "")

    @property
    def source(self) -> Block | None:
        return next(self.block.blocks("SOURCE"), None)

    @property
    def gain(self) -> float:
        own = number(self.item.first("VOLPAN"), 0, 1.0)
        take = self.block.first("TAKEVOLPAN")
        return own * (number(take, 1, 1.0) if take else number(self.block.first("VOLPAN"), 2, 1.0))

    @property
    def pan(self) -> float:
        take = self.block.first("TAKEVOLPAN")
        value = number(take, 0, 0.0) if take else number(self.block.first("VOLPAN"), 1, 0.0)
        return float(np.clip(value, -1.0, 1.0))


class ItemReader:
    """Read the items of a project's tracks.

    Args:
        project: The project.
        tempo_map: Its clock.
        path: Its file.
        warnings: Gets a line for each item that cannot be taken over.
    """

    def __init__(self, project: Block, tempo_map: TempoMap, path: Path, warnings: list[str]) -> None:
        self._tempo_map, self._path, self._warnings = tempo_map, path, warnings
        self._n_notes = 0
        self._track = ""
        self._pools: dict[str, Block] = {}
        for track in project.blocks("TRACK"):
            for item in track.blocks("ITEM"):
                for source in item.blocks("SOURCE"):
                    pool = next(iter(source.first("POOLEDEVTS")), "")
                    if pool and source.first("HASDATA") and any(True for _ in source.values("E")):
                        self._pools.setdefault(pool, source)

    def _say(self, take: _Take, text: str) -> None:
        start_s = number(take.item.first("POSITION"), 0, 0.0)
        self._warnings.append(f"{place_text(self._track, start_s, 'item', take.name)} {text}")

    def read_track(self, track: Block, name: str) -> LyingItems:
        """Return what lies on a track of some name and sounds, in order of time."""
        self._track = name
        clips: list[Clip] = []
        notes: list[DawNote] = []
        lanes: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for item in track.blocks("ITEM"):
            if number(item.first("MUTE"), 0, 0.0) != 0:
                continue
            take = _Take(item)
            kind = "" if take.source is None else next(iter(take.source.head_words), "")
            if kind in ("MIDI", "MIDIPOOL"):
                self._read_midi(take, notes, lanes)
            elif kind in _MADE_BY_REAPER:
                self._say(take, f"plays {_MADE_BY_REAPER[kind]}: left out; glue it in Reaper")
            elif take.source is not None and kind not in ("", "EMPTY"):
                clip = self._read_clip(take, kind)
                if clip is not None:
                    clips.append(clip)
        return LyingItems(
            clips=tuple(sorted(clips, key=lambda clip: clip.start_s)),
            notes=tuple(sorted(notes, key=lambda note: (note.start_beats, note.key))),
            lanes=tuple(
                ControllerLane(controller=controller, channel=channel, points=tuple(sorted(points)))
                for (controller, channel), points in sorted(lanes.items())
            ),
        )

    def _read_clip(self, take: _Take, kind: str) -> Clip | None:
        source, item = take.source, take.item
        assert source is not None
        section: tuple[float, float] | None = None
        is_reversed = False
        if kind == "SECTION":
            start_s = number(source.first("STARTPOS"), 0, 0.0)
            length_s = number(source.first("LENGTH"), 0, 0.0)
            mode = int(number(source.first("MODE"), 0, 0.0))
            is_reversed = bool(mode & _REVERSED)
            section = (start_s, start_s + length_s) if length_s > 0 else None
            source = next(source.blocks("SOURCE"), source)
        written = next(iter(source.first("FILE")), "")
        if not written:
            self._say(take, "names no file: left out")
            return None
        plain = Path(written.replace("\\", "/"))
        if kind in _NO_SOUND or plain.suffix.lower() not in AUDIO_SUFFIXES:
            self._say(take, f"plays {written}, which is no audio file that is read: left out")
            return None
        rate_line = take.block.first("PLAYRATE")
        rate = number(rate_line, 0, 1.0)
        if rate <= 0 or number(rate_line, 2, 0.0) != 0:
            self._say(take, "is shifted in pitch: left out; glue it in Reaper")
            return None
        if any(True for name in ("STRETCHMARKER", "SM") for _ in take.block.values(name)):
            self._say(take, "has stretch markers: left out; glue it in Reaper")
            return None
        channel = _CHANNELS.get(int(number(take.block.first("CHANMODE"), 0, 0.0)))
        if channel is None:
            self._say(take, "plays single channels of its file: left out; glue it in Reaper")
            return None
        start_s, length_s = number(item.first("POSITION"), 0, 0.0), number(item.first("LENGTH"), 0, 0.0)
        offset_s = number(take.block.first("SOFFS"), 0, 0.0)
        if offset_s < 0:  # silence comes first
            start_s, length_s = start_s - offset_s / rate, length_s + offset_s / rate
            offset_s = 0.0
        if length_s <= 0:
            return None
        for what in _unfollowed(take.block):
            self._say(take, f"has {what}, rendered without; glue it in Reaper to keep it")
        media = find_media(self._path, written)
        if media.note:
            self._say(take, f"plays a file of another computer: {media.note}")
        return Clip(
            name=take.name or plain.stem,
            media=media.path,
            is_embedded=False,
            start_s=start_s,
            duration_s=length_s,
            offset_s=offset_s,
            section_s=section,
            gain=take.gain,
            pan=take.pan,
            fade_in=_fade(item.first("FADEIN"), length_s),
            fade_out=_fade(item.first("FADEOUT"), length_s),
            is_reversed=is_reversed,
            loop=FileLoop() if number(item.first("LOOP"), 0, 0.0) != 0 else None,
            rate=rate,
            keeps_pitch=rate != 1.0 and number(rate_line, 1, 1.0) != 0,
            channel=channel,
        )

    def _read_midi(
        self, take: _Take, notes: list[DawNote], lanes: dict[tuple[int, int], list[tuple[float, float]]]
    ) -> None:
        source = take.source
        assert source is not None
        if not any(True for _ in _events(source)):
            source = self._pools.get(next(iter(source.first("POOLEDEVTS")), ""), source)
        words = source.first("HASDATA")  # whether, ticks, unit of the ticks
        if not words or number(words, 0, 0.0) != 1:
            if source.first("FILE"):
                self._say(take, "plays a MIDI file beside the project: left out")
            return
        ticks_per_beat = max(1.0, number(words, 1, 960.0))
        rate = max(1e-3, number(take.block.first("PLAYRATE"), 0, 1.0))
        start_s = number(take.item.first("POSITION"), 0, 0.0)
        end_s = start_s + number(take.item.first("LENGTH"), 0, 0.0)
        start, end = self._tempo_map.seconds_to_beats([start_s, end_s]).tolist()
        offset_s = number(take.block.first("SOFFS"), 0, 0.0) * rate
        offset = float(self._tempo_map.seconds_to_beats(start_s + offset_s)) - start
        events = list(_events(source))
        length = sum(delta for delta, _, _ in events) / ticks_per_beat
        loops = number(take.item.first("LOOP"), 0, 0.0) != 0 and length > 0
        n_passes = 1
        if loops:  # one that would begin a hair before the end has not begun
            n_passes += int(min(1e6, ((end - start - HAIR_BEATS) * rate + offset) // length))
        if n_passes * len(events) > _MAX_EVENTS:
            self._say(take, f"has more than {_MAX_EVENTS} MIDI events: left out")
            return
        for one in range(n_passes):
            zero = start + (one * length - offset) / rate
            _play(events, zero, ticks_per_beat * rate, (start, end), notes, lanes)
        self._n_notes = len(notes)
        check_count(self._n_notes, MAX_ITEMS * 40, "notes", str(self._path))


def _unfollowed(take: Block) -> Iterator[str]:
    """Return what a take has and uses that is not rendered."""
    for block in take.blocks():
        is_empty = block.name == "TAKEFX" and not any(True for _ in block.blocks())
        if block.name in _OF_TAKES and not is_empty and block.first("ACT")[:1] != ["0"]:
            yield _OF_TAKES[block.name]


def _active_take(item: Block) -> Block:
    """Return the lines of the take that plays, as a block of their own."""
    takes = [Block(item.head)]
    active = 0
    for child in item.children:
        if isinstance(child, str) and child.strip().split(" ", 1)[0] == "TAKE":
            takes.append(Block(item.head))
            if "SEL" in child.split():
                active = len(takes) - 1
            continue
        takes[-1].children.append(child)
    return takes[active]


def _fade(words: Words, clip_s: float) -> ClipFade | None:
    """Return a fade: its own length, or that of the crossfade made of it, and its curve."""
    length_s = number(words, 2, 0.0) or number(words, 1, 0.0)
    if length_s <= 0:
        return None
    index = int(number(words, 3, number(words, 0, 0.0)))
    shape = _SHAPES[index] if 0 <= index < len(_SHAPES) else "linear"
    return ClipFade(length_s=min(length_s, clip_s), shape=shape)


def _events(source: Block) -> Iterator[tuple[int, bool, bytes]]:
    """Return a MIDI source's events: ticks since the one before, whether it is muted, its bytes."""
    for child in source.children:
        if isinstance(child, Block):
            words = child.head.strip()[1:].split()
            if words and words[0].upper() == "X" and len(words) > 1 and words[1].isdecimal():
                yield int(words[1]), True, b""  # text or system-exclusive: only its time counts
            continue
        words = child.split()
        if not words or words[0] not in ("E", "e", "Em", "em") or len(words) < 5:
            continue
        try:
            message = bytes(int(word, 16) for word in words[2:5])
            yield int(words[1]), words[0].endswith("m"), message
        except ValueError:
            continue


def _play(
    events: Sequence[tuple[int, bool, bytes]],
    zero: float,
    ticks_per_beat: float,
    span: tuple[float, float],
    notes: list[DawNote],
    lanes: dict[tuple[int, int], list[tuple[float, float]]],
) -> None:
    """Add one pass over a source: its first tick is at beat `zero`, and what is heard lies in `span`."""
    tick = 0
    sounding: dict[tuple[int, int], tuple[float, int]] = {}

    def end_note(place: tuple[int, int], beat: float) -> None:
        began, velocity = sounding.pop(place)
        first, last = max(began, span[0]), min(beat, span[1])
        if span[0] - HAIR_BEATS <= began < span[1] - HAIR_BEATS and first < last:
            notes.append(
                DawNote(
                    start_beats=first,
                    duration_beats=last - first,
                    key=place[1],
                    velocity=velocity / 127,
                    channel=place[0],
                )
            )

    for delta, is_muted, message in events:
        tick += delta
        if is_muted or not message:
            continue
        beat = zero + tick / ticks_per_beat
        kind, channel = message[0] & 0xF0, message[0] & 0x0F
        place = (channel, message[1])
        if kind in (0x80, 0x90):
            if place in sounding:
                end_note(place, beat)
            if kind == 0x90 and message[2]:
                sounding[place] = (beat, message[2])
        elif kind == 0xB0 and message[1] < 120 and span[0] - HAIR_BEATS <= beat < span[1] - HAIR_BEATS:
            lanes.setdefault((message[1], channel), []).append((max(beat, span[0]), message[2] / 127))
    for place in list(sounding):
        end_note(place, zero + tick / ticks_per_beat)
