"""DAWproject files are read right, refused when hostile, and written back with nothing else changed."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from helpers.dawproject import PROJECT, schema_faults, write_project

from bridge.audio.writer import AudioWriter
from bridge.daw.dawproject_read import read_dawproject
from bridge.daw.dawproject_write import write_dawproject
from bridge.daw.model import Session, StemTrack
from bridge.daw.write_back import WriteBack
from bridge.errors import OutputError, SessionError


def rendered(path: Path, duration_s: float = 4.0) -> Path:
    with AudioWriter(path, sample_rate=48000, n_channels=2) as writer:
        writer.write(np.zeros((2, round(duration_s * 48000)), np.float32))
    return path


def test_tempo_meter_and_markers_are_read(tmp_path: Path) -> None:
    """A held tempo, a ramp, a 7/8 bar and named markers arrive as the file says."""
    session = read_dawproject(write_project(tmp_path / "a.dawproject"))
    clock = session.tempo_map
    assert float(clock.beats_to_seconds(16)) == pytest.approx(8.0)
    # A ramp straight over beats from 120 to 90 in 8 beats lasts 60 * 8 * ln(90/120) / (90 - 120) s.
    assert float(clock.beats_to_seconds(24)) == pytest.approx(8.0 + 16 * np.log(120 / 90), abs=1e-6)
    assert (clock.meter_at(0).numerator, clock.meter_at(9).numerator) == (4, 7)
    assert [(m.name, m.beats) for m in clock.markers] == [("Verse", 0), ("Chörus", 16)]


def test_tracks_clips_notes_and_lanes_are_read(tmp_path: Path) -> None:
    """Everything lies where the arrangement puts it, in groups too."""
    session = read_dawproject(write_project(tmp_path / "a.dawproject"))
    assert [t.name for t in session.tracks] == ["Band", "Vocals", "Keys", "Master"]
    _, vocals, keys, _ = session.tracks
    assert (vocals.color, vocals.is_muted, keys.is_muted) == ("#ff0080", False, True)
    plain = vocals.clips[0]
    assert (plain.start_s, plain.duration_s, plain.offset_s) == (2.0, 2.0, 0.5)
    assert (plain.media, plain.is_embedded) == ("audio/vocals.wav", True)
    assert [(n.start_beats, n.duration_beats, n.key) for n in keys.notes] == [(8, 1, 60), (10.5, 0.5, 64)]
    assert keys.lanes[0].controller == 1
    assert keys.lanes[0].points == ((8.0, 0.0), (12.0, 0.75))


def test_a_clip_warped_to_its_own_tempo_is_taken_over(tmp_path: Path) -> None:
    """Nested clips whose warps follow a constant tempo keep start, length and place in the file."""
    steady = PROJECT.replace('value="90"', 'value="120"')
    session = read_dawproject(write_project(tmp_path / "a.dawproject", steady, warp_end=8.0))
    nested = session.tracks[1].clips[1]
    assert nested.start_s == pytest.approx(9.0)  # beat 16 + 2 at 120 BPM
    assert nested.duration_s == pytest.approx(2.0)
    assert nested.offset_s == pytest.approx(0.5)  # playStart is one beat into the file
    assert session.warnings == ()


def test_a_clip_stretched_evenly_has_a_rate_and_a_bent_one_is_left_out(tmp_path: Path) -> None:
    """Four seconds of file over three of the song play at 4/3 and keep their pitch; a bend is named."""
    named = PROJECT.replace('value="90"', 'value="120"').replace(
        '<Clip time="2" duration="4"', '<Clip name="stretched" time="2" duration="4"'
    )
    session = read_dawproject(write_project(tmp_path / "a.dawproject", named, warp_end=6.0))
    clip = session.tracks[1].clips[1]
    assert (clip.rate, clip.keeps_pitch) == (pytest.approx(4 / 3), True)
    assert clip.offset_s == pytest.approx(0.5 * 4 / 3)  # one beat in
    bent = named.replace('<Warp time="0" contentTime="0"/>', '<Warp time="0" contentTime="0"/>'
                         '<Warp time="2" contentTime="2.5"/>')  # fmt: skip
    session = read_dawproject(write_project(tmp_path / "b.dawproject", bent, warp_end=6.0))
    assert len(session.tracks[1].clips) == 1
    assert "clip 'stretched' is stretched by a changing rate" in session.warnings[0]


BARE = """<?xml version="1.0"?><Project version="1.0"><Transport><Tempo value="120" id="t1"/></Transport>
<Structure><Track name="Keys" id="tr1"><Channel id="c1"><Pan unit="linear" value="-0.5" id="p1"/>
<Volume unit="decibel" min="-60" max="6" value="-6" id="v1"/></Channel></Track></Structure>
<Arrangement><Lanes timeUnit="beats"><Lanes track="tr1">{}</Lanes></Lanes>{}</Arrangement></Project>"""
AUDIO = '<Audio channels="2" duration="{}" sampleRate="48000"><File path="a.wav" external="true"/></Audio>'


def read_bare(folder: Path, lanes: str = "", rest: str = "") -> Session:
    path = folder / "bare.dawproject"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("project.xml", BARE.format(lanes, rest))
    return read_dawproject(path)


def test_a_ramp_that_ends_in_a_jump_arrives_first(tmp_path: Path) -> None:
    """Two points on one beat: from 120 to 90 over 8 beats, then 140."""
    points = """<TempoAutomation><RealPoint time="0" value="120" interpolation="linear"/>
    <RealPoint time="8" value="90" interpolation="linear"/><RealPoint time="8" value="140"/>
    </TempoAutomation>"""
    clock = read_bare(tmp_path, rest=points).tempo_map
    ramp_s = 60 * 8 * math.log(90 / 120) / (90 - 120)
    assert float(clock.beats_to_seconds(8)) == pytest.approx(ramp_s, abs=2e-5)  # a tick of 1/40320 beat
    assert float(clock.bpm_at(8)) == 140


def test_markers_and_tempos_may_count_seconds(tmp_path: Path) -> None:
    """A line straight over time: from 60 to 120 BPM over 4 s is 6 beats."""
    rest = """<Markers timeUnit="seconds"><Marker time="4" name="Drop"/></Markers>
    <TempoAutomation timeUnit="seconds"><RealPoint time="0" value="60" interpolation="linear"/>
    <RealPoint time="4" value="120"/></TempoAutomation>"""
    marker = read_bare(tmp_path, rest=rest).tempo_map.markers[0]
    assert (marker.time_s, marker.beats) == (pytest.approx(4.0, abs=2e-5), pytest.approx(6.0, abs=1e-4))


def test_a_clip_in_a_clip_is_cut_at_both_its_ends(tmp_path: Path) -> None:
    """What lies before the outer clip's own start is not heard, and its file begins so much later."""
    inner = f'<Clip time="0" duration="8" contentTimeUnit="seconds" playStart="1">{AUDIO.format(8)}</Clip>'
    outer = f'<Clips><Clip time="16" duration="4" playStart="2"><Clips>{inner}</Clips></Clip></Clips>'
    (clip,) = read_bare(tmp_path, outer).tracks[0].clips
    assert (clip.start_s, clip.duration_s, clip.offset_s) == (8.0, 2.0, 2.0)


