"""Notes of General MIDI soundfonts, rendered by the program FluidSynth.

Conventions: banks and programs are numbered from 0, as on the wire. Every note or chord lies in a slot of its
own, `SLOT_S` long, that begins at its onset.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from dream_core.dsp.resample import resample
from dream_core.errors import SettingError

__all__ = [
    "RENDER_RATE",
    "SLOT_S",
    "Note",
    "check_fluidsynth",
    "check_soundfont",
    "list_presets",
    "midi_bytes",
    "render_slots",
]

SLOT_S: Final = 2.0
RENDER_RATE: Final = 44100
_TICKS_PER_SECOND: Final = 1920  # 960 a beat at 120 BPM
_PRESET_BYTES: Final = 38  # of a record of a soundfont's list of presets
_MOST_PRESETS: Final = 1 << 16  # more cannot be called


@dataclass(frozen=True, slots=True)
class Note:
    """One note, and the room it sounds in.

    Args:
        pitch: MIDI key.
        velocity: 1..127.
        duration_s: From its onset to its release, in seconds.
        bend: Of pitch, 0..16383; 8192 is none.
        reverb: How much is sent there, 0..127.
        chorus: Likewise.
    """

    pitch: int
    velocity: int
    duration_s: float
    bend: int = 8192
    reverb: int = 0
    chorus: int = 0


def check_fluidsynth(package: str = "") -> None:
    """Refuse to go on without FluidSynth.

    Args:
        package: What else the same command would install on Debian.

    Raises:
        SettingError: It is not installed.
    """
    if shutil.which("fluidsynth") is None:
        remedy = f"apt install fluidsynth {package}".rstrip()
        raise SettingError(f"fluidsynth is not installed; on Debian: {remedy}")


def check_soundfont(path: Path, package: str) -> None:
    """Refuse a soundfont that is not there, saying which Debian package brings it.

    Raises:
        SettingError: It is not there.
    """
    if not path.exists():
        raise SettingError(f"soundfont {path} is not there; on Debian: apt install fluidsynth {package}")


def list_presets(path: Path) -> dict[tuple[int, int], str]:
    """Return the names of a soundfont's presets, by bank and program.

    FluidSynth plays another preset where one is missing, and nothing where a file is no soundfont: what is
    rendered must be known beforehand.

    Raises:
        SettingError: The file is none, or is damaged.
        OSError: It cannot be read.

    Source:
        SoundFont Technical Specification 2.04, 7.2: the ``phdr`` chunk.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"sfbk":
            raise SettingError(f"{path}: is no soundfont; an .sf2 or .sf3 file is needed")
        while len(header := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", header)
            if name == b"LIST" and file.read(4) == b"pdta":
                return _read_presets(file.read(_MOST_PRESETS * _PRESET_BYTES), path)
            file.seek(size - (4 if name == b"LIST" else 0), 1)
            # Chunks begin at even places; MuseScore's are not moved there.
            if size % 2 and file.read(1) != b"\0":
                file.seek(-1, 1)
    raise SettingError(f"{path}: its list of presets is missing: the file is cut short. Copy it again")


def _read_presets(chunk: bytes, path: Path) -> dict[tuple[int, int], str]:
    if len(chunk) < 8 or chunk[:4] != b"phdr":
        raise SettingError(f"{path}: its list of presets cannot be read. Copy the soundfont again")
    (size,) = struct.unpack("<I", chunk[4:8])
    records = chunk[8 : 8 + size]
    if len(records) < size or size % _PRESET_BYTES:
        raise SettingError(f"{path}: its list of presets is cut short. Copy the soundfont again")
    presets = {}
    for start in range(0, size - _PRESET_BYTES, _PRESET_BYTES):  # the last record ends the list
        name, program, bank = struct.unpack("<20sHH", records[start : start + 24])
        presets[(bank, program)] = name.partition(b"\0")[0].decode("latin-1").strip()
    return presets


def _variable_length(value: int) -> bytes:
    encoded = [value & 0x7F]
    while value := value >> 7:
        encoded.append(0x80 | (value & 0x7F))
    return bytes(reversed(encoded))


def midi_bytes(preset: tuple[int, int], slots: Sequence[Sequence[Note]]) -> bytes:
    """Write one track, a slot every `SLOT_S`, as a Standard MIDI File.

    Args:
        preset: Bank and program.
        slots: The notes that sound together in each; bend, reverb and chorus are those of the first.
    """
    bank, program = preset
    events: list[tuple[int, bytes]] = [(0, bytes([0xB0, 0, bank])), (0, bytes([0xC0, program]))]
    slot_ticks = round(SLOT_S * _TICKS_PER_SECOND)
    for index, notes in enumerate(slots):
        start = index * slot_ticks
        first = notes[0]
        events += [
            (start, bytes([0xE0, first.bend & 0x7F, first.bend >> 7])),
            (start, bytes([0xB0, 91, first.reverb])),
            (start, bytes([0xB0, 93, first.chorus])),
            *((start, bytes([0x90, note.pitch, note.velocity])) for note in notes),
        ]
        ends = [(start + round(note.duration_s * _TICKS_PER_SECOND), note.pitch) for note in notes]
        events += [(end, bytes([0x80, pitch, 0])) for end, pitch in sorted(ends)]
        events.append((start + slot_ticks - 20, bytes([0xB0, 120, 0])))  # no tail into the next slot
    track = b""
    now = 0
    for tick, message in events:
        track += _variable_length(tick - now) + message
        now = tick
    track += _variable_length(slot_ticks) + b"\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS_PER_SECOND // 2)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def render_slots(
    preset: tuple[int, int],
    slots: Sequence[Sequence[Note]],
    soundfont: Path,
    sample_rate: int = RENDER_RATE,
) -> NDArray[np.float32]:
    """Render notes and chords of one preset.

    Args:
        preset: Bank and program.
        slots: The notes that sound together in each.
        soundfont: Its file.
        sample_rate: Hz of what is returned.

    Shape:
        ``(slots, samples)``, mono; what lies beyond the preset's keys is silent.

    Raises:
        SettingError: FluidSynth fails; with what it says.
    """
    with tempfile.TemporaryDirectory() as folder:
        midi_path, raw_path = Path(folder, "notes.mid"), Path(folder, "notes.raw")
        midi_path.write_bytes(midi_bytes(preset, slots))
        command = ["fluidsynth", "-niq", "-g", "0.5", "-r", str(RENDER_RATE), "-F", str(raw_path)]
        command += ["-T", "raw", "-O", "float", str(soundfont.absolute()), str(midi_path)]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode or not raw_path.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
            raise SettingError(f"{soundfont}: fluidsynth ends with {done.returncode}: {said[-1]}")
        stereo = np.fromfile(raw_path, dtype="<f4").reshape(-1, 2)
    slot_samples = round(SLOT_S * RENDER_RATE)
    mono = np.zeros(len(slots) * slot_samples, dtype=np.float32)
    n_rendered = min(len(mono), len(stereo))
    mono[:n_rendered] = stereo[:n_rendered].mean(axis=1)
    rendered = torch.from_numpy(mono.reshape(len(slots), slot_samples))
    result: NDArray[np.float32] = resample(rendered, RENDER_RATE, sample_rate).numpy()
    return result
