"""One network's ear on a session: from waveforms at the session's rate to the score of its terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dream_core.dsp.resample import resample, resampled_length
from dream_core.errors import ObjectiveError, SettingError
from dream_core.networks.card import MelHearing, Network, NetworkCard, PictureNetwork
from dream_core.objectives.loudest import HeardClasses
from dream_core.objectives.objective import KEYS, LOGITS, Activations, Term
from dream_core.objectives.taps import tap
from dream_core.objectives.targets import ClassTargets, Targets, TargetUse

__all__ = ["Ear", "When", "check_patch_hop"]

SPEED_GRID_HZ = 300


def check_patch_hop(card: NetworkCard, patch_hop_frames: int) -> int:
    """Return the longest hop between patches, a patch's own length, once a hop is known to be no longer.

    Raises:
        SettingError: Sound between the patches would not be heard.
    """
    longest = _frames_at_once(card)
    if not 0 <= patch_hop_frames <= longest:
        raise SettingError(
            f"patch_hop = {patch_hop_frames} frames; network {card.name!r} looks at {longest} at a time, so "
            f"0..{longest} is accepted; it holds for every network that listens"
        )
    return longest


def _frames_at_once(card: NetworkCard) -> int:
    return max(1, round(card.patch_s / card.frame_s))


@dataclass(frozen=True, slots=True)
class Heard:
    """Layer name to activations ``(items, patches, channels, ...)``, and the energy of the patches."""

    layers: Mapping[str, Tensor]
    energy: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """When in the whole sound the items are that are scored, and how the objective's weights are there.

    Args:
        starts_s: Where each item begins, in seconds; below 0 is before the sound.
        weights: By name, a number, or one at every sample of the items ``(items, samples)``.
    """

    starts_s: Sequence[float]
    weights: Mapping[str, float | Tensor] = field(default_factory=dict)

    def item(self, index: int, n_samples: int) -> When:
        """Return the same for one item, as far as it is sound."""
        own = {
            name: weight[index : index + 1, :n_samples] if isinstance(weight, Tensor) else weight
            for name, weight in self.weights.items()
        }
        return When(starts_s=self.starts_s[index : index + 1], weights=own)


class _Scaled(torch.autograd.Function):
    """Passes activations on; brings their gradient back times a weight."""

    @staticmethod
    def forward(ctx: Any, activation: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return activation.view_as(activation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        return gradients[0] * weight, None


def _like(weight: Tensor, activation: Tensor) -> Tensor:
    """Return one value a patch in the shape of activations ``(items, patches, ...)``."""
    return weight.to(activation).reshape(*weight.shape, *([1] * (activation.ndim - 2)))


def _over_patches(
    weight: float | Tensor, offsets_s: Tensor, patch_s: float, sample_rate: int
) -> float | Tensor:
    """Return the mean of a weight over each patch ``(items, patches)``, as far as there is sound in it."""
    if not isinstance(weight, Tensor):
        return weight
    n_samples = weight.shape[1]
    first = (offsets_s * sample_rate).round().long().clamp(0, n_samples - 1)
    last = ((offsets_s + patch_s) * sample_rate).round().long().clamp(1, n_samples)
    last = torch.maximum(last, first + 1)
    # On the CPU: elsewhere sums need not come out the same again, nor is there always float64.
    total = torch.nn.functional.pad(weight.cpu().double().cumsum(dim=1), (1, 0))
    return (total[:, last] - total[:, first]) / (last - first)


def _over_all(weight: float | Tensor) -> float | Tensor:
    """Return the mean of a weight over each item, as that of its one patch ``(items, 1)``."""
    return weight.cpu().double().mean(dim=1, keepdim=True) if isinstance(weight, Tensor) else weight


def _product(names: Sequence[str], weights: Mapping[str, float | Tensor]) -> float | Tensor:
    """Return the product of weights; of none, 1."""
    product: float | Tensor = 1.0
    for name in names:
        product = product * weights[name]
    return product


def _size(weight: float | Tensor) -> Tensor:
    """Return the mean size of a weight, one an item or one for all, on the CPU."""
    if isinstance(weight, Tensor):
        return weight.cpu().double().abs().mean(dim=1).to(weight.dtype)
    return torch.tensor([abs(weight)])


class Ear:
    """Scores sound: resamples it, lets a network listen, and asks the terms.

    Args:
        network: The network, on its device.
        terms: What to score; all of them this network's.
        sample_rate: Hz, the session's rate.
        references: Reference name to mono sound ``(samples,)`` at the session's rate; those the terms name.
        patch_hop_frames: From one patch to the next, in the network's frames; 0 takes the network's own.
        targets: What is wanted over time, by the names the terms give it.

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
        targets: Mapping[str, Targets] | None = None,
    ) -> None:
        self.network = network
        self.sample_rate = sample_rate
        self._terms = tuple(terms)
        self._keys_layer = network.card.keys_layer or LOGITS
        named = frozenset[str]().union(*(term.layers for term in terms))
        self._hears_keys = KEYS in named
        self.layers = named - {KEYS} | ({self._keys_layer} if self._hears_keys else set())
        uses = (term.target for term in terms if term.target)
        self._targets: dict[TargetUse, ClassTargets] = {
            use: ClassTargets.of((targets or {})[use.name], use, network.card) for use in uses
        }
        self._needs_times = bool(self._targets) or any(term.weights for term in terms)
        if self._needs_times and not hasattr(network, "patch_starts"):
            raise ObjectiveError(
                f"network {network.card.name!r} does not say when its patches begin, so no weight and no "
                "note can move in time with it; give it a method patch_starts, as dream_core.Network says"
            )
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

    def weigh(self, when: When) -> Tensor:
        """Return how much its gradient counts beside those of other networks, an item ``(items, 1)``."""
        sizes = [abs(term.factor) * _size(_product(term.weights, when.weights)) for term in self._terms]
        total = sizes[0]
        for size in sizes[1:]:
            total = total + size
        return total[:, None]

    def score(
        self,
        mono: Tensor,
        offset_frames: int = 0,
        original: Tensor | None = None,
        speed: float = 1.0,
        n_valid: Sequence[int] | None = None,
        when: When | None = None,
        frames: Tensor | None = None,
        classes: HeardClasses | None = None,
    ) -> Tensor:
        """Return each item's score, differentiable; see `Listener.score`."""
        n_samples = mono.shape[-1]
        when = when or When(starts_s=[0.0] * len(mono))
        short = {i: n for i, n in enumerate(n_valid or ()) if n < n_samples}
        whole = None
        if len(short) < len(mono):
            whole = self._score(mono, offset_frames, original, speed, when, frames, (classes, 0))
        if whole is not None and not short:
            return whole
        # A sound with padding after it is heard alone and as long as it is: the grid ends where it ends, and
        # its score does not depend on its neighbours, nor theirs on it.
        each: list[Tensor] = []
        for item in range(len(mono)):
            if item in short:
                rows = slice(item, item + 1), slice(short[item])
                own = None if original is None else original[rows]
                seen = None if frames is None else frames[item : item + 1]
                at, told = when.item(item, short[item]), (classes, item)
                each.append(self._score(mono[rows], offset_frames, own, speed, at, seen, told)[0])
            elif whole is not None:
                each.append(whole[item])
        return torch.stack(each)

    def _score(
        self,
        mono: Tensor,
        offset_frames: int,
        original: Tensor | None,
        speed: float,
        when: When,
        frames: Tensor | None,
        told: tuple[HeardClasses | None, int],
    ) -> Tensor:
        heard_original = Heard({})
        if self._needs_original and original is not None:
            with torch.no_grad():
                heard_original = self._hear(original, offset_frames, speed)
        beside = self._hear_beside(when, mono.shape[-1], offset_frames, speed)
        heard = self._hear(mono, offset_frames, speed, frames)
        classes, first_item = told
        if classes is not None and LOGITS in self.layers:
            classes.note(first_item, heard.layers[LOGITS], heard.energy, self.network.card)
        return self._scored_at(heard, heard_original, beside, when, mono.shape[-1], offset_frames, speed)

    def _scored_at(
        self,
        heard: Heard,
        original: Heard,
        beside: Mapping[str, Mapping[str, Tensor]],
        when: When,
        n_samples: int,
        offset_frames: int,
        speed: float = 1.0,
    ) -> Tensor:
        """Return each item's score, with what depends on when its patches are."""
        if not self._needs_times:
            return self._scored(heard, original, beside)
        offsets_s = self._patch_times(n_samples, offset_frames, speed)
        starts_s = torch.tensor(when.starts_s, dtype=torch.float64)[:, None] + offsets_s
        weights = [
            _over_patches(
                _product(term.weights, when.weights),
                offsets_s,
                self.network.card.patch_s * speed,
                self.sample_rate,
            )
            for term in self._terms
        ]
        return self._scored(heard, original, beside, starts_s, weights)

    def _hear_beside(
        self, when: When, n_samples: int, offset_frames: int, speed: float
    ) -> dict[str, Mapping[str, Tensor]]:
        """Return what is heard in references under the items, round and round where they are shorter."""
        beside: dict[str, Mapping[str, Tensor]] = {}
        starts = [round(start_s * self.sample_rate) for start_s in when.starts_s]
        with torch.no_grad():
            for name, sound in self._aligned.items():
                under = torch.arange(n_samples, device=sound.device)
                sounds = torch.stack([sound[(under + start) % len(sound)] for start in starts])
                beside[name] = self._hear(sounds, offset_frames, speed).layers
        return beside

    def _scored(
        self,
        heard: Heard,
        original: Heard,
        beside: Mapping[str, Mapping[str, Tensor]],
        starts_s: Tensor | None = None,
        weights: Sequence[float | Tensor] | None = None,
    ) -> Tensor:
        known = Activations(
            heard.layers,
            self.network.card,
            heard.energy,
            original.layers,
            self._references,
            self._reference_energy,
            beside,
            starts_s,
            self._targets,
        )
        first, *rest = (
            self._weighed(term, known, weight)
            for term, weight in zip(self._terms, weights or [1.0] * len(self._terms), strict=True)
        )
        for score in rest:
            first = first + score
        return first

    @staticmethod
    def _weighed(term: Term, known: Activations, weight: float | Tensor) -> Tensor:
        """Return a term's score times its factor and weight; what moves does so patch by patch."""
        if isinstance(weight, Tensor):
            layers = {
                name: _Scaled.apply(known.layers[name], _like(weight, known.layers[name]))
                for name in term.layers
            }
            score = term.score(replace(known, layers=layers))
            # The slope has been weighed where it leaves the layers; of the value it is the mean.
            mean = weight.mean(dim=1).to(score)
            score = score + (mean - 1.0) * score.detach()
            return score if term.factor == 1.0 else term.factor * score
        factor = term.factor * weight
        return term.score(known) if factor == 1.0 else factor * term.score(known)

    def patch_times(self, n_samples: int, offset_frames: int) -> list[float]:
        """Return where each patch begins of sounds of so many samples, in seconds."""
        times: list[float] = self._patch_times(n_samples, offset_frames, 1.0).tolist()
        return times

    def score_heard(
        self,
        heard: Heard,
        n_samples: int,
        offset_frames: int,
        when: When | None = None,
        classes: HeardClasses | None = None,
    ) -> Tensor:
        """Return each item's score given what was heard in so many samples, compared with no other moment."""
        if classes is not None and LOGITS in self.layers:
            classes.note(0, heard.layers[LOGITS], heard.energy, self.network.card)
        when = when or When(starts_s=[0.0] * len(next(iter(heard.layers.values()))))
        return self._scored_at(heard, Heard({}), {}, when, n_samples, offset_frames)

    def score_pictures(
        self, pictures: Tensor, when: When, classes: HeardClasses | None = None, first_item: int = 0
    ) -> Tensor:
        """Return the score of each picture ``(items, 3, across, up)``, a patch as long as its item.

        Raises:
            SettingError: The network cannot look at pictures of that size.
        """
        try:
            with tap(self.network, self.layers - {LOGITS}, leaves_early=LOGITS not in self.layers) as layers:
                layers[LOGITS] = cast(PictureNetwork, self.network).see(pictures)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AssertionError) as error:  # each architecture in its own words
            across, up = pictures.shape[2:]
            raise SettingError(
                f"network {self.network.card.name!r} cannot look at pictures of {across} x {up} pixels "
                f"({error}); change row, picture_height or window_s, or use another network"
            ) from None
        heard = Heard(
            {name: value[:, None] for name, value in layers.items()}, pictures.new_ones(len(pictures), 1)
        )
        if classes is not None and LOGITS in self.layers:
            classes.note(first_item, heard.layers[LOGITS], heard.energy, self.network.card)
        weights = [_over_all(_product(term.weights, when.weights)) for term in self._terms]
        return self._scored(heard, Heard({}), {}, None, weights)

    def _patch_times(self, n_samples: int, offset_frames: int, speed: float) -> Tensor:
        """Return where each patch begins, in seconds from where the sound does that is heard."""
        rate = self._rate(speed)
        n_heard = resampled_length(n_samples, self.sample_rate, rate)
        starts = self.network.patch_starts(n_heard, offset_frames, self._patch_hop_frames)
        return torch.tensor(starts, dtype=torch.float64) / rate

    def _rate(self, speed: float) -> int:
        """Return the rate to which a sound goes that is heard at a speed."""
        rate = self.network.card.sample_rate
        if speed == 1.0:
            return rate
        # Rates with a large common divisor keep the resampler's filters few.
        return max(SPEED_GRID_HZ, round(rate / speed / SPEED_GRID_HZ) * SPEED_GRID_HZ)

    def listen(self, mono: Tensor, offset_frames: int = 0, speed: float = 1.0) -> Tensor:
        """Return the patches ``(items, patches, *input)`` of sounds at the session's rate."""
        sound = resample(mono, self.sample_rate, self._rate(speed))
        return self.network.listen(sound, offset_frames, self._patch_hop_frames)

    @property
    def mel_hearing(self) -> MelHearing | None:
        """What turns sound into the frames the network looks at, where these are log-mel frames."""
        hearing = getattr(self.network, "hearing", self.network)
        is_known = all(hasattr(hearing, name) for name in ("spec", "hear_frames", "cut_patches"))
        return cast(MelHearing, hearing) if is_known else None

    def hear_frames(self, mono: Tensor) -> Tensor:
        """Return the log-mel frames ``(items, frames, mels)`` of sounds, as `score` takes them."""
        assert self.mel_hearing is not None
        rate = self.network.card.sample_rate
        return self.mel_hearing.hear_frames(resample(mono, self.sample_rate, rate), self._patch_hop_frames)

    def cut_patches(self, frames: Tensor, n_samples: int, offset_frames: int) -> Tensor:
        """Return patches of the frames of sounds of so many samples, at the session's rate."""
        assert self.mel_hearing is not None
        n_heard = resampled_length(n_samples, self.sample_rate, self.network.card.sample_rate)
        return self.mel_hearing.cut_patches(frames, n_heard, offset_frames, self._patch_hop_frames)

    def _hear(
        self, mono: Tensor, offset_frames: int = 0, speed: float = 1.0, frames: Tensor | None = None
    ) -> Heard:
        if frames is None:
            patches = self.listen(mono, offset_frames, speed)
        else:
            patches = self.cut_patches(frames, mono.shape[-1], offset_frames)
        return self.hear_patches(patches)

    def hear_patches(
        self, patches: Tensor, layers: Sequence[str] = (), outputs: dict[str, object] | None = None
    ) -> Heard:
        """Return what the network hears in patches ``(items, patches, *input)``.

        Args:
            patches: What `listen` returns.
            layers: Which layers are to be heard beside those the terms ask for.
            outputs: Filled with the layers' own outputs, as `tap` says.
        """
        shape, flat = patches.shape[:2], patches.flatten(0, 1)
        named = self.layers.union(layers)
        with tap(self.network, named - {LOGITS}, leaves_early=LOGITS not in named, outputs=outputs) as heard:
            heard[LOGITS] = self.network(flat)
        if self._hears_keys:
            heard[KEYS] = heard[self._keys_layer]
        energy = (
            self.network.measure_energy(flat.detach()).unflatten(0, shape) if self._needs_energy else None
        )
        return Heard({name: value.unflatten(0, shape) for name, value in heard.items()}, energy)
