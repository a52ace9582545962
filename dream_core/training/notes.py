"""A dataset of single notes, rendered from a General MIDI soundfont by FluidSynth.

Conventions: programs are numbered from 0, as on the wire. Every note lies in a slot of its own, two seconds
long, beginning at its onset; it is stored at its own peak, so loudness is for the augmentation to decide.
Whole programs are held out for validation: a network never hears one note of them in training.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dream_core.errors import SettingError
from dream_core.frontend import resample
from dream_core.networks.timbre import CLASSES

__all__ = ["FAMILY_PROGRAMS", "NoteTable", "is_held_out", "read_notes", "render_notes"]

FAMILY_PROGRAMS: dict[str, tuple[int, ...]] = {
    "bass": tuple(range(32, 40)),
    "brass": tuple(range(56, 64)),
    "flute": tuple(range(72, 80)),
    "guitar": tuple(range(24, 32)),
    "keyboard": tuple(range(8)),
    "mallet": tuple(range(8, 16)),
    "organ": tuple(range(16, 24)),
    "reed": tuple(range(64, 72)),
    "string": (*range(40, 47), *range(48, 52)),
    "synth_lead": tuple(range(80, 88)),
    "vocal": (52, 53, 54, 91),
}

_PITCH_RANGES = {
    "bass": (24, 64),
    "brass": (34, 86),
    "flute": (52, 98),
    "guitar": (36, 88),
    "keyboard": (24, 102),
    "mallet": (40, 100),
    "organ": (32, 96),
    "reed": (34, 90),
    "string": (28, 98),
    "synth_lead": (36, 96),
    "vocal": (38, 86),
}

_SLOT_S = 2.0
_VELOCITIES = (20, 45, 70, 95, 120)
_RENDER_RATE = 44100
_TICKS_PER_SECOND = 1920  # 960 a beat at 120 BPM


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteTable:
    """Rendered notes and what they are.

    Args:
        waveforms: int16, one note a row, full scale at each note's own peak.
        programs: General MIDI program, 0..127.
        pitches: MIDI note number.
        velocities: 1..127.
        sample_rate: Hz.

    Shape:
        waveforms ``(notes, samples)``; the others ``(notes,)``.
    """

    waveforms: NDArray[np.int16]
    programs: NDArray[np.int64]
    pitches: NDArray[np.int64]
    velocities: NDArray[np.int64]
    sample_rate: int

    @property
    def families(self) -> NDArray[np.int64]:
        """Index into the classes of every note."""
        of_program = {p: i for i, name in enumerate(CLASSES) for p in FAMILY_PROGRAMS[name]}
        return np.array([of_program[int(p)] for p in self.programs], dtype=np.int64)


def is_held_out(program: int) -> bool:
    """Say whether a program is kept for validation: number % 8 == 5, which is one in each family.

    >>> [p for p in FAMILY_PROGRAMS["vocal"] if is_held_out(p)]
    [53]
    """
    return program % 8 == 5


@dataclass(frozen=True, slots=True)
class _Note:
    pitch: int
    velocity: int
    duration_s: float
    bend: int
    reverb: int
    chorus: int


def _draw_notes(program: int, family: str) -> list[_Note]:
    """Choose a program's notes: every second pitch at five velocities, each with its own length and room."""
    generator = np.random.default_rng(program)
    lowest, highest = _PITCH_RANGES[family]
    return [
        _Note(
            pitch=pitch,
            velocity=int(np.clip(velocity + generator.integers(-8, 8), 1, 127)),
            duration_s=float(0.12 * 12.0 ** generator.uniform()),
            bend=int(8192 + generator.integers(-1200, 1200)),
            reverb=int(generator.choice([0, 0, 40, 90])),
            chorus=int(generator.choice([0, 0, 0, 60])),
        )
        for pitch in range(lowest + int(generator.integers(0, 2)), highest, 2)
        for velocity in _VELOCITIES
    ]


def _variable_length(value: int) -> bytes:
    encoded = [value & 0x7F]
    while value := value >> 7:
        encoded.append(0x80 | (value & 0x7F))
    return bytes(reversed(encoded))


