"""What a minute of training on the example's drums must reach."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from helpers.paths import SONG

from dream_core.dsp.resample import resample
from dream_core.frames.generate import grow
from dream_core.frames.network import FramesSpec, frame_for_tempo
from dream_core.frames.training import FrameTraining, train_frames

BPM = 126
RATE = 22050
BEAT = round(60 / BPM * RATE)


def level_db(sound: torch.Tensor) -> float:
    return float(10 * torch.log10(sound.square().mean() + 1e-12))


def beat_likeness(sound: torch.Tensor) -> float:
    """Return the autocorrelation of the sound's envelope, in steps of 10 ms, at one beat."""
    step = RATE // 100
    envelope = sound[: len(sound) // step * step].unflatten(0, (-1, step)).square().mean(dim=1).sqrt()
    envelope = envelope - envelope.mean()
    lag = BEAT // step
    return float((envelope[:-lag] * envelope[lag:]).sum() / envelope.square().sum())


@pytest.mark.slow
def test_four_bars_of_the_songs_drums_are_played_from_a_beat() -> None:
    """As rhythmic as the loop to 0.8, within 3 dB of it, no bar 12 dB below the first; in time with it.

    570 steps take about a minute of one core. A cut at any of these places is recognised.
    """
    samples, rate = soundfile.read(SONG / "drums.flac", dtype="float32", always_2d=True)
    chorus = samples[round(17.5 * rate) :].mean(axis=1)  # four bars of 4/4 at 126 BPM
    sound = torch.from_numpy(np.ascontiguousarray(chorus[: round(16 * 60 / BPM * rate)]))
    spec = FramesSpec(frame_samples=frame_for_tempo(BPM, RATE))
    network, error, _ = train_frames([sound], rate, FrameTraining(spec=spec, steps=570, is_loop=True))
    loop = resample(sound[None], rate, RATE)[0]

    assert error < 0.05
    for start in (0, 3 * BEAT, 6 * BEAT + BEAT // 2, 9 * BEAT):
        played = grow(network, loop[start : start + BEAT], 16 * BEAT)
        bars = [level_db(bar) for bar in played.sound.unflatten(0, (4, -1))]
        assert played.fit > -0.5
        assert beat_likeness(played.sound) >= 0.8 * beat_likeness(loop)
        assert abs(level_db(played.sound) - level_db(loop)) <= 3.0
        assert min(bars) >= bars[0] - 12.0
