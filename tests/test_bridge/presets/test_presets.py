"""The factory's presets: valid, musical, and what they say they are."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.paths import ROOT

import dream_core
from bridge import load_preset
from bridge.errors import PresetError
from bridge.presets.library import find_preset, list_presets
from bridge.presets.load import read_preset
from bridge.presets.model import parse_preset, preset_schema
from bridge.presets.overrides import apply_settings
from bridge.processors.dream import Dream
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective

SONG = ROOT / "examples" / "song"
PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.toml"))
PLAYED = ["chord-ghost", "follow-the-lead", "pitch-follow", "three-voices", "tuned-drums", "vowel-pad"]
"""They have notes or keys to follow, and tests of their own."""
PICTURES = ["pixel-sleep", "row-drone", "sixteenth-rows"]
"""They draw into the waveform itself, harsh as that is, with a network that is fetched."""
FROM_NOISE = ["from-nothing", "what-is-left"]
"""They make their sound of noise, whatever the stem was, and have tests of their own too."""
PUBLISHED = ["auditory-dreamer", "dreamsound-0163", "three-layers"]
"""They repeat what was published, harsh as it is."""
LISTENING = ["what-it-hears", "when-it-sings"]
"""These leave alone what they do not wait for, and have tests of their own."""
GROWING = ["after-image", "endless-break"]
"""They play on with a network of the user's own, and have tests of their own."""
_OTHERS = ("null-reference", *PUBLISHED, *LISTENING, *FROM_NOISE, *PLAYED, *PICTURES, *GROWING)
DREAMING = [name for name in PRESETS if name not in _OTHERS]
"""The others made to be liked."""
STEMS = ["bass", "drums", "keys", "lead"]
EXCERPT_S = (3.0, 5.0)


def test_there_are_the_six_roles() -> None:
    """Bloom, drums, bass, pulse, texture and the null reference are covered."""
    categories = {load_preset(name).meta.category for name in PRESETS}

    assert {"Bloom", "Drums", "Bass", "Pulse", "Texture", "Utility"} <= categories


def test_the_published_schema_is_the_model() -> None:
    """Editors check what the program checks."""
    assert json.loads((ROOT / "presets" / "preset.schema.json").read_text()) == preset_schema()


@pytest.mark.parametrize("name", PRESETS)
def test_files_are_named_after_their_presets(name: str) -> None:
    """A preset's file name is its name, and its plain data reads back as itself."""
    preset = load_preset(name)

    assert preset.slug == name
    assert parse_preset(preset.to_dict(), name) == preset
    for variation in preset.variations:
        assert apply_settings(preset, variation=variation.name) != preset


def test_uuids_differ() -> None:
    """Each preset has an identity of its own."""
    uuids = [load_preset(name).uuid for name in PRESETS]

    assert len(set(uuids)) == len(uuids)


@pytest.mark.slow
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("name", DREAMING)
def test_the_objective_rises_with_depth(name: str, stem: str) -> None:
    """The network hears more of the preset's objective after four steps than before, and more after eight."""
    node = next(node for node in load_preset(name).chain if node.use == "dream")
    settings = Dream(**node.params)._settings()  # type: ignore[arg-type]
    network = dream_core.load_network(str(node.params.get("network", "timbre")))
    start, stop = (round(s * 44100) for s in EXCERPT_S)
    sound, rate = soundfile.read(
        SONG / f"{stem}.flac", start=start, stop=stop, dtype="float32", always_2d=True
    )
    samples = torch.from_numpy(np.ascontiguousarray(sound.T))
    listener = Listener(network, parse_objective(settings.objective), rate)

    def score(x: torch.Tensor) -> float:
        offsets = range(0, listener.jitter_frames, 12)
        mono = x.mean(dim=0, keepdim=True)
        with torch.no_grad():
            return float(np.mean([float(listener.score(mono, offset)[0]) for offset in offsets]))

    # One dream of eight steps, whose ladder keeps what it is after four.
    stream = dream_core.open_stream(network, settings, rate, len(samples), ladder=(4,))
    depth = torch.full((samples.shape[1],), 8.0, dtype=torch.float64)
    deep = torch.cat([stream.push(samples, depth), stream.finish()], 1)
    scores = [score(samples), score(stream.take_ladder()[4]), score(deep)]

    assert scores[0] < scores[1] < scores[2]


WRONG = [
    ("version = 3", "newer than this program"),
    ('format = "vital"', "is not a preset"),
    ("revision = 0", "revision = 0"),
    ("colour = 3", "no such key"),
]


