"""Frequencies above half of a stem's rate: the plan tells, the render holds them and succeeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.audio import noise

from bridge.audio.reader import read_audio
from bridge.audio.writer import AudioWriter
from bridge.clock.settings import ClockSettings
from bridge.plan.model import Plan
from bridge.plan.planner import build_plan
from bridge.presets.model import Preset, parse_preset
from bridge.render.manifest import read_manifest
from bridge.render.runner import render_plan

FACTORY = (
    "lucid-bloom",
    "snare-apparition",
    "undertow",
    "four-floor-hypnosis",
    "tape-dreams",
    "null-reference",
)


def make_plan(folder: Path, rate: int, preset: Preset | str, n_stems: int = 1, seconds: float = 0.6) -> Plan:
    stems = [folder / f"{index}-{rate}.wav" for index in range(n_stems)]
    for index, path in enumerate(stems):
        with AudioWriter(path, sample_rate=rate, n_channels=2, subtype="FLOAT") as writer:
            writer.write(noise(round(seconds * rate), 2, seed=index))
    return build_plan(
        stems, preset, out_dir=folder / f"out-{rate}", clock=ClockSettings(bpm=120), threads=1, device="cpu"
    )


def moving_filter(**route: float) -> Preset:
    return parse_preset(
        {
            "format": "reverie/preset",
            "version": 1,
            "uuid": "11111111-2222-3333-4444-555555555555",
            "meta": {"name": "Moving", "category": "Utility"},
            "chain": [
                {"id": "low", "use": "lowpass_filter", "params": {"cutoff_frequency_hz": 9000.0}},
                {"id": "moved", "use": "highpass_filter"},
                {"id": "off", "use": "peak_filter", "enabled": False, "params": {"cutoff_frequency_hz": 2e4}},
            ],
            "modulators": [{"id": "m", "type": "lfo", "shape": "sine", "rate": "8 Hz"}],
            "routes": [
                {"source": "m", "target": "moved.cutoff_frequency_hz", "op": "replace", "min": 20.0, **route}
            ],
        },
        "test",
    )


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_each_is_told_once_with_the_node(tmp_path: Path, rate: int) -> None:
    """For several stems too: what is given, or the highest that an envelope reaches, and what is used."""
    plan = make_plan(tmp_path, rate, moving_filter(max=12000.0), n_stems=3)
    limit = 0.49 * rate
    told = [text for text in plan.warnings if "too high" in text]

    if rate == 44100:
        assert told == []
        return
    set_text = (
        f"node 'low': cutoff_frequency_hz = 9000 Hz is too high for sound at {rate} Hz; {limit:g} Hz is used"
    )
    assert told[0] == set_text
    assert told[1].startswith("node 'moved': cutoff_frequency_hz = 12000 Hz")
    assert len(told) == 2
    report = render_plan(plan)
    assert report.failed == ()
    assert set_text in read_manifest(report.manifest).plan.warnings


def test_what_stays_low_is_not_told(tmp_path: Path) -> None:
    """A route that could go higher but does not reach it."""
    plan = make_plan(tmp_path, 44100, moving_filter(max=20000.0))

    assert not [text for text in plan.warnings if "too high" in text]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("name", FACTORY)
def test_factory_presets_render_files_of_low_rates(tmp_path: Path, name: str, rate: int) -> None:
    """Without a failure, and without a word from a processor: the plan has said it."""
    plan = make_plan(tmp_path, rate, f"factory:{name}")
    report = render_plan(plan)

    assert report.failed == ()
    assert not any("too high" in text for text in report.stems[0].warnings)
    assert read_audio(report.stems[0].target)[0].any()
