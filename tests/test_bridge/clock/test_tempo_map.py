"""One clock: exact over hours, invertible everywhere, and clear about who said the tempo."""

from __future__ import annotations

import bisect
import itertools
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
from helpers.midi import hex_bytes, marker, meta, meter, random_song, smf, tempo, track
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.clock.durations import parse_duration
from bridge.clock.settings import ClockSettings, bpm_from_name, parse_meter
from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError, TempoError
from bridge.midi.file import parse_midi
from bridge.midi.song_clock import build_tempo_map, read_tempo_map


def _clock(data: bytes, **said: object) -> TempoMap:
    hint_bpm = said.pop("default_bpm", None)
    return build_tempo_map(parse_midi(data, "song.mid"), ClockSettings(**said), hint_bpm=hint_bpm)  # type: ignore[arg-type]


def _long_song() -> tuple[bytes, list[tuple[int, int]]]:
    """Two hours with 1000 tempo changes and 50 meter changes."""
    rng = np.random.default_rng(7)
    ticks = rng.choice(np.arange(1, 7_000_000), 1000, replace=False)
    changes = sorted((int(tick), int(rng.integers(250_000, 750_000))) for tick in ticks)
    tempos = [(0, 500_000), *changes]
    meters = [(139_003 * change, (int(rng.integers(2, 9)), 8)) for change in range(51)]
    events = [(tick, tempo(us)) for tick, us in tempos] + [(tick, meter(*value)) for tick, value in meters]
    events.sort(key=lambda event: event[0])
    return smf(track(events, 7_200_000)), tempos


def test_ticks_are_exact_after_a_thousand_tempo_changes_over_two_hours() -> None:
    """Every tick lands on its exact sample, worked out in whole numbers beside it, within half a sample."""
    data, tempos = _long_song()
    clock = _clock(data)
    starts, sums = [tick for tick, _ in tempos], [0]
    for (tick, us), (following, _) in itertools.pairwise(tempos):
        sums.append(sums[-1] + (following - tick) * us)
    ticks = np.random.default_rng(8).integers(0, 7_200_000, 3000)

    seconds = clock.ticks_to_seconds(ticks)
    samples = clock.ticks_to_samples(ticks, 192_000)

    assert 7000 < float(clock.ticks_to_seconds(7_200_000)) < 8000
    for tick, second, sample in zip(ticks.tolist(), seconds.tolist(), samples.tolist(), strict=True):
        index = bisect.bisect_right(starts, tick) - 1
        exact = Fraction(sums[index] + (tick - starts[index]) * tempos[index][1], 480 * 1_000_000)
        assert abs(Fraction(second) - exact) < Fraction(1, 10**11)
        assert abs(sample - exact * 192_000) <= Fraction(1, 2) + Fraction(1, 10**5)
    assert np.abs(clock.seconds_to_ticks(seconds) - ticks).max() < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_seconds_agree_with_symusic(seed: int) -> None:
    """Note times in seconds are those of an independent reader, to its single precision."""
    data = random_song(seed)
    clock = _clock(data)
    ours = np.sort(
        clock.ticks_to_seconds([n.time for t in symusic.Score.from_midi(data).tracks for n in t.notes])
    )
    theirs = np.sort([n.time for t in symusic.Score.from_midi(data, ttype="second").tracks for n in t.notes])

    # symusic keeps seconds in float32: one part in 2**24 of some hundred seconds, summed over its segments.
    assert np.abs(ours - theirs).max() < 2e-3


def test_smpte_ticks_are_seconds_whatever_the_tempo() -> None:
    """In a file of 25 frames x 40 ticks, 480 ticks are 0.48 s, and a tempo in it does not count."""
    body = "00 ff 51 03 0f 42 40  83 60 90 3c 40  00 ff 2f 00"
    data = hex_bytes(f"4d546864 00000006 0001 0001 e728 4d54726b 00000010 {body}")
    clock = _clock(data)

    assert float(clock.ticks_to_seconds(480)) == pytest.approx(0.48, abs=1e-15)
    assert float(clock.seconds_to_ticks(0.48)) == pytest.approx(480)
    assert float(clock.ticks_to_beats(1000)) == pytest.approx(2.0)
    assert float(clock.beats_to_ticks(2.0)) == pytest.approx(1000)
    assert "SMPTE" in clock.warnings[0]
    assert float(_clock(data, bpm=60).ticks_to_beats(1000)) == pytest.approx(1.0)


