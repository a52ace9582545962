"""Progress follows the work: half of the steps are half of the bar, whatever the windows and the depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.session import make_sound, write_preset

from bridge import build_plan, render_plan
from bridge.render.open_stem import OpenStem
from bridge.render.progress import Progress, WorkMeter

SAW = """
[[modulators]]
id = "saw"
type = "lfo"
shape = "saw_up"
rate = "2 s"

[[routes]]
source = "saw"
target = "dream.depth"
max = 3.0
"""


def fractions(folder: Path, sound: np.ndarray, *settings: str, more: str = "") -> list[float]:
    """Return what a render of a sound at 22.05 kHz tells while it dreams, step by step."""
    soundfile.write(folder / "stem.wav", sound, 22050, subtype="FLOAT")
    told: list[Progress] = []
    plan = build_plan(
        [folder / "stem.wav"],
        write_preset(folder, depth=0.0 if "routes" in more else 3.0, more=more),
        out_dir=folder / "out",
        settings=settings,
    )
    render_plan(plan, on_progress=told.append)
    return [one.fraction for one in told if one.phase == "render"]


DISABLED = """
[[chain]]
id = "unheard"
use = "dream"
enabled = false
params = { depth = 50.0 }
"""
SECOND = """
[[chain]]
id = "second"
use = "dream"
params = { network = "texture", objective = "layer:frames4", depth = 1.5, window_s = 1.3, fade_s = 0.2 }
"""


@pytest.mark.parametrize("more", ["", SAW, DISABLED, SECOND], ids=["steady", "moving", "disabled", "second"])
@pytest.mark.parametrize("window", ["0.5", "0.7", "4.0"])
@pytest.mark.parametrize("seconds", [0.3, 4.17])
def test_every_step_is_foreseen(
    tmp_path: Path, seconds: float, window: str, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a sound that is never silent, exactly as many steps are taken as were counted before."""
    meters: list[Counting] = []

    class Counting(WorkMeter):
        n_taken = 0

        def expect(self, opened: OpenStem) -> None:
            super().expect(opened)
            meters.append(self)

        def on_step(self, report: object) -> None:
            self.n_taken += 1

    monkeypatch.setattr("bridge.render.stem_render.WorkMeter", Counting)
    settings = [f"dream.window_s={window}", "dream.fade_s=0.11"]
    fractions(tmp_path, make_sound(seconds, 22050, 1), *settings, more=more)

    assert [meter.n_steps for meter in meters] == [meter.n_taken for meter in meters] != [0]


@pytest.mark.parametrize("more", ["", SAW], ids=["steady", "moving"])
@pytest.mark.parametrize("windows", [("dream.window_s=0.5",), ("dream.window_s=4.0",)], ids="".join)
def test_half_of_the_work_is_half_of_the_bar(tmp_path: Path, windows: tuple[str, ...], more: str) -> None:
    """The bar rises evenly with the steps, and is full when the last one is taken.

    A tenth of it is for reading, which is ahead here: 0.1. A window more or less of a few: 0.1.
    """
    found = fractions(tmp_path, make_sound(10.0, 22050, 1), *windows, more=more)

    assert found == sorted(found)
    assert found[len(found) // 3] == pytest.approx(1 / 3, abs=0.22)
    assert found[len(found) // 2] == pytest.approx(1 / 2, abs=0.22)
    assert found[-2] >= 0.85
    assert found[-1] == 0.99


def test_windows_of_silence_are_not_waited_for(tmp_path: Path) -> None:
    """Where three quarters of a stem are silent no step is taken, and the bar does not end at a quarter."""
    sound = make_sound(24.0, 22050, 1)
    sound[: 18 * 22050] = 0.0
    found = fractions(tmp_path, sound, "dream.window_s=0.5")

    assert found == sorted(found)
    assert found[-1] > 0.9


def test_without_a_dream_the_bar_follows_the_reading(tmp_path: Path) -> None:
    """Samples read are what there is to count."""
    found = fractions(tmp_path, make_sound(12.0, 22050, 1), "dream.depth=0")
    block = 65536 / (12 * 22050)

    assert found == pytest.approx([block, 2 * block, 3 * block, 0.99, 0.99])
