"""What a DAWproject's clips hold is read as specified, and what is not read is noted with its place."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bridge.daw.clip_audio import clip_blocks
from bridge.daw.dawproject_read import read_dawproject
from bridge.daw.model import Clip, ClipFade, Session

PROJECT = """<?xml version="1.0"?><Project version="1.0"><Transport>{tempo}</Transport>
<Structure><Track name="Drums" id="tr1"><Channel id="c1"><Mute id="m1" value="false"/></Channel></Track>
</Structure><Arrangement><Lanes timeUnit="beats"><Lanes track="tr1">{lanes}</Lanes></Lanes>{rest}
</Arrangement></Project>"""
TEMPO = '<Tempo value="120" id="t1"/>'
AUDIO = '<Audio channels="2" duration="{}" sampleRate="48000"><File path="a.wav" external="true"/></Audio>'
TRANSPOSE = '<Points><Target expression="transpose"/></Points>'
GAIN = '<Points unit="{unit}"><Target expression="gain"/>{points}</Points>'


def read(folder: Path, lanes: str = "", rest: str = "", tempo: str = TEMPO) -> Session:
    path = folder / "song.dawproject"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.xml", PROJECT.format(lanes=lanes, rest=rest, tempo=tempo))
    return read_dawproject(path)


def clips_of(folder: Path, clips: str) -> tuple[Clip, ...]:
    return read(folder, f"<Clips>{clips}</Clips>").tracks[0].clips


def with_gain(points: str, unit: str = "linear", audio: str = AUDIO.format(8)) -> str:
    """Return a clip of 4 beats, two seconds, with a gain curve beside its audio."""
    gain = GAIN.format(unit=unit, points=points)
    return f'<Clip time="0" duration="4" contentTimeUnit="seconds"><Lanes>{audio}{gain}</Lanes></Clip>'


def test_a_clip_with_a_gain_curve_is_not_lost(tmp_path: Path) -> None:
    """A loop warped over 8 beats at 120 BPM, in lanes beside its gain: 2.5 s of file in 4 s, 1.25 times."""
    warps = (
        f'<Warps contentTimeUnit="seconds" timeUnit="beats">{AUDIO.format(2.5)}'
        '<Warp time="0" contentTime="0"/><Warp time="8" contentTime="2.5"/></Warps>'
    )
    gain = GAIN.format(unit="linear", points='<RealPoint time="0" value="1.25" interpolation="linear"/>')
    inner = f'<Clips><Clip time="0" duration="8"><Lanes>{warps}{gain}</Lanes></Clip></Clips>'
    outer = f'<Clips><Clip time="0" duration="8" name="loop">{inner}</Clip></Clips>'
    session = read(tmp_path, outer)
    (clip,) = session.tracks[0].clips
    assert (clip.start_s, clip.duration_s, clip.rate, clip.gain) == (0.0, 4.0, 0.625, 1.25)
    assert (clip.name, clip.gain_lines, session.warnings) == ("loop", (), ())


def gains(folder: Path, clip: Clip) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return what a clip makes of a file of ones."""
    soundfile.write(folder / "a.wav", np.ones((8 * 48_000, 1)), 48_000, subtype="FLOAT")
    sound: np.ndarray[tuple[int], np.dtype[np.float32]]
    sound = np.concatenate(list(clip_blocks(clip, folder / "a.wav", 48_000)), axis=1)[0]
    return sound


def test_a_gain_curve_is_followed(tmp_path: Path) -> None:
    """A line from 0 to 1 over a second, held there for half a second, then a half at once."""
    points = (
        '<RealPoint time="0" value="0" interpolation="linear"/><RealPoint time="1" value="1"/>'
        '<RealPoint time="1.5" value="0.5"/>'
    )
    (clip,) = clips_of(tmp_path, with_gain(points))
    at_s = np.arange(2 * 48_000) / 48_000
    expected = np.where(at_s < 1, at_s, np.where(at_s < 1.5, 1.0, 0.5))
    np.testing.assert_allclose(gains(tmp_path, clip), expected, atol=1e-6)


def test_a_gain_curve_in_decibels_is_straight_in_decibels(tmp_path: Path) -> None:
    """From -12 to 12 dB over two seconds."""
    points = '<RealPoint time="0" value="-12" interpolation="linear"/><RealPoint time="2" value="12"/>'
    (clip,) = clips_of(tmp_path, with_gain(points, "decibel"))
    expected_db = -12 + 24 * np.arange(2 * 48_000) / (2 * 48_000)
    np.testing.assert_allclose(20 * np.log10(gains(tmp_path, clip)), expected_db, atol=2e-3)


