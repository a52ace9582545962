"""Sounds with known properties, and raw files built byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def sine(
    frequency_hz: float,
    duration_s: float,
    sample_rate: int = 48000,
    level_dbfs: float = 0.0,
    phase_deg: float = 0.0,
    n_channels: int = 1,
) -> FloatArray:
    """Return a sine as (channels, samples) float32."""
    t = np.arange(round(duration_s * sample_rate)) / sample_rate
    wave = 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * frequency_hz * t + np.deg2rad(phase_deg))
    return np.tile(wave.astype(np.float32), (n_channels, 1))


def noise(n_samples: int, n_channels: int = 1, level: float = 0.2, seed: int = 0) -> FloatArray:
    """Return Gaussian noise of the given RMS, clipped to full scale."""
    values = np.random.default_rng(seed).normal(0.0, level, (n_channels, n_samples))
    return np.clip(values, -1.0, 1.0).astype(np.float32)


def on_grid(samples: FloatArray, bits: int) -> FloatArray:
    """Round to the grid of a word length, staying within its range."""
    scale = 2.0 ** (bits - 1)
    return (np.clip(np.rint(samples * scale), -scale, scale - 1) / scale).astype(np.float32)


def chunk(chunk_id: bytes, payload: bytes, declared: int | None = None) -> bytes:
    """Return a RIFF chunk, which may lie about its size."""
    size = len(payload) if declared is None else declared
    return struct.pack("<4sI", chunk_id, size) + payload + b"\0" * (len(payload) & 1)


def riff(*chunks: bytes, magic: bytes = b"RIFF", declared: int | None = None) -> bytes:
    """Return a RIFF/WAVE file made of chunks."""
    body = b"WAVE" + b"".join(chunks)
    return struct.pack("<4sI", magic, len(body) if declared is None else declared) + body


def pcm_format(sample_rate: int = 48000, n_channels: int = 1, bits: int = 16, tag: int = 1) -> bytes:
    """Return a fmt chunk."""
    frame = n_channels * bits // 8
    return chunk(
        b"fmt ", struct.pack("<HHIIHH", tag, n_channels, sample_rate, sample_rate * frame, frame, bits)
    )


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path
