"""Where stems that dream on one device share their batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bridge.plan.model import Plan

if TYPE_CHECKING:
    from dream_core.loop.shared_batches import SharedBatches

__all__ = ["open_shared_batches"]


def open_shared_batches(plans: Iterable[Plan]) -> dict[str, SharedBatches]:
    """Return the shared batches of every GPU that plans dream on, for stems rendered in threads."""
    plans = list(plans)
    if not any(plan.preset.dream_nodes for plan in plans):
        return {}
    from dream_core.loop.shared_batches import SharedBatches

    devices = {device for plan in plans for device in plan.device.split(",") if device.startswith("cuda")}
    return {device: SharedBatches() for device in devices}
