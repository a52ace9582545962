"""How well a network that is there hears the keys of a data set, whatever its rate, patches and frames."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dream_core.dsp.resample import resample
from dream_core.errors import SettingError
from dream_core.networks.card import Network
from dream_core.objectives.taps import tap
from dream_core.training import augmentation
from dream_core.training.key_evaluation import THRESHOLDS, HeardKeys, key_loss
from dream_core.training.segments import Segments

__all__ = ["hear_keys"]

_LEVEL_DBFS = -20.0
_AT_ONCE = 8


def hear_keys(network: Network, segments: Segments, rows: NDArray[np.int64]) -> HeardKeys:
    """Return how well a network hears which keys are down, in frames of its own.

    Every frame counts once: where patches overlap, the earlier one is asked.

    Args:
        network: Who hears; on the CPU.
        segments: The data set.
        rows: Which of it.

    Raises:
        SettingError: The network hears no keys frame by frame, or the set does not say which are down.
    """
    card, notes = network.card, segments.notes
    if not card.keys_layer:
        raise SettingError(f"network {card.name!r} hears no keys frame by frame; pitch and notes do")
    if notes is None:
        raise SettingError("the data set does not say which keys are down; one of `reverie data render` does")
    counts = [np.zeros((0, len(THRESHOLDS), 3), dtype=np.int64)]
    losses = []
    for first in range(0, len(rows), _AT_ONCE):
        part = rows[first : first + _AT_ONCE]
        sounds = resample(segments.sounds(part), segments.sample_rate, card.sample_rate)
        sounds = augmentation.level_to(sounds, torch.tensor(_LEVEL_DBFS))
        with torch.no_grad(), tap(network, [card.keys_layer], leaves_early=True) as heard:
            patches = network.listen(sounds)
            network(patches.flatten(0, 1))
        logits = heard[card.keys_layer].float().unflatten(0, patches.shape[:2])
        times_s, chosen = _frames(network, sounds.shape[1], logits.shape[3])
        joined = logits.transpose(1, 2).flatten(2)[:, :, torch.from_numpy(chosen)]
        for row, one in zip(part.tolist(), joined, strict=True):
            is_down = notes.down(row, card.keys, times_s)
            losses.append(float(key_loss(one, is_down)))
            counts.append(HeardKeys.count(one, is_down)[None])
    return HeardKeys(rows=rows, counts=np.concatenate(counts), loss=float(np.mean(losses)) if losses else 0.0)


def _frames(network: Network, n_samples: int, n_frames: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return when the frames are that count, and which they are of all patches' frames in a row."""
    card = network.card
    starts_s = np.array(network.patch_starts(n_samples)) / card.sample_rate
    times_s = (starts_s[:, None] + np.arange(n_frames) * card.frame_s).ravel()
    limit_s, chosen = -0.5 * card.frame_s, []
    for index, time_s in enumerate(times_s.tolist()):
        if limit_s < time_s < n_samples / card.sample_rate:
            chosen.append(index)
            limit_s = time_s + 0.5 * card.frame_s
    return times_s[chosen], np.array(chosen, dtype=np.int64)
