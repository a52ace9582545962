"""Small files cost little: what is far more than a session holds is refused in one line."""

from __future__ import annotations

import gzip
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.paths import SHARED

from bridge.daw.read import read_session
from bridge.errors import SessionError


def _archive(path: Path, project: str = "<Project/>", **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.xml", project)
        info = zipfile.ZipInfo("extra")
        for name, value in attributes.items():
            setattr(info, name, value)
        archive.writestr(info, b"x")
    return path


@pytest.mark.parametrize(
    ("project", "says"),
    [
        ("<Project>" + "<a/>" * 400_000 + "</Project>", "holds more than 150000 elements"),
        ("<Project>" + " " * (17 << 20) + "</Project>", "million characters"),
        ("<Project " + " ".join(f'a{i}=""' for i in range(300_000)) + "/>", "a tag of more than 1 MiB"),
        ("<a>" * 300 + "</a>" * 300, "nested deeper than 256 levels"),
    ],
)
def test_xml_of_small_archives_stays_within_limits(tmp_path: Path, project: str, says: str) -> None:
    """Elements, text, attributes and depth each end reading early."""
    path = _archive(tmp_path / "a.dawproject", project)
    with pytest.raises(SessionError, match=says) as caught:
        read_session(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"external_attr": (stat.S_IFLNK | 0o777) << 16}, "a link"),
        ({"compress_type": zipfile.ZIP_LZMA}, "packed by method 14"),
        ({"compress_type": zipfile.ZIP_BZIP2}, "packed by method 12"),
    ],
)
def test_archives_that_surprise_are_refused(tmp_path: Path, attributes: dict[str, int], says: str) -> None:
    """Links and ways of packing that no DAW uses are not looked into."""
    with pytest.raises(SessionError, match=says):
        read_session(_archive(tmp_path / "a.dawproject", **attributes))


def test_what_is_not_read_of_a_live_set_costs_no_memory(tmp_path: Path) -> None:
    """More devices than a session may have elements are passed over."""
    path = tmp_path / "a.als"
    devices = b"<Eq8/>" * 400_000
    text = (
        b"<Ableton><LiveSet><Tracks><MidiTrack><Devices>%b</Devices></MidiTrack></Tracks></LiveSet></Ableton>"
    )
    path.write_bytes(gzip.compress(text % devices))
    assert len(read_session(path).tracks) == 1


def test_long_lines_of_reaper_take_time_that_grows_with_them(tmp_path: Path) -> None:
    """A line of quotes without end is split in one pass; one beyond a million characters is refused."""
    path = tmp_path / "a.rpp"
    path.write_bytes(b"<REAPER_PROJECT 0.1\n  MARKER 1 2 " + b'" a' * 300_000 + b"\n>\n")
    began = time.process_time()
    read_session(path)
    assert time.process_time() - began < 2
    path.write_bytes(b"<REAPER_PROJECT 0.1\n  MARKER 1 2 " + b'" a' * 600_000)
    with pytest.raises(SessionError, match="a line of more than"):
        read_session(path)


def test_names_in_reaper_are_text_whatever_wrote_them(tmp_path: Path) -> None:
    """Names that are not UTF-8 are Western Windows', and end at a NUL."""
    path = tmp_path / "a.rpp"
    path.write_bytes(
        b'<REAPER_PROJECT 0.1\n<TRACK\nNAME "s\xfc\xdf\x00junk"\n>\n<TRACK\nNAME "\xe5\xa4\xa2"\n>\n>\n'
    )
    assert [track.name for track in read_session(path).tracks] == ["süß", "夢"]


@pytest.mark.skipif(not (SHARED / "cases/damaged").is_dir(), reason="the damaged files are not here")
@pytest.mark.parametrize("name", ["NotImplementedError", "OSError"])
def test_damaged_archives_are_refused_in_plain_words(name: str) -> None:
    """The file is named, and no error's number."""
    path = SHARED / f"cases/damaged/dawproject-{name}.dawproject"
    with pytest.raises(SessionError, match=r"cannot be unpacked|can be read") as caught:
        read_session(path)
    assert str(path) in str(caught.value)
    assert "Errno" not in str(caught.value)


