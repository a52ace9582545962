"""Parameters at audio rate are joined from a lattice: as exact as sample by sample, in any chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.envelopes import Song, envelopes, song
from helpers.midi import marker, meter, smf, tempo, track
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bridge.envelopes.test_any import ADSRS, CONTOURS, LANES, LFOS, SONGS, STEPS
from test_bridge.envelopes.test_sources import ALL_MODULATORS

from bridge.envelopes.evaluate import Envelopes
from bridge.envelopes.follower import FollowerSource, build_follower
from bridge.envelopes.grid import Grid
from bridge.envelopes.hearing import HeardCurve, HearingMeasure
from bridge.envelopes.lattice import CELL
from bridge.envelopes.segments import Contour, Segment
from bridge.errors import ReverieError

NEAR = 1e-4
"""Of a parameter's range: a cubic over 16 samples is 2e-6 off in the quickest sine it spans; what is smoothed
runs on straight lines between points of its own, whose corners a cubic rounds by less than they are off, and
a route's curve may be steep there."""

SONG = song(
    smf(
        track(
            [
                (0, tempo(480_000)),
                (0, meter(4, 4)),
                (700, marker("Verse")),
                (1920, tempo(400_000)),
                (2100, meter(3, 4)),
                (3840, marker("Chorus")),
            ]
        ),
        track([(t, bytes([0xB0, 1, t % 128])) for t in range(0, 9000, 37)]),
    ),
    length_s=12.0,
)


def sample_by_sample(built: Envelopes, start: int, n_samples: int) -> Any:
    """Every second value and the others between, which is the way without a lattice."""
    values = np.empty(n_samples)
    for first in (0, 1):
        values[first::2] = built.values("dream", "depth", start + first, n_samples - first, 2)
    return values


@pytest.mark.parametrize(
    "route",
    [{}, {"curve": "exp"}, {"curve": "s_curve", "min": 1, "max": 5}, {"op": "replace", "amount": -1}],
    ids=["straight", "bent", "kept between limits", "backwards"],
)
@pytest.mark.parametrize("name", [modulator["id"] for modulator in ALL_MODULATORS])
def test_every_source_is_as_exact_from_the_lattice(name: str, route: dict[str, Any]) -> None:
    """Jumps keep their sample, corners their place and smooth ways their height."""
    routes = [{"source": name, "target": "dream.depth", "amount": 0.9, **route}]
    built = envelopes(ALL_MODULATORS, routes, [{"id": "depth", "value": 0.4}], of=SONG, seed=3)
    n_samples = 600_000

    apart = np.abs(built.values("dream", "depth", 0, n_samples) - sample_by_sample(built, 0, n_samples))

    assert apart.max() <= NEAR * 8.0


