"""`use = "dreams"` in presets: rendered, moved, planned and counted as several dreams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.paths import SHARED
from helpers.session import make_sound, write_stem

from bridge import Dreams, build_plan, render_plan
from bridge.errors import InputError, PresetError
from bridge.presets.load import load_preset
from bridge.presets.model import parse_preset
from bridge.presets.overrides import apply_settings
from dream_core import DreamSettings, dream, load_network
from dream_core.networks import yamnet_files

WEIGHTS = SHARED / "weights" / "yamnet.h5"
EACH = ["layer:frames4", "channel:frames2:auto"]


def preset(**params: object) -> dict[str, object]:
    own = {"each": EACH, "network": "texture", "depth": 2.0, **params}
    return {
        "format": "reverie/preset",
        "version": 2,
        "uuid": "00000000-0000-4000-8000-000000000023",
        "meta": {"name": "several", "category": "Utility"},
        "chain": [{"id": "dreams", "use": "dreams", "params": own}],
        "level": {"mode": "keep"},
    }


def test_a_render_is_the_processor(tmp_path: Path) -> None:
    """A list in the preset is the text of the processor, and a render gives its samples."""
    stem = write_stem(tmp_path / "a.wav", subtype="FLOAT")
    plan = build_plan([stem], parse_preset(preset(), "test"), out_dir=tmp_path / "out")
    (result,) = render_plan(plan).stems
    sound, rate = soundfile.read(stem, dtype="float32", always_2d=True)
    wanted = Dreams("texture", 2.0, each="; ".join(EACH))(sound.T.copy(), rate)

    assert np.array_equal(soundfile.read(result.target, dtype="float32", always_2d=True)[0].T, wanted)
    assert set(plan.networks) == {"texture"}


def test_work_counts_every_dream(tmp_path: Path) -> None:
    """Two dreams of two steps are four step-seconds a second, and two steps deep."""
    stem = write_stem(tmp_path / "a.wav", seconds=2.0)
    plan = build_plan([stem], parse_preset(preset(), "test"), out_dir=tmp_path / "out")

    assert plan.stems[0].peak_depth == 2.0
    assert plan.stems[0].depth_integral_s == pytest.approx(8.0)


def test_depth_moves_and_each_can_be_set(tmp_path: Path) -> None:
    """A route reaches its depth; --set writes other objectives with ; between them."""
    data = preset()
    data["modulators"] = [{"id": "ramp", "type": "lfo", "shape": "saw_up", "rate": "0.5 Hz", "mode": "free"}]
    data["routes"] = [{"source": "ramp", "target": "dreams.depth", "op": "replace", "min": 0.0, "max": 3.0}]
    changed = apply_settings(parse_preset(data, "test"), ["dreams.each=layer:frames2; layer:frames4"])
    stem = write_stem(tmp_path / "a.wav", seconds=2.0)
    plan = build_plan([stem], changed, out_dir=tmp_path / "out")

    assert changed.node("dreams").params["each"] == "layer:frames2; layer:frames4"
    assert plan.stems[0].depth_integral_s == pytest.approx(2 * 1.5 * 2.0, rel=0.01)
    assert render_plan(plan).failed == ()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"each": ["layer:frames9"]}, "frames9"),
        ({"each": ["guided:frames4:gone"]}, "'gone', which is not given"),
        ({"each": ["{air}*layer:frames4"]}, "nothing says how much {air}"),
        ({"each": ["notes:midi"], "network": "texture"}, "--midi FILE|notes"),
    ],
)
def test_every_objective_is_checked(params: dict[str, object], message: str, tmp_path: Path) -> None:
    stem = write_stem(tmp_path / "a.wav")
    with pytest.raises(InputError, match=message):
        build_plan([stem], parse_preset(preset(**params), "test"), out_dir=tmp_path / "out")


def test_a_list_is_text_alone() -> None:
    """Numbers in a list are no objectives."""
    with pytest.raises(PresetError, match="each"):
        parse_preset(preset(each=["layer:frames4", 3]), "test")


@pytest.mark.skipif(not WEIGHTS.exists(), reason="YAMNet's weights are not beside the repository")
def test_three_layers_is_their_sum_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset's sound is the mean of three dreams of yamnet's last layers, each dreamed here by itself."""
    pytest.importorskip("h5py")
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    yamnet_files.install(WEIGHTS)
    sound = make_sound(1.5, 22050, 1)
    soundfile.write(tmp_path / "a.wav", sound, 22050, subtype="FLOAT")
    plan = build_plan(
        [tmp_path / "a.wav"],
        load_preset("three-layers"),
        out_dir=tmp_path / "out",
        settings=["dream.depth=3", "level.mode=keep", "level.limiter=false"],
    )
    (result,) = render_plan(plan).stems
    assert result.error == ""
    network = load_network("yamnet", device=torch.device("cpu"))
    alone = [
        dream(
            sound.T.copy(),
            22050,
            network,
            DreamSettings(objective=f"channel:{layer.name}:auto", update="gradient"),
            depth=3.0,
        )
        for layer in network.card.layers[-3:]
    ]
    rendered = soundfile.read(result.target, dtype="float32", always_2d=True)[0].T

    np.testing.assert_allclose(rendered, sum(alone) / 3, rtol=1e-5, atol=1e-6)
    assert not np.allclose(rendered, sound.T, atol=1e-3)


def test_no_objective_at_all_is_said_by_the_plan(tmp_path: Path) -> None:
    stem = write_stem(tmp_path / "a.wav")
    with pytest.raises(PresetError, match="node 'dreams': each names no objective"):
        build_plan([stem], parse_preset(preset(each=" ; "), "test"), out_dir=tmp_path / "out")
