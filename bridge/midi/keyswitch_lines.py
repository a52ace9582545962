"""Which keyswitch was pressed last, over a song: a weight for each, cross-faded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from bridge.arrays import BoolArray, Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.midi.file import MidiFile
from bridge.midi.notes import DRUM_CHANNEL, Notes, read_notes

__all__ = ["FADE_S", "KeyswitchLines", "pressed_any", "pressed_rows", "read_keyswitches"]

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


def pressed_rows(notes: Notes, key: int, channel: int | None) -> BoolArray:
    """Return which notes press a keyswitch: its key on its channel, or on any but that of drums.

    Args:
        notes: Of a song.
        key: MIDI key; one below 0 is never pressed.
        channel: 1..16, or None.
    """
    is_own = notes.channel == channel if channel is not None else notes.channel != DRUM_CHANNEL
    rows: BoolArray = (notes.note == key) & is_own
    return rows


def pressed_any(notes: Notes, switches: Collection[tuple[int, int | None]]) -> BoolArray:
    """Return which notes press one of some keyswitches."""
    rows = np.zeros(len(notes), np.bool_)
    for key, channel in switches:
        rows |= pressed_rows(notes, key, channel)
    return rows


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
            # Of keys pressed together the one that is listed last counts.
            pressed += [(start_s, index) for start_s in at[pressed_rows(notes, key, channel)].tolist()]
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
