"""Every source does what its name promises, to the sample, whatever the chunks it is asked in."""

from __future__ import annotations

import bisect
import itertools
import math
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from helpers.envelopes import SAMPLE_RATE, edges, envelopes, song, source
from helpers.midi import marker, meter, smf, tempo, track
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.signal import lfilter

from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.follower import build_follower, follower_stems
from bridge.envelopes.schema import Modulator
from bridge.envelopes.song import Song
from bridge.errors import EnvelopeError

RAMPED = Song(
    tempo_map=TempoMap.from_points(
        [(0, 120, "beats"), (8, 90, "time"), (20, 140, "hold"), (30, 77.7, "hold")],
        [(0, 4, 4), (8, 7, 8), (15, 3, 4)],
        [(4, "Verse"), (16, "Chorus")],
        offset_s=0.37,
    ),
    midi=None,
    length_s=20.0,
)


def note(
    tick: int, length: int, pitch: int = 60, velocity: int = 127, channel: int = 0
) -> list[tuple[int, bytes]]:
    return [
        (tick, bytes([0x90 | channel, pitch, velocity])),
        (tick + length, bytes([0x80 | channel, pitch, 0])),
    ]


def played(*events: tuple[int, bytes], us_per_beat: int = 500_000) -> bytes:
    """One track at 480 ticks a quarter note; a tick is 50 samples at 120 BPM and 48 kHz."""
    return smf(track(sorted([(0, tempo(us_per_beat)), *events], key=lambda event: event[0])))


def controllers(*values: tuple[int, int], tick: int = 480) -> list[tuple[int, bytes]]:
    """Controllers on channel 1, all at one tick."""
    return [(tick, bytes([0xB0, number, value])) for number, value in values]


CC_SONG = played(*((tick, bytes([0xB0, 1, value])) for tick, value in [(480, 127), (960, 64), (1000, 10)]))

SHAPES = (
    "sine", "triangle", "saw_up", "saw_down", "square", "pulse", "sample_hold", "random_smooth", "perlin",
)  # fmt: skip
ALL_MODULATORS: list[dict[str, Any]] = [
    *({"type": "lfo", "id": shape, "shape": shape, "rate": "1/8T"} for shape in SHAPES),
    {"type": "lfo", "id": "swung", "shape": "square", "rate": "1/8", "swing": 62, "smooth": "3 ms"},
    {"type": "lfo", "id": "late", "rate": "2 Hz", "mode": "free", "delay": "1/4", "fade_in": "1 bars"},
    {
        "type": "lfo",
        "id": "shot",
        "shape": "saw_up",
        "mode": "one_shot",
        "trigger": {"on": "grid", "every": "1/2"},
    },
    {"type": "adsr", "id": "struck", "sustain": 0.4, "trigger": {"on": "grid", "every": "1 bars"}},
    {
        "type": "breakpoints",
        "id": "drawn",
        "points": [
            {"at": "1:1", "value": 0.1, "curve": "s_curve"},
            {"at": "@Verse", "value": 0.9, "curve": "curve", "tension": 0.7},
            {"at": "@Chorus", "value": 0.3, "curve": "stairs"},
            {"at": "end-1 bars", "value": 1, "curve": "pulse"},
            {"at": "end", "value": 0},
        ],
    },
    {
        "type": "breakpoints",
        "id": "looped",
        "mode": "sync",
        "length": "1 bars",
        "points": [{"at": "0 s", "value": 1, "curve": "curve", "tension": -0.5}, {"at": "1/2", "value": 0}],
    },
    {
        "type": "steps",
        "id": "stepped",
        "steps": [0, 0.5, 1],
        "direction": "ping_pong",
        "glide": 0.3,
        "gate": 0.7,
    },
    {"type": "steps", "id": "dice", "steps": [0, 0.5, 1], "direction": "random", "rate": "1/16T"},
    {"type": "midi", "id": "wheel", "event": "cc", "number": 1},
    {"type": "midi", "id": "ramped", "number": 1, "interpolate": "linear", "max_gap": "4 bars"},
    {"type": "macro", "id": "knob", "macro": "depth", "smooth": "5 ms"},
    {"type": "combine", "id": "both", "op": "multiply", "inputs": ["sine", "struck"], "smooth": "1/4"},
]


def _everything() -> Any:
    data = smf(
        track([(0, tempo(480_000)), (0, meter(4, 4)), (700, marker("Verse")), (3840, marker("Chorus"))]),
        track(sorted([(t, bytes([0xB0, 1, t % 128])) for t in range(0, 9000, 37)])),
    )
    of = song(data, length_s=12.0)
    return envelopes(ALL_MODULATORS, macros=[{"id": "depth", "value": 0.4}], of=of, seed=3)


