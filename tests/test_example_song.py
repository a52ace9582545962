"""The example song is what its README says, and its script still makes it."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType

import mido
import numpy as np
import pyloudnorm
import pytest
import soundfile
from helpers.paths import SONG

STEMS = ("drums", "bass", "keys", "lead")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compose_song", SONG.parent / "compose_song.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compose_song"] = module
    spec.loader.exec_module(module)
    return module


def test_the_script_makes_the_very_song(script: ModuleType, tmp_path: Path) -> None:
    script.build_midi(script.compose()).save(tmp_path / "song.mid")

    assert (tmp_path / "song.mid").read_bytes() == (SONG / "song.mid").read_bytes()


def test_all_stems_share_start_rate_and_length(script: ModuleType) -> None:
    infos = [soundfile.info(SONG / f"{name}.flac") for name in STEMS]

    assert {(info.samplerate, info.channels, info.frames) for info in infos} == {
        (44100, 2, round(script.song_length_s() * 44100))
    }


@pytest.mark.parametrize("name", STEMS)
def test_levels_are_as_stated(name: str) -> None:
    stem, rate = soundfile.read(SONG / f"{name}.flac")

    assert 20 * np.log10(np.abs(stem).max()) < -3.0
    assert pyloudnorm.Meter(rate).integrated_loudness(stem) == pytest.approx(
        -23.5 if name == "drums" else -20.0, abs=0.1
    )


def test_the_midi_file_has_the_tempi_meters_markers_and_the_lane_it_promises() -> None:
    midi = mido.MidiFile(SONG / "song.mid")
    conductor, lane = midi.tracks[0], midi.tracks[-1]

    assert [round(mido.tempo2bpm(m.tempo)) for m in conductor if m.type == "set_tempo"] == [108, 126]
    meters = [(m.numerator, m.denominator) for m in conductor if m.type == "time_signature"]
    assert meters == [(4, 4), (7, 8), (4, 4)]
    assert [m.text for m in conductor if m.type == "marker"] == ["Intro", "Verse", "Turn", "Chorus", "End"]
    values = [m.value for m in lane if m.type == "control_change" and m.control == 1]
    assert (values[0], max(values), values[-1]) == (0, 127, 0)
    assert (100, 0) in itertools.pairwise(values)  # the cut at the turn
    assert not [m for m in lane if m.type == "note_on"]  # nothing on its channel can be bent by it
