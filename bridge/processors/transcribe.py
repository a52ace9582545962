"""What a network hears in a file of sound, as notes, and as a MIDI file on the song's clock.

`notes` hears chords; `crepe` hears one voice, and its pitch is more exact. Memory does not grow with the file
but for what is heard in each frame: 35 MB a minute at its most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from bridge.arrays import AudioArray, Float64Array
from bridge.audio.reader import AudioReader
from bridge.clock.settings import ClockSettings, bpm_from_name
from bridge.clock.tempo_map import TempoMap
from bridge.errors import OutputError, ProcessorError
from bridge.files import check_free
from bridge.midi.file import read_midi
from bridge.midi.note_track import NoteTrack, PlayedNote, assign_channels
from bridge.midi.pick_notes import NoteFrames, PickSettings, pick_notes
from bridge.midi.song_clock import build_clock
from bridge.midi.split_line import split_line
from bridge.midi.write import write_midi
from bridge.processors.pitch import PitchTracker, choose_ear
from dream_core.networks import hear_notes
from dream_core.networks.notes import CARD, KEYS
from dream_core.networks.registry import get_card, is_ready, load_network
from dream_core.runtime import resolve_device

__all__ = ["NOTE_NETWORKS", "Transcript", "check_note_network", "transcribe", "write_heard_notes"]

NOTE_NETWORKS = ("notes", "crepe")
"""Networks that tell notes."""

LINE_HOP_S = 0.01

Report = Callable[[float], None]
"""Is told how many seconds of the file have been heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The notes heard in a file.

    Args:
        notes: In order of their starts, in seconds of the file.
        length_s: Of the file.
        tempo_map: The clock they were written on; None where they were not.
        warnings: What was doubtful.
    """

    notes: tuple[PlayedNote, ...]
    length_s: float
    tempo_map: TempoMap | None = None
    warnings: tuple[str, ...] = ()


def check_note_network(name: str) -> None:
    """Refuse a network that tells no notes, or whose weights are not here.

    Raises:
        ProcessorError: It is.
        NetworkNotFoundError: There is none of that name.
    """
    if name not in NOTE_NETWORKS:
        title = get_card(name).title
        raise ProcessorError(
            f"network {name!r} tells no notes ({title.rstrip('.')}); notes (chords) and crepe (one voice) do"
        )
    if not is_ready(name):
        raise ProcessorError(
            f"network {name!r} is to hear notes, and its weights are not installed; run "
            f"`reverie networks get {name}`"
        )


def transcribe(
    path: Path | str,
    network: str = "notes",
    *,
    settings: PickSettings | None = None,
    device: str = "cpu",
    report: Report | None = None,
) -> Transcript:
    """Hear the notes in a file of sound; its channels are heard together.

    Args:
        path: The file.
        network: ``notes`` or ``crepe``.
        settings: How sure notes must be, and how long.
        device: Where the network runs: ``cpu``, ``cuda`` and the like, or ``auto``.
        report: Is told how far it has come.

    Raises:
        AudioFileError: The file cannot be read.
        ProcessorError: The network tells no notes, or its weights are not installed.
        DreamError: The network or the device is not there.
    """
    check_note_network(network)
    settings = settings or PickSettings()
    with AudioReader(path) as reader:
        hear = _hear_chords if network == "notes" else _hear_line
        notes = hear(reader, settings, str(resolve_device(device)), report or (lambda _done_s: None))
        return Transcript(notes=tuple(notes), length_s=reader.info.duration_s)


def write_heard_notes(
    stem: Path,
    out: Path,
    clock: ClockSettings,
    midi: Path | None = None,
    network: str = "notes",
    *,
    settings: PickSettings | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    report: Report | None = None,
) -> Transcript:
    """Write the notes heard in a file of sound as a MIDI file, with the song's tempo, meters and markers.

    Args:
        stem: The file of sound; the song starts at `clock.offset_s` in it.
        out: The file to write.
        clock: What is said of the song's time.
        midi: The song's MIDI file, whose clock is taken.
        network: As `transcribe` takes it.
        settings: As `transcribe` takes them.
        device: As `transcribe` takes it.
        overwrite: Whether a file that is there is replaced.
        report: As `transcribe` takes it.

    Raises:
        OutputError: The output exists, is a folder, or cannot be written; nothing is heard then.
        MidiFileError, TempoError: The clock makes no sense.
        ReverieError, DreamError: As `transcribe`.
    """
    if out.is_dir():
        raise OutputError(f"{out}: is a folder; name a file in it, such as {out / (stem.stem + '.mid')}")
    check_free(out, overwrite)
    check_note_network(network)
    song = None if midi is None else read_midi(midi, pattern=clock.pattern, ppq=clock.ppq)
    named = bpm_from_name(stem.stem)
    tempo_map = build_clock(song, clock, hint_bpm=named, hint_source="stem name")
    heard = transcribe(stem, network, settings=settings, device=device, report=report)
    warnings = [*(song.warnings if song else ()), *tempo_map.warnings]
    if song is None and clock.bpm is None and named is None:
        bpm = float(tempo_map.bpm_at(0.0))
        warnings.append(
            f"no tempo was given: {bpm:g} BPM is used ({tempo_map.source}). Give --midi or --bpm."
        )
    start_s = float(tempo_map.beats_to_seconds(0.0))
    notes = tuple(note for note in heard.notes if note.end_s > start_s)
    if len(notes) < len(heard.notes):
        n_early = len(heard.notes) - len(notes)
        warnings.append(
            f"{n_early} notes end before the song starts, {start_s:g} s into {stem.name}: left out"
        )
    if not notes:
        warnings.append(f"no notes were heard in {stem.name}: {out.name} has none")
    n_unbent = sum(note.is_bent for note in notes) - sum(note.is_bent for note in assign_channels(notes)[0])
    if n_unbent:
        warnings.append(f"{n_unbent} notes are not bent: too many bent ones sound together for 13 channels")
    part = NoteTrack(name=stem.stem, notes=notes)
    write_midi(out, tempo_map, length_s=heard.length_s, parts=[part], overwrite=overwrite)
    return replace(heard, notes=notes, tempo_map=tempo_map, warnings=tuple(warnings))


def _mono_blocks(reader: AudioReader, report: Report) -> Iterator[AudioArray]:
    """Go through a file with its channels as one, telling how far it has come."""
    n_samples = 0
    for block in reader:
        yield block.mean(axis=0)
        n_samples += block.shape[1]
        report(n_samples / reader.info.sample_rate)


def _hear_chords(
    reader: AudioReader, settings: PickSettings, device: str, report: Report
) -> list[PlayedNote]:
    listener = hear_notes.NoteListener(load_network("notes", device=device))
    # float16 tells probabilities to 0.0005 and levels to 0.03 dB.
    pieces: list[dict[str, Any]] = []

    def keep(frames: Iterator[hear_notes.NoteFrames]) -> None:
        names = ("notes", "onsets", "contours", "level_db")
        pieces.extend({n: getattr(one, n).half().cpu().numpy() for n in names} for one in frames)

    resampler: Any = soxr.ResampleStream(
        reader.info.sample_rate, CARD.sample_rate, 1, dtype="float32", quality="HQ"
    )
    for block in _mono_blocks(reader, report):
        keep(listener.push(torch.from_numpy(resampler.resample_chunk(block))))
    rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    keep(listener.push(torch.from_numpy(rest)))
    keep(listener.finish())
    joined = {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}
    frames = NoteFrames(**joined, frame_s=hear_notes.FRAME_S, lowest_key=KEYS[0])
    return pick_notes(frames, settings)


def _hear_line(reader: AudioReader, settings: PickSettings, device: str, report: Report) -> list[PlayedNote]:
    rate = reader.info.sample_rate
    tracker = PitchTracker(choose_ear("crepe", device), rate)
    f0_hz: list[Float64Array] = []
    power: list[Float64Array] = []
    n_before = 0

    def keep(heard: Iterator[tuple[AudioArray, dict[str, Float64Array]]]) -> None:
        nonlocal n_before
        for sound, lanes in heard:
            n_samples = sound.shape[1]
            frames = np.arange(
                np.ceil(n_before / rate / LINE_HOP_S), (n_before + n_samples) / rate / LINE_HOP_S
            )
            at = np.minimum(np.rint(frames * LINE_HOP_S * rate).astype(np.int64) - n_before, n_samples - 1)
            f0_hz.append(lanes["f0_hz"][np.maximum(at, 0)])
            power.append(_mean_power(sound[0].astype(np.float64), at, round(LINE_HOP_S * rate)))
            n_before += n_samples

    for block in _mono_blocks(reader, report):
        keep(tracker.push(block[None], {}))
    keep(tracker.finish())
    line, level = np.concatenate(f0_hz), np.concatenate(power)
    keys = np.full(len(line), np.nan)
    keys[line > 0] = 69.0 + 12.0 * np.log2(line[line > 0] / 440.0)
    return split_line(keys, 10.0 * np.log10(level + 1e-12), LINE_HOP_S, settings)


def _mean_power(mono: Float64Array, at: np.ndarray[Any, np.dtype[np.int64]], reach: int) -> Float64Array:
    """Return the mean power around some samples."""
    sums = np.concatenate([[0.0], np.cumsum(mono**2)])
    low, high = np.clip(at - reach, 0, len(mono)), np.clip(at + reach, 0, len(mono))
    mean: Float64Array = (sums[high] - sums[low]) / np.maximum(high - low, 1)
    return mean