@pytest.fixture(scope="module")
def everything() -> Any:
    """One of every source."""
    return _everything()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 40_000), min_size=1, max_size=8),
    st.integers(0, 400_000),
    st.sampled_from([1, 1, 3, 64]),
)
def test_any_chunking_gives_the_same_numbers(
    everything: Any, sizes: list[int], start: int, step: int
) -> None:
    """Whole or in chunks, afresh or again, at audio or control rate: the same bits."""
    fresh = _everything() if start % 5 == 0 else everything
    total = sum(sizes)
    for name in everything.sources:
        whole = everything.source_values(name, start, total)
        pieces, at = [], start
        for size in sizes:
            pieces.append(fresh.source_values(name, at, size))
            at += size
        assert np.array_equal(np.concatenate(pieces), whole), name
        assert np.array_equal(fresh.source_values(name, start, total, step), whole[::step]), name
        assert whole.min() >= 0.0, name
        assert whole.max() <= 1.0, name


def test_a_controller_lands_on_its_exact_sample_after_tempo_and_meter_changes() -> None:
    """With smoothing off, the value is there from the nearest sample to the event's exact time on."""
    tempos = [(0, 500_000), (333, 637_123), (1001, 411_111), (2222, 999_999)]
    wanted = [101, 999, 1777, 3001]
    data = smf(
        track([(0, meter(4, 4)), (1920, meter(7, 8)), (2760, meter(3, 4))]),
        track([(tick, tempo(us)) for tick, us in tempos]),
        track([(tick, bytes([0xB2, 1, 10 * (row + 1)])) for row, tick in enumerate(wanted)]),
    )
    values = source(
        {"type": "midi", "event": "cc", "number": 1, "channel": 3, "smooth": "0 ms"}, 400_000, song(data)
    )

    for row, tick in enumerate(wanted):
        us = 0
        for (begin, each), (end, _) in itertools.pairwise(
            [*tempos, (tick, 0)] if tick > 2222 else [*(t for t in tempos if t[0] < tick), (tick, 0)]
        ):
            us += (end - begin) * each
        exact = us / 480 * 1e-6 * SAMPLE_RATE
        first = int(np.flatnonzero(values == 10 * (row + 1) / 127)[0])
        assert abs(first - exact) <= 0.5 + 1e-6


def test_controllers_land_exactly_after_two_hours_of_tempo_and_meter_changes() -> None:
    """After 1000 tempo changes and 50 meter changes a step is at its exact sample, not one beside it."""
    rng = np.random.default_rng(4)
    ticks = np.sort(rng.choice(np.arange(1, 7_000_000), 1000, replace=False)).tolist()
    tempos = [(0, 500_000), *((tick, int(rng.integers(250_000, 750_000))) for tick in ticks)]
    meters = [(139_003 * row, meter(int(rng.integers(2, 9)), 8)) for row in range(1, 51)]
    conductor = sorted([*((tick, tempo(us)) for tick, us in tempos), *meters], key=lambda event: event[0])
    wanted = np.sort(rng.choice(np.arange(1, 7_000_000), 200, replace=False)).tolist()
    lane = [(tick, bytes([0xB0, 1, 1 + row % 2 * 100])) for row, tick in enumerate(wanted)]
    of = song(smf(track(conductor), track(lane)), length_s=7400.0)
    built = envelopes([{"type": "midi", "id": "it", "number": 1, "smooth": "0 ms"}], of=of)
    starts, sums = [tick for tick, _ in tempos], [0]
    for (tick, us), (following, _) in itertools.pairwise(tempos):
        sums.append(sums[-1] + (following - tick) * us)

    for row, tick in enumerate(wanted):
        index = bisect.bisect_right(starts, tick) - 1
        exact = Fraction(sums[index] + (tick - starts[index]) * tempos[index][1], 480_000_000) * SAMPLE_RATE
        nearest = round(exact)
        before, after = built.source_values("it", nearest - 1, 2)
        assert abs(nearest - exact) <= Fraction(1, 2)
        assert before != after
        assert after == (1 + row % 2 * 100) / 127


def test_controllers_are_smoothed_by_one_pole_of_20_ms() -> None:
    """After a step the value goes 1 - exp(-t / 20 ms) of the way, exactly, and steps add up."""
    values = source({"type": "midi", "event": "cc", "number": 1}, 72_000, song(CC_SONG))
    tau, t = 0.02 * SAMPLE_RATE, np.arange(24_000)
    slow_twin, level = np.empty(72_000), 0.0
    held = source({"type": "midi", "event": "cc", "number": 1, "smooth": "0 ms"}, 72_000, song(CC_SONG))
    for index, goal in enumerate(held):
        slow_twin[index] = level = goal + (level - goal) * math.exp(-1 / tau) if index else goal
    expected = 1.0 - np.exp(-t / tau)

    assert np.abs(values[24_000:48_000] - expected).max() < 1e-12
    assert np.abs(values[1:] - slow_twin[:-1])[24_001:].max() < 2e-3  # one sample apart: a step of 1/960
    assert np.all(values[:24_000] == 0.0)


def test_smoothing_anything_follows_the_recursive_filter() -> None:
    """A smoothed square is the recursion y += (x - y)(1 - exp(-1/tau)), to the error of its lattice."""
    of = song(bpm=120)
    square = source({"type": "lfo", "shape": "square", "rate": "1/4"}, 60_000, of)
    smooth = source({"type": "lfo", "shape": "square", "rate": "1/4", "smooth": "20 ms"}, 60_000, of)
    keep, level, twin = math.exp(-1 / 960), 1.0, np.empty(60_000)
    for index, goal in enumerate(square):
        level = twin[index] = goal + (level - goal) * keep

    # The lattice is a sixteenth of the time constant at most: an edge may be that much early or late.
    assert np.abs(smooth - twin).max() < 1 - math.exp(-1 / 15)