def test_a_looped_clip_is_a_clip_for_each_pass(tmp_path: Path) -> None:
    """From playStart to the loop's end, then from its start; fades belong to the first and the last."""
    facts = 'contentTimeUnit="seconds" playStart="0.5" loopStart="0.25" loopEnd="1" fadeInTime="0.1"'
    clips = f'<Clips><Clip time="0" duration="4" {facts} fadeOutTime="0.2">{AUDIO.format(8)}</Clip></Clips>'
    found = read_bare(tmp_path, clips).tracks[0].clips
    assert [(c.start_s, c.duration_s, c.offset_s) for c in found] == [
        (0.0, 0.5, 0.5), (0.5, 0.75, 0.25), (1.25, 0.75, 0.25),
    ]  # fmt: skip
    assert [(c.fade_in is not None, c.fade_out is not None) for c in found] == [
        (True, False), (False, False), (False, True),
    ]  # fmt: skip


def test_a_start_in_beats_moves_the_file_by_their_time(tmp_path: Path) -> None:
    """A clip's playStart counts in the content's unit: two beats at 120 BPM are a second of the file."""
    facts = 'time="8" duration="4" contentTimeUnit="beats" playStart="2"'
    clips = f"<Clips><Clip {facts}>{AUDIO.format(8)}</Clip></Clips>"
    (clip,) = read_bare(tmp_path, clips).tracks[0].clips
    assert (clip.start_s, clip.duration_s, clip.offset_s) == (4.0, 2.0, 1.0)


def test_faders_and_their_automation_are_read(tmp_path: Path) -> None:
    """Decibels become a factor, either pan unit -1 to 1; points keep the parameter's own unit and range."""
    lane = '<Points><Target parameter="v1"/><RealPoint time="4" value="-12" interpolation="linear"/></Points>'
    (track,) = read_bare(tmp_path, lane).tracks
    assert (track.gain, track.pan) == (pytest.approx(10 ** (-6 / 20)), -0.5)
    assert [(a.name, a.low, a.high, a.points) for a in track.automation] == [
        ("Volume", -60.0, 6.0, ((4.0, -12.0, True),))
    ]


