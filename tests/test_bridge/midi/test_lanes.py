"""Notes are paired and lanes joined as the MIDI specification has it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import symusic
from helpers.midi import random_song, smf, track

from bridge.errors import MidiFileError
from bridge.midi.file import MidiFile, parse_midi
from bridge.midi.lanes import LaneEvent, list_lanes, read_lane
from bridge.midi.notes import read_notes, track_index
from bridge.midi.rpn import bend_range_semitones, mpe_zones, parameter_numbers
from bridge.midi.song_clock import build_tempo_map
from bridge.midi.summary import summarise_midi


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


def test_bends_count_in_the_range_their_channel_has_at_their_time() -> None:
    """Half a bend is 1, then 12 semitones up; on another channel 1 still."""
    midi = _midi(
        (0, "e00060"),
        (5, "e10060"),
        (10, "b06500"),
        (10, "b06400"),
        (10, "b00618"),
        (20, "e00060"),
        (30, "e10060"),
    )
    lane = read_lane(midi, "pitch_bend", bend_range=24.0)
    semitones = (lane.values - 0.5) * 48.0

    half = 4096 / 8191  # the highest value is full
    assert semitones.tolist() == pytest.approx([2.0 * half, 2.0 * half, 24.0 * half, 2.0 * half], abs=1e-9)


def test_mpe_members_share_a_bend_range_that_one_of_them_sets() -> None:
    """Said on one member channel, it counts on all; said on the master's it does not."""
    zone = [(0, "b06500"), (0, "b06406"), (0, "b00603")]
    bent = [(2, "923c40"), (3, "e20060"), (90, "823c00")]

    def semitones(*said: tuple[int, str]) -> float:
        lane = read_lane(_midi(*zone, *said, *bent), "pitch_bend", mpe=True, bend_range=48.0)
        return float((lane.values[-1] - 0.5) * 96.0)

    half = 4096 / 8191
    assert semitones((1, "b16500"), (1, "b16400"), (1, "b10618")) == pytest.approx(24.0 * half, abs=1e-9)
    assert semitones((1, "b06500"), (1, "b06400"), (1, "b00618")) == pytest.approx(48.0 * half, abs=1e-9)


def test_a_note_without_length_does_not_hold_its_channel_in_mpe() -> None:
    """Bends on its channel after it are nobody's."""
    notes = [(0, "913c40"), (0, "923d40"), (0, "823d00")]
    lane = read_lane(_midi(*notes, (10, "e10060"), (20, "e2007f")), "pitch_bend", mpe=True)

    assert lane.ticks.tolist() == [0, 10]


def test_pressure_of_chosen_notes_is_read_alone() -> None:
    """The pressure on other notes does not count."""
    lane = read_lane(_midi((0, "a03c10"), (10, "a04020")), "poly_pressure", notes=[60])

    assert lane.values.tolist() == [16 / 127]


def test_channels_without_lower_bytes_keep_seven_bits() -> None:
    """Full is full on both, though only one sends pairs."""
    lane = read_lane(_midi((0, "b00140"), (0, "b02100"), (100, "b1017f")), "cc14", 1)

    assert lane.values.tolist() == [(64 << 7) / 16383, 1.0]


def test_a_pedal_holds_its_channel_from_any_track() -> None:
    """Notes of one track are prolonged by the pedal of another."""
    notes = track([(0, bytes.fromhex("903c40")), (100, bytes.fromhex("803c00"))], 1000)
    pedal = track([(50, bytes.fromhex("b0407f")), (400, bytes.fromhex("b04000"))], 1000)

    played = read_notes(parse_midi(smf(notes, pedal)), track=0, pedal=True)

    assert played.end_tick.tolist() == [400]


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


def test_a_name_is_found_however_its_accents_and_spaces_are_written() -> None:
    """Accents put together or apart, wide spaces and a NUL behind make no other name."""
    names = ["E\u0301te\u0301\u3000 2", "Depth\0"]
    midi = parse_midi(
        smf(*(track([(0, b"\xff\x03" + bytes([len(n.encode())]) + n.encode())]) for n in names))
    )

    assert (track_index(midi, "été 2"), track_index(midi, "Depth")) == (0, 1)


@pytest.mark.parametrize("controller", [120, 123, 124, 125, 126, 127])
def test_all_notes_off_ends_what_sounds(controller: int) -> None:
    """It ends every note of its channel; an off that comes later is nothing, also to a note in between."""
    midi = _midi(
        (0, "903c40"), (0, "914040"), (10, "903c41"), (20, "903e42"), (100, f"b0{controller:02x}00"),
        (200, "803c00"), (300, "903c43"), (400, "803c00"), (500, "803c00"), (600, "814000"),
    )  # fmt: skip
    notes = read_notes(midi)
    rows = list(zip(notes.channel.tolist(), notes.velocity.tolist(), notes.end_tick.tolist(), strict=True))

    assert rows == [(1, 0x40, 100), (2, 0x40, 600), (1, 0x41, 100), (1, 0x42, 100), (1, 0x43, 400)]


