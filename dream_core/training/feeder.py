"""Batches made in this process or by workers, the same bits either way.

Which rows a batch holds is drawn here; how they are changed follows from the batch's own seed, so it does not
matter who makes it, nor when. Workers are spawned once and handed the data set as it is: its sounds stay on
disk, mapped into memory that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dream_core.training.learner import Rows
from dream_core.training.segment_rows import draw_rows
from dream_core.training.segments import Segments

__all__ = ["BatchOrder", "Feeder"]


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """What a batch is made of, all that its maker has to be told.

    Args:
        rows: Segments, in order.
        key: Seeds what chance does to them.
        strength: How much of the augmentation, 0..1.
    """

    rows: NDArray[np.int64]
    key: tuple[int, ...]
    strength: float


Maker = Callable[[BatchOrder], tuple[Tensor, Tensor]]
"""Returns inputs and targets. Workers are sent it, so it holds nothing that cannot be sent."""


class _Made(Dataset[tuple[Tensor, Tensor]]):
    """A data set whose items are made to order."""

    def __init__(self, make: Maker) -> None:
        self._make = make

    def __getitem__(self, order: Any) -> tuple[Tensor, Tensor]:
        return self._make(order)


class _Orders:
    """The orders of the epoch at hand: what a loader takes for a sampler."""

    def __init__(self) -> None:
        self.now: list[BatchOrder] = []

    def __iter__(self) -> Iterator[BatchOrder]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


class Feeder:
    """Gives a learner its batches.

    Args:
        segments: What is drawn from.
        make: Makes a batch.
        workers: How many processes make them; 0: this one.
    """

    def __init__(self, segments: Segments, make: Maker, workers: int = 0) -> None:
        self._segments, self._make, self._workers = segments, make, workers
        self._orders = _Orders()
        self._loader: DataLoader[Any] | None = None

    def batches(
        self, rows: Rows, n_batches: int, batch_size: int, key: tuple[int, ...], strength: float
    ) -> Iterable[tuple[Tensor, Tensor]]:
        """Return inputs and targets of rows, changed anew; see `dream_core.training.learner.Batches`."""
        drawn = draw_rows(self._segments, rows, n_batches, batch_size, np.random.default_rng(key))
        orders = [BatchOrder(part, (*key, index), strength) for index, part in enumerate(drawn)]
        if not self._workers:
            return map(self._make, orders)
        self._orders.now = orders
        if self._loader is None:
            self._loader = DataLoader(
                _Made(self._make),
                batch_size=None,
                sampler=self._orders,
                num_workers=self._workers,
                multiprocessing_context="spawn",
                persistent_workers=True,
                worker_init_fn=_begin_worker,
                # Its workers' own seeds are not used; the global generator is left alone.
                generator=torch.Generator(),
            )
        return self._loader

    def close(self) -> None:
        """End the workers."""
        self._loader = None


def _begin_worker(_index: int) -> None:
    torch.set_num_threads(1)
