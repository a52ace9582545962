"""The examples do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mido
import pytest
from helpers.paths import ROOT
from helpers.session import write_midi, write_preset, write_stem

from bridge import build_plan, render_plan

SWELL = """
[[modulators]]
id = "swell"
type = "lfo"
rate = "1 bar"

[[routes]]
source = "swell"
target = "dream.depth"
max = 2.0
"""


def test_stems_are_drawn_before_and_after(tmp_path: Path) -> None:
    """A render's manifest becomes one picture a stem."""
    pytest.importorskip("matplotlib", reason="the pictures need the plot extra")
    song = write_midi(tmp_path / "song.mid", [(480, mido.MetaMessage("marker", text="Verse"))])
    plan = build_plan(
        [write_stem(tmp_path / "lead.wav")],
        write_preset(tmp_path, more=SWELL),
        midi=song,
        out_dir=tmp_path / "out",
    )
    report = render_plan(plan)
    script = ROOT / "examples" / "before_after.py"
    subprocess.run([sys.executable, str(script), str(report.manifest)], cwd=ROOT, check=True)

    assert (tmp_path / "out" / "lead.png").stat().st_size > 10_000
