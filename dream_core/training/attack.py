"""Change sounds as a dream would, towards a wrong family, so that a network learns not to be fooled.

A network that was trained on sounds alone is convinced by changes that no ear hears as the family it names.
One that keeps its opinion under such changes has gradients that look like the families themselves: what
convinces it has to convince others too.

Sources:
    Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks"; Santurkar et al. 2019,
    "Image synthesis with a single (robust) classifier".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["attack"]

_STEP_SHARE = 1.2
"""Of the largest gain, what all steps together would reach if every one went the same way at full size."""
_CLIP = 3.0
_LONGEST_FRAMES = 16
_MOST_BANDS = 2


def attack(
    logits_of: Callable[[Tensor], Tensor],
    patches: Tensor,
    families: Tensor,
    silence: float,
    generator: torch.Generator,
    *,
    n_steps: int,
    most_nepers: float,
) -> Tensor:
    """Return log-mel patches after a few steps of gains that raise a wrong family.

    As in a dream, a gain's direction is scaled in every frame, smoothed by a random amount along time and
    frequency, clipped and bounded; what is silent stays so. How far it goes is drawn for each patch.

    Args:
        logits_of: The network, from patches to logits.
        patches: Log-mel, ``(batch, frames, mels)``.
        families: What each is; the attack goes to another, drawn by chance.
        silence: The log-mel value of silence.
        generator: Draws all there is to draw.
        n_steps: How many steps.
        most_nepers: The size of a typical gain at most; single ones reach twice that.

    Shape:
        ``(batch, frames, mels)`` -> the same.
    """
    batch, n_classes = len(patches), logits_of(patches[:1]).shape[1]
    away = torch.randint(1, n_classes, (batch,), generator=generator).to(patches.device)
    wrong, right = ((families + away) % n_classes)[:, None], families[:, None]
    most = most_nepers * torch.rand((batch, 1, 1), generator=generator).sqrt().to(patches.device)
    sound = patches.exp() - math.exp(silence)
    sigma_frames = _LONGEST_FRAMES * float(torch.rand(1, generator=generator)) ** 2
    sigma_bands = _MOST_BANDS * float(torch.rand(1, generator=generator))
    is_steady = (torch.rand((batch, 1, 1), generator=generator) < 0.25).to(patches.device)
    gains = torch.zeros_like(patches)
    for step in range(n_steps):
        leaf = gains.requires_grad_(True)
        logits = logits_of(torch.log(sound * leaf.exp() + math.exp(silence)))
        # Every second step the right family is pushed down as well.
        score = logits.gather(1, wrong).sum() - 0.5 * (step % 2) * logits.gather(1, right).sum()
        (gradient,) = torch.autograd.grad(score, leaf)
        gradient = _smooth(_smooth(gradient, 1, sigma_frames), 2, sigma_bands)
        gradient = torch.where(is_steady, gradient.mean(dim=1, keepdim=True), gradient)
        direction = gradient / (gradient.square().mean(dim=2, keepdim=True).sqrt() + 1e-9)
        moved = gains.detach() + most * (_STEP_SHARE / n_steps) * direction.clamp(-_CLIP, _CLIP)
        gains = torch.maximum(torch.minimum(moved, 2.0 * most), -2.0 * most)
    return torch.log(sound * gains.exp() + math.exp(silence))


def _smooth(field: Tensor, axis: int, sigma: float) -> Tensor:
    if sigma < 0.3:
        return field
    size = field.shape[axis]
    distance = torch.arange(size)[:, None] - torch.arange(size)
    weights = torch.exp(-0.5 * (distance / sigma) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    weights = weights.to(field.device)
    return weights @ field if axis == 1 else field @ weights.T
