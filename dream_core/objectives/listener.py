"""All that listens to a session: each network of an objective hears its terms, and one gradient comes back.

Networks differ by orders of magnitude in how steep their scores are. Where several listen, the gradient of
each is therefore brought to one size before they are added, times the sum of the factors of its terms: within
one network terms add up as they are. A term that fades as it is reached (`content`, `style`) does so beside
others of its network, but not alone on one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dream_core.dsp.stft import stft
from dream_core.errors import NetworkNotFoundError, ObjectiveError
from dream_core.names import nearest_names
from dream_core.networks.card import Network
from dream_core.objectives.ear import Ear, When
from dream_core.objectives.loudest import HeardClasses
from dream_core.objectives.objective import Objective, Term
from dream_core.objectives.targets import Targets
from dream_core.runtime import draw_integer

__all__ = ["Listener"]

_WINDOW_S = 0.046


class Listener:
    """Scores sound by every network an objective names.

    Args:
        network: The dream's own network, on its device.
        objective: What to score.
        sample_rate: Hz, the session's rate.
        references: Reference name to mono sound ``(samples,)`` at the session's rate, for objectives that
            compare with another sound.
        targets: Name to what is wanted over time, for objectives that ask for it.
        others: The other networks the objective names, by those names, on the same device.
        patch_hop_frames: From one patch to the next, in each network's frames; 0 takes each one's own.
        touched_hz: The band the dream may touch, within which networks are balanced; all of it by default.

    Raises:
        LayerNotFoundError, ChannelNotFoundError, ClassNotFoundError: The objective does not fit a network.
        NetworkNotFoundError: A network the objective names was not given.
        ObjectiveError: A reference the objective names was not given.
        SettingError: The patch hop is longer than a network's patch.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        sample_rate: int,
        references: Mapping[str, Tensor] | None = None,
        *,
        others: Mapping[str, Network] | None = None,
        patch_hop_frames: int = 0,
        touched_hz: tuple[float, float] = (0.0, math.inf),
        targets: Mapping[str, Targets] | None = None,
    ) -> None:
        self._touched_hz = touched_hz
        networks = {**(others or {}), network.card.name: network, "": network}
        self.objective = objective
        self.sample_rate = sample_rate
        for name in objective.networks:
            if name not in networks:
                raise NetworkNotFoundError(
                    f"objective {objective.text!r}: network {name!r} was not given; "
                    f"{nearest_names(name, networks)}"
                )
        objective.check(network.card, {name: one.card for name, one in networks.items() if name})
        given = references or {}
        wanted = {name: (targets or {})[name] for name in objective.targets if name in (targets or {})}
        for what, names, there in (
            ("reference sound is", sorted(objective.references), given),
            ("targets are", objective.targets, targets or {}),
        ):
            for name in names:
                if name not in there:
                    raise ObjectiveError(
                        f"objective {objective.text!r}: no {what} called {name!r}; "
                        f"{nearest_names(name, there)}"
                    )
        self._targets = wanted
        # The dream's own network under its name is the same ear.
        terms: dict[int, list[Term]] = {}
        heard_by = {id(networks[name]): networks[name] for name in objective.networks}
        for term in objective.terms:
            terms.setdefault(id(networks[term.network]), []).append(term)
        self._ears = tuple(
            Ear(one, terms[key], sample_rate, given, patch_hop_frames, wanted)
            for key, one in heard_by.items()
        )

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that listen."""
        return tuple(ear.network for ear in self._ears)

    @property
    def only_ear(self) -> Ear | None:
        """The ear of the one network that listens, or None where several do."""
        return self._ears[0] if len(self._ears) == 1 else None

    @property
    def identity(self) -> Hashable:
        """What two listeners must have in common to score each other's windows alike."""
        return (
            tuple(id(network) for network in self.networks),
            self.objective.text,
            tuple((name, one.digest) for name, one in self._targets.items()),
            self.sample_rate,
        )

    @property
    def name(self) -> str:
        """The networks' names."""
        return " and ".join(ear.network.card.name for ear in self._ears)

    @property
    def band_hz(self) -> tuple[float, float]:
        """The lowest and the highest frequency that one of the networks hears."""
        bands = [ear.network.card.band_hz for ear in self._ears]
        return min(low for low, _ in bands), max(high for _, high in bands)

    @property
    def jitter_frames(self) -> int:
        """How many positions the patch grid has that can be moved furthest."""
        return max(ear.jitter_frames for ear in self._ears)

    @property
    def patch_samples(self) -> int:
        """Length of the longest patch at the session's rate."""
        return round(max(ear.network.card.patch_s for ear in self._ears) * self.sample_rate)

    def draw_offsets(self, *key: int) -> tuple[int, ...]:
        """Draw a position of every network's patch grid that depends on the key alone."""
        return tuple(draw_integer(ear.jitter_frames, *key) for ear in self._ears)

    def score(
        self,
        mono: Tensor,
        offset_frames: int | Sequence[int] = 0,
        original: Tensor | None = None,
        speed: float = 1.0,
        n_valid: Sequence[int] | None = None,
        when: When | None = None,
        frames: Tensor | None = None,
        classes: HeardClasses | None = None,
    ) -> Tensor:
        """Return each item's score, differentiable.

        Where several networks listen the score is their sum; its gradient is the sum of theirs, each brought
        to one size.

        Args:
            mono: ``(items, samples)`` at the session's rate.
            offset_frames: Position of the patch grid, of all networks or of each.
            original: The undreamed sound of each item, for objectives that compare with it.
            speed: The networks hear the sound this much faster, and higher.
            n_valid: How many samples of each item are sound; what is padding after them does not count.
            when: Where the items are in the whole sound, and the weights there; None is the sound's start,
                and an objective without weights.
            frames: Log-mel frames that are heard in place of the sound, where one network listens.
            classes: Is told which classes are heard, where the objective asks for any.

        Shape:
            ``(items, samples)`` -> ``(items,)``.
        """
        offsets = [offset_frames] * len(self._ears) if isinstance(offset_frames, int) else offset_frames
        if len(self._ears) == 1:
            return self._ears[0].score(mono, offsets[0], original, speed, n_valid, when, frames, classes)
        n_fft = 2 ** round(math.log2(_WINDOW_S * self.sample_rate))
        first, last = (
            min(n_fft / 2, hz * n_fft / self.sample_rate) for hz in (self._touched_hz[0], self._touched_hz[1])
        )
        bins = math.floor(first), math.ceil(last) + 1
        when = when or When(starts_s=[0.0] * len(mono))
        scores = []
        for ear, offset in zip(self._ears, offsets, strict=True):
            levelled = _Levelled.apply(mono, ear.weigh(when).to(mono), n_fft, bins)
            scores.append(ear.score(levelled, offset, original, speed, n_valid, when, None, classes))
        return torch.stack(scores).sum(dim=0)


