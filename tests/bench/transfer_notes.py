"""Notes to dream of and to compare with: single notes of General MIDI soundfonts, rendered by FluidSynth.

The bench's notes come from TimGM6mb, and what the judges learn from comes from the soundfont of csound; no
network was trained on either. The programs of TimGM6mb are split in two halves, by odd and even numbers:
settings are chosen on one and reported on the other.

Conventions: notes are mono float32 at 44.1 kHz, each at a peak of -6 dBFS and begun after 0.1 s of silence,
so that its onset can be heard and spoilt; pitches are MIDI keys, 69 is 440 Hz.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

from dream_core.training.notes import FAMILY_PRESETS, PITCH_RANGES

__all__ = [
    "CSOUND",
    "FAMILIES",
    "HALVES",
    "LEAD_S",
    "RATE",
    "TIM",
    "Note",
    "Pair",
    "Soundfont",
    "choose_pairs",
    "even_notes",
    "render",
    "stems",
    "whole_scale",
]

RATE = 44100
FAMILIES = ("brass", "flute", "guitar", "organ", "string", "vocal")
"""What sounds are dreamed towards."""

SUSTAINED = ("brass", "flute", "organ", "reed", "string", "synth_lead", "vocal")
HALVES = {"choose": 0, "report": 1}
"""The remainder by two of the program numbers of each half."""

LEAD_S = 0.1
NOTE_S = 2.0
HELD_S = 9.0
_PEAK = 0.5
_TICKS_PER_SECOND = 960
_RELEASE_S = 0.4
_FADE_S = 0.02
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Soundfont:
    """A soundfont, and the Debian package it comes with."""

    path: Path
    package: str


TIM = Soundfont(Path("/usr/share/sounds/sf2/TimGM6mb.sf2"), "timgm6mb-soundfont")
CSOUND = Soundfont(Path("/usr/share/sounds/sf2/sf_GMbank.sf2"), "csound-soundfont")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One note.

    Args:
        family: Of `dream_core.networks.timbre.CLASSES`.
        program: General MIDI, from 0.
        pitch: MIDI key.
        velocity: 1..127.
        length_s: Of the sound: silence before the onset, the note, and what is left once the key is let go.
    """

    family: str
    program: int
    pitch: int
    velocity: int
    length_s: float = NOTE_S

    @property
    def f0_hz(self) -> float:
        """Its fundamental."""
        return float(440.0 * 2.0 ** ((self.pitch - 69) / 12))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A sound, and the family it is to be dreamed towards.

    Args:
        index: Its number; seeds what is random in a row.
        source: Its family, or the stem's name.
        target: A family.
        f0_hz: Its fundamental; 0 where there is none or more than one.
        kind: ``note``, ``held`` or ``stem``.
        sound: ``(channels, samples)``.
    """

    index: int
    source: str
    target: str
    f0_hz: float
    kind: str
    sound: NDArray[np.float32] = field(repr=False)


def _programs(family: str, remainder: int | None) -> list[int]:
    return [
        program
        for bank, program in FAMILY_PRESETS[family]
        if bank == 0 and (remainder is None or program % 2 == remainder)
    ]


def choose_notes(
    target: str, n_notes: int, remainder: int, seed: int, length_s: float = NOTE_S
) -> list[Note]:
    """Draw notes of all families but the target's, in a range where both play; families take turns."""
    generator = np.random.default_rng([seed, remainder, FAMILIES.index(target), round(length_s)])
    allowed = FAMILY_PRESETS if length_s == NOTE_S else SUSTAINED
    others = [family for family in allowed if family != target and _programs(family, remainder)]
    generator.shuffle(others)
    notes = []
    for index in range(n_notes):
        family = others[index % len(others)]
        low = max(PITCH_RANGES[family][0], PITCH_RANGES[target][0])
        high = min(PITCH_RANGES[family][1], PITCH_RANGES[target][1])
        note = Note(
            family=family,
            program=int(generator.choice(_programs(family, remainder))),
            pitch=int(generator.integers(low, high)),
            velocity=int(generator.integers(50, 120)),
            length_s=length_s,
        )
        notes.append(note)
    return notes


def even_notes(
    remainder: int | None, pitch_step: int, velocities: Sequence[int], families: Sequence[str] = FAMILIES
) -> list[Note]:
    """Return every family's notes at every few keys: what judges learn from and are examined on."""
    return [
        Note(family=family, program=program, pitch=pitch, velocity=velocity)
        for family in families
        for program in _programs(family, remainder)
        for pitch in range(
            PITCH_RANGES[family][0] + program % pitch_step, PITCH_RANGES[family][1], pitch_step
        )
        for velocity in velocities
    ]


