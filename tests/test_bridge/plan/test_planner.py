"""A plan is data: it goes round through JSON, says who renders where, and sums up what it will cost."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from helpers.session import write_midi, write_preset, write_stem

from bridge import build_plan
from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.song import Song
from bridge.errors import PlanError
from bridge.files import hash_file, stamp_file
from bridge.installation import program_version
from bridge.parameters import ParamSpec
from bridge.plan.model import Plan, StemPlan
from bridge.plan.stem_envelopes import build_preset_envelopes
from bridge.presets.model import parse_preset
from bridge.processors.contract import AUTOMATION_BLOCK_SAMPLES

HEAD = """
format = "reverie/preset"
version = 1
uuid = "00000000-0000-4000-8000-000000000001"

[meta]
name = "moving"
category = "Utility"
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Three stems, a preset that dreams and a song."""
    stems = [write_stem(tmp_path / f"{name}.wav", seed=seed) for seed, name in enumerate("abc")]
    return build_plan(
        stems, write_preset(tmp_path), midi=write_midi(tmp_path / "song.mid", []), out_dir=tmp_path
    )


def test_a_plan_goes_round_through_json(plan: Plan) -> None:
    assert Plan.from_json(plan.to_json()) == plan
    assert json.loads(plan.to_json())["format"] == "reverie/plan"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"stems": 3}, "stems"),
        ({"seed": "x"}, "seed"),
        ({"seed": "x", "name": 3}, "name"),
        ({"speed": 3}, "speed"),
        ({"version": 2}, "version"),
    ],
)
def test_a_wrong_plan_names_the_place(plan: Plan, change: dict[str, object], place: str) -> None:
    """A field of another kind, an unknown one and another version are said with the file."""
    text = json.dumps(json.loads(plan.to_json()) | change)
    with pytest.raises(PlanError, match=f"^p.json: not a plan: {place}"):
        Plan.from_json(text, "p.json")


def test_a_plan_is_not_changed(plan: Plan) -> None:
    """Neither it nor its stems; a changed one is another."""
    for record in (plan, plan.stems[0]):
        with pytest.raises(ValueError, match="frozen"):
            record.name = "other"  # type: ignore[misc]


def test_devices_take_the_stems_in_turn(plan: Plan) -> None:
    """The third of three stems is back on the first of two."""
    turns = plan.model_copy(update={"device": "cuda:0,cuda:1"})

    assert [turns.device_for(stem) for stem in turns.stems] == ["cuda:0", "cuda:1", "cuda:0"]


def test_more_stems_come_last(plan: Plan) -> None:
    few = plan.model_copy(update={"stems": plan.stems[:1]})

    assert few.with_stems(plan.stems[1:]).stems == plan.stems


def test_settings_are_of_all_stems(plan: Plan) -> None:
    """Their digest knows the seed and no stem."""
    fewer, other = plan.model_copy(update={"stems": ()}), plan.model_copy(update={"seed": 1})

    assert fewer.settings_digest() == plan.settings_digest() != other.settings_digest()


@pytest.mark.parametrize(
    ("n_stems", "is_aligned", "level", "tail", "is_shared"),
    [
        (2, True, {"common_trim": True}, {}, True),
        (2, False, {"common_trim": True}, {}, True),
        (2, True, {}, {"mode": "auto"}, True),
        (2, False, {}, {"mode": "auto"}, False),  # each ends where it has died away
        (2, True, {}, {"mode": "fixed"}, False),
        (1, True, {"common_trim": True}, {"mode": "auto"}, False),  # nobody to share with
    ],
)
def test_stems_share_a_gain_or_a_length(
    plan: Plan, n_stems: int, is_aligned: bool, level: dict[str, bool], tail: dict[str, str], is_shared: bool
) -> None:
    data = plan.preset.to_dict()
    preset = parse_preset({**data, "level": data["level"] | level, "tail": data["tail"] | tail}, "test")
    changes = {"stems": plan.stems[:n_stems], "is_aligned": is_aligned, "preset": preset}

    assert plan.model_copy(update=changes).is_shared is is_shared


def test_a_stem_knows_its_length_and_place(plan: Plan) -> None:
    stem: StemPlan = plan.stems[0].model_copy(update={"head_samples": 7, "own_samples": 11})

    assert stem.duration_s == pytest.approx(1.2)
    assert stem.placement.path == Path(stem.source)
    assert (stem.placement.head_samples, stem.placement.n_samples) == (7, 11)


def test_what_a_plan_leaves_out_is_nothing(plan: Plan) -> None:
    """Fields that older plans lack: no silence in front, no time stamp, nobody who is listened to."""
    short = json.loads(plan.to_json())
    for name in ("head_samples", "start_samples", "listens_to", "stamp"):
        del short["stems"][0][name]
    for name in ("device", "threads", "seed", "automation_block_samples", "on_missing", "is_aligned"):
        del short[name]
    read = Plan.from_json(json.dumps(short))
    stem = read.stems[0]

    assert (stem.head_samples, stem.start_samples, stem.reference_stems, stem.stamp) == (0, None, {}, "")
    assert (read.device, read.threads, read.seed, read.is_aligned) == ("auto", None, 0, True)
    assert (read.automation_block_samples, read.on_missing) == (AUTOMATION_BLOCK_SAMPLES, "fail")


def test_a_file_is_hashed_whole(tmp_path: Path) -> None:
    """However many blocks it is read in."""
    data = os.urandom((1 << 21) + 17)
    (tmp_path / "f").write_bytes(data)

    assert hash_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_a_stamp_tells_size_and_time(tmp_path: Path) -> None:
    """It stays while the file is not touched, and names both."""
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    os.utime(path, ns=(5, 7))
    first = stamp_file(path)
    os.utime(path, ns=(5, 8))

    assert first == "5 bytes, 7 ns"
    assert stamp_file(path) == "5 bytes, 8 ns"


def test_the_programs_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run from a folder without being installed it has none, and still renders."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    program_version.cache_clear()
    installed = program_version()
    monkeypatch.setattr(metadata, "version", missing)
    program_version.cache_clear()
    without = program_version()
    program_version.cache_clear()

    assert installed[0].isdigit()
    assert without == "not installed"


STILL = """
[[macros]]
id = "still"
value = 0.0

