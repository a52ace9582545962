"""Renders of dreams that move in time with the song."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from helpers.session import write_preset

from bridge import Chain, build_plan, render_plan
from bridge.errors import ProcessorError, ReverieError
from bridge.presets.load import load_preset
from bridge.presets.model import Preset, parse_preset
from bridge.processors.dream import Dream

RATE = 22050
DREAM = {"network": "texture", "objective": "layer:frames4", "depth": 2.0, "motion_rate": "1/8"}


def preset(folder: Path, **params: object) -> Preset:
    data = load_preset(write_preset(folder, more='[level]\nmode = "keep"')).to_dict()
    data["chain"][0]["params"] = {**DREAM, **params}
    return parse_preset(data, "test")


def write_tone(path: Path) -> np.ndarray:
    t = np.arange(3 * RATE) / RATE
    tone = 0.1 * np.sum([np.sin(2 * np.pi * k * 220 * t) / k for k in range(1, 20)], axis=0)
    soundfile.write(path, tone.astype(np.float32), RATE, subtype="FLOAT")
    return tone.astype(np.float32)


def write_song(path: Path) -> Path:
    """Write one beat at 120 to the minute, then 60."""
    song = mido.MidiFile(type=1, ticks_per_beat=480)
    tempos = [
        mido.MetaMessage("set_tempo", tempo=500_000),
        mido.MetaMessage("set_tempo", tempo=10**6, time=480),
    ]
    song.tracks.append(mido.MidiTrack([*tempos, mido.MetaMessage("end_of_track", time=4800)]))
    song.save(path)
    return path


def test_a_dream_swings_with_the_songs_tempo(tmp_path: Path) -> None:
    """The render is the dream with a lane of eighths, four a second and after a beat two, to the sample."""
    tone = write_tone(tmp_path / "pad.wav")
    plan = build_plan(
        [tmp_path / "pad.wav"],
        preset(tmp_path),
        midi=write_song(tmp_path / "song.mid"),
        out_dir=tmp_path / "out",
    )
    report = render_plan(plan)
    rendered = soundfile.read(plan.stems[0].target, dtype="float32")[0]
    time_s = np.arange(len(tone)) / RATE
    eighths = np.where(time_s < 0.5, 4.0 * time_s, 2.0 + 2.0 * (time_s - 0.5))
    dreamed = Dream(**DREAM).process(tone[None], RATE, automation={"cycles": eighths})[0]  # type: ignore[arg-type]
    still = Dream(**{**DREAM, "motion_rate": ""}).process(tone[None], RATE)[0]  # type: ignore[arg-type]

    assert report.failed == ()
    # 1e-6: the clock reckons in ticks, the lane here in seconds.
    np.testing.assert_allclose(rendered, dreamed, atol=1e-6)
    assert np.abs(dreamed - still).max() > 1e-3


def test_a_plan_without_a_tempo_tells_which_one_it_takes(tmp_path: Path) -> None:
    """As for anything that is in time with a song."""
    write_tone(tmp_path / "pad.wav")
    plan = build_plan([tmp_path / "pad.wav"], preset(tmp_path), out_dir=tmp_path / "out")
    assert any("no tempo was given: 120 BPM" in warning for warning in plan.warnings)


def test_a_dream_in_time_without_a_clock_says_what_to_give() -> None:
    """Alone, or in a chain: nobody tells the time there."""
    sound = np.zeros((1, RATE), np.float32)
    dream = Dream(**DREAM)  # type: ignore[arg-type]
    for processor in (dream, Chain([dream])):
        with pytest.raises(ProcessorError, match="motion_rate = '1/8', and no clock"):
            processor.process(sound, RATE)


def test_a_rate_that_is_none_is_refused(tmp_path: Path) -> None:
    """Before anything is rendered."""
    write_tone(tmp_path / "pad.wav")
    with pytest.raises(ReverieError, match="'soon' is not a rate"):
        build_plan([tmp_path / "pad.wav"], preset(tmp_path, motion_rate="soon"), out_dir=tmp_path / "out")
