"""What is inside one of pedalboard's plugins, and what each kind of effect needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pedalboard

from bridge.errors import ProcessorError
from bridge.processors.frequency_limit import parameters_in_hz
from bridge.processors.pedalboard_table import BUILTINS

__all__ = [
    "LATE",
    "UNSTREAMABLE",
    "check_mixes",
    "frequencies_of",
    "kind_of",
    "leaves_of",
    "tail_seconds_of",
]

UNSTREAMABLE = frozenset({"PitchShift", "GSMFullRateCompressor"})
"""They forget at every call what the last one left in their delay line."""

LATE = UNSTREAMABLE | {"MP3Compressor", "Resample", "BrickwallLimiter", "VST3Plugin", "AudioUnitPlugin"}
"""They withhold samples."""

_CONTAINERS = (pedalboard.Pedalboard, pedalboard.Mix, pedalboard.Chain)
_HZ = {
    builtin.class_name: parameters_in_hz({spec.name: spec for spec in builtin.parameters})
    for builtin in BUILTINS.values()
}
_MAX_TAIL_S = 30.0


def kind_of(plugin: Any) -> str:
    """Return the name of an effect's class."""
    return type(plugin).__name__


def check_mixes(plugin: Any) -> None:
    """Refuse a `pedalboard.Mix` of branches with latency: what one is ahead of the others is lost.

    Raises:
        ProcessorError: There is one.
    """
    if not isinstance(plugin, _CONTAINERS):
        return
    late = [kind_of(leaf) for leaf in leaves_of(plugin) if kind_of(leaf) in LATE]
    if isinstance(plugin, pedalboard.Mix) and late:
        raise ProcessorError(
            f"pedalboard.Mix: a branch with {late[0]}, which has latency, loses sound in it; "
            "use bridge.Mix([...]), which waits for the slowest branch"
        )
    for child in plugin:
        check_mixes(child)


def frequencies_of(plugin: Any) -> tuple[str, ...]:
    """Return the names of an effect's parameters in Hz."""
    return _HZ.get(kind_of(plugin), ())


def leaves_of(plugin: Any) -> list[Any]:
    """Return the effects in a plugin: itself, or what a board, chain or mix holds."""
    if isinstance(plugin, _CONTAINERS):
        return [leaf for child in plugin for leaf in leaves_of(child)]
    return [plugin]


def tail_seconds_of(plugin: Any) -> float:
    """Return how long an effect's output outlasts its input, to -60 dB, from its parameters."""
    if isinstance(plugin, pedalboard.Reverb):
        # Freeverb's combs: the longest is 1617 + 23 samples at 44.1 kHz with this feedback.
        feedback = 0.7 + 0.28 * plugin.room_size
        return (
            min(_MAX_TAIL_S, 3.0 * 0.0372 / -np.log10(feedback)) if plugin.freeze_mode < 0.5 else _MAX_TAIL_S
        )
    if isinstance(plugin, pedalboard.Delay):
        if plugin.feedback >= 1.0:
            return _MAX_TAIL_S
        repeats = 1 + (np.ceil(3.0 / -np.log10(plugin.feedback)) if plugin.feedback > 0 else 0)
        return float(min(_MAX_TAIL_S, plugin.delay_seconds * repeats))
    if isinstance(plugin, pedalboard.Convolution):
        return _MAX_TAIL_S
    if isinstance(plugin, (pedalboard.Chorus, pedalboard.Phaser, pedalboard.PitchShift)):
        return 0.5
    return 0.0
