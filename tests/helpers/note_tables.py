"""Notes small enough to understand: a family is a set of harmonics."""

from __future__ import annotations

import numpy as np

from dream_core.networks.timbre import CLASSES, SPEC
from dream_core.training.notes import NoteTable

RATE = SPEC.frontend.sample_rate


def harmonic_notes() -> NoteTable:
    """Three presets of each family; a family is a set of harmonics. The third preset is held out."""
    time_s = np.arange(2 * RATE) / RATE
    rows, families, presets, held_out = [], [], [], []
    for family in range(len(CLASSES)):
        for preset in range(3):
            for pitch_hz in (200.0, 240.0, 290.0):
                harmonics = [1, 2 + family, 4 + 2 * family + preset % 2]
                tone = sum(np.sin(2 * np.pi * h * pitch_hz * time_s) for h in harmonics)
                rows.append((10000 * tone * np.exp(-time_s)).astype(np.int16))
                families.append(family)
                presets.append(3 * family + preset)
                held_out.append(preset == 2)
    return NoteTable(
        waveforms=np.stack(rows),
        families=np.array(families),
        presets=np.array(presets),
        held_out=np.array(held_out),
        sample_rate=RATE,
    )
