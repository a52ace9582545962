"""How well dreams play what they are told: chords on noise, drums and strings, a melody on noise, weights.

    python tests/bench/played.py [--half choose|report] [--only chords|melody|weights] [--set NAME=VALUE]
                                 [--network NAME] [--depth N] [--out tests/bench/played.md]

Eight bars of chords from 100 to 140 BPM over a ramp, the fifth bar in 7/8. The half `choose` is what settings
were chosen on, `report` has other chords, other sounds and other seeds. Who judges has no part in the dream:

- `share`   of the energy from 130 Hz to 4 kHz, how much lies on the chord's pitch classes, before and after,
            in percent: a transform and a table, no network
- `lag`     by how many milliseconds the chords' energy comes late: the shift at which it agrees best with
            the chords, over all changes; negative is early
- `onsets`  correlation of the onset envelopes, dry and wet
- `LU`      change of integrated loudness
- `right`   of the frames in which the judge hears a pitch, how many are within 50 cents of the melody's;
            `voiced` how many those are
- `rho`     Spearman's correlation of a weight and how surely its own network hears the class it moves

It needs the networks `notes` and `crepe` (`reverie networks get notes crepe`); strings and drums are rendered
by FluidSynth from the soundfonts named below, where they are installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import mido
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from transfer_measures import log_mel_db, loudness_change_lu, onset_correlation

from bridge.clock.tempo_map import TempoMap
from bridge.midi.note_matrix import NoteMatrix, chord_matrix
from bridge.midi.song_clock import read_tempo_map
from bridge.processors.pitch import choose_ear, hear_pitch
from dream_core import DreamSettings, Targets, dream, load_network
from dream_core.dsp.resample import resample
from dream_core.networks.hear_notes import hear_notes
from dream_core.objectives.notes import chord_bars

RATE = 44100
Sound = NDArray[np.float32]

SOUNDS = Path("/usr/share/sounds")
SONG = Path(__file__).resolve().parent.parent.parent / "examples" / "song"
MELODY_BPM = 120.0
MELODY_KEYS = (57, 64)
"""220 and 330 Hz, a beat each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """The material of one half.

    Args:
        chords: One a bar.
        seed: Of the noises.
        font: Where strings and drums come from.
        pad: Keys the strings hold, none of them led by the chords.
        beat: Keys of the drum kit on each eighth.
    """

    chords: str
    seed: int
    font: Path
    pad: tuple[int, ...]
    beat: tuple[tuple[int, ...], ...]


HALVES = {
    "choose": Half(
        chords="Am7|F|C/E|G7sus4|Dm7|Bbmaj7|E7|Am",
        seed=1,
        font=SOUNDS / "sf2" / "FluidR3_GM.sf2",
        pad=(50, 57, 62, 65),
        beat=((36, 42), (42,), (38, 42), (42,), (36, 42), (36, 42), (38, 42), (46,)),
    ),
    "report": Half(
        chords="Fm7|Bb7|Ebmaj7|Ab|Dm7b5|G7|Cm9|F#aug",
        seed=2,
        font=SOUNDS / "sf3" / "MuseScore_General_Lite.sf3",
        pad=(48, 55, 60, 64),
        beat=((35, 51), (51,), (40, 51), (35,), (51,), (35, 51), (40, 51), (51, 40)),
    ),
}


def write_song(path: Path, half: Half, n_bars: int) -> list[float]:
    """Write a song with a ramp of tempo and a bar of 7/8, drums and a pad; return the beats of its bars."""
    file, clock, drums, pad = mido.MidiFile(type=1, ticks_per_beat=960), [], [], []
    bars = [0.0]
    for bar in range(n_bars):
        beats = 3.5 if bar == 4 else 4.0
        meter = (7, 8) if bar == 4 else (4, 4)
        clock.append((bars[-1], mido.MetaMessage("time_signature", numerator=meter[0], denominator=meter[1])))
        for eighth in range(round(2 * beats)):
            at = bars[-1] + eighth / 2
            bpm = 100.0 + 40.0 * at / 31.5
            clock.append((at, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))))
            for key in half.beat[eighth]:
                drums.append((at, mido.Message("note_on", channel=9, note=key, velocity=100)))
                drums.append((at + 0.2, mido.Message("note_off", channel=9, note=key)))
        bars.append(bars[-1] + beats)
    pad.append((0.0, mido.Message("program_change", channel=0, program=48)))
    for key in half.pad:
        pad.append((0.0, mido.Message("note_on", channel=0, note=key, velocity=90)))
        pad.append((bars[-1], mido.Message("note_off", channel=0, note=key)))
    for events in (clock, drums, pad):
        track, now = mido.MidiTrack(), 0
        for beat, message in sorted(events, key=lambda event: event[0]):
            tick = round(beat * 960)
            track.append(message.copy(time=tick - now))
            now = tick
        file.tracks.append(track)
    file.save(path)
    return bars


