"""Patches of a set that keeps log-mel frames: changed in level, mixed and masked, as far as frames can be.

Speed, rooms and equalisers need sound; a set that keeps none is learnt from without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.training import augmentation
from dream_core.training.pitch_head import pitch_targets
from dream_core.training.segment_rows import draw_rows
from dream_core.training.segments import Segments

__all__ = ["EncodedPatches", "check_encoding", "encoding_for"]

_LEVEL_SPREAD_DB = 15.0


def encoding_for(sample_rate: int) -> FrontendSpec:
    """Return the front end whose frames a set keeps: `log_mel` as networks have it by default.

    >>> encoding_for(22050).n_frames(22050), encoding_for(22050).n_mels
    (99, 64)
    """
    return FrontendSpec(sample_rate=sample_rate, patch_frames=1)


def check_encoding(spec: FrontendSpec, segments: Segments, kind: str, option: str) -> None:
    """Refuse a set that keeps frames of another front end.

    Args:
        spec: What the network hears.
        segments: The set; one that keeps sounds fits every network.
        kind: Of the network, for messages.
        option: The front end's name, for messages.

    Raises:
        SettingError: They differ; says in what.
    """
    kept = segments.encoding
    if kept is None:
        return
    own, other = (replace(one, patch_frames=1, patch_hop_frames=1) for one in (spec, kept))
    if own != other:
        differ = [
            f"{name} {getattr(own, name)}, not {getattr(other, name)}"
            for name in ("mel", "n_mels", "window_samples", "hop_samples", "power", "compress", "log_offset")
            if getattr(own, name) != getattr(other, name)
        ]
        raise SettingError(
            f"kind {kind} with frontend = {option} does not hear the log-mel frames that the set keeps "
            f"({', '.join(differ) or 'other bands'}); --set frontend=log_mel, where the kind has that, or "
            "prepare the table without --encode"
        )
    n_frames = kept.n_frames(segments.segment_samples)
    if spec.patch_frames > n_frames:
        raise SettingError(
            f"kind {kind}: patch_frames = {spec.patch_frames}, and segments have {n_frames}; take fewer, or "
            "prepare longer segments"
        )


@dataclass(frozen=True, slots=True)
class EncodedPatches:
    """Gives patches of frames that are kept.

    Args:
        segments: A set that keeps frames.
        spec: What the network hears.
        with_pitch: Whether targets tell the pitch class as well.
    """

    segments: Segments
    spec: FrontendSpec
    with_pitch: bool = False

    def plain(self, rows: NDArray[np.int64]) -> Tensor:
        """Return patches from the segments' starts, as they are."""
        return self.segments.frames(rows)[:, : self.spec.patch_frames]

    def batches(
        self, rows: NDArray[np.int64], n_batches: int, batch_size: int, key: tuple[int, ...], strength: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield patches changed anew, and their targets."""
        segments, spec = self.segments, self.spec
        rng = np.random.default_rng(key)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        for drawn in draw_rows(segments, rows, n_batches, batch_size, rng):
            frames = segments.frames(drawn)
            n_starts = frames.shape[1] - spec.patch_frames + 1
            starts = torch.from_numpy(rng.integers(0, n_starts, len(drawn)))
            places = starts[:, None] + torch.arange(spec.patch_frames)
            patches = frames.gather(1, places[:, :, None].expand(-1, -1, frames.shape[2]))
            labels = torch.from_numpy(segments.labels[drawn])
            targets = nn.functional.one_hot(labels, len(segments.classes)).float()
            if self.with_pitch:
                keys = pitch_targets(segments.pitches[drawn], np.ones(len(drawn)))
                targets = torch.cat([targets, keys], dim=1)
            yield self._changed(patches, targets, generator, strength) if strength > 0 else (patches, targets)

    def _changed(
        self, patches: Tensor, targets: Tensor, generator: torch.Generator, strength: float
    ) -> tuple[Tensor, Tensor]:
        """Return patches at other levels, mixed and masked; bands of two sounds nearly add."""
        spec, n = self.spec, len(patches)
        bands, shape = spec.bands_in(patches), patches.shape
        mixed, targets = augmentation.mix_up(bands.flatten(1), targets, generator, strength / 3.0)
        spread_db = _LEVEL_SPREAD_DB * strength * (2.0 * torch.rand(n, generator=generator) - 1.0)
        levels: Any = 10.0 ** (spread_db / 20.0)
        changed = spec.compressed(mixed.view(shape) * levels[:, None, None])
        return augmentation.mask_bands_and_frames(changed, spec.silence, generator), targets
