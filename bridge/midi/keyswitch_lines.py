"""Which keyswitch was pressed last, over a song: a weight for each, cross-faded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.midi.file import MidiFile
from bridge.midi.notes import DRUM_CHANNEL, read_notes

__all__ = ["FADE_S", "KeyswitchLines", "read_keyswitches"]

FADE_S = 0.05
"""How long one objective takes to become another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyswitchLines:
    """Weights over time, straight between points; they add up to one.

    Args:
        seconds: (n,) where the points are, rising.
        weights: (n, keys).
    """

    seconds: Float64Array
    weights: Float64Array

    def values(self, index: int, seconds: Float64Array) -> Float64Array:
        """Return the weight of a key at some instants."""
        return np.interp(seconds, self.seconds, self.weights[:, index])


def read_keyswitches(
    midi: MidiFile | None, tempo_map: TempoMap, switches: Sequence[tuple[int, int | None]]
) -> KeyswitchLines:
    """Read when each key was pressed last.

    Args:
        midi: The song; without one the first key holds throughout.
        tempo_map: The song's clock.
        switches: MIDI key and channel 1..16 of each, None for any channel but that of drums; the one that
            holds before any is pressed first. A key below 0 is never pressed.
    """
    pressed: list[tuple[float, int]] = []
    if midi is not None:
        notes = read_notes(midi)
        at = np.asarray(tempo_map.ticks_to_seconds(notes.start_tick))
        for index, (key, channel) in enumerate(switches):
            is_own = notes.channel == channel if channel is not None else notes.channel != DRUM_CHANNEL
            # Of keys pressed together the one that is listed last counts.
            pressed += [(start_s, index) for start_s in at[(notes.note == key) & is_own].tolist()]
    pressed.sort()
    state = np.eye(len(switches))[0]
    starts = [start for start, _ in pressed]
    points, weights = [min([0.0, *starts])], [state]
    for (start, index), end in zip(pressed, [*starts[1:], np.inf], strict=False):
        goal = np.eye(len(switches))[index]
        share = min(1.0, (end - start) / FADE_S)
        reached = state + share * (goal - state)
        points += [start, start + share * FADE_S]
        weights += [state, reached]
        state = reached
    return KeyswitchLines(seconds=np.array(points), weights=np.stack(weights))
