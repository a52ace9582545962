"""What every factory preset does to every stem of the example, in figures of sound."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bridge import build_plan, render_plan

SONG = Path(__file__).parents[3] / "examples" / "song"
STEMS = ("bass", "drums", "keys", "lead")
SECONDS = 7.0
"""From the song's beginning, so that its MIDI fits; the last one is there to die away in."""
FACTORY = ("four-floor-hypnosis", "lucid-bloom", "snare-apparition", "tape-dreams", "undertow")
"""Those that colour a sound. Played ones lead it to other notes, whatever its balance was."""


def thirds(sound: np.ndarray, rate: int) -> np.ndarray:
    """Return the energy of each third of an octave from 50 Hz up."""
    n_fft = 1 << 15
    frames = [
        sound[i : i + n_fft].mean(axis=1) * np.hanning(n_fft) for i in range(0, len(sound) - n_fft, n_fft)
    ]
    power = sum(np.abs(np.fft.rfft(frame)) ** 2 for frame in frames)
    hz, edges = np.fft.rfftfreq(n_fft, 1 / rate), 50.0 * 2.0 ** (np.arange(27) / 3)
    return np.array([np.sum(power * ((hz >= low) & (hz < high))) for low, high in pairwise(edges)])


def levels_dbfs(samples: np.ndarray, n: int = 2205) -> np.ndarray:
    """Return the level of every 50 ms."""
    count = len(samples) // n
    return 10 * np.log10((samples[: count * n].reshape(count, -1) ** 2).mean(axis=1) + 1e-20)


def silent_passages(samples: np.ndarray) -> np.ndarray:
    """Mark what lies in passages of half a second and more below -60 dBFS."""
    quiet = levels_dbfs(samples) < -60.0
    return np.array(
        [any(quiet[max(0, i - k) : i - k + 10].all() for k in range(10) if i >= k) for i in range(len(quiet))]
    )


@pytest.mark.parametrize("name", FACTORY)
def test_a_factory_preset_keeps_loudness_peaks_and_balance(name: str, tmp_path: Path) -> None:
    """Loudness within 1 LU, true peak at -1 dBTP or below, nine thirds of ten within 6 dB; silence stays.

    Of thirds within 40 dB of the loudest; four seconds hold few notes, and some presets filter too.
    """
    sounds, gains = {}, {}
    for stem in STEMS:
        part, rate = soundfile.read(
            SONG / f"{stem}.flac", stop=round(SECONDS * 44100), dtype="float32", always_2d=True
        )
        # A fifth of a second to die away in, as a note does.
        fade_db = np.interp(np.arange(len(part)), [len(part) - 1.2 * rate, len(part) - rate], [0, -60])
        # As hot as stems come: what a dream adds to the peaks is the limiter's to take.
        gains[stem] = 0.88 / np.abs(part).max()
        part *= (10 ** (fade_db / 20))[:, None] * gains[stem]
        soundfile.write(tmp_path / f"{stem}.wav", part, rate, subtype="PCM_16")
        sounds[stem] = soundfile.read(tmp_path / f"{stem}.wav", dtype="float32", always_2d=True)[0]
    plan = build_plan(
        [tmp_path / f"{stem}.wav" for stem in STEMS],
        name,
        midi=SONG / "song.mid",
        out_dir=tmp_path / "out",
        threads=1,
    )
    report = render_plan(plan)
    assert report.failed == ()
    for result in report.stems:
        assert result.record is not None
        before, after = result.record.before, result.record.after
        assert abs(after["integrated_lufs"] - before["integrated_lufs"]) <= 1.0, result.name
        assert after["true_peak_dbtp"] <= -1.0 + 1e-3, result.name
        source = sounds[result.name]
        target = soundfile.read(result.target, dtype="float32", always_2d=True)[0]
        assert target.shape == source.shape
        assert not np.array_equal(source, target)
        # What is silent in the song, whatever was done to its level above.
        silent = silent_passages(source / gains[result.name])
        assert silent.any()
        assert (levels_dbfs(target / gains[result.name])[silent] <= -60.0).all()
        sounding = slice(0, len(source) - rate)
        dry, wet = thirds(source[sounding], rate), thirds(target[sounding], rate)
        heard = dry > 1e-4 * dry.max()
        drift = np.abs(10 * np.log10(wet[heard] / dry[heard]))
        assert np.percentile(drift, 90) <= 6.0, result.name
