"""Whatever a musician writes that is valid either moves within its range or is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers.envelopes import Song, envelopes, song
from helpers.midi import random_song
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.clock.tempo_map import TempoMap
from bridge.errors import ReverieError

SONGS = [
    song(random_song(3, n_tempos=5, n_meters=4, n_notes=30), length_s=8.0),
    song(random_song(4, n_tempos=2, n_meters=2, n_notes=10), length_s=3.0, offset_s=-2.5),
    song(length_s=5.0, offset_s=1.3),
    Song(
        tempo_map=TempoMap.from_points(
            [(0, 60, "time"), (3, 180, "beats"), (9, 90, "hold")], [(0, 5, 8), (7, 3, 4)]
        ),
        length_s=6.0,
    ),
]
DURATIONS = st.sampled_from(
    ["0 ms", "1 ms", "37 ms", "1/16", "1/8T", "1/4D", "3x1/16", "1 bars", "0.5 bars", "2 s"]
)
RATES = st.sampled_from(["7 Hz", "0.3 Hz", "1/8T", "1/4", "3x1/16", "1 bars", "1.5 bars", "90 ms"])
SHARES = st.floats(0, 1)
BENDS = st.floats(-1, 1)
TRIGGERS = st.one_of(
    st.fixed_dictionaries(
        {"on": st.just("note")},
        optional={"channel": st.integers(1, 4), "notes": st.just("C2..C5"), "pedal": st.booleans()},
    ),
    st.fixed_dictionaries({"on": st.just("grid"), "every": RATES, "gate": SHARES}),
    st.fixed_dictionaries({"on": st.just("cc"), "number": st.sampled_from([1, 11, 64])}),
    st.fixed_dictionaries({"on": st.sampled_from(["marker", "start"])}),
)
COMMON: dict[str, st.SearchStrategy[Any]] = {
    "id": st.just("it"),
    "polarity": st.sampled_from(["unipolar", "bipolar"]),
    "swing": st.sampled_from([50, 57.5, 75]),
    "swing_grid": st.sampled_from(["1/16", "1/8"]),
    "smooth": st.none() | DURATIONS,
}
SHAPES = [
    "sine",
    "triangle",
    "saw_up",
    "saw_down",
    "square",
    "pulse",
    "sample_hold",
    "random_smooth",
    "perlin",
]
MODES = st.sampled_from(["free", "sync", "trigger", "one_shot"])
LFOS = st.fixed_dictionaries(
    {
        **COMMON,
        "type": st.just("lfo"),
        "shape": st.sampled_from(SHAPES),
        "rate": RATES,
        "mode": MODES,
        "phase": st.floats(-360, 360),
        "delay": DURATIONS,
        "fade_in": DURATIONS,
        "trigger": TRIGGERS,
        "width": st.floats(0.01, 0.99),
    }
)
ADSRS = st.fixed_dictionaries(
    {
        **COMMON,
        "type": st.just("adsr"),
        "delay": DURATIONS,
        "attack": DURATIONS,
        "hold": DURATIONS,
        "decay": DURATIONS,
        "sustain": SHARES,
        "release": DURATIONS,
        "attack_curve": BENDS,
        "decay_curve": BENDS,
        "release_curve": BENDS,
        "velocity": SHARES,
        "retrigger": st.booleans(),
        "trigger": TRIGGERS,
    }
)
STEPS = st.fixed_dictionaries(
    {
        **COMMON,
        "type": st.just("steps"),
        "rate": RATES,
        "steps": st.lists(SHARES, min_size=1, max_size=6),
        "direction": st.sampled_from(["forward", "backward", "ping_pong", "random"]),
        "mode": MODES,
        "gate": st.floats(0.01, 1),
        "glide": SHARES,
        "trigger": TRIGGERS,
    }
)
POINTS = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.sampled_from(
                ["0 s", "1/16", "1/8", "1/4", "1 bars", "500 ms", "2:1", "@Part 1", "end-1 beats"]
            ),
            "value": SHARES,
            "tension": BENDS,
            "steps": st.integers(1, 5),
            "curve": st.sampled_from(["hold", "linear", "curve", "s_curve", "stairs", "pulse"]),
        }
    ),
    min_size=1,
    max_size=5,
)
CONTOURS = st.fixed_dictionaries(
    {
        **COMMON,
        "type": st.just("breakpoints"),
        "points": POINTS,
        "loop": st.booleans(),
        "trigger": TRIGGERS,
        "mode": st.sampled_from(["timeline", "sync", "trigger", "one_shot"]),
        "length": st.none() | RATES,
        "loop_start": st.sampled_from(["0 ms", "1/8"]),
        "sustain_at": st.none() | st.sampled_from(["1/8", "1/4"]),
    }
)
LANES = st.fixed_dictionaries(
    {
        **COMMON,
        "type": st.just("midi"),
        "number": st.sampled_from([1, 11]),
        "pedal": st.booleans(),
        "event": st.sampled_from(
            [
                "cc",
                "cc14",
                "pitch_bend",
                "channel_pressure",
                "poly_pressure",
                "velocity",
                "note_number",
                "gate",
                "rpn",
            ]
        ),
        "interpolate": st.sampled_from(["hold", "linear"]),
        "max_gap": DURATIONS,
        "chase": st.booleans(),
        "channel": st.none() | st.integers(1, 4),
        "mpe": st.booleans(),
    }
)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(LFOS, ADSRS, STEPS, CONTOURS, LANES),
    st.sampled_from(SONGS),
    st.integers(0, 200_000),
    st.sampled_from([1, 7, 64]),
)
def test_any_valid_modulator_moves_within_its_range(
    modulator: dict[str, Any], of: Song, start: int, step: int
) -> None:
    """A modulator gives numbers in its range, the same in any chunks and at any step, or is refused."""
    try:
        built = envelopes([modulator], of=of)
    except ReverieError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    values = built.source_values("it", start, 3000)
    low = -1.0 if modulator["polarity"] == "bipolar" else 0.0

    assert np.all((values >= low) & (values <= 1.0))
    parts = [built.source_values("it", start + at, 1000) for at in (0, 1000, 2000)]
    assert np.array_equal(np.concatenate(parts), values)
    assert np.array_equal(built.source_values("it", start, 3000, step), values[::step])
