"""The folder for any DAW, opened by one: Ardour, without a screen, finds bars, markers and audio in place.

It needs Debian's package `ardour` and is skipped without. Ardour's Lua cannot import files, so the clock goes
in through Lua, and audio and marks through the session's XML, at ticks of the song's MIDI file as mido reads
them.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import mido
import numpy as np
import pytest
import soundfile

from bridge.audio.writer import AudioWriter
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import StemTrack
from bridge.daw.stem_folder import write_exchange_folder

LUA = next((path for n in (7, 8, 9) if (path := shutil.which(f"ardour{n}-lua"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LUA is None, reason="ardour is not installed"),
]

RATE = 48_000
SUPERCLOCK = 282_240_000 // RATE
TICKS = 1920
SONG = TempoMap.from_points(
    [(0, 120, "hold"), (8, 90, "beats"), (15, 140, "hold")],
    [(0, 4, 4), (8, 7, 8), (15, 4, 4)],
    [(0, "Verse"), (8, "Chorus"), (12, "Fill"), (15, "End")],
)


def run(*command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=90, check=False, errors="replace"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_song(path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    """Return the lines of a song as session.lua reads them, and its markers, in Ardour's ticks.

    Ardour moves tempo changes to the start of their quarter note, so each gets one tempo: that of its length.
    """
    file = mido.MidiFile(path)
    lines, markers, now = [], [], 0
    lengths = [(0, 500_000)]  # microseconds a quarter note, from a tick on
    for message in file.tracks[0]:
        now += message.time
        ticks = now * TICKS // file.ticks_per_beat
        if message.type == "set_tempo":
            lengths.append((ticks, message.tempo))
        elif message.type == "time_signature":
            lines.append(f"meter {ticks} {message.numerator} {message.denominator}")
        elif message.type == "marker":
            markers.append((ticks, message.text))
    starts, tempos = (np.array(column, np.float64) for column in zip(*lengths, strict=True))
    passed = np.concatenate(([0.0], np.cumsum(np.diff(starts) * tempos[:-1])))

    def time_us(ticks: int) -> float:
        at = int(np.searchsorted(starts, ticks, "right")) - 1
        return float(passed[at] + (ticks - starts[at]) * tempos[at]) / TICKS

    quarters = range(0, int(starts[-1]) + 1, TICKS)
    lines += [f"tempo {at} {60e6 / (time_us(at + TICKS) - time_us(at)):.9f}" for at in quarters]
    return lines, markers


_ZEROS = """muted locked video-locked automatic import external sync-marked left-of-split right-of-split
    hidden position-locked valid-transients layering-index contents env-active default-fade-in
    default-fade-out fade-in-active fade-out-active"""


class Injector:
    """Puts stems at the start of the tracks of their names, and marks at their ticks, into a session."""

    def __init__(self, file: Path) -> None:
        self.file, self.text = file, file.read_text(encoding="utf-8")
        self.number = int(re.findall(r'id-counter="(\d+)"', self.text)[0])
        self.sources, self.regions, self.n_samples = "", "", 0

    def identity(self) -> int:
        self.number += 1
        return self.number

    def add(self, stem: Path) -> None:
        folder = next((self.file.parent / "interchange").iterdir()) / "audiofiles"
        sound, rate = soundfile.read(stem, dtype="float32", always_2d=True)
        self.n_samples, numbers = max(self.n_samples, len(sound)), []
        for channel, side in zip(sound.T, "LR", strict=True):
            soundfile.write(folder / f"{stem.stem}%{side}.wav", channel, rate, subtype="FLOAT")
            numbers.append(self.identity())
            self.sources += (
                f'<Source name="{stem.stem}%{side}.wav" take-id="" type="audio" flags="" id="{numbers[-1]}" '
                'natural-position="a0" have-natural-position="1" channel="0" origin="" gain="1"/>'
            )
        self.regions += self.region(stem.stem, numbers, len(sound), whole=1)
        region = self.region(stem.stem, numbers, len(sound), whole=0)
        playlist = rf'(<Playlist id="\d+" name="{stem.stem}"[^>]*?)/>'
        self.text, n_found = re.subn(playlist, lambda m: f"{m[1]}>{region}</Playlist>", self.text)
        assert n_found == 1

    def region(self, name: str, sources: Sequence[int], n_samples: int, *, whole: int) -> str:
        flags = " ".join(f'{name}="0"' for name in _ZEROS.split())
        of = " ".join(f'source-{i}="{n}" master-source-{i}="{n}"' for i, n in enumerate(sources))
        length = f"a{n_samples * SUPERCLOCK}@a0"
        return (
            f'<Region name="{name}" opaque="1" whole-file="{whole}" {flags} start="a0" length="{length}" '
            f'sync-position="a0" ancestral-start="a0" ancestral-length="{length}" stretch="1" shift="1" '
            f'tags="" scale-amplitude="1" type="audio" channels="2" first-edit="nothing" '
            f'id="{self.identity()}" {of}/>'
        )

    def write(self, markers: Sequence[tuple[int, str]]) -> None:
        marks = ""
        for ticks, name in markers:
            place = f'start="b{ticks}" end="b{ticks}"'
            marks += f'<Location id="{self.identity()}" name={quoteattr(name)} {place} '
            marks += 'flags="IsMark" locked="0" cue="0"/>'
        marks += f'<Location id="{self.identity()}" name="session" start="a0" '
        marks += f'end="a{self.n_samples * SUPERCLOCK}" flags="IsSessionRange" locked="0" cue="0"/>'
        text = self.text.replace('session-range-is-free="1"', 'session-range-is-free="0"')
        for tag, inner in (("Sources", self.sources), ("Regions", self.regions), ("Locations", marks)):
            text = text.replace(f"<{tag}/>", f"<{tag}>{inner}</{tag}>")
        text = re.sub(r'id-counter="\d+"', f'id-counter="{self.identity()}"', text)
        self.file.write_text(text, encoding="utf-8")


def export(folder: Path, name: str, out: Path) -> np.ndarray:
    """Return what Ardour exports; Debian's 7.3 now and then crashes as it ends, with any session."""
    assert LUA is not None
    command = [LUA.replace("-lua", "-export"), "-b", "float", "-o", str(out), str(folder), name]
    for _ in range(6):
        out.unlink(missing_ok=True)
        if subprocess.run(command, capture_output=True, timeout=90, check=False).returncode == 0:
            return soundfile.read(out, dtype="float32", always_2d=True)[0]
    raise AssertionError("no export ended well")


