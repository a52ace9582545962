"""Where in time and frequency a network answers to an objective: its layers' maps, weighted as the score is.

A map is the sum of a layer's channels, each times the mean of the score's gradient over the channel's
places. For ``channel:L:3`` that is channel 3, for ``layer:L`` the mean of all channels, for a class what
speaks for it. An objective that asks only for what has no places any more (classes, an embedding) is answered
by the last layer that has enough of them to say when.

Source:
    Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dream_core.errors import ObjectiveError
from dream_core.objectives.ear import Ear, When
from dream_core.objectives.loudest import HeardClasses
from dream_core.objectives.objective import LOGITS

__all__ = ["Answer", "find_answers"]

FINE_TIMES = 4
"""Places in time of a patch from which on a layer says when it answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a network answers over one patch of each item.

    Args:
        start_s: Where the patch begins, in seconds from where the sound does.
        duration_s: How long it is.
        values: ``(items, times, bands)``, evenly spread over the patch and over what the network hears; one
            band where it does not say which.
    """

    start_s: float
    duration_s: float
    values: Tensor


def find_answers(
    ear: Ear,
    mono: Tensor,
    offset_frames: int,
    when: When | None = None,
    classes: HeardClasses | None = None,
) -> tuple[list[Answer], Tensor]:
    """Return how a network answers to its objective, patch by patch, and each item's score.

    Args:
        ear: The network's, with its objective.
        mono: ``(items, samples)`` at the session's rate.
        offset_frames: Where the patch grid begins.
        when: When in the whole sound the items are, and the objective's weights there: what counts less there
            is answered less.
        classes: Is told which classes are heard, where the objective asks for any.

    Raises:
        ObjectiveError: The network has no layer with places in time.
    """
    if not hasattr(ear.network, "patch_starts"):
        raise ObjectiveError(
            f"network {ear.network.card.name!r} does not say when its patches begin, so nobody knows when "
            "it answers; give it a method patch_starts, as dream_core.Network says"
        )
    patches = ear.listen(mono, offset_frames).detach().requires_grad_(True)
    with torch.enable_grad():
        outputs: dict[str, object] = {}
        heard = ear.hear_patches(patches, [info.name for info in ear.network.card.layers], outputs)
        maps = _maps(ear, heard.layers)
        score = ear.score_heard(heard, mono.shape[-1], offset_frames, when, classes)
        reached = {name: output for name in maps if isinstance(output := outputs[name], Tensor)}
        slopes: tuple[Tensor | None, ...] = torch.autograd.grad(
            score.sum(), list(reached.values()), allow_unused=True
        )
    total = None
    for name, slope in zip(reached, slopes, strict=True):
        if slope is None:
            continue
        value = maps[name]
        # Layers are read by putting their places into one order: their slopes are too.
        gradient = ear.network.read_layer(name, slope).reshape(value.shape)
        weight = gradient.mean(dim=tuple(range(3, value.ndim)), keepdim=True)
        answer = _as_places((weight * value).sum(dim=2))
        total = answer if total is None else _added(total, answer)
    if total is None:
        raise ObjectiveError(f"network {ear.network.card.name!r} answers nothing that has a place in time")
    starts_s = ear.patch_times(mono.shape[-1], offset_frames)
    duration_s = ear.network.card.patch_s
    answers = [Answer(start, duration_s, total[:, index].detach()) for index, start in enumerate(starts_s)]
    return answers, score.detach()


def _maps(ear: Ear, layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the layers with places that the objective asks for, or else the last one there is."""
    placed = [
        info.name
        for info in ear.network.card.layers
        if info.name != LOGITS and layers[info.name].ndim > 3 and layers[info.name][0, 0, 0].numel() > 1
    ]
    if not placed:
        raise ObjectiveError(
            f"network {ear.network.card.name!r} has no layer whose places in time are known; use another "
            "network, or another update than 'hear'"
        )
    asked = [name for name in placed if name in ear.layers]
    fine = [name for name in placed if layers[name].shape[3] >= FINE_TIMES]
    return {name: layers[name] for name in asked or (fine or placed)[-1:]}


def _as_places(value: Tensor) -> Tensor:
    """Return ``(items, patches, times, bands)``; what lies beyond two places is averaged."""
    if value.ndim == 3:
        return value[..., None]
    return value if value.ndim == 4 else value.flatten(4).mean(dim=4)


def _added(one: Tensor, other: Tensor) -> Tensor:
    """Add two maps up on the finer grid."""
    shape = [max(a, b) for a, b in zip(one.shape[2:], other.shape[2:], strict=True)]
    return _resized(one, shape) + _resized(other, shape)


def _resized(value: Tensor, shape: list[int]) -> Tensor:
    if list(value.shape[2:]) == shape:
        return value
    flat = value.flatten(0, 1)[:, None]
    resized: Tensor = torch.nn.functional.interpolate(flat, size=shape, mode="bilinear", align_corners=False)
    split: Tensor = resized[:, 0].unflatten(0, value.shape[:2])
    return split
