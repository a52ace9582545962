"""What a MIDI file plays: notes paired, controllers joined into lanes, expression followed.

Conventions: lane values run 0..1 (a pitch bend rests at exactly 0.5); ticks are the file's; channels are
1..16; a lane without a channel holds the events of all channels in order of time. Where several events share
a tick, the last one counts.

Source: MIDI 1.0 Detailed Specification (controllers, RPN and NRPN), MPE specification (M1-100).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bridge.errors import MidiFileError, nearest_names
from bridge.midifile import MidiFile

if TYPE_CHECKING:
    from bridge.clock.tempo_map import TempoMap

__all__ = [
    "LANE_EVENTS",
    "LaneEvent",
    "LaneSummary",
    "MidiLane",
    "Notes",
    "bend_range_semitones",
    "list_lanes",
    "mpe_zones",
    "parameter_numbers",
    "read_lane",
    "read_notes",
    "timed_messages",
    "track_index",
]

LaneEvent = Literal["cc", "cc14", "pitch_bend", "channel_pressure", "poly_pressure", "rpn", "nrpn"]
LANE_EVENTS: tuple[LaneEvent, ...] = (
    "cc", "cc14", "pitch_bend", "channel_pressure", "poly_pressure", "rpn", "nrpn",
)  # fmt: skip

NOTE_OFF, NOTE_ON, POLY_PRESSURE, CONTROLLER, CHANNEL_PRESSURE, PITCH_BEND = (
    0x80,
    0x90,
    0xA0,
    0xB0,
    0xD0,
    0xE0,
)
DATA_MSB, DATA_LSB, SUSTAIN_PEDAL, TIMBRE = 6, 38, 64, 74
INCREMENT, DECREMENT, NRPN_LSB, NRPN_MSB, RPN_LSB, RPN_MSB = 96, 97, 98, 99, 100, 101
RPN_BEND_RANGE, RPN_MPE = 0, 6
MPE_BEND_RANGE = 48.0
_NULL_PARAMETER = 0x3FFF

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MidiLane:
    """One controller over time.

    Args:
        ticks: (n,) int64, rising or equal.
        values: (n,) float64, 0..1.
    """

    ticks: Integers
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ticks)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Notes:
    """Notes as columns, in order of their starts; channels are 1..16, velocities 1..127."""

    start_tick: Integers
    end_tick: Integers
    note: Integers
    velocity: Integers
    channel: Integers
    track: Integers

    def __len__(self) -> int:
        return len(self.start_tick)


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


def track_index(midi: MidiFile, track: int | str | None, where: str = "track") -> int | None:
    """Return the 0-based index of a track given by 1-based number or by name.

    Raises:
        MidiFileError: No such track.
    """
    if track is None:
        return None
    if isinstance(track, int):
        if 1 <= track <= len(midi.tracks):
            return track - 1
        raise MidiFileError(f"{where}: {midi.name} has no track {track}; 1 to {len(midi.tracks)} are there")
    folded = track.strip().casefold()
    for index, known in enumerate(midi.tracks):
        if known.name.strip().casefold() == folded:
            return index
    names = [known.name for known in midi.tracks if known.name]
    raise MidiFileError(f"{where}: {midi.name} has no track named {track!r}; {nearest_names(track, names)}")


def read_notes(
    midi: MidiFile, *, channel: int | None = None, track: int | None = None, pedal: bool = False
) -> Notes:
    """Pair note-ons with note-offs, first in first out; what still sounds at the end ends there.

    Args:
        midi: The file.
        channel: 1..16, or None for all.
        track: 0-based index, or None for all.
        pedal: Let a held sustain pedal (CC 64) prolong notes until it is lifted.
    """
    is_note = (midi.message == NOTE_ON) | (midi.message == NOTE_OFF)
    chosen = is_note & _selection(midi, channel, track)
    if pedal:
        # A pedal holds its channel, whichever track it is recorded on.
        is_pedal = (midi.message == CONTROLLER) & (midi.data1 == SUSTAIN_PEDAL)
        chosen |= is_pedal & _selection(midi, channel, None)
    rows = np.flatnonzero(chosen)
    columns = (midi.tick, midi.status, midi.data1, midi.data2, midi.track)
    held: dict[tuple[int, int, int], deque[int]] = defaultdict(deque)
    pedalled: dict[int, list[int]] = defaultdict(list)
    is_down: dict[int, bool] = defaultdict(bool)
    starts: list[tuple[int, int, int, int, int]] = []
    ends: list[int] = []
    for tick, status, data1, data2, number in zip(
        *(column[rows].tolist() for column in columns), strict=True
    ):
        message, on_channel = status & 0xF0, status & 0x0F
        if message == NOTE_ON and data2:
            held[number, on_channel, data1].append(len(starts))
            starts.append((tick, data1, data2, on_channel + 1, number))
            ends.append(-1)
        elif message == CONTROLLER:
            is_down[on_channel] = data2 >= 64
            if not is_down[on_channel]:
                for index in pedalled.pop(on_channel, []):
                    ends[index] = tick
        elif waiting := held[number, on_channel, data1]:
            index = waiting.popleft()
            if is_down[on_channel]:
                pedalled[on_channel].append(index)
            else:
                ends[index] = tick
    table = np.array(starts, np.int64).reshape(-1, 5)
    end_tick = np.array(ends, np.int64)
    return Notes(
        start_tick=table[:, 0],
        end_tick=np.where(end_tick < 0, max(midi.end_tick, 0), end_tick),
        note=table[:, 1],
        velocity=table[:, 2],
        channel=table[:, 3],
        track=table[:, 4],
    )


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
    selection = _selection(midi, channel, track)
    if event in ("rpn", "nrpn"):
        entries = parameter_numbers(midi, channel=channel, track=track)
        chosen = [(tick, value) for kind, key, _, tick, value in entries if kind == event and key == number]
        ticks, raw = np.array(chosen, np.int64).reshape(-1, 2).T
        return MidiLane(ticks=ticks, values=raw / 16383.0)
    if event == "cc14":
        return _read_cc14(midi, number or 0, selection)
    if event == "pitch_bend":
        rows = np.flatnonzero(selection & (midi.message == PITCH_BEND))
        raw = (midi.data2[rows].astype(np.int64) << 7 | midi.data1[rows]) - 8192
        values = 0.5 + 0.5 * raw / np.where(raw < 0, 8192.0, 8191.0)
        if bend_range is not None:
            values = np.clip(0.5 + (values - 0.5) * _bend_reach(midi, rows) / bend_range, 0.0, 1.0)
        return MidiLane(ticks=midi.tick[rows], values=values)
    if event == "channel_pressure":
        rows = np.flatnonzero(selection & (midi.message == CHANNEL_PRESSURE))
        return MidiLane(ticks=midi.tick[rows], values=midi.data1[rows] / 127.0)
    message = POLY_PRESSURE if event == "poly_pressure" else CONTROLLER
    chosen_rows = selection & (midi.message == message)
    if number is not None:
        chosen_rows &= midi.data1 == number
    if notes is not None and event == "poly_pressure":
        chosen_rows &= np.isin(midi.data1, list(notes))
    rows = np.flatnonzero(chosen_rows)
    return MidiLane(ticks=midi.tick[rows], values=midi.data2[rows] / 127.0)


def timed_messages(
    midi: MidiFile, tempo_map: TempoMap, *, channel: int | None = None, track: int | str | None = None
) -> list[tuple[float, bytes]]:
    """Return channel messages as an instrument takes them: seconds and bytes, from the start of the song.

    Args:
        midi: The file.
        tempo_map: The song's clock.
        channel: Take only this one, 1..16.
        track: Take only this one, by number from 1 or by name.

    Raises:
        MidiFileError: No such track.

    Notes from before the start are left out; controllers, bends and programs set by then count from it.
    """
    rows = np.flatnonzero(_selection(midi, channel, track_index(midi, track)))
    seconds = np.asarray(tempo_map.ticks_to_seconds(midi.tick[rows]))
    columns = (midi.status, midi.data1, midi.data2)
    return [
        (max(time_s, 0.0), bytes((status, data1, data2)[: 2 if 0xC0 <= status < 0xE0 else 3]))
        for time_s, status, data1, data2 in zip(
            seconds.tolist(), *(column[rows].tolist() for column in columns), strict=True
        )
        if time_s >= 0.0 or status >= 0xB0
    ]


def parameter_numbers(
    midi: MidiFile, *, channel: int | None = None, track: int | None = None
) -> list[tuple[Literal["rpn", "nrpn"], int, int, int, int]]:
    """Return every registered and non-registered parameter as (kind, number, channel, tick, 14-bit value).

    Data entry sets the upper seven bits, its low byte the lower seven; increments count in the lower.
    A parameter of 127, 127 deselects, and data after it go nowhere.
    """
    parts = [DATA_MSB, DATA_LSB, *range(INCREMENT, RPN_MSB + 1)]
    wanted = _selection(midi, channel, track) & (midi.message == CONTROLLER) & np.isin(midi.data1, parts)
    rows = np.flatnonzero(wanted)
    selected: dict[int, tuple[Literal["rpn", "nrpn"], int]] = {}
    values: dict[tuple[int, str, int], int] = defaultdict(int)
    found: list[tuple[Literal["rpn", "nrpn"], int, int, int, int]] = []
    columns = (midi.tick, midi.channel, midi.data1, midi.data2)
    for tick, on_channel, controller, data in zip(
        *(column[rows].tolist() for column in columns), strict=True
    ):
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


def bend_range_semitones(midi: MidiFile, channel: int) -> float:
    """Return how far a full pitch bend reaches on a channel: the last RPN 0, or 2 semitones (48 in MPE)."""
    return float(_bend_ranges(midi, channel)[1][-1])


def _bend_ranges(midi: MidiFile, channel: int) -> tuple[Integers, npt.NDArray[np.float64]]:
    """Return from which ticks on a full bend reaches how far; MPE members share what one of them says."""
    members = next((zone for zone in mpe_zones(midi).values() if channel in zone), None)
    said = [
        (tick, (value >> 7) + (value & 0x7F) / 100)
        for kind, number, of_channel, tick, value in parameter_numbers(midi)
        if kind == "rpn" and number == RPN_BEND_RANGE and of_channel in (members or (channel,))
    ]
    table = [(-1, 2.0 if members is None else MPE_BEND_RANGE), *said]
    return np.array([tick for tick, _ in table], np.int64), np.array([reach for _, reach in table])


def _bend_reach(midi: MidiFile, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return how far a full bend reached on its channel when each row was played."""
    reach = np.empty(len(rows))
    channels, ticks = midi.channel[rows], midi.tick[rows]
    for channel in np.unique(channels).tolist():
        here = channels == channel
        since, reaches = _bend_ranges(midi, channel + 1)
        reach[here] = reaches[np.searchsorted(since, ticks[here], side="right") - 1]
    return reach


