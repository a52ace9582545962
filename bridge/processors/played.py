"""What a song plays, as targets of its dreams: notes of its MIDI, and chords on its bars."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from bridge.arrays import AudioArray
from bridge.clock.tempo_map import TempoMap
from bridge.errors import ProcessorError, nearest_names
from bridge.midi.file import MidiFile
from bridge.midi.note_matrix import NoteMatrix, chord_matrix, note_matrix, track_named
from dream_core.networks.card import Network
from dream_core.objectives.heard import heard_targets
from dream_core.objectives.notes import chord_bars
from dream_core.objectives.objective import Objective
from dream_core.objectives.targets import Targets

__all__ = ["STEM", "check_one_hears", "heard_in_stems", "read_targets", "stems_played"]

STEM = "stem:"
"""Targets of this kind are what a network hears in another stem."""


def read_targets(
    name: str,
    midi: MidiFile | None,
    tempo_map: TempoMap,
    length_s: float,
    *,
    channel: int | None = None,
    track: int | str | None = None,
    without: Collection[tuple[int, int | None]] = (),
) -> Targets:
    """Read what a name asks for of a song.

    Args:
        name: ``midi``, ``midi:TRACK`` or ``chords:Am7|F``.
        midi: The song's, if it has any.
        tempo_map: The song's clock.
        length_s: How much of it.
        channel: Only this one's notes, 1..16.
        track: Only this one's, where the name says none.
        without: Keys that are not played: keyswitches.

    Raises:
        ProcessorError: There is no MIDI.
        MidiFileError: There is no such track.
    """
    kind, _, rest = name.partition(":")
    if kind == "chords":
        return _targets(chord_matrix(chord_bars(rest), tempo_map, length_s))
    if kind != "midi":
        raise ProcessorError(
            f"dream: objective notes:{name}: a song has midi and midi:TRACK; {kind!r} is neither"
        )
    if midi is None:
        raise ProcessorError(
            f"dream: objective notes:{name} plays the song's notes, and there is no MIDI; give --midi FILE"
        )
    whose = track_named(rest) if rest else track
    return _targets(note_matrix(midi, tempo_map, length_s, channel=channel, track=whose, without=without))


def _targets(matrix: NoteMatrix) -> Targets:
    return Targets(values=torch.from_numpy(matrix.values), frame_s=matrix.frame_s)


def stems_played(objective: Objective) -> frozenset[str]:
    """Return the stems whose notes an objective plays."""
    return frozenset(name.removeprefix(STEM) for name in objective.targets if name.startswith(STEM))


def check_one_hears(objective: Objective, network: str) -> None:
    """Refuse a stem whose notes two networks are to hear: there is one score of it.

    Args:
        objective: What is dreamed.
        network: Name of the dream's own network.

    Raises:
        ProcessorError: Two are.
    """
    heard_by: dict[str, str] = {}
    for term in objective.terms:
        name, ear = term.target.name if term.target else "", term.network or network
        if name.startswith(STEM) and heard_by.setdefault(name, ear) != ear:
            raise ProcessorError(
                f"dream: objective notes:{name} is for {heard_by[name]!r} and for {ear!r}; one network hears "
                "a stem's notes, so name the same one in all terms that play it"
            )


def heard_in_stems(
    objective: Objective,
    references: Mapping[str, AudioArray],
    network: Network,
    others: Mapping[str, Network],
    sample_rate: int,
) -> dict[str, Targets]:
    """Hear the notes of stems that an objective plays, each by the network of its term.

    Args:
        objective: What is dreamed.
        references: Stem to its sound.
        network: The dream's own.
        others: Other networks by name.
        sample_rate: Hz, of the stems.

    Raises:
        ProcessorError: A stem was not given.
    """
    wanted = {}
    for term in objective.terms:
        if term.target is not None and term.target.name.startswith(STEM):
            stem = term.target.name.removeprefix(STEM)
            if stem not in references:
                raise ProcessorError(
                    f"dream: objective notes:{term.target.name} follows a stem that was not given as one of "
                    f"references; {nearest_names(stem, references)}"
                )
            sound = references[stem]
            ear = others.get(term.network, network)
            mono = torch.from_numpy(sound.mean(axis=0)).to(ear.device)
            wanted[term.target.name] = heard_targets(ear, mono, sample_rate)
    return wanted
