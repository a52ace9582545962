"""Levels of delivered files, through whole renders: matched, trimmed in common, limited, and said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.audio import noise, sine

from bridge.arrays import AudioArray
from bridge.audio.formats import OUTPUT_SUBTYPES
from bridge.audio.hashing import hash_samples
from bridge.audio.loudness import LoudnessMeter, measure_loudness
from bridge.audio.reader import read_audio
from bridge.audio.writer import AudioWriter
from bridge.clock.settings import ClockSettings
from bridge.plan.planner import build_plan
from bridge.presets.model import parse_preset
from bridge.render.manifest import read_manifest
from bridge.render.results import RenderReport
from bridge.render.runner import render_plan

RATE = 48_000


def render(
    folder: Path, sounds: dict[str, AudioArray], chain: list[dict[str, Any]], level: dict[str, Any]
) -> RenderReport:
    """Render float stems through a chain at a level."""
    folder.mkdir(exist_ok=True)
    for name, samples in sounds.items():
        path = folder / f"{name}.wav"
        with AudioWriter(path, sample_rate=RATE, n_channels=len(samples), subtype="FLOAT") as writer:
            writer.write(samples)
    preset = {
        "format": "reverie/preset",
        "version": 1,
        "uuid": "11111111-2222-3333-4444-555555555555",
        "meta": {"name": "Level", "category": "Utility"},
        "chain": chain,
        "level": level,
    }
    stems = [folder / f"{name}.wav" for name in sounds]
    plan = build_plan(
        stems, parse_preset(preset, "test"), out_dir=folder / "out", clock=ClockSettings(bpm=120)
    )
    report = render_plan(plan)
    assert report.failed == ()
    return report


def gain(gain_db: float) -> list[dict[str, Any]]:
    return [{"id": "gain", "use": "gain", "params": {"gain_db": gain_db}}]


def test_match_delivers_the_loudness_of_the_input(tmp_path: Path) -> None:
    """A compressor and a shelf change the loudness by some dB; delivered, it is the input's within 0.1 LU."""
    sound = noise(3 * RATE, 2, level=0.03) * np.linspace(0.2, 1.0, 3 * RATE, dtype=np.float32)
    chain = [
        {"id": "press", "use": "compressor", "params": {"threshold_db": -30.0, "ratio": 3.0}},
        {"id": "shelf", "use": "high_shelf_filter", "params": {"gain_db": -9.0}},
    ]
    report = render(tmp_path, {"stem": sound}, chain, {"mode": "match", "allow_loss": True})
    result = report.stems[0]
    assert result.record is not None
    assert abs(result.record.gain_db) > 2  # or there was nothing to match
    delivered = measure_loudness(read_audio(result.target)[0], RATE)
    assert delivered.integrated_lufs == pytest.approx(measure_loudness(sound, RATE).integrated_lufs, abs=0.1)
    assert result.record.after["integrated_lufs"] == pytest.approx(delivered.integrated_lufs, abs=2e-3)
    assert result.record.after["true_peak_dbtp"] == pytest.approx(delivered.true_peak_dbtp, abs=2e-3)
    assert result.warnings == ()


def test_a_common_trim_keeps_the_sum(tmp_path: Path) -> None:
    """Three stems go 12 dB up, two of them over the ceiling; delivered, they add up to one trimmed mix.

    The first and second differ in how far they exceed, so trims of their own would tear the balance; what is
    left is the rounding of 32-bit samples.
    """
    sounds = {
        "loud": noise(RATE, 2, level=0.2, seed=1),
        "mild": sine(220, 1.0, level_dbfs=-9, n_channels=2),
        "soft": noise(RATE, 2, level=0.01, seed=2),
    }
    level = {"mode": "keep", "common_trim": True}
    report = render(tmp_path / "shared", sounds, gain(12.0), level)
    records = [stem.record for stem in report.stems]
    assert len({record.gain_db for record in records if record}) == 1
    assert records[0] is not None
    assert records[0].gain_db < -3.0  # or there was nothing to trim
    total = sum(read_audio(stem.target)[0].astype(np.float64) for stem in report.stems)
    raised = sum(sound.astype(np.float64) for sound in sounds.values()) * 10 ** (12 / 20)
    trim = 10 ** (records[0].gain_db / 20)
    assert float(np.abs(total - raised * trim).max()) < 1e-6
    assert not any(stem.warnings for stem in report.stems)  # it was asked for
    # A level that is kept without it is not trimmed at all; of levels each stem has its own.
    apart = render(tmp_path / "apart", sounds, gain(12.0), {"mode": "peak"})
    assert len({stem.record.gain_db for stem in apart.stems if stem.record}) == 3  # the check can fail


def test_a_level_given_up_is_said(tmp_path: Path) -> None:
    """Where the ceiling keeps a stem from the level asked for, the user is warned and told what helps."""
    sparse = np.zeros((1, 2 * RATE), np.float32)
    sparse[0, ::2400] = 0.9  # clicks: no louder without exceeding the ceiling
    chain = [{"id": "low", "use": "lowpass_filter", "params": {"cutoff_frequency_hz": 9000.0}}]
    report = render(tmp_path, {"clicks": sparse}, chain, {"mode": "lufs", "target_lufs": -12.0})
    (warning,) = report.stems[0].warnings
    assert "below the level asked for" in warning
    assert "level.limiter" in warning
    record = read_manifest(report.manifest).stems["clicks"]
    assert record.warnings == (warning,)
    assert "trimmed" in record.gain_reason


def test_a_limiter_holds_the_ceiling_and_the_level(tmp_path: Path) -> None:
    """With a limiter nothing is trimmed, the ceiling holds between the samples, and all else is exact."""
    sound = noise(3 * RATE, 2, level=0.05, seed=4)
    sound[:, RATE] = 0.9
    report = render(tmp_path, {"stem": sound}, gain(6.0), {"mode": "keep", "limiter": True})
    result = report.stems[0]
    assert result.record is not None
    assert result.record.gain_db == 0
    assert "limited" in result.record.gain_reason
    assert result.warnings == ()
    delivered = read_audio(result.target)[0]
    assert measure_loudness(delivered, RATE).true_peak_dbtp <= -1.0
    raised = sound * np.float32(10 ** (6 / 20))
    far = np.r_[0 : RATE - 300, 2 * RATE : 3 * RATE]  # beyond look-ahead and release
    np.testing.assert_allclose(delivered[:, far], raised[:, far], rtol=1e-6)
    meter = LoudnessMeter(RATE, 2)
    meter.push(delivered)
    assert result.record.after["true_peak_dbtp"] == pytest.approx(meter.result().true_peak_dbtp, abs=2e-3)


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [(f".{name.lower()}", subtype) for name, subtypes in OUTPUT_SUBTYPES.items() for subtype in subtypes],
)
def test_the_writer_knows_what_its_file_sounds_like(tmp_path: Path, suffix: str, subtype: str) -> None:
    """The hash made while writing is that of the file read back, in every format."""
    path = tmp_path / f"a{suffix}"
    sound = np.concatenate([noise(30_000, 2, level=0.4), np.zeros((2, 5_000), np.float32)], axis=1)
    with AudioWriter(path, sample_rate=RATE, n_channels=2, subtype=subtype) as writer:
        for start in range(0, sound.shape[1], 7_000):
            writer.write(sound[:, start : start + 7_000] * np.float32(1.3))
    assert writer.sha256_samples == hash_samples(path)
