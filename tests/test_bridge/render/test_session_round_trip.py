"""From a session to stems and back in two commands: new tracks sound as the old ones did.

The mixer here is written for the test: it knows Reaper's text and arithmetic, and nothing of the bridge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from bridge import render_plan
from bridge.arrays import Float64Array
from bridge.cli import COMMANDS
from bridge.cli.app import build_app
from bridge.daw.read import read_session
from bridge.daw.session_stems import choose_tracks
from bridge.errors import OutputError, PlanError, SessionError
from bridge.plan.job import Job
from bridge.plan.job_list import build_plans

RATE = 22_050
LENGTH_S = 6.0
NULL = """uuid = "00000000-0000-4000-8000-0000000000e1"
[meta]
name = "Null"
category = "Utility"
[level]
mode = "keep"
[[chain]]
id = "same"
use = "gain"
params = {gain_db = 0.0}
"""
HEAD = """<REAPER_PROJECT 0.1 "7.0/linux" 1700000000
  SAMPLERATE 22050 1 0
  RECORD_PATH "Audio" ""
  TEMPO 120 4 4
  <TEMPOENVEX
    PT 0 120 0
    PT 2 90 1 524295
  >
  MARKER 1 2.5 Drop
"""


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item as Reaper's text says it."""

    start_s: float
    length_s: float
    file: str
    offset_s: float = 0.0
    gain: float = 1.0
    fade_in_s: float = 0.0
    fade_out_s: float = 0.0
    loop: bool = False
    muted: bool = False
    section: tuple[float, float, int] | None = None

    def text(self) -> str:
        source = f'<SOURCE WAVE\nFILE "{self.file}"\n>'
        if self.section is not None:
            start_s, length_s, mode = self.section
            source = f"<SOURCE SECTION\nLENGTH {length_s}\nMODE {mode}\nSTARTPOS {start_s}\n{source}\n>"
        return "\n".join([
            "<ITEM", f"POSITION {self.start_s}", f"LENGTH {self.length_s}", f"LOOP {int(self.loop)}",
            f"FADEIN 1 {self.fade_in_s} 0 0 0 0 0", f"FADEOUT 1 {self.fade_out_s} 0 0 0 0 0",
            f"MUTE {int(self.muted)} 0", f"VOLPAN {self.gain} 0 1 -1", f"SOFFS {self.offset_s}",
            "PLAYRATE 1 1 0 -1", source, ">",
        ])  # fmt: skip

    def play(self, folder: Path) -> tuple[int, Float64Array]:
        """Return where it begins and what it plays, by sums done here."""
        audio = soundfile.read(folder / self.file, always_2d=True)[0].T
        if self.section is not None:
            start_s, length_s, mode = self.section
            audio = audio[:, round(start_s * RATE) : round((start_s + length_s) * RATE)]
            audio = audio[:, ::-1] if mode & 2 else audio
        start, end = round(self.start_s * RATE), round((self.start_s + self.length_s) * RATE)
        places = round(self.offset_s * RATE) + np.arange(end - start)
        if self.loop:
            places %= audio.shape[1]
        sound = np.zeros((audio.shape[0], end - start))
        inside = places < audio.shape[1]
        sound[:, inside] = audio[:, places[inside]] * self.gain
        n = np.arange(end - start)
        for length_s, position in ((self.fade_in_s, n), (self.fade_out_s, end - start - n)):
            if length_s:
                sound *= np.clip(position / (length_s * RATE), 0, 1)
        return start, sound


def mix(folder: Path, tracks: list[tuple[float, float, bool, list[Item]]]) -> Float64Array:
    """Mix tracks (volume, pan, muted, items) to stereo; pan makes the other side fainter."""
    total = np.zeros((2, round(LENGTH_S * RATE) + RATE))
    for volume, pan, muted, items in tracks:
        for item in items:
            if not (muted or item.muted):
                start, sound = item.play(folder)
                sides = volume * np.array([[min(1, 1 - pan)], [min(1, 1 + pan)]])
                total[:, start : start + sound.shape[1]] += sides * np.broadcast_to(
                    sound, (2, sound.shape[1])
                )
    return total