def test_29_frames_are_30_000_a_1001st() -> None:
    """Drop-frame files count 29.97 frames a second."""
    data = hex_bytes("4d546864 00000006 0001 0001 e364 4d54726b 00000004 00ff2f00")

    assert _clock(data).ticks_per_second == Fraction(3_000_000, 1001)


@pytest.mark.parametrize(("law", "seconds"), [("beats", 4.603), ("time", 4.571)])
def test_ramps_take_their_textbook_time(law: str, seconds: float) -> None:
    """From 120 to 90 BPM over 8 beats: 4.603 s straight over beats, 4.571 s straight over time."""
    ramp = TempoMap.from_points([(0, 120, law), (8, 90, "hold")])  # type: ignore[list-item]
    beats = np.linspace(0, 8, 200_001)
    slow_twin = np.sum(60.0 / ramp.bpm_at((beats[1:] + beats[:-1]) / 2)) * (beats[1] - beats[0])

    assert float(ramp.beats_to_seconds(8)) == pytest.approx(seconds, abs=5e-4)
    assert float(ramp.beats_to_seconds(8)) == pytest.approx(slow_twin, abs=1e-8)
    assert float(ramp.bpm_at(8)) == 90.0
    halfway = {"beats": 4.0, "time": float(ramp.seconds_to_beats(ramp.beats_to_seconds(8) / 2))}[law]
    assert float(ramp.bpm_at(halfway)) == pytest.approx(105.0)


POINTS = st.lists(
    st.tuples(st.integers(1, 4000), st.floats(20, 400), st.sampled_from(["hold", "beats", "time"])),
    max_size=8,
    unique_by=lambda point: point[0],
).map(
    lambda points: [(0.0, 120.0, "hold"), *((at / 16, round(bpm, 3), law) for at, bpm, law in sorted(points))]
)
METERS = st.lists(
    st.tuples(st.integers(1, 600), st.integers(1, 13), st.sampled_from([1, 2, 4, 8, 16])),
    max_size=5,
    unique_by=lambda value: value[0],
).map(lambda values: [(0.0, 4, 4), *((at / 4, upper, lower) for at, upper, lower in sorted(values))])


@settings(deadline=None)
@given(POINTS, METERS, st.floats(-5, 5), st.lists(st.floats(-20, 400), min_size=1, max_size=50))
def test_every_direction_undoes_the_other(
    points: list[tuple[float, float, str]],
    meters: list[tuple[float, int, int]],
    offset: float,
    beats: list[float],
) -> None:
    """Beats to seconds and back, to positions and back: the same beats, and time never runs backwards."""
    clock = TempoMap.from_points(points, meters, offset_s=offset)  # type: ignore[arg-type]
    wanted = np.sort(beats)
    seconds = clock.beats_to_seconds(wanted)
    bar, beat, tick = clock.beats_to_positions(wanted)

    assert np.all(np.diff(seconds) >= 0)
    assert np.abs(clock.seconds_to_beats(seconds) - wanted).max() < 1e-6
    assert np.abs(clock.positions_to_beats(bar, beat, tick) - wanted).max() < 1e-6
    assert np.abs(clock.bars_to_beats(clock.beats_to_bars(wanted)) - wanted).max() < 1e-6
    assert np.all((beat >= 1) & (tick >= 0) & (tick < 960 + 1e-6))


@settings(deadline=None)
@given(POINTS, METERS, st.floats(-5, 5))
def test_a_map_survives_json(
    points: list[tuple[float, float, str]], meters: list[tuple[float, int, int]], offset: float
) -> None:
    """Plain data and back give an equal map, to the last fraction."""
    clock = TempoMap.from_points(points, meters, [(3.5, "Él")], offset_s=offset)  # type: ignore[arg-type]

    assert TempoMap.from_dict(json.loads(json.dumps(clock.to_dict()))) == clock


