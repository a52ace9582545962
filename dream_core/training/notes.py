"""A dataset of single notes, rendered from General MIDI soundfonts by FluidSynth.

Conventions: banks and programs are numbered from 0, as on the wire. Every note lies in a slot of its own, two
seconds long, beginning at its onset; it is stored at its own peak, so loudness is for the augmentation.
Whole presets are held out for validation: a network never hears one note of them in training. Variations of
a held-out instrument in other banks are left out altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dream_core.files import write_whole
from dream_core.networks.timbre import CLASSES
from dream_core.training.fluidsynth import Note, check_fluidsynth, check_soundfont, render_slots

__all__ = ["BANKS", "FAMILY_PRESETS", "NoteBank", "NoteTable", "is_held_out", "join", "render_notes"]


def _bank(bank: int, *programs: int) -> tuple[tuple[int, int], ...]:
    return tuple((bank, program) for program in programs)


FAMILY_PRESETS: dict[str, tuple[tuple[int, int], ...]] = {
    "bass": (*_bank(0, *range(32, 40)), *_bank(8, 38, 39)),
    "brass": (*_bank(0, *range(56, 64)), *_bank(8, 62, 63)),
    "flute": _bank(0, *range(72, 80)),
    "guitar": (*_bank(0, *range(24, 32), 104, 105, 106, 107), *_bank(8, 24, 25, 26, 28, 30), (16, 25)),
    "keyboard": (*_bank(0, *range(8)), *_bank(8, 4, 6)),
    "mallet": (*_bank(0, *range(8, 16), 108, 114), *_bank(8, 14)),
    "organ": (*_bank(0, *range(16, 24)), *_bank(8, 16, 17, 19)),
    "reed": _bank(0, *range(64, 72), 111),
    "string": (*_bank(0, *range(40, 47), *range(48, 52), 110), *_bank(8, 40, 48, 50)),
    "synth_lead": (*_bank(0, *range(80, 88)), *_bank(8, 80)),
    "vocal": _bank(0, 52, 53, 54, 91),
}
"""Which presets (bank, program) of FluidR3 GM belong to which family."""

PITCH_RANGES = {
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteBank:
    """A soundfont, and which of its notes are rendered.

    Args:
        name: Of the folder its notes lie in.
        soundfont: Its file, where Debian puts it.
        package: The Debian package it comes with.
        pitch_step: Every which pitch, in semitones.
        velocities: Each pitch at these.
        has_variations: Whether other banks than General MIDI's own are rendered.
    """

    name: str
    soundfont: Path
    package: str
    pitch_step: int
    velocities: tuple[int, ...]
    has_variations: bool = False

    @property
    def presets(self) -> dict[str, tuple[tuple[int, int], ...]]:
        """Which presets (bank, program) belong to which family."""
        if self.has_variations:
            return FAMILY_PRESETS
        return {
            family: tuple(preset for preset in presets if preset[0] == 0)
            for family, presets in FAMILY_PRESETS.items()
        }


BANKS = (
    NoteBank(
        name="fluid",
        soundfont=Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
        package="fluid-soundfont-gm",
        pitch_step=2,
        velocities=(20, 45, 70, 95, 120),
        has_variations=True,
    ),
    NoteBank(
        name="musescore",
        soundfont=Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3"),
        package="musescore-general-soundfont-small",
        pitch_step=3,
        velocities=(35, 75, 110),
    ),
    NoteBank(
        name="opl3",
        soundfont=Path("/usr/share/sounds/sf2/OPL-3_FM_128M.sf2"),
        package="opl3-soundfont",
        pitch_step=3,
        velocities=(35, 75, 110),
    ),
)
"""What `timbre` is trained on. Programs that are held out are so in every bank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteTable:
    """Rendered notes and what they are.

    Args:
        waveforms: int16, one note a row, full scale at each note's own peak.
        families: Index into the classes.
        presets: Which preset, counted as they were rendered.
        held_out: True for notes kept for validation.
        sample_rate: Hz.

    Shape:
        waveforms ``(notes, samples)``; the others ``(notes,)``.
    """

    waveforms: NDArray[np.int16]
    families: NDArray[np.int64]
    presets: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    sample_rate: int