def whole_scale(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a sound at the bench's peak; one that is silent as it is."""
    peak = float(np.abs(sound).max(initial=0.0))
    return (sound * (_PEAK / peak)).astype(np.float32) if peak > 1e-4 else sound


def render(notes: Sequence[Note], font: Soundfont, cache: Path) -> list[NDArray[np.float32]]:
    """Render notes, each ``(samples,)``; silent ones, beyond an instrument's keys, come back as zeros.

    What was rendered before is read from the cache.

    Raises:
        SystemExit: FluidSynth or the soundfont is not there.
    """
    key = hashlib.sha256(repr((font.path.name, LEAD_S, list(notes))).encode()).hexdigest()[:16]
    path = cache / f"notes-{key}.npz"
    if path.exists():
        with np.load(path) as kept:
            return [kept[str(index)] for index in range(len(notes))]
    _check_tools(font)
    cache.mkdir(parents=True, exist_ok=True)
    found: dict[int, NDArray[np.float32]] = {}
    for program in sorted({note.program for note in notes}):
        indices = [index for index, note in enumerate(notes) if note.program == program]
        rendered = _render_program(program, [notes[index] for index in indices], font)
        found |= dict(zip(indices, rendered, strict=True))
    with tempfile.NamedTemporaryFile(dir=cache, suffix=".npz", delete=False) as part:
        np.savez(part, **{str(index): sound for index, sound in found.items()})  # type: ignore[arg-type]
    Path(part.name).replace(path)
    return [found[index] for index in range(len(notes))]


def _render_program(program: int, notes: Sequence[Note], font: Soundfont) -> list[NDArray[np.float32]]:
    song, track = mido.MidiFile(ticks_per_beat=_TICKS_PER_SECOND // 2), mido.MidiTrack()
    song.tracks.append(track)
    track.append(mido.Message("program_change", program=program))
    events: list[tuple[float, mido.Message]] = []
    start_s, starts = 0.0, []
    for note in notes:
        starts.append(start_s)
        end_s = start_s + note.length_s
        events += [
            (start_s + LEAD_S, mido.Message("note_on", note=note.pitch, velocity=note.velocity)),
            (end_s - _RELEASE_S, mido.Message("note_off", note=note.pitch)),
            (end_s, mido.Message("control_change", control=120, value=0)),
        ]
        start_s = end_s + 0.1
    now = 0
    for time_s, message in [*events, (start_s, mido.Message("control_change", control=120, value=0))]:
        tick = round(time_s * _TICKS_PER_SECOND)
        track.append(message.copy(time=tick - now))
        now = tick
    with tempfile.TemporaryDirectory() as folder:
        song.save(f"{folder}/notes.mid")
        command = ["fluidsynth", "-niq", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE)]
        command += ["-F", f"{folder}/notes.raw", "-T", "raw", "-O", "float"]
        subprocess.run([*command, str(font.path), f"{folder}/notes.mid"], check=True, capture_output=True)
        stereo = np.fromfile(f"{folder}/notes.raw", dtype="<f4").reshape(-1, 2)
    mono = np.pad(stereo.mean(axis=1), (0, round(HELD_S * RATE)))
    cut = [
        mono[round(start * RATE) :][: round(note.length_s * RATE)].copy()
        for start, note in zip(starts, notes, strict=True)
    ]
    fade = np.linspace(1.0, 0.0, round(_FADE_S * RATE), dtype=np.float32)
    for sound in cut:
        sound[-len(fade) :] *= fade
    return [whole_scale(sound) for sound in cut]


def choose_pairs(
    half: str, n_notes: int, n_held: int, seed: int, cache: Path, *, with_stems: bool = False
) -> list[Pair]:
    """Return what is dreamed: notes, held notes and stems, each with its target."""
    chosen: list[tuple[str, str, Note]] = []
    for target in FAMILIES:
        for kind, count, length_s in (("note", n_notes, NOTE_S), ("held", n_held, HELD_S)):
            notes = choose_notes(target, count, HALVES[half], seed, length_s)
            chosen += [(kind, target, note) for note in notes]
    sounds = render([note for _, _, note in chosen], TIM, cache)
    pairs = [
        Pair(
            index=index,
            source=note.family,
            target=target,
            f0_hz=note.f0_hz,
            kind=kind,
            sound=np.ascontiguousarray(sound[None]),
        )
        for index, ((kind, target, note), sound) in enumerate(zip(chosen, sounds, strict=True))
        if np.abs(sound).max() > 0
    ]
    return pairs + (stems(len(chosen)) if with_stems else [])


def stems(first_index: int, start_s: float = 4.0, length_s: float = 10.0) -> list[Pair]:
    """Return the example song's stems but the drums, each towards every family."""
    pairs: list[Pair] = []
    for name in ("bass", "keys", "lead"):
        sound, rate = soundfile.read(
            ROOT / f"examples/song/{name}.flac",
            dtype="float32",
            always_2d=True,
            start=round(start_s * RATE),
            frames=round(length_s * RATE),
        )
        assert rate == RATE
        for target in FAMILIES:
            pair = Pair(
                index=first_index + len(pairs),
                source=name,
                target=target,
                f0_hz=0.0,
                kind="stem",
                sound=np.ascontiguousarray(sound.T),
            )
            pairs.append(pair)
    return pairs


def _check_tools(font: Soundfont) -> None:
    remedy = f"on Debian: apt install fluidsynth {font.package}"
    if shutil.which("fluidsynth") is None:
        raise SystemExit(f"fluidsynth is not installed; {remedy}")
    if not font.path.exists():
        raise SystemExit(f"soundfont {font.path} is not there; {remedy}")
