"""Equal keys, equal work: whatever decides a stem's samples is in its key, and nothing else.

A decisive field that were missing would have sound of other settings taken for finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.plans import PRESET, make_plan
from pydantic import BaseModel

from bridge.clock.tempo_map import TempoMap
from bridge.errors import OutputError
from bridge.plan import model as plan_module
from bridge.plan.model import MidiSource, Plan, SessionSource, StemPlan
from bridge.plan.output_names import manifest_path
from bridge.plan.planner import build_plan
from bridge.presets.model import Preset, parse_preset
from bridge.render.manifest import Manifest, read_manifest
from bridge.render.runner import render_plan


def preset(**changes: Any) -> Preset:
    return parse_preset(PRESET | changes, "test")


def stem(name: str, **changes: Any) -> StemPlan:
    facts: dict[str, Any] = {
        "name": name,
        "source": f"/stems/{name}.wav",
        "sha256": f"hash of {name}",
        "stamp": "100 bytes, 7 ns",
        "sample_rate": 48000,
        "n_channels": 2,
        "n_samples": 96000,
        "subtype": "PCM_24",
        "target": f"/out/{name}.wav",
        "target_subtype": "PCM_24",
        "own_samples": 90000,
        "peak_depth": 3.0,
        "depth_integral_s": 6.0,
    }
    return StemPlan(**facts | changes)


PLAN = Plan(
    name="room",
    preset=preset(tail={"mode": "auto"}),
    preset_sha256="hash of the preset",
    tempo_map=TempoMap.constant(120),
    midi=MidiSource(path="/song.mid", sha256="hash of the song"),
    stems=(stem("a"), stem("b")),
    out_dir="/out",
    networks={"timbre": "hash of its weights"},
    plugins={"Room.vst3": "hash of its binary"},
    device="cpu",
    threads=1,
)

DECISIVE: dict[type[BaseModel], dict[str, Any]] = {
    Plan: {
        "is_aligned": False,
        "preset": preset(tail={"mode": "auto"}, chain=[{"id": "room", "use": "reverb", "mix": 0.5}]),
        "tempo_map": TempoMap.constant(121),
        "midi": None,
        "session": SessionSource(path="/song.rpp", sha256="hash of a session"),
        "stems": (stem("a"), stem("b", sha256="hash of another b")),  # their tails end together
        "networks": {"timbre": "hash of other weights"},
        "plugins": {"Room.vst3": "hash of another binary"},
        "device": "cuda:0",
        "threads": 2,
        "seed": 1,
        "ladder": (1, 5),
        "automation_block_samples": 128,
        "on_missing": "bypass",
    },
    StemPlan: {
        "name": "another",  # it seeds the dither
        "sha256": "hash of another sound",
        "sample_rate": 44100,
        "n_channels": 1,
        "n_samples": 96001,
        "subtype": "PCM_16",
        "target_subtype": "PCM_16",
        "head_samples": 6000,
        "own_samples": 90001,
        "start_samples": 0,
        "section": (0, 48000),
        "reference_stems": {"b": "hash of b"},
    },
    MidiSource: {"sha256": "hash of another song", "pattern": 2, "ppq": 480},
}
INDIFFERENT: dict[type[BaseModel], dict[str, Any]] = {
    Plan: {
        "name": "another name in the folder",
        "preset_sha256": "the preset itself is in the key",
        "out_dir": "/elsewhere",
        "warnings": ("what the user should know",),
        "format": "reverie/plan",  # there is no other
        "version": 1,
    },
    StemPlan: {
        "source": "/moved/a.wav",
        "stamp": "100 bytes, 8 ns",
        "target": "/elsewhere/a.wav",
        "is_cropped": True,  # nothing, without a section
        "peak_depth": 4.0,  # follows from the preset and the song
        "depth_integral_s": 7.0,
    },
    MidiSource: {"path": "/moved/song.mid"},
}


def changed(record: type[BaseModel], field: str, value: Any) -> str:
    """Return the first stem's key after one field of one record has changed."""
    plan, first = PLAN, PLAN.stems[0]
    if record is Plan:
        plan = plan.model_copy(update={field: value})
        first = plan.stems[0]
    elif record is StemPlan:
        first = first.model_copy(update={field: value})
        plan = plan.model_copy(update={"stems": (first, *plan.stems[1:])})
    else:
        assert plan.midi is not None
        plan = plan.model_copy(update={"midi": plan.midi.model_copy(update={field: value})})
    return plan.stem_key(first)


def fields(table: dict[type[BaseModel], dict[str, Any]]) -> list[Any]:
    return [
        pytest.param(record, field, value, id=f"{record.__name__}.{field}")
        for record, changes in table.items()
        for field, value in changes.items()
    ]


@pytest.mark.parametrize("record", DECISIVE)
def test_every_field_is_known_to_decide_or_not(record: type[BaseModel]) -> None:
    """A new field takes its place in one of the two tables above."""
    assert DECISIVE[record].keys() | INDIFFERENT[record].keys() == record.model_fields.keys()
    assert not DECISIVE[record].keys() & INDIFFERENT[record].keys()


@pytest.mark.parametrize(("record", "field", "value"), fields(DECISIVE))
def test_what_decides_a_stems_samples_changes_its_key(
    record: type[BaseModel], field: str, value: Any
) -> None:
    assert changed(record, field, value) != PLAN.stem_key(PLAN.stems[0])


