"""What a render left beside its outputs: manifests, and the journal of one that was killed."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from helpers.plans import make_plan

from bridge.plan.output_names import manifest_path
from bridge.render.manifest import read_manifest
from bridge.render.runner import render_plan
from fuzz.reader import Reader

__all__ = ["RENDER_READERS"]


@functools.cache
def _manifest() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(Path(folder))
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


RENDER_READERS = (
    Reader(name="manifest", seeds=_manifests, read=read_manifest),
    Reader(name="journal", seeds=_journals, read=_read_journal),
)