@pytest.mark.parametrize(("content", "says"), [
    (with_gain('<RealPoint time="0" value="1"/>', "percent"), "has a gain curve in 'percent'"),
    (f'<Clip time="4" name="x"><Lanes>{AUDIO.format(1)}{TRANSPOSE}</Lanes></Clip>',
     "track 'Drums' at 2.000 s: clip 'x' has a curve of its transpose, which is not followed"),
    ('<Clip time="4" duration="1" name="x"><Video duration="1"/></Clip>', "clip 'x' plays a video: left out"),
    ('<Clip time="4" duration="1" name="x"><Warps><Notes/></Warps></Clip>', "plays no audio file: left out"),
    ('<Clip time="4" duration="1"><Notes><Note time="0" key="60"><Points/></Note></Notes></Clip>',
     "track 'Drums' at 2.000 s: a clip without a name has curves of single notes"),
    ('<Clip time="4" duration="1" reference="nobody"/>', "plays 'nobody', which is not in the project"),
    ('<Clip time="4" duration="1" contentTimeUnit="bars"/>', "counts 'bars', which is neither beats nor"),
])  # fmt: skip
def test_what_is_not_rendered_is_noted_with_track_and_clip(tmp_path: Path, content: str, says: str) -> None:
    """Nothing is dropped without a word."""
    (warning,) = read(tmp_path, f"<Clips>{content}</Clips>").warnings
    assert says in warning


def test_what_lies_on_no_track_is_noted(tmp_path: Path) -> None:
    """A lane that refers to a track there is not."""
    lane = f'<Lanes track="gone"><Clips><Clip time="0" duration="1">{AUDIO.format(1)}</Clip></Clips></Lanes>'
    assert read(tmp_path, lane).warnings == ("1 clips and 0 notes lie on no track of it: left out",)


def test_automation_that_is_not_read_is_noted_and_switches_are_read(tmp_path: Path) -> None:
    """A mute is a lane of 0 and 1 that holds; a parameter of a device is not read."""
    mute = '<Points><Target parameter="m1"/><BoolPoint time="4" value="true"/></Points>'
    session = read(tmp_path, f'{mute}<Points><Target parameter="cutoff"/></Points>')
    assert session.tracks[0].automation[0].points == ((4.0, 1.0, False),)
    assert session.warnings == ("track 'Drums': 1 lane of automation of its devices not read",)


def test_a_clip_without_a_duration_stops_where_its_content_does(tmp_path: Path) -> None:
    """From playStart 1 to playStop 3: two seconds of the file, or two beats of notes."""
    (clip,) = clips_of(
        tmp_path,
        f'<Clip time="8" contentTimeUnit="seconds" playStart="1" playStop="3">{AUDIO.format(10)}</Clip>',
    )
    assert (clip.start_s, clip.duration_s, clip.offset_s) == (4.0, 2.0, 1.0)
    notes = "".join(f'<Note time="{beat}" duration="1" key="60" vel="1"/>' for beat in range(6))
    clips = f'<Clips><Clip time="8" playStart="1" playStop="3"><Notes>{notes}</Notes></Clip></Clips>'
    assert [n.start_beats for n in read(tmp_path, clips).tracks[0].notes] == [8.0, 9.0]


def test_negative_fades_reach_out_of_their_clip(tmp_path: Path) -> None:
    """Half a second earlier, a quarter later; what is played stays on its place."""
    facts = (
        'contentTimeUnit="seconds" playStart="2" fadeTimeUnit="seconds" fadeInTime="-0.5" fadeOutTime="-0.25"'
    )
    (clip,) = clips_of(tmp_path, f'<Clip time="8" duration="4" {facts}>{AUDIO.format(10)}</Clip>')
    assert (clip.start_s, clip.duration_s, clip.offset_s) == (3.5, 2.75, 1.5)
    assert (clip.fade_in, clip.fade_out) == (ClipFade(length_s=0.5), ClipFade(length_s=0.25))


def test_the_fade_of_an_outer_clip_is_heard_in_what_lies_in_it(tmp_path: Path) -> None:
    """Two inner clips of a second each, under one fade in of two seconds: 0 to a half, a half to 1."""
    inner = "".join(
        f'<Clip time="{beat}" duration="2" contentTimeUnit="seconds">{AUDIO.format(8)}</Clip>'
        for beat in (0, 2)
    )
    fade = 'fadeTimeUnit="seconds" fadeInTime="2"'
    first, second = clips_of(tmp_path, f'<Clip time="4" duration="4" {fade}><Clips>{inner}</Clips></Clip>')
    np.testing.assert_allclose(gains(tmp_path, first), np.arange(48_000) / 96_000, atol=1e-6)
    np.testing.assert_allclose(gains(tmp_path, second), 0.5 + np.arange(48_000) / 96_000, atol=1e-6)


