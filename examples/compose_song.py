"""Compose the example song and render its stems: `python examples/compose_song.py`.

Thirteen bars in D minor for drums, bass, keys and lead. The tempo rises from 108 to 126 BPM at the chorus,
the bar before it is 7/8, markers name the parts, and a CC1 lane on a track of its own says how deep to dream.
The same script always writes the same `song.mid`. Rendering needs FluidSynth and the FluidR3 GM soundfont.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import mido
import numpy as np
import pyloudnorm
import soundfile

TICKS_PER_BEAT = 960
SAMPLE_RATE = 44100
N_BARS = 13
SHORT_BAR = 8  # 7/8: three and a half beats
CHORUS_BAR = 9
TEMPOS_BPM = {1: 108.0, CHORUS_BAR: 126.0}
MARKERS = {1: "Intro", 3: "Verse", 8: "Turn", 9: "Chorus", 13: "End"}
TAIL_S = 1.5
LOUDNESS_LUFS, PEAK_DBFS = -20.0, -3.5

# Root and the four notes over it, one chord a bar; bar 12 turns to the dominant half way.
CHORDS: dict[int, tuple[int, tuple[int, ...]]] = {
    1: (38, (57, 60, 64, 65)),  # Dm9
    2: (34, (57, 60, 62, 65)),  # Bbmaj9
    3: (41, (55, 57, 60, 64)),  # Fmaj9
    4: (36, (55, 60, 62, 64)),  # Cadd9
    5: (31, (58, 62, 65, 69)),  # Gm9
    6: (33, (55, 60, 64, 67)),  # Am7
    7: (34, (57, 62, 65, 69)),  # Bbmaj7
    8: (33, (55, 59, 62, 64)),  # A9sus4
    9: (38, (57, 60, 64, 65)),
    10: (34, (57, 60, 62, 65)),
    11: (36, (55, 60, 64, 67)),
    12: (41, (57, 60, 64, 67)),
    13: (38, (57, 62, 64, 65)),  # Dm(add9)
}

# Bar: (pitch or None for a rest, beats) ...
MELODY: dict[int, tuple[tuple[int | None, float], ...]] = {
    3: ((69, 1.5), (72, 0.5), (76, 1.0), (74, 1.0)),
    4: ((72, 1.0), (74, 0.5), (67, 1.5), (None, 1.0)),
    5: ((70, 1.0), (69, 0.5), (67, 0.5), (74, 2.0)),
    6: ((72, 1.5), (76, 0.5), (79, 1.0), (76, 1.0)),
    7: ((77, 1.5), (74, 0.5), (69, 1.0), (70, 0.5), (72, 0.5)),
    8: ((74, 1.0), (76, 0.5), (79, 0.5), (81, 1.5)),
    9: ((81, 1.5), (77, 0.5), (76, 1.0), (74, 1.0)),
    10: ((77, 0.5), (76, 0.5), (74, 1.0), (69, 1.5), (72, 0.5)),
    11: ((76, 1.5), (79, 0.5), (84, 1.0), (79, 1.0)),
    12: ((81, 1.0), (77, 0.5), (76, 0.5), (73, 1.0), (76, 1.0)),
    13: ((74, 3.0),),
}

KICK, RIM, SNARE, CLOSED_HAT, OPEN_HAT, CRASH, RIDE = 36, 37, 38, 42, 46, 49, 51
TOMS = (50, 48, 45, 43, 41)


@dataclass(frozen=True, slots=True)
class Note:
    """A note in beats from the start of the song."""

    start_beats: float
    pitch: int
    length_beats: float
    velocity: int


@dataclass(slots=True)
class Part:
    """One stem: its notes, sound and room."""

    name: str
    channel: int
    program: int
    reverb: int
    is_mono: bool
    notes: list[Note] = field(default_factory=list)

    def play(self, start_beats: float, pitch: int, length_beats: float, velocity: int) -> None:
        """Add a note."""
        self.notes.append(Note(start_beats, pitch, length_beats, velocity))


def bar_beats(bar: int) -> float:
    """Return how many beats a bar lasts."""
    return 3.5 if bar == SHORT_BAR else 4.0


def bar_start_beats(bar: int) -> float:
    """Return where a bar, counted from 1, begins."""
    return sum(bar_beats(b) for b in range(1, bar))


def compose_drums(part: Part) -> None:
    """Brush in, groove from the verse, tumble through the short bar, open up in the chorus."""
    for bar in range(1, N_BARS + 1):
        start = bar_start_beats(bar)
        if bar == N_BARS:
            part.play(start, KICK, 0.5, 110)
            part.play(start, CRASH, 3.0, 100)
        elif bar == SHORT_BAR:
            for eighth in range(7):
                part.play(start + eighth / 2, TOMS[min(eighth // 2 + eighth % 2, 4)], 0.25, 78 + 6 * eighth)
            for eighth in (0, 3, 6):
                part.play(start + eighth / 2, KICK, 0.25, 104)
            part.play(start + 3.25, SNARE, 0.2, 112)
        elif bar >= CHORUS_BAR:
            _chorus_groove(part, start, is_first=bar == CHORUS_BAR)
        else:
            _verse_groove(part, start, is_intro=bar < 3)


def _verse_groove(part: Part, start: float, *, is_intro: bool) -> None:
    for eighth in range(0, 8, 2 if is_intro else 1):
        part.play(start + eighth / 2, CLOSED_HAT, 0.2, 66 if eighth % 2 else 88)
    for beat in (1.0, 3.0):
        part.play(start + beat, RIM if is_intro else SNARE, 0.25, 74 if is_intro else 98)
    if not is_intro:
        for beat in (0.0, 1.75, 2.5):
            part.play(start + beat, KICK, 0.25, 108)
        part.play(start + 3.75, SNARE, 0.2, 42)


def _chorus_groove(part: Part, start: float, *, is_first: bool) -> None:
    part.play(start, CRASH if is_first else RIDE, 2.0, 108 if is_first else 84)
    for eighth in range(8):
        part.play(start + eighth / 2, OPEN_HAT if eighth % 2 else RIDE, 0.4, 64 if eighth % 2 else 76)
    for beat in (1.0, 3.0):
        part.play(start + beat, SNARE, 0.25, 114)
    for beat in (0.0, 0.75, 2.0, 2.5, 3.5):
        part.play(start + beat, KICK, 0.25, 112)


def compose_bass(part: Part) -> None:
    """Hold roots in the intro, push them in the verse, drive eighths in the chorus."""
    for bar, (root, _) in CHORDS.items():
        start = bar_start_beats(bar)
        if bar < 3 or bar == N_BARS:
            part.play(start, root, 3.6, 88)
        elif bar == SHORT_BAR:
            for index, interval in enumerate((0, 0, 12, 0, 7, 10, 12)):
                part.play(start + index / 2, root + interval, 0.42, 96)
        elif bar < CHORUS_BAR:
            steps = ((0.0, 0, 1.3), (1.5, 0, 0.4), (2.0, 7, 0.4), (2.5, 12, 0.9), (3.5, 7, 0.4))
            for beat, interval, length in steps:
                part.play(start + beat, root + interval, length, 94)
        else:
            for eighth, interval in enumerate((0, 0, 12, 0, 7, 0, 12, 7)):
                turned = -8 if bar == 12 and eighth >= 4 else 0  # A under the second half of bar 12
                part.play(start + eighth / 2, root + turned + interval, 0.4, 92 + 8 * (eighth % 2 == 0))


def compose_keys(part: Part) -> None:
    """Roll chords in the intro, comp in the verse, arpeggiate in the chorus."""
    for bar, (_, chord) in CHORDS.items():
        start = bar_start_beats(bar)
        voicing = [(pitch, index * 0.04) for index, pitch in enumerate(chord)]
        if bar < 3 or bar == N_BARS:
            for pitch, strum in voicing:
                part.play(start + strum, pitch, 3.8 - strum, 70)
        elif bar <= SHORT_BAR:
            for beat, length, velocity in ((0.0, 1.4, 80), (1.5, 0.9, 66), (2.75, 0.7, 72)):
                for pitch, strum in voicing:
                    part.play(start + beat + strum / 4, pitch, length, velocity)
        else:
            turned = {60: 61, 65: 64} if bar == 12 else {}  # C to C#: the dominant
            for sixteenth in range(16):
                pitch = chord[(0, 2, 1, 3, 2, 1, 3, 2)[sixteenth % 8]]
                pitch = turned.get(pitch, pitch) if sixteenth >= 8 else pitch
                octave = 12 if sixteenth % 8 == 6 else 0
                part.play(start + sixteenth / 4, pitch + octave, 0.35, 84 if sixteenth % 4 == 0 else 64)


def compose_lead(part: Part) -> None:
    """Sing the melody from the verse on, an octave lower under itself in the chorus."""
    for bar, phrase in MELODY.items():
        beats = bar_start_beats(bar)
        for pitch, length in phrase:
            if pitch is not None:
                part.play(beats, pitch, length * 0.94, 92 if bar < CHORUS_BAR else 104)
                if bar >= CHORUS_BAR:
                    part.play(beats, pitch - 12, length * 0.94, 72)
            beats += length


def compose_depth() -> Iterator[tuple[float, int]]:
    """Yield the CC1 lane as (beats, value): rise in the verse, cut in the turn, sink in the chorus."""
    yield 0.0, 0
    verse, turn, chorus, end = (bar_start_beats(bar) for bar in (3, SHORT_BAR, CHORUS_BAR, N_BARS))
    for step in range(int((turn - verse) * 4)):
        yield verse + step / 4, round(100 * step / ((turn - verse) * 4 - 1))
    yield turn, 0
    for step in range(int((end - chorus) * 4)):
        yield chorus + step / 4, round(127 - 87 * step / ((end - chorus) * 4 - 1))
    yield end, 0


def compose() -> list[Part]:
    """Compose all four parts, with a player's small unevenness from a fixed seed."""
    writers: list[tuple[Part, Callable[[Part], None]]] = [
        (Part("drums", 9, 0, 0, False), compose_drums),
        (Part("bass", 1, 35, 0, True), compose_bass),
        (Part("keys", 2, 4, 40, False), compose_keys),
        (Part("lead", 0, 81, 30, True), compose_lead),
    ]
    player = random.Random(7)
    for part, write in writers:
        write(part)
        part.notes = [
            Note(n.start_beats, n.pitch, n.length_beats, max(1, min(127, n.velocity + player.randint(-5, 5))))
            for n in part.notes
        ]
    return [part for part, _ in writers]


