"""Job lists: stems times presets times variations times MIDI files, in a TOML or CSV file, become plans.

A TOML list holds ``[[jobs]]``; keys above them are defaults for all. A CSV list holds one job a line, under a
header of the same keys; several values in a cell are separated by ``;``. Paths are relative to the list.
"""

from __future__ import annotations

import csv
import io
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bridge.clock.settings import ClockSettings, parse_meter
from bridge.errors import InputError, OutputError, PlanError, nearest_names
from bridge.files import check_names
from bridge.plan.model import Plan
from bridge.plan.output_names import manifest_path
from bridge.plan.planner import build_plan
from bridge.presets.toml_lines import find_line

__all__ = ["Job", "build_batch", "parse_job", "read_jobs"]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("is empty; '.' is this folder")
    return value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]


class Job(BaseModel):
    """What to render: every stem through every preset, variation and MIDI file named.

    The keys mean what the options of ``reverie render`` mean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stems: Paths = Field(min_length=1, description="Audio files, and folders of them.")
    preset: Texts = Field(min_length=1, description="Presets by name, or .toml files.")
    out: Annotated[Path, BeforeValidator(_not_empty)] = Field(description="Where rendered stems go.")
    variation: Texts = Field(default=(), description="Variations of the presets; '' is the preset itself.")
    midi: Paths = Field(default=(), description="MIDI files; each is a render of its own.")
    bpm: float | None = Field(default=None, gt=0, description="A tempo that wins over the MIDI file's.")
    meter: str | None = Field(default=None, description="A meter that wins over the MIDI file's: 7/8.")
    offset_s: float = Field(default=0.0, description="Where the MIDI file starts in the stems, in seconds.")
    first_bar: int = Field(default=1, description="Number of the first bar; 0 is a pick-up.")
    pattern: int | None = Field(default=None, ge=1, description="Which track of a type 2 MIDI file.")
    ppq: int | None = Field(default=None, ge=1, description="Ticks a quarter note, where the file says 0.")
    text_markers: bool = Field(
        default=False, description="Texts of the first MIDI track are markers, where it has none."
    )
    align: bool = Field(default=True, description="Whether the stems are one session.")
    rate: int | None = Field(
        default=None, ge=8_000, le=768_000, description="Sample rate to render at, in Hz."
    )
    settings: Texts = Field(default=(), description="node.param=value changes to the preset.")
    device: str = Field(default="auto", description="auto, cpu, cuda:0, or several with commas between.")
    threads: int | None = Field(default=None, ge=1, le=256)
    seed: int = Field(default=0, ge=0)
    format: str | None = Field(default=None, description="wav, aiff, flac, w64, caf or rf64.")
    subtype: str | None = Field(default=None, description="16, 24, 32 or float.")
    name: str = Field(default="reverie", description="Template of the outputs' names.")
    on_missing: Literal["fail", "bypass"] = "fail"

    def clock(self) -> ClockSettings:
        """Return what the job says of the song's time.

        Raises:
            TempoError: Not a meter.
        """
        return ClockSettings(
            bpm=self.bpm,
            meter=None if self.meter is None else parse_meter(self.meter, "meter"),
            offset_s=self.offset_s,
            first_bar=self.first_bar,
            pattern=self.pattern,
            ppq=self.ppq,
            text_markers=self.text_markers,
        )

    def build_plans(self) -> Iterator[Plan]:
        """Build a plan for every preset, variation and MIDI file.

        Raises:
            InputError: Anything given cannot be used.
        """
        for preset, variation, midi in itertools.product(
            self.preset, self.variation or ("",), self.midi or (None,)
        ):
            yield build_plan(
                self.stems,
                preset,
                out_dir=self.out,
                midi=midi,
                clock=self.clock(),
                align=self.align,
                sample_rate=self.rate,
                settings=self.settings,
                variation=variation or None,
                device=self.device,
                threads=self.threads,
                seed=self.seed,
                file_format=self.format,
                subtype=self.subtype,
                name_template=self.name,
                on_missing=self.on_missing,
            )

    def beside(self, folder: Path) -> Job:
        """Return the job with its paths taken from a folder."""
        return self.model_copy(
            update={
                "stems": tuple(folder / path for path in self.stems),
                "midi": tuple(folder / path for path in self.midi),
                "out": folder / self.out,
                "preset": tuple(
                    str(folder / name) if name.endswith((".toml", ".json")) else name for name in self.preset
                ),
            }
        )


def build_batch(jobs: Sequence[Job]) -> tuple[Plan, ...]:
    """Build the plans of jobs, and see to it that none gets in the way of another.

    Jobs that differ in their stems alone become one plan.

    Raises:
        InputError: A job cannot be used, or two would write to one file.
    """
    plans: dict[Path, Plan] = {}
    for number, job in enumerate(jobs, start=1):
        try:
            for plan in job.build_plans():
                path = manifest_path(plan)
                plans[path] = plan if path not in plans else _joined(plans[path], plan)
        except InputError as error:
            if len(jobs) == 1:
                raise
            raise type(error)(f"job {number}: {error}") from None
    check_names(
        (f"{Path(stem.source).name} ({plan.name})", Path(stem.target))
        for plan in plans.values()
        for stem in plan.stems
    )
    return tuple(plans.values())


def _joined(plan: Plan, other: Plan) -> Plan:
    if plan.settings_digest() != other.settings_digest():
        raise OutputError(
            f"{plan.out_dir}: two jobs render {plan.name!r} into this folder with other settings. "
            "Give each a folder of its own with `out`"
        )
    twice = {stem.name for stem in plan.stems} & {stem.name for stem in other.stems}
    if twice:
        raise OutputError(
            f"{plan.out_dir}: two jobs render a stem {min(twice)!r} with {plan.name!r} into this folder. "
            "Rename one of the stems, or give each job a folder of its own with `out`"
        )
    return plan.with_stems(other.stems)


def read_jobs(path: Path | str) -> tuple[Job, ...]:
    """Read a job list.

    Args:
        path: A ``.toml`` or ``.csv`` file.

    Raises:
        PlanError: It cannot be read, or a key or value in it is wrong; the message names the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PlanError(f"{path}: no such job list") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: cannot be read as text ({error})") from None
    if path.suffix.lower() not in (".toml", ".csv"):
        raise PlanError(f"{path}: a job list is a .toml or a .csv file")
    rows = _toml_rows(text, path) if path.suffix.lower() == ".toml" else _csv_rows(text, path)
    jobs = tuple(parse_job(data, where).beside(path.parent) for data, where in rows)
    if not jobs:
        raise PlanError(f"{path}: holds no jobs; a .toml list has [[jobs]], a .csv list lines below a header")
    return jobs


