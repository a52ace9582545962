"""DAWproject files are read right, refused when hostile, and written back with nothing else changed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from helpers.dawproject import PROJECT, schema_faults, write_project

from bridge.audio.writer import AudioWriter
from bridge.daw.dawproject_read import read_dawproject
from bridge.daw.dawproject_write import write_dawproject
from bridge.daw.model import StemTrack
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


def test_a_stretched_clip_is_left_out_by_name(tmp_path: Path) -> None:
    """A clip played faster than it was recorded is named in a warning, not taken over wrongly."""
    named = PROJECT.replace('value="90"', 'value="120"').replace(
        '<Clip time="2" duration="4"', '<Clip name="stretched" time="2" duration="4"'
    )
    session = read_dawproject(write_project(tmp_path / "a.dawproject", named, warp_end=6.0))
    assert len(session.tracks[1].clips) == 1
    assert "clip 'stretched' is stretched" in session.warnings[0]


def test_rendered_stems_go_back_after_their_source(tmp_path: Path) -> None:
    """Read, write, read: a new track behind its source, its audio and its depth lane in place."""
    source = write_project(tmp_path / "a.dawproject")
    target = tmp_path / "b.dawproject"
    stem = StemTrack(
        source_track="Vocals", name="Vocals [Lucid Bloom]", audio=rendered(tmp_path / "vocals.wav"),
        start_s=2.0, depth_points=((4.0, 0.0), (8.0, 1.0)),
    )  # fmt: skip
    write_dawproject(source, target, [stem], mute_sources=True)
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