def mpe_zones(midi: MidiFile) -> dict[int, range]:
    """Return the MPE zones a file configures (RPN 6): master channel to its member channels."""
    zones: dict[int, range] = {}
    for kind, number, channel, _, value in parameter_numbers(midi):
        if kind != "rpn" or number != RPN_MPE or channel not in (1, 16):
            continue
        n_members = min(value >> 7, 15)
        zones[channel] = range(2, 2 + n_members) if channel == 1 else range(16 - n_members, 16)
    return {master: members for master, members in zones.items() if members}


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
        for value in np.unique(key).tolist():
            here = key == value
            ticks = midi.tick[rows[here]]
            summaries.append(
                LaneSummary(
                    event=event,
                    number=int(numbers[here][0]) if event == "cc" else None,
                    channel=int(midi.channel[rows[here][0]]) + 1,
                    n_events=int(np.count_nonzero(here)),
                    minimum=int(raw[here].min()),
                    maximum=int(raw[here].max()),
                    first_tick=int(ticks[0]),
                    last_tick=int(ticks[-1]),
                )
            )
    return summaries


def _selection(midi: MidiFile, channel: int | None, track: int | None) -> Mask:
    chosen = np.ones(midi.n_events, np.bool_)
    if channel is not None:
        chosen &= midi.channel == channel - 1
    if track is not None:
        chosen &= midi.track == track
    return chosen


