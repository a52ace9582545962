"""A section of a stem: what of its sound goes through the chain so that the section is as in the whole.

A chain is always run from the song's start, so that clocks, low-frequency oscillators, notes and automation
are where they would be. But the sound before the section's pre-roll is fed as silence, which costs nothing
to a dream and little to anything else, and after the section nothing is fed.

A limiter on the way out hears a second more to either side, as `heard_span` says: it may still be letting go
of a peak before the section.

How long the pre-roll is follows from the nodes, from the last to the first: a dream's step hears the
windows beside it, so step k of a window depends on k windows to either side, and so many are dreamed, each
one step less deep than the next; whatever else remembers gets its tail, and then half of it again. A
network that plays on, and a pitch that is heard, depend on all that was before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

import numpy as np

from bridge.arrays import Lane
from bridge.audio.limiter import limiter_context
from bridge.envelopes.evaluate import Envelopes
from bridge.plan.model import Plan, StemPlan
from bridge.presets.model import NodeSpec, node_parameters
from bridge.processors.catalogue import DREAMING
from bridge.processors.chain import Node
from bridge.processors.contract import Processor

__all__ = ["Feed", "heard_span", "plan_feed"]

_FORGETFUL: Final = ("gain", "clipping", "bitcrush", "invert")
"""What remembers nothing of the samples before."""
_MEMORY_S: Final = 1.0
_TAIL_TIMES: Final = 1.5
"""A tail is measured down to -80 dB; after half of it again, -120 dB are left."""
_SLACK_STEPS: Final = 2


class _Dreams(Protocol):
    """A dream, as far as a section asks."""

    def window_grid(self, n_channels: int, sample_rate: int) -> tuple[int, int]:
        """Return the samples from one window to the next, and how much around one is looked at."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthLimit:
    """Say how deep a dream still has to be, at a distance from what is wanted of it.

    Args:
        first: First sample that is wanted.
        last: The one after the last.
        steps: Deepest step there is.
        hop: Samples from one window to the next.
        default: The depth where nothing moves it.
    """

    first: int
    last: int
    steps: int
    hop: int
    default: float

    def at(self, start: int, n_samples: int) -> Lane:
        """Return the deepest step that matters, a value a sample."""
        places = np.arange(start, start + n_samples)
        distance = np.maximum(np.maximum(self.first - places, places - self.last + 1), 0)
        deepest: Lane = np.maximum(self.steps + _SLACK_STEPS - distance // self.hop, 0).astype(np.float64)
        return deepest


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What of a stem its chain gets.

    Args:
        first: Where its sound begins; before it there is silence.
        limits: How deep dreams still have to be, by node.
    """

    first: int
    limits: Mapping[str, DepthLimit]

    def limit(self, lanes: dict[str, Lane], start: int, n_samples: int) -> dict[str, Lane]:
        """Return the lanes of a block with no dream deeper than the section asks for."""
        for node_id, limit in self.limits.items():
            name = f"{node_id}.depth"
            depth = lanes.get(name)
            if depth is None:
                depth = np.full(n_samples, limit.default)
            lanes[name] = np.minimum(depth, limit.at(start, n_samples))
        return lanes


def heard_span(plan: Plan, stem: StemPlan) -> tuple[int, int]:
    """Return the span of the chain's output that delivery needs: the section, and what its limiter hears."""
    if stem.section is None or not plan.preset.level.limiter:
        return stem.span
    return limiter_context(*stem.span, stem.sample_rate)


def plan_feed(plan: Plan, stem: StemPlan, nodes: Iterable[Node], envelopes: Envelopes) -> Feed:
    """Find out what of a stem its chain must get.

    Args:
        plan: The plan.
        stem: The stem, with its section.
        nodes: The chain's, opened.
        envelopes: What moves their parameters.
    """
    first, last = heard_span(plan, stem)
    limits: dict[str, DepthLimit] = {}
    specs = {node.id: node for node in plan.preset.chain}
    for node in reversed(list(nodes)):
        spec = specs[node.name]
        processor = cast(Processor, node.processor)
        if spec.use == "grow" or _hears_pitch(spec):
            first = 0
        elif spec.use in DREAMING:
            hop, margin = cast(_Dreams, processor).window_grid(stem.n_channels, stem.sample_rate)
            default = float(spec.params.get("depth", node_parameters(spec)["depth"].default))
            steps = _deepest(spec, default, envelopes, stem)
            limits[spec.id] = DepthLimit(first=first, last=last, steps=steps, hop=hop, default=default)
            reach = (steps + _SLACK_STEPS + 1) * hop + margin
            first, last = first - reach, last + reach
        elif spec.use not in _FORGETFUL:
            first -= round((_MEMORY_S + _TAIL_TIMES * processor.tail_seconds) * stem.sample_rate)
    return Feed(first=max(0, first), limits=limits)


def _hears_pitch(spec: NodeSpec) -> bool:
    return spec.use in DREAMING and spec.params.get("update") == "harmonic" and not spec.params.get("f0_hz")


def _deepest(spec: NodeSpec, default: float, envelopes: Envelopes, stem: StemPlan) -> int:
    if (spec.id, "depth") in envelopes.moving:
        return math.ceil(envelopes.peak(spec.id, "depth", stem.n_samples))
    return math.ceil(default)