def test_a_synced_sine_is_its_analytic_form() -> None:
    """Phase is the song's position over the period: 0.5 + 0.5 sin(2 pi beats / period)."""
    values = source({"type": "lfo", "rate": "1/8T", "phase": 90}, 200_000)
    beats = np.arange(200_000) / SAMPLE_RATE * 2

    # Straight lines over 1/1280 of a cycle are (2 pi / 1280)^2 / 16 off at most, the fitted sine 4e-9.
    assert np.abs(values - (0.5 + 0.5 * np.sin(2 * np.pi * (beats * 3 + 0.25)))).max() < 1.6e-6


@pytest.mark.parametrize("rate", ["1/8T", "1/16", "3x1/16", "1/4D"])
def test_a_synced_oscillator_stays_in_phase_through_tempo_ramps(rate: str) -> None:
    """Each cycle begins within one sample of where the map has its beat, through ramps of both laws."""
    values = source({"type": "lfo", "shape": "saw_down", "rate": rate}, 48_000 * 18, RAMPED)
    period = {"1/8T": 1 / 3, "1/16": 0.25, "3x1/16": 0.75, "1/4D": 1.5}[rate]
    expected = RAMPED.tempo_map.beats_to_seconds(np.arange(1, 400) * period) * SAMPLE_RATE
    expected = expected[expected < 48_000 * 18 - 1]
    found = edges(values)
    found = found[found > expected[0] - 2][: len(expected)]

    assert len(found) == len(expected)
    assert np.abs(found - expected).max() <= 1.0


def test_a_cycle_of_bars_follows_the_meters() -> None:
    """An oscillator of one bar begins with every bar, whatever the meter."""
    values = source({"type": "lfo", "shape": "saw_down", "rate": "1 bars"}, 48_000 * 15, RAMPED)
    bars = (
        RAMPED.tempo_map.beats_to_seconds(RAMPED.tempo_map.positions_to_beats(np.arange(2, 8))) * SAMPLE_RATE
    )

    assert np.abs(edges(values)[1:7] - bars).max() <= 1.0


def test_modes_count_from_where_they_say() -> None:
    """Free counts from the stem's start, sync from the song's, trigger from each trigger, one shot once."""
    of = song(played(*note(480, 100), *note(1440, 100)), length_s=4.0, offset_s=0.1)
    shape = {"type": "lfo", "shape": "saw_up", "rate": "1/4"}
    start, first, second = 4800, 4800 + 24_000, 4800 + 72_000

    free = source({**shape, "mode": "free"}, 120_000, of)
    sync = source({**shape, "mode": "sync"}, 120_000, of)
    trigger = source({**shape, "mode": "trigger"}, 120_000, of)
    one_shot = source({**shape, "mode": "one_shot"}, 120_000, of)

    assert free[0] == 0.0
    assert sync[start] == pytest.approx(0.0, abs=1e-9)
    assert np.all(trigger[:first] == 0.0)
    assert trigger[first + 6000] == pytest.approx(0.25)
    assert trigger[first + 30_000] == pytest.approx(0.25)
    assert trigger[second + 6000] == pytest.approx(0.25)
    assert one_shot[first + 6000] == pytest.approx(0.25)
    assert one_shot[first + 30_000] == pytest.approx(1.0)
    assert one_shot[second + 6000] == pytest.approx(0.25)


def test_delay_and_fade_bring_an_oscillator_in() -> None:
    """Nothing for a quarter, then in over a half: a square shows it, and bipolar rests in the middle."""
    shape = {"type": "lfo", "shape": "square", "rate": "4/1", "delay": "1/4", "fade_in": "1/2"}
    values = source(shape, 90_000)
    both_ways = source({**shape, "polarity": "bipolar"}, 90_000)

    assert np.all(values[:24_000] == 0.0)
    assert values[48_000] == pytest.approx(0.5, abs=1e-4)
    assert np.all(values[72_000:] == 1.0)
    assert both_ways[0] == 0.0
    assert both_ways[-1] == 1.0


def test_the_right_channel_is_ahead_by_its_stereo_phase() -> None:
    """Source '<id>.right' of an oscillator is the same wave, shifted."""
    built = envelopes([{"type": "lfo", "id": "wide", "rate": "1/4", "stereo_phase": 90}])
    left, right = (built.source_values(name, 0, 48_000) for name in ("wide", "wide.right"))

    assert np.abs(right[:-6000] - left[6000:]).max() < 1e-9


