"""Routes carry sources to parameters in the parameters' own units, and say what cannot be carried."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from helpers.envelopes import SAMPLE_RATE, envelopes, song
from helpers.midi import marker, smf, tempo, track
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import EnvelopeError
from bridge.processors.pedalboard_plugin import build_builtin

KNOB = [{"id": "knob", "value": 0.5}]


def moved(route: dict[str, Any], value: float = 0.5, base: float | None = None) -> float:
    """Return where a knob at a value moves a parameter through a route."""
    node, name = route["target"].split(".")
    bases = {} if base is None else {node: {name: base}}
    built = envelopes(
        routes=[{"source": "macro.knob", **route}], macros=[{"id": "knob", "value": value}], bases=bases
    )
    return float(built.values(node, name, 0, 1)[0])


@pytest.mark.parametrize(
    ("route", "value", "base", "expected"),
    [
        ({"target": "dream.depth"}, 0.5, 0.0, 4.0),
        ({"target": "dream.depth"}, 0.0, 3.0, 3.0),
        ({"target": "dream.depth", "amount": 0.25}, 1.0, 1.0, 3.0),
        ({"target": "dream.depth", "amount": -0.25}, 1.0, 3.0, 1.0),
        ({"target": "dream.depth"}, 1.0, 5.0, 8.0),
        ({"target": "dream.depth", "min": 2, "max": 6}, 0.5, 2.0, 4.0),
        ({"target": "dream.depth", "op": "replace"}, 0.25, 7.0, 2.0),
        ({"target": "dream.depth", "op": "replace", "min": 2, "max": 6}, 0.25, 7.0, 3.0),
        ({"target": "dream.depth", "op": "replace", "amount": -1}, 0.25, 7.0, 6.0),
        ({"target": "dream.depth", "op": "multiply"}, 0.25, 8.0, 2.0),
        ({"target": "dream.depth", "op": "multiply", "amount": 0.5}, 0.0, 8.0, 4.0),
        ({"target": "dream.depth", "invert": True}, 0.25, 0.0, 6.0),
        ({"target": "dream.depth", "quantize": 1}, 0.55, 0.0, 4.0),
        ({"target": "dream.depth", "quantize": 1}, 0.57, 0.0, 5.0),
        ({"target": "dream.depth", "quantize": [0, 3, 8]}, 0.6, 0.0, 3.0),
        ({"target": "dream.depth", "quantize": 2, "max": 5}, 1.0, 0.0, 4.0),
        ({"target": "dream.depth", "quantize": 5, "min": 1}, 0.0, 0.0, 5.0),
        ({"target": "dream.depth", "quantize": 3}, 1.0, 0.0, 6.0),
        ({"target": "dream.depth", "quantize": [0, 8], "max": 5}, 1.0, 0.0, 0.0),
        ({"target": "dream.depth", "quantize": 7, "min": 1, "max": 5}, 1.0, 0.0, 4.0),
        ({"target": "dream.depth", "curve": "s_curve"}, 0.25, 0.0, 8 * (3 / 16 - 2 / 64)),
        ({"target": "filter.cutoff_hz", "op": "replace"}, 0.5, None, 20 * 1000**0.5),
        ({"target": "filter.cutoff_hz", "op": "replace", "min": 100, "max": 1600}, 0.5, None, 400.0),
        ({"target": "filter.cutoff_hz", "amount": 0.5}, 1.0, 20.0, 20 * 1000**0.5),
        ({"target": "filter.gain_db", "op": "replace", "min": -12, "max": 6}, 0.5, None, -3.0),
    ],
)
def test_routes_move_parameters_in_their_own_units(
    route: dict[str, Any], value: float, base: float | None, expected: float
) -> None:
    """Add, replace and multiply along the parameter's own curve, then limits, then steps."""
    assert moved(route, value, base) == pytest.approx(expected)


def test_curves_bend_towards_their_names() -> None:
    """Exponential stays low for longer, logarithmic rises at once, tension does more."""
    straight, exp, log = (moved({"target": "dream.depth", "curve": c}) for c in ("linear", "exp", "log"))

    assert exp < straight < log
    assert moved({"target": "dream.depth", "curve": "exp", "tension": 1}) < exp
    assert exp + log == pytest.approx(8.0)


