"""A damaged manifest or journal is refused in one line that names the file, whoever reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.paths import SHARED
from helpers.plans import make_plan

from bridge import read_manifest, render_plan
from bridge.cli import main
from bridge.errors import PlanError
from bridge.plan.output_names import manifest_path

DAMAGED = sorted((SHARED / "cases" / "damaged").glob("*"))
MANIFESTS = [path for path in DAMAGED if path.name.startswith(("manifest-", "verify-"))]
JOURNALS = [path for path in DAMAGED if "journal-" in path.name]
NAMED = {"ids": lambda path: path.name}


@pytest.mark.skipif(not MANIFESTS, reason="the damaged files are not there")
@pytest.mark.parametrize("path", MANIFESTS, **NAMED)
@pytest.mark.parametrize("command", ["report", "verify", "session folder"])
def test_a_damaged_manifest_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: Path, command: str
) -> None:
    """Nothing is written."""
    given = tmp_path / "x.manifest.json"
    shutil.copy(path, given)
    more = ["--out", str(tmp_path / "folder")] if command == "session folder" else []
    assert main([*command.split(), str(given), *more]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("reverie: ")
    assert captured.err.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["x.manifest.json"]


@pytest.mark.skipif(not JOURNALS, reason="the damaged files are not there")
@pytest.mark.parametrize("path", JOURNALS, **NAMED)
def test_a_damaged_journal_is_one_line(tmp_path: Path, path: Path) -> None:
    """It names the journal, and what to do: without it, its stems are rendered again."""
    plan = make_plan(tmp_path)
    render_plan(plan)
    manifest = manifest_path(plan)
    journal = manifest.with_name(f".{manifest.name}.finished")
    shutil.copy(path, journal)
    with pytest.raises(PlanError, match=r"finished: line \d+ is damaged \(.*; remove it") as caught:
        read_manifest(manifest)
    assert "\n" not in str(caught.value)
    journal.unlink()
    assert [stem.status for stem in render_plan(plan).stems] == ["kept"] * 3


def _without(data: dict[str, Any], *keys: str) -> None:
    for key in keys[:-1]:
        data = data[key]
    del data[keys[-1]]


@pytest.mark.parametrize(("damage", "says"), [
    (lambda d: _without(d, "stems", "a", "before", "integrated_lufs"), "'integrated_lufs' is missing"),
    (lambda d: d["stems"]["a"]["after"].update(loudness=3.0), "'loudness' is unknown"),
    (lambda d: d["stems"]["a"].update(n_samples=-1), "greater than or equal to 0"),
    (lambda d: d["plan"]["stems"][0].update(sample_rate=0), "greater than or equal to 1"),
    (lambda d: d["plan"]["stems"][0].update(n_samples=1 << 70), "n_samples"),
    (lambda d: d["plan"]["tempo_map"].update(tempos="fast"), "tempo map"),
    (lambda d: d["plan"]["preset"].update(chain=3), "chain"),
    (lambda d: d["plan"].update(preset=None), "preset"),
    (lambda d: d["plan"].update(name="../../victim/x"), "not a plain file name"),
    (lambda d: d["plan"].update(name="a\0b"), "not a plain file name"),
    (lambda d: d["plan"]["stems"][0].update(target="a\0b"), "not the path of a file"),
    (lambda d: d["plan"]["stems"][0].update(target_subtype="NOPE"), "PCM_16"),
])  # fmt: skip
def test_every_field_is_checked_when_it_is_read(tmp_path: Path, damage: Any, says: str) -> None:
    """So that nothing that uses it finds something else in it."""
    plan = make_plan(tmp_path)
    render_plan(plan)
    path = manifest_path(plan)
    data = json.loads(path.read_text())
    damage(data)
    path.write_text(json.dumps(data))
    with pytest.raises(PlanError, match=says) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_under_the_journals_name_is_not_followed(tmp_path: Path) -> None:
    """It is taken away when the render begins, and what it led to stays as it was."""
    plan = make_plan(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    path = manifest_path(plan)
    path.parent.mkdir()
    path.with_name(f".{path.name}.finished").symlink_to(victim)
    assert render_plan(plan).failed == ()
    assert victim.read_bytes() == b"precious"
    assert not path.with_name(f".{path.name}.finished").is_symlink()
