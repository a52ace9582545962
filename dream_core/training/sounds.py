"""Segments as a network in training is given them: cut to a patch, changed anew each time, at one level."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.training import augmentation
from dream_core.training.feeder import BatchOrder
from dream_core.training.learner import Rows
from dream_core.training.pitch_head import pitch_targets
from dream_core.training.segments import Segments

__all__ = ["LogMelMaker", "SoundMaker", "Sounds"]

_LEVEL_DBFS = -20.0
_LEVEL_SPREAD_DB = 15.0
_SPEED_OCTAVES = 0.4


@dataclass(frozen=True, slots=True)
class Sounds:
    """Gives segments as sounds of a patch's length at one level.

    Without the same level for all, a network learns loudness first.

    Args:
        segments: The data set.
        patch_samples: Length of what is given.
        with_pitch: Whether targets tell the pitch class as well.
    """

    segments: Segments
    patch_samples: int
    with_pitch: bool = False

    def plain(self, rows: Rows) -> Tensor:
        """Return segments from their start, as they are but for their level."""
        sounds = self.segments.sounds(rows)[:, : self.patch_samples]
        padded = nn.functional.pad(sounds, (0, self.patch_samples - sounds.shape[1]))
        return augmentation.level_to(padded, torch.tensor(_LEVEL_DBFS))

    def changed(self, order: BatchOrder) -> tuple[Tensor, Tensor, torch.Generator]:
        """Return sounds changed anew, their targets and the generator that changed them."""
        segments, rows, strength = self.segments, order.rows, order.strength
        rng = np.random.default_rng(order.key)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        speeds = 2.0 ** rng.uniform(-_SPEED_OCTAVES * strength, _SPEED_OCTAVES * strength, len(rows))
        spare = np.maximum(0.0, segments.segment_samples - self.patch_samples * speeds)
        starts = np.floor(rng.uniform(0.0, 1.0, len(rows)) * spare)
        sounds = augmentation.crop_at_speed(
            segments.sounds(rows),
            torch.from_numpy(starts).float(),
            torch.from_numpy(speeds).float(),
            self.patch_samples,
        )
        labels = torch.from_numpy(segments.labels[rows])
        targets = nn.functional.one_hot(labels, len(segments.classes)).float()
        if self.with_pitch:
            targets = torch.cat([targets, pitch_targets(segments.pitches[rows], speeds)], dim=1)
        if strength > 0:
            sounds = augmentation.recolour(sounds, segments.sample_rate, generator, strength)
            sounds = augmentation.level_to(sounds, torch.tensor(_LEVEL_DBFS))
            sounds, targets = augmentation.mix_up(sounds, targets, generator, strength / 3.0)
            sounds = augmentation.with_noise(sounds, generator)
        spread_db = _LEVEL_SPREAD_DB * strength
        levels = _LEVEL_DBFS + spread_db * (2.0 * torch.rand(len(rows), generator=generator) - 1.0)
        return augmentation.level_to(sounds, levels), targets, generator


@dataclass(frozen=True, slots=True)
class SoundMaker:
    """Makes batches of sounds."""

    sounds: Sounds

    def __call__(self, order: BatchOrder) -> tuple[Tensor, Tensor]:
        """Return sounds and targets."""
        sounds, targets, _ = self.sounds.changed(order)
        return sounds, targets


@dataclass(frozen=True, slots=True)
class LogMelMaker:
    """Makes batches of log-mel patches, stretches of bands and frames masked."""

    sounds: Sounds
    spec: FrontendSpec

    def __call__(self, order: BatchOrder) -> tuple[Tensor, Tensor]:
        """Return log-mel patches and targets."""
        sounds, targets, generator = self.sounds.changed(order)
        with torch.no_grad():
            heard = _front_end(self.spec)(sounds)
            if order.strength > 0:
                heard = augmentation.mask_bands_and_frames(heard, self.spec.silence, generator)
        return heard, targets


@functools.lru_cache(maxsize=4)
def _front_end(spec: FrontendSpec) -> LogMel:
    """Return the front end, made once in every process."""
    return LogMel(spec, dtype=torch.float32)
