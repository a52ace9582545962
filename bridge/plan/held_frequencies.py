"""Which frequencies of a preset are too high for its stems, and so are held lower."""

from __future__ import annotations

from bridge.envelopes.evaluate import Envelopes
from bridge.plan.model import StemPlan
from bridge.presets.model import Preset
from bridge.processors.catalogue import processor_parameters
from bridge.processors.frequency_limit import describe_held, highest_hz, parameters_in_hz

__all__ = ["HeldFrequencies"]


class HeldFrequencies:
    """Gather the held frequencies of all stems, for one warning each."""

    def __init__(self) -> None:
        self._given_hz: dict[tuple[str, str, int], float] = {}

    def add(self, preset: Preset, envelopes: Envelopes, stem: StemPlan) -> None:
        """Look at a stem's chain. A hosted plugin knows its own limits.

        Args:
            preset: The resolved preset.
            envelopes: What moves it over the stem.
            stem: The stem.
        """
        limit_hz = highest_hz(stem.sample_rate)
        for node in preset.chain:
            if not node.enabled or node.use == "vst3":
                continue
            specs = processor_parameters(node.use)
            for name in parameters_in_hz(specs):
                if (node.id, name) not in envelopes.moving:
                    given_hz = float(node.params.get(name, specs[name].default))
                elif envelopes.reach(node.id, name)[1] > limit_hz:
                    given_hz = envelopes.peak(node.id, name, stem.n_samples)
                else:
                    continue
                if given_hz > limit_hz:
                    key = node.id, name, stem.sample_rate
                    self._given_hz[key] = max(given_hz, self._given_hz.get(key, 0.0))

    def warnings(self) -> list[str]:
        """Return one line for each."""
        return [
            describe_held(f"node {node_id!r}", name, given_hz, sample_rate)
            for (node_id, name, sample_rate), given_hz in self._given_hz.items()
        ]
