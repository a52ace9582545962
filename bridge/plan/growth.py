"""What a plan checks of networks that play on: that they are there and can, and where they begin."""

from __future__ import annotations

from bridge.clock.durations import Duration, Position
from bridge.clock.tempo_map import TempoMap
from bridge.errors import MidiFileError, PresetError, ProcessorError, TempoError
from bridge.midi.file import MidiFile
from bridge.midi.notes import read_notes, track_index
from bridge.presets.model import NodeSpec, Preset
from bridge.processors.grow_places import GROW_PARAMETERS, NOTES, Lengths, find_places, parse_from

__all__ = ["check_growth", "growth_networks", "growth_notes", "note_starts"]


def growth_networks(preset: Preset) -> dict[str, str]:
    """Return the hash of the weights of every network that plays on.

    Raises:
        ProcessorError: One is not there, or does not play on.
    """
    nodes = preset.nodes_of("grow")
    if not nodes:
        return {}
    from bridge.processors.dream_needs import hash_networks
    from bridge.processors.grow import load_player

    for node in nodes:
        load_player(_network(node), f"node {node.id!r}")
    return hash_networks({_network(node) for node in nodes})


def growth_notes(preset: Preset) -> tuple[str, ...]:
    """Check growths without a song; return what depends on it, and which networks are not here.

    Raises:
        ProcessorError: A network is here and does not play on, or a place is none.
    """
    nodes, notes = preset.nodes_of("grow"), list[str]()
    if nodes:
        from bridge.processors.grow import is_missing, load_player
    for node in nodes:
        where = _where(node)
        if isinstance(where, Position) and where.anchor == "marker":
            notes.append(f"node {node.id!r}: the song must have a marker {where.marker!r}")
        if where == NOTES:
            notes.append(f"node {node.id!r}: plays on at the song's notes")
        try:
            load_player(_network(node), f"node {node.id!r}")
        except ProcessorError as error:
            if not is_missing(_network(node)):
                raise
            notes.append(str(error))
    return tuple(dict.fromkeys(notes))


def check_growth(
    preset: Preset, midi: MidiFile | None, tempo_map: TempoMap, length_s: float
) -> tuple[str, ...]:
    """Check where networks play on in a song; return what should be known.

    Args:
        preset: The preset.
        midi: The song.
        tempo_map: Its clock.
        length_s: Of the longest stem.

    Raises:
        PresetError: There are no notes to begin at, or no such marker.
    """
    told: list[str] = []
    for node in preset.nodes_of("grow"):
        where = _where(node)
        starts = note_starts(node, midi, tempo_map) if where == NOTES else ()
        try:
            found = find_places(where, tempo_map, _lengths(node), length_s=length_s, note_starts_s=starts)
            first = next(found, None)
        except TempoError as error:
            raise PresetError(f"node {node.id!r}: {error}") from None
        text = node.params.get("from", GROW_PARAMETERS["from"].default)
        is_at_end = isinstance(where, Position) and where.anchor == "end" and not where.offset.amount
        if is_at_end and preset.tail.mode == "none":
            told.append(
                f"node {node.id!r}: from = 'end' plays after the stem, and there is no tail; set "
                '[tail] mode = "auto"'
            )
        elif not is_at_end and (first is None or first.start_s >= length_s):
            told.append(
                f"node {node.id!r}: no place of from = {text!r} lies in the stems, which last "
                f"{length_s:.1f} s: nothing is played"
            )
    return tuple(told)


def note_starts(node: NodeSpec, midi: MidiFile | None, tempo_map: TempoMap) -> tuple[float, ...]:
    """Return where notes begin for a growth: those of its channel and track, or all.

    Raises:
        PresetError: There are none.
    """
    if _where(node) != NOTES:
        return ()
    begins = f"node {node.id!r}: from = {NOTES!r} begins at the song's notes"
    if midi is None:
        raise PresetError(f"{begins}, and there is no MIDI; give --midi FILE")
    try:
        notes = read_notes(midi, channel=node.channel, track=track_index(midi, node.track))
    except MidiFileError as error:
        raise PresetError(f"{begins}: {error}") from None
    if not len(notes.start_tick):
        raise PresetError(
            f"{begins}, and there are none in {midi.name}; to see its tracks run: reverie midi show"
        )
    return tuple(sorted({float(at) for at in tempo_map.ticks_to_seconds(notes.start_tick)}))


def _network(node: NodeSpec) -> str:
    return str(node.params.get("network", ""))


def _where(node: NodeSpec) -> Duration | Position | str:
    return parse_from(
        str(node.params.get("from", GROW_PARAMETERS["from"].default)), f"node {node.id!r}: from"
    )


def _lengths(node: NodeSpec) -> Lengths:
    names = ("seed_beats", "length_beats", "tail_beats")
    return Lengths(**{name: float(node.params.get(name, GROW_PARAMETERS[name].default)) for name in names})
