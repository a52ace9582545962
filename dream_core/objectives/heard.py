"""What a network hears in another sound, as targets: a dream follows what somebody else plays."""

from __future__ import annotations

import torch
from torch import Tensor

from dream_core.dsp.resample import resample
from dream_core.errors import ObjectiveError
from dream_core.networks.card import Network
from dream_core.networks.hear_notes import hear_notes
from dream_core.networks.notes import Notes
from dream_core.objectives.targets import Targets

__all__ = ["heard_targets"]

_UNHEARD, _SURE = 0.3, 0.7
"""Probabilities up to which a note is not wanted at all, and from which it is wanted wholly."""

_BATCH_PATCHES = 512


def heard_targets(network: Network, sound: Tensor, sample_rate: int) -> Targets:
    """Hear which notes are played in a sound, for an objective that is to play them.

    Args:
        network: One whose classes are notes.
        sound: Mono ``(samples,)``, as long as it shall be followed.
        sample_rate: Hz, of the sound.

    Raises:
        ObjectiveError: The network hears no notes.
    """
    card = network.card
    if not card.keys:
        raise ObjectiveError(f"network {card.name!r} hears no notes; 'notes' and 'crepe' do")
    if isinstance(network, Notes):
        probabilities, frame_s = hear_notes(network, sound, sample_rate)
        return Targets(values=_wanted(probabilities), frame_s=frame_s, start_s=-frame_s / 2)
    with torch.no_grad():
        patches = network.listen(resample(sound[None], sample_rate, card.sample_rate))[0]
        logits = torch.cat([network(part) for part in patches.split(_BATCH_PATCHES)])
        # What is silent has no pitch, whatever a network that knows no level makes of it.
        energy = network.measure_energy(patches)
    is_heard = energy > energy.amax() * 1e-6
    return Targets(values=_wanted(logits.sigmoid().T * is_heard), frame_s=card.patch_s)


def _wanted(probabilities: Tensor) -> Tensor:
    return ((probabilities - _UNHEARD) / (_SURE - _UNHEARD)).clamp(0.0, 1.0)
