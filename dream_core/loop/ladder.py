"""A ladder: the sound at several depths from one dream, since ``x_k`` is on the way to ``x_n``.

A rung ``k`` is what a dream gives whose depth is held to ``k``, ``min(d(t), k)``, bit for bit: up to step
``k`` both do the same. Rungs are whole numbers, since in a dream that goes on step ``k`` happens wholly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dream_core.errors import SettingError
from dream_core.settings import DEPTH_LIMIT

__all__ = ["Rungs", "check_ladder"]


def check_ladder(ladder: Iterable[int]) -> tuple[int, ...]:
    """Return the depths of a ladder in order, each once.

    Raises:
        SettingError: One is no whole number of steps.

    >>> check_ladder([5, 1, 5])
    (1, 5)
    """
    depths = set(ladder)
    for depth in depths:
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= DEPTH_LIMIT:
            raise SettingError(
                f"ladder: {depth!r} is no depth of one; whole numbers of steps, 1..{DEPTH_LIMIT:g}, are "
                "accepted"
            )
    return tuple(sorted(depths))


class Rungs:
    """Finished sound at each depth of a ladder, until somebody takes it.

    Args:
        depths: From `check_ladder`.
    """

    def __init__(self, depths: Iterable[int] = ()) -> None:
        self._pieces: dict[int, list[Tensor]] = {depth: [] for depth in depths}

    def __contains__(self, depth: int) -> bool:
        return depth in self._pieces

    def add(self, kept: Mapping[int, Tensor], last: Tensor) -> None:
        """Add what comes next of every depth: what was kept there, or the last where that is not as deep."""
        for depth, pieces in self._pieces.items():
            pieces.append(kept.get(depth, last))

    def take(self, like: Tensor) -> dict[int, Tensor]:
        """Return what has come since the last call, ``(channels, m)`` of every depth.

        Args:
            like: ``(channels, any)`` on the sound's device.
        """
        taken = {depth: torch.cat([like[:, :0], *pieces], 1) for depth, pieces in self._pieces.items()}
        for pieces in self._pieces.values():
            pieces.clear()
        return taken