def play(midi: Path, font: Path, track: int, folder: Path) -> Sound:
    """Render one track of a song by FluidSynth, mono."""
    whole = mido.MidiFile(midi)
    alone = mido.MidiFile(type=1, ticks_per_beat=whole.ticks_per_beat)
    alone.tracks += [whole.tracks[0], whole.tracks[track]]
    alone.save(folder / "alone.mid")
    out = folder / "alone.wav"
    command = ["fluidsynth", "-ni", "-g", "0.5", "-r", str(RATE), "-F", str(out), str(font)]
    subprocess.run([*command, str(folder / "alone.mid")], check=True, capture_output=True)
    return soundfile.read(out, dtype="float32", always_2d=True)[0].mean(axis=1)


def chord_sounds(half: Half, n_bars: int) -> tuple[dict[str, Sound], TempoMap, float]:
    """Return the sounds chords are played on, the song's clock and its length in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bars = write_song(folder / "song.mid", half, n_bars)
        tempo_map = read_tempo_map(folder / "song.mid")
        length_s = float(tempo_map.beats_to_seconds(bars[-1]))
        n = round(length_s * RATE)
        sounds = {"noise": 0.1 * np.random.default_rng(half.seed).standard_normal(n).astype(np.float32)}
        if half.font.exists():
            for what, track in (("drums", 1), ("strings", 2)):
                played = play(folder / "song.mid", half.font, track, folder)[:n]
                sounds[what] = np.pad(played, (0, n - len(played)))
    return sounds, tempo_map, length_s


def class_energy(sound: Sound, n_fft: int, hop: int) -> NDArray[np.float64]:
    """Return the energy of the twelve pitch classes over time, ``(12, frames)``, frames in the middle."""
    padded = np.pad(sound.astype(np.float64), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop] * np.hanning(n_fft)
    power = np.abs(np.fft.rfft(frames)) ** 2
    hz = np.fft.rfftfreq(n_fft, 1 / RATE)
    heard = (hz >= 130.0) & (hz <= 4000.0)
    keys = np.rint(69 + 12 * np.log2(hz[heard] / 440.0)).astype(int) % 12
    return np.stack([power[:, heard][:, keys == one].sum(axis=1) for one in range(12)])


def on_frames(matrix: NoteMatrix, n_frames: int, hop: int) -> NDArray[np.bool_]:
    """Return which pitch classes are wanted in the middle of each frame."""
    classes = np.stack([matrix.values[one::12].max(axis=0) for one in range(12)])
    at = np.minimum((np.arange(n_frames) * hop / RATE / matrix.frame_s).astype(int), classes.shape[1] - 1)
    return classes[:, at] > 0.5


def share(sound: Sound, matrix: NoteMatrix) -> float:
    """Return how much of a sound's energy lies on the pitch classes wanted, in percent."""
    energy = class_energy(sound, 8192, 1024)
    wanted = on_frames(matrix, energy.shape[1], 1024)
    return float(100.0 * (energy * wanted).sum() / energy.sum())


