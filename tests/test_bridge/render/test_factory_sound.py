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
SECONDS = 8.0
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


@pytest.mark.parametrize("name", FACTORY)
def test_a_factory_preset_keeps_loudness_peaks_and_balance(name: str, tmp_path: Path) -> None:
    """Loudness within 1 LU, true peak at -1 dBTP or below, nine thirds of ten within 6 dB.

    Of those within 40 dB of the loudest; five seconds hold few notes, and some presets filter too.
    """
    sounds = {}
    for stem in STEMS:
        sound, rate = soundfile.read(SONG / f"{stem}.flac", dtype="float32", always_2d=True)
        part = sound[: round(SECONDS * rate)]
        # As hot as stems come: what a dream adds to the peaks is the limiter's to take.
        sounds[stem] = part * (0.88 / np.abs(part).max())
        soundfile.write(tmp_path / f"{stem}.wav", sounds[stem], rate, subtype="FLOAT")
    plan = build_plan(
        [tmp_path / f"{stem}.wav" for stem in STEMS], name, midi=SONG / "song.mid", out_dir=tmp_path / "out"
    )
    report = render_plan(plan)
    assert report.failed == ()
    for result in report.stems:
        assert result.record is not None
        before, after = result.record.before, result.record.after
        assert abs(after["integrated_lufs"] - before["integrated_lufs"]) <= 1.0, result.name
        assert after["true_peak_dbtp"] <= -1.0 + 1e-3, result.name
        rendered = soundfile.read(result.target, dtype="float32", always_2d=True)[0][
            : len(sounds[result.name])
        ]
        dry, wet = thirds(sounds[result.name], rate), thirds(rendered, rate)
        heard = dry > 1e-4 * dry.max()
        drift = np.abs(10 * np.log10(wet[heard] / dry[heard]))
        assert np.percentile(drift, 90) <= 6.0, result.name
