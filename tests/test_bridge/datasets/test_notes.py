"""Notes of recordings: read from notes.csv, kept in prepared sets in each segment's own time."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.datasets import RATE
from helpers.vst3 import EFFECT, INSTRUMENT, needs_plugins

from bridge.datasets.instruments import PluginSound
from bridge.datasets.notes import NoteSettings, render_instruments
from bridge.datasets.played import read_played
from bridge.datasets.prepare import PrepareSettings, prepare_table
from bridge.errors import InputError
from dream_core.errors import DataError
from dream_core.frontend.log_mel import LogMel
from dream_core.names import key_hz
from dream_core.training.augmentation import level_to
from dream_core.training.encoded import encoding_for
from dream_core.training.learners import learner_for

SHORT = PrepareSettings(sample_rate=8000, segment_s=0.5, stretches=False)


def _recordings(folder: Path, start_s: float = 0.4, labels: tuple[str, ...] = ("a", "b")) -> Path:
    """Three groups a class: silence, then a tone from `start_s` on for a second; the notes say when."""
    rows, notes = [], []
    for label in labels:
        for number in range(3):
            time_s = np.arange(round((start_s + 1.0) * RATE)) / RATE
            key = 60 + 3 * number + (label == "b")
            tone = 0.5 * np.sin(2 * np.pi * key_hz(key) * time_s) * (time_s >= start_s)
            folder.mkdir(exist_ok=True)
            soundfile.write(folder / f"{label}{number}.wav", tone, RATE)
            rows.append(f"{label}{number}.wav,{label},{label}{number},{key}")
            # The key is held longer than it sounds.
            notes.append(f"{label}{number}.wav,{key},90,{start_s},9.0")
    (folder / "data.csv").write_text("path,label,group,pitch\n" + "\n".join(rows) + "\n")
    (folder / "notes.csv").write_text("path,pitch,velocity,start_s,end_s\n" + "\n".join(notes) + "\n")
    return folder / "data.csv"


def test_notes_of_a_segment_are_in_its_own_time_and_end_with_the_sound(tmp_path: Path) -> None:
    """The silence before the tone is cut off, so its key is down from the first segment's first sample on."""
    kept = prepare_table(_recordings(tmp_path / "in"), tmp_path / "out", SHORT).segments
    block_s = 256 / 8000

    assert kept.notes is not None
    for row in range(len(kept)):
        path = kept.path_names[kept.paths[row]]
        first = int(kept.notes.firsts[row])
        assert int(kept.notes.firsts[row + 1]) == first + 1
        assert kept.notes.pitches[first] == kept.pitches[row]
        sounding = np.flatnonzero(np.abs(kept.stored(np.array([row]))[0]) > 100) / 8000
        begins, ends = kept.notes.starts_s[first], kept.notes.ends_s[first]
        assert max(0.0, begins) == pytest.approx(sounding[0], abs=block_s), path
        assert min(0.5, ends) == pytest.approx(sounding[-1], abs=block_s), path


def test_a_set_whose_notes_are_damaged_is_not_opened(tmp_path: Path) -> None:
    from dream_core.training.segments import open_segments

    prepare_table(_recordings(tmp_path / "in"), tmp_path / "out", SHORT)
    notes = tmp_path / "out" / "notes.csv"
    notes.write_text(notes.read_text().replace("60", "61"))
    with pytest.raises(DataError, match=r"notes\.csv: damaged"):
        open_segments(tmp_path / "out")


def test_a_set_without_notes_has_none(tmp_path: Path) -> None:
    table = _recordings(tmp_path / "in")
    table.with_name("notes.csv").unlink()
    kept = prepare_table(table, tmp_path / "out", SHORT).segments

    assert kept.notes is None
    assert not (tmp_path / "out" / "notes.csv").exists()
    assert "notes_sha256" not in (tmp_path / "out" / "prepared.toml").read_text()


def test_every_line_of_notes_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("path,pitch,velocity,start_s,end_s\na,200,1,0,1\na,60,1,2,1\na,x,1,0,1\na,60,1,0,1\n")
    with pytest.raises(InputError, match=r"line 2: pitch 200 .*line 3: .*line 4: .*numbers"):
        read_played(path)
    path.write_text("path,pitch\n")
    with pytest.raises(InputError, match="lacks the columns velocity, start_s, end_s"):
        read_played(path)
    assert read_played(tmp_path / "none.csv") == {}