def test_ardour_finds_bars_markers_and_audio_to_the_sample(tmp_path: Path) -> None:
    """Marks lie at the samples and bars that markers.csv tells, and the mix is the sum of the stems."""
    assert LUA is not None
    rng = np.random.default_rng(3)
    stems = []
    for name in ("keys", "bass"):
        path = tmp_path / f"{name}.wav"
        with AudioWriter(path, sample_rate=RATE, n_channels=2, subtype="PCM_24") as writer:
            writer.write(rng.uniform(-0.4, 0.4, (2, 9 * RATE)).astype(np.float32))
        stems.append(StemTrack(source_track=name, name=name, audio=path))
    folder = write_exchange_folder(tmp_path / "out", stems, SONG, pro_tools=True)
    files = sorted((folder / "stems").iterdir())
    lines, markers = read_song(folder / "song.mid")
    (tmp_path / "song.txt").write_text("\n".join(lines) + "\n")
    script, session = Path(__file__).with_name("session.lua"), tmp_path / "session"

    song = tmp_path / "song.txt"
    run(LUA, script, "make", session, "song", str(RATE), song, *(file.stem for file in files))
    injector = Injector(session / "song.ardour")
    for path in files:
        injector.add(path)
    injector.write(markers)
    shown = [line.split("\t") for line in run(LUA, script, "show", session, "song").splitlines()]
    found = {name: (int(at), bars) for word, at, bars, name in (x for x in shown if x[0] == "mark")}

    with (folder / "markers.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert [row["name"] for row in told] == ["Verse", "Chorus", "Fill", "End"]
    for row in told:
        bar, beat, _ = map(int, row["bar:beat:tick"].split(":"))
        at, bars = found[row["name"]]
        assert bars.split("|")[:2] == [str(bar), str(beat)]
        # Both count whole samples: so they may round one to either side.
        assert abs(at - float(row["seconds"]) * RATE) <= 1.0
    mix = sum(soundfile.read(file, dtype="float32", always_2d=True)[0] for file in files)
    np.testing.assert_allclose(export(session, "song", tmp_path / "mix.wav"), mix, atol=2.0**-23)