[[routes]]
source = "macro.still"
target = "{target}"
amount = 0.0
"""


@pytest.mark.parametrize(
    ("node", "target", "value"),
    [
        ('use = "gain"\nparams = { gain_db = -7.0 }', "gain_db", -7.0),
        ('use = "gain"\nmix = 0.25', "mix", 0.25),  # the chain's own
        ('use = "delay"\nmix = 0.25\nparams = { mix = 0.75 }', "mix", 0.75),  # the processor's own
        ('use = "dream"\nparams = { depth = 2.5 }', "depth", 2.5),
    ],
)
def test_movement_starts_from_what_the_preset_says(node: str, target: str, value: float) -> None:
    """A parameter's own value, and for a mix the node's unless the processor has one itself."""
    text = HEAD + f'[[chain]]\nid = "node"\n{node}\n' + STILL.format(target=f"node.{target}")
    song = Song(tempo_map=TempoMap.constant(120.0), length_s=1.0)
    envelopes = build_preset_envelopes(parse_preset(tomllib.loads(text), "test"), song, 48000, 0, stem="a")

    assert envelopes.values("node", target, 0, 10) == pytest.approx(value)


PLUGIN = """
[[chain]]
id = "room"
use = "vst3"
plugin = "Room"

[[chain]]
id = "off"
use = "gain"
enabled = false

[[macros]]
id = "wet"
value = 1.0

[[routes]]
source = "macro.wet"
target = "room.size_m"
op = "replace"
max = 30.0

[[routes]]
source = "macro.wet"
target = "off.gain_db"
"""


@pytest.mark.parametrize("is_open", [True, False])
def test_a_plugins_parameters_move_once_it_is_open(is_open: bool) -> None:
    """Before that they are not known, and their routes wait; those of a disabled node never move anything."""
    specs = {
        "room": {
            "size_m": ParamSpec(name="size_m", default=5.0, minimum=1.0, maximum=50.0, automation="block")
        }
    }
    preset = parse_preset(tomllib.loads(HEAD + PLUGIN), "test")
    song = Song(tempo_map=TempoMap.constant(120.0), length_s=1.0)
    envelopes = build_preset_envelopes(preset, song, 48000, 0, stem="a", opened=specs if is_open else None)

    assert set(envelopes.moving) == ({("room", "size_m")} if is_open else set())
    if is_open:
        assert envelopes.values("room", "size_m", 0, 10) == pytest.approx(30.0)
