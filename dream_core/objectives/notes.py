"""Notes as objectives: what is to be played, for networks whose classes are notes.

- ``note:A3``             one note, all the time
- ``scale:"D dorian"``    the notes of a scale, in any octave
- ``chords:Am7|F|C/E``    chords, one a bar, in any octave; from the last one it begins anew. A bar of several
  is quoted, ``chords:"Am7 D7|G"``; ``%`` repeats the chord before, ``N`` is a rest
- ``notes:NAME``          notes over time, given under a name: a song's as ``notes:midi`` or
  ``notes:midi:TRACK``, what a network hears in another stem as ``notes:stem:STEM``

Options follow, each after a colon: ``fold`` lets any octave do, ``hold`` keeps what was wanted last through
rests, ``transpose=-12`` moves by semitones. A name in quotes is never an option.

The score of an instant is how surely the network hears the notes that are wanted, less how surely it hears
others, each by the logarithm of its probability. Where nothing is wanted, there is nothing to score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dream_core.errors import ClassNotFoundError, ObjectiveError
from dream_core.names import parse_key
from dream_core.networks.card import NetworkCard
from dream_core.objectives.classes import class_index
from dream_core.objectives.harmony import parse_chord, parse_scale
from dream_core.objectives.objective import KEYS, Activations, Objective, one_term
from dream_core.objectives.targets import TargetUse, pitch_classes
from dream_core.objectives.text import Argument

__all__ = ["chord_bars", "note", "notes", "read_chords", "read_note", "read_notes", "read_scale", "scale"]

_OTHERS = 0.5
"""How much other notes count beside those that are wanted."""

_OPTIONS = ("fold", "hold", "transpose")


def note(name: str) -> Objective:
    """Maximise how surely a network hears one note."""

    def wanted(heard: Activations) -> Tensor:
        rows = heard.layers[KEYS].new_zeros(len(heard.card.classes))
        rows[class_index(name, heard.card)] = 1.0
        return rows

    return one_term(
        f"note:{name}",
        lambda heard: _constant_score(heard, wanted(heard), fold=False),
        frozenset({KEYS}),
        check=_note_check(name),
    )


def scale(name: str) -> Objective:
    """Maximise how surely a network hears the notes of a scale, in any octave.

    Raises:
        ObjectiveError: There is no such scale.
    """
    try:
        inside = sorted(parse_scale(name))
    except ValueError as error:
        raise ObjectiveError(f'objective scale:"{name}": {error}') from None

    def score(heard: Activations) -> Tensor:
        rows = heard.layers[KEYS].new_zeros(12)
        rows[inside] = 1.0
        return _constant_score(heard, rows, fold=True)

    return one_term(f'scale:"{name}"', score, frozenset({KEYS}), check=_has_keys)


def notes(use: TargetUse, text: str) -> Objective:
    """Maximise how surely a network hears the notes that are wanted over time, and no others.

    Args:
        use: Which ones.
        text: How it is written.
    """
    return one_term(
        text, lambda heard: _played_score(heard, use), frozenset({KEYS}), check=_has_keys, target=use
    )


def read_note(arguments: Sequence[Argument], written: str) -> Objective:
    """Read ``note:A3``."""
    if len(arguments) != 1:
        raise ObjectiveError(f"objective {written!r}: write it as note:A3")
    try:
        parse_key(arguments[0].text)
    except ValueError as error:
        raise ObjectiveError(f"objective {written!r}: {error}") from None
    return note(arguments[0].text)


def read_scale(arguments: Sequence[Argument], written: str) -> Objective:
    """Read ``scale:"D dorian"``."""
    if len(arguments) != 1:
        raise ObjectiveError(f'objective {written!r}: write it as scale:"D dorian"')
    return scale(arguments[0].text)


def read_chords(arguments: Sequence[Argument], written: str) -> Objective:
    """Read ``chords:Am7|F``."""
    names, options = _split_options(arguments, written)
    if len(names) != 1:
        raise ObjectiveError(f"objective {written!r}: write it as chords:Am7|F|C/E")
    chord_bars(names[0])
    return notes(replace(options, name=f"chords:{names[0]}", fold=True), _text("chords", arguments))


def read_notes(arguments: Sequence[Argument], written: str) -> Objective:
    """Read ``notes:midi``, ``notes:midi:TRACK``, ``notes:stem:STEM`` or ``notes:NAME``."""
    names, options = _split_options(arguments, written)
    if len(names) not in (1, 2) or (names[0] == "stem") != (len(names) == 2 and names[0] == "stem"):
        raise ObjectiveError(
            f"objective {written!r}: write it as notes:midi, notes:midi:TRACK or notes:stem:STEM; "
            "fold, hold and transpose=12 may follow"
        )
    return notes(replace(options, name=":".join(names)), _text("notes", arguments))


def chord_bars(text: str) -> list[list[frozenset[int]]]:
    """Read chords, a list of pitch classes for each place in each bar.

    Args:
        text: Bars between ``|``, chords in a bar with spaces between them, which share it evenly.

    Raises:
        ObjectiveError: One cannot be read; its place is told.

    >>> [[sorted(chord) for chord in bar] for bar in chord_bars("C|% F|N")]
    [[[0, 4, 7]], [[0, 4, 7], [0, 5, 9]], [[]]]
    """
    bars: list[list[frozenset[int]]] = []
    before: frozenset[int] | None = None
    for index, bar in enumerate(text.split("|"), start=1):
        names = bar.split()
        if not names:
            raise ObjectiveError(f"chords:{text!r}: bar {index} is empty; N is a rest, % the chord before")
        chords = []
        for name in names:
            try:
                before = _chord(name, before)
            except ValueError as error:
                raise ObjectiveError(f"chords:{text!r}: bar {index}: {error}") from None
            chords.append(before)
        bars.append(chords)
    return bars


def _chord(name: str, before: frozenset[int] | None) -> frozenset[int]:
    if name in ("N", "NC", "N.C."):
        return frozenset()
    if name != "%":
        return parse_chord(name)
    if before is None:
        raise ValueError("% repeats the chord before; there is none")
    return before


def _text(kind: str, arguments: Sequence[Argument]) -> str:
    """Write a term without its factor, weights and network."""
    return ":".join([kind, *(argument.written for argument in arguments)])


def _split_options(arguments: Sequence[Argument], written: str) -> tuple[list[str], TargetUse]:
    """Part names from the options after them."""
    names, options = list[str](), TargetUse(name="")
    n_options = 0
    for argument in arguments:
        option, equals, value = argument.text.partition("=")
        if argument.is_quoted or option not in _OPTIONS or bool(equals) != (option == "transpose"):
            if n_options:
                raise ObjectiveError(
                    f"objective {written!r}: {argument.text!r} is not an option; fold, hold and transpose=12 "
                    "are accepted"
                )
            names.append(argument.text)
            continue
        n_options += 1
        if option == "transpose":
            options = replace(options, transpose=_semitones(value, written))
        else:
            options = replace(
                options, fold=options.fold or option == "fold", hold=options.hold or option == "hold"
            )
    return names, options


def _semitones(text: str, written: str) -> int:
    try:
        semitones = int(text)
    except ValueError:
        semitones = 128
    if not -48 <= semitones <= 48:
        raise ObjectiveError(
            f"objective {written!r}: transpose={text}; whole semitones from -48 to 48 are accepted"
        )
    return semitones


def _has_keys(card: NetworkCard) -> None:
    if not card.keys:
        raise ObjectiveError(
            f"network {card.name!r} hears no notes; take `pitch`, which is shipped, `notes` or `crepe` "
            '(`reverie networks get notes`), as network = "pitch" or, for one term, pitch@chords:Am7|F'
        )


def _note_check(name: str) -> Callable[[NetworkCard], None]:
    def check(card: NetworkCard) -> None:
        _has_keys(card)
        try:
            class_index(name, card)
        except ClassNotFoundError:
            raise ClassNotFoundError(
                f"network {card.name!r} does not hear {name!r}; it hears {card.classes[0]} to "
                f"{card.classes[-1]}"
            ) from None

    return check


def _over_frames(heard: Activations, fold: bool) -> Tensor:
    """Return logits of keys, or of pitch classes, ``(items, patches, classes, frames)``."""
    logits = heard.layers[KEYS]
    logits = logits if logits.ndim == 4 else logits[..., None]
    if not fold:
        return logits
    groups = pitch_classes(heard.card.keys)
    return torch.stack([logits[:, :, group].logsumexp(dim=2) for group in groups], dim=2)


def _constant_score(heard: Activations, wanted: Tensor, *, fold: bool) -> Tensor:
    logits = _over_frames(heard, fold)
    return _score(logits, wanted[:, None].expand(*logits.shape[:2], -1, logits.shape[3]))


def _played_score(heard: Activations, use: TargetUse) -> Tensor:
    logits = _over_frames(heard, use.fold)
    n_frames = logits.shape[3]
    card, targets = heard.card, heard.targets[use]
    assert heard.starts_s is not None
    # Frames stand in the middle of what they hear; without frames a patch is one.
    frames = torch.arange(n_frames + 1, dtype=torch.float64)
    spans_s = (frames - 0.5) * card.frame_s if card.keys_layer else frames * card.patch_s
    rows = [
        torch.stack([targets.over(float(start) + spans_s) for start in item]) for item in heard.starts_s.cpu()
    ]
    return _score(logits, torch.stack(rows).to(logits))


def _score(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the score of each item.

    Args:
        logits: ``(items, patches, classes, frames)``.
        wanted: The same, 0..1.
    """
    total = wanted.sum(dim=2)
    share = wanted / total.clamp(min=1.0)[:, :, None]
    others = (1.0 - wanted).clamp(min=0.0)
    # As much as anything is wanted: a faint note pushes others away faintly.
    others = total.clamp(max=1.0)[:, :, None] * others / others.sum(dim=2, keepdim=True).clamp(min=1.0)
    found = torch.nn.functional.logsigmoid(logits) * share
    kept_out = torch.nn.functional.logsigmoid(-logits) * others
    return (found + _OTHERS * kept_out).sum(dim=2).mean(dim=(1, 2))
