"""Data sets in memory, small enough to understand: tones of a class's own partials, and noises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dream_core.training.segment_notes import SegmentNotes
from dream_core.training.segments import StoredSegments
from dream_core.training.write_segments import Segment, write_segments

RATE = 16000


@dataclass(frozen=True, kw_only=True)
class MemorySegments:
    """Segments that were never on disk."""

    classes: tuple[str, ...]
    waveforms: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    splits: NDArray[np.int8]
    pitches: NDArray[np.int64]
    sample_rate: int = RATE
    licence: str = "CC0-1.0"
    sha256: str = "0" * 64
    notes: SegmentNotes | None = None
    encoding: None = None

    @property
    def segment_samples(self) -> int:
        return int(self.waveforms.shape[1])

    def sounds(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.waveforms[rows])


def additive(
    n_classes: int = 5,
    groups_per_class: int = 10,
    segments_per_group: int = 4,
    seconds: float = 0.5,
    rate: int = RATE,
    seed: int = 0,
) -> MemorySegments:
    """Make classes of sounds: odd classes are tones with partials of their own, even ones bands of noise.

    A group is a fundamental or a level of noise of its own; six of ten groups are learnt from.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate)) / rate
    waveforms, labels, groups, splits = [], [], [], []
    for index in range(n_classes):
        for group in range(groups_per_class):
            pitch_hz = rng.uniform(150.0, 400.0)
            share = group / groups_per_class
            side = 0 if share < 0.6 else 1 if share < 0.8 else 2
            for _ in range(segments_per_group):
                hz = pitch_hz * rng.uniform(0.95, 1.05)
                if index % 2:
                    partials = (1, 2 + index, 5 + 2 * index)
                    sound = sum(
                        np.sin(2 * np.pi * p * hz * time_s + rng.uniform(0, 6)) / (1 + 0.2 * i)
                        for i, p in enumerate(partials)
                    )
                else:
                    spectrum = np.fft.rfft(rng.standard_normal(len(time_s)))
                    bins_hz = np.fft.rfftfreq(len(time_s), 1 / rate)
                    centre_hz = 300.0 * 2.2**index * rng.uniform(0.9, 1.1)
                    band = np.exp(-0.5 * (np.log2(np.maximum(bins_hz, 1.0) / centre_hz) / 0.3) ** 2)
                    sound = np.fft.irfft(spectrum * band, len(time_s))
                waveforms.append(0.1 * rng.uniform(0.2, 1.0) * sound / np.std(sound))
                labels.append(index)
                groups.append(index * groups_per_class + group)
                splits.append(side)
    n = len(labels)
    return MemorySegments(
        classes=tuple(f"class{i}" for i in range(n_classes)),
        waveforms=np.array(waveforms, dtype=np.float32),
        labels=np.array(labels, dtype=np.int64),
        groups=np.array(groups, dtype=np.int64),
        splits=np.array(splits, dtype=np.int8),
        pitches=np.full(n, -1, dtype=np.int64),
        sample_rate=rate,
    )


def played(n_segments: int = 24, seconds: float = 1.0, rate: int = RATE) -> MemorySegments:
    """Make segments of one note each, a tone with four partials between two instants, and say which."""
    rng = np.random.default_rng(3)
    time_s = np.arange(round(seconds * rate)) / rate
    keys = rng.integers(48, 84, n_segments)
    starts_s, ends_s = rng.uniform(0.0, 0.3, n_segments), rng.uniform(0.6, seconds, n_segments)
    waveforms = np.zeros((n_segments, len(time_s)), dtype=np.float32)
    for row, (key, start_s, end_s) in enumerate(zip(keys, starts_s, ends_s, strict=True)):
        hz = 440.0 * 2.0 ** ((key - 69) / 12)
        tone = sum(np.sin(2 * np.pi * hz * p * time_s) / p for p in (1, 2, 3, 4))
        waveforms[row] = 0.2 * tone * ((time_s >= start_s) & (time_s < end_s))
    rows = np.arange(n_segments)
    return MemorySegments(
        classes=("even", "odd"),
        waveforms=waveforms,
        labels=rows % 2,
        groups=rows,
        splits=np.digitize(rows, (n_segments * 2 // 3, n_segments * 5 // 6)).astype(np.int8),
        pitches=keys,
        sample_rate=rate,
        notes=SegmentNotes(firsts=np.arange(n_segments + 1), pitches=keys, starts_s=starts_s, ends_s=ends_s),
    )


def store(segments: MemorySegments, folder: Path) -> StoredSegments:
    """Write segments to disk, at int16."""
    return write_segments(
        folder,
        (
            Segment(
                samples=np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16),
                label=segments.classes[label],
                group=str(group),
                split=int(split),
            )
            for sound, label, group, split in zip(
                segments.waveforms, segments.labels, segments.groups, segments.splits, strict=True
            )
        ),
        classes=segments.classes,
        sample_rate=segments.sample_rate,
        segment_samples=segments.segment_samples,
    )
