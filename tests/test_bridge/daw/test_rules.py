"""Stems of one session come out on one timeline: one rate, one start, one length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from helpers.session import make_sound, write_preset, write_stem

from bridge import build_plan, render_plan
from bridge.audio.metadata import AudioMetadata, Broadcast, CueMarker
from bridge.audio.reader import read_metadata
from bridge.audio.writer import AudioWriter
from bridge.errors import InputError

TAIL = """
[[chain]]
id = "room"
use = "reverb"

[tail]
mode = "auto"
max_s = 1.0
"""


def write_stamped(path: Path, start_samples: int | None, seconds: float, sample_rate: int = 48000) -> Path:
    """Write a float stem that says when it begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    broadcast = None if start_samples is None else Broadcast(time_reference=start_samples)
    metadata = AudioMetadata(broadcast=broadcast, markers=(CueMarker(position_samples=100, label="Hit"),))
    with AudioWriter(
        path, sample_rate=sample_rate, n_channels=1, subtype="FLOAT", metadata=metadata
    ) as writer:
        writer.write(make_sound(seconds, sample_rate, 1).T)
    return path


def test_stems_with_time_stamps_share_start_and_length(tmp_path: Path) -> None:
    """A stem that begins later gets silence in front, markers move along, and all are stamped alike."""
    first = write_stamped(tmp_path / "first.wav", 480_000, 0.5)
    later = write_stamped(tmp_path / "later.wav", 480_000 + 9_000, 0.25)
    plan = build_plan([first, later], write_preset(tmp_path, depth=0.0), out_dir=tmp_path / "out")
    render_plan(plan)

    one, two = (soundfile.read(stem.target, dtype="float32")[0] for stem in plan.stems)
    assert len(one) == len(two) == 24_000
    np.testing.assert_array_equal(one, soundfile.read(first, dtype="float32")[0])
    np.testing.assert_array_equal(two[:9_000], 0.0)
    np.testing.assert_array_equal(two[9_000:21_000], soundfile.read(later, dtype="float32")[0])
    metadata = [read_metadata(stem.target) for stem in plan.stems]
    assert [m.start_samples for m in metadata] == [480_000, 480_000]
    assert [m.markers[0].position_samples for m in metadata] == [100, 9_100]


def test_a_stem_at_another_rate_is_converted_once(tmp_path: Path) -> None:
    """The rate of most stems wins, with a warning; the odd one is what soxr's best quality makes of it."""
    for name in ("a", "b"):
        write_stem(tmp_path / "stems" / f"{name}.wav", sample_rate=48000, subtype="FLOAT")
    odd = write_stem(tmp_path / "stems" / "odd.wav", sample_rate=44100, subtype="FLOAT")
    plan = build_plan([tmp_path / "stems"], write_preset(tmp_path, depth=0.0), out_dir=tmp_path / "out")
    render_plan(plan)

    assert any("odd.wav: converted from 44100 to 48000" in warning for warning in plan.warnings)
    assert {soundfile.info(stem.target).samplerate for stem in plan.stems} == {48000}
    assert len({soundfile.info(stem.target).frames for stem in plan.stems}) == 1
    expected = soxr.resample(soundfile.read(odd, dtype="float32")[0], 44100, 48000, "VHQ")
    converted = soundfile.read(plan.stems[2].target, dtype="float32")[0]
    # The stream's filter starts from silence as the whole does: float32 rounding is all that differs.
    np.testing.assert_allclose(converted, expected[: len(converted)], atol=1e-6)


def test_rates_without_a_majority_want_a_decision(tmp_path: Path) -> None:
    """One stem at 44.1 and one at 48 kHz are refused until the rate is said, or each goes its own way."""
    stems = [
        write_stem(tmp_path / "a.wav", sample_rate=44100),
        write_stem(tmp_path / "b.wav", sample_rate=48000),
    ]
    preset = write_preset(tmp_path, depth=0.0)
    with pytest.raises(InputError, match="choose with --rate"):
        build_plan(stems, preset, out_dir=tmp_path / "out")
    decided = build_plan(stems, preset, out_dir=tmp_path / "out", sample_rate=44100)
    alone = build_plan(stems, preset, out_dir=tmp_path / "out", align=False)
    assert [stem.sample_rate for stem in decided.stems] == [44100, 44100]
    assert [stem.sample_rate for stem in alone.stems] == [44100, 48000]


def test_tails_of_a_session_end_together(tmp_path: Path) -> None:
    """Tails die away at different times; every stem is as long as the longest needs."""
    loud = write_stem(tmp_path / "loud.wav", sample_rate=48000)
    soundfile.write(tmp_path / "faint.wav", 1e-4 * make_sound(0.7, 48000, 1), 48000, subtype="FLOAT")
    stems = [loud, tmp_path / "faint.wav"]
    preset = write_preset(tmp_path, depth=0.0, more=TAIL)
    together = render_plan(build_plan(stems, preset, out_dir=tmp_path / "out"))
    alone = render_plan(build_plan(stems, preset, out_dir=tmp_path / "alone", align=False))

    lengths = {soundfile.info(stem.target).frames for stem in together.stems}
    assert len(lengths) == 1
    assert lengths.pop() > round(1.2 * 48000)
    assert len({soundfile.info(stem.target).frames for stem in alone.stems}) == 2