def _notes(n_notes: int) -> str:
    note = '<Note time="{}" duration="0.25" channel="0" key="60" vel="0.787402" rel="0.787402"/>'
    notes = "".join(note.format(index / 4) for index in range(n_notes))
    return (
        '<Project><Structure><Track id="a" name="Keys"/></Structure><Arrangement><Lanes timeUnit="beats">'
        f'<Lanes track="a"><Clips><Clip time="0"><Notes>{notes}</Notes></Clip></Clips></Lanes></Lanes>'
        "</Arrangement></Project>"
    )


def test_three_hundred_thousand_notes_are_a_session_and_a_million_are_not(tmp_path: Path) -> None:
    """Notes become rows of numbers, so an honest session is read whole; what has far more is refused."""
    session = read_session(_archive(tmp_path / "a.dawproject", _notes(300_000)))
    notes = session.tracks[0].notes
    assert (len(notes), notes[-1].start_beats, notes[-1].velocity) == (300_000, 299_999 / 4, 0.787402)
    with pytest.raises(SessionError, match="more than 500000 notes and points"):
        read_session(_archive(tmp_path / "b.dawproject", _notes(510_000)))
    midi = "E 120 90 3c 64\n" * 600_000
    rpp = tmp_path / "a.rpp"
    rpp.write_text(f"<REAPER_PROJECT 0.1\n<TRACK\n<ITEM\n<SOURCE MIDI\n{midi}>\n>\n>\n>\n")
    assert len(read_session(rpp).tracks) == 1


def _many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(20_001):
            archive.writestr(f"{index}", b"")


def _hollow_member(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.xml", "<Project/>")
        with archive.open("audio/a.wav", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(1 << 20))


def _long_directory(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(100):
            info = zipfile.ZipInfo(f"{index}")
            info.comment = b"a" * 65_000
            archive.writestr(info, b"")


def _many_clips(path: Path) -> None:
    clips = '<Clip time="1"/>' * 20_001
    lanes = f'<Lanes><Lanes track="a"><Clips>{clips}</Clips></Lanes></Lanes>'
    _archive(path, f"<Project><Arrangement>{lanes}</Arrangement></Project>")


def _many_tempos(path: Path) -> None:
    points = "".join(f"PT {index} 120 1\n" for index in range(250_002))
    path.write_text(f"<REAPER_PROJECT 0.1\n<TEMPOENVEX\n{points}>\n>\n")


def _many_devices(path: Path) -> None:
    _archive(path, f"<Project><Devices>{'<a/>' * 2_000_001}</Devices></Project>")


def _many_lines(path: Path) -> None:
    path.write_bytes(b"<REAPER_PROJECT 0.1\n" + b"\n" * 1_500_001 + b">\n")


def _large_project(path: Path) -> None:
    path.write_bytes(b"<REAPER_PROJECT 0.1\n" + (b" " * 1023 + b"\n") * (65 << 10) + b">\n")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_many_members, "holds 20001 files"),
        (_hollow_member, "unpacks to far more than sound does"),
        (_long_directory, "directory is larger than 4 MiB"),
        (_many_clips, "more than 20000 clips"),
        (_many_tempos, "more than 250000 tempos"),
        (_many_devices, "more than 4000000 elements and attributes"),
        (_many_lines, "more than 1500000 lines"),
        (_large_project, "is larger than the 67.1089 MB"),
    ],
)
def test_each_limit_of_a_session_holds(tmp_path: Path, write: Callable[[Path], None], says: str) -> None:
    """Whatever there is far too much of is named."""
    path = tmp_path / ("a.rpp" if write in (_many_lines, _many_tempos, _large_project) else "a.dawproject")
    write(path)
    with pytest.raises(SessionError, match=says):
        read_session(path)
