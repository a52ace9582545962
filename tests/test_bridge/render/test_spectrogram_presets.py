"""The presets `auditory-dreamer` and `what-it-hears`, as renders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.paths import SONG

from bridge import ClockSettings, build_plan, render_plan
from bridge.render.results import StemResult
from dream_core import DreamSettings, dream, load_network
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective

RATE = 44100
PUBLISHED = DreamSettings(
    objective="layer:block3", update="mel", resynthesis="griffin_lim_full", window_s=1.0, jitter=False,
    context=False, guard=False, peak_guard=0.0,
)  # fmt: skip
"""The gradient of length one, ten times, on a second of powers at a time; phases from anywhere; all of it."""


def render(
    tmp_path: Path, preset: str, stem: str, seconds: float, variation: str | None = None
) -> tuple[np.ndarray, StemResult]:
    """Return a stem as it is, and how its render went, at 240 beats a minute."""
    sound, rate = soundfile.read(
        SONG / f"{stem}.flac", stop=round(seconds * RATE), dtype="float32", always_2d=True
    )
    assert rate == RATE
    soundfile.write(tmp_path / "stem.wav", sound, rate, subtype="FLOAT")
    plan = build_plan(
        [tmp_path / "stem.wav"],
        preset,
        clock=ClockSettings(bpm=240.0),
        out_dir=tmp_path / "out",
        variation=variation,
    )
    report = render_plan(plan)
    assert report.failed == ()
    return np.ascontiguousarray(sound.T), report.stems[0]


def delivered(stem: StemResult) -> np.ndarray:
    return np.ascontiguousarray(soundfile.read(stem.target, dtype="float32", always_2d=True)[0].T)


def score(sound: np.ndarray, objective: str = "layer:block3") -> float:
    listener = Listener(load_network("timbre"), parse_objective(objective), RATE)
    with torch.no_grad():
        return float(listener.score(torch.from_numpy(sound).mean(dim=0, keepdim=True))[0])


def test_the_auditory_dreamer_is_the_published_dream_at_the_stems_level(tmp_path: Path) -> None:
    """But for a gain it is the dream of the published settings written out, and its layer answers more."""
    sound, stem = render(tmp_path, "auditory-dreamer", "keys", 2.5)
    out = delivered(stem)
    written = dream(sound, RATE, load_network("timbre"), PUBLISHED, 10.0)
    gain = float(np.sum(out * written) / np.sum(written**2))

    # 24 bits, and a limiter that may hold single peaks.
    assert np.std(out[:, : written.shape[1]] - gain * written) < 0.02 * np.std(out)
    assert score(out) > score(sound) + 0.02
    assert stem.record is not None
    assert abs(stem.record.after["integrated_lufs"] - stem.record.before["integrated_lufs"]) <= 1.0


@pytest.mark.parametrize("variation", ["filter", "clean"])
def test_its_variations_dream_too(tmp_path: Path, variation: str) -> None:
    sound, stem = render(tmp_path, "auditory-dreamer", "keys", 2.0, variation)

    assert score(delivered(stem)) > score(sound)


@pytest.mark.parametrize("variation", [None, "rest"])
def test_what_it_hears_fades_to_what_a_filter_answers_to(tmp_path: Path, variation: str | None) -> None:
    """The first moment is the stem; after four bars of one second it is what is heard of it, no more."""
    sound, stem = render(tmp_path, "what-it-hears", "drums", 5.0, variation)
    out = delivered(stem)
    update = "hear_inverted" if variation else "hear"
    settings = DreamSettings(objective="channel:block3:auto", update=update, sharpness=2.0)
    heard = dream(sound, RATE, load_network("timbre"), settings, 1.0)
    first, middle = slice(0, RATE // 10), slice(round(3.98 * RATE), round(4.02 * RATE))

    def apart(part: slice, other: np.ndarray) -> float:
        """Return what is left of a moment when the other is taken away at its level, as a share of it."""
        ours, theirs = out[:, part], other[:, part]
        gain = np.sum(ours * theirs) / np.sum(theirs**2)
        return float(np.std(ours - gain * theirs) / np.std(ours))

    assert apart(first, sound) < 0.05
    assert apart(middle, heard) < 0.05
    assert apart(middle, sound) > 4 * apart(middle, heard)
