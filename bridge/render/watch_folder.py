"""Render whatever is put into folders, for as long as it is asked.

Every file has a manifest of its own beside its render, so what is finished is known after any end, and only
what is missing or has changed is rendered. A file that cannot be used is told of and does not end it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bridge.audio.reader import read_info
from bridge.errors import InputError, OutputError, ReverieError
from bridge.files import write_whole
from bridge.installation import unloadable_package
from bridge.plan.find_stems import resolve_path
from bridge.plan.job import Job
from bridge.plan.job_list import build_batch
from bridge.plan.model import Plan
from bridge.plan.output_names import manifest_path, stem_outputs
from bridge.plan.planner import check_preset
from bridge.presets.load import load_preset
from bridge.presets.overrides import apply_settings
from bridge.render.manifest import StemRecord, read_manifest
from bridge.render.progress import Progress
from bridge.render.results import StemResult
from bridge.render.resume import is_replaceable
from bridge.render.runner import render_plans
from bridge.render.settled_files import SettledFiles, wakes

__all__ = ["WatchEvent", "check_watch", "watch_folders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """Say what became of a file.

    Args:
        path: The file.
        status: ``waits`` until it is whole, ``done``, ``kept`` (finished earlier) or ``failed``.
        error: Why it failed, in one line.
        result: Its render, where there is one.
        warnings: What the user should know.
    """

    path: Path
    status: Literal["waits", "done", "kept", "failed"]
    error: str = ""
    result: StemResult | None = None
    warnings: tuple[str, ...] = ()


def check_watch(job: Job, *, trust: bool = False) -> None:
    """Refuse at once what would fail every file.

    Raises:
        InputError: A folder is none, renders would be rendered again, or a preset or setting is wrong.
    """
    for folder in job.stems:
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; name the one that files are bounced into")
        if resolve_path(folder) == resolve_path(job.out_dir):
            raise OutputError(f"{folder}: renders would be rendered again; choose another --out")
    if job.track or job.bus:
        raise InputError("--track and --bus are of sessions, and files are watched for here")
    for preset, variation in itertools.product(job.preset, job.variation or ("",)):
        check_preset(apply_settings(load_preset(preset, trust=trust), job.settings, variation or None))


def watch_folders(
    job: Job,
    *,
    settle_s: float = 2.0,
    is_once: bool = False,
    trust: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[WatchEvent]:
    """Render the audio files in folders, and those that come or change, until the caller stops asking.

    Args:
        job: What to do with each; its stems are the folders.
        settle_s: How long a file must have stood still to count as whole, in seconds.
        is_once: Whether it ends when all that is there is done.
        trust: Whether presets may reach outside their folders.
        on_progress: Called as renders get on.

    Yields:
        What becomes of each file.

    Raises:
        InputError: As `check_watch`.
        OSError: A folder is gone.
    """
    check_watch(job, trust=trust)
    folders = [resolve_path(folder) for folder in job.stems]
    files = SettledFiles(folders, settle_s)
    told: set[Path] = set()
    for _ in wakes(folders, files):
        ready = files.look(time.monotonic())
        for path in (path for path in files.waiting if path not in told):
            yield WatchEvent(path=path, status="waits")
        told = set(files.waiting)
        for path in ready:
            yield from _render(job, path, trust, on_progress)
        if is_once and not files.waiting:
            return


def _render(
    job: Job, path: Path, trust: bool, on_progress: Callable[[Progress], None] | None
) -> Iterator[WatchEvent]:
    """Render one file through all presets; what goes wrong is told, and is no reason to end."""
    try:
        read_info(path)
        plans = build_batch([job.model_copy(update={"stems": (path,)})], trust=trust)
    except (ReverieError, OSError) as error:
        if path.exists():
            yield _failed(path, error)
        return
    for plan in plans:
        # Without a manifest of its own a file's settings, such as the tempo in its name, would bind others.
        own = plan.model_copy(update={"name": Path(plan.stems[0].target).stem})
        try:
            overwrite = _prepare_replacing(own)
            (report,) = render_plans([own], overwrite=overwrite, on_progress=on_progress)
        except (ReverieError, OSError) as error:
            yield _failed(path, error)
            continue
        (result,) = report.stems
        if result.status != "failed":
            _earlier_path(own).unlink(missing_ok=True)
        yield WatchEvent(
            path=path,
            status=result.status,
            error=result.error,
            result=result,
            warnings=(*plan.warnings, *result.warnings) if result.status == "done" else (),
        )


def _failed(path: Path, error: Exception) -> WatchEvent:
    if unloadable_package(error) is not None:
        raise error
    return WatchEvent(path=path, status="failed", error=str(error))


def _prepare_replacing(plan: Plan) -> bool:
    """Return whether what an earlier version of a file gave is there and may be replaced.

    What proves that it is ours goes with its manifest when a new render begins, so it is put aside until that
    has ended: a render that is killed leaves either.

    Raises:
        InputError: What has the name is not ours, or another file's.
    """
    (stem,) = plan.stems
    manifest, aside = manifest_path(plan), _earlier_path(plan)
    records: list[StemRecord] = []
    for path in (path for path in (manifest, aside) if path.exists()):
        earlier = read_manifest(path)
        record = earlier.stems.get(stem.name)
        other = Path(earlier.plan.stems[0].source)
        if other != Path(stem.source) and other.exists():
            raise OutputError(f"{stem.target}: is what {other.name} gives, too; rename one of them")
        if record is None:
            continue
        if path == manifest and record.key == plan.stem_key(stem):
            return False  # finished, or nearly
        if path == manifest:
            with write_whole(aside) as part:
                part.write_text(earlier.model_dump_json(), encoding="utf-8")
        records.append(record)
    outputs = [path for path in stem_outputs(stem, plan.ladder).values() if path.exists()]
    known = [one for record in records for one in record.by_depth.values()]
    foreign = next((p for p in outputs if not any(is_replaceable(p, one) for one in known)), None)
    if foreign is not None:
        raise OutputError(f"{foreign}: is not, to the last byte, a render of this file; move it elsewhere")
    return bool(outputs)


def _earlier_path(plan: Plan) -> Path:
    path = manifest_path(plan)
    return path.with_name(f".{path.name}.earlier")
