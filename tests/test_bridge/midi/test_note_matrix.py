"""A song's notes and chords as matrices over time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import mido
import numpy as np
import pytest

from bridge.clock.settings import ClockSettings
from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError
from bridge.midi.file import MidiFile, read_midi
from bridge.midi.note_matrix import FRAME_S, chord_matrix, note_matrix
from bridge.midi.song_clock import read_tempo_map
from dream_core.objectives.notes import chord_bars

NOTES = ((60, 0.5, 1.25, 127), (64, 0.5, 3.0, 64), (60, 2.0, 4.5, 32), (67, 6.0, 7.5, 127))
"""Key, first and last beat, velocity."""


def song(folder: Path) -> tuple[MidiFile, TempoMap]:
    """Write a song whose tempo rises from 90 to 150 BPM and whose second bar is 7/8; drums, bass and keys."""
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    clock = [mido.MetaMessage("time_signature", numerator=4, denominator=4)]
    clock += [
        mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(90 + 6 * k), time=120 * (k > 0)) for k in range(11)
    ]
    file.tracks.append(mido.MidiTrack(clock))
    file.tracks.append(
        mido.MidiTrack([mido.MetaMessage("time_signature", numerator=7, denominator=8, time=1920)])
    )
    file.tracks.append(
        mido.MidiTrack([mido.MetaMessage("time_signature", numerator=4, denominator=4, time=3600)])
    )
    for name, channel, notes in (
        ("kit", 9, ((36, 0.0, 8.0, 100),)),
        ("keys", 0, NOTES),
        ("bass", 1, ((33, 0.0, 8.0, 90),)),
    ):
        events = [(a, mido.Message("note_on", channel=channel, note=k, velocity=v)) for k, a, _, v in notes]
        events += [(b, mido.Message("note_off", channel=channel, note=k)) for k, _, b, _ in notes]
        track, now = mido.MidiTrack([mido.MetaMessage("track_name", name=name)]), 0
        for beat, message in sorted(events, key=lambda event: event[0]):
            track.append(message.copy(time=round(beat * 480) - now))
            now = round(beat * 480)
        file.tracks.append(track)
    file.save(folder / "song.mid")
    return read_midi(folder / "song.mid"), read_tempo_map(folder / "song.mid")


def seconds_at(beat: float) -> float:
    """Return the seconds of a beat by adding up the song's tempos, in fractions."""
    total, at = Fraction(0), Fraction(beat)
    for k in range(11):
        start = Fraction(k, 4)
        end = Fraction(k + 1, 4) if k < 10 else Fraction(100)
        inside = max(Fraction(0), min(at, end) - start)
        total += inside * mido.bpm2tempo(90 + 6 * k) / 1_000_000
    return float(total)


def test_a_frame_holds_how_long_a_key_is_pressed_in_it_and_how_hard(tmp_path: Path) -> None:
    """Against notes laid on a grid of 20 microseconds, through a ramp of tempo."""
    midi, clock = song(tmp_path)
    matrix = note_matrix(midi, clock, 5.0, track="keys")
    instants = (np.arange(250_000) + 0.5) * 2e-5
    for key in (60, 64, 67, 61):
        pressed = np.zeros(len(instants))
        for note, first, last, velocity in NOTES:
            if note == key:
                pressed[(instants >= seconds_at(first)) & (instants < seconds_at(last))] = velocity / 127
        slow = pressed.reshape(500, 500).mean(axis=1)

        assert np.abs(matrix.values[key] - slow).max() < 2.1e-3  # an instant of an edge is a 500th of a frame


def test_drums_have_no_pitch_unless_asked_for(tmp_path: Path) -> None:
    """The drum channel is left out of a whole song; a track or a channel that is named is taken."""
    midi, clock = song(tmp_path)

    def keys(**which: object) -> set[int]:
        values = note_matrix(midi, clock, 5.0, **which).values  # type: ignore[arg-type]
        return set(np.flatnonzero(values.any(axis=1)).tolist())

    assert keys() == {33, 60, 64, 67}
    assert keys(track="kit") == keys(channel=10) == {36}
    assert keys(track="bass") == keys(channel=2) == {33}
    assert keys(without={(60, None), (64, 2)}) == {33, 64, 67}


def test_an_unknown_track_is_told(tmp_path: Path) -> None:
    """With the nearest name."""
    midi, clock = song(tmp_path)
    with pytest.raises(MidiFileError, match="did you mean 'keys'"):
        note_matrix(midi, clock, 5.0, track="kesy")


def test_chords_lie_on_bars_of_any_meter(tmp_path: Path) -> None:
    """A chord a bar, also one of 7/8 in a ramp; a bar of two is halved; after the last it begins anew."""
    _, clock = song(tmp_path)
    matrix = chord_matrix(chord_bars("C|Dm G7|N"), clock, seconds_at(16.0))
    edges = [0.0, 4.0, 5.75, 7.5, 11.5, 15.5]  # beats: bar 2 is three and a half long
    expected = [{0, 4, 7}, {2, 5, 9}, {7, 11, 2, 5}, set(), {0, 4, 7}]
    for first, last, classes in zip(edges[:-1], edges[1:], expected, strict=True):
        middle = int((seconds_at(first) + seconds_at(last)) / 2 / FRAME_S)
        assert {key % 12 for key in np.flatnonzero(matrix.values[:, middle])} == classes
    change = int(seconds_at(4.0) / FRAME_S)
    share = seconds_at(4.0) / FRAME_S - change
    assert matrix.values[60, change] == pytest.approx(share, abs=1e-4)
    assert matrix.values[62, change] == pytest.approx(1.0 - share, abs=1e-4)


def test_a_song_that_begins_later_has_no_chord_before(tmp_path: Path) -> None:
    """The first bar begins where the clock does."""
    song(tmp_path)
    clock = read_tempo_map(tmp_path / "song.mid", ClockSettings(offset_s=1.0))
    matrix = chord_matrix(chord_bars("C"), clock, 3.0)

    assert not matrix.values[:, :100].any()
    assert (matrix.values[60, 100:] == 1.0).all()