def test_a_bipolar_source_moves_both_ways() -> None:
    """Around its base with add; over the whole span with replace."""
    modulator = {"type": "lfo", "id": "wave", "shape": "square", "rate": "1/4", "polarity": "bipolar"}
    add = envelopes(
        [modulator],
        [{"source": "wave", "target": "dream.depth", "amount": 0.25}],
        bases={"dream": {"depth": 4.0}},
    )
    replace = envelopes([modulator], [{"source": "wave", "target": "dream.depth", "op": "replace"}])

    assert np.unique(add.values("dream", "depth", 0, 24_000)).tolist() == [2.0, 6.0]
    assert np.unique(replace.values("dream", "depth", 0, 24_000)).tolist() == [0.0, 8.0]


def test_routes_apply_in_the_order_they_are_written() -> None:
    """Add then multiply is not multiply then add; a disabled route does nothing."""
    add = {"source": "macro.knob", "target": "dream.depth", "amount": 0.5}
    multiply = {"source": "macro.knob", "target": "dream.depth", "op": "multiply"}
    values = [
        float(
            envelopes(routes=routes, macros=KNOB, bases={"dream": {"depth": 4.0}}).values(
                "dream", "depth", 0, 1
            )[0]
        )
        for routes in ([add, multiply], [multiply, add], [{**add, "enabled": False}, multiply])
    ]

    assert values == [3.0, 4.0, 2.0]


def test_peak_and_integral_say_what_a_render_costs() -> None:
    """A square between 0 and 8 half the time: peak 8, integral half of 8 times the length."""
    modulator = {"type": "lfo", "id": "wave", "shape": "square", "rate": "1/4"}
    built = envelopes([modulator], [{"source": "wave", "target": "dream.depth"}])

    assert built.moving == (("dream", "depth"),)
    assert built.peak("dream", "depth", 96_000) == 8.0
    # One value in 64 samples: each edge may be 64 samples off, of 12,000 between edges.
    assert built.integral("dream", "depth", 96_000) == pytest.approx(8.0, rel=64 / 12_000)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "source": st.sampled_from(["wave", "noise", "macro.knob"]),
                "target": st.sampled_from(["dream.depth", "filter.cutoff_hz"]),
                "amount": st.floats(-1, 1),
                "curve": st.sampled_from(["linear", "exp", "log", "s_curve"]),
                "tension": st.floats(-1, 1),
                "invert": st.booleans(),
                "op": st.sampled_from(["add", "replace", "multiply"]),
            }
        ),
        min_size=1,
        max_size=5,
    )
)
def test_nothing_leaves_its_range(routes: list[dict[str, Any]]) -> None:
    """Whatever is routed how often, a parameter stays within its limits and is a number."""
    built = envelopes(
        [
            {"type": "lfo", "id": "wave", "rate": "7 Hz", "polarity": "bipolar"},
            {"type": "lfo", "id": "noise", "shape": "perlin"},
        ],
        routes,
        KNOB,
    )
    limits = {"depth": (0.0, 8.0), "cutoff_hz": (20.0, 20_000.0)}
    for node, name in built.moving:
        values = built.values(node, name, 0, 5000)
        low, high = limits[name]

        assert np.all((values >= low) & (values <= high))


@pytest.mark.parametrize(
    ("op", "expected"),
    [("multiply", 0.08), ("add", 0.6), ("max", 0.4), ("min", 0.2), ("mean", 0.3), ("xfade", 0.3)],
)
def test_sources_combine(op: str, expected: float) -> None:
    """0.2 and 0.4 multiply, add, contend and cross-fade as their names say."""
    macros = [{"id": "a", "value": 0.2}, {"id": "b", "value": 0.4}, {"id": "x", "value": 0.5}]
    inputs = ["macro.a", "macro.b"] + (["macro.x"] if op == "xfade" else [])
    built = envelopes([{"type": "combine", "id": "it", "op": op, "inputs": inputs}], macros=macros)

    assert built.source_values("it", 0, 1)[0] == pytest.approx(expected)