ROUTES = st.fixed_dictionaries(
    {},
    optional={
        "curve": st.sampled_from(["exp", "log", "s_curve"]),
        "tension": st.sampled_from([-1.0, -0.3, 0.5, 1.0]),
        "amount": st.sampled_from([-1.0, -0.4, 0.3, 0.6]),
        "op": st.sampled_from(["add", "multiply", "replace"]),
        "invert": st.booleans(),
        "min": st.sampled_from([0.5, 2.0]),
        "max": st.sampled_from([5.0, 7.0]),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(LFOS, ADSRS, STEPS, CONTOURS, LANES),
    st.sampled_from(SONGS),
    st.integers(0, 300_000),
    ROUTES,
    st.sampled_from([0.0, 1.0, 4.0, 7.5]),
)
def test_any_valid_modulator_is_as_exact_from_the_lattice(
    modulator: dict[str, Any], of: Song, start: int, route: dict[str, Any], base: float
) -> None:
    """Whatever moves, the lattice shows it to a ten-thousandth of the range, in any chunks the same."""
    routes = [{"source": "it", "target": "dream.depth", **route}]
    bases = {"dream": {"depth": base}}
    try:
        built, again = (envelopes([modulator], routes, of=of, bases=bases) for _ in range(2))
    except ReverieError:
        return
    values = built.values("dream", "depth", start, 3000)

    assert np.abs(values - sample_by_sample(built, start, 3000)).max() <= NEAR * 8.0
    parts = [again.values("dream", "depth", start + at, 500) for at in (2500, 0, 500, 1000, 1500, 2000)]
    assert np.array_equal(np.concatenate([*parts[1:], parts[0]]), values)


@pytest.mark.parametrize("width", [0.1, 0.2, 0.3, 0.7])
@pytest.mark.parametrize("rate", ["1/16", "1/8", "1/4", "1 bars"])
@pytest.mark.parametrize("kind", ["pulse", "gate"])
def test_edges_on_a_point_of_the_lattice_do_not_ring(kind: str, rate: str, width: float) -> None:
    """Where rounding decides on which side of a point a wave breaks, it breaks there and nowhere else."""
    pulse = {"type": "lfo", "id": "it", "shape": "pulse", "width": width, "rate": rate}
    gate = {"type": "steps", "id": "it", "steps": [1.0], "gate": width, "rate": rate}
    route = {"source": "it", "target": "dream.depth", "amount": 0.5}
    built = envelopes([pulse if kind == "pulse" else gate], [route], bases={"dream": {"depth": 2.0}})

    assert set(np.unique(built.values("dream", "depth", 0, 600_000))) == {2.0, 6.0}


@pytest.mark.parametrize("limits", [{"max": 7.0}, {"min": 1.0}, {"min": 1.0, "max": 7.0}])
@pytest.mark.parametrize("base", [0.0, 3.0, 4.0, 6.0])
def test_what_one_limit_keeps_is_kept_at_the_other_too(base: float, limits: dict[str, float]) -> None:
    """A route with a limit ends at the parameter's own on the other side, to the sample."""
    lfo = {"type": "lfo", "id": "it", "rate": "40 Hz", "polarity": "bipolar"}
    built = envelopes(
        [lfo], [{"source": "it", "target": "dream.depth", **limits}], bases={"dream": {"depth": base}}
    )
    values, expected = built.values("dream", "depth", 0, 100_000), sample_by_sample(built, 0, 100_000)

    assert np.abs(values - expected).max() <= NEAR * 8.0
    assert not values[expected == 0.0].any()


@pytest.mark.parametrize("tension", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("curve", ["exp", "log", "s_curve"])
@pytest.mark.parametrize("attack", ["2 ms", "8 ms", "40 ms"])
def test_a_bent_route_on_a_short_way_is_as_exact(attack: str, curve: str, tension: float) -> None:
    adsr = {"type": "adsr", "id": "it", "attack": attack, "attack_curve": 0, "decay": attack, "sustain": 0.3}
    adsr |= {"trigger": {"on": "grid", "every": "1/4"}}
    built = envelopes([adsr], [{"source": "it", "target": "dream.depth", "curve": curve, "tension": tension}])
    apart = np.abs(built.values("dream", "depth", 0, 200_000) - sample_by_sample(built, 0, 200_000))

    assert apart.max() <= NEAR * 8.0


@pytest.mark.parametrize("op", ["max", "min", "add", "multiply", "mean", "xfade"])
def test_joined_sources_are_as_exact_from_the_lattice(op: str) -> None:
    """Where another input wins, or a sum meets its limit, the corner stays."""
    rates = ["1/8", "3 Hz", "1/4T"]
    modulators = [{"type": "lfo", "id": f"lfo{row}", "rate": rate} for row, rate in enumerate(rates)]
    joined = {"type": "combine", "id": "it", "op": op, "inputs": ["lfo0", "lfo1", "lfo2"]}
    built = envelopes([*modulators, joined], [{"source": "it", "target": "dream.depth"}])

    apart = np.abs(built.values("dream", "depth", 0, 300_000) - sample_by_sample(built, 0, 300_000))

    assert apart.max() <= NEAR * 8.0


def test_a_follower_is_as_exact_from_the_lattice() -> None:
    """The corners of a measured level stay where they are steep enough to hear."""
    rng = np.random.default_rng(5)
    bursts = rng.standard_normal(400_000) * np.repeat(rng.random(100) ** 4, 4000)
    heard = build_follower([bursts[None].astype(np.float32)], 48_000)
    built = envelopes(
        [{"type": "follower", "id": "it", "attack": "1 ms", "release": "20 ms"}],
        [{"source": "it", "target": "dream.depth"}],
        stem="drums",
        followers={"drums": heard},
    )

    apart = np.abs(built.values("dream", "depth", 0, 400_000) - sample_by_sample(built, 0, 400_000))

    assert apart.max() <= 1e-4 * 8.0  # corners below a thousandth are rounded off
    assert np.ptp(built.values("dream", "depth", 0, 400_000)) > 1.0


def test_what_is_heard_is_as_exact_from_the_lattice() -> None:
    """Also where it rests above nothing before its first patch; rows lie between multiples of 64 samples."""
    values = np.random.default_rng(5).random(40)
    curve = HeardCurve(values=values, first_s=0.57, hop_s=0.2554)
    measure = HearingMeasure(network="timbre", class_name="vocal")
    source = FollowerSource(level_db={}, hop_samples=64, sample_rate=48_000, heard={measure: curve})
    built = envelopes(
        [{"type": "hearing", "id": "it", "class": "vocal", "attack": "0 ms", "release": "20 ms"}],
        [{"source": "it", "target": "dream.depth"}],
        stem="vox",
        followers={"vox": source},
    )

    apart = np.abs(built.values("dream", "depth", 0, 400_000) - sample_by_sample(built, 0, 400_000))

    assert apart.max() <= 1e-4 * 8.0  # as a follower's
    assert built.values("dream", "depth", 0, 1)[0] == pytest.approx(8.0 * values[0])


def test_quantized_routes_are_worked_out_at_every_sample() -> None:
    """A staircase made of a smooth source has the same steps, bit for bit."""
    routes = [{"source": "it", "target": "dream.depth", "quantize": 0.5}]
    built = envelopes([{"type": "lfo", "id": "it", "rate": "1/8"}], routes)

    values = built.values("dream", "depth", 0, 200_000)

    assert np.array_equal(values, sample_by_sample(built, 0, 200_000))
    assert set(np.unique(values)) <= set(np.arange(0, 8.5, 0.5))


def test_values_on_the_lattice_are_those_of_any_other_rate() -> None:
    """One value in 64 is the very number that audio rate has there."""
    built = envelopes(
        [{"type": "lfo", "id": "it", "rate": "1/8", "shape": "perlin"}],
        [{"source": "it", "target": "dream.depth"}],
    )
    for step in (CELL, 64):
        wanted = built.values("dream", "depth", 64 * 500, 64_000, step)
        assert np.array_equal(built.values("dream", "depth", 64 * 500, 64_000)[::step], wanted)


def test_a_short_bend_long_over_rests_at_its_end() -> None:
    """However far behind it lies, no number overflows on the way."""
    bend = Segment(start=0, n=10, low=0.0, high=0.5, curve="curve", tension=0.9)
    contour = Contour(segments=[bend, Segment(start=1_000_250, n=0, low=1.0, high=1.0)])

    values = contour.at(Grid(1_000_000, 500, 48_000, SONG.tempo_map))

    assert np.array_equal(values, np.repeat([0.5, 1.0], 250))
