"""Compare what is read of real MIDI files with what mido and symusic read of them.

Run ``PYTHONPATH=. python tests/bench/midi_corpus.py FOLDER`` from the repository; it prints its table as
Markdown. The test suites of MIDI libraries are a good folder. Where the two readers disagree, one of them is
wrong, and which one nobody can tell from outside; where they agree, we are to say the same.

Meant differences are counted apart: CC 120 and 123..127 end notes, which both readers let sound on.
``--differences`` names the other files that differ on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import mido
import symusic

from bridge.errors import MidiFileError
from bridge.midi.file import MidiFile, parse_midi
from bridge.midi.messages import CONTROLLER, ENDS_NOTES, NOTE_OFF, NOTE_ON
from bridge.midi.notes import read_notes
from bridge.midi.song_clock import build_tempo_map

SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
SAME_S = 1e-3
"""Times that are less apart count as equal: symusic keeps seconds in 32 bits."""

T = TypeVar("T", bound=Hashable)
Note = tuple[int, int, int, int]
"""Start and end tick, pitch, velocity."""

Event = tuple[int, int, int, int, int, int]
"""Tick, track, channel, kind of message, and its two data bytes."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one reader says of a file; None is what it cannot tell.

    Args:
        tracks: How many tracks.
        notes: Every note that has its off, and how often it is there.
        channels: How many of them each channel has, 0-based.
        tempos: (tick, microseconds a beat) where they change.
        meters: (tick, numerator, denominator) where they change.
        end_s: When the last of the notes ends, in seconds.
    """

    tracks: int | None
    notes: Counter[Note]
    channels: Counter[int] | None
    tempos: tuple[tuple[int, int], ...]
    meters: tuple[tuple[int, tuple[int, int]], ...]
    end_s: float


ASPECTS = tuple(Reading.__dataclass_fields__)


def changes(values: Mapping[int, T], before: T) -> tuple[tuple[int, T], ...]:
    """Return (tick, value) where the value becomes another."""
    found = []
    for tick, value in sorted(values.items()):
        if value != before:
            found.append((tick, value))
        before = value
    return tuple(found)


def pair(
    events: Iterable[Event], end_tick: int, *, by_mode: bool
) -> tuple[Counter[Note], Counter[int], Counter[tuple[int, Note]]]:
    """Pair notes first in first out: those with an off, how many a channel has, and those without one.

    Args:
        events: In order of time.
        end_tick: Where notes without an off end.
        by_mode: Whether all-notes-off and its like end notes.
    """
    held: dict[tuple[int, int], dict[int, deque[tuple[int, int]]]] = defaultdict(lambda: defaultdict(deque))
    notes: Counter[Note] = Counter()
    channels: Counter[int] = Counter()
    for tick, track, channel, kind, number, value in events:
        part, ended = held[track, channel], []
        if kind == NOTE_ON and value:
            part[number].append((tick, value))
        elif kind == CONTROLLER:
            ended = [number for number, waiting in part.items() for _ in waiting] if by_mode else []
        elif part[number]:
            ended = [number]
        for pitch in ended:
            start, velocity = part[pitch].popleft()
            notes[start, tick, pitch, velocity] += 1
            channels[channel] += 1
    hanging = Counter(
        (channel, (start, end_tick, pitch, velocity))
        for (_, channel), part in held.items()
        for pitch, waiting in part.items()
        for start, velocity in waiting
    )
    return notes, channels, hanging


def our_events(midi: MidiFile) -> Iterator[Event]:
    """Yield what starts and ends notes, as we read it."""
    columns = (midi.tick, midi.track, midi.channel, midi.message, midi.data1, midi.data2)
    for event in zip(*(column.tolist() for column in columns), strict=True):
        if event[3] in (NOTE_ON, NOTE_OFF) or (event[3] == CONTROLLER and event[4] in ENDS_NOTES):
            yield event


def mido_events(midi: mido.MidiFile) -> list[Event]:
    """Return the same as mido reads it."""
    found: list[Event] = []
    for number, track in enumerate(midi.tracks):
        tick = 0
        for message in track:
            tick += message.time
            if message.type in ("note_on", "note_off"):
                kind = NOTE_ON if message.type == "note_on" else NOTE_OFF
                found.append((tick, number, message.channel, kind, message.note, message.velocity))
            elif message.type == "control_change" and message.control in ENDS_NOTES:
                found.append((tick, number, message.channel, CONTROLLER, message.control, message.value))
    return sorted(found, key=lambda event: event[0])


def mido_reading(midi: mido.MidiFile) -> Reading:
    """Say what mido reads."""
    if midi.type == 2 or midi.ticks_per_beat <= 0:
        raise ValueError("mido knows no patterns and no SMPTE time")
    notes, channels, _ = pair(mido_events(midi), 0, by_mode=False)
    tempos: dict[int, int] = {}
    meters: dict[int, tuple[int, int]] = {}
    for track in midi.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                tempos[tick] = message.tempo
            elif message.type == "time_signature":
                meters[tick] = (message.numerator, message.denominator)
    last = max((end for _, end, _, _ in notes), default=0)
    end_s, now, us = 0.0, 0, 500_000
    for tick, tempo in [*sorted(tempos.items()), (last, 0)]:
        if tick > last:
            tick = last
        end_s += mido.tick2second(tick - now, midi.ticks_per_beat, us)
        now, us = tick, tempo
    return Reading(
        tracks=len(midi.tracks),
        notes=notes,
        channels=channels,
        tempos=changes(tempos, 500_000),
        meters=changes(meters, (4, 4)),
        end_s=end_s,
    )


def symusic_reading(data: bytes) -> Reading:
    """Say what symusic reads, which drops notes without an off, and splits tracks by channel and program."""
    score = symusic.Score.from_midi(data)
    seconds = score.to("second")
    return Reading(
        tracks=None,
        notes=Counter(
            (note.time, note.time + note.duration, note.pitch, note.velocity)
            for part in score.tracks
            for note in part.notes
        ),
        channels=None,
        tempos=changes({one.time: one.mspq for one in score.tempos}, 500_000),
        meters=changes({one.time: (one.numerator, one.denominator) for one in score.time_signatures}, (4, 4)),
        end_s=max((note.time + note.duration for part in seconds.tracks for note in part.notes), default=0.0),
    )


def our_reading(midi: MidiFile) -> Reading:
    """Say what we read, without the notes that have no off, which here end with the file."""
    clock, notes = build_tempo_map(midi), read_notes(midi)
    _, _, hanging = pair(our_events(midi), midi.end_tick, by_mode=True)
    columns = (notes.start_tick, notes.end_tick, notes.note, notes.velocity, notes.channel)
    counted: Counter[Note] = Counter()
    channels: Counter[int] = Counter()
    left = hanging.copy()
    for start, end, pitch, velocity, channel in zip(*(one.tolist() for one in columns), strict=True):
        note = (start, end, pitch, velocity)
        if left[channel - 1, note]:
            left[channel - 1, note] -= 1
        else:
            counted[note] += 1
            channels[channel - 1] += 1
    return Reading(
        tracks=len(midi.tracks),
        notes=counted,
        channels=channels,
        tempos=changes({one.tick: int(one.us_per_beat) for one in clock.tempos}, 500_000),
        meters=changes({one.tick: (one.numerator, one.denominator) for one in clock.meters}, (4, 4)),
        end_s=float(clock.ticks_to_seconds(max((end for _, end, _, _ in counted), default=0))),
    )


def is_same(one: object, other: object) -> bool:
    """Compare what two readers say of one thing; who cannot tell agrees."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= SAME_S + 1e-6 * abs(one)
    return one is None or other is None or one == other


