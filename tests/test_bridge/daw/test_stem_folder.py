"""The exchange folder lines up, and its song says what the session said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wavinfo import WavInfoReader

from bridge.audio.metadata import AudioMetadata, Broadcast
from bridge.audio.reader import read_audio
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


def test_for_pro_tools_every_stem_is_24_bit_wave_with_a_time_stamp(tmp_path: Path) -> None:
    """Another reader finds the start in the session, or the stem's own stamp; 16 bits stay exact."""
    sound = np.random.default_rng(0).integers(-(2**15), 2**15, (2, 4800)) / 2.0**15
    stamped = AudioMetadata(broadcast=Broadcast(time_reference=777))
    stems = []
    for name, subtype, metadata in (("a.flac", "PCM_16", None), ("b.wav", "FLOAT", stamped)):
        path = tmp_path / name
        with AudioWriter(path, sample_rate=48000, n_channels=2, subtype=subtype, metadata=metadata) as writer:
            writer.write(sound)
        stems.append(StemTrack(source_track=None, name=name, audio=path, start_s=2.0))
    folder = write_exchange_folder(tmp_path / "out", stems, SONG, pro_tools=True)

    for name, start in (("a", 96_000), ("b", 777)):
        read = WavInfoReader(str(folder / "stems" / f"{name}.wav"))
        assert (read.fmt.bits_per_sample, read.fmt.sample_rate) == (24, 48000)
        assert read.bext.time_reference == start
        np.testing.assert_array_equal(read_audio(folder / "stems" / f"{name}.wav")[0], sound)


def test_what_24_bits_cannot_hold_is_named(tmp_path: Path) -> None:
    """A stem above full scale is not clipped in silence, and nothing is left under its name."""
    path = tmp_path / "hot.wav"
    with AudioWriter(path, sample_rate=48000, n_channels=1, subtype="FLOAT") as writer:
        writer.write(np.full((1, 100), 1.5, np.float32))
    hot = StemTrack(source_track=None, name="hot", audio=path)
    with pytest.raises(InputError, match=r"hot\.wav: peaks 3\.52 dB above full scale"):
        write_exchange_folder(tmp_path / "out", [hot], SONG, pro_tools=True)
    assert not (tmp_path / "out/stems/hot.wav").exists()
