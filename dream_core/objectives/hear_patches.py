"""What a network hears in a whole sound, patch by patch: its classes, or the channels of a layer.

Every value stands at the middle of the patch it was heard in. The grid is fixed from the first sample and
patches are heard so many at a time, always the same ones together: what is heard does not depend on how the
sound is cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from dream_core.dsp.resample import resample
from dream_core.errors import ClassNotFoundError, LayerNotFoundError, SettingError
from dream_core.names import nearest_names
from dream_core.networks.card import Network, NetworkCard
from dream_core.objectives.classes import class_probabilities
from dream_core.objectives.ear import check_patch_hop
from dream_core.objectives.taps import tap

__all__ = ["HeardPatches", "PatchListener", "check_heard", "choose_patch_hop", "hear_patches", "join_patches"]

HOP_S: Final = 0.256
"""At most so far are patches from each other, where nothing else is asked for."""

_AROUND_S: Final = 0.1
"""How much is heard before and after the patches: frames at their edges reach further."""

_BATCH_PATCHES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeardPatches:
    """What was heard in some patches of a sound, in order of time.

    Args:
        middles_s: ``(patches,)`` where each patch has its middle, in seconds from the first sample. Patches
            of a sound that is shorter than one have theirs after its end.
        values: ``(patches, classes)`` probabilities, or ``(patches, channels)`` means of a layer's channels.
        energy: ``(patches,)`` how much sound is in each: a mean power, 0 in silence.
    """

    middles_s: Tensor
    values: Tensor
    energy: Tensor

    def __len__(self) -> int:
        return len(self.middles_s)


def choose_patch_hop(card: NetworkCard, patch_hop: int = 0) -> int:
    """Return how many frames lie from one patch to the next: those asked for, or enough for four a second.

    Args:
        card: Of the network.
        patch_hop: In the network's frames, up to the length of a patch; 0 chooses.

    Raises:
        SettingError: Sound between the patches would not be heard.

    >>> from dream_core.networks.registry import get_card
    >>> choose_patch_hop(get_card("yamnet")), choose_patch_hop(get_card("crepe"))
    (25, 16)
    """
    longest = check_patch_hop(card, patch_hop)
    return patch_hop or min(longest, max(1, math.floor(HOP_S / card.frame_s + 1e-9)))


def check_heard(card: NetworkCard, layer: str = "") -> tuple[str, ...]:
    """Return the names of what a network tells: its classes, or the channels of a layer by number.

    Args:
        card: Of the network.
        layer: One of its layers; empty for the classes.

    Raises:
        ClassNotFoundError: It has no classes.
        LayerNotFoundError: It has no such layer.

    >>> from dream_core.networks.registry import get_card
    >>> check_heard(get_card("timbre"))[:2], check_heard(get_card("timbre"), "block1")[:2]
    (('bass', 'brass'), ('0', '1'))
    """
    if not layer:
        if not card.classes:
            first = card.layers[-1].name if card.layers else "NAME"
            raise ClassNotFoundError(
                f"network {card.name!r} has no classes; name one of its layers, such as {first!r}"
            )
        return card.classes
    for info in card.layers:
        if info.name == layer:
            return tuple(str(index) for index in range(info.n_channels))
    known = [info.name for info in card.layers]
    raise LayerNotFoundError(f"network {card.name!r} has no layer {layer!r}; {nearest_names(layer, known)}")


class PatchListener:
    """Hear a sound that arrives in blocks, patch by patch; memory does not grow with the sound.

    Args:
        network: On its device.
        layer: The layer whose channels are heard; empty for the classes.
        patch_hop: From one patch to the next, in the network's frames; 0 takes enough for four a second.

    Raises:
        ClassNotFoundError, LayerNotFoundError: The network has no classes, or no such layer.
        SettingError: The patches would lie too far apart.
    """

    def __init__(self, network: Network, layer: str = "", patch_hop: int = 0) -> None:
        card = network.card
        self.names = check_heard(card, layer)
        if not hasattr(network, "patch_starts"):
            raise SettingError(
                f"network {card.name!r} does not say when its patches begin; give it a method patch_starts, "
                "as dream_core.Network says"
            )
        self._network, self._layer = network, layer
        self._hop_frames = choose_patch_hop(card, patch_hop)
        self._patch_samples = round(card.patch_s * card.sample_rate)
        first, second = network.patch_starts(4 * self._patch_samples, 0, self._hop_frames)[:2]
        self._hop_samples = second - first
        around_samples = math.ceil(_AROUND_S * card.sample_rate)
        self._n_before = math.ceil(around_samples / self._hop_samples)
        lead = self._n_before * self._hop_samples
        self._span = lead + (_BATCH_PATCHES - 1) * self._hop_samples + self._patch_samples + around_samples
        # Silence before the first sample stands for what is heard before the first patch.
        self._waiting = torch.zeros(lead, device=network.device)
        self._n_heard, self._n_told = 0, 0

    @property
    def hop_s(self) -> float:
        """From one patch to the next, in seconds."""
        return self._hop_samples / self._network.card.sample_rate

    def push(self, sound: Tensor) -> Iterator[HeardPatches]:
        """Take the next samples, mono at the network's rate; yield what is known since."""
        self._n_heard += len(sound)
        self._waiting = torch.cat([self._waiting, sound.detach().to(self._waiting)])
        while len(self._waiting) >= self._span:
            yield self._hear(_BATCH_PATCHES)

    def finish(self) -> Iterator[HeardPatches]:
        """End the sound; yield the patches that are left. Silence fills up the last one."""
        beyond = max(0, self._n_heard - self._patch_samples)
        n_patches = 1 + math.ceil(beyond / self._hop_samples) if self._n_heard else 0
        while (n_left := n_patches - self._n_told) > 0:
            self._waiting = nn.functional.pad(self._waiting, (0, max(0, self._span - len(self._waiting))))
            yield self._hear(min(n_left, _BATCH_PATCHES))

    @torch.no_grad()
    def _hear(self, n_wanted: int) -> HeardPatches:
        """Hear the next patches; always as many together, since that decides how sums are ordered."""
        network = self._network
        sound = self._waiting[None, : self._span]
        patches = network.listen(sound, 0, self._hop_frames)[0]
        patches = patches[self._n_before : self._n_before + _BATCH_PATCHES]
        if self._layer:
            with tap(network, {self._layer}, leaves_early=True) as tapped:
                network(patches)
            activation = tapped[self._layer]
            values = activation.flatten(2).mean(dim=2) if activation.ndim > 2 else activation
        else:
            values = class_probabilities(network(patches), network.card)
        energy = network.measure_energy(patches)
        indices = torch.arange(self._n_told, self._n_told + n_wanted, dtype=torch.float64)
        self._n_told += _BATCH_PATCHES
        self._waiting = self._waiting[_BATCH_PATCHES * self._hop_samples :].clone()
        return HeardPatches(
            middles_s=indices * self.hop_s + self._network.card.patch_s / 2.0,
            values=values[:n_wanted].float().cpu(),
            energy=energy[:n_wanted].float().cpu(),
        )


