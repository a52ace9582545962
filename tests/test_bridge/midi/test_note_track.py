"""Notes with bends as MIDI: channels, order, bends, and times on the song's clock."""

from __future__ import annotations

import io

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError
from bridge.midi.file import MidiFile, parse_midi
from bridge.midi.note_track import BENT_CHANNELS, SHARED_CHANNEL, NoteTrack, PlayedNote, assign_channels
from bridge.midi.notes import read_notes
from bridge.midi.pitch_line import read_pitch_line
from bridge.midi.rpn import bend_range_semitones
from bridge.midi.song_clock import build_tempo_map
from bridge.midi.write import build_midi

STEADY = TempoMap.constant(120)
RAMP = TempoMap.from_points(
    [(0, 120, "hold"), (4, 140, "beats"), (18, 90, "hold"), (25, 133.25, "hold")],
    [(0, 4, 4), (4, 7, 8), (18, 4, 4)],
)


def note(start_s: float, end_s: float, key: int = 60, bend: float | None = None) -> PlayedNote:
    bends = () if bend is None else ((start_s, bend), (end_s - 0.01, bend))
    return PlayedNote(start_s=start_s, end_s=end_s, key=key, velocity=80, bends=bends)


def written(notes: list[PlayedNote], clock: TempoMap = STEADY) -> MidiFile:
    return parse_midi(build_midi(clock, length_s=1.0, parts=[NoteTrack(name="Lead", notes=notes)]))


def test_notes_fall_on_their_ticks_through_ramps_and_meters() -> None:
    """Notes every 0.1 s through a ramp in 7/8, read by the file's own tempos; a tick is 0.4 to 0.7 ms."""
    clock = TempoMap.from_points(
        [(0, 120, "hold"), (4, 140, "beats"), (18, 90, "hold"), (25, 133.25, "hold")],
        [(0, 4, 4), (4, 7, 8), (18, 4, 4)],
        offset_s=0.25,
    )
    times = 0.25 + 0.1 * np.arange(160)
    midi = written([note(time_s, time_s + 0.05) for time_s in times.tolist()], clock)
    read = build_tempo_map(midi)
    notes = read_notes(midi)

    ticks = np.rint(clock.seconds_to_beats(times) * 960).astype(np.int64)
    assert notes.start_tick.tolist() == ticks.tolist()
    assert [str(meter) for meter in read.meters] == ["4/4", "7/8", "4/4"]
    tick_s = np.diff(read.ticks_to_seconds(np.array([notes.start_tick, notes.start_tick + 1])), axis=0)[0]
    # Half a tick of rounding, and 0.051 ms at most because the file's ramp is stairs of 1/32.
    off_s = np.abs(read.ticks_to_seconds(notes.start_tick) + 0.25 - times)
    assert (off_s <= 0.5 * tick_s + 6e-5).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 12), st.floats(0.03, 3), st.integers(21, 108)), max_size=40))
def test_a_program_of_others_reads_the_notes_that_were_written(rows: list[tuple[float, float, int]]) -> None:
    """Mido pairs every on with an off that comes later, and finds each key where it begins."""
    notes = [note(start_s, start_s + length_s, key) for start_s, length_s, key in rows]
    file = mido.MidiFile(
        file=io.BytesIO(build_midi(RAMP, length_s=1.0, parts=[NoteTrack(name="Lead", notes=notes)]))
    )
    held: dict[int, int] = {}
    begun: set[tuple[int, int]] = set()
    now = 0
    for message in file.tracks[1]:
        now += message.time
        if message.type == "note_on":
            assert message.note not in held
            held[message.note] = now
            begun.add((now, message.note))
        elif message.type == "note_off":
            assert held.pop(message.note) < now
    assert held == {}
    assert begun == {(round(float(RAMP.seconds_to_beats(s)) * 960), key) for s, _, key in rows}


