"""Batches of notes, drawn by a seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.networks.timbre import CLASSES, SPEC
from dream_core.training import augmentation
from dream_core.training.notes import NoteTable

__all__ = ["NoteSampler"]


class NoteSampler:
    """Draws batches of augmented sounds: families alike often, presets of a family alike often, then notes.

    Most sounds are chords of two or three notes, half of these of several presets of one family: so the
    network meets timbres between those the soundfont has.

    Args:
        notes: The whole dataset; only presets not held out are drawn.
        batch_size: Patches in a batch.
    """

    def __init__(self, notes: NoteTable, batch_size: int) -> None:
        self.notes = notes
        self.batch_size = batch_size
        self._rows = [
            [
                np.flatnonzero(notes.presets == preset)
                for preset in np.unique(notes.presets[(notes.families == family) & ~notes.held_out])
            ]
            for family in range(len(CLASSES))
        ]
        self._ends = _ends_of_sound(notes.waveforms)

    def _draw_rows(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        families = rng.integers(0, len(CLASSES), self.batch_size)
        chords = []
        for family in families:
            presets = self._rows[family]
            own = rng.integers(0, len(presets))
            chord = []
            for _ in range(rng.choice([1, 1, 2, 2, 3])):
                preset = own if rng.random() < 0.5 else rng.integers(0, len(presets))
                chord.append(rng.choice(presets[preset]))
            chords.append(np.array(chord))
        return families, chords

    def batches(
        self, n_batches: int, seed: int, epoch: int, strength: float = 1.0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield sounds at the network's rate and their targets, the same for the same seed and epoch.

        Args:
            n_batches: How many.
            seed: Of the run.
            epoch: Of the run.
            strength: How much of the augmentation, 0..1.

        Shape:
            sounds ``(batch, patch_samples)``, targets ``(batch, classes)``.
        """
        rng = np.random.default_rng((seed, epoch))
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        for _ in range(n_batches):
            families, chords = self._draw_rows(rng)
            sounds = self._augmented(chords, rng, generator, strength)
            targets = nn.functional.one_hot(torch.from_numpy(families), len(CLASSES)).float()
            sounds, targets = augmentation.mix_up(sounds, targets, generator, strength / 3.0)
            sounds = augmentation.with_noise(sounds, generator)
            levels = -40.0 + 30.0 * torch.rand(self.batch_size, generator=generator)
            yield augmentation.level_to(sounds, levels), targets

    def _augmented(
        self,
        chords: list[NDArray[np.int64]],
        rng: np.random.Generator,
        generator: torch.Generator,
        strength: float,
    ) -> Tensor:
        waveforms = torch.from_numpy(
            np.stack([self.notes.waveforms[rows].astype(np.float32).sum(axis=0) / 32768.0 for rows in chords])
        )
        ends = np.array([max(int(self._ends[row]) for row in rows) for rows in chords], dtype=np.float64)
        rate = self.notes.sample_rate
        latest = np.clip(ends - 0.2 * rate, 0.0, 0.85 * rate)
        onsets = rng.random(self.batch_size) < 1.0 - 0.5 * strength
        starts = np.where(
            onsets,
            rng.uniform(-0.25 * rate, 0.05 * rate, self.batch_size),
            rng.uniform(0.0, np.maximum(latest, 1.0)),
        )
        speeds = 2.0 ** rng.uniform(-0.4 * strength, 0.4 * strength, self.batch_size)
        sounds = augmentation.crop_at_speed(
            waveforms,
            torch.from_numpy(starts).float(),
            torch.from_numpy(speeds).float(),
            SPEC.frontend.patch_samples,
        )
        coloured = augmentation.recolour(sounds, rate, generator, strength)
        return augmentation.level_to(coloured, torch.tensor(-20.0))


def _ends_of_sound(waveforms: NDArray[np.int16], block: int = 441) -> NDArray[np.int64]:
    """Return where each note falls 40 dB under its peak for good, in samples."""
    ends = np.empty(len(waveforms), dtype=np.int64)
    for first in range(0, len(waveforms), 512):
        part = np.abs(waveforms[first : first + 512].astype(np.int32))
        blocks = part[:, : part.shape[1] // block * block].reshape(len(part), -1, block).max(axis=2)
        heard = blocks > 328
        ends[first : first + 512] = (blocks.shape[1] - heard[:, ::-1].argmax(axis=1)) * block
    return ends
