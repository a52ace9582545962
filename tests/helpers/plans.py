"""A small plan without dreams: three stems of noise through a reverb."""

from __future__ import annotations

from pathlib import Path

from helpers.audio import noise

from bridge.audio.writer import AudioWriter
from bridge.plan.model import Plan
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset

PRESET = {
    "format": "reverie/preset",
    "version": 1,
    "uuid": "11111111-2222-3333-4444-555555555555",
    "meta": {"name": "Room", "category": "Space"},
    "chain": [{"id": "room", "use": "reverb"}],
}


def make_plan(folder: Path, *, align: bool = True, name: str = "Room", **tables: object) -> Plan:
    """Plan three stems, which are written where they are not there; tables go into the preset."""
    stems = [folder / f"{stem}.wav" for stem in ("a", "b", "c")]
    for index, path in enumerate(stems):
        if not path.exists():
            with AudioWriter(path, sample_rate=48000, n_channels=1) as writer:
                writer.write(noise(20_000, seed=index))
    preset = {**PRESET, "meta": {"name": name, "category": "Space"}, **tables}
    return build_plan(stems, parse_preset(preset, "test"), out_dir=folder / "out", align=align)
