"""What has `during` acts in those sections of the song and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.midi import marker, smf, tempo, track
from helpers.session import make_sound

from bridge import build_plan, render_plan
from bridge.arrays import Float64Array
from bridge.errors import InputError
from bridge.plan.model import Plan
from bridge.plan.section import read_section
from bridge.plan.stem_envelopes import stem_envelopes

RATE = 16_000
HEAD = """uuid = "00000000-0000-4000-8000-0000000000f1"
[meta]
name = "Part"
category = "Utility"
[level]
mode = "keep"
[[chain]]
"""
GAIN = 'id = "louder"\nuse = "gain"\nparams = {gain_db = -6.0}\n'
ROUTE_TO_IT = '[[routes]]\nsource = "macro.m"\ntarget = "louder.during"\n[[macros]]\nid = "m"\n'
DREAM = (
    'id = "dream"\nuse = "dream"\n'
    'params = {network = "texture", objective = "layer:frames4", depth = 2.0, window_s = 0.5}\n'
)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Six seconds of sound, and a song of 120 BPM with a verse, a chorus (2 to 4 s) and an outro."""
    soundfile.write(tmp_path / "stem.wav", make_sound(6.0, RATE, 1), RATE, subtype="FLOAT")
    names = [(0, tempo(500_000)), (0, marker("Verse")), (1920, marker("Chorus")), (3840, marker("Outro"))]
    (tmp_path / "song.mid").write_bytes(smf(track(names)))
    return tmp_path


def plan_of(folder: Path, preset: str, **options: object) -> Plan:
    (folder / "part.toml").write_text(HEAD + preset)
    options = {"subtype": "float", "midi": folder / "song.mid", "device": "cpu", **options}
    return build_plan([folder / "stem.wav"], folder / "part.toml", out_dir=folder / "out", **options)  # type: ignore[arg-type]


def render(folder: Path, preset: str, **options: object) -> Float64Array:
    plan = plan_of(folder, preset, **options)
    assert not render_plan(plan).failed
    return soundfile.read(plan.stems[0].target)[0]


def moved(folder: Path, preset: str, name: tuple[str, str]) -> Float64Array:
    """Return what a parameter is at every sample of the song."""
    plan = plan_of(folder, preset)
    return stem_envelopes(plan, plan.stems[0], plan.load_midi()).values(*name, 0, 6 * RATE)


def dry(folder: Path) -> Float64Array:
    return soundfile.read(folder / "stem.wav")[0]


@pytest.mark.parametrize("node", [GAIN, 'id = "wide"\nuse = "chorus"\n'], ids=["gain", "chorus"])
def test_a_node_is_exactly_dry_outside_its_sections_and_exactly_itself_inside(song: Path, node: str) -> None:
    """From its marker to the next; a node with a mix of its own, a chorus, keeps that one beside it."""
    everywhere = render(song, node, seed=1)
    (song / "out").rename(song / "everywhere")
    part = render(song, node + 'during = ["@Chorus"]\n')
    first, last = 2 * RATE, 4 * RATE
    np.testing.assert_array_equal(part[:first], dry(song)[:first])
    np.testing.assert_array_equal(part[first:last], everywhere[first:last])
    np.testing.assert_array_equal(part[last:], dry(song)[last:])
    assert np.abs(everywhere - dry(song)).max() > 0.01


def test_a_dream_takes_no_steps_outside_its_sections(song: Path) -> None:
    """Its depth is 0 there, the sound is as it was to the bit, and the plan counts 2 s of two steps."""
    preset = DREAM + 'during = ["@Chorus"]\n'
    plan = plan_of(song, preset)
    assert plan.stems[0].peak_depth == 2.0
    assert plan.stems[0].depth_integral_s == pytest.approx(2.0 * 2.0, abs=0.01)  # by one sample in 64
    depth = moved(song, preset, ("dream", "depth"))
    np.testing.assert_array_equal(np.flatnonzero(depth), np.arange(2 * RATE, 4 * RATE))
    part = render(song, preset)
    is_same = part == dry(song)
    assert np.all(is_same[: 2 * RATE])
    assert np.all(is_same[4 * RATE :])
    assert np.mean(is_same[2 * RATE : 4 * RATE]) < 0.01


