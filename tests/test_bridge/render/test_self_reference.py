"""`self` among references is the stem as it enters its chain, whatever became of it since."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.paths import SONG

from bridge import Chain, Dream, Node, Noise, build_plan, render_plan
from bridge.errors import PresetError
from bridge.presets.model import parse_preset

RATE = 22050


def preset(objective: str) -> dict[str, object]:
    return {
        "format": "reverie/preset",
        "version": 2,
        "uuid": "00000000-0000-4000-8000-000000000022",
        "meta": {"name": "left", "category": "Utility"},
        "chain": [
            {"id": "noise", "use": "noise"},
            {"id": "dream", "use": "dream", "params": {"objective": objective, "depth": 2.0}},
        ],
        "level": {"mode": "keep"},
    }


def write_stem(path: Path, seconds: float = 1.5, start_s: float = 20.0) -> np.ndarray:
    start = round(start_s * 44100)
    sound, _ = soundfile.read(
        SONG / "lead.flac", start=start, frames=round(seconds * 44100), dtype="float32", always_2d=True
    )
    soundfile.write(path, sound, 44100, subtype="FLOAT")
    return sound.T.copy()


def test_self_is_the_stem_before_the_noise(tmp_path: Path) -> None:
    """A render is what a chain in Python gives that is handed the stem as `self`."""
    sound = write_stem(tmp_path / "lead.wav")
    plan = build_plan(
        [tmp_path / "lead.wav"], parse_preset(preset("invert:block2:self"), "test"), out_dir=tmp_path / "out"
    )
    (result,) = render_plan(plan).stems
    dream = Dream(objective="invert:block2:self", depth=2.0, references={"self": sound})
    wanted = Chain([Node(processor=Noise(), name="noise"), Node(processor=dream, name="dream")])(sound, 44100)

    rendered, _ = soundfile.read(result.target, dtype="float32", always_2d=True)
    assert np.array_equal(rendered.T, wanted)
    assert plan.stems[0].reference_stems == {}


def test_each_stem_has_its_own_self(tmp_path: Path) -> None:
    """Two stems from the same noise become two sounds, each as if it were alone."""
    write_stem(tmp_path / "a.wav")
    write_stem(tmp_path / "b.wav", start_s=23.0)
    rendered = {}
    for stems in (["a", "b"], ["b"]):
        out = tmp_path / "-".join(stems)
        given = parse_preset(preset("invert:block2:self"), "test")
        for result in render_plan(
            build_plan([tmp_path / f"{one}.wav" for one in stems], given, out_dir=out)
        ).stems:
            rendered[len(stems), result.name] = soundfile.read(result.target)[0]

    assert np.array_equal(rendered[2, "b"], rendered[1, "b"])
    assert not np.allclose(rendered[2, "a"], rendered[2, "b"], atol=1e-3)


def test_another_name_is_still_a_stem(tmp_path: Path) -> None:
    write_stem(tmp_path / "lead.wav")
    with pytest.raises(PresetError, match="did you mean 'self'"):
        build_plan(
            [tmp_path / "lead.wav"],
            parse_preset(preset("invert:block2:selv"), "test"),
            out_dir=tmp_path / "out",
        )


def bands(sound: np.ndarray) -> np.ndarray:
    """Return log power in 32 bands from 60 Hz to 8 kHz, frame by frame of 46 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 2048)[::1024] * np.hanning(2048)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    hertz, edges = np.fft.rfftfreq(2048, 1 / 44100), np.geomspace(60, 8000, 33)
    sums = [power[:, (hertz >= low) & (hertz < high)].sum(axis=1) for low, high in pairwise(edges)]
    return np.log10(np.array(sums) + 1e-4)


def test_what_is_left_resembles_the_stem(tmp_path: Path) -> None:
    """Noise inverted at block2 has the stem's spectrogram: bands over time correlate by .75, noise's by .4.

    Measured: .32 for the noise, .90 after the preset's 20 steps; ten are taken here.
    """
    sound = write_stem(tmp_path / "lead.wav", 2.0)
    likeness = []
    for depth in (0, 10):
        plan = build_plan(
            [tmp_path / "lead.wav"],
            "what-is-left",
            out_dir=tmp_path / str(depth),
            settings=[f"dream.depth={depth}"],
        )
        (result,) = render_plan(plan).stems
        rendered, _ = soundfile.read(result.target, dtype="float32", always_2d=True)
        pair = bands(rendered.mean(axis=1)), bands(sound.mean(axis=0))
        likeness.append(float(np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]))

    assert likeness[0] < 0.5
    assert likeness[1] > 0.75
