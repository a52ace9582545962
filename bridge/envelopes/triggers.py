"""When modulators start: gates out of notes, controllers, markers, grids, loud sound and the song itself.

Conventions: a gate opens and closes at whole samples; gates come in order of their opening.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array, Int64Array
from bridge.clock.durations import parse_rate
from bridge.envelopes.cycle_phase import CyclePhase
from bridge.envelopes.follower import TRIGGER_MEASURE, FollowerSource, level_of
from bridge.envelopes.schema import Trigger, parse_notes
from bridge.envelopes.song import Song, check_marker
from bridge.errors import EnvelopeError, InputError
from bridge.midi.lanes import list_lanes, read_lane
from bridge.midi.notes import Notes, read_notes, track_index

__all__ = ["MAX_GATES", "Gates", "build_gates", "chosen_notes", "describe_notes", "horizon_s", "to_samples"]

MAX_GATES = 1_000_000
_HYSTERESIS_DB = 6.0
_AFTER_END_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gates:
    """Gates as columns: opening and closing sample, and how hard each was struck, 0..1."""

    start: Int64Array
    end: Int64Array
    velocity: Float64Array

    def __len__(self) -> int:
        return len(self.start)


def to_samples(seconds: npt.ArrayLike, sample_rate: float) -> Int64Array:
    """Return the sample nearest to each time."""
    return np.rint(np.asarray(seconds, np.float64) * sample_rate).astype(np.int64)


def horizon_s(song: Song) -> float:
    """Return until when loops and grids go on: past the stems' end, for what rings after it."""
    return song.length_s + _AFTER_END_S


def build_gates(
    trigger: Trigger,
    song: Song,
    sample_rate: float,
    follower: FollowerSource | None,
    modulator_id: str,
    warnings: list[str],
) -> Gates:
    """Find every gate of a trigger in a song, warning where there is none.

    Raises:
        EnvelopeError: The trigger names a marker, track or stem that does not exist.
    """
    where = f"modulators.{modulator_id}.trigger"
    try:
        gates = _find(trigger, song, sample_rate, follower, where)
    except EnvelopeError:
        raise
    except InputError as error:
        raise EnvelopeError(str(error)) from None
    within = gates.start <= horizon_s(song) * sample_rate
    gates = Gates(start=gates.start[within], end=gates.end[within], velocity=gates.velocity[within])
    if not len(gates) and not (trigger.on == "audio" and follower is None):
        warnings.append(f"{where} never triggers: {_why_never(trigger, song)}")
    if len(gates) > MAX_GATES:
        raise EnvelopeError(f"{where}: {len(gates)} gates are more than {MAX_GATES}; use a wider grid")
    return gates


def chosen_notes(notes: Notes, wanted: str | None, min_velocity: int = 1) -> Notes:
    """Keep the notes of a set such as ``C1..D1`` that are struck hard enough."""
    keep = notes.velocity >= min_velocity
    if wanted is not None:
        keep &= np.isin(notes.note, sorted(parse_notes(wanted)))
    names = ("start_tick", "end_tick", "note", "velocity", "channel", "track")
    return Notes(**{name: getattr(notes, name)[keep] for name in names})


def describe_notes(song: Song) -> str:
    """Say on which channels and in which range the file has notes, for a warning."""
    if song.midi is None:
        return "no MIDI file is given"
    notes = read_notes(song.midi)
    if not len(notes):
        return f"{song.midi.name} has no notes"
    channels = ", ".join(str(channel) for channel in np.unique(notes.channel))
    return f"{song.midi.name} has notes {notes.note.min()} to {notes.note.max()} on channels {channels}"


