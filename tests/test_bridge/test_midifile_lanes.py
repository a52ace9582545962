"""Notes are paired and lanes joined as the MIDI specification has it."""

from __future__ import annotations

import numpy as np
import pytest
import symusic
from helpers.midi import random_song, smf, track

from bridge.errors import MidiFileError
from bridge.midifile import MidiFile, parse_midi
from bridge.midilanes import (
    bend_range_semitones,
    list_lanes,
    mpe_zones,
    parameter_numbers,
    read_lane,
    read_notes,
    track_index,
)


def _midi(*events: tuple[int, str]) -> MidiFile:
    return parse_midi(smf(track([(tick, bytes.fromhex(data)) for tick, data in events], 1000)))


@pytest.mark.parametrize("seed", range(3))
def test_notes_agree_with_symusic(seed: int) -> None:
    """Starts, lengths, pitches and velocities are those of an independent reader."""
    data = random_song(seed)
    notes = read_notes(parse_midi(data))
    ours = sorted(
        zip(
            notes.start_tick.tolist(),
            (notes.end_tick - notes.start_tick).tolist(),
            notes.note.tolist(),
            notes.velocity.tolist(),
            strict=True,
        )
    )
    theirs = sorted(
        (note.time, note.duration, note.pitch, note.velocity)
        for part in symusic.Score.from_midi(data).tracks
        for note in part.notes
    )

    assert ours == theirs


def test_a_note_on_without_velocity_is_a_note_off() -> None:
    """Velocity 0 ends a note."""
    notes = read_notes(_midi((0, "903c40"), (100, "903c00")))

    assert (notes.start_tick.tolist(), notes.end_tick.tolist()) == ([0], [100])


def test_overlapping_notes_pair_first_in_first_out() -> None:
    """Of two notes of one pitch the first off ends the first on."""
    notes = read_notes(_midi((0, "903c40"), (50, "903c41"), (100, "803c00"), (150, "803c00")))

    assert notes.end_tick.tolist() == [100, 150]


def test_a_hanging_note_ends_with_its_file() -> None:
    """A note without an off sounds to the end; an off without a note is nothing."""
    notes = read_notes(_midi((0, "803c00"), (10, "903c40")))

    assert (notes.start_tick.tolist(), notes.end_tick.tolist()) == ([10], [1000])


def test_the_null_parameter_deselects() -> None:
    """Data entry after RPN 127, 127 goes nowhere."""
    midi = _midi((0, "b06500"), (0, "b06400"), (1, "b0060c"), (2, "b0657f"), (2, "b0647f"), (3, "b00618"))

    assert parameter_numbers(midi) == [("rpn", 0, 1, 1, 12 << 7)]


def test_the_bend_range_is_what_the_file_sets() -> None:
    """RPN 0 counts semitones and cents; without it two semitones, or 48 on an MPE member channel."""
    set_to = _midi((0, "b06500"), (0, "b06400"), (0, "b0060c"), (0, "b02632"))
    mpe = _midi((0, "b06500"), (0, "b06406"), (0, "b00603"))

    assert bend_range_semitones(set_to, 1) == 12.5
    assert bend_range_semitones(set_to, 2) == 2.0
    assert mpe_zones(mpe) == {1: range(2, 5)}
    assert bend_range_semitones(mpe, 3) == 48.0


def test_an_upper_byte_alone_has_its_lower_at_nought() -> None:
    """Where pairs occur, an upper byte without its lower one counts with 0; without pairs it has 7 bits."""
    pairs = read_lane(_midi((0, "b00140"), (0, "b02110"), (100, "b00141")), "cc14", 1)
    single = read_lane(_midi((0, "b0017f")), "cc14", 1)

    assert np.rint(pairs.values * 16383).tolist() == [64 << 7 | 16, 65 << 7]
    assert single.values.tolist() == [1.0]


def test_lanes_are_listed_with_their_ranges() -> None:
    """Each controller, bend and pressure of each channel, with count, range and times."""
    lanes = list_lanes(_midi((0, "b0010a"), (10, "b00114"), (20, "b1010f"), (30, "e00000"), (40, "d005")))
    rows = [
        (lane.event, lane.number, lane.channel, lane.n_events, lane.minimum, lane.maximum) for lane in lanes
    ]

    assert rows == [
        ("cc", 1, 1, 2, 10, 20),
        ("cc", 1, 2, 1, 15, 15),
        ("pitch_bend", None, 1, 1, -8192, -8192),
        ("channel_pressure", None, 1, 1, 5, 5),
    ]


def test_tracks_are_found_by_number_and_name() -> None:
    """Numbers count from 1, names whatever their case; what is missing is told with what is there."""
    midi = parse_midi(smf(track([(0, b"\xff\x03\x05Drums")]), track([(0, b"\xff\x03\x04Bass")])))

    assert (track_index(midi, 2), track_index(midi, "drums"), track_index(midi, None)) == (1, 0, None)
    with pytest.raises(MidiFileError, match="did you mean 'Bass'"):
        track_index(midi, "Basss")
    with pytest.raises(MidiFileError, match="1 to 2"):
        track_index(midi, 3)