def test_chance_is_seeded_and_steady_within_a_cycle() -> None:
    """The same seed throws the same dice, another seed others, and a value holds for its cycle."""
    shape = {"type": "lfo", "shape": "sample_hold", "rate": "1/16", "seed": 5}
    values = source(shape, 60_000)

    assert np.array_equal(values, source(shape, 60_000))
    assert not np.array_equal(values, source({**shape, "seed": 6}, 60_000))
    assert not np.array_equal(values, source(shape, 60_000, seed=1))
    assert np.all(values.reshape(-1, 6000) == values[::6000, None])
    assert len(np.unique(values)) == 10


def test_chance_is_even() -> None:
    """A thousand throws cover 0..1 evenly: mean and spread of a uniform, within four standard errors."""
    values = source({"type": "lfo", "shape": "sample_hold", "rate": "1 ms"}, 48_000)[::48]

    assert abs(values.mean() - 0.5) < 4 * math.sqrt(1 / 12 / 1000)
    assert abs(values.std() - math.sqrt(1 / 12)) < 0.04


def test_swing_moves_every_second_step() -> None:
    """At 66% the second sixteenth of each pair begins at 66% of the pair."""
    values = source({"type": "lfo", "shape": "saw_down", "rate": "1/16", "swing": 66}, 96_000)

    assert np.abs(edges(values)[:4] - np.array([7920, 12_000, 19_920, 24_000])).max() <= 1


def test_an_envelope_keeps_its_times_to_the_sample() -> None:
    """Delay, attack, hold, decay, sustain and release are where they were asked for, straight between."""
    values = source(
        {
            "type": "adsr",
            "delay": "10 ms",
            "attack": "100 ms",
            "hold": "50 ms",
            "decay": "1/16",
            "sustain": 0.25,
            "release": "200 ms",
            "decay_curve": 0,
            "release_curve": 0,
        },
        96_000,
        song(played(*note(480, 480))),
    )
    start = 24_000 + 480

    assert np.all(values[: start + 1] == 0.0)
    assert values[start + 1] > 0.0
    assert values[start + 2400] == pytest.approx(0.5)
    assert values[start + 4799] < 1.0
    assert np.all(values[start + 4800 : start + 4800 + 2401] == 1.0)
    assert values[start + 7201] < 1.0
    assert np.all(values[start + 7200 + 6000 : 48_001] == 0.25)
    assert values[48_001] < 0.25
    assert values[48_000 + 4800] == pytest.approx(0.125)
    assert values[48_000 + 9599] > 0.0
    assert np.all(values[48_000 + 9600 :] == 0.0)


def test_a_short_note_is_released_from_where_it_is() -> None:
    """A note shorter than the attack falls from the level it reached, without a jump."""
    values = source(
        {"type": "adsr", "attack": "200 ms", "release": "100 ms"}, 60_000, song(played(*note(480, 48)))
    )

    assert values.max() == pytest.approx(0.25, abs=1e-3)
    assert np.abs(np.diff(values)).max() < 1e-3


def test_notes_into_notes_start_again_or_not() -> None:
    """A note into a sounding one starts the attack from the level reached, unless retrigger is off."""
    of = song(played(*note(0, 960, 60), *note(480, 960, 64)))
    shape = {"type": "adsr", "attack": "50 ms", "decay": "100 ms", "sustain": 0.5, "release": "50 ms"}
    again = source(shape, 96_000, of)
    legato = source({**shape, "retrigger": False}, 96_000, of)

    assert again[24_000] == pytest.approx(0.5)
    assert again[24_000 + 2400] == 1.0
    assert np.abs(np.diff(again)).max() < 2e-3
    assert np.all(legato[12_000:72_000] == 0.5)
    assert np.all(legato[72_000 + 2400 :] == 0.0)


def test_soft_notes_peak_lower() -> None:
    """With velocity = 1 the peak is the velocity; with 0 it is always 1."""
    of = song(played(*note(0, 480, velocity=64)))
    shape = {"type": "adsr", "attack": "10 ms", "hold": "1 s"}

    assert source({**shape, "velocity": 1}, 9600, of).max() == pytest.approx(64 / 127)
    assert source(shape, 9600, of).max() == 1.0


def test_a_contour_goes_through_its_points() -> None:
    """Points at bars, markers and the end are met on their samples; curves run between them."""
    shape = {
        "type": "breakpoints",
        "points": [
            {"at": "1:1", "value": 0.2, "curve": "hold"},
            {"at": "@Verse", "value": 0.6, "curve": "linear"},
            {"at": "@Chorus", "value": 1.0, "curve": "s_curve"},
            {"at": "end-1 bars", "value": 0.0},
        ],
    }
    of = Song(tempo_map=TempoMap.constant(120).with_markers([(4, "Verse"), (8, "Chorus")]), length_s=10.0)
    values = source(shape, 480_000, of)

    assert np.all(values[:96_000] == 0.2)
    assert values[96_000] == 0.6
    assert values[144_000] == pytest.approx(0.8)
    assert values[192_000] == 1.0
    assert values[288_000] == pytest.approx(0.5)
    assert np.all(values[384_000:] == 0.0)


