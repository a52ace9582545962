"""Notes and chords of soundfonts and VST3 instruments, rendered into files with a table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from bridge.arrays import Float32Array
from bridge.audio.writer import AudioWriter
from bridge.datasets.instruments import Instrument, PluginSound, choose_plugins, choose_presets
from bridge.datasets.played import PLAYED_COLUMNS
from bridge.datasets.table import Recording, write_table
from bridge.errors import InputError, OutputError, nearest_names
from bridge.files import private_folder, remove_leftovers
from dream_core.training.fluidsynth import RENDER_RATE, Note
from dream_core.training.notes import FAMILY_PRESETS
from dream_core.training.write_segments import name_folder

__all__ = ["NoteSettings", "Rendered", "render_instruments"]

CHORD_INTERVALS: Final = (
    (0, 4, 7), (0, 3, 7), (0, 5, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 7), (0, 4), (0, 12),
)  # fmt: skip
"""Above the lowest note, in semitones."""

_SILENT_PEAK: Final = 1e-4
_RELEASE_S: Final = 1.6
"""No note is held longer, so that each ends within its slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSettings:
    """Which notes are rendered.

    Args:
        n_notes: Single notes of each preset, 0 or more.
        n_chords: Chords of each preset, 0 or more.
        families: General MIDI families; empty takes all.
        seed: Of pitches, velocities and lengths.
    """

    n_notes: int = 24
    n_chords: int = 0
    families: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Check names and numbers."""
        if self.n_notes < 0 or self.n_chords < 0 or self.n_notes + self.n_chords == 0:
            raise InputError(
                f"--notes {self.n_notes} --chords {self.n_chords}: one of them must be 1 or more"
            )
        for name in self.families:
            if name not in FAMILY_PRESETS:
                raise InputError(f"--family {name}: no such family; {nearest_names(name, FAMILY_PRESETS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What was rendered.

    Args:
        recordings: One a file.
        n_silent: Notes beyond the keys of their preset, left out.
        n_absent: Presets that a soundfont does not have.
    """

    recordings: tuple[Recording, ...]
    n_silent: int
    n_absent: int


def render_instruments(
    soundfonts: Sequence[Path],
    plugins: Sequence[PluginSound],
    out: Path,
    settings: NoteSettings | None = None,
    *,
    report: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> Rendered:
    """Render notes and chords of presets and plugins into a folder; it appears whole or not at all.

    The folder holds a FLAC a note, ``data.csv`` to prepare it with, and ``notes.csv``: which keys are
    down from when to when in each file. A General MIDI preset of a soundfont is a group, its family the
    label; a plugin in one state is a group, its name the label.

    Args:
        soundfonts: SF2 or SF3 files.
        plugins: Sounds of VST3 instruments.
        out: The folder, which must not be there.
        settings: Which notes.
        report: Told which preset is rendered, its number and how many there are.

    Raises:
        InputError: There is no such soundfont, two have one name, none has a preset that is wanted, a plugin
            is an effect, or nothing is given.
        SettingError: FluidSynth is not installed, or a file is no soundfont.
        PluginError: There is no such plugin, it does not load, or it fails.
        OutputError: The folder is there.
    """
    settings = settings or NoteSettings()
    if not soundfonts and not plugins:
        raise InputError("nothing plays: --soundfont FILE or --plugin NAME says what does")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists already; give another name")
    presets, n_absent = choose_presets(soundfonts, settings.families)
    wanted = [*presets, *choose_plugins(plugins)]
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out.parent)
    recordings: list[Recording] = []
    n_silent = 0
    with private_folder(out.parent) as private:
        work = private / "set"
        work.mkdir()
        with (work / "notes.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(PLAYED_COLUMNS)
            for index, instrument in enumerate(wanted):
                report(instrument.name, index, len(wanted))
                slots = _draw_slots(instrument, settings)
                for number, (notes, sound) in enumerate(zip(slots, instrument.render(slots), strict=True)):
                    peak = float(np.abs(sound).max(initial=0.0))
                    if peak < _SILENT_PEAK:
                        n_silent += 1
                        continue
                    inside = instrument.folder / _file_name(number, notes)
                    _write_note(work / inside, sound / peak)
                    for note in notes:
                        writer.writerow(
                            (inside.as_posix(), note.pitch, note.velocity, 0.0, f"{note.duration_s:.6f}")
                        )
                    recordings.append(_describe(inside, notes, len(sound), instrument))
        if not recordings:
            names = ", ".join([*map(str, soundfonts), *(one.plugin for one in plugins)])
            raise InputError(f"{names}: every note is silent; there is no sound in them")
        write_table(work / "data.csv", [_moved(one, work) for one in recordings])
        if out.exists():
            out.rmdir()
        name_folder(work, out, private / "before")
    return Rendered(
        recordings=tuple(_moved(one, out) for one in recordings), n_silent=n_silent, n_absent=n_absent
    )


def _draw_slots(instrument: Instrument, settings: NoteSettings) -> list[tuple[Note, ...]]:
    """Choose notes over the instrument's range, each pitch in a place of its own, then chords."""
    rng = np.random.default_rng((settings.seed, *instrument.seed))
    lowest, highest = instrument.keys
    pitches = np.linspace(lowest, highest - 1, max(1, settings.n_notes)).round().astype(int)
    slots: list[tuple[Note, ...]] = [(_draw_note(int(pitch), rng),) for pitch in pitches[: settings.n_notes]]
    for _ in range(settings.n_chords):
        intervals = CHORD_INTERVALS[int(rng.integers(len(CHORD_INTERVALS)))]
        root = int(rng.integers(lowest, max(lowest + 1, highest - intervals[-1])))
        slots.append(tuple(_draw_note(root + interval, rng) for interval in intervals))
    return slots


def _draw_note(pitch: int, rng: np.random.Generator) -> Note:
    duration_s = float(0.25 * (_RELEASE_S / 0.25) ** rng.uniform())
    # On whole ticks of the MIDI file, so that the table's times are those that sound.
    return Note(pitch, int(rng.integers(30, 121)), round(duration_s * 1920) / 1920)


def _file_name(number: int, notes: Sequence[Note]) -> str:
    keys = "-".join(f"{note.pitch:03d}" for note in notes)
    velocities = "-".join(f"{note.velocity:03d}" for note in notes)
    return f"{number:04d}_{keys}_{velocities}.flac"


def _write_note(path: Path, sound: Float32Array) -> None:
    with AudioWriter(path, sample_rate=RENDER_RATE, n_channels=1, subtype="PCM_16", overwrite=True) as writer:
        writer.write(0.99 * sound[None, :].astype(np.float32))


def _describe(inside: Path, notes: Sequence[Note], n_samples: int, instrument: Instrument) -> Recording:
    return Recording(
        path=inside,
        label=instrument.label,
        group=instrument.name,
        pitch=notes[0].pitch if len(notes) == 1 else -1,
        velocity=notes[0].velocity if len(notes) == 1 else -1,
        source=instrument.source,
        duration_s=n_samples / RENDER_RATE,
        licence=instrument.licence,
    )


def _moved(one: Recording, folder: Path) -> Recording:
    return replace(one, path=folder / one.path)