class _Levelled(torch.autograd.Function):
    """Passes a sound on; brings the gradient of each item to one size, as its sound can follow it.

    The size is the mean, over time and the band the dream may touch, of how much turning up a place of the
    sound itself would do to the score. A gradient's own size would not do: most of it may lie where there is
    no sound. Nor would the effective value: a network that is steep in few places would be led by the other
    everywhere else, whatever their weights.
    """

    @staticmethod
    def forward(ctx: Any, mono: Tensor, weight: Tensor, n_fft: int, bins: tuple[int, int]) -> Tensor:
        ctx.n_fft, ctx.bins = n_fft, slice(*bins)
        ctx.save_for_backward(mono, weight)
        return mono.view_as(mono)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        mono, weight = ctx.saved_tensors
        # Relative to the largest first: squares of very small numbers are zero.
        unit, sound = _relative(gradients[0]), _relative(mono)
        hop = ctx.n_fft // 4
        effect = (stft(sound, ctx.n_fft, hop).conj() * stft(unit, ctx.n_fft, hop)).real
        size = effect[:, ctx.bins].abs().mean(dim=(1, 2))[:, None]
        return weight * unit / torch.where(size > 0, size, 1.0), None, None, None


def _relative(rows: Tensor) -> Tensor:
    largest = rows.abs().amax(dim=1, keepdim=True)
    return rows / torch.where(largest > 0, largest, 1.0)
