"""The exchange folder lines up, and its song says what the session said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.audio.writer import AudioWriter
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import StemTrack
from bridge.daw.stem_folder import write_exchange_folder
from bridge.errors import InputError, OutputError
from bridge.midi.file import read_midi
from bridge.midi.lanes import read_lane
from bridge.midi.song_clock import read_tempo_map

SONG = TempoMap.from_points(
    [(0, 120, "hold"), (16, 120, "beats"), (24, 90, "hold"), (40, 140, "time"), (44, 100, "hold")],
    [(0, 4, 4), (8, 7, 8), (15, 4, 4)],
    [(0, "Verse"), (16, "Chörus")],
)


def stem(folder: Path, name: str, n_samples: int = 480_000, **more: object) -> StemTrack:
    path = folder / f"{name}.wav"
    with AudioWriter(path, sample_rate=48000, n_channels=1) as writer:
        writer.write(np.zeros((1, n_samples), np.float32))
    return StemTrack(source_track=name, name=name, audio=path, **more)  # type: ignore[arg-type]


def test_the_folder_holds_everything(tmp_path: Path) -> None:
    """Stems, song, tables and advice are there; the song is read back from the file."""
    stems = [stem(tmp_path, "Vocals", depth_points=((0.0, 0.0), (4.0, 1.0))), stem(tmp_path, "Keys")]
    folder = write_exchange_folder(tmp_path / "out", stems, SONG)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "IMPORT.md", "markers.csv", "song.mid", "stems/Keys.wav", "stems/Vocals.wav", "tempo.csv",
    ]  # fmt: skip
    assert (folder / "stems/Vocals.wav").read_bytes() == stems[0].audio.read_bytes()
    song = read_tempo_map(folder / "song.mid")
    assert [m.name for m in song.markers] == ["Verse", "Chörus"]
    # Ramps are steps, each as long as its stretch: whole beats lie within 0.1 ms of the session's.
    np.testing.assert_allclose(
        song.beats_to_seconds(np.arange(20)), SONG.beats_to_seconds(np.arange(20)), atol=1e-4
    )
    midi = read_midi(folder / "song.mid")
    lane = read_lane(midi, "cc", 1)
    assert [track.name for track in midi.tracks] == ["Tempo", "Vocals depth"]
    assert (lane.ticks.tolist(), lane.values.tolist()) == ([0, 3_840], [0.0, 1.0])
    assert (
        (folder / "markers.csv").read_text("utf-8").splitlines()[2].startswith("5:2:000,16.000000,8.000000,")
    )
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
