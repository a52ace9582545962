"""A recording as one mono waveform at the rate that is wanted."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridge.arrays import BLOCK_SAMPLES, Float32Array
from bridge.audio.reader import AudioReader
from bridge.datasets.table import Recording
from bridge.errors import AudioFileError

__all__ = ["read_mono"]


def read_mono(recording: Recording, sample_rate: int) -> Float32Array:
    """Read a recording: the mean of its channels, resampled with soxr's best quality.

    Args:
        recording: The file, or the part of it.
        sample_rate: Hz of what is returned.

    Shape:
        ``(samples,)`` float32.

    Raises:
        AudioFileError: The file cannot be read, or ends before the recording begins.
    """
    with AudioReader(recording.path) as reader:
        info = reader.info
        start = round(recording.start_s * info.sample_rate)
        left = info.n_samples - start
        if recording.duration_s:
            left = min(left, round(recording.duration_s * info.sample_rate))
        if left <= 0:
            raise AudioFileError(
                f"{recording.path}: start_s {recording.start_s:g} lies beyond its end, {info.duration_s:g} s"
            )
        reader.seek(start)
        stream: Any = None
        if info.sample_rate != sample_rate:
            import soxr

            stream = soxr.ResampleStream(info.sample_rate, sample_rate, 1, dtype="float32", quality="VHQ")
        parts = []
        while left > 0:
            block = reader.read(min(left, BLOCK_SAMPLES)).mean(axis=0, dtype=np.float32)
            left -= len(block)
            parts.append(block if stream is None else stream.resample_chunk(block, last=left <= 0))
    return np.concatenate(parts)
