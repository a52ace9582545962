"""Controllers, bends and pressures over time, an MPE expression among them.

Conventions: lane values run 0..1 (a pitch bend rests at exactly 0.5); ticks are the file's; channels are
1..16; a lane without a channel holds the events of all channels in order of time. Where several events share
a tick, the last one counts. Reset-all-controllers (CC 121) puts a lane that has events back to rest.

Source: MIDI 1.0 Detailed Specification (controllers), RP-015 (what a reset resets: neither volume nor pan,
nor a bank or a sound), MPE specification (M1-100).
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bridge.arrays import BoolArray, Int64Array
from bridge.midi.file import MidiFile
from bridge.midi.messages import (
    CHANNEL_PRESSURE,
    CONTROLLER,
    NOTE_ON,
    PITCH_BEND,
    POLY_PRESSURE,
    RESET_CONTROLLERS,
)
from bridge.midi.notes import N_CHANNELS, part_keys, read_notes, select_rows
from bridge.midi.rpn import bend_reach, mpe_zones, parameter_numbers

__all__ = ["LANE_EVENTS", "LaneEvent", "LaneSummary", "MidiLane", "list_lanes", "read_lane"]

LaneEvent = Literal["cc", "cc14", "pitch_bend", "channel_pressure", "poly_pressure", "rpn", "nrpn"]


LANE_EVENTS: tuple[LaneEvent, ...] = (
    "cc", "cc14", "pitch_bend", "channel_pressure", "poly_pressure", "rpn", "nrpn",
)  # fmt: skip

_RESTS = {1: 0, 11: 127, 64: 0, 65: 0, 66: 0, 67: 0}
"""Where a reset puts controllers: modulation, expression and the pedals; the others stay."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MidiLane:
    """One controller over time.

    Args:
        ticks: (n,) int64, rising or equal.
        values: (n,) float64, 0..1.
    """

    ticks: Int64Array
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ticks)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSummary:
    """What `list_lanes` says of one lane: raw values are as the messages carry them."""

    event: LaneEvent
    number: int | None
    channel: int
    n_events: int
    minimum: int
    maximum: int
    first_tick: int
    last_tick: int


def read_lane(
    midi: MidiFile,
    event: LaneEvent,
    number: int | None = None,
    *,
    channel: int | None = None,
    track: int | None = None,
    mpe: bool = False,
    bend_range: float | None = None,
    notes: Collection[int] | None = None,
) -> MidiLane:
    """Read one controller as a lane.

    Args:
        midi: The file.
        event: ``cc`` has 7 bits; ``cc14`` joins a controller below 32 with the one 32 above it, where that
            one occurs; ``rpn`` and ``nrpn`` take the 14-bit parameter number.
        number: Controller, parameter, or the note of ``poly_pressure``; None for all notes.
        channel: 1..16, or None for all.
        track: 0-based index, or None for all.
        mpe: Follow the channel of the newest sounding note, as MPE instruments send it.
        bend_range: Semitones of pitch bend that count as full; None for what each channel's own bend reaches.
        notes: Only the pressure of these notes counts; None for all.
    """
    if mpe:
        return _read_mpe_lane(midi, event, number, track, bend_range, notes)
    selection = select_rows(midi, channel, track)
    if event in ("rpn", "nrpn"):
        entries = parameter_numbers(midi, channel=channel, track=track)
        chosen = [(tick, value) for kind, key, _, tick, value in entries if kind == event and key == number]
        ticks, raw = np.array(chosen, np.int64).reshape(-1, 2).T
        return MidiLane(ticks=ticks, values=raw / 16383.0)
    if event == "cc14":
        return _read_cc14(midi, number or 0, selection)
    if event == "pitch_bend":
        rows, is_reset = _with_resets(midi, selection & (midi.message == PITCH_BEND))
        raw = np.where(is_reset, 0, (midi.data2[rows].astype(np.int64) << 7 | midi.data1[rows]) - 8192)
        values = 0.5 + 0.5 * raw / np.where(raw < 0, 8192.0, 8191.0)
        if bend_range is not None:
            values = np.clip(0.5 + (values - 0.5) * bend_reach(midi, rows) / bend_range, 0.0, 1.0)
        return MidiLane(ticks=midi.tick[rows], values=values)
    if event == "channel_pressure":
        rows, is_reset = _with_resets(midi, selection & (midi.message == CHANNEL_PRESSURE))
        return MidiLane(ticks=midi.tick[rows], values=np.where(is_reset, 0, midi.data1[rows]) / 127.0)
    message = POLY_PRESSURE if event == "poly_pressure" else CONTROLLER
    chosen_rows = selection & (midi.message == message)
    if number is not None:
        chosen_rows &= midi.data1 == number
    if notes is not None and event == "poly_pressure":
        chosen_rows &= np.isin(midi.data1, list(notes))
    rest = 0 if event == "poly_pressure" else _RESTS.get(-1 if number is None else number)
    rows, is_reset = _with_resets(midi, chosen_rows, is_resettable=rest is not None)
    return MidiLane(ticks=midi.tick[rows], values=np.where(is_reset, rest or 0, midi.data2[rows]) / 127.0)