def lag_ms(wet: Sound, dry: Sound, matrix: NoteMatrix) -> float:
    """Return by how much the chords' energy is late: the shift at which it agrees best with the chords.

    Each pitch class is looked at beside its own mean, relative to what it was in the dry sound.
    """
    hop = 128
    gains = []
    for one in (wet, dry):
        energy = class_energy(one, 4096, hop)
        gains.append(np.log(energy + 1e-4 * energy.mean()))
    gain = gains[0] - gains[1]
    wanted = on_frames(matrix, gain.shape[1], hop).astype(float)
    gain, wanted = (field - field.mean(axis=1, keepdims=True) for field in (gain, wanted))
    reach = round(0.5 * RATE / hop)
    scores = []
    for shift in range(-reach, reach + 1):
        early, late = max(0, -shift), max(0, shift)
        n = gain.shape[1] - abs(shift)
        scores.append((gain[:, late : late + n] * wanted[:, early : early + n]).sum() / n)
    return (int(np.argmax(scores)) - reach) * hop / RATE * 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is dreamed with.

    Args:
        settings: The dreams' settings but for the objective.
        depth: Of the chords.
        network: Who hears them.
        n_bars: How many bars of them.
    """

    settings: DreamSettings
    depth: float
    network: str
    n_bars: int


def targets_of(matrix: NoteMatrix) -> Targets:
    """Return a matrix as dreams take it."""
    return Targets(values=torch.from_numpy(matrix.values), frame_s=matrix.frame_s)


def chord_rows(half: Half, options: Options) -> Iterator[list[str]]:
    """Dream chords into each sound and judge them."""
    sounds, tempo_map, length_s = chord_sounds(half, options.n_bars)
    matrix = chord_matrix(chord_bars(half.chords), tempo_map, length_s)
    network = load_network(options.network)
    settings = replace(options.settings, objective=f"chords:{half.chords}")
    for name, dry in sounds.items():
        began = time.process_time()
        wanted = {f"chords:{half.chords}": targets_of(matrix)}
        wet = dream(dry[None], RATE, network, settings, options.depth, targets=wanted)[0]
        cpu_s = time.process_time() - began
        mels = log_mel_db([dry, wet], RATE)
        yield [
            name,
            f"{share(dry, matrix):.0f}",
            f"{share(wet, matrix):.0f}",
            f"{lag_ms(wet, dry, matrix):+.0f}",
            f"{onset_correlation(*mels):.2f}",
            f"{loudness_change_lu(dry[None], wet[None], RATE):+.1f}",
            f"{cpu_s:.0f}",
        ]


def hear_keys_by_notes(sound: Sound) -> NDArray[np.float64]:
    """Return the pitch at every sample as `notes` hears it, the likeliest key, 0 where it is sure of none."""
    probabilities, frame_s = hear_notes(load_network("notes"), torch.from_numpy(sound), RATE)
    best = probabilities.max(dim=0)
    hz = np.where(best.values.numpy() > 0.5, 27.5 * 2.0 ** (best.indices.numpy() / 12), 0.0)
    at = np.minimum((np.arange(len(sound)) / RATE / frame_s + 0.5).astype(int), len(hz) - 1)
    return hz[at]


def hear_keys_by_crepe(sound: Sound) -> NDArray[np.float64]:
    """Return the pitch at every sample as crepe hears it, 0 where there is none."""
    return hear_pitch(sound.astype(np.float64), RATE, choose_ear("crepe", "cpu"))


def melody_rows(half: Half, options: Options) -> Iterator[list[str]]:
    """Dream a melody into noise with one network and let the other one judge."""
    n = 8 * RATE
    dry = 0.1 * np.random.default_rng(half.seed).standard_normal(n).astype(np.float32)
    beat = (np.arange(n) / RATE * MELODY_BPM / 60.0).astype(int)
    matrix = NoteMatrix.empty(8.0)
    for index in range(16):
        matrix.add([MELODY_KEYS[index % 2]], index * 0.5, (index + 1) * 0.5, 1.0)
    keys = np.array(MELODY_KEYS)[beat % 2]
    wanted_hz = 440.0 * 2.0 ** ((keys - 69) / 12)
    judges: dict[str, Callable[[Sound], NDArray[np.float64]]] = {
        "notes": hear_keys_by_crepe,
        "crepe": hear_keys_by_notes,
    }
    for name, judge in judges.items():
        settings = replace(options.settings, objective="notes:melody")
        wet = dream(
            dry[None], RATE, load_network(name), settings, 20.0, targets={"melody": targets_of(matrix)}
        )[0]
        heard = judge(wet)
        is_voiced = heard > 0
        cents = 1200.0 * np.abs(np.log2(np.where(is_voiced, heard, 1.0) / wanted_hz))
        right = 100.0 * (cents[is_voiced] < 50.0).mean() if is_voiced.any() else 0.0
        other = "crepe" if name == "notes" else "notes"
        yield [
            name,
            other,
            f"{right:.0f}",
            f"{100 * is_voiced.mean():.0f}",
            f"{lag_ms(wet, dry, matrix):+.0f}",
            f"{loudness_change_lu(dry[None], wet[None], RATE):+.1f}",
        ]


WEIGHTS_DEPTH = 4.0
"""Where neither network is sure yet: one that is, stays so whatever its weight."""

WEIGHTS = (
    ("timbre", "class:flute", "class:brass"),
    ("timbre and musicnn", "class:flute", "musicnn@class:techno"),
)


def weight_rows(half: Half, options: Options) -> Iterator[list[str]]:
    """Sweep one weight against another and correlate each with what its network hears."""
    sounds, *_ = chord_sounds(half, 2)
    network = load_network("timbre")
    steps = np.linspace(0.0, 1.0, 7)
    for what, *classes in WEIGHTS:
        settings = replace(options.settings, objective=f"{{air}}*{classes[0]} + {{edge}}*{classes[1]}")
        for name, sound in sounds.items():
            dry = sound[None, : 4 * RATE]
            scores = []
            for air in steps:
                weights = {"air": air, "edge": 1.0 - air}
                wet = dream(dry, RATE, network, settings, WEIGHTS_DEPTH, weights=weights)
                scores.append([log_odds(wet, text) for text in classes])
            air_scores, edge_scores = np.transpose(scores)
            rho = spearmanr(steps, air_scores).statistic, spearmanr(1.0 - steps, edge_scores).statistic
            yield [what, name, f"{rho[0]:.2f}", f"{rho[1]:.2f}"]


def log_odds(sound: Sound, text: str) -> float:
    """Return the mean log-odds of ``network@class:NAME``, over positions of the network's grid."""
    named, _, kind = text.rpartition("@")
    network = load_network(named or "timbre")
    index = network.card.classes.index(kind.partition(":")[2])
    n_positions = round(network.card.patch_s / network.card.frame_s)
    heard = []
    with torch.no_grad():
        mono = resample(torch.from_numpy(sound[:1]), RATE, network.card.sample_rate)
        for offset in range(0, n_positions, max(1, n_positions // 8)):
            logits = network(network.listen(mono, offset)[0]).double()
            if network.card.outputs == "independent":
                heard.append(logits[:, index])
            else:
                own = logits.log_softmax(dim=1)[:, index]
                heard.append(own - torch.log1p(-own.exp().clamp(max=1 - 1e-12)))
    return float(torch.cat(heard).mean())


TABLES: Mapping[str, tuple[tuple[str, ...], Callable[[Half, Options], Iterator[list[str]]]]] = {
    "chords": (("sound", "share before", "after", "lag ms", "onsets", "LU", "CPU s"), chord_rows),
    "melody": (("dreamed with", "judge", "right %", "voiced %", "lag ms", "LU"), melody_rows),
    "weights": (("networks", "sound", "rho air", "rho edge"), weight_rows),
}


def main() -> None:
    """Measure what is asked for, and print or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=sorted(HALVES), default="report")
    parser.add_argument("--only", choices=sorted(TABLES))
    parser.add_argument("--network", default="notes")
    parser.add_argument("--depth", type=float, default=12.0)
    parser.add_argument("--bars", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    changes = {"motion": 1.0, "balance": 0.0}
    for text in asked.set:
        name, _, value = text.partition("=")
        default = getattr(DreamSettings(), name)
        changes[name] = value == "true" if isinstance(default, bool) else type(default)(value)
    options = Options(
        settings=DreamSettings(**changes),  # type: ignore[arg-type]
        depth=asked.depth,
        network=asked.network,
        n_bars=asked.bars,
    )
    said = ", ".join(f"{name} = {value}" for name, value in changes.items())
    lines = [
        "# Played dreams",
        "",
        f"Generated by `python tests/bench/played.py`, half `{asked.half}`, network {asked.network}, depth "
        f"{asked.depth:g}, {said}; one thread of {os.cpu_count()}, {platform.machine()}.",
    ]
    for name, (head, rows) in TABLES.items():
        if asked.only in (None, name):
            lines += ["", f"## {name.capitalize()}", "", _line(head), _line(["---"] * len(head))]
            for row in rows(HALVES[asked.half], options):
                lines.append(_line(row))
                print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    if asked.out:
        asked.out.write_text(text)
    else:
        print(text)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
