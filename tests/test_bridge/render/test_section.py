"""A section of a song sounds as it does in the whole, whatever comes before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.session import make_sound

from bridge import build_plan, render_plan
from bridge.arrays import Float64Array
from bridge.audio.reader import read_metadata
from bridge.errors import PlanError
from bridge.plan.section import Section, read_section

RATE = 16_000

PRESET = """uuid = "00000000-0000-4000-8000-0000000000d1"
[meta]
name = "Part"
category = "Utility"
[level]
mode = "keep"
{chain}
"""
DREAM = """[[modulators]]
id = "up"
type = "lfo"
shape = "triangle"
rate = "2/1"
[[chain]]
id = "dream"
use = "dream"
params = {depth = 1.0, window_s = 0.5, fade_s = 0.05, jitter = true}
[[routes]]
source = "up"
target = "dream.depth"
min = 0
max = 2
op = "replace"
"""
MOVING = """[[chain]]
id = "wide"
use = "chorus"
params = {rate_hz = 0.7, mix = 0.5}
[[chain]]
id = "louder"
use = "gain"
params = {gain_db = 3.0}
"""
ROOM = """[[chain]]
id = "room"
use = "reverb"
params = {room_size = 0.7}
[[chain]]
id = "echo"
use = "delay"
params = {delay_seconds = 0.2, feedback = 0.4, mix = 0.3}
"""
QUIET = '[[chain]]\nid = "louder"\nuse = "gain"\nparams = {gain_db = 3.0}\n'


def render(
    folder: Path, chain: str, section: Section | None = None, **options: object
) -> tuple[Path, Float64Array]:
    stem = folder / "stem.wav"
    if not stem.exists():
        soundfile.write(stem, make_sound(9.0, RATE, 2), RATE, subtype="FLOAT")
        (folder / "part.toml").write_text(PRESET.format(chain=chain))
    plan = build_plan(
        [stem],
        folder / "part.toml",
        out_dir=folder / "out",
        section=section,
        subtype="float",
        device="cpu",
        **options,
    )  # type: ignore[arg-type]
    report = render_plan(plan)
    assert not report.failed
    target = Path(plan.stems[0].target)
    return target, soundfile.read(target, always_2d=True)[0]


@pytest.mark.parametrize(("chain", "loudest_db"), [
    (QUIET, -400.0),
    (DREAM, -400.0),  # a dream knows nothing beyond its windows and the steps of those beside them
    (MOVING, -90.0),
    (ROOM, -90.0),
], ids=["gain", "dream", "chorus", "reverb"])  # fmt: skip
def test_a_section_is_what_the_whole_has_there(tmp_path: Path, chain: str, loudest_db: float) -> None:
    """Bit for bit where a chain remembers nothing else; after its pre-roll a tail leaves less than -90 dB."""
    _, whole = render(tmp_path, chain)
    _, part = render(tmp_path, chain, read_section("5.25", "6.5", None))
    first, last = round(5.25 * RATE), round(6.5 * RATE)
    assert len(part) == last
    np.testing.assert_array_equal(part[:first], 0.0)
    apart = np.abs(part[first:] - whole[first:last]).max()
    assert 20 * np.log10(apart + 1e-21) <= loudest_db
    assert np.abs(part[first:]).max() > 0.01


@pytest.mark.parametrize(("start", "end"), [("5.02", "6"), ("5.6", "6.2"), ("4", "4.9995"), ("0", "1.5")])
@pytest.mark.parametrize("crop", [False, True])
def test_a_limited_section_is_what_the_whole_has_there(
    tmp_path: Path, start: str, end: str, crop: bool
) -> None:
    """What the limiter lets go of from before, and looks ahead to behind the end, is heard: bit for bit."""
    samples = make_sound(9.0, RATE, 2) * np.float32(0.3)
    samples[5 * RATE : 5 * RATE + 80] = 1.5  # 5 ms that are turned down by 13 dB
    soundfile.write(tmp_path / "stem.wav", samples, RATE, subtype="FLOAT")
    text = PRESET.format(chain=QUIET).replace('mode = "keep"', 'mode = "keep"\nlimiter = true')
    (tmp_path / "part.toml").write_text(text)
    _, whole = render(tmp_path, QUIET)
    _, part = render(tmp_path, QUIET, read_section(start, end, None), crop=crop)
    first, last = (round(float(at) * RATE) for at in (start, end))
    np.testing.assert_array_equal(part[0 if crop else first :], whole[first:last])


def test_a_section_that_ends_with_the_song_has_its_tail(tmp_path: Path) -> None:
    """To the end means with what sounds on; before it, nothing does."""
    room = ROOM + '[tail]\nmode = "fixed"\nseconds = 1.0\n'
    _, whole = render(tmp_path, room)
    _, part = render(tmp_path, room, read_section("8", None, None))
    assert len(part) == len(whole) == 10 * RATE
    np.testing.assert_allclose(part[8 * RATE :], whole[8 * RATE :], atol=10 ** (-90 / 20))


def test_a_cropped_section_begins_with_itself_and_says_when(tmp_path: Path) -> None:
    """Without the silence in front, a stamp tells a DAW where it belongs."""
    target, part = render(tmp_path, QUIET, read_section("5", "6", None), crop=True)
    assert len(part) == RATE
    assert read_metadata(target).start_samples == 5 * RATE
    assert target.name == "stem__part__5-6.wav"


def test_bars_are_places_of_the_song(tmp_path: Path) -> None:
    """At 120 BPM in 4/4 bars two and three last from 2 to 6 s."""
    stem = tmp_path / "stem.wav"
    soundfile.write(stem, make_sound(9.0, RATE, 1), RATE)
    (tmp_path / "part.toml").write_text(PRESET.format(chain=QUIET))
    plan = build_plan(
        [stem], tmp_path / "part.toml", out_dir=tmp_path / "out", section=read_section(None, None, "2-3")
    )
    assert plan.stems[0].section == (2 * RATE, 6 * RATE)
    assert plan.name == "part__bars-2-3"


@pytest.mark.parametrize(("start", "end", "bars", "says"), [
    ("20", None, None, "begins at 20 .* and stem ends at 9.000 s"),
    ("5", "5", None, "has no length"),
    ("6", "5", None, "has no length"),
    ("@Drop", None, None, "there is no marker 'Drop'"),
    (None, None, "9-x", "not bars"),
    (None, None, "9-8", "comes before"),
    ("1", None, "1-2", "use either it, or --from and --to"),
])  # fmt: skip
def test_sections_that_are_none_are_refused(
    tmp_path: Path, start: str | None, end: str | None, bars: str | None, says: str
) -> None:
    """Beyond the song, of no length, at a marker that is not there: each in one line."""
    with pytest.raises(PlanError, match=says):
        render(tmp_path, QUIET, read_section(start, end, bars))


@pytest.mark.parametrize("route", [True, False])
def test_the_work_of_sections_adds_up_to_that_of_the_song(tmp_path: Path, route: bool) -> None:
    """What is planned of a part is its share alone, whether depth moves or stands still."""
    soundfile.write(tmp_path / "stem.wav", make_sound(9.0, RATE, 1), RATE, subtype="FLOAT")
    chain = DREAM if route else "[[chain]]" + DREAM.split("[[chain]]")[1].split("[[routes]]")[0]
    (tmp_path / "part.toml").write_text(PRESET.format(chain=chain))

    def work(section: Section | None) -> float:
        plan = build_plan(
            [tmp_path / "stem.wav"], tmp_path / "part.toml", out_dir=tmp_path / "out", section=section
        )
        return plan.stems[0].depth_integral_s

    parts = [work(read_section(start, end, None)) for start, end in ((None, "2.5s"), ("2.5s", None))]
    assert min(parts) > 0
    # One value in 64 samples is summed, of a depth that never changes by more than one in a second.
    assert sum(parts) == pytest.approx(work(None), abs=9.0 * 64 / RATE)


def test_a_part_of_a_dream_whose_objective_moves_is_rendered(tmp_path: Path) -> None:
    """The factory's vowel pad leans from one class to another: a route says how much, no number does."""
    rate = 44100
    stem = tmp_path / "keys.wav"
    soundfile.write(stem, make_sound(2.0, rate, 2), rate, subtype="FLOAT")
    plan = build_plan(
        [stem],
        "factory:vowel-pad",
        out_dir=tmp_path / "out",
        midi=Path(__file__).parents[3] / "examples/song/song.mid",
        section=Section(start="0.5", end="0.7", name="part"),
        device="cpu",
    )
    assert render_plan(plan).failed == ()