def _find(
    trigger: Trigger, song: Song, sample_rate: float, follower: FollowerSource | None, where: str
) -> Gates:
    clock = song.tempo_map
    end = int(np.rint(horizon_s(song) * sample_rate))
    if trigger.on == "start":
        start = to_samples(clock.beats_to_seconds([0.0]), sample_rate)
        return _gates(np.maximum(start, 0), np.array([end]))
    if trigger.on == "marker":
        markers = clock.markers
        if trigger.marker is not None:
            check_marker(trigger.marker, song, f"{where}.marker")
            markers = (clock.marker(trigger.marker, f"{where}.marker"),)
        start = to_samples(np.array([marker.time_s for marker in markers], np.float64), sample_rate)
        return _gates(start, np.append(start[1:], end)[: len(start)])
    if trigger.on == "grid":
        assert trigger.every is not None
        pulse = CyclePhase(cycle=parse_rate(trigger.every), tempo_map=clock)
        times = pulse.starts(0.0, horizon_s(song), MAX_GATES + 1)
        following = clock.advance(times, pulse.cycle)
        return _gates(
            to_samples(times, sample_rate),
            to_samples(times + trigger.gate * (following - times), sample_rate),
        )
    if trigger.on == "audio":
        if follower is None:
            return _gates(np.empty(0, np.int64), np.empty(0, np.int64))
        return _loud_gates(follower, trigger.threshold_db, sample_rate, where)
    if song.midi is None:
        return _gates(np.empty(0, np.int64), np.empty(0, np.int64))
    track = track_index(song.midi, trigger.track, f"{where}.track")
    if trigger.on == "cc":
        lane = read_lane(song.midi, "cc", trigger.number, channel=trigger.channel, track=track)
        is_up = lane.values * 127.0 >= trigger.threshold
        edge = np.diff(np.concatenate(([False], is_up)).astype(np.int8))
        ticks_up, ticks_down = lane.ticks[edge == 1], lane.ticks[edge == -1]
        ups, downs = (to_samples(clock.ticks_to_seconds(t), sample_rate) for t in (ticks_up, ticks_down))
        return _gates(ups, np.append(downs, end)[: len(ups)])
    notes = read_notes(song.midi, channel=trigger.channel, track=track, pedal=trigger.pedal)
    notes = chosen_notes(notes, trigger.notes, trigger.min_velocity)
    start, stop = (
        to_samples(clock.ticks_to_seconds(t), sample_rate) for t in (notes.start_tick, notes.end_tick)
    )
    return Gates(start=start, end=np.maximum(stop, start + 1), velocity=notes.velocity / 127.0)


def _gates(start: Int64Array, end: Int64Array) -> Gates:
    return Gates(start=start, end=np.maximum(end, start + 1), velocity=np.ones(len(start)))


def _loud_gates(follower: FollowerSource, threshold_db: float, sample_rate: float, where: str) -> Gates:
    """Open above the threshold, close 6 dB below it, so that a level at the threshold does not flutter."""
    level_db = level_of(follower, TRIGGER_MEASURE, where)
    above, below = level_db >= threshold_db, level_db < threshold_db - _HYSTERESIS_DB
    state = np.where(above, 1, np.where(below, 0, -1))
    known = np.flatnonzero(state >= 0)
    if not len(known):
        return _gates(np.empty(0, np.int64), np.empty(0, np.int64))
    position = np.searchsorted(known, np.arange(len(state)), side="right") - 1
    is_open = np.where(position >= 0, state[known[np.maximum(position, 0)]], 0)
    edge = np.diff(np.concatenate(([0], is_open, [0])))
    hop_s = follower.hop_samples / follower.sample_rate
    return _gates(
        to_samples(np.flatnonzero(edge == 1) * hop_s, sample_rate),
        to_samples(np.flatnonzero(edge == -1) * hop_s, sample_rate),
    )


def _why_never(trigger: Trigger, song: Song) -> str:
    if trigger.on == "note":
        wanted = [f"notes {trigger.notes}"] if trigger.notes else []
        wanted += [f"channel {trigger.channel}"] if trigger.channel else []
        asked = f" ({' on '.join(wanted)} asked for)" if wanted else ""
        return describe_notes(song) + asked
    if trigger.on == "cc":
        if song.midi is None:
            return "no MIDI file is given"
        lanes = [
            lane for lane in list_lanes(song.midi) if lane.event == "cc" and lane.number == trigger.number
        ]
        channels = ", ".join(str(lane.channel) for lane in lanes)
        have = f"it is on channels {channels}" if channels else f"{song.midi.name} has none"
        return f"controller {trigger.number} never reaches {trigger.threshold}; {have}"
    if trigger.on == "marker":
        return "no MIDI file with markers is given" if song.midi is None else "the song has no markers"
    if trigger.on == "audio":
        return f"{trigger.stem or 'the stem'} never reaches {trigger.threshold_db:g} dBFS"
    return "its grid has no step within the song"