@pytest.mark.parametrize(
    ("curve", "halfway"),
    [({"curve": "linear"}, 0.5), ({"curve": "hold"}, 0.0), ({"curve": "s_curve"}, 0.5),
     ({"curve": "curve", "tension": 1.0}, 1 / (1 + math.exp(3))), ({"curve": "curve", "tension": 0.0}, 0.5),
     ({"curve": "stairs", "steps": 4}, 0.5), ({"curve": "pulse", "steps": 2}, 0.0)],
)  # fmt: skip
def test_curves_have_their_shape(curve: dict[str, Any], halfway: float) -> None:
    """Each curve starts at its point, is where its formula says halfway, and ends at the next point."""
    shape = {"type": "breakpoints", "points": [{"at": "0 s", "value": 0, **curve}, {"at": "1 s", "value": 1}]}
    values = source(shape, 48_001)

    assert values[0] == 0.0
    assert values[24_000] == pytest.approx(halfway, abs=1e-9)
    assert values[48_000] == 1.0


def test_a_synced_contour_repeats_with_the_song() -> None:
    """A loop of one bar looks the same in every bar, and starts where bars start."""
    shape = {"type": "breakpoints", "mode": "sync", "length": "1 bars",
             "points": [{"at": "0 s", "value": 1}, {"at": "1/2", "value": 0}]}  # fmt: skip
    values = source(shape, 288_000)

    assert np.array_equal(values[:96_000], values[96_000:192_000])
    assert values[24_000] == pytest.approx(0.5)
    assert np.all(values[48_000:96_000] == 0.0)


def test_a_triggered_contour_waits_and_loops_while_the_note_is_held() -> None:
    """`sustain_at` waits for the note's end; `loop` goes round from `loop_start` until then."""
    of = song(played(*note(480, 960)))
    points = [{"at": "0 s", "value": 0}, {"at": "1/8", "value": 1}, {"at": "1/4", "value": 0.5}]
    waits = source(
        {"type": "breakpoints", "mode": "trigger", "sustain_at": "1/8", "points": points}, 120_000, of
    )
    loops = source(
        {"type": "breakpoints", "mode": "trigger", "loop": True, "loop_start": "1/8", "points": points},
        120_000,
        of,
    )

    assert np.all(waits[36_000:72_001] == 1.0)
    assert waits[72_000 + 6000] == pytest.approx(0.75)
    assert np.all(waits[72_000 + 12_000 :] == 0.5)
    assert loops[36_000] == 1.0
    assert np.array_equal(loops[36_000:48_000], loops[48_000:60_000])
    assert np.all(loops[84_000:] == 0.5)


@pytest.mark.parametrize(
    ("direction", "order"),
    [("forward", [0, 1, 2, 0, 1, 2]), ("backward", [2, 1, 0, 2, 1, 0]), ("ping_pong", [0, 1, 2, 1, 0, 1])],
)
def test_steps_go_in_their_direction(direction: str, order: list[int]) -> None:
    """Each step holds its value for its length, in the order asked for."""
    values = source(
        {"type": "steps", "steps": [0.1, 0.5, 0.9], "direction": direction, "rate": "1/8"}, 72_000
    )

    assert values.reshape(6, 12_000)[:, 5].tolist() == [[0.1, 0.5, 0.9][index] for index in order]
    assert np.all(np.ptp(values.reshape(6, 12_000)[:, 1:-1], axis=1) == 0.0)


def test_gate_and_glide_shape_a_step() -> None:
    """A gate of a half is silent in the second half; a glide of a half slides in the first."""
    shape = {"type": "steps", "steps": [0.2, 1.0], "rate": "1/4"}
    gated = source({**shape, "gate": 0.5}, 48_000)
    glided = source({**shape, "glide": 0.5}, 48_000)

    assert gated[6000] == 0.2
    assert gated[18_000] == 0.0
    assert glided[24_000 + 6000] == pytest.approx(0.6)
    assert glided[24_000 + 13_000] == 1.0


