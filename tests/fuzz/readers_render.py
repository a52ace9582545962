"""What a render left beside its outputs: manifests, and the journal of one that was killed."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from helpers.plans import make_plan

from bridge.plan.output_names import manifest_path
from bridge.render.daw_tracks import build_rendered_stems
from bridge.render.manifest import read_manifest
from bridge.render.runner import render_plan
from bridge.report.page import write_report
from fuzz.reader import Reader

__all__ = ["RENDER_READERS"]


@functools.cache
def _session() -> tempfile.TemporaryDirectory[str]:
    """A render that stays while the process does: a manifest's reader looks at its stems."""
    return tempfile.TemporaryDirectory()


@functools.cache
def _manifest() -> bytes:
    plan = make_plan(Path(_session().name))
    render_plan(plan)
    return manifest_path(plan).read_bytes()


def _manifests() -> Mapping[str, bytes]:
    return {"Room.manifest.json": _manifest()}


def _journals() -> Mapping[str, bytes]:
    stems = json.loads(_manifest())["stems"]
    lines = (json.dumps({"name": name, "record": record}) + "\n" for name, record in stems.items())
    return {".Room.manifest.json.finished": "".join(lines).encode()}


def _read_journal(path: Path) -> object:
    manifest = path.with_name("Room.manifest.json")
    if not manifest.exists():
        manifest.write_bytes(_manifest())
    return read_manifest(manifest)


def _read_whole(path: Path) -> object:
    """As `report` and `session folder` do: whatever is in a manifest is used."""
    manifest = read_manifest(path)
    write_report(manifest, path.with_name("report.html"), overwrite=True)
    return build_rendered_stems(manifest)


RENDER_READERS = (
    Reader(name="manifest", seeds=_manifests, read=_read_whole),
    Reader(name="journal", seeds=_journals, read=_read_journal),
)
