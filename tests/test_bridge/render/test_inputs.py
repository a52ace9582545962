"""A manifest vouches for nothing that was not read: what changed since the plan fails its stem."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from helpers.plans import make_plan
from helpers.session import write_preset, write_stem
from helpers.vst3 import EFFECT, needs_plugins

import dream_core
from bridge import build_plan, load_preset, render_plan
from bridge.errors import AudioFileError, InputError
from bridge.plan.output_names import manifest_path
from bridge.presets.model import parse_preset
from bridge.render.progress import Progress


def rewrite(path: Path) -> None:
    """Change one byte near the end; size and time stay."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stem_rewritten_after_planning_with_size_and_time_kept_fails(tmp_path: Path, jobs: int) -> None:
    """Its own render alone: nothing has its name, and the others are done."""
    plan = make_plan(tmp_path)
    rewrite(tmp_path / "b.wav")
    report = render_plan(plan, jobs=jobs)
    assert [stem.status for stem in report.stems] == ["done", "failed", "done"]
    assert "b.wav: has changed since the plan was made; plan again" in report.stems[1].error
    assert not Path(plan.stems[1].target).exists()


def test_a_stem_rewritten_while_it_is_rendered_fails(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)

    def change(progress: Progress) -> None:
        if progress.stem == "b" and progress.phase == "open":
            rewrite(tmp_path / "b.wav")

    report = render_plan(plan, on_progress=change)
    assert [stem.status for stem in report.stems] == ["done", "failed", "done"]


def test_a_stem_that_is_listened_to_counts_as_read(tmp_path: Path) -> None:
    """Whoever follows it fails, and who does not is done."""
    for index, name in enumerate("ab"):
        write_stem(tmp_path / f"{name}.wav", seed=index)
    preset = write_preset(tmp_path, more=FOLLOWER)
    plan = build_plan([tmp_path / "a.wav", tmp_path / "b.wav"], preset, out_dir=tmp_path / "out")
    assert plan.stems[0].reference_stems.keys() == {"b"}
    rewrite(tmp_path / "b.wav")
    report = render_plan(plan)
    assert [stem.status for stem in report.stems] == ["failed", "failed"]
    assert "b.wav: has changed" in report.stems[0].error


FOLLOWER = """
[[modulators]]
id = "loud"
type = "follower"
source = "sidechain"
stem = "b"

[[routes]]
source = "loud"
target = "dream.depth"
op = "replace"
min = 0.0
max = 1.0
"""


def test_a_network_whose_weights_have_changed_is_refused(tmp_path: Path) -> None:
    """Before anything is written; also where size and time say nothing."""
    weights = tmp_path / "own.safetensors"
    shutil.copy(Path(dream_core.__file__).parent / "networks/timbre.safetensors", weights)
    write_stem(tmp_path / "a.wav")
    preset = load_preset(write_preset(tmp_path, more=""))
    data = preset.to_dict()
    data["chain"][0]["params"] |= {"network": str(weights), "objective": "layer:block1"}
    plan = build_plan([tmp_path / "a.wav"], parse_preset(data, "test"), out_dir=tmp_path / "out")
    rewrite(weights)
    with pytest.raises(
        InputError, match=r"own\.safetensors' have changed since the plan was made; plan again"
    ):
        render_plan(plan)
    assert not (tmp_path / "out").exists()


def test_a_plan_with_other_channels_fails_its_stem(tmp_path: Path) -> None:
    """In one line: a plan may come from anywhere."""
    plan = make_plan(tmp_path)
    wrong = plan.stems[1].model_copy(update={"n_channels": 2})
    report = render_plan(plan.model_copy(update={"stems": (plan.stems[0], wrong)}))
    assert [stem.status for stem in report.stems] == ["done", "failed"]
    assert report.stems[1].error.endswith("has 1 channels and 2 in the plan; plan again")


class TestPlugins:
    pytestmark = needs_plugins

    def test_a_plugin_that_is_not_the_planned_one_is_refused(self, tmp_path: Path) -> None:
        """An update between plan and render is said before anything is written."""
        bundle = tmp_path / EFFECT.name
        shutil.copytree(EFFECT, bundle)
        preset = parse_preset(
            {
                "format": "reverie/preset",
                "version": 1,
                "uuid": "11111111-2222-3333-4444-555555555556",
                "meta": {"name": "Hosted", "category": "Utility"},
                "chain": [{"id": "fx", "use": "vst3", "plugin": str(bundle)}],
            },
            "test",
        )
        write_stem(tmp_path / "a.wav")
        plan = build_plan([tmp_path / "a.wav"], preset, out_dir=tmp_path / "out")
        rewrite(next(bundle.rglob("*.so")))
        with pytest.raises(InputError, match=r"ConformanceEffect\.vst3 has changed since the plan was made"):
            render_plan(plan)
        assert not (tmp_path / "out").exists()


def test_a_stem_that_is_still_being_written_is_not_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length and its hash would be of two files."""
    path = write_stem(tmp_path / "a.wav")
    preset = load_preset("null-reference")

    def hash_and_grow(file: Path) -> str:
        with file.open("ab") as stream:
            stream.write(b"\0")
        return "hash of half a file"

    monkeypatch.setattr("bridge.plan.planner.hash_file", hash_and_grow)
    with pytest.raises(AudioFileError, match=r"a\.wav: changes while it is read"):
        build_plan([path], preset, out_dir=tmp_path / "out")


def test_a_manifest_says_nothing_of_a_stem_that_failed(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    for name in "abc":
        rewrite(tmp_path / f"{name}.wav")
    assert len(render_plan(plan).failed) == 3
    assert not manifest_path(plan).exists()
