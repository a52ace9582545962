"""Arguments that several commands share, and the plan they describe."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BpmOption",
    "DeviceOption",
    "JsonOption",
    "MidiOption",
    "NameOption",
    "OnMissing",
    "OnMissingOption",
    "OutOption",
    "PresetOption",
    "SeedOption",
    "SetOption",
    "StemsArgument",
    "SubtypeOption",
    "ThreadsOption",
    "VariationOption",
]


class OnMissing(StrEnum):
    """What a plugin that is not installed means."""

    FAIL = "fail"
    BYPASS = "bypass"


OnMissingOption = Annotated[
    OnMissing, typer.Option("--on-missing", help="What a plugin that is not installed means.")
]
StemsArgument = Annotated[
    list[Path], typer.Argument(metavar="STEM|FOLDER...", help="Audio files, and folders of them.")
]
PresetOption = Annotated[
    str, typer.Option("--preset", "-p", metavar="NAME|FILE", help="A preset by name, or a .toml file.")
]
MidiOption = Annotated[
    Path | None,
    typer.Option("--midi", "-m", metavar="FILE", help="Tempo, meter, markers, notes and controller lanes."),
]
BpmOption = Annotated[
    float | None, typer.Option("--bpm", metavar="BPM", help="A tempo that wins over the MIDI file's.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NODE.PARAM=VALUE", help="Change the preset; may be repeated."),
]
VariationOption = Annotated[
    str | None, typer.Option("--variation", metavar="NAME", help="One of the preset's variations.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where rendered stems go.")]
DeviceOption = Annotated[
    str, typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Added to every seed in the preset.", min=0)
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", help="Threads on the CPU; one a core, at most eight.", min=1, max=256
    ),
]
SubtypeOption = Annotated[
    str | None,
    typer.Option(
        "--subtype", metavar="TYPE", help="PCM_16, PCM_24, PCM_32 or FLOAT; as each stem by default."
    ),
]
NameOption = Annotated[
    str,
    typer.Option(
        "--name",
        metavar="TEMPLATE",
        help="Names of the outputs: reverie, pe-wing, or text with {stem}, {preset}, {variation}, {bpm}, "
        "{rate_khz}, {bits}, {index}, {date}; [parts] without a value are left out.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
