"""What can be wrong with a step that has been taken, and how it is said."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dream_core.errors import NonFiniteError
from dream_core.loop.pending_steps import Fault, PendingStep
from dream_core.objectives.listener import Listener

__all__ = ["NO_PITCH", "find_faults"]

NO_PITCH = (
    "update 'harmonic' was given no pitch anywhere in this sound: it dreams in bands of noise alone; give a "
    "lane of f0_hz, or use update 'mask'"
)

AUDIBLE = 1e-3
"""Level (-60 dBFS) above which a window must have a gradient."""


def find_faults(
    steps: Sequence[PendingStep],
    groups: int,
    listener: Listener,
    original: Tensor,
    proposal: Tensor,
    gradient: Tensor,
    *,
    may_rest: bool,
) -> list[Fault]:
    """Return what is wrong with the windows' steps: values that are not finite, or nothing that leads on.

    Args:
        steps: The windows.
        groups: How many items a window has.
        listener: Who scored them.
        original: The undreamed sound, ``(items, rows, samples)``.
        proposal: What the step proposes, ``(windows, channels, samples)``.
        gradient: What led there, with items first.
        may_rest: Whether the objective may ask for nothing now and then.
    """
    is_finite = bool(torch.isfinite(proposal).all()) and bool(torch.isfinite(gradient).all())
    if is_finite and (may_rest or bool(gradient.any(dim=(1, 2)).all())):
        return []
    faults = []
    for n, step in enumerate(steps):
        start_s = step.schedule.start_sample(step.window) / listener.sample_rate
        place = f"step {step.window.taken + 1} of the window at {start_s:.2f} s"
        part = slice(n * groups, (n + 1) * groups)
        # The network hears the sum of the rows: where that is silent (a quiet passage, channels that
        # cancel) there is nothing to say.
        is_audible = float(original[part].mean(dim=1).square().mean().sqrt()) > AUDIBLE
        # Less than a patch of sound, at the end, may well leave a network cold.
        is_audible &= step.window.n_samples >= listener.patch_samples or step.schedule.is_whole
        if not bool(torch.isfinite(gradient[part]).all()):
            text = (
                f"{place}: the gradient of {listener.objective.text!r} is not finite; its factors "
                "or the network's weights are too large, or the sound is far above full scale"
            )
        elif not bool(torch.isfinite(proposal[n]).all()):
            text = f"{place}: the dream is not finite; use a smaller step"
        elif is_audible and not may_rest and not bool(gradient[part].any()):
            text = (
                f"{place}: the objective {listener.objective.text!r} has no gradient: the network "
                "does not respond there, or the band is narrower than the transform can tell; "
                "choose another layer or channel, a wider band, or depth 0 there"
            )
        else:
            continue
        faults.append(Fault(owner=step.stream, error=NonFiniteError(text)))
    return faults
