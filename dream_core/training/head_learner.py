"""A head learns from what a network below it makes of each segment; that is worked out once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.names import nearest_names
from dream_core.networks.card import Network
from dream_core.networks.kinds.embedding_head import EmbeddingHead, head_card, write
from dream_core.networks.registry import load_base
from dream_core.training.hearing import some_patches
from dream_core.training.learner import Learner, Rows, plain_card
from dream_core.training.segment_rows import draw_rows
from dream_core.training.segments import Segments

__all__ = ["learn_head"]

_PATCHES = 4
_AT_ONCE = 16
_NOISE = 0.3


def learn_head(
    base: str, options: Mapping[str, str], segments: Segments, name: str, heard: dict[int, Tensor]
) -> Learner:
    """Return what the loop trains for a head on another network's layer.

    Args:
        base: ``NETWORK:LAYER``; the layer is behind the last colon.
        options: Of a head: `dropout` alone.
        segments: The data set, at any rate.
        name: What the head will be called.
        heard: What the layer says of segments, by row: filled, so that another run need not ask again.

    Raises:
        SettingError: The base or an option cannot be read.
        NetworkNotFoundError, LayerNotFoundError, WeightsError: It cannot stand there.
    """
    below, _, layer = base.rpartition(":")
    if not below or not layer:
        raise SettingError(f"--from {base!r}: NETWORK:LAYER is needed, such as timbre:block5")
    unknown = [key for key in options if key != "dropout"]
    if unknown:
        raise SettingError(
            f"embedding_head: there is no {unknown[0]!r}; {nearest_names(unknown[0], ['dropout'])}"
        )
    try:
        dropout = float(options.get("dropout", "0.2"))
        if not 0.0 <= dropout <= 0.9:
            raise ValueError
    except ValueError:
        raise SettingError(
            f"embedding_head: dropout = {options['dropout']!r}: a number from 0 to 0.9 is needed"
        ) from None
    network, sha256 = load_base(below)
    card = head_card(plain_card(name, segments), cast(Network, network).card, layer)
    head = EmbeddingHead(card, network.float(), layer, sha256)
    features = _Features(segments, head, heard)
    n_features, n_classes = head.logits.in_features, len(segments.classes)
    module = nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm1d(n_features, affine=False),
            dropout=nn.Dropout(dropout),
            logits=nn.Linear(n_features, n_classes),
        )
    )

    def finish(learnt: nn.Sequential) -> EmbeddingHead:
        norm, logits = cast(nn.BatchNorm1d, learnt.norm), cast(nn.Linear, learnt.logits)
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        with torch.no_grad():
            weight = logits.weight * torch.rsqrt(variance + norm.eps)
            head.logits.weight.copy_(weight)
            head.logits.bias.copy_(logits.bias - weight @ mean)
        return head.eval()

    return Learner(module, features.batches, features.plain, finish, write)


@dataclass(frozen=True, slots=True)
class _Features:
    """What the layer says of each segment, in a few of its patches; kept once it is known."""

    segments: Segments
    head: EmbeddingHead
    known: dict[int, Tensor]

    def plain(self, rows: Rows) -> Tensor:
        """Return the mean over patches: of logits that are linear in it, the mean as well."""
        return torch.stack([patches.mean(dim=0) for patches in self._of(rows)])

    def batches(
        self, rows: Rows, n_batches: int, batch_size: int, key: tuple[int, ...], strength: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield one patch of each segment drawn, with noise on it."""
        rng = np.random.default_rng(key)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        n_classes = len(self.segments.classes)
        spread = self._spread(rows)
        for drawn in draw_rows(self.segments, rows, n_batches, batch_size, rng):
            patches = self._of(drawn)
            x = torch.stack([own[int(rng.integers(len(own)))] for own in patches])
            x = x + strength * _NOISE * spread * torch.randn(x.shape, generator=generator)
            yield x, nn.functional.one_hot(torch.from_numpy(self.segments.labels[drawn]), n_classes).float()

    def _spread(self, rows: Rows) -> Tensor:
        return torch.cat(self._of(rows)).std(dim=0)

    def _of(self, rows: Rows) -> list[Tensor]:
        missing = np.array(sorted({int(row) for row in rows} - self.known.keys()), dtype=np.int64)
        for first in range(0, len(missing), _AT_ONCE):
            part = missing[first : first + _AT_ONCE]
            for row, found in zip(part.tolist(), self._hear(part), strict=True):
                self.known[row] = found
        return [self.known[int(row)] for row in rows]

    def _hear(self, rows: Rows) -> Tensor:
        """Return ``(rows, patches, channels)``."""
        patches = some_patches(cast(Network, self.head.base), self.segments, rows, _PATCHES)
        with torch.no_grad():
            heard = self.head.embed(patches.flatten(0, 1)).float()
        return heard.reshape(*patches.shape[:2], -1)