def corpus(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every MIDI file of a folder once, whatever names it has."""
    seen: set[bytes] = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            data = path.read_bytes()
            if data not in seen:
                seen.add(data)
                yield path, data


def read_three_ways(data: bytes) -> tuple[MidiFile | None, mido.MidiFile | None, list[Reading]]:
    """Return our columns, mido's file, and what mido and symusic say as far as they read it."""
    ours = theirs = None
    readings = []
    with contextlib.suppress(MidiFileError):
        ours = parse_midi(data)
    with contextlib.suppress(Exception):  # whatever it raises, it does not read the file
        theirs = mido.MidiFile(file=io.BytesIO(data))
        readings.append(mido_reading(theirs))
    is_read = bool(readings)
    with contextlib.suppress(Exception):
        readings.append(symusic_reading(data))
    return ours, theirs if is_read else None, readings


def agreed_aspects(readings: list[Reading]) -> set[str]:
    """Return what two readings have in common; channels are told by mido alone, of notes that both read."""
    first, second = readings
    same = {name for name in ASPECTS if is_same(getattr(first, name), getattr(second, name))}
    return same if "notes" in same else same - {"channels", "end_s"}


def compare(folder: Path, differences: bool) -> list[tuple[str, str]]:
    """Read a folder in three ways and count."""
    count: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    for path, data in corpus(folder):
        midi, theirs, readings = read_three_ways(data)
        count.update({"files": 1, "ours": midi is not None, "mido": theirs is not None})
        count["symusic"] += len(readings) - (theirs is not None)
        if len(readings) < 2 or theirs is None:
            continue
        same = agreed_aspects(readings)
        agreed.update(same)
        is_agreed = len(same) == len(ASPECTS)
        count.update({"both": 1, "agreed": is_agreed})
        if midi is None:
            count["none"] += is_agreed and not readings[0].tracks
            continue
        ours = our_reading(midi)
        differing = {
            name for name in same for one in readings if not is_same(getattr(ours, name), getattr(one, name))
        }
        notes, channels, _ = pair(mido_events(theirs), 0, by_mode=True)
        if "notes" in differing and (ours.notes, ours.channels) == (notes, channels):
            differing -= {"notes", "channels", "end_s"}
            count["meant"] += is_agreed
        equal.update(same - differing)
        count["equal"] += is_agreed and not differing
        count["more"] += is_agreed and bool(differing) and len(midi.tracks) > len(theirs.tracks)
        if differences and differing:
            print(f"{path}: {', '.join(sorted(differing))}", file=sys.stderr)
    rows = [(title, f"{count[key]}") for title, key in (
        ("files", "files"),
        ("read by us", "ours"),
        ("read by mido", "mido"),
        ("read by symusic", "symusic"),
        ("read by both", "both"),
        ("both say the same of all below", "agreed"),
        ("and we say the same", "equal"),
        ("among these, with notes that CC 120 or 123..127 ends: by us only, and meant", "meant"),
        ("we say more: a whole track after those announced, which both leave out", "more"),
        ("we refuse it: it has no track at all", "none"),
    )]  # fmt: skip
    titles = {"tracks": "tracks (mido tells)", "channels": "channels (mido tells)", "end_s": "end of notes"}
    rows += [
        (f"{titles.get(name, name)}: both the same; we too", f"{agreed[name]}; {equal[name]}")
        for name in ASPECTS
    ]
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--differences", action="store_true", help="name the files that differ")
    options = parser.parse_args()
    logging.disable()
    for kind in (0x54, 0x59):  # SMPTE offsets and keys, of which mido refuses values that occur
        mido.midifiles.meta._META_SPECS[kind].decode = lambda _message, _data: None
    print("| what | files |\n|---|---|")
    for row in compare(options.folder, options.differences):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
