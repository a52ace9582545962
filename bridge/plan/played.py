"""What a plan checks of played dreams: that the notes they ask for are there, and all weights are given."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from bridge.arrays import BoolArray
from bridge.clock.tempo_map import TempoMap
from bridge.envelopes.map_keys import Keyswitch, controllers, keyswitches
from bridge.errors import MidiFileError, PresetError
from bridge.midi.file import MidiFile
from bridge.midi.keyswitch_lines import pressed_any
from bridge.midi.note_matrix import track_named
from bridge.midi.notes import Notes, read_notes, read_pitched_notes
from bridge.presets.keyswitches import dreams_of, key_weight, switched_keys
from bridge.presets.model import NodeSpec, Preset
from dream_core.objectives.text import weight_names

__all__ = ["check_played", "check_weights", "unheard_notes"]


def check_weights(preset: Preset, node: NodeSpec) -> None:
    """Check that something says how much each named weight of a dream is.

    Raises:
        PresetError: Nothing does: no parameter, route or controller.
    """
    moved = {route.target for route in preset.routes if route.enabled}
    moved |= set(controllers(preset.midi_map).values())
    of_keys = {key_weight(key) for key in switched_keys(preset, node)}
    names = [n for own in dreams_of(preset, node) for n in weight_names(str(own.get("objective", "")))]
    for name in dict.fromkeys(names):
        if name not in of_keys | node.params.keys() and f"{node.id}.{name}" not in moved:
            raise PresetError(
                f"node {node.id!r}: nothing says how much {{{name}}} of its objective is; give it a value "
                f"({name} = 0.5 in its params), or a route or controller to {node.id}.{name}"
            )


def check_played(preset: Preset, midi: MidiFile | None) -> tuple[str, ...]:
    """Check that the notes which dreams play are there; return what else should be known.

    Raises:
        PresetError: There is no MIDI, no such track, or there are no notes.
    """
    switches = keyswitches(preset.midi_map)
    for node in preset.dream_nodes:
        for own in dreams_of(preset, node):
            _check_notes(node, str(own.get("objective", "")), midi, list(switches))
    if not switches or not preset.dream_nodes:
        return ()
    if not preset.nodes_of("dream"):
        return (
            "the keyswitches of [midi_map] choose what a node that uses dream maximises, and this preset has "
            "none; those that use dreams keep to their own each",
        )
    if midi is None:
        return ("no MIDI was given, so no keyswitch of [midi_map] is ever pressed; give --midi FILE",)
    if not pressed_any(read_notes(midi), switches).any():
        return (f"no keyswitch of [midi_map] is ever pressed in {midi.name}",)
    return ()


def unheard_notes(
    preset: Preset, midi: MidiFile | None, tempo_map: TempoMap, length_s: float
) -> tuple[str, ...]:
    """Say which dreams play notes of which none sounds while the stems do.

    Args:
        preset: One that `check_played` has passed.
        midi: The song.
        tempo_map: Its clock.
        length_s: Of the longest stem.
    """
    told: list[str] = []
    switches = keyswitches(preset.midi_map)
    for node in preset.dream_nodes if midi is not None else ():
        objectives = [str(own.get("objective", "")) for own in dreams_of(preset, node)]
        for name in dict.fromkeys(name for one in objectives for name in _targets_of(one)):
            kind, _, track = name.partition(":")
            if midi is None or kind != "midi":
                continue
            notes, is_played = _notes_of(node, track, midi, switches)
            starts, ends = (
                np.asarray(tempo_map.ticks_to_seconds(ticks)) for ticks in (notes.start_tick, notes.end_tick)
            )
            if not (is_played & (ends > 0.0) & (starts < length_s)).any():
                told.append(
                    f"node {node.id!r}: no note of notes:{name} sounds in the stems, which last "
                    f"{length_s:.1f} s: nothing is dreamed of them; --offset says where {midi.name} begins"
                )
    return tuple(told)


def _notes_of(
    node: NodeSpec, track: str, midi: MidiFile, switches: Collection[Keyswitch]
) -> tuple[Notes, BoolArray]:
    """Return the notes of a track that has a dream, and which of them are no keyswitches."""
    whose = track_named(track) if track else node.track
    notes = read_pitched_notes(midi, channel=node.channel, track=whose)
    return notes, ~pressed_any(notes, switches)


def _targets_of(objective: str) -> tuple[str, ...]:
    """Return what an objective wants over time; Torch is loaded only where it may want something."""
    if "notes:" not in objective:
        return ()
    from dream_core.objectives.parse import parse_objective

    return parse_objective(objective).targets


def _check_notes(
    node: NodeSpec, objective: str, midi: MidiFile | None, switches: Sequence[Keyswitch]
) -> None:
    for name in _targets_of(objective):
        kind, _, track = name.partition(":")
        if kind in ("chords", "stem"):
            continue
        where = f"node {node.id!r}: objective notes:{name}"
        if kind != "midi":
            raise PresetError(
                f"{where}: a song has midi, midi:TRACK and stem:STEM; {kind!r} is none of these"
            )
        if midi is None:
            raise PresetError(f"{where} plays the song's notes, and there is no MIDI; give --midi FILE")
        try:
            _, is_played = _notes_of(node, track, midi, switches)
        except MidiFileError as error:
            raise PresetError(f"{where}: {error}") from None
        if not is_played.any():
            raise PresetError(
                f"{where}: there are no notes to play in {midi.name}; to see its tracks and channels run: "
                "reverie midi show"
            )