def test_log_mel_frames_that_are_kept_are_those_of_the_sounds(tmp_path: Path) -> None:
    """A third as large; float16 is exact to a thousandth, -4.6..8 nats are kept."""
    table = _recordings(tmp_path / "in")
    sounds = prepare_table(table, tmp_path / "sounds", SHORT).segments
    settings = PrepareSettings(sample_rate=8000, segment_s=0.5, stretches=False, encode="log_mel")
    frames = prepare_table(table, tmp_path / "frames", settings).segments
    rows = np.arange(len(sounds))

    levelled = level_to(sounds.sounds(rows), sounds.sounds(rows).new_tensor(-20.0))
    wanted = LogMel(encoding_for(8000))(levelled)
    np.testing.assert_allclose(frames.frames(rows), wanted, atol=5e-3)
    assert frames.sha256 != sounds.sha256
    with pytest.raises(DataError, match="keeps log-mel frames and no sounds"):
        frames.sounds(rows)
    # What a network of that front end is given without augmentation is the start of the same frames.
    learner = learner_for("mel_full", {"widths": "4", "patch_frames": "20"}, frames, "x", 0)
    np.testing.assert_array_equal(learner.plain(rows), frames.frames(rows)[:, :20])


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("wave_plain", {}, "kind wave_plain hears sounds"),
        ("keys", {}, "kind keys hears sounds"),
        ("mel_timbral", {}, "frontend = musicnn does not hear the log-mel frames"),
        ("mel_full", {"n_mels": "40"}, "n_mels 40, not 64"),
        ("mel_full", {"patch_frames": "500"}, "take fewer, or prepare longer segments"),
    ],
)
def test_networks_that_hear_otherwise_are_refused_kept_frames(
    tmp_path: Path, kind: str, options: dict[str, str], told: str
) -> None:
    from dream_core.errors import SettingError

    settings = PrepareSettings(sample_rate=8000, segment_s=0.5, stretches=False, encode="log_mel")
    kept = prepare_table(_recordings(tmp_path / "in"), tmp_path / "out", settings).segments
    with pytest.raises(SettingError, match=told):
        learner_for(kind, options, kept, "x", 0)


class TestPlugins:
    """VST3 instruments render notes with the times at which they sound."""

    pytestmark = needs_plugins

    def test_a_plugins_notes_sound_from_their_start_to_their_end(self, tmp_path: Path) -> None:
        """The instrument is a sine a note, gated to the sample."""
        settings = NoteSettings(n_notes=3, n_chords=1, seed=4)
        rendered = render_instruments([], [PluginSound(plugin=str(INSTRUMENT))], tmp_path / "set", settings)

        assert {one.group for one in rendered.recordings} == {"Conformance Instrument default"}
        with (tmp_path / "set" / "notes.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        singles = [line for line in lines if sum(one["path"] == line["path"] for one in lines) == 1]
        assert len(singles) == 3
        for line in singles:
            sound, rate = soundfile.read(tmp_path / "set" / line["path"])
            sounding = np.flatnonzero(np.abs(sound) > 0.01)
            # One period of the lowest key is 24 ms, in which a sine is near 0 once.
            assert sounding[-1] / rate == pytest.approx(float(line["end_s"]), abs=0.012)
            assert sounding[0] / rate == pytest.approx(0.0, abs=0.012)
            spectrum = np.abs(np.fft.rfft(sound[: round(float(line["end_s"]) * rate)], 1 << 17))
            assert spectrum.argmax() * rate / (1 << 17) == pytest.approx(key_hz(int(line["pitch"])), rel=0.03)

    def test_effects_unknown_plugins_and_doubles_are_refused(self, tmp_path: Path) -> None:
        for plugins, told in (
            ([PluginSound(plugin=str(EFFECT))], "is an effect and plays no notes"),
            ([PluginSound(plugin=str(INSTRUMENT))] * 2, "is given twice"),
            ([], "nothing plays"),
        ):
            with pytest.raises(InputError, match=told):
                render_instruments([], plugins, tmp_path / "set")
            assert not (tmp_path / "set").exists()