def _toml_rows(text: str, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: not valid TOML: {error}") from None
    jobs = data.pop("jobs", [])
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise PlanError(f"{path}: jobs are written as [[jobs]], one table a job")
    for index, job in enumerate(jobs):
        wrong = next((key for key in job if key not in Job.model_fields), None)
        place = ("jobs", index) if wrong is None else ("jobs", index, wrong)
        yield {**data, **job}, f"{path}:{find_line(text, place)}"


def _csv_rows(text: str, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{path}:{reader.line_num}"
            if len(cells) != len(header):
                raise PlanError(f"{where}: has {len(cells)} cells under a header of {len(header)}")
            yield {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True) if cell}, where
    except csv.Error as error:
        raise PlanError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None


def _cell(name: str, cell: str) -> object:
    is_many = name in ("stems", "preset", "variation", "midi", "settings")
    return [part.strip() for part in cell.split(";")] if is_many else cell.strip()


def parse_job(data: Mapping[str, Any], where: str) -> Job:
    """Build a job from plain data.

    Args:
        data: By the keys of `Job`.
        where: Put at the start of errors.

    Raises:
        PlanError: A key or value is wrong.
    """
    try:
        return Job.model_validate(data)
    except ValidationError as error:
        # A misspelt key is also missing under its right name: the misspelling says more.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        key = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        raise PlanError(f"{where}: no key {key!r}; {nearest_names(key, Job.model_fields)}")
    if first["type"] == "missing":
        raise PlanError(f"{where}: {key!r} is missing: {Job.model_fields[key].description}")
    raise PlanError(
        f"{where}: {key} = {first['input']!r}: {first['msg'].removeprefix('Value error, ').lower()}"
    )
