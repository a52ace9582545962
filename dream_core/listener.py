"""A network's ear on a session: from waveforms at the session's rate to an objective's score."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dream_core.errors import ObjectiveError
from dream_core.frontend import resample
from dream_core.naming import nearest_names
from dream_core.networks.card import Network
from dream_core.objectives import LOGITS, Heard, Objective
from dream_core.taps import tap

__all__ = ["Listener"]


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
        with torch.no_grad():
            for name in sorted(objective.references):
                heard = self._hear(given[name][None], [0])
                self._references[name] = {layer: heard[layer][0] for layer in heard}

    @property
    def jitter_frames(self) -> int:
        """How many positions the network's patch grid has."""
        return max(1, round(self.network.card.patch_s / self.network.card.frame_s))

    def score(self, mono: Tensor, offsets: list[int], original: Tensor | None = None) -> Tensor:
        """Return each item's score, differentiable.

        Args:
            mono: ``(items, samples)`` at the session's rate.
            offsets: Position of each item's patch grid, in network frames.
            original: The undreamed sound of each item, for objectives that compare with it.

        Shape:
            ``(items, samples)`` -> ``(items,)``.
        """
        heard_original: Mapping[str, Tensor] = {}
        if self.objective.needs_original and original is not None:
            with torch.no_grad():
                heard_original = self._hear(original, offsets)
        heard = self._hear(mono, offsets)
        return self.objective.score(Heard(heard, self.network.card.classes, heard_original, self._references))

    def _hear(self, mono: Tensor, offsets: list[int]) -> dict[str, Tensor]:
        card = self.network.card
        at_network_rate = resample(mono, self.sample_rate, card.sample_rate)
        if len(set(offsets)) == 1:
            patches = self.network.listen(at_network_rate, offsets[0])
        else:
            patches = torch.cat(
                [
                    self.network.listen(wave[None], offset)
                    for wave, offset in zip(at_network_rate, offsets, strict=True)
                ]
            )
        n_items, n_patches = patches.shape[:2]
        with tap(self.network, self.objective.layers - {LOGITS}) as activations:
            logits = self.network(patches.flatten(0, 1))
        heard = {name: value.unflatten(0, (n_items, n_patches)) for name, value in activations.items()}
        heard[LOGITS] = logits.unflatten(0, (n_items, n_patches))
        return heard
