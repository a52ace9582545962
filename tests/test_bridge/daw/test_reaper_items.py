"""What lies on Reaper's tracks is read as Reaper plays it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from bridge.daw.model import Clip, ClipFade, FileLoop
from bridge.daw.read import read_session
from bridge.errors import SessionError


def read_items(folder: Path, items: str, track: str = "") -> list[Clip]:
    path = folder / "song.rpp"
    path.write_text(f"<REAPER_PROJECT 0.1\n  TEMPO 120 4 4\n  <TRACK\n{track}\n{items}\n  >\n>\n")
    return list(read_session(path).tracks[0].clips)


def item(*lines: str, source: str = '<SOURCE WAVE\nFILE "a.wav"\n>', take: str = "") -> str:
    body = "\n".join(("POSITION 1", "LENGTH 4", *lines))
    return f"<ITEM\n{body}\n{source}\n{take}\n>\n"


TAKE = 'TAKE {}\nNAME two\nSOFFS 0.5\n<SOURCE WAVE\nFILE "b.wav"\n>'


@pytest.mark.parametrize(("word", "media", "offset_s"), [("", "a.wav", 0.0), ("SEL", "b.wav", 0.5)])
def test_the_active_take_is_the_one_that_is_read(
    tmp_path: Path, word: str, media: str, offset_s: float
) -> None:
    """Without a mark the first take plays; TAKE SEL marks another."""
    (clip,) = read_items(tmp_path, item(take=TAKE.format(word)))
    assert (Path(clip.media).name, clip.offset_s) == (media, offset_s)


def test_muted_items_and_items_without_sound_are_left_out(tmp_path: Path) -> None:
    """A muted item, an empty one and a click do not sound."""
    items = item("MUTE 1 0") + item(source="<SOURCE EMPTY\n>") + item(source="<SOURCE CLICK\n>")
    assert read_items(tmp_path, items) == []


@pytest.mark.parametrize(("kind", "file"), [
    ("WAVE", "a.aif"), ("FLAC", "a.flac"), ("MP3", "a.mp3"), ("VORBIS", "a.ogg"), ("OPUS", "a.opus"),
])  # fmt: skip
def test_every_kind_of_audio_is_read_whatever_its_block_is_called(
    tmp_path: Path, kind: str, file: str
) -> None:
    """What counts is that its file is one of sound."""
    assert len(read_items(tmp_path, item(source=f"<SOURCE {kind}\nFILE {file}\n>"))) == 1


def test_video_and_pitch_shifts_are_named(tmp_path: Path) -> None:
    """What cannot be rendered is left out by name, with the reason."""
    items = item("NAME film", source="<SOURCE VIDEO\nFILE a.mp4\n>") + item("NAME up", "PLAYRATE 1 1 3 -1")
    assert read_items(tmp_path, items) == []
    warnings = read_session(tmp_path / "song.rpp").warnings
    assert "item 'film' plays a.mp4, which is no audio file" in warnings[0]
    assert "item 'up' is shifted in pitch" in warnings[1]


def test_level_fades_loop_channel_and_rate_are_read(tmp_path: Path) -> None:
    """Item and take volume multiply; a crossfade's length stands for the fade's own; curves have names."""
    lines = ("LOOP 1", "FADEIN 1 0.5 0 2 0 0 0", "FADEOUT 1 0.1 0.75 5 0 0 0", "VOLPAN 0.5 -0.25 0.5 -1",
             "PLAYRATE 2 0 0 -1", "CHANMODE 3")  # fmt: skip
    (clip,) = read_items(tmp_path, item(*lines))
    assert (clip.gain, clip.pan, clip.rate, clip.keeps_pitch) == (0.25, -0.25, 2.0, False)
    assert clip.fade_in == ClipFade(length_s=0.5, shape="slow_start")
    assert clip.fade_out == ClipFade(length_s=0.75, shape="s_curve")
    assert (clip.loop, clip.channel) == (FileLoop(), "left")


def test_a_section_may_be_played_backwards(tmp_path: Path) -> None:
    """A section's start and length, and the bit that turns it."""
    source = "<SOURCE SECTION\nLENGTH 2\nMODE {}\nSTARTPOS 3\n<SOURCE WAVE\nFILE a.wav\n>\n>"
    (forward,) = read_items(tmp_path, item(source=source.format(0)))
    (backward,) = read_items(tmp_path, item(source=source.format(3)))
    assert (forward.section_s, forward.is_reversed) == ((3.0, 5.0), False)
    assert (backward.section_s, backward.is_reversed) == ((3.0, 5.0), True)


