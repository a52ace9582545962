"""Registered and non-registered parameters of a MIDI file: bend ranges and MPE zones among them.

Source: MIDI 1.0 Detailed Specification (RPN and NRPN), MPE specification (M1-100).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from bridge.arrays import Int64Array
from bridge.midi.file import MidiFile
from bridge.midi.messages import (
    CONTROLLER,
    DATA_LSB,
    DATA_MSB,
    INCREMENT,
    NRPN_LSB,
    NRPN_MSB,
    RESET_CONTROLLERS,
    RPN_BEND_RANGE,
    RPN_LSB,
    RPN_MPE,
    RPN_MSB,
)
from bridge.midi.notes import select_rows

__all__ = ["bend_range_semitones", "bend_reach", "mpe_zones", "parameter_numbers"]

Entry = tuple[Literal["rpn", "nrpn"], int, int, int, int]
"""Kind, number, channel, tick and 14-bit value."""

MPE_BEND_RANGE = 48.0
_NULL_PARAMETER = 0x3FFF


def parameter_numbers(midi: MidiFile, *, channel: int | None = None, track: int | None = None) -> list[Entry]:
    """Return every registered and non-registered parameter as (kind, number, channel, tick, 14-bit value).

    Data entry sets the upper seven bits, its low byte the lower seven; increments count in the lower.
    A parameter of 127, 127 deselects, as a reset of all controllers does, and data after it go nowhere.
    """
    parts = [DATA_MSB, DATA_LSB, *range(INCREMENT, RPN_MSB + 1), RESET_CONTROLLERS]
    wanted = select_rows(midi, channel, track) & (midi.message == CONTROLLER) & np.isin(midi.data1, parts)
    rows = np.flatnonzero(wanted)
    selected: dict[int, tuple[Literal["rpn", "nrpn"], int]] = {}
    values: dict[tuple[int, str, int], int] = defaultdict(int)
    found: list[Entry] = []
    columns = (midi.tick, midi.channel, midi.data1, midi.data2)
    for tick, on_channel, controller, data in zip(
        *(column[rows].tolist() for column in columns), strict=True
    ):
        if controller == RESET_CONTROLLERS:
            selected.pop(on_channel, None)
            continue
        kind, number = selected.get(on_channel, ("rpn", _NULL_PARAMETER))
        if controller >= NRPN_LSB:
            kind = "rpn" if controller >= RPN_LSB else "nrpn"
            is_msb = controller in (RPN_MSB, NRPN_MSB)
            number = (data << 7 | number & 0x7F) if is_msb else (number & 0x3F80 | data)
            selected[on_channel] = (kind, number)
            continue
        if number == _NULL_PARAMETER:
            continue
        key = (on_channel, kind, number)
        if controller == DATA_MSB:
            values[key] = data << 7
        elif controller == DATA_LSB:
            values[key] = values[key] & 0x3F80 | data
        else:
            values[key] = min(max(values[key] + (1 if controller == INCREMENT else -1), 0), 0x3FFF)
        found.append((kind, number, on_channel + 1, tick, values[key]))
    return found


def bend_range_semitones(midi: MidiFile, channel: int, entries: Sequence[Entry] | None = None) -> float:
    """Return how far a full pitch bend reaches on a channel: the last RPN 0, or 2 semitones (48 in MPE).

    Args:
        midi: The file.
        channel: 1..16.
        entries: Its `parameter_numbers`, where they are at hand.
    """
    return float(_bend_ranges(parameter_numbers(midi) if entries is None else entries, channel)[1][-1])


def _bend_ranges(entries: Sequence[Entry], channel: int) -> tuple[Int64Array, npt.NDArray[np.float64]]:
    """Return from which ticks on a full bend reaches how far; MPE members share what one of them says."""
    members = next((zone for zone in _zones(entries).values() if channel in zone), None)
    said = [
        (tick, (value >> 7) + (value & 0x7F) / 100)
        for kind, number, of_channel, tick, value in entries
        if kind == "rpn" and number == RPN_BEND_RANGE and of_channel in (members or (channel,))
    ]
    table = [(-1, 2.0 if members is None else MPE_BEND_RANGE), *said]
    return np.array([tick for tick, _ in table], np.int64), np.array([reach for _, reach in table])


def bend_reach(midi: MidiFile, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return how far a full bend reached on its channel when each row was played."""
    reach = np.empty(len(rows))
    channels, ticks, entries = midi.channel[rows], midi.tick[rows], parameter_numbers(midi)
    for channel in np.unique(channels).tolist():
        here = channels == channel
        since, reaches = _bend_ranges(entries, channel + 1)
        reach[here] = reaches[np.searchsorted(since, ticks[here], side="right") - 1]
    return reach


def mpe_zones(midi: MidiFile) -> dict[int, range]:
    """Return the MPE zones a file configures (RPN 6): master channel to its member channels."""
    return _zones(parameter_numbers(midi))


def _zones(entries: Sequence[Entry]) -> dict[int, range]:
    zones: dict[int, range] = {}
    for kind, number, channel, _, value in entries:
        if kind != "rpn" or number != RPN_MPE or channel not in (1, 16):
            continue
        n_members = min(value >> 7, 15)
        zones[channel] = range(2, 2 + n_members) if channel == 1 else range(16 - n_members, 16)
    return {master: members for master, members in zones.items() if members}
