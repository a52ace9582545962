"""Sources that come from the song: MIDI lanes, notes and how loud a stem is."""

from __future__ import annotations

import numpy as np

from bridge.arrays import Float64Array, Int64Array
from bridge.clock.durations import parse_duration
from bridge.envelopes.map_keys import split_map_key
from bridge.envelopes.schema import MidiModulator, parse_notes
from bridge.envelopes.segments import Contour, Segment
from bridge.envelopes.smoothing import SmoothStairs
from bridge.envelopes.song import Song, duration_samples
from bridge.envelopes.triggers import chosen_notes, describe_notes, to_samples
from bridge.errors import EnvelopeError, InputError
from bridge.midi.file import MidiFile
from bridge.midi.lanes import LANE_EVENTS, LaneEvent, list_lanes, read_lane
from bridge.midi.messages import TIMBRE
from bridge.midi.notes import read_notes, track_index
from bridge.midi.rpn import mpe_zones, parameter_numbers

__all__ = ["DEFAULT_SMOOTH", "midi_events", "midi_source", "parse_map_key", "why_nothing"]

DEFAULT_SMOOTH = "20 ms"


def midi_source(
    modulator: MidiModulator, song: Song, sample_rate: float, where: str, warnings: list[str]
) -> SmoothStairs | Contour:
    """Build the source of what a MIDI file plays, warning where it plays nothing of the kind.

    Raises:
        EnvelopeError: The track does not exist.
    """
    try:
        starts, values = midi_events(modulator, song, sample_rate, where)
    except InputError as error:
        raise EnvelopeError(str(error)) from None
    if not len(starts):
        warnings.append(f"{where}: {why_nothing(modulator, song)}; it stays at {_default(modulator):g}")
    before = float(values[0]) if modulator.chase and len(values) else _default(modulator)
    if modulator.interpolate == "linear":
        return _straight(starts, values, before, modulator, song, sample_rate)
    smooth = modulator.smooth or (DEFAULT_SMOOTH if modulator.event in LANE_EVENTS else "0 ms")
    tau = duration_samples(smooth, song, sample_rate)
    return SmoothStairs(starts=starts, values=values, before=before, tau_samples=tau)


def parse_map_key(key: str) -> MidiModulator:
    """Read the left side of a MIDI map, such as ``cc74@3``.

    >>> parse_map_key("cc14_1@2").event
    'cc14'
    """
    event, number, channel = split_map_key(key)
    return MidiModulator.model_validate({"id": "map", "event": event, "number": number, "channel": channel})


def midi_events(
    modulator: MidiModulator, song: Song, sample_rate: float, where: str
) -> tuple[Int64Array, Float64Array]:
    """Return samples and values 0..1 of everything a MIDI modulator follows."""
    midi, clock = song.midi, song.tempo_map
    if midi is None:
        return np.empty(0, np.int64), np.empty(0)
    track = track_index(midi, modulator.track, f"{where}.track")
    event = modulator.event
    if event in ("velocity", "note_number", "gate"):
        notes = read_notes(midi, channel=modulator.channel, track=track, pedal=modulator.pedal)
        notes = chosen_notes(notes, modulator.notes)
        starts = to_samples(clock.ticks_to_seconds(notes.start_tick), sample_rate)
        if event != "gate":
            return starts, (notes.velocity if event == "velocity" else notes.note) / 127.0
        ends = to_samples(clock.ticks_to_seconds(notes.end_tick), sample_rate)
        return _open_gates(starts, np.maximum(ends, starts + 1))
    # A file that sets up MPE plays bends, pressure and slide a note: on a channel each.
    is_per_note = event in ("pitch_bend", "channel_pressure") or (event, modulator.number) == ("cc", TIMBRE)
    mpe = modulator.mpe or (modulator.channel is None and is_per_note and bool(mpe_zones(midi)))
    lane = read_lane(
        midi,
        _lane_event(event),
        modulator.number,
        channel=modulator.channel,
        track=track,
        mpe=mpe,
        bend_range=modulator.bend_range,
        notes=None if modulator.notes is None else parse_notes(modulator.notes),
    )
    return to_samples(clock.ticks_to_seconds(lane.ticks), sample_rate), lane.values


def _lane_event(event: str) -> LaneEvent:
    return next(known for known in LANE_EVENTS if known == event)


def _open_gates(starts: Int64Array, ends: Int64Array) -> tuple[Int64Array, Float64Array]:
    """Return when at least one note sounds, as a staircase of 0 and 1."""
    samples = np.concatenate((starts, ends))
    change = np.concatenate((np.ones(len(starts)), -np.ones(len(ends))))
    order = np.argsort(samples, kind="stable")
    return samples[order], (np.cumsum(change[order]) > 0).astype(np.float64)


def _straight(
    starts: Int64Array,
    values: Float64Array,
    before: float,
    modulator: MidiModulator,
    song: Song,
    sample_rate: float,
) -> Contour:
    """Join events by straight lines where they are close enough, else hold."""
    gaps = song.tempo_map.advance(starts / sample_rate, parse_duration(modulator.max_gap)) * sample_rate
    following = np.append(starts[1:], starts[-1:])
    is_near = following <= gaps
    level = values.tolist()
    segments = [
        Segment(start, stop - start, value, after, "linear" if near else "hold")
        for start, stop, value, after, near in zip(
            starts.tolist(),
            following.tolist(),
            level,
            [*level[1:], *level[-1:]],
            is_near.tolist(),
            strict=True,
        )
    ]
    return Contour(segments=segments, before=before)


def _default(modulator: MidiModulator) -> float:
    if modulator.default is not None:
        return modulator.default
    return 0.5 if modulator.event == "pitch_bend" else 0.0


def why_nothing(modulator: MidiModulator, song: Song) -> str:
    """Say what is missing and what the file has instead."""
    if song.midi is None:
        return "no MIDI file is given"
    event, number = modulator.event, modulator.number
    if event in ("velocity", "note_number", "gate"):
        return f"no such notes; {describe_notes(song)}"
    asked = {"cc": f"CC {number}", "cc14": f"CC {number}"}.get(event, event.replace("_", " "))
    if event in ("rpn", "nrpn"):
        asked = f"{event.upper()} {number}"
    on_channel = f" on channel {modulator.channel}" if modulator.channel else ""
    on_track = f" on track {modulator.track}" if modulator.track else ""
    return f"no {asked}{on_channel}{on_track} in {song.midi.name}; {_what_there_is(song.midi, event, number)}"


def _what_there_is(midi: MidiFile, event: str, number: int | None) -> str:
    lanes = list_lanes(midi)
    if event in ("rpn", "nrpn"):
        entries = parameter_numbers(midi)
        there = sorted({channel for kind, key, channel, _, _ in entries if (kind, key) == (event, number)})
        if there:
            return f"it is on channels {', '.join(map(str, there))}"
    wanted = "cc" if event == "cc14" else event
    same = [lane for lane in lanes if lane.event == wanted and (lane.number == number or wanted != "cc")]
    if same:
        return f"it is on channels {', '.join(str(lane.channel) for lane in same)}"
    names = [f"CC {lane.number}" if lane.event == "cc" else lane.event.replace("_", " ") for lane in lanes]
    found = [f"{name} on channel {lane.channel}" for name, lane in zip(names, lanes, strict=True)]
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return f"it has {', '.join(found[:8])}{more}" if found else "it has no controllers at all"