def test_silence_before_a_file_is_not_part_of_the_clip(tmp_path: Path) -> None:
    """A negative offset lets the file begin later within the item."""
    (clip,) = read_items(tmp_path, item("SOFFS -0.5"))
    assert (clip.start_s, clip.duration_s, clip.offset_s) == (1.5, 3.5, 0.0)


MIDI = """<SOURCE MIDI
HASDATA 1 960 QN
E 0 90 3c 60
E 480 80 3c 00
E 480 b0 01 40
Em 0 90 40 60
E 960 b0 7b 00
>"""


def test_notes_and_controllers_of_midi_items_are_read(tmp_path: Path) -> None:
    """A looped item of four seconds at 120 BPM plays its two beats four times; muted events do not sound."""
    read_items(tmp_path, item("LOOP 1", source=MIDI))
    track = read_session(tmp_path / "song.rpp").tracks[0]
    notes = [(n.start_beats, n.duration_beats, n.key) for n in track.notes]
    assert notes == [(2.0, 0.5, 60), (4.0, 0.5, 60), (6.0, 0.5, 60), (8.0, 0.5, 60)]
    assert track.lanes[0].points == tuple((beat, 64 / 127) for beat in (3.0, 5.0, 7.0, 9.0))


def test_folders_faders_colours_and_automation_are_read(tmp_path: Path) -> None:
    """A track knows its folder, however the one before closed; envelopes are in the parameter's own unit."""
    parameter = '<FXCHAIN\n<VST "VST3: Echo" e.vst3\n>\n<PARMENV 3 0 1 0.5 "Mix / Echo"\nPT 0 0.25 1\n>\n>'
    text = f"""<REAPER_PROJECT 0.1
  TEMPO 120 4 4
  PROJOFFS 0 -1
  <TRACK
    NAME Drums
    ISBUS 1 1
  >
  <TRACK
    NAME Kick
    ISBUS 2 -1
    VOLPAN 0.5 -0.5 -1
    PEAKCOL {(1 << 24) | 0x3020FF}
    <VOLENV2
      PT 0 1 0
      PT 2 0.5 1
    >
    {parameter}
  >
  <TRACK
    NAME Bass
  >
>
"""
    path = tmp_path / "song.rpp"
    path.write_text(text)
    session = read_session(path)
    assert [(t.name, t.group) for t in session.tracks] == [("Drums", ""), ("Kick", "Drums"), ("Bass", "")]
    kick = session.tracks[1]
    assert (kick.gain, kick.pan, kick.color) == (0.5, -0.5, "#ff2030")
    assert [(lane.device, lane.name, lane.points) for lane in kick.automation] == [
        ("", "Volume", ((0.0, 1.0, True), (4.0, 0.5, False))),
        ("VST3: Echo", "Mix", ((0.0, 0.25, False),)),
    ]
    assert session.tempo_map.first_bar == 0


def test_a_backup_of_several_versions_gives_the_newest(tmp_path: Path) -> None:
    """Reaper keeps versions in one backup; their headers say when. A mark of UTF-8 is no text."""
    version = '<REAPER_PROJECT 0.1 "7.0" {}\n  TEMPO {} 4 4\n>\n'
    path = tmp_path / "song.rpp-bak"
    text = version.format(1700000100, 90) + version.format(1700000200, 140) + version.format(1700000000, 60)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    session = read_session(path)
    assert float(session.tempo_map.bpm_at(0)) == 140
    assert "holds 3 versions" in session.warnings[0]


def test_errors_name_file_and_line(tmp_path: Path) -> None:
    """A word that should be a number is said with its line."""
    path = tmp_path / "song.rpp"
    lines = ("<REAPER_PROJECT 0.1", "TEMPO 120 4 4", "<TRACK", "<ITEM", "POSITION soon", "<SOURCE WAVE")
    path.write_text("\n".join([*lines, "FILE a.wav", *">>>>"]))
    with pytest.raises(SessionError, match=r"song\.rpp: line 5: POSITION: 'soon' is not a usable number"):
        read_session(path)


def test_plugin_data_is_passed_over(tmp_path: Path) -> None:
    """Lines of base64 in an effects chain are no words of the project."""
    data = base64.b64encode(bytes(range(200))).decode()
    track = f'<FXCHAIN\n<VST "VST: x" x.dll\n{data}\n>\n>'
    assert len(read_items(tmp_path, item(), track)) == 1


