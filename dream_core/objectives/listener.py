"""A network's ear on a session: from waveforms at the session's rate to an objective's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dream_core.dsp.resample import resample
from dream_core.errors import ObjectiveError
from dream_core.names import nearest_names
from dream_core.networks.card import Network
from dream_core.objectives.taps import tap
from dream_core.objectives.terms import LOGITS, Activations, Objective

__all__ = ["Listener"]

SPEED_GRID_HZ = 300


class Listener:
    """Scores sound: resamples it, lets the network listen, and asks the objective.

    Args:
        network: The network, on its device.
        objective: What to score.
        sample_rate: Hz, the session's rate.
        references: Reference name to mono sound ``(samples,)`` at the session's rate, for objectives that
            compare with another sound.

    Raises:
        LayerNotFoundError, ChannelNotFoundError, ClassNotFoundError: The objective does not fit the network.
        ObjectiveError: A reference the objective names was not given.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        sample_rate: int,
        references: Mapping[str, Tensor] | None = None,
    ) -> None:
        objective.check(network.card)
        self.network = network
        self.objective = objective
        self.sample_rate = sample_rate
        given = references or {}
        for name in sorted(objective.references):
            if name not in given:
                raise ObjectiveError(
                    f"objective {objective.text!r}: no reference sound is called {name!r}; "
                    f"{nearest_names(name, given)}"
                )
        self._references: dict[str, dict[str, Tensor]] = {}
        self._patch_counts: dict[tuple[int, float], int] = {}
        with torch.no_grad():
            for name in sorted(objective.references):
                heard = self._hear(given[name][None])
                self._references[name] = {layer: heard[layer][0] for layer in heard}

    @property
    def jitter_frames(self) -> int:
        """How many positions the network's patch grid has."""
        return max(1, round(self.network.card.patch_s / self.network.card.frame_s))

    @property
    def patch_samples(self) -> int:
        """Length of a patch at the session's rate."""
        return round(self.network.card.patch_s * self.sample_rate)

    def score(
        self,
        mono: Tensor,
        offset_frames: int = 0,
        original: Tensor | None = None,
        speed: float = 1.0,
        n_valid: Sequence[int] | None = None,
    ) -> Tensor:
        """Return each item's score, differentiable.

        Args:
            mono: ``(items, samples)`` at the session's rate.
            offset_frames: Position of the network's patch grid.
            original: The undreamed sound of each item, for objectives that compare with it.
            speed: The network hears the sound this much faster, and higher.
            n_valid: How many samples of each item are sound; what is padding after them does not count.

        Shape:
            ``(items, samples)`` -> ``(items,)``.
        """
        heard_original: Mapping[str, Tensor] = {}
        if self.objective.needs_original and original is not None:
            with torch.no_grad():
                heard_original = self._hear(original, offset_frames, speed)
        heard = self._hear(mono, offset_frames, speed)
        scores = self._scored(heard, heard_original)
        if n_valid is None or min(n_valid) >= mono.shape[-1]:
            return scores
        # Whole items keep the score they have beside any other.
        each = list(scores.unbind())
        for item, n_samples in enumerate(n_valid):
            if n_samples < mono.shape[-1]:
                count = self._n_patches(n_samples, speed)
                own = (_one_item(layers, item, count) for layers in (heard, heard_original))
                each[item] = self._scored(*own)[0]
        return torch.stack(each)

    def _scored(self, heard: Mapping[str, Tensor], original: Mapping[str, Tensor]) -> Tensor:
        return self.objective.score(Activations(heard, self.network.card.classes, original, self._references))

    def _n_patches(self, n_samples: int, speed: float) -> int:
        """Return how many patches the network takes to hear so much sound."""
        key = n_samples, speed
        if key not in self._patch_counts:
            with torch.no_grad():
                silence = torch.zeros(1, n_samples, device=self.network.device)
                patches = self.network.listen(resample(silence, self.sample_rate, self._rate(speed)))
            self._patch_counts[key] = patches.shape[1]
        return self._patch_counts[key]

    def _rate(self, speed: float) -> int:
        """Return the rate to which a sound goes that is heard at a speed."""
        rate = self.network.card.sample_rate
        if speed == 1.0:
            return rate
        # Rates with a large common divisor keep the resampler's filters few.
        return max(SPEED_GRID_HZ, round(rate / speed / SPEED_GRID_HZ) * SPEED_GRID_HZ)

    def _hear(self, mono: Tensor, offset_frames: int = 0, speed: float = 1.0) -> dict[str, Tensor]:
        patches = self.network.listen(resample(mono, self.sample_rate, self._rate(speed)), offset_frames)
        n_items, n_patches = patches.shape[:2]
        layers = self.objective.layers
        with tap(self.network, layers - {LOGITS}, leaves_early=LOGITS not in layers) as heard:
            heard[LOGITS] = self.network(patches.flatten(0, 1))
        return {name: value.unflatten(0, (n_items, n_patches)) for name, value in heard.items()}


def _one_item(layers: Mapping[str, Tensor], item: int, n_patches: int) -> dict[str, Tensor]:
    return {name: value[item : item + 1, :n_patches] for name, value in layers.items()}
