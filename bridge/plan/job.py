"""A job: what to render, as a job list says it and the command line's options do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from bridge.clock.settings import ClockSettings
from bridge.errors import PlanError, TempoError, nearest_names

__all__ = ["Job", "parse_job"]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("is empty; '.' is this folder")
    if "\0" in str(value):
        raise ValueError("a file name cannot hold a NUL character")
    return value


def _read_ladder(value: object) -> object:
    """Read depths as they are written, ``1,2,5``; in a list of jobs also as a list or one number."""
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isdecimal() for part in parts):
            raise ValueError("whole numbers of steps with commas between are accepted, as 1,2,5,10")
        return [int(part) for part in parts]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _in_order(depths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(depths)))


Ladder = Annotated[
    tuple[Annotated[int, Field(ge=1, le=100)], ...], BeforeValidator(_read_ladder), AfterValidator(_in_order)
]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Paths = Annotated[tuple[Annotated[Path, BeforeValidator(_not_empty)], ...], BeforeValidator(_listed)]


class Job(ClockSettings):
    """What to render: every stem through every preset, variation and MIDI file named.

    Its keys are those of a job list and, but for short spellings, the options of ``reverie render``; the
    attributes are called as :func:`bridge.build_plan` calls them.

    >>> Job(stems="drums.wav", preset="lucid-bloom", out="out").seed
    0
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    stems: Paths = Field(min_length=1, description="Audio files, and folders of them.")
    preset: Texts = Field(min_length=1, description="A preset by name, or a .toml file; one render each.")
    out_dir: Annotated[Path, BeforeValidator(_not_empty)] = Field(
        alias="out", description="Where rendered stems go."
    )
    midi: Paths = Field(
        default=(),
        description="Tempo, meter, markers, notes and controller lanes; several files give one render each.",
    )
    session: Annotated[Path | None, BeforeValidator(_not_empty)] = Field(
        default=None,
        description="A session (.rpp, .dawproject, .als) beside stems: its clock, notes and automation.",
    )
    track: Texts = Field(
        default=(), description="Of a session in the place of stems: tracks to render, by name or as Drum*."
    )
    bus: Texts = Field(
        default=(), description="Tracks summed into one stem: NAME=TRACK,TRACK, or the name of a group."
    )
    auto_clock: bool = Field(
        default=False, description="Take the song's time from the MIDI or session file beside the stems."
    )
    align: bool = Field(
        default=True,
        description="Treat stems as one session (same rate, start and length), or each file on its own.",
    )
    sample_rate: int | None = Field(
        default=None,
        alias="rate",
        ge=8_000,
        le=768_000,
        description="Sample rate to render at, in Hz; that of most stems by default.",
    )
    settings: Texts = Field(default=(), description="Changes to the preset, as node.param=value.")
    variation: Texts = Field(
        default=(), description="One of the presets' variations, '' for none; one render each."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda; cuda:0,cuda:1 take stems in turn.")
    threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Threads on the CPU; one for every second core, at most eight, by default.",
    )
    seed: int = Field(default=0, ge=0, description="Added to every seed in the preset.")
    file_format: str | None = Field(
        default=None,
        alias="format",
        description="wav, aiff, flac, w64, caf or rf64; as each stem by default.",
    )
    subtype: str | None = Field(default=None, description="16, 24, 32 or float; as each stem by default.")
    name_template: str = Field(
        default="reverie",
        alias="name",
        description="Names of the outputs: reverie, pe-wing, or text with {stem}, {preset}, {variation}, "
        "{midi}, {bpm}, {rate_khz}, {bits}, {index}, {date}; [parts] without a value are left out.",
    )
    ladder: Ladder = Field(
        default=(),
        description="Deliver each stem at these depths too, as 1,2,5,10: in whole steps of its last dream.",
    )
    start: str | None = Field(
        default=None,
        alias="from",
        description="Render from here on: 9:1, @Drop, 12.5 (seconds); with it what comes before is heard.",
    )
    end: str | None = Field(default=None, alias="to", description="Render up to here, likewise, or end.")
    bars: str | None = Field(default=None, description="Render these bars, as 9-16.")
    crop: bool = Field(
        default=False, description="Let outputs begin with the section, instead of with the song."
    )
    on_missing: Literal["fail", "bypass"] = Field(
        default="fail", description="What to do if a plugin is not installed."
    )

    @classmethod
    def list_keys(cls) -> dict[str, FieldInfo]:
        """Return what a job list may say, by its keys."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    @property
    def clock(self) -> ClockSettings:
        """What the job says of the song's time."""
        return ClockSettings(**{name: getattr(self, name) for name in ClockSettings.model_fields})

    def beside(self, folder: Path) -> Job:
        """Return the job with its paths taken from a folder."""
        return self.model_copy(
            update={
                "stems": tuple(folder / path for path in self.stems),
                "midi": tuple(folder / path for path in self.midi),
                "session": None if self.session is None else folder / self.session,
                "out_dir": folder / self.out_dir,
                "preset": tuple(
                    str(folder / name) if name.endswith((".toml", ".json")) else name for name in self.preset
                ),
            }
        )


def parse_job(data: Mapping[str, Any], where: str) -> Job:
    """Build a job from plain data.

    Args:
        data: By the keys of a job list.
        where: Put at the start of errors.

    Raises:
        PlanError: Keys or values are wrong; all of them are named.
    """
    keys = Job.list_keys()
    unknown = [key for key in data if key not in keys]
    mistakes = [f"no key {key!r}; {nearest_names(key, keys)}" for key in unknown]
    try:
        job = Job.model_validate({key: value for key, value in data.items() if key in keys})
    except TempoError as error:
        mistakes.append(str(error))
    except ValidationError as error:
        for item in error.errors():
            key = str(item["loc"][0])
            if item["type"] == "missing":
                mistakes.append(f"{key!r} is missing: {(keys[key].description or '').rstrip('.')}")
            else:
                said = item["msg"].removeprefix("Value error, ").lower()
                mistakes.append(f"{key} = {item['input']!r}: {said}")
    if mistakes:
        raise PlanError(f"{where}: {'; '.join(mistakes)}")
    return job