@pytest.mark.parametrize(("length_s", "n_notes"), [
    ("3.00000000000001", 3), ("2.99999999999999", 3), ("3.00002", 3), ("3.1", 4),
])  # fmt: skip
def test_a_pass_that_would_begin_within_rounding_of_the_items_end_is_none(
    tmp_path: Path, length_s: str, n_notes: int
) -> None:
    """Two beats at 120 BPM, looped for three seconds and a hair, play three times; a tenth more is heard."""
    items = item("LOOP 1", source=MIDI).replace("LENGTH 4", f"LENGTH {length_s}")
    read_items(tmp_path, items)
    track = read_session(tmp_path / "song.rpp").tracks[0]
    assert [n.start_beats for n in track.notes] == pytest.approx([2.0, 4.0, 6.0, 8.0][:n_notes])
    assert len(track.lanes[0].points) == 3


def test_a_note_at_the_end_of_an_item_is_not_heard_by_rounding(tmp_path: Path) -> None:
    """A second note begins a beat on, where the item ends but for rounding."""
    source = MIDI.replace("E 960 b0", "E 0 90 41 60\nE 960 80 41 00\nE 0 b0")
    read_items(tmp_path, item(source=source).replace("LENGTH 4", "LENGTH 0.50000000000001"))
    assert [n.key for n in read_session(tmp_path / "song.rpp").tracks[0].notes] == [60]


def test_what_a_take_has_of_its_own_is_noted(tmp_path: Path) -> None:
    """Envelopes that are in use and effects; its sound is read without them."""
    own = "<VOLENV\nACT 1 -1\nPT 0 0.5 1\n>\n<PANENV\nACT 0 -1\nPT 0 1 1\n>\n<TAKEFX\n<VST x\n>\n>"
    assert len(read_items(tmp_path, item("NAME x", take=own))) == 1
    volume, effects = read_session(tmp_path / "song.rpp").warnings
    assert "item 'x' has an envelope of its volume, rendered without" in volume
    assert "item 'x' has effects of its own, rendered without" in effects


def test_what_reaper_makes_itself_is_noted(tmp_path: Path) -> None:
    """A click is heard in the song and is in no stem."""
    read_items(tmp_path, item(source="<SOURCE CLICK\n>"), "NAME Beep")
    said = "track 'Beep' at 1.000 s: an item without a name plays Reaper's click: left out; glue it in Reaper"
    assert read_session(tmp_path / "song.rpp").warnings == (said,)


def test_markers_and_regions_without_names_have_their_numbers(tmp_path: Path) -> None:
    """A region's second line is its end, and no marker."""
    path = tmp_path / "song.rpp"
    lines = 'MARKER 1 2 "" 0\nMARKER 1 4 "" 1\nMARKER 1 6 "" 1\nMARKER 2 7 Verse 1\nMARKER 2 9 "" 1\n'
    path.write_text(f"<REAPER_PROJECT 0.1\nTEMPO 120 4 4\n{lines}>\n")
    found = [(marker.name, marker.time_s) for marker in read_session(path).tempo_map.markers]
    assert found == [("Marker 1", 2.0), ("Region 1", 4.0), ("Verse", 7.0)]


def test_a_missing_tempo_is_said(tmp_path: Path) -> None:
    """120 BPM are a guess."""
    path = tmp_path / "song.rpp"
    path.write_text("<REAPER_PROJECT 0.1\n>\n")
    assert "says no tempo: 120 BPM are taken" in read_session(path).warnings[0]


@pytest.mark.skipif(os.name == "nt", reason="there such a path is one")
def test_a_file_of_another_computer_is_looked_for_beside_the_session(tmp_path: Path) -> None:
    """With its folder, by its name alone; a path that is found nowhere stays as it is written."""
    written = "D:\\Songs\\One\\Audio\\kick.wav"
    items = item(source=f'<SOURCE WAVE\nFILE "{written}"\n>')
    (clip,) = read_items(tmp_path, items)
    assert (clip.media, clip.name) == (written, "kick")
    (tmp_path / "kick.wav").touch()
    (clip,) = read_items(tmp_path, items)
    assert clip.media == str(tmp_path / "kick.wav")
    (tmp_path / "Audio").mkdir()
    (tmp_path / "Audio" / "kick.wav").touch()
    (clip,) = read_items(tmp_path, items)
    assert clip.media == str(tmp_path / "Audio" / "kick.wav")
    assert f"{written} is not there: Audio/kick.wav beside" in read_session(tmp_path / "song.rpp").warnings[0]