def test_what_is_no_map_is_refused() -> None:
    """Data that describe no tempo map are refused in one line."""
    with pytest.raises(TempoError, match="not a tempo map"):
        TempoMap.from_dict({"tempos": []})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tempos", [[0, "1e999999999", "hold"]]),
        ("tempos", [[0, "500000/0", "hold"]]),
        ("tempos", [[0, 500_000, "hold"]]),
        ("tempos", [[0, "500000", "slide"]]),
        ("tempos", [[10**4000, "500000", "hold"]]),
        ("tempos", [[0.5, "500000", "hold"]]),
        ("tempos", [[0, "500000"]]),
        ("tempos", 7),
        ("meters", [[0, "4", 4]]),
        ("meters", [[0, 4, 3]]),
        ("ticks_per_beat", 0),
        ("ticks_per_beat", True),
        ("ticks_per_second", "0"),
        ("ticks_per_second", "x"),
        ("offset_s", "soon"),
        ("offset_s", float("nan")),
        ("offset_s", 1e300),
        ("first_bar", None),
        ("markers", [["A", None, 0.0]]),
        ("markers", [[3, 0.0, 0.0]]),
        ("source", 3),
        ("warnings", [["x"]]),
        ("warnings", None),
    ],
)
def test_a_map_with_a_wrong_value_is_refused_in_one_line(key: str, value: object) -> None:
    """Also one that would take for ever, or fail long after it was read."""
    with pytest.raises(TempoError) as caught:
        TempoMap.from_dict({**TempoMap.constant(123.456).to_dict(), key: value})

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_points_at_no_place_are_refused() -> None:
    """A tempo or a meter at a beat that is not a number, or further than any song, is no place."""
    for beats in (float("nan"), float("inf"), 1e300):
        with pytest.raises(TempoError, match="no place"):
            TempoMap.from_points([(0, 120, "hold"), (beats, 90, "hold")])
        with pytest.raises(TempoError, match="no place"):
            TempoMap.from_points([(0, 120, "hold")], [(0, 4, 4), (beats, 3, 4)])


def test_many_positions_are_written_as_one_is() -> None:
    """Bar, beat and tick of many beats at once."""
    clock = TempoMap.from_points([(0, 120, "hold")], [(0, 7, 8), (7, 3, 4)])
    beats = np.linspace(-4.0, 40.0, 777)

    assert clock.position_texts(beats) == [clock.position_text(beat) for beat in beats.tolist()]


def test_decimal_tempos_are_exact() -> None:
    """93 BPM is exactly 93: after 93 x 600 beats exactly 36,000 s have passed."""
    assert float(TempoMap.constant(93).beats_to_seconds(93 * 600)) == 36_000.0


def test_tempo_counts_on_any_track() -> None:
    """A tempo on the second track, as FL Studio writes it, is the song's."""
    data = smf(track([]), track([(0, tempo(1_000_000)), (480, b"\x90\x3c\x40")]))

    assert float(_clock(data).ticks_to_seconds(480)) == 1.0
    assert _clock(data).source == "midi"


def test_the_last_tempo_at_a_tick_wins() -> None:
    """Of several tempos at one tick the last counts, across tracks too; zero and short ones do not."""
    data = smf(
        track([(0, tempo(500_000)), (0, tempo(600_000))]),
        track([(0, tempo(1_000_000)), (0, tempo(0)), (0, meta(0x51, b"\x01"))]),
    )
    clock = _clock(data)

    assert [t.us_per_beat for t in clock.tempos] == [1_000_000]
    assert "2 tempo events" in clock.warnings[0]
    assert "two tempos at tick 0 and at 1 more: the last one there counts, 60 BPM" in clock.warnings[1]


def test_a_missing_tempo_is_told_and_can_be_said() -> None:
    """Without a tempo 120 BPM are used with a warning, a preset's hint before that, and what is said wins."""
    data = smf(track([(480, b"\x90\x3c\x40")]))

    assert "120 BPM" in _clock(data).warnings[0]
    assert (_clock(data, default_bpm=90).tempos[0].bpm, _clock(data, default_bpm=90).source) == (
        90,
        "preset default",
    )
    said = _clock(data, bpm=140)
    assert (said.tempos[0].bpm, said.source, said.warnings) == (pytest.approx(140), "--bpm", ())


def test_contradictory_tempos_say_who_won() -> None:
    """A tempo that is said wins over the file's, and the map tells so; the same for a meter."""
    data = smf(track([(0, tempo(500_000)), (0, meter(7, 8)), (960, tempo(400_000))]))
    clock = _clock(data, bpm=100, meter=(3, 4))

    assert "100 BPM as given overrides 120 to 150 BPM in song.mid" in clock.warnings
    assert "3/4 as given overrides 7/8 in song.mid" in clock.warnings
    assert str(clock.meter_at(100.0)) == "3/4"