def test_notes_without_bends_share_channel_1() -> None:
    midi = written([note(0, 1, 60), note(0, 1, 64), note(0.5, 2, 67)])

    assert set(read_notes(midi).channel.tolist()) == {1}
    assert not (midi.message == 0xE0).any()


def test_one_voice_that_bends_stays_on_channel_1_and_says_its_range() -> None:
    midi = written([note(0, 1, 60, 0.5), note(1, 2, 62), note(2, 3, 64, -0.5)])

    assert set(read_notes(midi).channel.tolist()) == {1}
    assert bend_range_semitones(midi, 1) == 2.0
    line = read_pitch_line(midi, STEADY, 1000)
    semitones = 69 + 12 * np.log2(np.array([line.values(at, 1)[0] for at in (500, 1500, 2500)]) / 440)
    # A 14-bit step is 0.00024 semitones.
    np.testing.assert_allclose(semitones, [60.5, 62.0, 63.5], atol=2e-4)


def test_bent_notes_that_sound_together_have_channels_of_their_own() -> None:
    notes, channels = assign_channels([note(0, 2, 60, 0.5), note(0, 2, 64, -0.5), note(1, 3, 67)])

    assert [one.key for one in notes] == [60, 64, 67]
    assert channels[2] == SHARED_CHANNEL
    assert len(set(channels)) == 3


def test_drums_channel_is_never_taken_and_the_fourteenth_bend_is_given_up() -> None:
    notes, channels = assign_channels([note(0, 2, 60 + index, 0.5) for index in range(14)])

    assert sorted(channels[:13]) == sorted(BENT_CHANNELS)
    assert 10 not in channels
    assert [one.is_bent for one in notes] == [True] * 13 + [False]
    assert channels[13] == SHARED_CHANNEL


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.03, 2), st.sampled_from([None, 0.4, -0.7])), max_size=30)
)
def test_no_bend_moves_another_note(rows: list[tuple[float, float, float | None]]) -> None:
    """Whatever overlaps, on a channel of a bent note nothing else sounds."""
    given_notes = [note(start_s, start_s + length_s, 60, bend) for start_s, length_s, bend in rows]
    notes, channels = assign_channels(given_notes)
    for index, one in enumerate(notes):
        for other in range(index):
            is_together = notes[other].end_s > one.start_s and notes[other].start_s < one.end_s
            if is_together and channels[other] == channels[index]:
                assert not one.is_bent
                assert not notes[other].is_bent


def test_at_one_tick_notes_end_before_bends_and_bends_before_notes() -> None:
    """Else a note's end would be bent as the next note begins."""
    file = mido.MidiFile(
        file=io.BytesIO(
            build_midi(
                STEADY,
                length_s=1.0,
                parts=[NoteTrack(name="Lead", notes=[note(0, 0.5, 60, 0.5), note(0.5, 1, 62, 1.0)])],
            )
        )
    )
    now, at_half = 0, []
    for message in file.tracks[1]:
        now += message.time
        if now == 960:
            at_half.append(message.type)
    assert at_half == ["note_off", "pitchwheel", "note_on"]


def test_what_begins_before_the_song_begins_with_it_and_what_ended_is_left_out() -> None:
    clock = TempoMap.constant(120, offset_s=1.0)
    notes = read_notes(written([note(0, 0.5, 60), note(0.5, 1.5, 62), note(2, 3, 64)], clock))

    assert notes.note.tolist() == [62, 64]
    assert notes.start_tick.tolist() == [0, 1920]
    assert notes.end_tick.tolist() == [960, 3840]


@pytest.mark.parametrize(("key", "velocity", "end_s"), [(128, 80, 1.0), (60, 0, 1.0), (60, 80, 0.0)])
def test_notes_that_midi_has_not_are_refused(key: int, velocity: int, end_s: float) -> None:
    with pytest.raises(MidiFileError, match=r"keys 0..127, velocities 1..127"):
        PlayedNote(start_s=0.0, end_s=end_s, key=key, velocity=velocity)
