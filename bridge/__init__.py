"""Reverie's bridge: files -> plan -> processors -> files.

The names below are what is promised; modules can be imported too. Nothing heavy is loaded until a name is
used: importing the package imports neither Torch nor pedalboard.

- in Python       ``Chain``, ``Mix``, ``Node``, ``Dream``, ``Dreams``, ``Grow``, ``Noise``, ``VST3``
- whole sessions  ``load_preset``, ``build_plan``, ``render_plan``, ``read_manifest``;
  what a render tells: ``Progress``, ``StemResult``, ``RenderReport``
- batches         ``Job``, ``read_jobs``, ``build_batch``, ``render_plans``
- the clock       ``ClockSettings``, ``read_tempo_map``, ``read_midi``, ``to_mido``, ``from_mido``
- what moves      ``stem_envelopes``, ``build_preset_envelopes``, ``stem_song``
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.clock.settings import ClockSettings
    from bridge.clock.tempo_map import TempoMap
    from bridge.envelopes.song import Song
    from bridge.errors import ReverieError
    from bridge.midi.file import read_midi
    from bridge.midi.mido_files import from_mido, to_mido
    from bridge.midi.song_clock import read_tempo_map
    from bridge.plan.job import Job
    from bridge.plan.job_list import build_batch, read_jobs
    from bridge.plan.model import Plan, StemPlan
    from bridge.plan.planner import build_plan
    from bridge.plan.stem_envelopes import build_preset_envelopes, stem_envelopes, stem_song
    from bridge.presets.load import load_preset, read_preset
    from bridge.presets.model import Preset
    from bridge.processors.chain import Chain, Node
    from bridge.processors.dream import Dream
    from bridge.processors.dreams import Dreams
    from bridge.processors.grow import Grow
    from bridge.processors.mix import Mix
    from bridge.processors.noise import Noise
    from bridge.processors.vst3 import VST3
    from bridge.render.manifest import Manifest, read_manifest
    from bridge.render.progress import Progress
    from bridge.render.results import RenderReport, StemResult
    from bridge.render.runner import render_plan, render_plans

__all__ = [
    "VST3",
    "Chain",
    "ClockSettings",
    "Dream",
    "Dreams",
    "Grow",
    "Job",
    "Manifest",
    "Mix",
    "Node",
    "Noise",
    "Plan",
    "Preset",
    "Progress",
    "RenderReport",
    "ReverieError",
    "StemResult",
    "TempoMap",
    "build_batch",
    "build_plan",
    "build_preset_envelopes",
    "from_mido",
    "load_preset",
    "read_jobs",
    "read_manifest",
    "read_midi",
    "read_preset",
    "read_tempo_map",
    "render_plan",
    "render_plans",
    "stem_envelopes",
    "stem_song",
    "to_mido",
]

_HOMES = {
    "VST3": "processors.vst3",
    "Chain": "processors.chain",
    "ClockSettings": "clock.settings",
    "Dream": "processors.dream",
    "Dreams": "processors.dreams",
    "Grow": "processors.grow",
    "Job": "plan.job",
    "Manifest": "render.manifest",
    "Mix": "processors.mix",
    "Node": "processors.chain",
    "Noise": "processors.noise",
    "Plan": "plan.model",
    "Preset": "presets.model",
    "Progress": "render.progress",
    "RenderReport": "render.results",
    "ReverieError": "errors",
    "StemResult": "render.results",
    "TempoMap": "clock.tempo_map",
    "build_batch": "plan.job_list",
    "build_plan": "plan.planner",
    "build_preset_envelopes": "plan.stem_envelopes",
    "from_mido": "midi.mido_files",
    "load_preset": "presets.load",
    "read_jobs": "plan.job_list",
    "read_manifest": "render.manifest",
    "read_midi": "midi.file",
    "read_preset": "presets.load",
    "read_tempo_map": "midi.song_clock",
    "render_plan": "render.runner",
    "render_plans": "render.runner",
    "stem_envelopes": "plan.stem_envelopes",
    "stem_song": "plan.stem_envelopes",
    "to_mido": "midi.mido_files",
}


_RENAMED = {"plan_envelopes": "build_preset_envelopes"}
"""Names of the last release and what they are called now."""


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        import warnings

        new = _RENAMED[name]
        warnings.warn(f"bridge.{name} is called bridge.{new} now", DeprecationWarning, stacklevel=2)
        name = new
    if name == "read_song":
        return _read_song
    if name in _HOMES:
        return getattr(importlib.import_module(f"bridge.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'bridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _read_song(plan: Plan, stem: StemPlan) -> Song:
    """Return what a stem's envelopes follow; the name of the last release for `stem_song`."""
    import warnings

    from bridge.plan.stem_envelopes import stem_song

    message = "bridge.read_song(plan, stem) is bridge.stem_song(plan, stem, plan.load_midi()) now"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return stem_song(plan, stem, plan.load_midi())
