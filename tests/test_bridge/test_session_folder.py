"""The exchange folder lines up, and its song says what the session said."""

from __future__ import annotations

import io
from pathlib import Path

import mido
import numpy as np
import pytest

from bridge.audiofile import AudioWriter
from bridge.errors import InputError, OutputError
from bridge.midifile import parse_midi
from bridge.midilanes import read_lane
from bridge.session import RenderedStem
from bridge.session.folder import write_exchange_folder
from bridge.session.songmidi import DepthLane, build_song_midi, thin_lane
from bridge.tempo import TempoMap, build_tempo_map, read_tempo_map

SONG = TempoMap.from_points(
    [(0, 120, "hold"), (16, 120, "beats"), (24, 90, "hold"), (40, 140, "time"), (44, 100, "hold")],
    [(0, 4, 4), (8, 7, 8), (15, 4, 4)],
    [(0, "Verse"), (16, "Chörus")],
)


def stem(folder: Path, name: str, n_samples: int = 480_000, **more: object) -> RenderedStem:
    path = folder / f"{name}.wav"
    with AudioWriter(path, sample_rate=48000, n_channels=1) as writer:
        writer.write(np.zeros((1, n_samples), np.float32))
    return RenderedStem(source_track=name, name=name, audio=path, **more)  # type: ignore[arg-type]


def test_the_song_keeps_time_through_ramps() -> None:
    """Read back, every 1/32 note lies within 50 microseconds of the original, in and after both ramps."""
    found = build_tempo_map(parse_midi(build_song_midi(SONG, [], 60)))
    beats = np.arange(0, 60, 1 / 8)
    np.testing.assert_allclose(found.beats_to_seconds(beats), SONG.beats_to_seconds(beats), atol=5e-5)
    assert [str(m) for m in found.meters] == ["4/4", "7/8", "4/4"]
    assert [(m.name, m.beats) for m in found.markers] == [("Verse", 0), ("Chörus", 16)]
    assert found.warnings == SONG.warnings


def test_an_independent_reader_agrees_on_the_song() -> None:
    """A peer, mido, finds the same resolution, meters, track and values."""
    lane = DepthLane(name="Dream Depth", points=((0.0, 0.0), (4.0, 1.0), (8.5, 0.5)))
    song = mido.MidiFile(file=io.BytesIO(build_song_midi(SONG, [lane], 60)))
    assert (song.type, song.ticks_per_beat) == (1, 960)
    conductor, depth = song.tracks
    meters = [(m.numerator, m.denominator) for m in conductor if m.type == "time_signature"]
    assert meters == [(4, 4), (7, 8), (4, 4)]
    assert depth.name == "Dream Depth"
    assert [(m.time, m.control, m.value) for m in depth if m.type == "control_change"] == [
        (0, 1, 0), (3_840, 1, 127), (4_320, 1, 64),
    ]  # fmt: skip


def test_a_lane_begins_with_a_value() -> None:
    """A lane whose first point comes later starts at 0 on tick 0, and ends with the song."""
    midi = parse_midi(build_song_midi(SONG, [DepthLane(name="x", points=((2.0, 1.0),))], 60))
    lane = read_lane(midi, "cc", 1)
    assert lane.ticks.tolist() == [0, 1_920]
    assert [track.end_tick for track in midi.tracks] == [57_600, 57_600]


def test_thinning_keeps_every_change_and_nothing_else() -> None:
    """A thinned lane is never more than half a controller step away from the dense one."""
    beats = np.arange(0, 16, 1 / 960)
    dense = 0.5 - 0.5 * np.cos(beats)
    points = thin_lane(beats, dense)
    held = np.array([v for _, v in points])[np.searchsorted([b for b, _ in points], beats, side="right") - 1]
    assert np.abs(held - dense).max() <= 0.5 / 127 + 1e-12
    assert len(points) < len(beats) / 10


def test_the_folder_holds_everything(tmp_path: Path) -> None:
    """Stems, song, tables and advice are there; the song is read back from the file."""
    stems = [stem(tmp_path, "Vocals", depth_points=((0.0, 0.0), (4.0, 1.0))), stem(tmp_path, "Keys")]
    folder = write_exchange_folder(tmp_path / "out", stems, SONG)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "IMPORT.md", "markers.csv", "song.mid", "stems/Keys.wav", "stems/Vocals.wav", "tempo.csv",
    ]  # fmt: skip
    assert (folder / "stems/Vocals.wav").read_bytes() == stems[0].audio.read_bytes()
    assert [m.name for m in read_tempo_map(folder / "song.mid").markers] == ["Verse", "Chörus"]
    assert (folder / "markers.csv").read_text("utf-8").splitlines()[2].startswith("5:2:0,16.000000,8.000000,")
    assert "2 stems in `stems/`, all 48000 Hz, 0:10.000" in (folder / "IMPORT.md").read_text("utf-8")


def test_stems_that_do_not_line_up_are_refused(tmp_path: Path) -> None:
    """Another length is named before anything is written, and existing files stay."""
    stems = [stem(tmp_path, "Vocals"), stem(tmp_path, "Keys", 1_000)]
    with pytest.raises(InputError, match=r"Keys\.wav: differs from .*Vocals\.wav"):
        write_exchange_folder(tmp_path / "out", stems, SONG)
    assert not (tmp_path / "out").exists()
    write_exchange_folder(tmp_path / "out", stems[:1], SONG)
    with pytest.raises(OutputError, match="exists already"):
        write_exchange_folder(tmp_path / "out", stems[:1], SONG)
    write_exchange_folder(tmp_path / "out", stems[:1], SONG, overwrite=True)