def test_all_notes_off_waits_for_the_pedal_and_all_sound_off_does_not() -> None:
    """With the pedal down notes last until it is lifted, reset, or all sound is cut off."""
    down = [(0, "b0407f"), (0, "903c40"), (50, "803c00"), (60, "903e40"), (100, "b07b00")]

    def ends(*more: tuple[int, str]) -> list[int]:
        return read_notes(_midi(*down, *more), pedal=True).end_tick.tolist()

    assert ends((300, "b04000")) == [300, 300]
    assert ends((300, "b07900")) == [300, 300]
    assert ends((200, "b07800"), (300, "b04000")) == [200, 200]
    assert read_notes(_midi(*down)).end_tick.tolist() == [50, 100]


def test_a_track_of_its_own_is_not_stopped_by_another_on_its_channel() -> None:
    """DAWs put all tracks on channel 1: each is its own; a track without notes speaks for the channel."""
    one = track([(0, b"\x90\x3c\x40"), (400, b"\x80\x3c\0")], 1000)
    two = track([(0, b"\x90\x40\x40"), (100, b"\xb0\x7b\0")], 1000)
    silent = track([(200, b"\xb0\x7b\0")], 1000)

    assert read_notes(parse_midi(smf(one, two))).end_tick.tolist() == [400, 100]
    assert read_notes(parse_midi(smf(one, two, silent))).end_tick.tolist() == [200, 100]
    assert read_notes(parse_midi(smf(one, two, silent)), track=0).end_tick.tolist() == [200]


@pytest.mark.parametrize(
    ("event", "number", "moved", "rest"),
    [
        ("cc", 1, "b00140", 0.0),
        ("cc", 11, "b00b40", 1.0),
        ("cc", 64, "b04040", 0.0),
        ("cc", 65, "b04140", 0.0),
        ("cc", 66, "b04240", 0.0),
        ("cc", 67, "b04340", 0.0),
        ("pitch_bend", None, "e00060", 0.5),
        ("channel_pressure", None, "d040", 0.0),
        ("poly_pressure", None, "a03c40", 0.0),
        ("cc14", 1, "b00140", 0.0),
        ("cc14", 11, "b00b40", 1.0),
        ("cc", 7, "b00740", None),
        ("cc", 10, "b00a40", None),
        ("cc", 0, "b00040", None),
        ("cc", 74, "b04a40", None),
        ("cc", 91, "b05b40", None),
        ("cc14", 7, "b00740", None),
    ],
)
def test_a_reset_puts_lanes_to_rest(
    event: LaneEvent, number: int | None, moved: str, rest: float | None
) -> None:
    """What the recommended practice lists goes to rest; volume, pan, banks and sounds stay."""
    lane = read_lane(_midi((10, moved), (100, "b07900"), (200, moved)), event, number)

    assert lane.ticks.tolist() == ([10, 200] if rest is None else [10, 100, 200])
    if rest is not None:
        assert lane.values[1] == rest


def test_a_reset_alone_is_no_lane() -> None:
    """Many files begin with resets on every channel: a lane without events of its own stays empty."""
    assert len(read_lane(_midi((0, "b07900")), "cc", 1)) == 0
    assert read_lane(_midi((0, "b10140"), (50, "b07900")), "cc", 1).ticks.tolist() == [0]


def test_a_reset_keeps_both_halves_of_a_pair() -> None:
    """Expression of 14 bits rests at full, modulation at nought, and the lower byte counts on from there."""
    full = read_lane(_midi((0, "b00b40"), (0, "b02b20"), (100, "b07900"), (200, "b02b01")), "cc14", 11)

    assert np.rint(full.values * 16383).tolist() == [64 << 7 | 32, 16383, 127 << 7 | 1]


def test_a_reset_deselects_the_parameter() -> None:
    """Data entry after it goes nowhere; what was set stays."""
    midi = _midi((0, "b06500"), (0, "b06400"), (0, "b0060c"), (5, "b07900"), (6, "b00618"))

    assert parameter_numbers(midi) == [("rpn", 0, 1, 0, 12 << 7)]
    assert bend_range_semitones(midi, 1) == 12.0


def test_300_000_notes_are_paired_and_summarised_in_seconds() -> None:
    """The time grows with the notes, whatever stops them and however many tracks there are."""
    body = b"".join(b"\x01" + bytes([0x90 | row % 16, row % 128, 100]) for row in range(200_000))
    stops = b"".join(
        b"\x01" + bytes([0x90 | row % 16, row % 128, 100]) + b"\0" + bytes([0xB0 | row % 16, 123, 0])
        for row in range(100_000)
    )
    chunks = [b"MTrk" + (len(one) + 4).to_bytes(4, "big") + one + b"\0\xff\x2f\0" for one in (body, stops)]
    began = time.process_time()
    midi = parse_midi(smf(*chunks, *[track([(0, b"\x90\x3c\x40")])] * 5000))
    summary = summarise_midi(midi, build_tempo_map(midi))

    assert [row["n_notes"] for row in summary["tracks"][:3]] == [200_000, 100_000, 1]
    assert time.process_time() - began < 8.0