def list_lanes(midi: MidiFile) -> list[LaneSummary]:
    """Summarise every controller, bend and pressure of a file, by channel."""
    summaries: list[LaneSummary] = []
    kinds: tuple[tuple[LaneEvent, int], ...] = (
        ("cc", CONTROLLER),
        ("pitch_bend", PITCH_BEND),
        ("channel_pressure", CHANNEL_PRESSURE),
        ("poly_pressure", POLY_PRESSURE),
    )
    for event, message in kinds:
        rows = np.flatnonzero(midi.message == message)
        number, second = midi.data1[rows].astype(np.int64), midi.data2[rows].astype(np.int64)
        raw = {"pitch_bend": (second << 7 | number) - 8192, "channel_pressure": number}.get(event, second)
        numbers = number if event == "cc" else np.full(len(rows), -1)
        key = midi.channel[rows].astype(np.int64) * 256 + numbers
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=-2))
        if not len(first):
            continue
        low, high = np.minimum.reduceat(raw[order], first), np.maximum.reduceat(raw[order], first)
        edges = [*first.tolist(), len(order)]
        for lane, (begin, end) in enumerate(itertools.pairwise(edges)):
            row, last = rows[order[begin]], rows[order[end - 1]]
            summaries.append(
                LaneSummary(
                    event=event,
                    number=int(numbers[order[begin]]) if event == "cc" else None,
                    channel=int(midi.channel[row]) + 1,
                    n_events=end - begin,
                    minimum=int(low[lane]),
                    maximum=int(high[lane]),
                    first_tick=int(midi.tick[row]),
                    last_tick=int(midi.tick[last]),
                )
            )
    return summaries


def _with_resets(
    midi: MidiFile, chosen: BoolArray, *, is_resettable: bool = True
) -> tuple[npt.NDArray[np.intp], BoolArray]:
    """Return the rows of a lane's events and of what resets them, in order, and which ones reset."""
    is_reset = np.zeros(midi.n_events, np.bool_)
    if is_resettable and np.any(chosen):
        is_reset = (midi.message == CONTROLLER) & (midi.data1 == RESET_CONTROLLERS)
    if np.any(is_reset):
        keys = part_keys(midi)
        playing = np.unique(keys[midi.message == NOTE_ON])
        moved = np.unique(keys[chosen])
        # Of tracks that share a channel, all but those that both play notes there.
        quiet = moved[~np.isin(moved, playing)]
        reaches = np.isin(keys, moved) | np.isin(midi.channel, quiet % N_CHANNELS)
        reaches |= ~np.isin(keys, playing) & np.isin(midi.channel, moved % N_CHANNELS)
        is_reset &= reaches
    rows = np.flatnonzero(chosen | is_reset)
    return rows, is_reset[rows]