@pytest.mark.parametrize(("record", "field", "value"), fields(INDIFFERENT))
def test_what_does_not_decide_them_leaves_it(record: type[BaseModel], field: str, value: Any) -> None:
    assert changed(record, field, value) == PLAN.stem_key(PLAN.stems[0])


def test_a_key_is_of_one_version_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    before = PLAN.stem_key(PLAN.stems[0])
    monkeypatch.setattr(plan_module, "program_version", lambda: "99.0")

    assert PLAN.stem_key(PLAN.stems[0]) != before


def test_the_order_in_which_things_were_found_does_not_matter() -> None:
    both = {"timbre": "one hash", "texture": "another"}
    one, two = (
        PLAN.model_copy(update={"networks": dict(items)}) for items in (both.items(), reversed(both.items()))
    )

    assert one.stem_key(one.stems[0]) == two.stem_key(two.stems[0])


def test_which_gpu_of_several_does_not_matter() -> None:
    """Devices of one kind take the stems in turn; the kind is in the key."""
    plans = [PLAN.model_copy(update={"device": d}) for d in ("cuda", "cuda:0", "cuda:0,cuda:1", "cpu")]
    *cuda, cpu = (plan.stem_key(plan.stems[0]) for plan in plans)

    assert len(set(cuda)) == 1
    assert cpu not in cuda


@pytest.mark.parametrize(
    ("level", "tail", "is_shared"),
    [({}, {}, False), ({"common_trim": True}, {}, True), ({}, {"mode": "auto"}, True)],
)
def test_other_stems_matter_where_a_gain_or_a_length_is_shared(
    level: dict[str, Any], tail: dict[str, Any], is_shared: bool
) -> None:
    plan = PLAN.model_copy(update={"preset": preset(level=level, tail=tail)})
    louder = plan.model_copy(update={"stems": (plan.stems[0], stem("b", sha256="hash of a louder b"))})

    assert (plan.stem_key(plan.stems[0]) != louder.stem_key(louder.stems[0])) is is_shared


def of_version(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("plan.model", "render.runner", "render.manifest"):
        monkeypatch.setattr(f"bridge.{module}.program_version", lambda: version)


def test_sound_of_an_earlier_version_is_not_taken_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same version keeps it, another refuses it with both named, and replaces it where that is asked."""
    plan = make_plan(tmp_path)
    of_version("1.2.3", monkeypatch)
    render_plan(plan)
    assert {one.status for one in render_plan(plan).stems} == {"kept"}
    of_version("99.0", monkeypatch)

    with pytest.raises(OutputError, match=r"rendered by Reverie 1\.2\.3 \(this is 99\.0\); use --overwrite"):
        render_plan(plan)
    assert {one.status for one in render_plan(plan, overwrite=True).stems} == {"done"}


def test_a_stem_stays_with_the_version_that_rendered_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version adds a stem to the folder: the first one's record still says who made it."""
    plan = make_plan(tmp_path)
    first, second = (plan.model_copy(update={"stems": (stem,)}) for stem in plan.stems[:2])
    of_version("1.2.3", monkeypatch)
    render_plan(first)
    of_version("99.0", monkeypatch)
    render_plan(second)
    records = read_manifest(manifest_path(plan)).stems

    assert {name: record.program for name, record in records.items()} == {"a": "1.2.3", "b": "99.0"}
    with pytest.raises(OutputError, match=r"rendered by Reverie 1\.2\.3 \(this is 99\.0\)"):
        render_plan(first)


def test_where_only_the_settings_changed_no_version_is_blamed(tmp_path: Path) -> None:
    """The message says no more than is true."""
    plan = make_plan(tmp_path)
    render_plan(plan)
    with pytest.raises(OutputError, match=r"a__room\.wav exists already \(and 2 more\); use --overwrite"):
        render_plan(plan.model_copy(update={"seed": 5}))


def test_a_plan_that_is_built_again_has_the_same_keys(tmp_path: Path) -> None:
    """Nothing in a key is of the moment, and a manifest keeps it."""
    plan = make_plan(tmp_path)
    again = build_plan(
        [one.source for one in plan.stems], parse_preset(PRESET, "test"), out_dir=tmp_path / "out"
    )
    kept = Manifest.model_validate_json(Manifest.begin(plan).model_dump_json()).plan

    for first, second, third in zip(plan.stems, again.stems, kept.stems, strict=True):
        assert plan.stem_key(first) == again.stem_key(second) == kept.stem_key(third)


def test_keys_are_those_of_earlier_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was rendered before a change of names in the program is taken up after it.

    Whoever changes what decides a stem's samples changes the key, and this one, on purpose.
    """
    monkeypatch.setattr(plan_module, "program_version", lambda: "0.1.0")
    listening = stem("a", reference_stems={"b": "hash of b"})
    plan = PLAN.model_copy(update={"stems": (listening, stem("b"))})

    assert plan.stem_key(listening) == "0f8a4b0f840e99419d0f38f801683e78adaa732daf9a4bd0f5a1a94833aee33d"
    assert '"listens_to":{"b":"hash of b"}' in plan.model_dump_json()
    assert Plan.from_json(plan.to_json()) == plan
