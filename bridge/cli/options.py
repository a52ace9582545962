"""Arguments that several commands share, and the job they describe."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from bridge.clock.settings import ClockSettings
    from bridge.plan.job_list import Job

__all__ = [
    "AlignOption",
    "BpmOption",
    "DeviceOption",
    "FirstBarOption",
    "FormatOption",
    "JobsOption",
    "JsonOption",
    "MeterOption",
    "MidiOption",
    "MidisOption",
    "NameOption",
    "OffsetOption",
    "OnMissing",
    "OnMissingOption",
    "OutOption",
    "PatternOption",
    "PpqOption",
    "PresetOption",
    "RateOption",
    "SeedOption",
    "SetOption",
    "StemsArgument",
    "SubtypeOption",
    "TextMarkersOption",
    "ThreadsOption",
    "VariationOption",
    "VariationsOption",
    "clock_settings",
    "takes_job",
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
    list[str],
    typer.Option(
        "--preset", "-p", metavar="NAME|FILE", help="A preset by name, or a .toml file; may be repeated."
    ),
]
MidiOption = Annotated[
    Path | None,
    typer.Option("--midi", "-m", metavar="FILE", help="Tempo, meter, markers, notes and controller lanes."),
]
MidisOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--midi",
        "-m",
        metavar="FILE",
        help="Tempo, meter, markers, notes and controller lanes; repeated, each is a render of its own.",
    ),
]
BpmOption = Annotated[
    float | None, typer.Option("--bpm", metavar="BPM", help="A tempo that wins over the MIDI file's.")
]
MeterOption = Annotated[
    str | None, typer.Option("--meter", metavar="N/D", help="A meter that wins over the MIDI file's.")
]
OffsetOption = Annotated[
    float, typer.Option("--offset", metavar="SECONDS", help="Where the MIDI file starts in the stems.")
]
FirstBarOption = Annotated[
    int, typer.Option("--first-bar", metavar="N", help="Number of the first bar; 0 is a pick-up.")
]
PatternOption = Annotated[
    int | None,
    typer.Option("--pattern", metavar="N", min=1, help="Which track of a type 2 MIDI file, from 1."),
]
PpqOption = Annotated[
    int | None,
    typer.Option("--ppq", metavar="TICKS", min=1, help="Ticks a quarter note, where the MIDI file says 0."),
]
TextMarkersOption = Annotated[
    bool,
    typer.Option("--text-markers", help="Texts of the first MIDI track are markers, where it has none."),
]
AlignOption = Annotated[
    bool,
    typer.Option(
        "--align/--no-align",
        help="Stems are one session: one rate, start and length; or each file is on its own.",
    ),
]
RateOption = Annotated[
    int | None,
    typer.Option("--rate", metavar="HZ", help="Sample rate to render at; that of most stems by default."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="NODE.PARAM=VALUE", help="Change the preset; may be repeated."),
]
VariationOption = Annotated[
    str | None, typer.Option("--variation", metavar="NAME", help="One of the preset's variations.")
]
VariationsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--variation", metavar="NAME", help="One of the preset's variations; repeated, each is a render."
    ),
]
OutOption = Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="Where rendered stems go.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", "-d", metavar="DEVICE", help="auto, cpu, cuda; cuda:0,cuda:1 take stems in turn."
    ),
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Added to every seed in the preset.", min=0)
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        help="Threads on the CPU; one for every second core, at most eight.",
        min=1,
        max=256,
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="wav, aiff, flac, w64, caf or rf64; as each stem by default."
    ),
]
SubtypeOption = Annotated[
    str | None,
    typer.Option("--subtype", metavar="TYPE", help="16, 24, 32 or float; as each stem by default."),
]
NameOption = Annotated[
    str,
    typer.Option(
        "--name",
        metavar="TEMPLATE",
        help="Names of the outputs: reverie, pe-wing, or text with {stem}, {preset}, {variation}, {midi}, "
        "{bpm}, {rate_khz}, {bits}, {index}, {date}; \\[parts] without a value are left out.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", help="Stems rendered at the same time.", min=1)
]


def clock_settings(
    bpm: float | None,
    meter: str | None,
    offset_s: float,
    first_bar: int,
    pattern: int | None,
    ppq: int | None,
    text_markers: bool,
) -> ClockSettings:
    """Return what the options say of the song's time."""
    from bridge.clock.settings import ClockSettings, parse_meter

    return ClockSettings(
        bpm=bpm,
        meter=None if meter is None else parse_meter(meter, "--meter"),
        offset_s=offset_s,
        first_bar=first_bar,
        pattern=pattern,
        ppq=ppq,
        text_markers=text_markers,
    )


def takes_job(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every argument that describes a job; it is called with the `Job` in their place."""

    @functools.wraps(command)
    def with_arguments(**values: Any) -> None:
        job = _build_job(**{name: values.pop(name) for name in job_arguments})
        command(job, **values)

    job_arguments = inspect.signature(_build_job).parameters
    own = [p for name, p in inspect.signature(command).parameters.items() if name != "job"]
    hints = get_type_hints(_build_job, {**globals(), "Job": object}, include_extras=True)
    hints |= get_type_hints(command, {**command.__globals__, "Job": object}, include_extras=True)
    parameters = [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in job_arguments.values()]
    parameters += [p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY) for p in own]
    with_arguments.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_arguments.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_arguments


def _build_job(
    stems: StemsArgument,
    preset: PresetOption,
    out: OutOption,
    midi: MidisOption = None,
    bpm: BpmOption = None,
    meter: MeterOption = None,
    offset_s: OffsetOption = 0.0,
    first_bar: FirstBarOption = 1,
    pattern: PatternOption = None,
    ppq: PpqOption = None,
    text_markers: TextMarkersOption = False,
    align: AlignOption = True,
    rate: RateOption = None,
    settings: SetOption = None,
    variation: VariationsOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    format: FormatOption = None,  # noqa: A002 - the name of the option
    subtype: SubtypeOption = None,
    name: NameOption = "reverie",
    on_missing: OnMissingOption = OnMissing.FAIL,
) -> Job:
    # The arguments are called what a job's keys are called.
    given = {key: value for key, value in locals().items() if value is not None}
    from bridge.plan.job_list import parse_job

    return parse_job(given, "command line")