def is_held_out(bank: int, program: int) -> bool:
    """Say whether a preset is kept for validation: number % 8 == 5 in bank 0, which is one in each family.

    >>> [program for bank, program in FAMILY_PRESETS["vocal"] if is_held_out(bank, program)]
    [53]
    """
    return bank == 0 and program % 8 == 5


def _draw_notes(bank: int, program: int, family: str, source: NoteBank) -> list[Note]:
    """Choose a preset's notes: pitches and velocities of the bank, each with its own length and room."""
    generator = np.random.default_rng(program + 128 * bank)
    lowest, highest = PITCH_RANGES[family]
    return [
        Note(
            pitch=pitch,
            velocity=int(np.clip(velocity + generator.integers(-8, 8), 1, 127)),
            duration_s=float(0.12 * 12.0 ** generator.uniform()),
            bend=int(8192 + generator.integers(-1200, 1200)),
            reverb=int(generator.choice([0, 0, 40, 90])),
            chorus=int(generator.choice([0, 0, 0, 60])),
        )
        for pitch in range(lowest + int(generator.integers(0, 2)), highest, source.pitch_step)
        for velocity in source.velocities
    ]


def _at_full_scale(rendered: NDArray[np.float32]) -> NDArray[np.int16]:
    """Scale every note to its own peak; notes beyond the preset's keys are silent and left out."""
    peaks = np.abs(rendered).max(axis=1)
    heard = peaks > 1e-4
    scaled: NDArray[np.int16] = np.round(rendered[heard] * (32767.0 / peaks[heard, None])).astype(np.int16)
    return scaled


def render_notes(
    source: NoteBank,
    folder: Path,
    *,
    sample_rate: int,
    report: Callable[[str], None] = lambda _line: None,
) -> NoteTable:
    """Render the notes of a soundfont into a folder, one file a preset, and read them.

    Files already there are kept.

    Args:
        source: Which soundfont, and which notes of it.
        folder: Where the files are written, in a folder of the bank's name.
        sample_rate: Hz of the stored notes.
        report: Told one line for every preset that is rendered.

    Raises:
        SettingError: FluidSynth or the soundfont is not there.
    """
    own = folder / source.name
    own.mkdir(parents=True, exist_ok=True)
    waveforms: list[NDArray[np.int16]] = []
    families: list[NDArray[np.int64]] = []
    presets: list[NDArray[np.int64]] = []
    held_out: list[NDArray[np.bool_]] = []
    for family_index, family in enumerate(CLASSES):
        for bank, program in source.presets[family]:
            path = own / f"{bank:03d}-{program:03d}.npy"
            if not path.exists():
                _check_tools(source)
                notes = _draw_notes(bank, program, family, source)
                slots = [(note,) for note in notes]
                rendered = render_slots((bank, program), slots, source.soundfont, sample_rate)
                scaled = _at_full_scale(rendered)
                with write_whole(path) as part, part.open("wb") as file:
                    np.save(file, scaled)
                report(f"{source.name} {path.name}: {len(scaled)} notes of {family}")
            waveforms.append(np.load(path))
            n_notes = len(waveforms[-1])
            families.append(np.full(n_notes, family_index))
            presets.append(np.full(n_notes, len(presets)))
            held_out.append(np.full(n_notes, is_held_out(bank, program)))
    return NoteTable(
        waveforms=np.concatenate(waveforms),
        families=np.concatenate(families),
        presets=np.concatenate(presets),
        held_out=np.concatenate(held_out),
        sample_rate=sample_rate,
    )


def join(tables: Sequence[NoteTable]) -> NoteTable:
    """Return the notes of several tables as one, their presets counted on."""
    first = np.cumsum([0, *(int(table.presets.max()) + 1 for table in tables)])
    return NoteTable(
        waveforms=np.concatenate([table.waveforms for table in tables]),
        families=np.concatenate([table.families for table in tables]),
        presets=np.concatenate([table.presets + n for table, n in zip(tables, first, strict=False)]),
        held_out=np.concatenate([table.held_out for table in tables]),
        sample_rate=tables[0].sample_rate,
    )


def _check_tools(source: NoteBank) -> None:
    check_fluidsynth(source.package)
    check_soundfont(source.soundfont, source.package)
