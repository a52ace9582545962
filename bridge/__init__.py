"""Reverie's bridge: files -> plan -> processors -> files.

The names below are what is promised; modules can be imported too. Nothing heavy is loaded until a name is
used: importing the package imports neither Torch nor pedalboard.

- in Python       ``Chain``, ``Mix``, ``Node``, ``Dream``, ``VST3``
- whole sessions  ``load_preset``, ``build_plan``, ``render_plan``, ``read_manifest``
- batches         ``Job``, ``read_jobs``, ``build_batch``, ``render_plans``
- the clock       ``ClockSettings``, ``read_tempo_map``, ``plan_envelopes``
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.clock.settings import ClockSettings
    from bridge.clock.tempo_map import TempoMap
    from bridge.errors import ReverieError
    from bridge.midi.song_clock import read_tempo_map
    from bridge.plan.job_list import Job, build_batch, read_jobs
    from bridge.plan.model import Plan
    from bridge.plan.plan_envelopes import plan_envelopes, read_song
    from bridge.plan.planner import build_plan
    from bridge.presets.load import load_preset, read_preset
    from bridge.presets.model import Preset
    from bridge.processors.chain import Chain, Node
    from bridge.processors.dream import Dream
    from bridge.processors.mix import Mix
    from bridge.processors.vst3 import VST3
    from bridge.render.manifest import Manifest, read_manifest
    from bridge.render.results import RenderReport
    from bridge.render.runner import render_plan, render_plans

__all__ = [
    "VST3",
    "Chain",
    "ClockSettings",
    "Dream",
    "Job",
    "Manifest",
    "Mix",
    "Node",
    "Plan",
    "Preset",
    "RenderReport",
    "ReverieError",
    "TempoMap",
    "build_batch",
    "build_plan",
    "load_preset",
    "plan_envelopes",
    "read_jobs",
    "read_manifest",
    "read_preset",
    "read_song",
    "read_tempo_map",
    "render_plan",
    "render_plans",
]

_HOMES = {
    "VST3": "processors.vst3",
    "Chain": "processors.chain",
    "ClockSettings": "clock.settings",
    "Dream": "processors.dream",
    "Job": "plan.job_list",
    "Manifest": "render.manifest",
    "Mix": "processors.mix",
    "Node": "processors.chain",
    "Plan": "plan.model",
    "Preset": "presets.model",
    "RenderReport": "render.results",
    "ReverieError": "errors",
    "TempoMap": "clock.tempo_map",
    "build_batch": "plan.job_list",
    "build_plan": "plan.planner",
    "load_preset": "presets.load",
    "plan_envelopes": "plan.plan_envelopes",
    "read_jobs": "plan.job_list",
    "read_manifest": "render.manifest",
    "read_preset": "presets.load",
    "read_song": "plan.plan_envelopes",
    "read_tempo_map": "midi.song_clock",
    "render_plan": "render.runner",
    "render_plans": "render.runner",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"bridge.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'bridge' has no attribute {name!r}")
