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
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import mido
import symusic

from bridge.errors import MidiFileError
from bridge.midi.file import MidiFile, parse_midi
from bridge.midi.notes import read_notes
from bridge.midi.song_clock import build_tempo_map

SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
SAME_S = 1e-3
"""Times that are less apart count as equal: symusic keeps seconds in 32 bits."""

ENDS_NOTES = (120, *range(123, 128))

T = TypeVar("T", bound=Hashable)
Note = tuple[int, int, int, int]
"""Start and end tick, pitch, velocity."""


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


def pair(midi: mido.MidiFile, *, by_mode: bool) -> tuple[Counter[Note], Counter[int], Counter[Note]]:
    """Pair mido's notes first in first out: those with an off, how many a channel, those without one.

    Args:
        midi: The file.
        by_mode: Whether all-notes-off and its like end notes.
    """
    end_tick = max((sum(message.time for message in track) for track in midi.tracks), default=0)
    timed = []
    for number, track in enumerate(midi.tracks):
        tick = 0
        for message in track:
            tick += message.time
            timed.append((tick, number, message))
    held: dict[tuple[int, int, int], deque[tuple[int, int]]] = defaultdict(deque)
    notes: Counter[Note] = Counter()
    channels: Counter[int] = Counter()
    for tick, number, message in sorted(timed, key=lambda entry: entry[0]):
        if message.type == "note_on" and message.velocity:
            held[number, message.channel, message.note].append((tick, message.velocity))
        elif message.type in ("note_on", "note_off"):
            if waiting := held[number, message.channel, message.note]:
                start, velocity = waiting.popleft()
                notes[start, tick, message.note, velocity] += 1
                channels[message.channel] += 1
        elif by_mode and message.type == "control_change" and message.control in ENDS_NOTES:
            for (_, channel, pitch), waiting in held.items():
                while channel == message.channel and waiting:
                    start, velocity = waiting.popleft()
                    notes[start, tick, pitch, velocity] += 1
                    channels[channel] += 1
    hanging = Counter(
        (start, end_tick, pitch, velocity)
        for (_, _, pitch), waiting in held.items()
        for start, velocity in waiting
    )
    return notes, channels, hanging


def mido_reading(midi: mido.MidiFile) -> Reading:
    """Say what mido reads."""
    if midi.type == 2 or midi.ticks_per_beat <= 0:
        raise ValueError("mido knows no patterns and no SMPTE time")
    notes, channels, _ = pair(midi, by_mode=False)
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


def our_reading(midi: MidiFile, hanging: Counter[Note]) -> Reading:
    """Say what we read, without the notes that have no off, which here end with the file."""
    clock, notes = build_tempo_map(midi), read_notes(midi)
    columns = (notes.start_tick, notes.end_tick, notes.note, notes.velocity, notes.channel)
    counted: Counter[Note] = Counter()
    channels: Counter[int] = Counter()
    left = hanging.copy()
    for start, end, pitch, velocity, channel in zip(*(one.tolist() for one in columns), strict=True):
        note = (start, end, pitch, velocity)
        if left[note]:
            left[note] -= 1
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


def compare(folder: Path, differences: bool) -> list[tuple[str, str]]:
    """Read a folder in three ways and count."""
    count: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    for path, data in corpus(folder):
        count["files"] += 1
        midi = None
        try:
            midi = parse_midi(data, path.name)
            count["read by us"] += 1
        except MidiFileError as error:
            reason = str(error)
        try:
            read = mido.MidiFile(file=io.BytesIO(data))
            first = mido_reading(read)
            count["read by mido"] += 1
        except Exception:  # whatever it raises: it does not read the file
            first = None
        try:
            second = symusic_reading(data)
            count["read by symusic"] += 1
        except Exception:
            second = None
        if first is None or second is None:
            continue
        count["read by both"] += 1
        same = [name for name in ASPECTS if is_same(getattr(first, name), getattr(second, name))]
        agreed.update(same)
        count["agreed"] += len(same) == len(ASPECTS)
        if midi is None:
            print(f"{path.name}: refused by us: {reason}", file=sys.stderr)
            continue
        ours = our_reading(midi, pair(read, by_mode=False)[2])
        ours_equal = {name for name in same if is_same(getattr(ours, name), getattr(first, name))}
        if ours_equal != set(same):
            notes, _, hanging = pair(read, by_mode=True)
            plain, _, left = pair(read, by_mode=False)
            if (notes, hanging) != (plain, left) and our_reading(midi, hanging).notes == notes:
                count["meant"] += 1
                ours_equal |= {"notes", "channels", "end_s"} & set(same)
        equal.update(ours_equal)
        count["equal"] += len(same) == len(ASPECTS) and ours_equal == set(same)
        if differences and ours_equal != set(same):
            print(f"{path}: {', '.join(sorted(set(same) - ours_equal))}", file=sys.stderr)
    rows = [(name, f"{count[key]}") for name, key in (
        ("files", "files"),
        ("read by us", "read by us"),
        ("read by mido", "read by mido"),
        ("read by symusic", "read by symusic"),
        ("read by both", "read by both"),
        ("both agree on all of it", "agreed"),
        ("and we are equal to them", "equal"),
        ("of these with notes that only we end, at CC 120 or 123..127", "meant"),
    )]  # fmt: skip
    titles = {"end_s": "end of the last note"}
    rows += [
        (f"{titles.get(name, name)}: agreed, equal", f"{agreed[name]}, {equal[name]}") for name in ASPECTS
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
    with contextlib.redirect_stderr(sys.stderr):
        rows = compare(options.folder, options.differences)
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