def test_a_follower_follows() -> None:
    """Peaks at -20 dBFS, floor -60: two thirds of the way, after the attack; silence releases."""
    t = np.arange(96_000) / SAMPLE_RATE
    tone = (0.1 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    tone[48_000:] = 0
    modulator = {"id": "it", "type": "follower", "detector": "peak", "attack": "10 ms", "release": "50 ms"}
    modulators = TypeAdapter(tuple[Modulator, ...]).validate_python([modulator])
    blocks = (tone[None, at : at + 7777] for at in range(0, 96_000, 7777))
    heard = build_follower(blocks, SAMPLE_RATE, modulators)
    values = source(modulator, 96_000, stem="pad", followers={"pad": heard})

    assert values[0] == 0.0
    assert values[480] == pytest.approx((1 - math.exp(-1)) * 2 / 3, abs=0.02)
    assert values[40_000] == pytest.approx(2 / 3, abs=0.01)
    assert values[48_000 + 2400] == pytest.approx(2 / 3 * math.exp(-1), abs=0.02)


def test_a_swing_with_nothing_to_swing_is_told_of() -> None:
    """Only oscillators and sequencers swing, and only in time with the beat."""
    modulators = [
        {"type": "adsr", "id": "a", "swing": 60},
        {"type": "lfo", "id": "b", "swing": 60, "rate": "2 Hz"},
        {"type": "lfo", "id": "c", "swing": 60, "rate": "1/8"},
    ]
    warnings = [warning for warning in envelopes(modulators).warnings if "swing" in warning]

    assert [warning.split(" ")[0] for warning in warnings] == ["modulators.a.swing", "modulators.b.swing"]


def test_lines_between_controllers_are_smoothed_too() -> None:
    """A corner of a drawn line is rounded by the time constant."""
    played = song(
        smf(track([(0, bytes([0xB0, 1, 0])), (480, bytes([0xB0, 1, 127])), (960, bytes([0xB0, 1, 0]))]))
    )
    shape = {"type": "midi", "event": "cc", "number": 1, "interpolate": "linear"}
    sharp, smooth = (source({**shape, **more}, 48_000, of=played) for more in ({}, {"smooth": "20 ms"}))

    assert sharp.max() == pytest.approx(1.0, abs=1e-3)
    # A ramp through one pole runs one time constant behind: 20 ms of 500 ms.
    assert smooth[20_000] == pytest.approx(sharp[20_000] - 0.04, abs=1e-3)


def test_a_steady_level_is_measured_as_it_is() -> None:
    """A constant has its own level as RMS; a 997 Hz sine of 0 dB RMS has 0 LUFS, as BS.1770-5 sets it."""
    constant = np.full((1, 96_000), 0.5, np.float32)
    sine = (np.sin(2 * np.pi * 997 * np.arange(96_000) / SAMPLE_RATE) * np.sqrt(2))[None].astype(np.float32)
    modulators = TypeAdapter(tuple[Modulator, ...]).validate_python(
        [{"id": "it", "type": "follower", "detector": "lufs_m"}]
    )
    levels = {
        measure.detector: curve
        for sound, detector in ((constant, "rms"), (sine, "lufs_m"))
        for measure, curve in build_follower([sound], SAMPLE_RATE, modulators).level_db.items()
        if measure.detector == detector
    }

    assert levels["rms"][-1] == pytest.approx(20 * np.log10(0.5), abs=1e-6)
    assert levels["lufs_m"][-1] == pytest.approx(0.0, abs=0.01)


def test_the_first_step_after_a_trigger_slides_from_the_last() -> None:
    """As it does where a sequence runs round."""
    shape = {"type": "steps", "steps": [0.2, 0.6, 1.0], "rate": "1/4", "glide": 0.5}
    triggered = {**shape, "mode": "trigger", "trigger": {"on": "grid", "every": "1 bars"}}
    values = source(triggered, 200_000)

    assert values[96_000] == pytest.approx(1.0, abs=0.001)
    assert values[96_000 + 6000] == pytest.approx(0.6, abs=0.001)


def test_a_follower_hears_only_its_band() -> None:
    """A low cut keeps a bass tone from a follower; peaks and momentary loudness have their own scale."""
    t = np.arange(96_000) / SAMPLE_RATE
    sound = np.stack([np.sin(2 * np.pi * 60 * t)] * 2).astype(np.float32)
    built = [
        {"type": "follower", "id": "low"},
        {"type": "follower", "id": "cut", "low_cut_hz": 2000.0},
        {"type": "follower", "id": "peak", "detector": "peak", "attack": "0 ms"},
        {"type": "follower", "id": "loud", "detector": "lufs_m", "attack": "0 ms"},
    ]
    modulators = TypeAdapter(tuple[Modulator, ...]).validate_python(built)
    heard = build_follower([sound], SAMPLE_RATE, modulators)
    values = {
        one["id"]: envelopes(built, stem="kick", followers={"kick": heard}).source_values(
            one["id"], 90_000, 1
        )[0]
        for one in built
    }

    assert follower_stems(modulators, "kick") == ("kick",)
    assert values["low"] == pytest.approx(1 - 3.01 / 60, abs=0.01)
    assert values["cut"] < 0.1
    assert values["peak"] == pytest.approx(1.0, abs=0.01)
    # Two channels of a full-scale 60 Hz sine: 0 LUFS less 0.691 dB and 2.5 dB of the weighting's high-pass.
    assert values["loud"] == pytest.approx(1 - 3.2 / 60, abs=0.03)


def test_a_follower_without_its_stem_is_an_error_and_without_any_an_estimate() -> None:
    """A stem that is not there is named with those that are; before anything is measured it stands at 1."""
    modulator = {"type": "follower", "source": "sidechain", "stem": "kik"}

    assert np.all(source(modulator, 10) == 1.0)
    with pytest.raises(EnvelopeError, match="did you mean 'kick'"):
        source(modulator, 10, followers={"kick": build_follower([], SAMPLE_RATE)})


def test_loud_sound_triggers() -> None:
    """A burst above the threshold opens the gate within a hop, and a shorter one below it does not."""
    sound = np.zeros((1, 96_000), np.float32)
    sound[0, 24_000:30_000] = 0.5
    sound[0, 60_000:62_000] = 0.01
    modulator = {"id": "it", "type": "adsr", "attack": "0 ms", "release": "0 ms", "trigger": {"on": "audio"}}
    modulators = TypeAdapter(tuple[Modulator, ...]).validate_python([modulator])
    heard = build_follower([sound], SAMPLE_RATE, modulators)
    values = source(modulator, 96_000, stem="kick", followers={"kick": heard})

    assert abs(int(np.flatnonzero(values)[0]) - 24_000) <= 64
    assert abs(int(np.flatnonzero(values)[-1]) - 30_000) <= 64


@pytest.mark.parametrize(
    ("trigger", "sample"),
    [
        ({"on": "note", "notes": "C1..D1"}, 24_000),
        ({"on": "note", "channel": 2}, 48_000),
        ({"on": "note", "min_velocity": 100}, 48_000),
        ({"on": "cc", "number": 64}, 36_000),
        ({"on": "marker", "marker": "Drop"}, 72_000),
        ({"on": "grid", "every": "2 bars"}, 192_000),
        ({"on": "start"}, 0),
    ],
)
def test_triggers_fire_where_they_should(trigger: dict[str, Any], sample: int) -> None:
    """Notes by name, channel and force, controllers, markers, grids and the start: on their samples."""
    data = played(
        *note(480, 10, 36, 60),
        *note(960, 10, 72, 120, channel=1),
        (720, b"\xb0\x40\x7f"),
        (800, b"\xb0\x40\x00"),
        (1440, marker("Drop")),
    )
    values = source({"type": "adsr", "attack": "0 ms", "trigger": trigger}, 200_000, song(data))
    rising = edges(np.concatenate(([0.0], values))) - 1

    assert sample in rising.tolist()


@pytest.mark.parametrize(
    ("modulator", "events", "expected"),
    [
        ({"event": "velocity"}, note(480, 100, 60, 100), 100 / 127),
        ({"event": "note_number"}, note(480, 100, 72), 72 / 127),
        ({"event": "gate"}, note(480, 9999, 72), 1.0),
        ({"event": "pitch_bend"}, [(480, b"\xe0\x7f\x7f")], 1.0),
        ({"event": "pitch_bend"}, [(480, b"\xe0\x00\x40")], 0.5),
        ({"event": "pitch_bend", "bend_range": 4}, [(480, b"\xe0\x7f\x7f")], 0.75),
        ({"event": "channel_pressure"}, [(480, b"\xd0\x40")], 64 / 127),
        ({"event": "poly_pressure", "number": 60}, [(480, b"\xa0\x3c\x20"), (481, b"\xa0=\x7f")], 32 / 127),
        ({"event": "cc14", "number": 1}, [(480, b"\xb0\x01\x40"), (480, b"\xb0\x21\x01")], 8193 / 16383),
        ({"event": "cc14", "number": 1}, [(480, b"\xb0\x01\x7f")], 1.0),
        ({"event": "rpn", "number": 0}, controllers((101, 0), (100, 0), (6, 12)), (12 << 7) / 16383),
        (
            {"event": "nrpn", "number": 130},
            controllers((99, 1), (98, 2), (6, 1), (38, 2), (96, 0)),
            131 / 16383,
        ),
        ({"event": "cc", "number": 1, "track": 1}, [(480, b"\xb0\x01\x7f")], 1.0),
    ],
)  # fmt: skip
def test_midi_events_become_values(
    modulator: dict[str, Any], events: list[tuple[int, bytes]], expected: float
) -> None:
    """Each kind of event moves its modulator to its value."""
    values = source({"type": "midi", "smooth": "0 ms", **modulator}, 30_000, song(played(*events)))

    assert values[29_000] == pytest.approx(expected)


def test_fourteen_bits_wait_for_their_lower_half() -> None:
    """Between the upper and the lower byte of a pair, a tick apart, no step appears."""
    data = played(
        (480, b"\xb0\x01\x40"), (481, b"\xb0\x21\x7f"), (960, b"\xb0\x01\x41"), (960, b"\xb0\x21\x00")
    )
    values = source({"type": "midi", "event": "cc14", "number": 1, "smooth": "0 ms"}, 60_000, song(data))

    assert np.unique(values).tolist() == [0.0, (64 << 7 | 127) / 16383, (65 << 7) / 16383]
    assert values[24_000] > 0.5


def test_values_before_the_first_event_are_the_default_or_chased() -> None:
    """Ahead of the first event a lane has its default, or the first value where `chase` is on."""
    of = song(CC_SONG)
    lane = {"type": "midi", "event": "cc", "number": 1}

    assert source({**lane, "default": 0.3}, 10, of)[0] == pytest.approx(0.3)
    assert source({**lane, "chase": True}, 10, of)[0] == 1.0


def test_linear_bridges_short_gaps_only() -> None:
    """Straight lines join events closer than max_gap; over a longer gap the value holds."""
    of = song(CC_SONG)
    lane = {"type": "midi", "event": "cc", "number": 1, "interpolate": "linear"}
    near, far = (source({**lane, "max_gap": gap}, 60_000, of) for gap in ("1/4", "1/16"))

    assert near[36_000] == pytest.approx((127 + 64) / 2 / 127)
    assert far[36_000] == 1.0
    assert far[49_000] == pytest.approx((64 + 10) / 2 / 127)


def test_the_pedal_holds_a_gate_open() -> None:
    """With `pedal` a lifted key sounds on until the sustain pedal is lifted."""
    of = song(played(*note(480, 100), (500, b"\xb0\x40\x7f"), (960, b"\xb0\x40\x00")))
    held = source({"type": "midi", "event": "gate", "pedal": True}, 60_000, of)
    plain = source({"type": "midi", "event": "gate"}, 60_000, of)

    assert (edges(held).tolist(), int(np.flatnonzero(held)[-1])) == ([24_000], 47_999)
    assert int(np.flatnonzero(plain)[-1]) == 24_000 + 5000 - 1


def test_mpe_follows_the_newest_note() -> None:
    """Of two notes on two member channels, the bend of the one played last counts, then the other's again."""
    data = played(
        *((0, bytes([0xB0, number, value])) for number, value in ((101, 0), (100, 6), (6, 3))),
        (0, b"\xe1\x00\x60"),
        *note(480, 1000, 60, channel=1),
        (0, b"\xe2\x00\x20"),
        *note(960, 240, 64, channel=2),
    )
    values = source(
        {"type": "midi", "event": "pitch_bend", "mpe": True, "smooth": "0 ms"}, 80_000, song(data)
    )

    assert values[0] == 0.5
    assert values[30_000] == pytest.approx(0.75, abs=1e-4)
    assert values[50_000] == 0.25
    assert values[61_000] == pytest.approx(0.75, abs=1e-4)


@pytest.mark.parametrize("tau_ms", [0.3, 3.0, 20.7, 100.0])
@pytest.mark.parametrize("shape", ["square", "saw_up", "sine", "sample_hold"])
def test_smoothing_is_one_pole_run_over_every_sample(shape: str, tau_ms: float) -> None:
    """Nothing moves before its cause, and nothing is rounded off on the way."""
    wave = {"type": "lfo", "shape": shape, "rate": "7 Hz", "phase": 47.0}
    raw = source(wave, 60_000)
    keep = math.exp(-1.0 / (tau_ms * 48.0))
    expected, _ = lfilter([1.0 - keep], [1.0, -keep], raw, zi=[keep * raw[0]])

    smooth = source({**wave, "smooth": f"{tau_ms} ms"}, 60_000)

    # Straight from sample to sample, where that runs on steps: half a sample's rise apart.
    rise = np.abs(np.diff(raw))
    assert np.abs(smooth - expected).max() <= 0.51 * rise[rise < 0.1].max() + 1e-6


@pytest.mark.parametrize(
    "modulator",
    [
        {"type": "breakpoints", "points": [{"at": "@Drop", "value": 0}, {"at": "end", "value": 1}]},
        {"type": "adsr", "trigger": {"on": "marker", "marker": "Drop"}},
    ],
)
def test_a_marker_without_a_midi_file_says_what_is_missing(modulator: dict[str, Any]) -> None:
    """Markers come from a MIDI file; where one is given, the markers in it are listed instead."""
    route = [{"source": "a", "target": "dream.depth"}]
    with pytest.raises(EnvelopeError, match=r"markers come from a MIDI file.*--midi"):
        envelopes([{"id": "a", **modulator}], route)
    with pytest.raises(EnvelopeError, match="accepted: 'Verse'"):
        envelopes([{"id": "a", **modulator}], route, of=song(smf(track([(0, marker("Verse"))]))))


@pytest.mark.parametrize("kind", ["adsr", "lfo", "breakpoints"])
def test_many_notes_take_time_that_grows_with_them(kind: str) -> None:
    """A hundred thousand triggers are laid out and read within seconds; they took ten times as long."""
    events = b"".join(b"\x01\x90\x3c\x64\x01\x80\x3c\0" for _ in range(100_000))
    data = smf(b"MTrk" + (len(events) + 4).to_bytes(4, "big") + events + b"\0\xff\x2f\0")
    of = song(data, length_s=200.0)
    points = {"points": [{"at": "0 s", "value": 1}, {"at": "1/8", "value": 0}], "mode": "trigger"}
    rest = {"breakpoints": points, "lfo": {"mode": "trigger", "rate": "1/4", "fade_in": "10 ms"}}.get(
        kind, {}
    )
    began = time.process_time()
    built = envelopes(
        [{"type": kind, "id": "a", "trigger": {"on": "note"}, **rest}],
        [{"source": "a", "target": "dream.depth"}],
        of=of,
    )
    built.values("dream", "depth", 0, int(200 * SAMPLE_RATE))

    assert time.process_time() - began < 8.0


def test_a_loop_shorter_than_a_sample_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its passes leave nothing behind to count, and there would be no end of them."""
    monkeypatch.setattr("bridge.envelopes.contours.MAX_SEGMENTS", 2000)
    points = [{"at": "0 s", "value": 1}, {"at": "0.0000005 ms", "value": 0}]
    loop = {"type": "breakpoints", "id": "a", "loop": True, "length": "0.000001 ms", "points": points}
    with pytest.raises(EnvelopeError, match="longer loop"):
        envelopes([loop], [{"source": "a", "target": "dream.depth"}])
