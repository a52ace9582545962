"""Which networks a preset needs: those of its nodes, of their objectives and of `[requires]`, by hash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.paths import SHARED
from helpers.session import write_preset, write_stem

from bridge.errors import InputError, PresetError
from bridge.plan.model import Plan
from bridge.plan.planner import build_plan
from bridge.presets.load import load_preset
from bridge.presets.model import Preset, parse_preset
from bridge.presets.overrides import parse_value
from bridge.render.runner import render_plan
from dream_core.networks import mel_cnn, timbre, yamnet_files
from dream_core.networks.registry import weights_sha256

TWO = "class:flute + gongs@class:bell"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    write_gongs(tmp_path / "home/networks/gongs.safetensors")
    return tmp_path / "home" / "networks"


def write_gongs(path: Path, seed: int = 3, f_max_hz: float = 11000.0) -> None:
    frontend = replace(timbre.SPEC.frontend, f_max_hz=f_max_hz)
    shape = replace(timbre.SPEC, frontend=frontend, widths=(4, 8), depths=(1, 2), n_embedding=6)
    card = replace(
        timbre.CARD, name="gongs", sha256="", classes=("gong", "bell"), layers=shape.layers(2),
        n_parameters=shape.n_parameters(2),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    mel_cnn.write(path, mel_cnn.MelCnn(card, shape).float().eval())


def preset(folder: Path, objective: str = TWO, requires: tuple[str, ...] = ()) -> Preset:
    data = load_preset(write_preset(folder, more="")).to_dict()
    data["chain"][0]["params"] |= {"network": "timbre", "objective": objective, "depth": 1.0}
    data["requires"] = {"networks": list(requires)}
    return parse_preset(data, "test")


def plan_of(folder: Path, made: Preset) -> Plan:
    write_stem(folder / "a.wav")
    return build_plan([folder / "a.wav"], made, out_dir=folder / "out")


def test_a_plan_holds_the_hash_of_every_network_that_listens(tmp_path: Path) -> None:
    """Also of one that only the objective names."""
    plan = plan_of(tmp_path, preset(tmp_path))
    assert plan.networks == {"timbre": timbre.CARD.sha256, "gongs": weights_sha256("gongs")}


def test_two_networks_render_and_are_refused_once_one_has_changed(tmp_path: Path, home: Path) -> None:
    """The render is another than with one of them; with other weights there is none."""
    sounds = []
    for name, objective in (("two", TWO), ("one", "class:flute")):
        plan = plan_of(tmp_path, preset(tmp_path, objective)).model_copy(update={"name": name})
        report = render_plan(plan)
        assert [stem.status for stem in report.stems] == ["done"], report.stems[0].error
        sounds.append(soundfile.read(report.stems[0].target)[0])
        (tmp_path / "out").rename(tmp_path / name)
    assert not np.array_equal(*sounds)

    plan = plan_of(tmp_path, preset(tmp_path))
    write_gongs(home / "gongs.safetensors", seed=4)
    with pytest.raises(InputError, match="weights of network 'gongs' have changed"):
        render_plan(plan)


def test_weights_that_are_not_here_are_named_with_the_command(tmp_path: Path) -> None:
    """Whether a node, an objective or `[requires]` wants them."""
    for made in (
        preset(tmp_path, "class:flute + musicnn@class:choir"),
        preset(tmp_path, requires=("crepe",)),
    ):
        with pytest.raises(InputError, match=r"is not installed; `reverie networks get (musicnn|crepe)`"):
            plan_of(tmp_path, made)


def test_the_factorys_dreamsound_says_the_one_command_it_wants(tmp_path: Path) -> None:
    """Its network hears by another one's weights: those are what is to be fetched."""
    write_stem(tmp_path / "a.wav")
    with pytest.raises(
        InputError, match=r"'yamnet_22050' is not installed.*`reverie networks get yamnet` fetches"
    ):
        build_plan([tmp_path / "a.wav"], "factory:dreamsound-0163", out_dir=tmp_path / "out")


@pytest.mark.skipif(not (SHARED / "weights/yamnet.h5").is_file(), reason="YAMNet's weights are not here")
def test_the_factorys_dreamsound_renders_as_published_at_its_rate(tmp_path: Path) -> None:
    """Nothing is told of it at 22.05 kHz, and what is not as published at another rate."""
    yamnet_files.install(SHARED / "weights/yamnet.h5", SHARED / "weights/yamnet_class_map.csv")
    rng = np.random.default_rng(0)
    for rate in (22050, 44100):
        stem = tmp_path / f"{rate}.wav"
        soundfile.write(stem, 0.1 * rng.standard_normal(rate), rate, subtype="FLOAT")
        plan = build_plan(
            [stem],
            "factory:dreamsound-0163",
            out_dir=tmp_path / f"out-{rate}",
            settings=["dream.depth=1"],
            device="cpu",
            threads=1,
        )
        report = render_plan(plan)
        assert report.failed == ()
        record = report.stems[0].record
        assert record is not None
        about = [text for text in record.warnings if "repeats its package only with" in text]
        assert about == [] if rate == 22050 else "sound at 22050 Hz (here 44100)" in about[0]


def test_a_preset_names_weights_by_hash(tmp_path: Path, home: Path) -> None:
    """Those are taken, others are refused with both hashes."""
    wanted = weights_sha256("gongs")
    made = preset(tmp_path, requires=(f"gongs@sha256:{wanted}",))
    assert plan_of(tmp_path, made).networks["gongs"] == wanted

    write_gongs(home / "gongs.safetensors", seed=4)
    with pytest.raises(
        PresetError, match=rf"{wanted[:16]}.*{weights_sha256('gongs')[:16]}.*networks show gongs"
    ):
        plan_of(tmp_path, made)


