"""A report shows a ladder: each depth as a picture and as sound."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.session import write_stem

from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.render.manifest import read_manifest
from bridge.render.runner import render_plan
from bridge.report.page import build_report

PRESET = {
    "format": "reverie/preset",
    "version": 2,
    "uuid": "00000000-0000-4000-8000-000000000025",
    "meta": {"name": "climb", "category": "Utility"},
    "chain": [
        {
            "id": "dream",
            "use": "dream",
            "params": {"network": "texture", "objective": "layer:frames4", "depth": 3.0},
        }
    ],
}


def test_each_depth_is_seen_and_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loudness is told, and what is played is the same stretch of its file as of the stem's."""
    monkeypatch.setattr("bridge.report.page.PREVIEW_S", 1.5)
    stem = write_stem(tmp_path / "a.wav", seconds=2.0)
    plan = build_plan([stem], parse_preset(PRESET, "test"), out_dir=tmp_path / "out", ladder=(1, 2))
    manifest = read_manifest(render_plan(plan).manifest)
    page = build_report(manifest)
    start_s = float(re.findall(r'data-start="([\d.]+)"', page)[0])
    sounds = re.findall(r'<audio [^>]*src="data:audio/flac;base64,([^"]+)"', page)

    assert len(sounds) == 2
    assert "At a depth of 1 step:" in page
    assert page.count('alt="Spectrogram at a depth of') == 2
    for depth, sound in zip((1, 2), sounds, strict=True):
        heard, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)))
        file, _ = soundfile.read(tmp_path / "out" / f"a__climb.depth{depth:02d}.wav")
        # 1.5 s for one stem and two depths: half a second each.
        assert len(heard) == round(0.5 * rate)
        first = round(start_s * rate)
        np.testing.assert_allclose(heard, file[first : first + len(heard)], atol=2**-15)
        assert f"{manifest.stems['a'].ladder[depth].after['integrated_lufs']:.1f} LUFS" in page
