"""What a chain loses on the way: sound that goes in where digital silence comes out, and loudness.

Silence fails a stem unless a node asks for it. What asks for it is read from the nodes' settings alone: a
gain that can reach zero, a gate, and what cuts or cancels. A hosted effect may be any of those, so its
silence is a warning; an instrument takes the place of the sound, so nothing is judged behind one.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.arrays import AudioArray
from bridge.audio.loudness import Loudness
from bridge.errors import RenderError
from bridge.presets.model import NodeSpec
from bridge.processors.catalogue import processor_parameters
from bridge.processors.silence import SilenceWatch
from bridge.render.open_stem import OpenStem

__all__ = ["LossWatch"]

_MOST_LOST_S = 1.0
_MOST_LOST_DB = 6.0
_MUTE_DB = -100.0
"""Here and below, gains of JUCE are exactly zero."""
_BITS_THAT_HOLD = 9.0
"""With these, half a step is below the peak of any sound that counts as such."""
_UPDATES_THAT_KEEP = ("mask", "add")


class LossWatch:
    """Watch one stem's chain from both ends.

    Args:
        opened: The stem, ready to stream.
    """

    def __init__(self, opened: OpenStem) -> None:
        preset = opened.plan.preset
        self._opened = opened
        self._nodes = {node.id: node for node in preset.chain if node.enabled}
        self._is_judged = not preset.level.allow_loss and not any(
            plugin.is_instrument for plugin in opened.plugins.values()
        )
        self._limit_s = _MOST_LOST_S + sum(self._delay_s(node) for node in preset.nodes_of("delay"))
        self._watch = SilenceWatch(opened.stem.sample_rate)
        self._is_noted = False
        self._notes: list[str] = []

    def push_input(self, block: AudioArray) -> None:
        """Take the next samples that go in."""
        if self._is_judged:
            self._watch.push_input(block)

    def push_output(self, block: AudioArray) -> None:
        """Take the next samples that come out, before any level is set.

        Raises:
            RenderError: They are silent for over a second where sound goes in, and no node asks for it.
        """
        if not self._is_judged:
            return
        self._watch.push_output(block)
        if self._is_noted or self._watch.lost_s <= self._limit_s:
            return
        self._is_noted = True
        names = self._opened.chain.silent_nodes(self._limit_s)
        nodes = [self._nodes[name] for name in names or self._nodes]
        if any(self._asks_for_silence(node) for node in nodes):
            return
        text = f"digital silence from {self._watch.lost_from_s:.1f} s on, where there is sound in the stem"
        if any(node.use == "vst3" for node in nodes):
            self._notes.append(
                f"{_where(nodes, names)} gives {text}; level.allow_loss = true says it is meant"
            )
            return
        remedy = "disable it" if names else "disable nodes in turn to find which one it is"
        raise RenderError(
            f"{_where(nodes, names)} gives {text}; {remedy}, or say level.allow_loss = true if it is meant"
        )

    def warnings(self, before: Loudness, after: Loudness) -> tuple[str, ...]:
        """Return what was lost that the user should know.

        Args:
            before: The stem.
            after: What left its chain.
        """
        if not self._is_judged:
            return ()
        lost_db = 0.0 if before.is_silent else before.integrated_lufs - after.integrated_lufs
        if lost_db <= _MOST_LOST_DB:
            return tuple(self._notes)
        amount = "all sound" if lost_db == float("inf") else f"{lost_db:.1f} dB"
        text = f"the chain loses {amount}; level.allow_loss = true says that it is meant"
        return (*self._notes, text)

    def _delay_s(self, node: NodeSpec) -> float:
        """Return how long a delay may be silent; one with any dry sound never is."""
        if self._most(node, "mix") < 1.0:
            return 0.0
        return self._most(node, "delay_seconds")

    def _most(self, node: NodeSpec, name: str) -> float:
        if (node.id, name) in self._opened.envelopes.moving:
            return self._opened.envelopes.reach(node.id, name)[1]
        return self._value(node, name)

    @staticmethod
    def _value(node: NodeSpec, name: str) -> float:
        return float(node.params.get(name, processor_parameters(node.use)[name].default))

    def _asks_for_silence(self, node: NodeSpec) -> bool:
        def reaches(name: str, limit: float) -> bool:
            is_moving = (node.id, name) in self._opened.envelopes.moving
            return is_moving or self._value(node, name) <= limit

        match node.use:
            case "gain":
                return reaches("gain_db", _MUTE_DB)
            case "clipping":
                return reaches("threshold_db", _MUTE_DB)
            case "noise_gate":
                return True
            case "bitcrush":
                return reaches("bit_depth", _BITS_THAT_HOLD - 1e-6)
            case "reverb":
                return reaches("wet_level", 0.0) and reaches("dry_level", 0.0)
            case "invert":
                return (
                    node.mix < 1.0 or bool(node.during) or (node.id, "mix") in self._opened.envelopes.moving
                )
            case "dream" | "dreams":
                return node.params.get("update", _UPDATES_THAT_KEEP[0]) not in _UPDATES_THAT_KEEP
        return False


def _where(nodes: Sequence[NodeSpec], names: Sequence[str]) -> str:
    if not names:
        return "the chain"
    kinds = ", ".join(f"{node.id!r} ({node.plugin or node.use})" for node in nodes)
    return f"node {kinds}" if len(nodes) == 1 else f"one of the nodes {kinds}"
