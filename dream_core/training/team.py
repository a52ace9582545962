"""Processes that train one network together, as `torchrun` starts them; mostly it is one.

Every process draws the same batches and takes its share of each; gradients are summed, so all hold the same
weights. The first one alone validates and writes; what it finds the others are told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError

__all__ = ["ALONE", "Team", "join_team"]


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train together, as one of them sees it.

    Args:
        rank: Which this one is, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that validates and writes."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """Return this process's part of a batch."""
        return batch[self.rank :: self.size] if self.size > 1 else batch

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of what all processes hold."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        torch.distributed.all_reduce(total)
        return total

    def sum_gradients(self, module: nn.Module) -> None:
        """Give every parameter the sum of its gradients in all processes."""
        if self.size == 1:
            return
        found = [one.grad for one in module.parameters() if one.grad is not None]
        total = self.sum(torch.cat([one.flatten() for one in found]))
        for gradient, part in zip(found, total.split([one.numel() for one in found]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def tell(self, value: Any) -> Any:
        """Return what the first process gave; the others wait for it."""
        if self.size == 1:
            return value
        told = [value]
        torch.distributed.broadcast_object_list(told, src=0)
        return told[0]


ALONE = Team()
"""One process."""


@contextmanager
def join_team(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """Join the processes that `torchrun` started, if it did; yields them and this one's device.

    Args:
        device: Where training was asked for; of several GPUs each process takes its own.

    Raises:
        SettingError: There are fewer GPUs than processes, or Torch cannot connect them.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    if not torch.distributed.is_available():
        raise SettingError("this build of Torch cannot connect processes; train without torchrun")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise SettingError(
                f"torchrun started process {local + 1} on a machine of {torch.cuda.device_count()} GPUs; "
                f"give --nproc-per-node {torch.cuda.device_count()}, or --device cpu"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(torch.distributed.get_rank(), torch.distributed.get_world_size()), device
    finally:
        torch.distributed.destroy_process_group()