@pytest.mark.parametrize(("line", "expected"), WRONG)
def test_wrong_heads_are_explained(line: str, expected: str, tmp_path: Path) -> None:
    """Version, format, ranges and unknown keys are named with file and place."""
    key = line.partition(" ")[0]
    text = (ROOT / "presets" / "null-reference.toml").read_text()
    lines = [one for one in text.splitlines() if not one.startswith(f"{key} =")]
    path = tmp_path / "wrong.toml"
    path.write_text("\n".join([line, *lines]))

    with pytest.raises(PresetError, match=expected) as caught:
        read_preset(path)
    assert "wrong.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('use = "dream"', 'use = "dreem"', r"chain\[0\].*did you mean 'dream'"),
        ("depth = 0.0", "dept = 0.0", r"chain\[0\].*did you mean 'depth'"),
        ("depth = 0.0", "depth = -1.0", r"outside 0\.\.100"),
        ("depth = 0.0", 'depth = "deep"', "not a number"),
        ('mode = "keep"', 'mode = "loud"', "level.mode"),
        ('category = "Utility"', 'category = "Utilities"', "meta.category"),
        ('license = "CC0-1.0"', 'licence = "CC0-1.0"', "did you mean 'license'"),
        ('id = "dream"', 'id = "My Dream"', r"chain\[0\]\.id"),
        ("[level]", '[[routes]]\nsource = "x"\ntarget = "dream"\n[level]', r"routes\[0\]\.target"),
    ],
)
def test_wrong_bodies_are_explained(old: str, new: str, expected: str, tmp_path: Path) -> None:
    """Every mistake names its place and what is accepted."""
    text = (ROOT / "presets" / "null-reference.toml").read_text()
    assert old in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(old, new))

    with pytest.raises(PresetError, match=expected):
        read_preset(path)


def test_a_nearer_preset_hides_a_farther_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project's own preset wins over the factory's of the same name."""
    (tmp_path / "presets").mkdir()
    text = (ROOT / "presets" / "null-reference.toml").read_text()
    (tmp_path / "presets" / "null-reference.toml").write_text(text.replace("Utility", "Space"))
    monkeypatch.chdir(tmp_path)

    assert load_preset("null-reference").meta.category == "Space"
    assert {entry.origin for entry in list_presets()} == {"project", "factory"}


CHILD = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-0000000000{number}"
extends = "{extends}"

[meta]
name = "Child {number}"
category = "Texture"
"""


def write_child(path: Path, extends: str, more: str = "", number: int = 10) -> Path:
    path.write_text(CHILD.format(extends=extends, number=number) + more)
    return path


def test_a_preset_extends_another_by_what_differs(tmp_path: Path) -> None:
    """Parameters, modulators and routes change by name; the rest is the base's, identity apart."""
    base = load_preset("lucid-bloom")
    modulator, route, last = base.modulators[0], base.routes[0], base.chain[-1]
    more = f"""
[[chain]]
id = "dream"
use = "dream"
params = {{ depth = 33.0 }}
[[chain]]
id = "{last.id}"
use = "limiter"
[[chain]]
id = "extra"
use = "gain"
[[modulators]]
id = "{modulator.id}"
type = "{modulator.type}"
smooth = "77 ms"
[[routes]]
source = "{route.source}"
target = "{route.target}"
enabled = false
[level]
ceiling_dbtp = -3.0
"""
    child = read_preset(write_child(tmp_path / "child.toml", "lucid-bloom@2", more))

    assert child.meta.name == "Child 10"
    assert child.uuid != base.uuid
    assert child.node("dream").params == {**base.node("dream").params, "depth": 33.0}
    assert [node.id for node in child.chain] == [*(node.id for node in base.chain), "extra"]
    assert child.node(last.id).use == "limiter"
    assert child.node(last.id).params == {}  # another processor keeps nothing of the one it replaces
    assert child.modulators[0] == modulator.model_copy(update={"smooth": "77 ms"})
    assert child.routes[0] == route.model_copy(update={"enabled": False})
    assert child.routes[1:] == base.routes[1:]
    assert child.level == base.level.model_copy(update={"ceiling_dbtp": -3.0})
    assert child.variations == base.variations
    assert parse_preset(child.to_dict(), "whole") == child


