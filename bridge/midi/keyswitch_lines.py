"""Which keyswitch was pressed last, over a song: a weight for each, cross-faded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.midi.file import MidiFile
from bridge.midi.notes import read_notes

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


def read_keyswitches(midi: MidiFile | None, tempo_map: TempoMap, keys: Sequence[int]) -> KeyswitchLines:
    """Read when each key was pressed last.

    Args:
        midi: The song; without one the first key holds throughout.
        tempo_map: The song's clock.
        keys: MIDI keys, the one that holds before any is pressed first; one below 0 is never pressed.
    """
    pressed: list[tuple[float, int]] = []
    if midi is not None:
        notes = read_notes(midi)
        chosen = np.isin(notes.note, [key for key in keys if key >= 0])
        at = np.asarray(tempo_map.ticks_to_seconds(notes.start_tick[chosen])).tolist()
        # Of keys pressed together the highest counts.
        pressed = sorted(zip(at, (list(keys).index(key) for key in notes.note[chosen].tolist()), strict=True))
    state = np.eye(len(keys))[0]
    starts = [start for start, _ in pressed]
    points, weights = [min([0.0, *starts])], [state]
    for (start, index), end in zip(pressed, [*starts[1:], np.inf], strict=False):
        goal = np.eye(len(keys))[index]
        share = min(1.0, (end - start) / FADE_S)
        reached = state + share * (goal - state)
        points += [start, start + share * FADE_S]
        weights += [state, reached]
        state = reached
    return KeyswitchLines(seconds=np.array(points), weights=np.stack(weights))
