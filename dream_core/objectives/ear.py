"""One network's ear on a session: from waveforms at the session's rate to the score of its terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dream_core.dsp.resample import resample
from dream_core.errors import SettingError
from dream_core.networks.card import Network, NetworkCard
from dream_core.objectives.objective import LOGITS, Activations, Term
from dream_core.objectives.taps import tap

__all__ = ["Ear", "check_patch_hop"]

SPEED_GRID_HZ = 300


def check_patch_hop(card: NetworkCard, patch_hop_frames: int) -> None:
    """Refuse patches so far apart that sound between them would not be heard.

    Raises:
        SettingError: They are.
    """
    longest = _frames_at_once(card)
    if patch_hop_frames > longest:
        raise SettingError(
            f"patch_hop = {patch_hop_frames} frames; network {card.name!r} looks at {longest} at a time, so "
            f"0..{longest} is accepted; it holds for every network that listens"
        )


def _frames_at_once(card: NetworkCard) -> int:
    return max(1, round(card.patch_s / card.frame_s))


@dataclass(frozen=True, slots=True)
class _Heard:
    """Layer name to activations ``(items, patches, channels, ...)``, and the energy of the patches."""

    layers: Mapping[str, Tensor]
    energy: Tensor | None = None


class Ear:
    """Scores sound: resamples it, lets a network listen, and asks the terms.

    Args:
        network: The network, on its device.
        terms: What to score; all of them this network's.
        sample_rate: Hz, the session's rate.
        references: Reference name to mono sound ``(samples,)`` at the session's rate; those the terms name.
        patch_hop_frames: From one patch to the next, in the network's frames; 0 takes the network's own.

    Raises:
        SettingError: Patches so far apart would leave sound between them unheard.
    """

    def __init__(
        self,
        network: Network,
        terms: Sequence[Term],
        sample_rate: int,
        references: Mapping[str, Tensor],
        patch_hop_frames: int = 0,
    ) -> None:
        self.network = network
        self.sample_rate = sample_rate
        self._terms = tuple(terms)
        self._layers = frozenset[str]().union(*(term.layers for term in terms))
        self._needs_original = any(term.needs_original for term in terms)
        self._needs_energy = any(term.needs_energy for term in terms)
        self._patch_hop_frames = patch_hop_frames
        check_patch_hop(network.card, patch_hop_frames)
        self._references: dict[str, Mapping[str, Tensor]] = {}
        self._reference_energy: dict[str, Tensor] = {}
        aligned = frozenset[str]().union(*(term.aligned for term in terms))
        self._aligned = {name: references[name] for name in sorted(aligned)}
        with torch.no_grad():
            for name in sorted(frozenset[str]().union(*(term.references - term.aligned for term in terms))):
                heard = self._hear(references[name][None])
                self._references[name] = {layer: value[0] for layer, value in heard.layers.items()}
                if heard.energy is not None:
                    self._reference_energy[name] = heard.energy[0]

    @property
    def jitter_frames(self) -> int:
        """How many positions the network's patch grid has."""
        return _frames_at_once(self.network.card)

    @property
    def weight(self) -> float:
        """How much its gradient counts beside those of other networks."""
        return sum(abs(term.factor) for term in self._terms)

    def score(
        self,
        mono: Tensor,
        offset_frames: int = 0,
        original: Tensor | None = None,
        speed: float = 1.0,
        n_valid: Sequence[int] | None = None,
    ) -> Tensor:
        """Return each item's score, differentiable; see `Listener.score`."""
        n_samples = mono.shape[-1]
        short = {i: n for i, n in enumerate(n_valid or ()) if n < n_samples}
        whole = self._score(mono, offset_frames, original, speed) if len(short) < len(mono) else None
        if whole is not None and not short:
            return whole
        # A sound with padding after it is heard alone and as long as it is: the grid ends where it ends, and
        # its score does not depend on its neighbours, nor theirs on it.
        each: list[Tensor] = []
        for item in range(len(mono)):
            if item in short:
                rows = slice(item, item + 1), slice(short[item])
                own = None if original is None else original[rows]
                each.append(self._score(mono[rows], offset_frames, own, speed)[0])
            elif whole is not None:
                each.append(whole[item])
        return torch.stack(each)

    def _score(self, mono: Tensor, offset_frames: int, original: Tensor | None, speed: float) -> Tensor:
        heard_original = _Heard({})
        if self._needs_original and original is not None:
            with torch.no_grad():
                heard_original = self._hear(original, offset_frames, speed)
        beside = self._hear_beside([0] * len(mono), mono.shape[-1], offset_frames, speed)
        return self._scored(self._hear(mono, offset_frames, speed), heard_original, beside)

    def _hear_beside(
        self, starts: Sequence[int], n_samples: int, offset_frames: int, speed: float
    ) -> dict[str, Mapping[str, Tensor]]:
        """Return what is heard in references laid under the items, round and round where they are shorter.

        Args:
            starts: At which of a reference's samples each item begins.
            n_samples: Length of the items.
            offset_frames: Position of the patch grid.
            speed: As the items are heard.
        """
        beside: dict[str, Mapping[str, Tensor]] = {}
        with torch.no_grad():
            for name, sound in self._aligned.items():
                under = torch.arange(n_samples, device=sound.device)
                sounds = torch.stack([sound[(under + start) % len(sound)] for start in starts])
                beside[name] = self._hear(sounds, offset_frames, speed).layers
        return beside

    def _scored(self, heard: _Heard, original: _Heard, beside: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        known = Activations(
            heard.layers,
            self.network.card,
            heard.energy,
            original.layers,
            self._references,
            self._reference_energy,
            beside,
        )
        first, *rest = (
            term.score(known) if term.factor == 1.0 else term.factor * term.score(known)
            for term in self._terms
        )
        for score in rest:
            first = first + score
        return first

    def _rate(self, speed: float) -> int:
        """Return the rate to which a sound goes that is heard at a speed."""
        rate = self.network.card.sample_rate
        if speed == 1.0:
            return rate
        # Rates with a large common divisor keep the resampler's filters few.
        return max(SPEED_GRID_HZ, round(rate / speed / SPEED_GRID_HZ) * SPEED_GRID_HZ)

    def _listen(self, mono: Tensor, offset_frames: int, speed: float) -> Tensor:
        sound = resample(mono, self.sample_rate, self._rate(speed))
        return self.network.listen(sound, offset_frames, self._patch_hop_frames)

    def _hear(self, mono: Tensor, offset_frames: int = 0, speed: float = 1.0) -> _Heard:
        patches = self._listen(mono, offset_frames, speed)
        shape, flat = patches.shape[:2], patches.flatten(0, 1)
        with tap(self.network, self._layers - {LOGITS}, leaves_early=LOGITS not in self._layers) as heard:
            heard[LOGITS] = self.network(flat)
        energy = (
            self.network.measure_energy(flat.detach()).unflatten(0, shape) if self._needs_energy else None
        )
        return _Heard({name: value.unflatten(0, shape) for name, value in heard.items()}, energy)
