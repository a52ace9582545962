"""The measures of the bench of played dreams, on sounds whose answers are known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers.paths import ROOT

from bridge.midi.note_matrix import NoteMatrix

sys.path.insert(0, str(ROOT / "tests" / "bench"))

import played


def switching(shift_s: float = 0.0, seconds: float = 6.0) -> np.ndarray:
    """Return a tone that is A and E in turn, half a second each, so much later."""
    t = np.arange(round(seconds * 44100)) / 44100
    is_first = ((t - shift_s) // 0.5 % 2) == 0
    return np.where(is_first, np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 659.26 * t)).astype(np.float32)


def wanted(seconds: float = 6.0) -> NoteMatrix:
    matrix = NoteMatrix.empty(seconds)
    for index in range(round(2 * seconds)):
        matrix.add([(69, 76)[index % 2]], index * 0.5, (index + 1) * 0.5, 1.0)
    return matrix


def test_a_tone_has_its_share_on_its_pitch_class() -> None:
    """All of it where it is wanted, nothing where another is; noise what its semitones are wide."""
    always = NoteMatrix.empty(6.0)
    always.add([57], 0.0, 6.0, 1.0)
    noise = np.random.default_rng(0).standard_normal(6 * 44100).astype(np.float32)
    t = np.arange(6 * 44100) / 44100

    assert played.share(np.sin(2 * np.pi * 440 * t).astype(np.float32), always) > 99.9
    assert played.share(np.sin(2 * np.pi * 466.16 * t).astype(np.float32), always) < 0.1
    semitones_hz = sum(hz * (2 ** (1 / 24) - 2 ** (-1 / 24)) for hz in (220, 440, 880, 1760, 3520))
    assert played.share(noise, always) == pytest.approx(100 * semitones_hz / (4000 - 130), abs=0.5)


@pytest.mark.parametrize("shift_ms", [-120.0, 0.0, 30.0, 200.0])
def test_lateness_is_found(shift_ms: float) -> None:
    """To two hops of the measure, 6 ms."""
    dry = 0.1 * np.random.default_rng(1).standard_normal(6 * 44100).astype(np.float32)
    wet = dry + switching(shift_ms / 1000)

    assert played.lag_ms(wet, dry, wanted()) == pytest.approx(shift_ms, abs=6.0)


def test_halves_share_no_chords_seeds_or_fonts() -> None:
    """What settings are chosen on is not what is reported."""
    choose, report = played.HALVES["choose"], played.HALVES["report"]

    assert not set(choose.chords.split("|")) & set(report.chords.split("|"))
    assert choose.seed != report.seed
    assert choose.font != report.font
    assert len(choose.chords.split("|")) == len(report.chords.split("|")) == 8
