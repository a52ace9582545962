"""Options made from the records they fill: a job, or what is said of the song's clock.

Type, default, limits and help of an option are those of its field in `Job` and `ClockSettings`; here is only
how it is spelt. A command takes all of them at once: `takes_job` and `takes_clock` call it with the record.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from bridge.clock.settings import ClockSettings
from bridge.plan.job import Job, parse_job

__all__ = ["takes_clock", "takes_job"]

_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "stems": (),
    "preset": ("--preset", "-p"),
    "out_dir": ("--out", "-o"),
    "midi": ("--midi", "-m"),
    "session": ("--session",),
    "track": ("--track",),
    "bus": ("--bus",),
    "auto_clock": ("--auto-clock",),
    "bpm": ("--bpm",),
    "meter": ("--meter",),
    "offset_s": ("--offset",),
    "first_bar": ("--first-bar",),
    "pattern": ("--pattern",),
    "ppq": ("--ppq",),
    "text_markers": ("--text-markers",),
    "align": ("--align/--no-align",),
    "sample_rate": ("--rate",),
    "settings": ("--set", "-s"),
    "variation": ("--variation",),
    "device": ("--device", "-d"),
    "seed": ("--seed",),
    "threads": ("--threads",),
    "file_format": ("--format",),
    "subtype": ("--subtype",),
    "name_template": ("--name",),
    "ladder": ("--ladder",),
    "start": ("--from",),
    "end": ("--to",),
    "bars": ("--bars",),
    "crop": ("--crop",),
    "on_missing": ("--on-missing",),
}
"""Every field of a job in the order of the help, and its option; none is an argument."""

_METAVARS: Mapping[str, str] = {
    "stems": "STEM|FOLDER...",
    "preset": "NAME|FILE",
    "out_dir": "DIR",
    "midi": "FILE",
    "session": "FILE",
    "track": "NAME|GLOB",
    "bus": "NAME=TRACK,...",
    "bpm": "BPM",
    "meter": "N/D",
    "offset_s": "SECONDS",
    "first_bar": "N",
    "pattern": "N",
    "ppq": "TICKS",
    "sample_rate": "HZ",
    "settings": "NODE.PARAM=VALUE",
    "variation": "NAME",
    "device": "DEVICE",
    "seed": "N",
    "threads": "N",
    "file_format": "NAME",
    "subtype": "TYPE",
    "name_template": "TEMPLATE",
    "ladder": "STEPS,STEPS...",
    "start": "PLACE",
    "end": "PLACE",
    "bars": "N-N",
}


def takes_job(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of a job; it is called with the `Job` in their place."""

    def build(given: Mapping[str, Any]) -> Job:
        keys = {name: field.alias or name for name, field in Job.model_fields.items()}
        return parse_job({keys[name]: value for name, value in given.items()}, "command line")

    return _with_options(command, "job", _SPELLINGS, Job.model_fields, build)


def takes_clock(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what can be said of a song's time; it is called with `ClockSettings` in their place."""
    names = [name for name in _SPELLINGS if name in ClockSettings.model_fields]
    return _with_options(
        command, "clock", names, ClockSettings.model_fields, lambda given: ClockSettings(**given)
    )


def _with_options(
    command: Callable[..., None],
    record: str,
    names: Iterable[str],
    fields: Mapping[str, FieldInfo],
    build: Callable[[Mapping[str, Any]], object],
) -> Callable[..., None]:
    """Put options in the place of one parameter of a command."""
    options = [_option(name, fields[name]) for name in names]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        given = {option.name: values.pop(option.name) for option in options}
        built = build({name: value for name, value in given.items() if value is not None})
        command(**{record: built}, **values)

    hints = get_type_hints(
        command, {**command.__globals__, "Job": Job, "ClockSettings": ClockSettings}, include_extras=True
    )
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        own = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        parameters += options if name == record else [own]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return the option of a field, as a parameter that Typer reads."""
    limits = {
        word: getattr(one, attribute)
        for one in field.metadata
        for word, attribute in (("min", "ge"), ("max", "le"))
        if hasattr(one, attribute)
    }
    # Typer reads [parts] as markup.
    text = (field.description or "").replace("[", r"\[")
    kind = _kind(name, field.annotation)
    facts: dict[str, Any] = {"help": text, "metavar": _METAVARS.get(name), **limits}
    told = typer.Option(*_SPELLINGS[name], **facts) if _SPELLINGS[name] else typer.Argument(**facts)
    default: Any = inspect.Parameter.empty if field.is_required() else field.default
    if default == () or default is None:
        kind, default = kind | None, None
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        default = kind(default)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, told]
    )


def _kind(name: str, annotation: Any) -> Any:
    """Return what Typer shall read for a field's type."""
    if name in (
        "bpm",
        "meter",
        "out_dir",
        "ladder",
    ):  # read by the field itself: as a path, '' would be this folder
        return str
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (one for one in get_args(annotation) if one is not type(None))
    if get_origin(annotation) is tuple:
        return list[str]
    if get_origin(annotation) is Literal:
        return StrEnum(name, {word.upper(): word for word in get_args(annotation)})
    return annotation
