"""Segments as a network that is there hears them, whatever its rate and the length of its patches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dream_core.dsp.resample import resample
from dream_core.errors import SettingError
from dream_core.names import nearest_names
from dream_core.networks.card import Network, head_sizes
from dream_core.training import augmentation
from dream_core.training.evaluation import Heard
from dream_core.training.segments import Segments

__all__ = ["OTHER", "hear_segments", "some_patches"]

OTHER = "other"
"""What a segment is heard as that is taken for a class the data set does not have."""

_LEVEL_DBFS = -20.0
_AT_ONCE = 16


def some_patches(network: Network, segments: Segments, rows: NDArray[np.int64], most: int) -> Tensor:
    """Return a few patches of each segment, evenly spread.

    Args:
        network: Who hears; on the CPU.
        segments: The data set, at any rate.
        rows: Which of it.
        most: So many patches of each at most.

    Shape:
        ``(rows, patches, *input)``.
    """
    rate = network.card.sample_rate
    sounds = resample(segments.sounds(rows), segments.sample_rate, rate)
    # A network that looks at more than a segment hears it over and over, not silence behind it.
    n_patch = round(network.card.patch_s * rate)
    if sounds.shape[1] < n_patch:
        sounds = sounds.repeat(1, -(-n_patch // sounds.shape[1]))[:, :n_patch]
    with torch.no_grad():
        patches = network.listen(augmentation.level_to(sounds, torch.tensor(_LEVEL_DBFS)))
    n_all = patches.shape[1]
    # The last patch may hear little but the silence behind the sound.
    chosen = np.unique(np.linspace(0, max(0, n_all - 2), min(most, n_all)).round().astype(np.int64))
    return patches[:, torch.from_numpy(chosen)]


def hear_segments(network: Network, segments: Segments, rows: NDArray[np.int64]) -> Heard:
    """Return what a network takes segments for: classes are matched by name.

    Args:
        network: Who hears; on the CPU.
        segments: The data set.
        rows: Which of it.

    Returns:
        Probabilities of the data set's classes, and of the likeliest of all others, `OTHER`.

    Raises:
        SettingError: The network does not know a class of the data set.
    """
    known = list(network.card.classes)
    if missing := [name for name in segments.classes if name not in known]:
        raise SettingError(
            f"network {network.card.name!r} knows no class {', '.join(map(repr, missing))}; "
            f"{nearest_names(missing[0], known)}"
        )
    columns = [known.index(name) for name in segments.classes]
    sizes = head_sizes(network.card)
    # A head that hears none of the data's classes has no say.
    asked = range(sizes[0]) if max(columns) < sizes[0] else range(len(known))
    others = [index for index in asked if index not in columns]
    found = [torch.zeros(0, len(columns) + 1, dtype=torch.float64)]
    for first in range(0, len(rows), _AT_ONCE):
        patches = some_patches(network, segments, rows[first : first + _AT_ONCE], 8)
        with torch.no_grad():
            logits = network(patches.flatten(0, 1)).double()
            is_one = network.card.outputs == "exclusive"
            heads = [torch.softmax(head, dim=1) for head in logits.split(sizes, dim=1)]
            each = torch.cat(heads, dim=1) if is_one else torch.sigmoid(logits)
            mean = each.unflatten(0, patches.shape[:2]).mean(dim=1)
        rest = mean[:, others].amax(dim=1, keepdim=True) if others else mean.new_zeros(len(mean), 1)
        found.append(torch.cat([mean[:, columns], rest], dim=1))
    return Heard(rows=rows, truth=segments.labels[rows], probabilities=torch.cat(found).numpy())
