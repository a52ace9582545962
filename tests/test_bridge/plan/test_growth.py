"""Networks that play on, in plans and renders: there or named, where they begin, what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.frames_net import RATE, loop, untrained
from helpers.paths import SONG

from bridge import build_plan, load_preset, render_plan
from bridge.clock.settings import ClockSettings
from bridge.errors import PresetError, ProcessorError
from bridge.plan.model import Plan
from bridge.plan.planner import check_preset
from bridge.presets.model import Preset, parse_preset
from dream_core.networks.frames_network import describe, write

HEAD = {
    "uuid": "4e0f4a7c-5f5c-4e0e-9a57-5d5c9f4f7a11",
    "meta": {"name": "Grown", "category": "Drums"},
    "level": {"mode": "keep"},
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home with a network of random weights, called loop, and a stem of four seconds in mono."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    install(tmp_path / "home")
    soundfile.write(tmp_path / "drums.wav", loop(2).numpy(), RATE, subtype="FLOAT")
    return tmp_path


def install(home: Path, seed: int = 0) -> None:
    network = untrained(seed)
    write(home / "networks" / "loop.safetensors", network, describe("loop", network.spec))


def preset(keys: Mapping[str, object] | None = None, **params: object) -> Preset:
    node = {
        "id": "grow",
        "use": "grow",
        "params": {"network": "loop", "from": "1 bars", **params},
        **(keys or {}),
    }
    return parse_preset({**HEAD, "chain": [node]}, "test")


def plan(home: Path, made: Preset, midi: Path | None = None) -> Plan:
    clock = None if midi else ClockSettings(bpm=120)
    return build_plan([home / "drums.wav"], made, out_dir=home / "out", clock=clock, midi=midi)


def render(made: Plan) -> np.ndarray:
    report = render_plan(made)
    assert report.stems[0].record is not None, report.stems[0].error
    return soundfile.read(made.stems[0].target, dtype="float32")[0]


def test_a_render_plays_on_where_the_clock_says(home: Path) -> None:
    """From the second bar on, a beat long; before and after it the stem, bit for bit."""
    made = plan(home, preset(length_beats=1.0))
    grown, dry = render(made), loop(2).numpy()
    beat = RATE // 2

    assert made.networks.keys() == {"loop"}
    assert np.array_equal(grown[: 4 * beat], dry[: 4 * beat])
    assert not np.allclose(grown[4 * beat : 5 * beat], dry[4 * beat : 5 * beat], atol=1e-3)
    assert np.array_equal(grown[5 * beat + 200 :], dry[5 * beat + 200 :])


def test_notes_of_a_track_begin_growths(home: Path) -> None:
    """The song's bass plays from its first bar on; a track that is none is said."""
    made = plan(home, preset({"track": "bass"}, **{"from": "notes", "length_beats": 0.25}), SONG / "song.mid")

    assert not np.array_equal(render(made), loop(2).numpy())
    with pytest.raises(PresetError, match="track"):
        plan(home, preset({"track": "bas"}, **{"from": "notes"}), SONG / "song.mid")
    with pytest.raises(PresetError, match="give --midi FILE"):
        plan(home, preset(**{"from": "notes"}))


def test_a_network_that_is_missing_or_cannot_is_said_with_the_command(home: Path) -> None:
    with pytest.raises(ProcessorError, match=r"node 'grow'.*'amen'.*train-frames STEM --name amen"):
        plan(home, preset(network="amen"))
    with pytest.raises(ProcessorError, match="'timbre' listens and cannot play on"):
        plan(home, preset(network="timbre"))
    assert "not made yet" in check_preset(preset(network="amen"))[0]
    with pytest.raises(ProcessorError, match="cannot play on"):
        check_preset(preset(network="timbre"))


def test_places_that_are_none_or_beyond_the_song_are_said(home: Path) -> None:
    with pytest.raises(PresetError, match=r"node 'grow'.*Drop"):
        plan(home, preset(**{"from": "@Drop"}))
    with pytest.raises(ProcessorError, match="neither how often nor where"):
        check_preset(preset(**{"from": "now and then"}))
    assert any("nothing is played" in one for one in plan(home, preset(**{"from": "8 bars"})).warnings)
    assert any("there is no tail" in one for one in plan(home, preset(**{"from": "end"})).warnings)
    assert any("'Drop'" in one for one in check_preset(preset(**{"from": "@Drop"})))


def test_another_network_of_that_name_fails_the_render(home: Path) -> None:
    """A manifest vouches for the weights a plan was made with, and for no others."""
    made = plan(home, preset())
    install(home / "home", seed=1)
    with pytest.raises(ProcessorError, match="have changed since the plan was made"):
        render_plan(made)
    assert not (home / "out" / "drums__grown.wav").exists()


@pytest.mark.parametrize("name", ["endless-break", "after-image"])
def test_the_factorys_presets_play_with_a_network_of_ones_own(name: str, home: Path) -> None:
    """Two bars more, or a bar of each four that is not the stem's."""
    soundfile.write(home / "drums.wav", loop(5).numpy(), RATE, subtype="FLOAT")
    made = plan(home, load_preset(name))
    grown = render(made)

    assert np.isfinite(grown).all()
    if name == "after-image":
        tail_s = (len(grown) - 10 * RATE) / RATE
        assert 2.0 < tail_s <= 4.6
    else:
        assert len(grown) == 10 * RATE
    assert not check_preset(load_preset(name))