def test_rendered_stems_go_back_after_their_source(tmp_path: Path) -> None:
    """Read, write, read: a new track behind its source, its audio and its depth lane in place."""
    source = write_project(tmp_path / "a.dawproject")
    target = tmp_path / "b.dawproject"
    stem = StemTrack(
        source_track="Vocals", name="Vocals [Lucid Bloom]", audio=rendered(tmp_path / "vocals.wav"),
        start_s=2.0, depth_points=((4.0, 0.0), (8.0, 1.0)),
    )  # fmt: skip
    write_dawproject(source, target, [stem], WriteBack(original="mute"))
    session = read_dawproject(target)
    names = ["Band", "Vocals", "Vocals [Lucid Bloom]", "Vocals [Lucid Bloom] depth", "Keys", "Master"]
    assert [t.name for t in session.tracks] == names
    assert session.tracks[1].is_muted
    clip = session.tracks[2].clips[0]
    assert (clip.start_s, clip.offset_s) == (2.0, 0.0)
    assert clip.duration_s == pytest.approx(4.0)
    assert clip.media == "audio/vocals 2.wav"  # the project has a vocals.wav of its own
    assert session.tracks[3].lanes[0].points == ((4.0, 0.0), (8.0, 1.0))
    with zipfile.ZipFile(target) as archive:
        assert archive.read(clip.media) == stem.audio.read_bytes()


def test_the_written_project_keeps_the_schema_and_all_else(tmp_path: Path) -> None:
    """The result breaks no schema rule; without what was added it is the source, element for element."""
    source, target = write_project(tmp_path / "a.dawproject"), tmp_path / "b.dawproject"
    audio = rendered(tmp_path / "x.wav")
    stems = [
        StemTrack(source_track=name, name=f"{name} [Dream]", audio=audio, depth_points=((0.0, 0.5),))
        for name in ("Vocals", "Keys", None)
    ]
    write_dawproject(source, target, stems)
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target) as after:
        builder = ET.TreeBuilder(insert_comments=True)
        root = ET.fromstring(after.read("project.xml"), parser=ET.XMLParser(target=builder))
        assert schema_faults(root) == []
        for parent in list(root.iter()):
            for child in list(parent):
                if str(child.get("id", "")).startswith("reverie"):
                    parent.remove(child)
        builder = ET.TreeBuilder(insert_comments=True)
        original = ET.fromstring(before.read("project.xml"), parser=ET.XMLParser(target=builder))
        assert ET.canonicalize(ET.tostring(root), strip_text=True) == ET.canonicalize(
            ET.tostring(original), strip_text=True
        )
        for name in ("metadata.xml", "audio/vocals.wav", "plugins/eq.vstpreset"):
            assert after.read(name) == before.read(name)


