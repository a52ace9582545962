"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from bridge.cli.console import note

__all__ = [
    "AddedChoice",
    "JobsOption",
    "JsonOption",
    "MidiOption",
    "OriginalChoice",
    "SeedOption",
    "SetOption",
    "TrustOption",
    "VariationOption",
    "ask_for_trust",
]

T = TypeVar("T")


class OriginalChoice(StrEnum):
    """What becomes of a source track."""

    MUTE = "mute"
    KEEP = "keep"
    REPLACE = "replace"


class AddedChoice(StrEnum):
    """What a stem becomes."""

    TRACKS = "tracks"
    TAKES = "takes"


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", help="Stems rendered at the same time.", min=1)
]
MidiOption = Annotated[
    Path | None,
    typer.Option("--midi", "-m", metavar="FILE", help="Tempo, meter, markers, notes and controller lanes."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NODE.PARAM=VALUE", help="Change the preset; may be repeated."),
]
VariationOption = Annotated[
    str | None, typer.Option("--variation", metavar="NAME", help="One of the preset's variations.")
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Let presets load plugins from outside the plugin folders, and files from outside their own.",
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Added to every seed in the preset.", min=0)
]


def ask_for_trust(call: Callable[[bool], T], trust: bool) -> T:
    """Call something that may want trust; on a terminal the user is asked where it does.

    Raises:
        UntrustedError: It wants trust and does not have it.
    """
    from bridge.errors import UntrustedError

    try:
        return call(trust)
    except UntrustedError as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        note(f"reverie: {error}")
        if not typer.confirm("Do you trust it?", err=True):
            raise
        return call(True)
