"""The pitch that a MIDI file plays, sample by sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.audio import write_bytes
from helpers.midi import meta, smf, track

from bridge.clock.settings import ClockSettings
from bridge.errors import MidiFileError
from bridge.midi.file import read_midi
from bridge.midi.pitch_line import PitchLine, read_pitch_line, track_of_stem
from bridge.midi.song_clock import build_clock

RATE = 48000
BEAT = RATE // 2
"""Samples of a quarter note at 120 BPM."""


def line(folder: Path, *tracks: bytes, **chosen: object) -> PitchLine:
    midi = read_midi(write_bytes(folder / "song.mid", smf(*tracks)))
    return read_pitch_line(midi, build_clock(midi, ClockSettings()), RATE, **chosen)  # type: ignore[arg-type]


def on(note: int, channel: int = 0) -> bytes:
    return bytes([0x90 | channel, note, 100])


def off(note: int, channel: int = 0) -> bytes:
    return bytes([0x80 | channel, note, 0])


def test_a_note_sounds_from_its_sample_to_its_sample(tmp_path: Path) -> None:
    """A3 is 440 Hz exactly between its on and its off, and there is no pitch around it."""
    f0_hz = line(tmp_path, track([(480, on(69)), (960, off(69))])).values(0, 3 * BEAT)

    assert np.array_equal(np.flatnonzero(f0_hz), np.arange(BEAT, 2 * BEAT))
    assert set(f0_hz[BEAT : 2 * BEAT]) == {440.0}


def test_the_newest_note_counts_and_the_older_comes_back(tmp_path: Path) -> None:
    """As a monophonic synthesizer plays: last note first, the highest of a chord, back when it is let go."""
    events = [(0, on(57)), (480, on(60)), (480, on(69)), (960, off(69)), (1440, off(60)), (1920, off(57))]
    f0_hz = line(tmp_path, track(events)).values(0, 5 * BEAT)
    heard = np.round(12.0 * np.log2(np.maximum(f0_hz[BEAT // 2 :: BEAT], 1e-9) / 440.0) + 69.0)

    assert heard[:4].tolist() == [57, 69, 60, 57]
    assert f0_hz[4 * BEAT + 1] == 0.0


def test_a_bend_moves_the_note_of_its_channel(tmp_path: Path) -> None:
    """Full up is two semitones, or what the channel's own bend range says; another channel's does nothing."""
    bend = [(240, bytes([0xE0, 0x7F, 0x7F])), (480, bytes([0xE0, 0x00, 0x40])), (720, bytes([0xE1, 0, 0]))]
    f0_hz = line(tmp_path, track([(0, on(69)), *bend, (960, off(69))])).values(0, 2 * BEAT)
    wide = [(0, bytes([0xB0, number, value])) for number, value in ((101, 0), (100, 0), (6, 12))]
    octave = line(tmp_path, track([*wide, (0, on(69)), *bend, (960, off(69))])).values(0, 2 * BEAT)

    assert f0_hz[0] == 440.0
    assert f0_hz[BEAT // 2] == pytest.approx(440.0 * 2.0 ** (2.0 / 12.0), rel=1e-6)
    assert f0_hz[BEAT] == pytest.approx(440.0, rel=1e-6)
    assert f0_hz[2 * BEAT - 1] == pytest.approx(440.0, rel=1e-6)
    assert octave[BEAT // 2] == pytest.approx(880.0, rel=1e-6)


def test_blocks_are_the_whole(tmp_path: Path) -> None:
    """However it is asked for."""
    events = [(10 * n, on(40 + n % 40) if n % 2 == 0 else off(40 + (n - 1) % 40)) for n in range(60)]
    played = line(tmp_path, track(events))
    whole = played.values(0, 4 * BEAT)
    pieces = [played.values(start, 777) for start in range(0, 4 * BEAT, 777)]

    assert np.array_equal(np.concatenate(pieces)[: 4 * BEAT], whole)


def test_a_track_is_chosen_by_its_name(tmp_path: Path) -> None:
    """That of a stem's own name, in any case; a name that is not there is told."""
    bass = track([(0, meta(0x03, b"Bass")), (0, on(33)), (480, off(33))])
    lead = track([(0, meta(0x03, b"Lead")), (0, on(81, 1)), (480, off(81, 1))])
    midi = read_midi(write_bytes(tmp_path / "song.mid", smf(bass, lead)))

    assert track_of_stem(midi, "bass") == "Bass"
    assert track_of_stem(midi, "drums") is None
    assert line(tmp_path, bass, lead, track="Bass").values(0, 1)[0] == 55.0
    assert line(tmp_path, bass, lead, channel=2).values(0, 1)[0] == 880.0
    with pytest.raises(MidiFileError, match="did you mean"):
        line(tmp_path, bass, lead, track="Bas")


def test_a_file_without_notes_has_no_pitch(tmp_path: Path) -> None:
    """Silence is a line of zeros."""
    assert not line(tmp_path, track([(0, meta(0x03, b"empty"))])).values(0, 10).any()