def _ticks(beats: float) -> int:
    return round(beats * TICKS_PER_BEAT)


def _track(events: list[tuple[int, mido.Message | mido.MetaMessage]], name: str) -> mido.MidiTrack:
    """Build a track from (tick, message), ended with the last bar; note-offs come first where ticks meet."""
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    now = 0
    for tick, message in sorted(events, key=lambda event: (event[0], event[1].type == "note_on")):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=_ticks(bar_start_beats(N_BARS + 1)) - now))
    return track


def _conductor_track() -> mido.MidiTrack:
    events: list[tuple[int, mido.MetaMessage]] = []
    for bar, tempo_bpm in TEMPOS_BPM.items():
        message = mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo_bpm))
        events.append((_ticks(bar_start_beats(bar)), message))
    for bar, (numerator, denominator) in {1: (4, 4), SHORT_BAR: (7, 8), CHORUS_BAR: (4, 4)}.items():
        message = mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator)
        events.append((_ticks(bar_start_beats(bar)), message))
    for bar, text in MARKERS.items():
        events.append((_ticks(bar_start_beats(bar)), mido.MetaMessage("marker", text=text)))
    return _track(events, "Reverie example")


def _part_track(part: Part) -> mido.MidiTrack:
    channel = part.channel
    events: list[tuple[int, mido.Message]] = [
        (0, mido.Message("program_change", channel=channel, program=part.program)),
        (0, mido.Message("control_change", channel=channel, control=91, value=part.reverb)),
    ]
    for note in part.notes:
        start, end = _ticks(note.start_beats), _ticks(note.start_beats + note.length_beats)
        events.append(
            (start, mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity))
        )
        events.append((end, mido.Message("note_off", channel=channel, note=note.pitch)))
    return _track(events, part.name)