def read_tracks(text: str) -> dict[str, tuple[float, float, bool, list[Item]]]:
    """Read plain tracks back, as little as the mixer needs of them."""
    tracks = {}
    for part in re.split(r"^\s*<TRACK", text, flags=re.MULTILINE)[1:]:
        head, *items = re.split(r"^\s*<ITEM", part, flags=re.MULTILINE)
        name = re.search(r'NAME "?([^"\n]*)', head)
        volume = re.search(r"^\s*VOLPAN (\S+) (\S+)", head, re.MULTILINE)
        found = []
        for item in items:
            word = {m[1]: m[2] for m in re.finditer(r"^\s*(\w+) (\S+)", item, re.MULTILINE)}
            file = re.search(r'FILE "([^"]+)"', item)
            if file is not None:
                found.append(Item(start_s=float(word["POSITION"]), length_s=float(word["LENGTH"]),
                                  file=file[1], offset_s=float(word["SOFFS"])))  # fmt: skip
        level = (float(volume[1]), float(volume[2])) if volume else (1.0, 0.0)
        tracks[name[1] if name else ""] = (*level, "MUTESOLO 1" in head, found)
    return tracks


@pytest.fixture
def session(tmp_path: Path) -> tuple[Path, list[tuple[float, float, bool, list[Item]]]]:
    """Twelve tracks: trimmed, faded, looped, reversed and overlapping clips, some muted, at many levels."""
    rng = np.random.default_rng(5)
    for name, n_channels in (("a.wav", 1), ("b.wav", 2)):
        soundfile.write(
            tmp_path / name, rng.uniform(-0.1, 0.1, (2 * RATE, n_channels)), RATE, subtype="FLOAT"
        )
    tracks = []
    for number in range(12):
        file = "ab"[number % 2] + ".wav"
        items = [
            Item(start_s=0.1 * number, length_s=1.0, file=file, offset_s=0.05 * number, fade_in_s=0.1),
            Item(start_s=2.0, length_s=3.5, file=file, loop=True, gain=0.5, fade_out_s=0.5),
            Item(start_s=2.5, length_s=0.7, file=file, muted=True),
            Item(start_s=3.0, length_s=1.2, file=file, section=(0.25, 1.0, 2 * (number % 3 == 0)), loop=True),
        ]
        tracks.append((0.5 + 0.04 * number, -0.6 + 0.1 * number, number == 7, items))
    text = HEAD
    for number, (volume, pan, muted, items) in enumerate(tracks):
        folder = {2: "ISBUS 1 1", 4: "ISBUS 2 -1"}.get(number, "ISBUS 0 0")
        send = "AUXRECV 1 0 0.5 0 0 0 0 0 0\n" if number == 11 else ""
        text += (
            f'<TRACK\nNAME "T{number}"\nVOLPAN {volume} {pan} -1\nMUTESOLO {int(muted)} 0 0\n{folder}\n{send}'
            + "\n".join(item.text() for item in items)
            + "\n>\n"
        )
    path = tmp_path / "song.rpp"
    path.write_text(text + ">\n")
    (tmp_path / "null.toml").write_text(NULL)
    return path, tracks


