"""What a plan checks of played dreams: that the notes they ask for are there, and all weights are given."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bridge.envelopes.map_keys import Keyswitch, controllers, keyswitches
from bridge.errors import MidiFileError, PresetError
from bridge.midi.file import MidiFile
from bridge.midi.note_matrix import track_named
from bridge.midi.notes import DRUM_CHANNEL, read_notes, read_pitched_notes
from bridge.presets.keyswitches import key_weight, played_params, switched_keys
from bridge.presets.model import NodeSpec, Preset
from dream_core.objectives.text import weight_names

__all__ = ["check_played", "check_weights"]


def check_weights(preset: Preset, node: NodeSpec) -> None:
    """Check that something says how much each named weight of a dream is.

    Raises:
        PresetError: Nothing does: no parameter, route or controller.
    """
    moved = {route.target for route in preset.routes if route.enabled}
    moved |= set(controllers(preset.midi_map).values())
    of_keys = {key_weight(key) for key in switched_keys(preset, node)}
    for name in weight_names(str(played_params(preset, node).get("objective", ""))):
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
    dreams = preset.nodes_of("dream")
    switches = keyswitches(preset.midi_map)
    for node in dreams:
        _check_notes(node, str(played_params(preset, node).get("objective", "")), midi, list(switches))
    if not (dreams and switches):
        return ()
    if midi is None:
        return ("no MIDI was given, so no keyswitch of [midi_map] is ever pressed; give --midi FILE",)
    notes = read_notes(midi)
    pressed = set(zip(notes.note.tolist(), notes.channel.tolist(), strict=True))
    if not any(_is_pressed(switch, pressed) for switch in switches):
        return (f"no keyswitch of [midi_map] is ever pressed in {midi.name}",)
    return ()


def _is_pressed(switch: Keyswitch, pressed: Collection[tuple[int, int]]) -> bool:
    return any(
        key == switch.key and (on == switch.channel or (switch.channel is None and on != DRUM_CHANNEL))
        for key, on in pressed
    )


def _check_notes(
    node: NodeSpec, objective: str, midi: MidiFile | None, switches: Sequence[Keyswitch]
) -> None:
    if "notes:" not in objective:
        return
    from dream_core.objectives.parse import parse_objective

    for name in parse_objective(objective).targets:
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
            notes = read_pitched_notes(midi, channel=node.channel, track=track_named(track))
        except MidiFileError as error:
            raise PresetError(f"{where}: {error}") from None
        if not any(
            Keyswitch(key) not in switches and Keyswitch(key, on) not in switches
            for key, on in zip(notes.note.tolist(), notes.channel.tolist(), strict=True)
        ):
            raise PresetError(
                f"{where}: there are no notes to play in {midi.name}; to see its tracks and channels run: "
                "reverie midi show"
            )