@pytest.mark.parametrize(("unit", "last", "rate", "n_warnings"), [
    ("seconds", 4, 0.5, 0),
    ("beats", 8, 0.5, 0),  # 8 beats of content at 120 BPM are 4 s
    ("beats", 4, 0.5, 1),  # the file's length in seconds, whatever the unit says
    ("beats", 3, 0.1875, 0),  # 1.5 s
])  # fmt: skip
def test_warps_count_in_the_unit_they_say(
    tmp_path: Path, unit: str, last: int, rate: float, n_warnings: int
) -> None:
    """A file of 4 s over 16 beats, 8 s."""
    warps = (
        f'<Warps contentTimeUnit="{unit}" timeUnit="beats">{AUDIO.format(4)}<Warp time="0" contentTime="0"/>'
        f'<Warp time="16" contentTime="{last}"/></Warps>'
    )
    session = read(tmp_path, f'<Clips><Clip time="0" duration="16">{warps}</Clip></Clips>')
    assert session.tracks[0].clips[0].rate == pytest.approx(rate)
    assert sum("read as seconds" in warning for warning in session.warnings) == n_warnings


def test_a_pass_that_would_begin_within_rounding_of_the_end_is_none(tmp_path: Path) -> None:
    """A loop of a third of 16 beats, written in six decimals, plays three times and not a fourth."""
    notes = '<Notes><Note time="0" duration="1" key="60" vel="1"/></Notes>'
    clips = f'<Clips><Clip time="0" duration="16" loopStart="0" loopEnd="5.333333">{notes}</Clip></Clips>'
    starts = [n.start_beats for n in read(tmp_path, clips).tracks[0].notes]
    assert starts == pytest.approx([0.0, 5.333333, 10.666666])
    sound = f'<Clip time="0" duration="16" loopStart="0" loopEnd="5.333333">{AUDIO.format(8)}</Clip>'
    assert [clip.start_s for clip in clips_of(tmp_path, sound)] == pytest.approx([s / 2 for s in starts])


def test_a_missing_tempo_is_said_and_nested_points_are_read(tmp_path: Path) -> None:
    """120 BPM are a guess; automation gives the tempo too, in <Points> of its own as well."""
    assert "says no tempo: 120 BPM are taken" in read(tmp_path, tempo="").warnings[0]
    points = '<RealPoint time="0" value="128"/><RealPoint time="16" value="96"/>'
    session = read(tmp_path, rest=f"<TempoAutomation><Points>{points}</Points></TempoAutomation>", tempo="")
    assert session.warnings == ()
    assert [(float(session.tempo_map.bpm_at(at))) for at in (0, 16)] == [128, 96]


def test_a_tempo_that_is_none_is_named_with_its_place(tmp_path: Path) -> None:
    """The beat is where to look for it."""
    from bridge.errors import SessionError

    points = '<RealPoint time="0" value="120"/><RealPoint time="16" value="0"/>'
    with pytest.raises(SessionError, match=r"at beat 16, a tempo of 0\.0 BPM"):
        read(tmp_path, rest=f"<TempoAutomation>{points}</TempoAutomation>")


def test_markers_without_names_are_numbered_and_those_among_the_lanes_are_read(tmp_path: Path) -> None:
    """By their order."""
    markers = '<Marker time="4" name="Verse"/><Marker time="8"/>'
    found = read(tmp_path, rest=f"<Markers>{markers}</Markers>").tempo_map.markers
    assert [(marker.name, marker.beats) for marker in found] == [("Verse", 4), ("Marker 2", 8)]
    path = tmp_path / "lanes.dawproject"
    text = PROJECT.format(lanes="", rest="", tempo=TEMPO)
    among = '<Lanes timeUnit="seconds"><Markers><Marker time="4" name="Verse"/></Markers>'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.xml", text.replace('<Lanes timeUnit="beats">', among, 1))
    session = read_dawproject(path)
    assert [(m.name, m.beats) for m in session.tempo_map.markers] == [("Verse", 8)]
    assert session.warnings == ()


def test_a_missing_file_is_told_once_by_the_name_of_the_clip_around_it(tmp_path: Path) -> None:
    """Not in the session's clock too, and not for each pass of its loop."""
    audio = '<Audio channels="1" duration="1" sampleRate="48000"><File path="gone.wav"/></Audio>'
    inner = f'<Clips><Clip time="0" duration="1">{audio}</Clip></Clips>'
    clips = f'<Clips><Clip name="riff" time="8" duration="8" loopEnd="2">{inner}</Clip></Clips>'
    session = read(tmp_path, clips)
    said = "track 'Drums' at 4.000 s: clip 'riff' plays gone.wav, which is not in the archive: left out"
    assert (session.warnings[0], session.tempo_map.warnings) == (said, ())
