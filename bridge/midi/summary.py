"""What there is to know of a MIDI file before it moves anything, as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridge.arrays import Float64Array
from bridge.clock.tempo_map import TempoMap
from bridge.midi.file import MidiFile
from bridge.midi.lanes import list_lanes
from bridge.midi.notes import N_CHANNELS, part_keys, read_notes
from bridge.midi.rpn import bend_range_semitones, mpe_zones, parameter_numbers

__all__ = ["summarise_midi"]


def summarise_midi(midi: MidiFile, tempo_map: TempoMap) -> dict[str, Any]:
    """Describe tempo, meters, markers, tracks, notes, lanes and doubts of a file as plain JSON data.

    Args:
        midi: The file.
        tempo_map: Its clock, overrides included.

    Returns:
        Times in seconds of the stems, ``bar:beat:tick`` as text, lane ranges as raw message values (a pitch
        bend runs -8192..8191).
    """
    end_s = float(tempo_map.ticks_to_seconds(midi.end_tick))
    tempos = np.array([tempo.tick for tempo in tempo_map.tempos]) / tempo_map.ticks_per_beat
    meters = np.array([meter.tick for meter in tempo_map.meters]) / tempo_map.ticks_per_beat
    markers = np.array([marker.beats for marker in tempo_map.markers])
    return {
        "file": midi.name,
        "type": midi.smf_type,
        "ticks_per_beat": midi.ticks_per_beat,
        "ticks_per_second": None if midi.ticks_per_second is None else float(midi.ticks_per_second),
        "n_events": midi.n_events,
        "length_s": end_s,
        "length": tempo_map.position_text(float(tempo_map.seconds_to_beats(end_s))),
        "tempo_source": tempo_map.source,
        "tempos": [
            {"position": position, "time_s": time_s, "bpm": tempo.bpm}
            for tempo, position, time_s in zip(tempo_map.tempos, *_places(tempos, tempo_map), strict=True)
        ],
        "meters": [
            {"position": position, "time_s": time_s, "meter": str(meter)}
            for meter, position, time_s in zip(tempo_map.meters, *_places(meters, tempo_map), strict=True)
        ],
        "markers": [
            {"position": position, "time_s": marker.time_s, "name": marker.name}
            for marker, position in zip(tempo_map.markers, _places(markers, tempo_map)[0], strict=True)
        ],
        "tracks": _tracks(midi),
        "lanes": _lanes(midi, tempo_map),
        "parameters": _parameters(midi),
        "mpe_zones": {str(master): [zone[0], zone[-1]] for master, zone in mpe_zones(midi).items()},
        "warnings": [*midi.warnings, *tempo_map.warnings],
    }


def _tracks(midi: MidiFile) -> list[dict[str, Any]]:
    notes = read_notes(midi)
    n_notes = np.bincount(notes.track, minlength=len(midi.tracks)).tolist()
    lowest, highest = np.full(len(midi.tracks), 127), np.zeros(len(midi.tracks), np.int64)
    np.minimum.at(lowest, notes.track, notes.note)
    np.maximum.at(highest, notes.track, notes.note)
    channels: list[list[int]] = [[] for _ in midi.tracks]
    for key in np.unique(part_keys(midi)).tolist():
        channels[key // N_CHANNELS].append(key % N_CHANNELS + 1)
    return [
        {
            "track": index + 1,
            "name": track.name,
            "n_events": track.n_events,
            "n_notes": n_notes[index],
            "channels": channels[index],
            "lowest_note": int(lowest[index]) if n_notes[index] else None,
            "highest_note": int(highest[index]) if n_notes[index] else None,
        }
        for index, track in enumerate(midi.tracks)
    ]


def _places(beats: Float64Array, tempo_map: TempoMap) -> tuple[list[str], list[float]]:
    """Return ``bar:beat:tick`` and seconds of beats."""
    return tempo_map.position_texts(beats), tempo_map.beats_to_seconds(beats).tolist()


def _lanes(midi: MidiFile, tempo_map: TempoMap) -> list[dict[str, Any]]:
    rows = []
    entries = parameter_numbers(midi)
    for lane in list_lanes(midi):
        row = {
            "event": lane.event,
            "number": lane.number,
            "channel": lane.channel,
            "n_events": lane.n_events,
            "minimum": lane.minimum,
            "maximum": lane.maximum,
            "first_s": float(tempo_map.ticks_to_seconds(lane.first_tick)),
            "last_s": float(tempo_map.ticks_to_seconds(lane.last_tick)),
        }
        if lane.event == "pitch_bend":
            row["bend_range_semitones"] = bend_range_semitones(midi, lane.channel, entries)
        rows.append(row)
    return rows


def _parameters(midi: MidiFile) -> list[dict[str, Any]]:
    """Summarise registered and non-registered parameters: kind, number, channel, count and last value."""
    found: dict[tuple[str, int, int], list[int]] = {}
    for kind, number, channel, _, value in parameter_numbers(midi):
        found.setdefault((kind, number, channel), []).append(value)
    return [
        {"kind": kind, "number": number, "channel": channel, "n_events": len(values), "last": values[-1]}
        for (kind, number, channel), values in sorted(found.items())
    ]