def test_circles_among_modulators_are_an_error() -> None:
    """A combination that needs itself, however far round, is shown as a circle."""
    circle = [
        {"type": "combine", "id": "a", "inputs": ["b"]},
        {"type": "combine", "id": "b", "inputs": ["c"]},
        {"type": "combine", "id": "c", "inputs": ["a"]},
    ]

    with pytest.raises(EnvelopeError, match="a -> b -> c -> a"):
        envelopes(circle)


@pytest.mark.parametrize(
    ("modulators", "routes", "options", "reason"),
    [
        ([], [{"source": "macro.nob", "target": "dream.depth"}], {}, r"routes\[0\].source.*'macro.knob'"),
        ([], [{"source": "macro.knob", "target": "dreem.depth"}], {}, r"routes\[0\].target.*'dream'"),
        ([], [{"source": "macro.knob", "target": "dream.dept"}], {}, "'depth'"),
        ([], [{"source": "macro.knob", "target": "dream.mode"}], {}, "a choice"),
        ([], [{"source": "macro.knob", "target": "dream.octaves"}], {}, "fixed for a render"),
        ([], [{"source": "macro.knob", "target": "dream.depth", "max": 9}], {}, r"outside depth's 0\.\.8"),
        ([], [{"source": "macro.knob", "target": "filter.gain_db"}], {}, "set min and max"),
        ([{"type": "combine", "id": "a", "inputs": ["knob"]}], [], {}, "no source 'knob'.*'macro.knob'"),
        ([{"type": "macro", "id": "a", "macro": "nob"}], [], {}, "no source 'macro.nob'"),
        ([], [], {"midi_map": {"cc1": "macro.nob"}}, r"midi_map\.cc1.*'knob'"),
        ([], [], {"macro_values": {"nob": 1.0}}, r"macro\.nob"),
        ([], [], {"macro_values": {"knob": 1.5}}, r"outside 0\.\.1"),
        ([{"type": "adsr", "id": "a", "trigger": {"on": "marker", "marker": "Chors"}}], [], {}, "'Chorus'"),
        ([{"type": "breakpoints", "id": "a", "points": [{"at": "@Vers", "value": 1}]}], [], {}, "'Verse'"),
        (
            [
                {
                    "type": "breakpoints",
                    "id": "a",
                    "points": [{"at": "3:1", "value": 1}, {"at": "2:1", "value": 0}],
                }
            ],
            [],
            {},
            "in order",
        ),
        (
            [{"type": "breakpoints", "id": "a", "mode": "sync", "points": [{"at": "3:1", "value": 1}]}],
            [],
            {},
            "a duration",
        ),
        ([{"type": "midi", "id": "a", "number": 1, "track": "Bas"}], [], {}, "'Bass'"),
        ([{"type": "lfo", "id": "a", "swing": 60, "swing_grid": "10 ms"}], [], {}, "note value"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(
    modulators: list[dict[str, Any]], routes: list[dict[str, Any]], options: dict[str, Any], reason: str
) -> None:
    """Unknown sources, nodes, parameters, macros, markers and tracks end in one line with the nearest."""
    data = smf(
        track([(0, b"\xff\x03\x04Bass"), (0, tempo(500_000)), (0, marker("Verse")), (960, marker("Chorus"))])
    )

    with pytest.raises(EnvelopeError, match=reason) as caught:
        envelopes(modulators, routes, KNOB, of=song(data), **options)

    assert "\n" not in str(caught.value)


SPARSE = smf(
    track(
        [
            (0, tempo(500_000)),
            (480, b"\x91\x40\x40"),
            (481, b"\x91\x40\x00"),
            (500, b"\xb4\x01\x40"),
            (500, b"\xb1\x0b\x40"),
        ]
    )
)


@pytest.mark.parametrize(
    ("modulator", "warning"),
    [
        (
            {"type": "midi", "event": "cc", "number": 1, "channel": 3},
            "no CC 1 on channel 3 in song.mid; it is on channels 5",
        ),
        ({"type": "midi", "event": "cc", "number": 2}, "it has CC 11 on channel 2, CC 1 on channel 5"),
        ({"type": "midi", "event": "velocity", "channel": 1}, "notes 64 to 64 on channels 2"),
        ({"type": "adsr", "trigger": {"channel": 10}}, "never triggers.*on channels 2.*channel 10 asked for"),
        (
            {"type": "lfo", "mode": "trigger", "trigger": {"on": "marker"}},
            "never triggers: the song has no markers",
        ),
        ({"type": "adsr", "trigger": {"on": "cc", "number": 64}}, "never triggers: controller 64"),
        (
            {
                "type": "breakpoints",
                "mode": "trigger",
                "trigger": {"notes": "C5"},
                "points": [{"at": "1/4", "value": 1}],
            },
            "never triggers",
        ),
        ({"type": "steps", "mode": "one_shot", "steps": [1], "trigger": {"track": 1, "channel": 9}}, "never"),
    ],
)
def test_what_never_happens_is_told(modulator: dict[str, Any], warning: str) -> None:
    """Triggers that never fire and controllers that are not there are warnings that say what there is."""
    built = envelopes([{"id": "it", **modulator}], of=song(SPARSE))

    assert len(built.warnings) == 1
    assert re.search(warning, built.warnings[0])
    assert np.all(built.source_values("it", 0, 1000) == 0.0)


def test_without_midi_everything_that_needs_it_rests_and_is_told() -> None:
    """No MIDI file: lanes stay at their default with a warning; mapped macros stay where they are."""
    built = envelopes(
        [{"type": "midi", "id": "wheel", "number": 1, "default": 0.25}],
        macros=KNOB,
        midi_map={"cc1": "macro.knob"},
    )

    assert "no MIDI file is given" in built.warnings[0]
    assert len(built.warnings) == 1
    assert built.source_values("wheel", 0, 1)[0] == 0.25
    assert built.source_values("macro.knob", 0, 1)[0] == 0.5


MAPPED = smf(
    track([(0, tempo(500_000)), (480, b"\xb0\x01\x7f"), (960, b"\xd0\x00"), (1440, b"\xb2\x4a\x7f")])
)


def test_a_midi_map_moves_macros_and_parameters() -> None:
    """The controller touched last moves the knob, which rests before; parameters move directly."""
    built = envelopes(
        [],
        [{"source": "macro.knob", "target": "dream.depth"}],
        KNOB,
        of=song(MAPPED),
        midi_map={"cc1": "macro.knob", "pressure": "macro.knob", "cc74@3": "filter.cutoff_hz"},
    )
    depth = built.values("dream", "depth", 0, 96_000)
    cutoff = built.values("filter", "cutoff_hz", 0, 96_000)

    assert depth[23_999] == 4.0
    assert depth[47_000] == pytest.approx(8.0)
    assert depth[71_000] == pytest.approx(0.0, abs=1e-6)
    assert cutoff[0] == pytest.approx(632.4555)
    assert cutoff[95_000] == pytest.approx(20_000.0)
    assert built.warnings == ()


def test_a_macro_can_be_set_for_a_render() -> None:
    """`macro_values` wins over the preset's own value."""
    built = envelopes(macros=KNOB, macro_values={"knob": 0.125})

    assert built.source_values("macro.knob", 0, 1)[0] == 0.125


def test_a_filter_is_automated_without_a_click_beyond_its_staircase() -> None:
    """A cutoff swept in blocks of 64 differs from one moved at every sample by what a block's step can do."""
    rng = np.random.default_rng(1)
    sound = (rng.standard_normal((1, 48_000)) * 0.1).astype(np.float32)
    built = envelopes(
        [{"type": "lfo", "id": "sweep", "rate": "1/2"}],
        [{"source": "sweep", "target": "filter.cutoff_hz", "op": "replace", "min": 200, "max": 2000}],
    )
    cutoff = built.values("filter", "cutoff_hz", 0, 48_000)

    def swept(block: int) -> np.ndarray[Any, Any]:
        filtering = build_builtin("lowpass_filter", {})
        filtering.automation_block_samples = block
        return filtering.process(sound, SAMPLE_RATE, automation={"cutoff_frequency_hz": cutoff})

    fine, coarse = swept(1), swept(64)
    octaves_a_block = np.abs(np.diff(np.log2(cutoff[::64]))).max()
    # A one-pole low-pass whose cutoff is a fraction p off is at most p/2 of its input off in steady state.
    bound = np.abs(sound).max() * (2**octaves_a_block - 1)

    assert np.abs(fine - coarse).max() <= bound
    assert np.abs(fine - coarse).max() > 0.0