def run(*words: object) -> None:
    done = CliRunner().invoke(build_app(COMMANDS), [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_new_tracks_sound_as_the_old_ones_did(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """Rendered by a preset that does nothing and written back, the mix nulls to -120 dB."""
    path, tracks = session
    folder = path.parent
    run(
        "render",
        path,
        "-p",
        folder / "null.toml",
        "--out",
        folder / "out",
        "--format",
        "wav",
        "--subtype",
        "float",
    )
    run("session", "write", folder / "out/null.manifest.json", "--into", path, "--out", folder / "new.rpp",
        "--original", "mute")  # fmt: skip
    before = mix(folder, tracks)
    written = read_tracks((folder / "new.rpp").read_text())
    assert len(written) == 12 + 11  # the muted track gives no stem
    assert all(muted for name, (*_, muted, _) in written.items() if not name.endswith("[Null]"))
    after = mix(folder, [track for name, track in written.items() if name.endswith("[Null]")])
    apart = np.abs(after - before).max()
    assert np.abs(before).max() > 0.1
    assert 20 * np.log10(apart + 1e-21) <= -120
    text = (folder / "new.rpp").read_text()
    assert text.count('FILE "Audio/') == 11
    # A send that came from the second track comes from it still, and from its new one beside it.
    order = list(written)
    sources = [order[int(n)] for n in re.findall(r"AUXRECV (\d+)", text)]
    assert sources == ["T1", "T1 [Null]"]
    assert order.index("T4 [Null]") == order.index("T4") + 1
    folder_end = text[text.index('NAME "T4 [Null]"') :]
    assert folder_end[: folder_end.index("<ITEM")].count("ISBUS 2 -1") == 1


def test_replaced_tracks_are_gone_and_their_sends_go_on(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """--original replace leaves the new tracks alone; a backup of the session stays beside it."""
    path, _ = session
    folder, as_it_was = path.parent, path.read_bytes()
    run(
        "render", path, "-p", folder / "null.toml", "--out", folder / "out", "--track", "T1", "--track", "T11"
    )
    run("session", "write", folder / "out/null.manifest.json", "--into", path, "--in-place", "--original",
        "replace")  # fmt: skip
    written = read_tracks(path.read_text())
    assert {"T1", "T11"} & set(written) == set()
    assert {"T1 [Null]", "T11 [Null]", "T0"} <= set(written)
    assert (folder / "song.backup1.rpp").read_bytes() == as_it_was


def test_takes_play_their_own_stretch_of_the_stem(tmp_path: Path) -> None:
    """--as takes adds one to every item, at its place in the stem; where items overlap a track is added."""
    soundfile.write(tmp_path / "a.wav", np.full((2 * RATE, 1), 0.1), RATE, subtype="FLOAT")
    items = [Item(start_s=at, length_s=1.0, file="a.wav", gain=0.5) for at in (0.5, 2.0)]
    overlapping = [Item(start_s=at, length_s=1.0, file="a.wav") for at in (0.0, 0.5)]
    tracks = "".join(
        f'<TRACK\nNAME "{name}"\n' + "\n".join(item.text() for item in own) + "\n>\n"
        for name, own in (("Apart", items), ("Over", overlapping))
    )
    path = tmp_path / "song.rpp"
    path.write_text(f"{HEAD}{tracks}>\n")
    (tmp_path / "null.toml").write_text(NULL)
    run("render", path, "-p", tmp_path / "null.toml", "--out", tmp_path / "out")
    manifest = tmp_path / "out/null.manifest.json"
    run("session", "write", manifest, "--into", path, "--out", tmp_path / "new.rpp", "--as", "takes")
    with pytest.raises(OutputError, match="goes with new tracks"):
        run("session", "write", manifest, "--into", path, "--out", tmp_path / "other.rpp", "--as", "takes",
            "--original", "mute")  # fmt: skip
    session = read_session(tmp_path / "new.rpp")
    assert [track.name for track in session.tracks] == ["Apart", "Over", "Over [Null]"]
    taken = session.tracks[0].clips
    assert [(Path(c.media).name, c.start_s, c.offset_s, c.gain) for c in taken] == [
        ("Apart__null.wav", 0.5, 0.5, 1.0), ("Apart__null.wav", 2.0, 2.0, 1.0),
    ]  # fmt: skip


def test_a_session_that_changed_since_it_was_rendered_is_refused(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """Clips may lie elsewhere now; --changed writes all the same."""
    path, _ = session
    folder = path.parent
    run("render", path, "-p", folder / "null.toml", "--out", folder / "out", "--track", "T0", "--session-out",
        folder / "same.rpp")  # fmt: skip
    assert "T0 [Null]" in read_tracks((folder / "same.rpp").read_text())
    run("report", path)
    assert "song.rpp" in (folder / "out/null.report.html").read_text()
    path.write_text(path.read_text().replace("POSITION 2.0", "POSITION 2.25"))
    words = [
        "session",
        "write",
        str(folder / "out/null.manifest.json"),
        "--into",
        str(path),
        "--out",
        str(folder / "new.rpp"),
    ]
    with pytest.raises(SessionError, match="has changed since it was rendered"):
        run(*words)
    run("session", "write", folder / "out/null.manifest.json", "--into", path, "--in-place", "--changed")
    run("report", path, "--overwrite")  # drawn from the session as it is now
    run(*words, "--changed")
    assert "T0 [Null]" in read_tracks((folder / "new.rpp").read_text())


def test_what_session_out_cannot_write_is_refused_before_anything_is_rendered(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """A kind that is only read, a copy of another kind, the session itself, a MIDI file found as the song."""
    path, _ = session
    folder = path.parent
    backup = path.rename(folder / "old.rpp-bak")
    words = ["-p", folder / "null.toml", "--out", folder / "out", "--session-out"]
    with pytest.raises(SessionError, match="rpp-bak sessions cannot be written"):
        run("render", backup, *words, folder / "new.rpp")
    backup.rename(path)
    with pytest.raises(SessionError, match=r"name it \*\.rpp"):
        run("render", path, *words, folder / "new.als")
    with pytest.raises(OutputError, match="is the session itself"):
        run("render", path, *words, path, "--overwrite")
    path.unlink()
    (folder / "song.mid").write_bytes(b"")
    with pytest.raises(PlanError, match="a session in the place of stems"):
        run("render", folder / "a.wav", *words, folder / "new.rpp", "--auto-clock")
    assert not (folder / "out").exists()


def test_a_session_that_changes_between_plan_and_render_is_refused(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """A plan's clock and places are of the session as it was."""
    path, _ = session
    job = Job(stems=str(path), preset=str(path.parent / "null.toml"), out=str(path.parent / "out"))
    (plan,) = build_plans(job)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(SessionError, match="has changed since the plan was made"):
        render_plan(plan)


def test_a_file_of_the_users_among_the_session_stems_stays(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """A stem written before is written anew when the session changed; one the user changed is not."""
    path, _ = session
    folder = path.parent
    words = ["render", path, "-p", folder / "null.toml", "--track", "T0", "--out"]
    run(*words, folder / "out")
    stem = folder / "out/session stems/song/T0.wav"
    before = stem.read_bytes()
    path.write_text(path.read_text().replace("POSITION 2.0", "POSITION 2.25"))
    run(*words, folder / "out", "--overwrite")
    assert stem.read_bytes() != before
    stem.write_bytes(before[:-4] + b"mine")
    path.write_text(path.read_text().replace("POSITION 2.25", "POSITION 2.5"))
    with pytest.raises(OutputError, match="was changed since"):
        run(*words, folder / "out", "--overwrite")
    assert stem.read_bytes()[-4:] == b"mine"


def test_two_sessions_render_into_one_folder(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """What one song's render was made from stays when another song has tracks of the same names."""
    path, _ = session
    folder = path.parent
    (folder / "other.toml").write_text(NULL.replace('"Null"', '"Other"').replace("e1", "e3"))
    (folder / "other.rpp").write_text(path.read_text().replace("POSITION 2.0", "POSITION 2.25"))
    words = ["--out", folder / "out", "--track", "T0"]
    run("render", path, "-p", folder / "null.toml", *words)
    run("render", folder / "other.rpp", "-p", folder / "other.toml", *words)
    for name in ("null", "other"):
        run("verify", folder / f"out/{name}.manifest.json")


def test_tracks_whose_names_differ_in_case_alone_give_two_files(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """A number tells them apart, also from a track that has such a number itself."""
    path, _ = session
    text = path.read_text()
    for old, new in (("T1", "Vox"), ("T5", "vox"), ("T6", "Vox 2")):
        text = re.sub(rf'NAME "?{old}"?$', f'NAME "{new}"', text, flags=re.MULTILINE)
    path.write_text(text)
    stems, _ = choose_tracks(read_session(path), ["vox*"])
    assert [stem.name for stem in stems] == ["Vox", "vox 2", "Vox 2 2"]


def test_tracks_groups_and_buses_are_chosen_by_name(
    session: tuple[Path, list[tuple[float, float, bool, list[Item]]]],
) -> None:
    """A pattern, a folder's tracks, a sum of two; what matches nothing is answered with the nearest names."""
    path, _ = session
    read = read_session(path)
    assert [s.name for s in choose_tracks(read, ["t1*"])[0]] == ["T1", "T10", "T11"]
    assert [s.name for s in choose_tracks(read, ["T2"])[0]] == ["T2", "T3", "T4"]
    (bus,), _ = choose_tracks(read, [], ["Low=T5,T6"])
    assert (bus.name, [track.name for track in bus.tracks]) == ("Low", ["T5", "T6"])
    assert choose_tracks(read, ["T7"])[0][0].name == "T7"  # named alone, a muted track is rendered
    assert "T7: is muted" in choose_tracks(read)[1][0]
    with pytest.raises(SessionError, match="no track matches 'Vox'"):
        choose_tracks(read, ["Vox"])


def test_automation_of_a_session_moves_what_a_preset_routes_it_to(tmp_path: Path) -> None:
    """A track's volume from 0 to 1 over 4 s is a gain that rises in a line, through a ramp of tempo too."""
    soundfile.write(tmp_path / "a.wav", np.full((4 * RATE, 1), 0.1), RATE, subtype="FLOAT")
    envelope = "<VOLENV2\nPT 0 0 0\nPT 4 4 1\n>"
    item = Item(start_s=0.0, length_s=4.0, file="a.wav").text()
    path = tmp_path / "song.rpp"
    path.write_text(f'{HEAD}<TRACK\nNAME "Vox"\n{envelope}\n{item}\n>\n>\n')
    route = 'source = "lane:Vox/Volume"\ntarget = "same.gain_db"\nmin = -20\nmax = 0\nop = "replace"\n'
    route = f"[[routes]]\n{route}"
    (tmp_path / "moved.toml").write_text(NULL + route)
    run("render", path, "-p", tmp_path / "moved.toml", "--out", tmp_path / "out", "--subtype", "float")
    sound = soundfile.read(tmp_path / "out/Vox__null.wav")[0]
    at = np.array([0.5, 1.0, 2.0, 3.5])
    gain_db = 20 * np.log10(sound[(at * RATE).astype(int)] / 0.1)
    np.testing.assert_allclose(gain_db, -20 + 5 * at, atol=0.05)  # a gain moves every 64 samples