def test_texts_are_markers_where_that_is_said_and_there_are_none() -> None:
    """Those of the first track; never beside real markers."""
    texts = track([(0, meta(1, b"Verse")), (960, meta(1, b"Chorus"))])
    other = track([(0, meta(1, b"made with care"))])

    assert not _clock(smf(texts, other)).markers
    found = _clock(smf(texts, other), text_markers=True).markers
    assert [(one.name, one.beats) for one in found] == [("Verse", 0.0), ("Chorus", 2.0)]
    named = smf(track([(0, meta(1, b"Verse")), (480, meta(6, b"Bridge"))]))
    assert [one.name for one in _clock(named, text_markers=True).markers] == ["Bridge"]


def test_a_late_first_tempo_is_told() -> None:
    """Before the first tempo the default holds, with a warning."""
    clock = _clock(smf(track([(480, tempo(1_000_000)), (960, b"\x90\x3c\x40")])))

    assert float(clock.ticks_to_seconds(960)) == 1.5
    assert "tick 480" in clock.warnings[0]


def test_bars_follow_the_meters() -> None:
    """Two bars of 4/4, one of 7/8, then 3/4: the bars begin where a musician counts them."""
    data = smf(
        track([(0, tempo(500_000)), (0, meter(4, 4)), (3840, meter(7, 8)), (3840 + 1680, meter(3, 4))])
    )
    clock = _clock(data)

    assert clock.warnings == ()
    assert clock.positions_to_beats([1, 2, 3, 4, 5]).tolist() == [0, 4, 8, 11.5, 14.5]
    assert float(clock.positions_to_beats(3, 7, 480)) == 8 + 6 * 0.5 + 0.25
    position = clock.beats_to_positions(11.25)
    assert (int(position.bar), int(position.beat), float(position.tick)) == (3, 7, 480.0)


def test_a_meter_within_a_bar_starts_a_new_one_and_is_told() -> None:
    """A meter that lands within a bar ends the bar there, with a warning."""
    clock = _clock(smf(track([(0, tempo(500_000)), (0, meter(4, 4)), (960, meter(3, 4))])))

    assert "3/4 starts within bar 1" in clock.warnings[0]
    assert clock.positions_to_beats([1, 2, 3]).tolist() == [0, 2, 5]


def test_a_pick_up_bar_can_be_bar_nought() -> None:
    """With first_bar = 0 a short first bar is bar 0, and bar 1 is the first whole one."""
    clock = _clock(smf(track([(0, tempo(500_000)), (0, meter(1, 4)), (480, meter(4, 4))])), first_bar=0)

    assert clock.positions_to_beats([0, 1, 2]).tolist() == [0, 1, 5]


def test_meters_that_cannot_be_meant_are_ignored_and_told() -> None:
    """A meter of 0 beats, or cut short, does not count."""
    clock = _clock(smf(track([(0, tempo(500_000)), (0, meta(0x58, b"\x00\x02")), (0, meta(0x58, b"\x03"))])))

    assert str(clock.meters[0]) == "4/4"
    assert "2 meter events" in clock.warnings[0]


def test_markers_are_found_by_name_whatever_the_case() -> None:
    """Markers and cue points are places; a name that is used twice can be counted; others are listed."""
    data = smf(
        track(
            [(0, tempo(500_000)), (960, marker("Chorus")), (1920, meta(7, b"Drop")), (3840, marker("Chorus"))]
        )
    )
    clock = _clock(data, offset_s=0.5)

    assert clock.locate("@chorus", 60) == 1.5
    assert clock.locate("@Chorus#2+1/4", 60) == 5.0
    assert clock.locate("@Drop-1 beats", 60) == 2.0
    with pytest.raises(TempoError, match="Chorus"):
        clock.locate("@Chors", 60)
    with pytest.raises(TempoError, match="no marker"):
        clock.locate("@Chorus#3", 60)


