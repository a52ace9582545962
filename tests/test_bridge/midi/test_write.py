"""What is written is taken back: by this reader, by symusic and by mido."""

from __future__ import annotations

import io
from pathlib import Path

import mido
import numpy as np
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError, OutputError
from bridge.midi.file import parse_midi
from bridge.midi.lanes import read_lane
from bridge.midi.song_clock import build_tempo_map
from bridge.midi.write import WrittenLane, build_midi, thin_lane, write_midi

CLOCK = TempoMap.from_points(
    [(0, 120, "hold"), (8, 90, "hold"), (16, 133.25, "hold")],
    [(0, 4, 4), (8, 7, 8), (15, 4, 4)],
    [(4, "Verse"), (16, "Chörus")],
)


def _lane(times: list[float], values: list[float], **options: object) -> WrittenLane:
    return WrittenLane(name="Dream Depth", times_s=np.array(times), values=np.array(values), **options)  # type: ignore[arg-type]


def test_the_smallest_file_is_what_the_standard_says() -> None:
    """One lane of one value, byte for byte."""
    data = build_midi(TempoMap.constant(120), [_lane([0.0], [1.0])], length_s=0.5)

    assert data.hex(" ") == (
        "4d 54 68 64 00 00 00 06 00 01 00 02 03 c0 "  # MThd, type 1, 2 tracks, 960
        "4d 54 72 6b 00 00 00 1d "  # MTrk
        "00 ff 03 05 54 65 6d 70 6f "  # name: Tempo
        "00 ff 51 03 07 a1 20 "  # 500,000 microseconds a quarter note
        "00 ff 58 04 04 02 18 08 "  # 4/4
        "87 40 ff 2f 00 "  # the end, 960 ticks on
        "4d 54 72 6b 00 00 00 18 "
        "00 ff 03 0b 44 72 65 61 6d 20 44 65 70 74 68 "  # name: Dream Depth
        "00 b0 01 7f "  # controller 1 on channel 1
        "87 40 ff 2f 00"
    )


def test_a_written_clock_is_read_back() -> None:
    """Tempos, meters and markers come back where they were, to the microsecond a beat that the format has."""
    read = build_tempo_map(parse_midi(build_midi(CLOCK, length_s=20.0)))
    beats = np.linspace(0, 40, 500)

    assert [str(meter) for meter in read.meters] == ["4/4", "7/8", "4/4"]
    assert [(marker.name, marker.beats) for marker in read.markers] == [("Verse", 4.0), ("Chörus", 16.0)]
    assert np.abs(read.beats_to_seconds(beats) - CLOCK.beats_to_seconds(beats)).max() < 40 * 0.5e-6
    assert read.warnings == ()


@pytest.mark.parametrize("law", ["beats", "time"])
def test_ramps_are_written_as_steps_that_take_their_time(law: str) -> None:
    """A ramp becomes a tempo every 1/32 note, and every step takes its exact time."""
    ramp = TempoMap.from_points([(0, 120, law), (8, 90, "hold")])  # type: ignore[list-item]
    read = build_tempo_map(parse_midi(build_midi(ramp, length_s=8.0)))
    grid = np.arange(0, 65) / 8

    assert len(read.tempos) >= 64
    # Half a microsecond a beat of rounding in each of 64 steps of an eighth of a beat.
    assert np.abs(read.beats_to_seconds(grid) - ramp.beats_to_seconds(grid)).max() < 64 * 0.5e-6 / 8


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.sampled_from([7, 14]))
def test_a_thinned_lane_is_one_step_off_at_most(values: list[float], bits: int) -> None:
    """At every instant the lane read back is within one step, and rests exactly at either end."""
    times = np.arange(len(values)) / 50
    lane = _lane(times.tolist(), values, bits=bits)
    midi = parse_midi(build_midi(TempoMap.constant(120), [lane], length_s=10.0))
    read = read_lane(midi, "cc" if bits == 7 else "cc14", 1)
    ticks = np.rint(times * 2 * 960)
    held = read.values[np.searchsorted(read.ticks, ticks, side="right") - 1]
    step = 1 / (2**bits - 1)

    assert np.abs(held - values).max() <= step * (1 + 1e-9)
    for end in (0.0, 1.0):
        at_end = np.array(values) == end
        assert np.all(held[at_end] == end)
    assert len(read) <= len(values)


def test_thinning_says_nothing_twice() -> None:
    """A slow ramp in 7 bits takes no more than 128 events out of 10,000."""
    ticks, raw = thin_lane(np.arange(10_000), np.linspace(0, 1, 10_000), 7)

    assert len(ticks) <= 128
    assert (raw[0], raw[-1]) == (0, 127)
    assert np.all(np.diff(raw) != 0)


def test_others_read_what_is_written() -> None:
    """Both mido and symusic find the same names, controllers and tempos."""
    data = build_midi(
        CLOCK, [_lane([0.0, 1.0, 2.0], [0.0, 0.5, 1.0], controller=11, channel=3)], length_s=10.0
    )
    theirs = mido.MidiFile(file=io.BytesIO(data))
    score = symusic.Score.from_midi(data)

    assert [track.name for track in theirs.tracks] == ["Tempo", "Dream Depth"]
    messages = [m for m in theirs.tracks[1] if m.type == "control_change"]
    assert [(m.channel, m.control, m.value) for m in messages] == [(2, 11, 0), (2, 11, 64), (2, 11, 127)]
    assert [t.time for t in score.tempos] == [0, 8 * 960, 16 * 960]


def test_a_lane_that_cannot_be_written_is_refused() -> None:
    """Controllers with 14 bits are those below 32; channels are 1..16."""
    for options in ({"controller": 40, "bits": 14}, {"channel": 17}, {"bits": 8}):
        with pytest.raises(MidiFileError, match="cannot be written"):
            _lane([0.0], [0.0], **options)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    """A file that exists stays, unless it is said; a folder that is a file is an error of one line."""
    path = tmp_path / "lane.mid"
    write_midi(path, CLOCK, length_s=1.0)

    with pytest.raises(OutputError, match="--overwrite"):
        write_midi(path, CLOCK, length_s=1.0)
    write_midi(path, CLOCK, length_s=2.0, overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        write_midi(path / "lane.mid", CLOCK, length_s=1.0)
    assert [child.name for child in tmp_path.iterdir()] == ["lane.mid"]
