"""The hash of an audio file's decoded samples, whatever holds them."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.audio.reader import AudioReader

__all__ = ["SampleDigest", "hash_samples"]


class SampleDigest:
    """Hash what a file sounds like: rate, channels, and its samples as they decode to 32-bit floats.

    Args:
        sample_rate: Hz.
        n_channels: Channels.
    """

    def __init__(self, sample_rate: int, n_channels: int) -> None:
        self._sha256 = hashlib.sha256(struct.pack("<II", sample_rate, n_channels))

    def update(self, samples: npt.NDArray[Any], bits: int | None = None) -> None:
        """Take the next (channels, samples): floats, or integers of so many bits."""
        frames = np.ascontiguousarray(samples.T, "<f4")
        if bits is not None:
            frames *= np.float32(0.5 ** (bits - 1))
        self._sha256.update(frames.data)

    def hexdigest(self) -> str:
        """Return the sha256 of everything so far."""
        return self._sha256.hexdigest()


def hash_samples(path: Path | str) -> str:
    """Return the sha256 of what a file sounds like: its decoded samples, whatever the container.

    Channels, rate and length go into it; headers, metadata and compression do not.
    """
    with AudioReader(path) as reader:
        digest = SampleDigest(reader.info.sample_rate, reader.info.n_channels)
        for block in reader:
            digest.update(block)
    return digest.hexdigest()