def hear_patches(
    network: Network, sound: Tensor, sample_rate: int, *, layer: str = "", patch_hop: int = 0
) -> HeardPatches:
    """Hear a whole sound, patch by patch: how sure a network is of each of its classes, and when.

    No gradient passes. A class is as :class:`dream_core.NetworkCard` says of the outputs: a probability of
    its own, or its share of one.

    Args:
        network: As :func:`dream_core.load_network` gives it.
        sound: Mono, full scale 1, on any device.
        sample_rate: Hz, of the sound.
        layer: A layer, whose channels are told instead; their mean over time and frequency.
        patch_hop: From one patch to the next, in the network's frames; 0 takes enough for four a second.

    Shape:
        ``(samples,)`` -> ``(patches, classes)``, with a patch for every hop that a whole patch fits behind,
        and one more for what is left.

    Raises:
        SettingError: A sound that is not mono, or patches too far apart.
        ClassNotFoundError, LayerNotFoundError: The network has no classes, or no such layer.

    >>> from dream_core.networks.registry import load_network
    >>> heard = hear_patches(load_network("timbre"), torch.zeros(48000), 48000)
    >>> heard.values.shape, [round(at_s, 3) for at_s in heard.middles_s.tolist()]
    (torch.Size([1, 11]), [0.575])
    """
    if sound.ndim != 1:
        raise SettingError(f"sound has shape {tuple(sound.shape)}; mono is accepted, (samples,)")
    listener = PatchListener(network, layer, patch_hop)
    with torch.no_grad():
        heard = resample(sound.detach().to(network.device), sample_rate, network.card.sample_rate)
    return join_patches([*listener.push(heard), *listener.finish()], len(listener.names))


def join_patches(pieces: list[HeardPatches], n_names: int) -> HeardPatches:
    """Join patches in order of time; none at all are those of a sound without samples.

    Args:
        pieces: What a listener gave.
        n_names: How many classes or channels it tells.

    >>> join_patches([], 3).values.shape
    torch.Size([0, 3])
    """
    if not pieces:
        return HeardPatches(
            middles_s=torch.zeros(0, dtype=torch.float64),
            values=torch.zeros(0, n_names),
            energy=torch.zeros(0),
        )
    return HeardPatches(
        middles_s=torch.cat([piece.middles_s for piece in pieces]),
        values=torch.cat([piece.values for piece in pieces]),
        energy=torch.cat([piece.energy for piece in pieces]),
    )
