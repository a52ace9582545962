"""Chords and scales by their names."""

from __future__ import annotations

import pytest

from dream_core.errors import ObjectiveError
from dream_core.names import parse_key
from dream_core.objectives.harmony import SCALES, parse_chord, parse_scale
from dream_core.objectives.notes import chord_bars

SPELT = {
    "C": "C E G",
    "Am7": "A C E G",
    "F#m": "F# A C#",
    "Bbmaj7": "Bb D F A",
    "G7sus4": "G C D F",
    "C/E": "C E G",
    "D/C": "D F# A C",
    "Edim7": "E G Bb Db",
    "Em7b5": "E G Bb D",
    "Ebaug": "Eb G B",
    "A6": "A C# E F#",
    "Cm69": "C Eb G A D",
    "C6/9": "C E G A D",
    "D9": "D F# A C E",
    "Gmaj9": "G B D F# A",
    "Ammaj7": "A C E G#",
    "E7#9": "E G# B D G",
    "A7b9#11": "A C# E G Bb D#",
    "B7(b9)": "B D# F# A C",
    "Asus2": "A B E",
    "Fadd9": "F A C G",
    "A5": "A E",
    "C7no5": "C E Bb",
    "F-7": "F Ab C Eb",
    "Dm11": "D F A C E G",
    "Dsus": "D G A",
    "Cm(maj7)": "C Eb G B",
    "Faddb9": "F A C Gb",
    "G7alt": "G B F Ab A# Db Eb",
}
"""Chords with their notes, as a harmony book spells them."""


@pytest.mark.parametrize("chord", SPELT)
def test_a_chord_has_the_notes_it_is_spelt_with(chord: str) -> None:
    """As pitch classes: in any octave, whatever their names."""
    assert parse_chord(chord) == {parse_key(f"{note}3") % 12 for note in SPELT[chord].split()}


def test_scales_of_one_key_share_their_notes() -> None:
    """The modes of C major are C major from another note on; a relative minor is its major."""
    modes = ("C ionian", "D dorian", "E phrygian", "F lydian", "G mixolydian", "A aeolian", "B locrian")

    assert {parse_scale(mode) for mode in modes} == {parse_scale("C")}
    assert parse_scale("E minor pentatonic") == parse_scale("G  Major Pentatonic")
    assert all(0 in steps and sorted(set(steps)) == list(steps) for steps in SCALES.values())


@pytest.mark.parametrize("chord", ["H7", "", "am7", "Cx", "C/H", "Cminor", "Cmmaj", "C7b"])
def test_what_is_no_chord_is_refused(chord: str) -> None:
    """With the chord and what was wrong with it."""
    with pytest.raises(ValueError, match="is not a chord"):
        parse_chord(chord)


def test_a_wrong_chord_is_told_with_its_bar() -> None:
    """The message says which bar, which chord and which part of it."""
    with pytest.raises(ObjectiveError, match=r"bar 3: 'G7sos4' is not a chord: cannot read 'sos4'"):
        chord_bars("Am7|F|G7sos4")
    with pytest.raises(ObjectiveError, match="bar 2 is empty"):
        chord_bars("Am7||F")
    with pytest.raises(ObjectiveError, match="repeats the chord before; there is none"):
        chord_bars("%|Am")


def test_bars_of_several_chords_repeats_and_rests() -> None:
    """A bar is shared by its chords; `%` is the chord before, `N` none."""
    am, d7 = parse_chord("Am"), parse_chord("D7")

    assert chord_bars("Am D7|% Am|N") == [[am, d7], [d7, am], [frozenset()]]
