"""Chords and scales by their names: which pitch classes they hold, counted from C.

Chord names are those of lead sheets: a root (``F#``, ``Bb``), a quality, numbers and changes, and after a
slash the bass: ``Am7``, ``G7sus4``, ``Cmaj9#11``, ``Bdim7``, ``Eaug``, ``C/E``. A ``+`` for augmented is not
read, as it separates terms of an objective.
"""

from __future__ import annotations

import re

from dream_core.names import nearest_names

__all__ = ["SCALES", "parse_chord", "parse_scale"]

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SIGNS = {"#": 1, "b": -1, "": 0}

_ROOT = re.compile(r"([A-G])([#b]?)")
_CHANGE = re.compile(r"\(?(?:(sus2|sus4|sus|no3|no5|alt|maj7)|(?:add)?(b|#)?(2|4|5|6|7|9|11|13))\)?,?")

_QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "maj": (0, 4, 7),
    "M": (0, 4, 7),
    "min": (0, 3, 7),
    "m": (0, 3, 7),
    "-": (0, 3, 7),
    "dim": (0, 3, 6),
    "o": (0, 3, 6),
    "aug": (0, 4, 8),
}

_EXTENSIONS = {"6": (9,), "7": (10,), "9": (10, 2), "11": (10, 2, 5), "13": (10, 2, 5, 9)}
_DEGREES = {"2": 2, "4": 5, "5": 7, "6": 9, "7": 10, "9": 2, "11": 5, "13": 9}

_CHORD = re.compile(
    r"(?P<root>[A-G][#b]?)"
    r"(?P<quality>maj(?=\d)|maj|M(?=\d)|M|min|m(?!aj)|-|dim|o|aug)?"
    r"(?P<major>maj|M)?"
    r"(?P<number>69|6/9|13|11|9|7|6|5)?"
    r"(?P<changes>.*)"
)

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "ionian": (0, 2, 4, 5, 7, 9, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "aeolian": (0, 2, 3, 5, 7, 8, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "melodic minor": (0, 2, 3, 5, 7, 9, 11),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole tone": (0, 2, 4, 6, 8, 10),
    "diminished": (0, 2, 3, 5, 6, 8, 9, 11),
    "chromatic": tuple(range(12)),
}
"""Steps from the root."""


def _pitch_class(root: str) -> int:
    return (_LETTERS[root[0]] + _SIGNS[root[1:]]) % 12


def parse_chord(text: str) -> frozenset[int]:
    """Read a chord's pitch classes.

    Args:
        text: As ``Am7`` or ``C/E``.

    Raises:
        ValueError: It cannot be read; the message says from where on.

    >>> sorted(parse_chord("Am7")), sorted(parse_chord("C/E")), sorted(parse_chord("G7sus4"))
    ([0, 4, 7, 9], [0, 4, 7], [0, 2, 5, 7])
    >>> sorted(parse_chord("Bbmaj7#11")), sorted(parse_chord("F#m7b5"))
    ([2, 4, 5, 9, 10], [0, 4, 6, 9])
    """
    name, slash, bass = text.strip().partition("/")
    if slash and bass == "9" and name.endswith("6"):
        name, slash, bass = f"{name}9", "", ""  # C6/9
    matched = _CHORD.fullmatch(name)
    if matched is None:
        raise ValueError(f"{text!r} is not a chord: it begins with its root, A to G, as in Am7, F#, Bb7sus4")
    if slash and not _ROOT.fullmatch(bass):
        raise ValueError(f"{text!r} is not a chord: after the slash stands a note, as in C/E; got {bass!r}")
    root = _pitch_class(matched["root"])
    steps = _steps(matched, text)
    notes = {(root + step) % 12 for step in steps}
    return frozenset(notes | ({_pitch_class(bass)} if slash else set()))


def _steps(matched: re.Match[str], text: str) -> set[int]:
    """Return a chord's steps from its root."""
    quality, number = matched["quality"] or "", matched["number"] or ""
    steps = set(_QUALITIES[quality])
    is_major = quality in ("maj", "M") or bool(matched["major"])
    if number == "5":
        steps = {0, 7}
    elif number in ("69", "6/9"):
        steps |= {9, 2}
    elif number:
        steps |= set(_EXTENSIONS[number])
        if number != "6" and is_major:
            steps = (steps - {10}) | {11}
        if number == "7" and quality in ("dim", "o"):
            steps = (steps - {10}) | {9}
    elif matched["major"]:
        raise ValueError(f"{text!r} is not a chord: maj wants a number here, as in Cmmaj7")
    return _changed(steps, matched["changes"], text)


def _changed(steps: set[int], changes: str, text: str) -> set[int]:
    position = 0
    while position < len(changes):
        change = _CHANGE.match(changes, position)
        if change is None:
            rest = changes[position:]
            raise ValueError(
                f"{text!r} is not a chord: cannot read {rest!r} in it; accepted are m, maj, dim, aug, 5, 6, "
                "7, 9, 11, 13, sus2, sus4, add9, no3, no5, and numbers with b or #"
            )
        word, sign, degree = change.groups()
        if word in ("sus", "sus4"):
            steps = (steps - {3, 4}) | {5}
        elif word == "sus2":
            steps = (steps - {3, 4}) | {2}
        elif word == "alt":
            steps = (steps - {7}) | {10, 1, 3, 6, 8}
        elif word == "maj7":
            steps = steps | {11}
        elif word:
            steps = steps - ({3, 4} if word == "no3" else {6, 7, 8})
        else:
            shift = {"b": -1, "#": 1}.get(sign or "", 0)
            # A changed fifth takes the plain one's place; a changed ninth comes beside it.
            steps = (steps - {7} if degree == "5" and shift else steps) | {(_DEGREES[degree] + shift) % 12}
        position = change.end()
    return steps


def parse_scale(text: str) -> frozenset[int]:
    """Read a scale's pitch classes.

    Args:
        text: A root and a scale's name, as ``D dorian``; the root alone is major.

    Raises:
        ValueError: It cannot be read.

    >>> sorted(parse_scale("D dorian")) == sorted(parse_scale("C major"))
    True
    """
    root, _, name = text.strip().partition(" ")
    if not _ROOT.fullmatch(root):
        raise ValueError(f"{text!r} is not a scale: it begins with its root, as in 'D dorian' or 'F# minor'")
    name = " ".join(name.split()).casefold() or "major"
    if name not in SCALES:
        raise ValueError(f"{text!r} is not a scale; {nearest_names(name, SCALES)}")
    return frozenset((_pitch_class(root) + step) % 12 for step in SCALES[name])