def _midi_bytes(program: int, notes: list[_Note]) -> bytes:
    """Write one track, a note every `_SLOT_S`, as a Standard MIDI File."""
    events: list[tuple[int, bytes]] = [(0, bytes([0xC0, program]))]
    slot_ticks = round(_SLOT_S * _TICKS_PER_SECOND)
    for index, note in enumerate(notes):
        start = index * slot_ticks
        end = start + round(note.duration_s * _TICKS_PER_SECOND)
        events += [
            (start, bytes([0xE0, note.bend & 0x7F, note.bend >> 7])),
            (start, bytes([0xB0, 91, note.reverb])),
            (start, bytes([0xB0, 93, note.chorus])),
            (start, bytes([0x90, note.pitch, note.velocity])),
            (end, bytes([0x80, note.pitch, 0])),
            (start + slot_ticks - 20, bytes([0xB0, 120, 0])),  # all sound off: no tail into the next slot
        ]
    track = b""
    now = 0
    for tick, message in events:
        track += _variable_length(tick - now) + message
        now = tick
    track += _variable_length(slot_ticks) + b"\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS_PER_SECOND // 2)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def _render_program(
    program: int, notes: list[_Note], soundfont: Path, sample_rate: int
) -> NDArray[np.float32]:
    """Render a program's notes to ``(notes, samples)``, mono."""
    with tempfile.TemporaryDirectory() as folder:
        midi_path, raw_path = Path(folder, "notes.mid"), Path(folder, "notes.raw")
        midi_path.write_bytes(_midi_bytes(program, notes))
        command = ["fluidsynth", "-niq", "-g", "0.5", "-r", str(_RENDER_RATE), "-F", str(raw_path)]
        command += ["-T", "raw", "-O", "float", str(soundfont), str(midi_path)]
        subprocess.run(command, check=True, capture_output=True)
        stereo = np.fromfile(raw_path, dtype="<f4").reshape(-1, 2)
    slot_samples = round(_SLOT_S * _RENDER_RATE)
    mono = np.zeros(len(notes) * slot_samples, dtype=np.float32)
    n_rendered = min(len(mono), len(stereo))
    mono[:n_rendered] = stereo[:n_rendered].mean(axis=1)
    slots = torch.from_numpy(mono.reshape(len(notes), slot_samples))
    result: NDArray[np.float32] = resample(slots, _RENDER_RATE, sample_rate).numpy()
    return result


def _render_all(soundfont: Path, sample_rate: int) -> Iterator[tuple[int, list[_Note], NDArray[np.float32]]]:
    for family, programs in FAMILY_PROGRAMS.items():
        for program in programs:
            notes = _draw_notes(program, family)
            yield program, notes, _render_program(program, notes, soundfont, sample_rate)


def render_notes(
    soundfont: Path,
    folder: Path,
    *,
    sample_rate: int,
    report: Callable[[str], None] = lambda _line: None,
) -> NoteTable:
    """Render the whole dataset into a folder, or read it where it is already there.

    Args:
        soundfont: A General MIDI soundfont, e.g. ``FluidR3_GM.sf2``.
        folder: Where ``notes.npy`` and ``notes.npz`` are written.
        sample_rate: Hz of the stored notes.
        report: Told one line for every program.

    Raises:
        SettingError: FluidSynth or the soundfont is not there.
    """
    if (folder / "notes.npz").exists():
        return read_notes(folder)
    if shutil.which("fluidsynth") is None:
        raise SettingError(
            "fluidsynth is not installed; on Debian: apt install fluidsynth fluid-soundfont-gm"
        )
    if not soundfont.exists():
        raise SettingError(f"soundfont {soundfont} is not there; on Debian: apt install fluid-soundfont-gm")
    waveforms, programs, pitches, velocities = [], [], [], []
    for program, notes, rendered in _render_all(soundfont, sample_rate):
        peaks = np.abs(rendered).max(axis=1)
        report(f"program {program:3d}: {len(notes)} notes, {int((peaks < 1e-4).sum())} silent")
        for note, waveform, peak in zip(notes, rendered, peaks, strict=True):
            if peak < 1e-4:
                continue
            waveforms.append(np.round(waveform * (32767.0 / peak)).astype(np.int16))
            programs.append(program)
            pitches.append(note.pitch)
            velocities.append(note.velocity)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "notes.npy", np.stack(waveforms))
    np.savez(
        folder / "notes.npz",
        programs=programs,
        pitches=pitches,
        velocities=velocities,
        sample_rate=sample_rate,
        soundfont_sha256=hashlib.sha256(soundfont.read_bytes()).hexdigest(),
    )
    return read_notes(folder)


def read_notes(folder: Path) -> NoteTable:
    """Read a rendered dataset; the waveforms stay on disk until they are looked at."""
    about = np.load(folder / "notes.npz")
    return NoteTable(
        waveforms=np.load(folder / "notes.npy", mmap_mode="r"),
        programs=about["programs"].astype(np.int64),
        pitches=about["pitches"].astype(np.int64),
        velocities=about["velocities"].astype(np.int64),
        sample_rate=int(about["sample_rate"]),
    )