def test_presets_stand_on_files_beside_them_up_to_four_deep(tmp_path: Path) -> None:
    """Each adds its part; one more than four is refused, and so is a circle."""
    base = "null-reference"
    for number in range(10, 14):
        level = f"[level]\nceiling_dbtp = {-number}.0\n[tail]\nmode = 'none'\n"
        base = write_child(tmp_path / f"{number}.toml", base, level, number).name
    assert read_preset(tmp_path / base).level.ceiling_dbtp == -13.0
    assert read_preset(tmp_path / base).level.mode == load_preset("null-reference").level.mode

    with pytest.raises(PresetError, match="more than 4"):
        read_preset(write_child(tmp_path / "deep.toml", base))
    write_child(tmp_path / "10.toml", "13.toml")
    with pytest.raises(PresetError, match="leads back"):
        read_preset(tmp_path / "12.toml")


def test_a_preset_of_ones_own_extends_the_factorys_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked for nearest first, an origin before it looks there alone."""
    (tmp_path / "presets").mkdir()
    monkeypatch.chdir(tmp_path)
    own = write_child(tmp_path / "presets" / "undertow.toml", "undertow")
    with pytest.raises(PresetError, match="factory:NAME"):
        load_preset("undertow")
    write_child(own, "factory:undertow")

    assert load_preset("undertow").meta.name == "Child 10"
    assert load_preset("undertow").chain == load_preset("factory:undertow").chain


def test_another_plugin_keeps_nothing_of_the_one_it_replaces(tmp_path: Path) -> None:
    """Its state and its parameters would be another plugin's."""
    node = "[[chain]]\nid = 'amp'\nuse = 'vst3'\nplugin = 'Old'\nstate = 'AAAA'\nparams = {gain = 1.0}\n"
    old = write_child(tmp_path / "old.toml", "null-reference", node)
    child = read_preset(write_child(tmp_path / "new.toml", old.name, "[[chain]]\nid = 'amp'\nplugin = 'New'"))

    assert child.node("amp").plugin == "New"
    assert child.node("amp").use == "vst3"
    assert not child.node("amp").state
    assert not child.node("amp").params


def test_routes_written_twice_stay_two(tmp_path: Path) -> None:
    """The first takes the place of the base's, the second comes after it."""
    base = load_preset("lucid-bloom")
    route = base.routes[0]
    more = "".join(
        f"[[routes]]\nsource = '{route.source}'\ntarget = '{route.target}'\namount = {amount}\n"
        for amount in (0.25, 0.5)
    )
    child = read_preset(write_child(tmp_path / "child.toml", "lucid-bloom", more))

    assert [one.amount for one in child.routes] == [0.25, *(r.amount for r in base.routes[1:]), 0.5]


def test_of_two_folders_the_first_in_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the origin said as without."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_child(tmp_path / name / "mine.toml", "null-reference")
    monkeypatch.setenv(
        "REVERIE_PRESETS", os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")])
    )

    assert (
        find_preset("environment:mine").path == find_preset("mine").path == tmp_path / "first" / "mine.toml"
    )


@pytest.mark.parametrize(
    ("extends", "more", "expected"),
    [
        ("lucid-blom", "", "did you mean 'lucid-bloom'"),
        ("factry:lucid-bloom", "", "did you mean 'factory'"),
        ("lucid-bloom@7", "", r"at revision 2; .*@2"),
        ("nothing.toml", "", r"nothing\.toml: no such preset file"),
        ("", "", "a preset's name"),
        ("a\\u0000.toml", "", "is no text: it holds a NUL"),
        ("a\\nb", "", "no preset is called"),
        ("x@" + "9" * 5000, "", "no preset is called"),
        ("null-reference", "[[chain]]\nid = 'a'\nuse = 'gain'\n" * 2, "used twice"),
        ("lucid-bloom", "[[chain]]\nid = 'dream'\nparams = {depth = 3}\n" * 2, "used twice"),
        ("lucid-bloom", "[[macros]]\nid = 'depth'\nparams = {a = 1}\n'' = 3\n", "no such key"),
        ("lucid-bloom", "[[chain]]\nid = 'dream'\nuse = 'dream'\nparams = { dept = 1 }", "'depth'"),
        ("lucid-bloom", "[[chain]]\nid = ['dream']\nuse = 'dream'", r"on top of 'lucid-bloom'.*\.id"),
        ("lucid-bloom", "chains = 3", "no such key"),
    ],
)
def test_wrong_extensions_are_explained(extends: str, more: str, expected: str, tmp_path: Path) -> None:
    """What is extended must be there; what is laid over it is checked like any preset."""
    with pytest.raises(PresetError, match=expected):
        read_preset(write_child(tmp_path / "child.toml", extends, more))


def test_the_page_lists_every_preset_of_the_factory() -> None:
    text = (ROOT / "presets" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([\w-]+)` \|", text.partition("## The factory's")[2], re.MULTILINE)

    assert sorted(listed) == PRESETS
