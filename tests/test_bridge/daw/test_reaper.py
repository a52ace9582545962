"""Reaper projects are read right and written back with every other line as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.audio.writer import AudioWriter
from bridge.daw.model import StemTrack
from bridge.daw.read import read_session
from bridge.daw.reaper import read_reaper
from bridge.daw.reaper_write import write_reaper
from bridge.daw.write_back import WriteBack
from bridge.errors import SessionError

PROJECT = """<REAPER_PROJECT 0.1 "7.0/linux" 1700000000
  SAMPLERATE 48000 1 0
  TEMPO 120 4 4
  <TEMPOENVEX
    EGUID {0}
    ACT 1 -1
    PT 0 120 1 262148 0 1
    PT 4 120 0
    PT 8 60 1 524295
  >
  MARKER 1 2 Verse 0
  MARKER 2 8 'The "big" Chorus' 1 0 1 R {1} 0
  MARKER 2 12 "" 1
  <TRACK {2}
    NAME "Lead Vox"
    MUTESOLO 0 0 0
    <FXCHAIN
      <VST "VST3: Some EQ" eq.vst3 0 "" 1<2 ""
        Y2hlY2s+bmV2ZXI=
      >
    >
    <ITEM
      POSITION 1.5
      LENGTH 3
      SOFFS 0.25
      NAME "vox take"
      PLAYRATE 1 1 0 -1
      <SOURCE WAVE
        FILE "audio\\\\vox.wav"
      >
    >
    <ITEM
      POSITION 6
      LENGTH 1
      NAME fast
      PLAYRATE 1.25 1 0 -1
      <SOURCE WAVE
        FILE "audio/vox.wav"
      >
    >
  >
  <TRACK {3}
    NAME Keys
    MUTESOLO 1 0 0
    <ITEM
      POSITION 0
      LENGTH 4
      <SOURCE MIDI
        HASDATA 1 960 QN
      >
    >
  >
>
""".replace("\\\\", "\\")


def project(folder: Path, text: str = PROJECT) -> Path:
    path = folder / "song.rpp"
    path.write_bytes(text.encode())
    return path


def test_tempo_meter_and_markers_are_read(tmp_path: Path) -> None:
    """Held and ramped tempos, a meter change and quoted marker names arrive; region ends do not."""
    clock = read_session(project(tmp_path)).tempo_map
    # 8 beats in 4 s at 120; then 4 s from 120 to 60, straight in time, are 6 beats.
    assert float(clock.seconds_to_beats(4.0)) == pytest.approx(8)
    assert float(clock.seconds_to_beats(8.0)) == pytest.approx(14)
    assert float(clock.seconds_to_beats(6.0)) == pytest.approx(8 + 2 / 60 * (120 + 90) / 2, abs=1e-3)
    assert str(clock.meter_at(0)) == "4/4"
    assert str(clock.meter_at(14.5)) == "7/8"
    assert [(m.name, round(m.time_s, 6)) for m in clock.markers] == [("Verse", 2), ('The "big" Chorus', 8)]


def test_tracks_and_items_are_read(tmp_path: Path) -> None:
    """Audio items keep place, length, offset and rate; MIDI is not audio."""
    session = read_reaper(project(tmp_path))
    assert session.sample_rate == 48000
    assert [(t.name, t.is_muted, len(t.clips)) for t in session.tracks] == [
        ("Lead Vox", False, 2), ("Keys", True, 0),
    ]  # fmt: skip
    clip = session.tracks[0].clips[0]
    assert (clip.start_s, clip.duration_s, clip.offset_s, clip.name) == (1.5, 3, 0.25, "vox take")
    assert Path(clip.media) == tmp_path / "audio/vox.wav"
    fast = session.tracks[0].clips[1]
    assert (fast.name, fast.rate, fast.keeps_pitch) == ("fast", 1.25, True)
    assert session.warnings == ()


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_project_goes_through_with_only_the_new_track_added(tmp_path: Path, ending: str) -> None:
    """Every line of the source is in the result, in order; what is more is one track and its item."""
    audio = tmp_path / 'dreamed "vox".wav'
    with AudioWriter(audio, sample_rate=48000, n_channels=2) as writer:
        writer.write(np.zeros((2, 96_000), np.float32))
    source = project(tmp_path, PROJECT.replace("\n", ending))
    target = tmp_path / "out.rpp"
    stem = StemTrack(source_track="Lead Vox", name="Lead Vox [Bloom]", audio=audio, start_s=1.5)
    write_reaper(source, target, [])
    assert target.read_bytes() == source.read_bytes()
    write_reaper(source, target, [stem], WriteBack(overwrite=True))
    lines, remaining = (
        target.read_bytes().decode().split(ending),
        iter(source.read_bytes().decode().split(ending)),
    )
    wanted = next(remaining)
    for line in lines:
        if line == wanted:
            wanted = next(remaining, None)
    assert wanted is None
    session = read_reaper(target)
    assert [t.name for t in session.tracks] == ["Lead Vox", "Lead Vox [Bloom]", "Keys"]
    clip = session.tracks[1].clips[0]
    assert (clip.start_s, clip.duration_s, Path(clip.media)) == (1.5, 2.0, audio)


def test_a_stem_without_a_track_comes_last(tmp_path: Path) -> None:
    """A stem that was made from no track of the project gets the last one."""
    audio = tmp_path / "a.wav"
    with AudioWriter(audio, sample_rate=48000, n_channels=1) as writer:
        writer.write(np.zeros((1, 10), np.float32))
    stems = [
        StemTrack(source_track=source, name=f"from {source}", audio=audio) for source in (None, "Lead Vox")
    ]
    write_reaper(project(tmp_path), tmp_path / "out.rpp", stems, WriteBack(original="mute"))
    names = [track.name for track in read_reaper(tmp_path / "out.rpp").tracks]
    assert names == ["Lead Vox", "from Lead Vox", "Keys", "from None"]


def test_sources_are_muted_when_asked(tmp_path: Path) -> None:
    """The source track's mute is set and its solo left."""
    audio = tmp_path / "a.wav"
    with AudioWriter(audio, sample_rate=48000, n_channels=1) as writer:
        writer.write(np.zeros((1, 10), np.float32))
    stem = StemTrack(source_track="Lead Vox", name="x", audio=audio)
    write_reaper(project(tmp_path), tmp_path / "out.rpp", [stem], WriteBack(original="mute"))
    assert read_reaper(tmp_path / "out.rpp").tracks[0].is_muted
    with pytest.raises(SessionError, match="did you mean 'Keys'"):
        write_reaper(
            project(tmp_path), tmp_path / "b.rpp", [StemTrack(source_track="Key", name="x", audio=audio)]
        )


@pytest.mark.parametrize(("text", "match"), [
    ("hello", "not a Reaper project"),
    ("<REAPER_PROJECT 0.1\n  <TRACK\n", "ends within <TRACK: it is truncated"),
    ("<REAPER_PROJECT 0.1\n>\n  TEMPO 120\n", "line 3 comes after the end"),
    ("<REAPER_PROJECT 0.1\n" + "<A\n" * 80, "nested deeper"),
    ("<REAPER_PROJECT 0.1\n  TEMPO fast 4 4\n>\n", "line 2: TEMPO: 'fast' is not a usable number"),
])  # fmt: skip
def test_damaged_projects_are_refused_in_one_line(tmp_path: Path, text: str, match: str) -> None:
    """Truncated, foreign and senseless files name file and fault."""
    with pytest.raises(SessionError, match=match) as caught:
        read_reaper(project(tmp_path, text))
    assert "\n" not in str(caught.value)
