"""Sound made longer or shorter at its pitch, by Rubber Band as pedalboard brings it."""

from __future__ import annotations

import numpy as np

from bridge.arrays import AudioArray

__all__ = ["stretch"]


def stretch(audio: AudioArray, sample_rate: int, rate: float) -> AudioArray:
    """Play sound `rate` times as fast and keep its pitch.

    Args:
        audio: (channels, samples) float32.
        sample_rate: Hz.
        rate: Above 1 is shorter.

    Returns:
        (channels, samples) float32, `samples / rate` long to the nearest sample.
    """
    from pedalboard import time_stretch

    n_samples = round(audio.shape[1] / rate)
    if not n_samples:
        return audio[:, :0]
    played: AudioArray = time_stretch(np.ascontiguousarray(audio), float(sample_rate), stretch_factor=rate)
    fitted = np.zeros((len(audio), n_samples), np.float32)
    fitted[:, : played.shape[1]] = played[:, :n_samples]
    return fitted