def _depth_track() -> mido.MidiTrack:
    """Put CC1 on a channel without notes, so that no synthesiser hears it as vibrato."""
    return _track(
        [
            (_ticks(beats), mido.Message("control_change", channel=15, control=1, value=value))
            for beats, value in compose_depth()
        ],
        "dream depth",
    )


def build_midi(parts: list[Part]) -> mido.MidiFile:
    """Build the song, or a single part of it, with the conductor's track."""
    midi = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    midi.tracks = [_conductor_track(), *(_part_track(part) for part in parts), _depth_track()]
    return midi


def song_length_s() -> float:
    """Return how long the stems are: the song and a tail."""
    chorus, end = bar_start_beats(CHORUS_BAR), bar_start_beats(N_BARS + 1)
    return chorus * 60.0 / TEMPOS_BPM[1] + (end - chorus) * 60.0 / TEMPOS_BPM[CHORUS_BAR] + TAIL_S


def render_stem(part: Part, soundfont: Path, path: Path) -> None:
    """Render one part with FluidSynth to 16-bit stereo FLAC, at -20 LUFS or with peaks at -3.5 dBFS."""
    with tempfile.TemporaryDirectory() as folder:
        midi_path, raw_path = Path(folder, "part.mid"), Path(folder, "part.raw")
        build_midi([part]).save(midi_path)
        command = ["fluidsynth", "-niq", "-g", "0.5", "-r", str(SAMPLE_RATE), "-F", str(raw_path)]
        command += ["-T", "raw", "-O", "float", str(soundfont), str(midi_path)]
        subprocess.run(command, check=True, capture_output=True)
        rendered = np.fromfile(raw_path, dtype="<f4").reshape(-1, 2)
    stem = np.zeros((round(song_length_s() * SAMPLE_RATE), 2))
    stem[: len(rendered)] = rendered[: len(stem)]
    if part.is_mono:
        stem[:] = stem.mean(axis=1, keepdims=True)
    stem[-SAMPLE_RATE // 10 :] *= np.linspace(1.0, 0.0, SAMPLE_RATE // 10)[:, None]
    loudness = pyloudnorm.Meter(SAMPLE_RATE).integrated_loudness(stem)
    peak_dbfs = 20.0 * np.log10(np.abs(stem).max())
    stem *= 10.0 ** (min(LOUDNESS_LUFS - loudness, PEAK_DBFS - peak_dbfs) / 20.0)
    pcm = np.round(stem * 32767.0).astype(np.int16)
    soundfile.write(path, pcm, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)


def main() -> None:
    """Write song.mid and, where FluidSynth is there, the stems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "song")
    parser.add_argument("--soundfont", type=Path, default=Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"))
    parser.add_argument("--midi-only", action="store_true", help="write song.mid, render nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    parts = compose()
    build_midi(parts).save(options.out / "song.mid")
    if not options.midi_only:
        for part in parts:
            render_stem(part, options.soundfont, options.out / f"{part.name}.flac")
            print(options.out / f"{part.name}.flac")


if __name__ == "__main__":
    main()
