"""What a network hears in another sound, as targets: a dream follows what somebody else plays."""

from __future__ import annotations

import torch
from torch import Tensor

from dream_core.dsp.resample import resample
from dream_core.errors import ObjectiveError
from dream_core.networks.card import Network
from dream_core.networks.hear_notes import hear_notes
from dream_core.networks.log_mel_network import LogMelNetwork
from dream_core.networks.notes import Notes
from dream_core.objectives.taps import tap
from dream_core.objectives.targets import Targets

__all__ = ["heard_targets"]

_UNHEARD, _SURE = 0.3, 0.7
"""Probabilities up to which a note is not wanted at all, and from which it is wanted wholly."""

_BATCH_PATCHES = 512

_EDGE_FRAMES = 8
"""Of a patch, at both ends: a network's kernels reach so far."""


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
        raise ObjectiveError(f"network {card.name!r} hears no notes; 'pitch', 'notes' and 'crepe' do")
    if isinstance(network, Notes):
        probabilities, frame_s = hear_notes(network, sound, sample_rate)
        return Targets(values=_wanted(probabilities), frame_s=frame_s, start_s=-frame_s / 2)
    if isinstance(network, LogMelNetwork) and card.keys_layer:
        probabilities = _key_frames(network, resample(sound[None], sample_rate, card.sample_rate))
        return Targets(values=_wanted(probabilities), frame_s=card.frame_s, start_s=-card.frame_s / 2)
    with torch.no_grad():
        patches = network.listen(resample(sound[None], sample_rate, card.sample_rate))[0]
        logits = torch.cat([network(part) for part in patches.split(_BATCH_PATCHES)])
        # What is silent has no pitch, whatever a network that knows no level makes of it.
        energy = network.measure_energy(patches)
    is_heard = energy > energy.amax() * 1e-6
    return Targets(values=_wanted(logits.sigmoid().T * is_heard), frame_s=card.patch_s)


@torch.no_grad()
def _key_frames(network: LogMelNetwork, sound: Tensor) -> Tensor:
    """Return the probability of every key in every frame of a sound ``(1, samples)``: ``(keys, frames)``.

    Patches overlap; what is heard at their edges, where the network does not see on, is thrown away.
    """
    n_frames = network.spec.patch_frames
    edge = min(_EDGE_FRAMES, (n_frames - 1) // 2)
    patches = network.listen(sound, 0, n_frames - 2 * edge)[0]
    pieces = []
    for part in patches.split(_BATCH_PATCHES):
        with tap(network, [network.card.keys_layer], leaves_early=True) as heard:
            network(part)
        pieces.append(heard[network.card.keys_layer].sigmoid())
    probabilities = torch.cat(pieces)
    middles = probabilities[:, :, edge : n_frames - edge].transpose(0, 1).flatten(1)
    first, last = probabilities[0, :, :edge], probabilities[-1, :, n_frames - edge :]
    joined = torch.cat([first, middles, last], dim=1)
    return joined[:, : network.spec.n_frames(sound.shape[1])]


def _wanted(probabilities: Tensor) -> Tensor:
    return ((probabilities - _UNHEARD) / (_SURE - _UNHEARD)).clamp(0.0, 1.0)