def test_a_marker_is_found_in_a_song_that_has_none_by_nobody() -> None:
    """The error says that the song has no markers at all, not which ones are accepted."""
    with pytest.raises(TempoError, match="no marker 'Drop' in the song; it has no markers"):
        TempoMap.constant(120).locate("@Drop", 60)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1:1", 1.0), ("2:1", 3.0), ("1:2:480", 1.75), ("4 beats", 3.0), ("4 s", 4.0), ("start+1 bars", 3.0),
     ("end", 60.0), ("end-1 bars", 58.0), ("3:1-1/4", 4.5)],
)  # fmt: skip
def test_positions_are_located(text: str, seconds: float) -> None:
    """Places are where the meter and the offset put them; plain seconds are those of the stems."""
    assert TempoMap.constant(120, offset_s=1.0).locate(text, 60.0) == pytest.approx(seconds, abs=1e-12)


def test_advancing_follows_tempo_and_meter() -> None:
    """Two bars from within a tempo change take the time of what is crossed."""
    clock = TempoMap.from_points([(0, 120, "hold"), (4, 60, "hold")], [(0, 4, 4), (4, 3, 4)])

    assert float(clock.advance(0.0, parse_duration("2 bars"))) == 2.0 + 3.0
    assert clock.advance([0.0, 1.0], parse_duration("1/2")).tolist() == [1.0, 2.0]
    assert float(clock.advance(1.0, parse_duration("250 ms"))) == 1.25


def test_what_people_write_for_meter_and_tempo_is_read() -> None:
    """Meters as 7/8, tempos in file names; nonsense is refused."""
    assert parse_meter(" 7/8 ") == (7, 8)
    for text in ("7", "7/7", "0/4", "4/512"):
        with pytest.raises(TempoError):
            parse_meter(text)
    assert bpm_from_name("Bass_128bpm_v2.wav") == 128.0
    assert bpm_from_name("kick 92.5 BPM") == 92.5
    assert bpm_from_name("song4bpmx") is None


@pytest.mark.parametrize("bpm", [0, -1, 0.5, 2000, float("nan")])
def test_impossible_tempos_are_refused(bpm: float) -> None:
    """A tempo outside 1..1000 makes no sense."""
    with pytest.raises(TempoError, match=r"1\.\.1000"):
        TempoMap.constant(bpm)


def test_a_map_is_read_from_a_file(tmp_path: Path) -> None:
    """The public function reads a path; a missing one is an error of one line."""
    path = tmp_path / "song.mid"
    path.write_bytes(random_song(3))

    assert read_tempo_map(path).source == "midi"
    with pytest.raises(MidiFileError):
        read_tempo_map(tmp_path / "none.mid")


def test_an_absurd_tempo_is_warned_of() -> None:
    """A microsecond a beat is kept as it is written, with a word on it."""
    clock = _clock(smf(track([(0, tempo(1))])))

    assert float(clock.bpm_at(0.0)) == 60_000_000.0
    assert any("60,000,000 BPM at tick 0" in warning for warning in clock.warnings)


def test_a_ramp_of_no_known_law_is_refused() -> None:
    """The accepted ones are named."""
    with pytest.raises(TempoError, match="ramp 'bend'; hold, beats, time"):
        TempoMap.from_points([(0, 120, "bend")])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("beats", "text"),
    [
        (0.0, "1:1:000"),
        (3.999_999_9, "2:1:000"),  # not 1:4:960, nor 1:4:959
        (4.0 - 0.6 / 960, "1:4:959"),
        (4.0 - 0.4 / 960, "2:1:000"),
        (5.5, "2:2:480"),
    ],
)
def test_a_position_is_written_to_its_nearest_tick(beats: float, text: str) -> None:
    """What rounds up to a whole beat is written as that beat."""
    assert TempoMap.constant(120).position_text(beats) == text


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"bpm": 0.0}, "0.0 BPM is outside 1..1000"),
        ({"bpm": "120bpm"}, "'120bpm' is not a number.*write 120$"),
        ({"bpm": "87,5 BPM"}, r"write 87\.5$"),
        ({"bpm": "fast"}, "such as 120"),
        ({"meter": (7, 3)}, "the meter 7/3"),
        ({"meter": "seven"}, "'seven' is not a meter"),
        ({"pattern": 0}, "pattern = 0"),
        ({"tempo": 120}, "tempo = 120: extra inputs"),
    ],
)
def test_what_is_said_of_the_clock_and_makes_no_sense_is_a_tempo_error(
    said: dict[str, Any], says: str
) -> None:
    """It is refused when it is said, not when a song is built of it."""
    with pytest.raises(TempoError, match=says):
        ClockSettings(**said)
