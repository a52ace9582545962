"""Labels merged, and recordings dropped that are not wanted."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bridge.datasets.table import Recording
from bridge.errors import InputError, nearest_names

__all__ = ["ADD10", "Vetting", "read_drops", "read_map"]

DROP_KEYS: Final = ("label", "group", "source", "split", "pitch", "velocity", "licence")

_REED = ("bass clarinet", "bassoon", "clarinet", "contrabassoon", "cor anglais", "oboe", "saxophone", "reed")
_STRING = ("viola", "violin", "cello", "double bass", "string")
_BRASS = ("french horn", "trombone", "trumpet", "tuba", "brass")
_GUITAR = ("guitar", "acoustic guitar", "electric guitar")

ADD10: Final[Mapping[str, str]] = {
    **dict.fromkeys(_REED, "reed"),
    **dict.fromkeys(_STRING, "string"),
    **dict.fromkeys(_BRASS, "brass"),
    **dict.fromkeys(_GUITAR, "guitar"),
    **dict.fromkeys(("keyboard", "piano"), "piano"),
    **dict.fromkeys(("synth lead", "synth"), "synth"),
    **dict.fromkeys(("voice", "vocal"), "vocal"),
    "bass": "bass",
    "flute": "flute",
    "organ": "organ",
    **dict.fromkeys(("banjo", "mandolin", "mallet", "percussion"), ""),
}
"""The ten classes of "Auditory DeepDreamer" (2022); an empty class is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vetting:
    """Say which recordings stay, and what they are called.

    Args:
        classes: The class of each label, empty to leave it out; None keeps all labels.
        drops: Recordings that fit all pairs of one of these are left out, by the names that were published.
    """

    classes: Mapping[str, str] | None = None
    drops: Sequence[Mapping[str, str]] = ()

    def apply(self, recording: Recording) -> Recording | str:
        """Return a recording under its class, or why it is left out.

        >>> from pathlib import Path
        >>> kept = Vetting(classes=ADD10).apply(Recording(path=Path("a"), label="cor-anglais", group="a"))
        >>> kept.label
        'reed'
        """
        for drop in self.drops:
            if all(plain_name(str(getattr(recording, key))) == value for key, value in drop.items()):
                return f"dropped: {','.join(f'{key}={value}' for key, value in drop.items())}"
        if self.classes is None:
            return recording
        label = plain_name(recording.label)
        if label not in self.classes:
            return f"the map has no class for {recording.label}"
        if not self.classes[label]:
            return f"the map leaves out {recording.label}"
        return replace(recording, label=self.classes[label])


def plain_name(text: str) -> str:
    """Return a name without what data sets differ in: case, hyphens, underscores.

    >>> plain_name("Synth_Lead"), plain_name("french-horn")
    ('synth lead', 'french horn')
    """
    return " ".join(text.casefold().replace("_", " ").replace("-", " ").split())


def read_map(name: str) -> dict[str, str]:
    """Read a map of labels to classes: ``add10``, which is built in, or TOML with ``"cor anglais" = "reed"``.

    Raises:
        InputError: It is neither.
    """
    if name == "add10":
        return dict(ADD10)
    path = Path(name)
    try:
        lines = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"--map {name}: no such file, and the one map built in is add10") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: is no map in TOML: {error}") from None
    wrong = [key for key, value in lines.items() if not isinstance(value, str)]
    if wrong or not lines:
        raise InputError(
            f'{path}: {", ".join(wrong) or "it is empty"}: a map has lines as "cor anglais" = "reed", '
            'with "" for labels to leave out'
        )
    return {plain_name(key): str(value) for key, value in lines.items()}


def read_drops(texts: Sequence[str]) -> list[dict[str, str]]:
    """Read what is to be dropped.

    Raises:
        InputError: A text is no ``KEY=VALUE,KEY=VALUE``.

    >>> read_drops(["source=synthetic,label=guitar"])
    [{'source': 'synthetic', 'label': 'guitar'}]
    """
    drops = []
    for text in texts:
        pairs = [pair.partition("=") for pair in text.split(",")]
        for key, equals, _ in pairs:
            if not equals or key.strip() not in DROP_KEYS:
                told = nearest_names(key.strip(), DROP_KEYS)
                raise InputError(
                    f"--drop {text}: pairs of KEY=VALUE are needed, of a table's columns; {told}"
                )
        drops.append({key.strip(): plain_name(value) for key, _, value in pairs})
    return drops
