"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["JobsOption", "JsonOption", "MidiOption", "SeedOption", "SetOption", "VariationOption"]

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
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Added to every seed in the preset.", min=0)
]
