"""Job lists: stems times presets times variations times MIDI files, in a TOML or CSV file, become plans.

A TOML list holds ``[[jobs]]``; keys above them are defaults for all. A CSV list holds one job a line, under a
header of the same keys; several values in a cell are separated by ``;``. Paths are relative to the list.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bridge.errors import InputError, OutputError, PlanError
from bridge.files import check_names
from bridge.plan.find_stems import find_stems
from bridge.plan.job import Job, parse_job
from bridge.plan.model import Plan
from bridge.plan.output_names import manifest_path, stem_outputs
from bridge.plan.planner import build_plan
from bridge.plan.section import read_section
from bridge.plan.session_stems import STEMS_FOLDER, OpenSession, find_clock, is_session, open_session
from bridge.presets.documents import parse_document, read_text
from bridge.presets.toml_lines import find_line

__all__ = ["build_batch", "build_plans", "read_jobs", "session_of"]

_MAX_MISTAKES: Final = 10


def build_plans(job: Job, *, trust: bool = False, session_folder: Path | None = None) -> Iterator[Plan]:
    """Build a plan for every preset, variation and MIDI file of a job.

    Args:
        job: What to render.
        trust: Whether presets may reach outside their folders; a job list cannot say so itself.
        session_folder: Where the tracks of a session are written as stems; None is a folder in that of the
            outputs.

    Raises:
        InputError: Anything given cannot be used.
    """
    job, opened = _open_session(job, session_folder)
    for preset, variation, midi in itertools.product(job.preset, job.variation or ("",), job.midi or (None,)):
        yield build_plan(
            job.stems,
            preset,
            out_dir=job.out_dir,
            midi=midi,
            session=None if opened is None else opened.source,
            notes=() if opened is None else opened.warnings,
            clock=job.clock,
            align=job.align,
            sample_rate=job.sample_rate,
            settings=job.settings,
            variation=variation or None,
            device=job.device,
            threads=job.threads,
            seed=job.seed,
            file_format=job.file_format,
            subtype=job.subtype,
            name_template=job.name_template,
            ladder=job.ladder,
            section=read_section(job.start, job.end, job.bars),
            crop=job.crop,
            on_missing=job.on_missing,
            trust=trust,
        )


def _open_session(job: Job, folder: Path | None) -> tuple[Job, OpenSession | None]:
    """Open the session a job is of, or has beside its stems; its tracks take its place among the stems."""
    sessions = [path for path in job.stems if is_session(path)]
    if sessions and (len(job.stems) > 1 or job.session is not None):
        raise PlanError(
            f"{sessions[0]}: a session takes the place of stems, so it is given alone; beside stems "
            "give it with --session"
        )
    if sessions:
        # A folder each: two songs have a track of one name, and each song's renders need their own.
        place = (job.out_dir / STEMS_FOLDER if folder is None else folder) / sessions[0].stem
        opened = open_session(
            sessions[0], place, tracks=job.track, buses=job.bus, sample_rate=job.sample_rate
        )
        return job.model_copy(update={"stems": opened.stems}), opened
    if job.auto_clock and job.session is None and not job.midi:
        found = find_clock(find_stems(job.stems))
        if found is None:
            raise PlanError(
                "--auto-clock: no single MIDI or session file lies beside the stems; give one with --midi or "
                "--session"
            )
        job = job.model_copy(update={"session": found} if is_session(found) else {"midi": (found,)})
    if job.session is None:
        if job.track or job.bus:
            raise PlanError(
                "--track and --bus choose tracks of a session: give a session in the place of stems"
            )
        return job, None
    return job, open_session(job.session, None, tracks=job.track, buses=job.bus)


def session_of(job: Job) -> Path | None:
    """Return the session a job is of: in the place of its stems, given beside them, or found there."""
    given = next(filter(is_session, job.stems), job.session)
    if given is None and job.auto_clock and not job.midi:
        found = find_clock(find_stems(job.stems))
        return found if found is not None and is_session(found) else None
    return given


def build_batch(
    jobs: Sequence[Job], *, trust: bool = False, session_folder: Path | None = None
) -> tuple[Plan, ...]:
    """Build the plans of jobs, and see to it that none gets in the way of another.

    Jobs that differ in their stems alone become one plan.

    Args:
        jobs: What to render.
        trust: Whether presets may reach outside their folders.
        session_folder: As in `build_plans`.

    Raises:
        InputError: A job cannot be used, or two would write to one file.
    """
    plans: dict[Path, Plan] = {}
    for number, job in enumerate(jobs, start=1):
        try:
            for plan in build_plans(job, trust=trust, session_folder=session_folder):
                path = manifest_path(plan)
                plans[path] = plan if path not in plans else _joined(plans[path], plan)
        except InputError as error:
            if len(jobs) == 1:
                raise
            raise type(error)(f"job {number}: {error}") from None
    check_names(
        (f"{Path(stem.source).name} ({plan.name})", path)
        for plan in plans.values()
        for stem in plan.stems
        for path in stem_outputs(stem, plan.ladder).values()
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
        PlanError: It cannot be read, or keys or values in it are wrong; the message names the lines.
    """
    path = Path(path)
    text = read_text(path, "job list", PlanError)
    if path.suffix.lower() not in (".toml", ".csv"):
        raise PlanError(f"{path}: a job list is a .toml or a .csv file")
    rows = _toml_rows(text, path) if path.suffix.lower() == ".toml" else _csv_rows(text, path)
    jobs: list[Job] = []
    mistakes: list[str] = []
    for data, where in rows:
        try:
            jobs.append(parse_job(data, where).beside(path.parent))
        except PlanError as error:
            mistakes.append(str(error))
    if mistakes:
        raise PlanError("; ".join(mistakes[:_MAX_MISTAKES]) + _more(len(mistakes) - _MAX_MISTAKES))
    if not jobs:
        raise PlanError(f"{path}: holds no jobs; a .toml list has [[jobs]], a .csv list lines below a header")
    return tuple(jobs)


def _more(n_left: int) -> str:
    return f" (and {n_left} more)" if n_left > 0 else ""


def _toml_rows(text: str, path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    data = parse_document(text, path, PlanError)
    jobs = data.pop("jobs", [])
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise PlanError(f"{path}: jobs are written as [[jobs]], one table a job")
    for index, job in enumerate(jobs):
        wrong = next((key for key in job if key not in Job.list_keys()), None)
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
    is_many = name in ("stems", "preset", "variation", "midi", "settings", "track", "bus")
    return [part.strip() for part in cell.split(";")] if is_many else cell.strip()