def _read_cc14(midi: MidiFile, number: int, selection: BoolArray) -> MidiLane:
    """Join upper and lower seven bits; an upper byte waits one tick for its lower one, to avoid a step."""
    is_controller = selection & (midi.message == CONTROLLER)
    chosen = is_controller & ((midi.data1 == number) | (midi.data1 == number + 32))
    rest = _RESTS.get(number)
    rows, is_reset = _with_resets(midi, chosen, is_resettable=rest is not None)
    is_lower = ~is_reset & (midi.data1[rows] == number + 32)
    # A channel, of a track, without lower bytes has seven bits.
    key = midi.channel[rows].astype(np.int64) << 32 | midi.track[rows]
    is_coarse = ~np.isin(key, key[is_lower])
    ticks, raw = midi.tick[rows].copy(), np.empty(len(rows), np.int64)
    upper: dict[int, int] = defaultdict(int)
    columns = (midi.channel[rows], is_lower, is_reset, midi.data2[rows])
    for row, (channel, lower, reset, data) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        if reset:
            upper[channel] = rest or 0
        elif not lower:
            upper[channel] = data
        raw[row] = upper[channel] << 7 | (data if lower else 0)
        if reset and rest == 127:
            raw[row] = 0x3FFF  # full is full in both halves
    waits = np.zeros(len(rows), np.bool_)
    waits[:-1] = ~is_lower[:-1] & ~is_reset[:-1] & is_lower[1:] & (ticks[1:] - ticks[:-1] <= 1)
    waits[:-1] &= midi.channel[rows][:-1] == midi.channel[rows][1:]
    ticks[1:][waits[:-1]] = ticks[:-1][waits[:-1]]
    values = np.where(is_coarse, (raw >> 7) / 127.0, raw / 16383.0)
    return MidiLane(ticks=ticks[~waits], values=values[~waits])


def _read_mpe_lane(
    midi: MidiFile,
    event: LaneEvent,
    number: int | None,
    track: int | None,
    bend_range: float | None,
    notes: Collection[int] | None,
) -> MidiLane:
    """Follow the newest sounding note's channel through a per-channel lane."""
    zones = mpe_zones(midi) or {1: range(2, 17)}
    members = sorted({channel for zone in zones.values() for channel in zone})
    timeline: list[tuple[int, int, int, float]] = []  # tick, order (lane, off, on), channel, value
    for channel in members:
        lane = read_lane(
            midi, event, number, channel=channel, track=track, bend_range=bend_range, notes=notes
        )
        timeline += [
            (tick, 0, channel, value) for tick, value in zip(lane.ticks.tolist(), lane.values, strict=True)
        ]
        played = read_notes(midi, channel=channel, track=track)
        sounds = played.end_tick > played.start_tick
        timeline += [(tick, 1, channel, 0.0) for tick in played.end_tick[sounds].tolist()]
        timeline += [(tick, 2, channel, 0.0) for tick in played.start_tick[sounds].tolist()]
    current: dict[int, float] = defaultdict(lambda: 0.5 if event == "pitch_bend" else 0.0)
    held: dict[int, deque[int]] = {member: deque() for member in members}
    struck: list[tuple[int, int]] = []  # channel and number of each note, until it is the last and ended
    ticks: list[int] = []
    values: list[float] = []
    for row, (tick, order, channel, value) in enumerate(sorted(timeline)):
        if order == 0:
            current[channel] = value
        elif order == 2:
            held[channel].append(row)
            struck.append((channel, row))
        elif held[channel]:
            held[channel].popleft()
        while struck and (not held[struck[-1][0]] or held[struck[-1][0]][0] > struck[-1][1]):
            struck.pop()
        if struck and (not values or values[-1] != current[struck[-1][0]]):
            ticks.append(tick)
            values.append(current[struck[-1][0]])
    return MidiLane(ticks=np.array(ticks, np.int64), values=np.array(values, np.float64))