_DEVICES = """<Devices a='1'>
  <!-- kept --><Equalizer id="reverie1" name='Q "&amp;" &#233;'  ><X/></Equalizer >
  <![CDATA[a<b>]]>\u00e9</Devices>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_what_we_do_not_touch_is_written_back_as_it_stood(tmp_path: Path, encoding: str) -> None:
    """Devices keep every byte in UTF-8, across pieces too; in other encodings what they say."""
    filling = "<Devices/><Devices>" + "<X a='1'/>" * 60_000 + "</Devices>"
    declaration = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    project = PROJECT[PROJECT.index("<Project") :].replace("ö", "o")
    project = declaration + project.replace("</Channel>", _DEVICES + filling + "</Channel>", 1)
    source = tmp_path / "a.dawproject"
    write_project(source, project)
    with zipfile.ZipFile(source) as old:
        media = {name: old.read(name) for name in old.namelist() if name != "project.xml"}
    with zipfile.ZipFile(source, "w") as new:
        new.writestr("project.xml", project.encode(encoding))
        for name, data in media.items():
            new.writestr(name, data)
    target = tmp_path / "b.dawproject"
    stem = StemTrack(source_track="Vocals", name="New", audio=rendered(tmp_path / "vocals.wav"))
    write_dawproject(source, target, [stem])
    with zipfile.ZipFile(target) as archive:
        written = archive.read("project.xml")
    root = ET.fromstring(written)
    identifiers = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(identifiers) == len(set(identifiers))
    assert 'Q "&" é' in [element.get("name") for element in root.iter("Equalizer")]
    assert "New" in [element.get("name") for element in root.iter("Track")]
    if encoding.startswith("utf-8"):
        inside = _DEVICES[_DEVICES.index("<!--") :].encode()
        assert inside in written
        assert b"<X a='1'/>" * 60_000 in written
    else:
        assert len(list(root.iter("X"))) == 60_001


@pytest.mark.parametrize("mark", ["<!-- <?verbatim-0?> -->", "<?verbatim-0 x?>", "<?reverie-verbatim 0?>"])
def test_marks_in_the_users_document_are_the_users(tmp_path: Path, mark: str) -> None:
    """Whatever stands in comments and instructions goes through."""
    source = write_project(tmp_path / "a.dawproject", PROJECT.replace("<!-- kept as it is -->", mark))
    stem = StemTrack(source_track="Vocals", name="New", audio=rendered(tmp_path / "vocals.wav"))
    write_dawproject(source, tmp_path / "b.dawproject", [stem])
    with zipfile.ZipFile(tmp_path / "b.dawproject") as archive:
        assert mark.encode() in archive.read("project.xml")


def test_the_schema_check_can_fail() -> None:
    """Wrong order, a missing attribute, a dangling reference and values that are none are each found."""
    root = ET.fromstring(
        '<Project><Arrangement><Markers/><Lanes track="nobody" timeUnit="bars"><Clips><Clip/></Clips>'
        '<Points><RealPoint time="soon" value="1"/></Points></Lanes></Arrangement></Project>'
    )
    faults = " ".join(schema_faults(root))
    for fault in (
        "['Markers', 'Lanes']", "Clip lacks time", "refers to nobody", "timeUnit='bars'", "time='soon'",
        "0 targets",
    ):  # fmt: skip
        assert fault in faults


def test_the_same_project_gives_the_same_bytes(tmp_path: Path) -> None:
    """Writing twice gives two equal files."""
    source = write_project(tmp_path / "a.dawproject")
    stem = StemTrack(source_track="Vocals", name="New", audio=rendered(tmp_path / "x.wav"))
    for name in ("b", "c"):
        write_dawproject(source, tmp_path / f"{name}.dawproject", [stem])
    assert (tmp_path / "b.dawproject").read_bytes() == (tmp_path / "c.dawproject").read_bytes()


def test_an_unknown_track_and_an_existing_target_are_refused(tmp_path: Path) -> None:
    """The nearest track is suggested, nothing is replaced, nothing half-written stays."""
    source = write_project(tmp_path / "a.dawproject")
    audio = rendered(tmp_path / "x.wav")
    with pytest.raises(SessionError, match="did you mean 'Vocals'"):
        write_dawproject(
            source, tmp_path / "b.dawproject", [StemTrack(source_track="Vocal", name="x", audio=audio)]
        )
    with pytest.raises(OutputError, match="exists already"):
        write_dawproject(source, source, [])
    assert {p.name for p in tmp_path.iterdir()} == {"a.dawproject", "x.wav"}


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Project version="1.0">&b;</Project>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Project version="1.0">&e;</Project>'


@pytest.mark.parametrize(("project", "match"), [
    (BOMB, "declares a document type"),
    (EXTERNAL, "declares a document type"),
    ("<Project>", "not well-formed"),
    ("<Song/>", "begins with <Song>"),
    ("<a>" * 300 + "</a>" * 300, "nested deeper"),
    (PROJECT.replace('value="120" id="t1"', 'value="fast" id="t1"'), "'fast' is not a usable number"),
])  # fmt: skip
def test_hostile_documents_are_refused_in_one_line(tmp_path: Path, project: str, match: str) -> None:
    """Entity bombs, external entities, broken XML and foreign roots give one line naming the file."""
    with pytest.raises(SessionError, match=match) as caught:
        read_dawproject(write_project(tmp_path / "bad.dawproject", project))
    assert "bad.dawproject" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    """Paths that climb out, missing projects, other files and truncated archives are named as such."""
    climbing = write_project(tmp_path / "a.dawproject", **{"../../evil.txt": b"x"})
    with pytest.raises(SessionError, match="leads out of the archive"):
        read_dawproject(climbing)
    with zipfile.ZipFile(tmp_path / "b.dawproject", "w") as archive:
        archive.writestr("readme.txt", "no project")
    with pytest.raises(SessionError, match=r"holds no project\.xml"):
        read_dawproject(tmp_path / "b.dawproject")
    (tmp_path / "c.dawproject").write_bytes(write_project(tmp_path / "d.dawproject").read_bytes()[:900])
    with pytest.raises(SessionError, match=r"not a \.dawproject archive that can be read"):
        read_dawproject(tmp_path / "c.dawproject")
    with pytest.raises(SessionError, match="cannot be read"):
        read_dawproject(tmp_path / "missing.dawproject")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops at the limit, whatever the archive claims of its sizes."""
    from bridge.daw import untrusted as safexml

    path = tmp_path / "a.dawproject"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.xml", b" " * (3 << 20))
    with zipfile.ZipFile(path) as archive, pytest.raises(SessionError, match="unpacks to more than 1 MiB"):
        list(safexml.read_member(archive, "project.xml", str(path), limit_bytes=1 << 20))