def _read_cc14(midi: MidiFile, number: int, selection: Mask) -> MidiLane:
    """Join upper and lower seven bits; an upper byte waits one tick for its lower one, to avoid a step."""
    is_controller = selection & (midi.message == CONTROLLER)
    rows = np.flatnonzero(is_controller & ((midi.data1 == number) | (midi.data1 == number + 32)))
    is_lower = midi.data1[rows] == number + 32
    # A channel, of a track, without lower bytes has seven bits.
    key = midi.channel[rows].astype(np.int64) << 32 | midi.track[rows]
    is_coarse = ~np.isin(key, key[is_lower])
    ticks, raw = midi.tick[rows].copy(), np.empty(len(rows), np.int64)
    upper: dict[int, int] = defaultdict(int)
    for row, (channel, lower, data) in enumerate(
        zip(midi.channel[rows].tolist(), is_lower.tolist(), midi.data2[rows].tolist(), strict=True)
    ):
        if not lower:
            upper[channel] = data
        raw[row] = upper[channel] << 7 | (data if lower else 0)
    waits = np.zeros(len(rows), np.bool_)
    waits[:-1] = ~is_lower[:-1] & is_lower[1:] & (ticks[1:] - ticks[:-1] <= 1)
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
    sounding: list[int] = []
    ticks: list[int] = []
    values: list[float] = []
    for tick, order, channel, value in sorted(timeline):
        if order == 0:
            current[channel] = value
        elif order == 2:
            sounding.append(channel)
        elif channel in sounding:
            sounding.remove(channel)
        if sounding and (not values or values[-1] != current[sounding[-1]]):
            ticks.append(tick)
            values.append(current[sounding[-1]])
    return MidiLane(ticks=np.array(ticks, np.int64), values=np.array(values, np.float64))