def test_a_section_of_a_dream_with_during_is_what_the_whole_has_there(song: Path) -> None:
    """Bit for bit, from before the chorus into it."""
    preset = DREAM + 'during = ["@Chorus"]\nfade = "1/8"\n'
    whole = render(song, preset)
    part = render(song, preset, section=read_section("1.5", "2.5", None))
    np.testing.assert_array_equal(part[round(1.5 * RATE) :], whole[round(1.5 * RATE) : round(2.5 * RATE)])


def test_a_route_acts_in_its_sections_alone(song: Path) -> None:
    """Outside the parameter rests where the node has it; the lattice between samples changes nothing."""
    route = '[[modulators]]\nid = "up"\ntype = "lfo"\nrate = "1/16"\n[[routes]]\nsource = "up"\n'
    route += 'target = "louder.gain_db"\nmin = -20\nmax = 0\nop = "replace"\n'
    always = moved(song, GAIN + route, ("louder", "gain_db"))
    part = moved(
        song, GAIN + route + 'during = ["2:1..2:3", "5 s..end"]\nfade = "50 ms"\n', ("louder", "gain_db")
    )
    share = np.zeros(6 * RATE)
    share[2 * RATE : 3 * RATE] = share[5 * RATE :] = 1.0
    line = np.arange(800) / 800  # 50 ms
    share[2 * RATE - 800 : 2 * RATE] = share[5 * RATE - 800 : 5 * RATE] = line
    share[3 * RATE : 3 * RATE + 800] = 1 - line
    # A hair of a decibel: the cubics that join an oscillator's values are that far off.
    np.testing.assert_allclose(part, -6.0 + share * (always + 6.0), atol=1e-3)
    assert np.all(part[: 2 * RATE - 800] == part[0])


def test_fades_lie_outside_and_those_that_meet_turn_where_they_do(song: Path) -> None:
    """Sections that touch or overlap are one; between two that are near, the gate does not reach 0."""
    node = GAIN + 'during = ["2 s..3 s", "2.5 s..3.25 s", "3.5 s..4 s"]\nfade = "1/2"\n'
    gate = moved(song, node, ("louder", "during"))
    t = np.arange(6 * RATE) / RATE
    apart = [np.maximum(np.maximum(a - t, t - b), 0) for a, b in ((2.0, 3.25), (3.5, 4.0))]
    wanted = np.maximum(*[np.clip(1 - far, 0, 1) for far in apart])  # a half note is a second
    np.testing.assert_allclose(gate, wanted, atol=1 / RATE)
    assert gate[round(3.375 * RATE)] == pytest.approx(0.875, abs=1e-3)
    assert np.all(gate[2 * RATE : round(3.25 * RATE)] == 1.0)


@pytest.mark.parametrize(("preset", "says"), [
    (GAIN + 'during = ["@Chors"]\n', r"node 'louder': during\[0\]: there is no marker 'Chors'.*'Chorus'"),
    (GAIN + 'during = ["4:1..2:1"]\n', r"goes from 6.000 s to 2.000 s and has no length"),
    (GAIN + 'during = ["4:1"]\n', r"chain\[0\].during\[0\].*is one place, not a section"),
    (GAIN + 'during = ["@Chorus..nowhere"]\n', r"'nowhere' is not a position"),
    (GAIN + 'fade = "1/4"\n', r"fades at the ends of sections, and there are none"),
    (GAIN + 'during = ["@Chorus"]\nfade = "soon"\n', r"fade.*'soon' is not a duration"),
    (GAIN + 'during = ["@Chorus"]\n' + ROUTE_TO_IT,
     r"louder.during is fixed for a render and cannot move"),
], ids=["marker", "backwards", "one place", "no place", "fade alone", "no fade", "route to it"])  # fmt: skip
def test_sections_that_are_none_are_refused(song: Path, preset: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan_of(song, preset)


def test_a_marker_without_a_song_asks_for_one(song: Path) -> None:
    """And a section beyond the song is a warning of the plan, not an error: other stems may be longer."""
    with pytest.raises(InputError, match="give it with --midi"):
        plan_of(song, GAIN + 'during = ["@Chorus"]\n', midi=None)
    plan = plan_of(song, GAIN + 'during = ["90:1..94:1"]\n')
    assert any("lies outside the song" in one for one in plan.warnings)
