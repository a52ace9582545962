"""What a network heard in a sound, or in a session of them, and what of it is strongest. Data; no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridge.arrays import Float64Array

__all__ = ["HeardSound", "Strong", "hear_together", "strongest"]

_HEARD_DB = 60.0
"""A patch so far below the loudest one has no say in a mean."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardSound:
    """What a network heard in one sound.

    Args:
        names: Of its classes, or the numbers of a layer's channels.
        middles_s: (patches,) where each patch has its middle, in seconds.
        values: (patches, names) probabilities, or means of channels.
        energy: (patches,) how much sound is in each: a mean power.
        hop_s: From one patch to the next.
        duration_s: Length of the sound.
    """

    names: tuple[str, ...]
    middles_s: Float64Array
    values: Float64Array
    energy: Float64Array
    hop_s: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strong:
    """One class, or channel, of a sound.

    Args:
        name: Its name.
        mean: Over the sound, each patch counting by its level.
        highest: The highest value of a patch that is not silent.
        at_s: Where that one has its middle; not after the sound's end.
    """

    name: str
    mean: float
    highest: float
    at_s: float


def level_weights(energy: Float64Array) -> Float64Array:
    """Return how much sounds count beside each other: by level above -60 dB of the loudest; 0..1.

    >>> level_weights(np.array([1.0, 1e-3, 1e-7])).tolist()
    [1.0, 0.5, 0.0]
    """
    loudest = float(energy.max(initial=0.0))
    if loudest <= 0:
        return np.ones(energy.shape)
    levels_db = 10.0 * np.log10(np.maximum(energy / loudest, 1e-30))
    weights: Float64Array = np.maximum(levels_db + _HEARD_DB, 0.0) / _HEARD_DB
    return weights


def strongest(heard: HeardSound, top: int) -> list[Strong]:
    """Return what is heard most in a sound by its mean, the strongest first.

    Args:
        heard: The sound.
        top: So many of its classes or channels.
    """
    if not len(heard.values):
        return []
    weights = level_weights(heard.energy)
    means = weights @ heard.values / weights.sum()
    audible = np.where(weights[:, None] > 0, heard.values, -np.inf)
    places = audible.argmax(axis=0)
    order = np.argsort(-means, kind="stable")[:top]
    return [
        Strong(
            name=heard.names[index],
            mean=float(means[index]),
            highest=float(audible[places[index], index]),
            at_s=min(float(heard.middles_s[places[index]]), heard.duration_s),
        )
        for index in order.tolist()
    ]


def hear_together(sounds: Sequence[HeardSound]) -> HeardSound:
    """Return what is heard in a session: at each time the mean over its sounds, each by its level there.

    Args:
        sounds: Heard by one network with one hop, from one start; they may end apart.
    """
    longest = max(sounds, key=lambda sound: len(sound.values))
    n_patches, n_names = longest.values.shape
    energy = np.zeros((len(sounds), n_patches))
    values = np.zeros((len(sounds), n_patches, n_names))
    for index, sound in enumerate(sounds):
        energy[index, : len(sound.values)] = sound.energy
        values[index, : len(sound.values)] = sound.values
    weights = level_weights(energy)
    total = weights.sum(axis=0)
    # Where all is silent nobody is heard.
    shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return HeardSound(
        names=longest.names,
        middles_s=longest.middles_s,
        values=np.einsum("sp,spn->pn", shares, values),
        energy=energy.sum(axis=0),
        hop_s=longest.hop_s,
        duration_s=max(sound.duration_s for sound in sounds),
    )