@pytest.mark.parametrize("text", ["gongs@sha256:abc", f"@sha256:{'a' * 64}", f"gongs@sha256:{'A' * 64}"])
def test_a_hash_that_is_none_is_a_mistake_of_the_preset(tmp_path: Path, text: str) -> None:
    """Whole and in small letters, as the command prints it."""
    with pytest.raises(InputError, match="64 digits"):
        preset(tmp_path, requires=(text,))


def test_a_class_only_the_other_network_has_says_so(tmp_path: Path) -> None:
    """When the plan is made, before any sound."""
    with pytest.raises(InputError, match="'gongs' has it: write gongs@class:bell"):
        plan_of(tmp_path, preset(tmp_path, "class:bell + gongs@class:gong"))


@pytest.mark.parametrize(
    "text", ['class:"no vocals"', "class:'no vocals'", '"class:flute"', 'class:choir - class:"no vocals"']
)
def test_names_with_spaces_come_through_the_command_line(text: str) -> None:
    """Quotes of a name stay, quotes around the whole go."""
    expected = "class:flute" if text.startswith('"') else text
    assert parse_value(text) == expected


def test_a_patch_hop_no_network_has_is_said_when_the_plan_is_made(tmp_path: Path) -> None:
    """Not stem by stem while it is rendered."""
    data = preset(tmp_path).to_dict()
    data["chain"][0]["params"]["patch_hop"] = 500
    with pytest.raises(InputError, match=r"patch_hop = 500 frames; network '\w+' looks at"):
        plan_of(tmp_path, parse_preset(data, "test"))


def test_a_network_given_by_its_path_goes_by_its_name_too(tmp_path: Path, home: Path) -> None:
    """In its own objective, which the dream core takes as well."""
    made = preset(tmp_path, "gongs@class:bell").to_dict()
    (home / "gongs.safetensors").rename(tmp_path / "mine.safetensors")
    made["chain"][0]["params"]["network"] = str(tmp_path / "mine.safetensors")
    assert list(plan_of(tmp_path, parse_preset(made, "test")).networks) == [
        str(tmp_path / "mine.safetensors")
    ]


def test_a_class_of_a_network_nobody_named_is_pointed_to(tmp_path: Path) -> None:
    """Where the dream's own lacks it and another network has it, whether fetched or not."""
    with pytest.raises(InputError, match="'musicnn' has it: write musicnn@class:choir"):
        plan_of(tmp_path, preset(tmp_path, "class:choir"))


def test_two_hashes_for_one_network_are_a_mistake(tmp_path: Path) -> None:
    """One alone beside the bare name counts."""
    wanted = weights_sha256("gongs")
    both = (f"gongs@sha256:{wanted}", f"gongs@sha256:{'a' * 64}")
    with pytest.raises(PresetError, match="two kinds of weights"):
        plan_of(tmp_path, preset(tmp_path, requires=both))
    with pytest.raises(PresetError, match="asks for weights"):
        plan_of(tmp_path, preset(tmp_path, requires=(f"gongs@sha256:{'a' * 64}", "gongs")))


def test_a_band_that_one_of_the_networks_is_deaf_in_is_refused_by_name(tmp_path: Path, home: Path) -> None:
    """When the plan is made: it would have no say in the dream, and nobody would know."""
    write_gongs(home / "gongs.safetensors", f_max_hz=3000.0)
    data = preset(tmp_path).to_dict()
    data["chain"][0]["params"]["low_hz"] = 4000.0
    with pytest.raises(InputError, match=r"outside what network 'gongs' hears, 30\.\.3000 Hz"):
        plan_of(tmp_path, parse_preset(data, "test"))


def test_notes_are_heard_by_the_shipped_network_where_notes_is_not_installed(tmp_path: Path) -> None:
    """The plan names it and says so; its hash is in the plan."""
    data = preset(tmp_path, 'scale:"C major"', requires=("notes",)).to_dict()
    data["chain"][0]["params"]["network"] = "notes"
    plan = plan_of(tmp_path, parse_preset(data, "test"))

    assert plan.preset.chain[0].params["network"] == "pitch"
    assert set(plan.networks) == {"pitch"}
    assert plan.networks["pitch"] == weights_sha256("pitch")
    assert any("hears notes by 'pitch'" in line for line in plan.warnings)


def test_nothing_stands_in_for_notes_where_its_layers_its_weights_or_it_alone_are_asked_for(
    tmp_path: Path,
) -> None:
    data = preset(tmp_path, "layer:contours").to_dict()
    data["chain"][0]["params"]["network"] = "notes"
    pinned = {**data, "requires": {"networks": [f"notes@sha256:{'0' * 64}"]}}
    pinned["chain"] = [{**data["chain"][0], "params": {**data["chain"][0]["params"], "objective": "note:A3"}}]
    write_stem(tmp_path / "a.wav")
    for made in (data, pinned):
        with pytest.raises(InputError, match="network 'notes' is not installed"):
            plan_of(tmp_path, parse_preset(made, "test"))
    plain = preset(tmp_path, "note:A3")
    node = plain.chain[0].id
    with pytest.raises(InputError, match="network 'notes' is not installed"):
        build_plan([tmp_path / "a.wav"], plain, out_dir=tmp_path / "out", settings=[f"{node}.network=notes"])
