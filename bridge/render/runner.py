"""Render plans: stems through chains, measured, brought to level, and written whole or not at all.

What is finished stays: it is noted before it gets its name, and a render of the same plan takes up where the
last one stopped. A file that is not noted is a file of the user's, and is never replaced unasked. A stem that
fails does not touch the others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import OutputError, RenderError
from bridge.files import give_name, private_folder, remove_leftovers
from bridge.installation import program_version
from bridge.midi.file import MidiFile
from bridge.plan.model import MidiSource, Plan, StemPlan
from bridge.plan.output_names import manifest_path, stem_outputs
from bridge.render.folder_lock import lock_folder
from bridge.render.gpu_batches import open_shared_batches
from bridge.render.heard_stems import HeardStems, KnownCurves, hear_stems
from bridge.render.inputs import check_before
from bridge.render.manifest import Journal, StemRecord, is_settled, write_manifest
from bridge.render.open_stem import RenderHooks, open_stem
from bridge.render.progress import Progress
from bridge.render.results import DeliveredStem, RenderedStem, RenderReport, StemResult
from bridge.render.resume import begin_manifest, is_replaceable
from bridge.render.stem_task import DeliverStem, RenderStem, failed_stem, shared_levels
from bridge.render.workers import Task, WorkerDiedError, leave_if_starting, run_tasks

if TYPE_CHECKING:
    from dream_core.loop.shared_batches import SharedBatches

__all__ = ["render_plan", "render_plans"]

_Songs = dict[tuple[MidiSource | None, tuple[str, str] | None], MidiFile | None]
"""What plans play, by their MIDI file and session."""


def render_plan(
    plan: Plan,
    *,
    overwrite: bool = False,
    jobs: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> RenderReport:
    """Render every stem of a plan.

    Args:
        plan: From :func:`bridge.build_plan`, or read from a manifest.
        overwrite: Replace outputs that exist.
        jobs: Stems rendered at the same time, each in a process of its own.
        on_progress: Called as stems get on.
        is_cancelled: Asked often; true stops. Finished stems stay.

    Returns:
        What became of each stem; a stem that failed does not touch the others.

    Raises:
        InputError: An output exists, or something the plan needs is not there; nothing was written.
    """
    return render_plans(
        [plan], overwrite=overwrite, jobs=jobs, on_progress=on_progress, is_cancelled=is_cancelled
    )[0]


def render_plans(
    plans: Sequence[Plan],
    *,
    overwrite: bool = False,
    jobs: int = 1,
    keep_going: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    on_result: Callable[[StemResult], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> tuple[RenderReport, ...]:
    """Render several plans as one batch: the stems of all share the workers.

    Args:
        plans: What to render; no two write to one file (:func:`bridge.build_batch` sees to that).
        overwrite: Replace outputs that exist.
        jobs: Stems rendered at the same time, each in a process of its own.
        keep_going: Whether the others go on after a stem has failed.
        on_progress: Called as stems get on.
        on_result: Called with every stem that is finished, kept or failed.
        is_cancelled: Asked often; true stops. Finished stems stay.

    Raises:
        InputError: An output exists, or something a plan needs is not there; nothing was written.
        RenderError: A stem failed and `keep_going` is false.
    """
    leave_if_starting()
    tell = on_progress or (lambda _progress: None)
    stops = is_cancelled or (lambda: False)
    announce = on_result or (lambda _result: None)
    with ExitStack() as held:
        folders = list(dict.fromkeys(Path(plan.out_dir) for plan in plans))
        is_there = {folder: folder.is_dir() for folder in folders}
        for folder in (folder for folder in folders if is_there[folder]):
            held.enter_context(lock_folder(folder))
        runs = [_Run(plan, overwrite) for plan in plans]
        songs: _Songs = {}
        known: KnownCurves = {}
        for run in runs:
            run.check(songs, known, tell, stops)
        for folder in folders:
            _make_folder(folder)
            if not is_there[folder]:
                held.callback(_remove_empty, folder)
                held.enter_context(lock_folder(folder))
            remove_leftovers(folder)
            held.callback(remove_leftovers, folder)  # of workers that are killed
        run_of_plan = {id(run.plan): run for run in runs}

        def keep(task: Task[StemResult | DeliveredStem | RenderedStem], result: object) -> None:
            assert isinstance(task, RenderStem | DeliverStem)
            run = run_of_plan[id(task.plan)]
            finished = run.take(task.stem, result)
            if finished is None:
                return
            tell(Progress(stem=finished.name, target=finished.target, fraction=1.0, phase="done"))
            announce(finished)
            if finished.status == "failed" and not keep_going:
                raise RenderError(f"{finished.name}: {finished.error}. The other stems were not started.")

        try:
            for run in runs:
                run.begin(held.enter_context(private_folder(Path(run.plan.out_dir))))
                for result in run.results.values():
                    announce(result)
            batches = open_shared_batches(plans) if jobs > 1 else {}
            for tasks_of in (_Run.renders, _Run.deliveries):
                tasks = [task for run in runs for task in tasks_of(run, batches)]
                run_tasks(tasks, keep, jobs=jobs, in_threads=bool(batches), tell=tell, is_cancelled=stops)
        finally:
            for run in runs:
                run.end()
    return tuple(run.report() for run in runs)


class _Run:
    """One plan on its way: what is finished, what waits, and where that is noted."""

    def __init__(self, plan: Plan, overwrite: bool) -> None:
        self.plan = plan
        self._overwrite = overwrite
        self._path = manifest_path(plan)
        earlier = begin_manifest(plan, overwrite)
        self._manifest, self._rendered_by = earlier.manifest, earlier.rendered_by
        self.waiting = [stem for stem in plan.stems if stem.name not in self._manifest.stems]
        self._replaced: dict[str, StemRecord] = dict(earlier.begun)
        if plan.is_shared and self.waiting:
            # One trim and one length for all: a stem that was finished under others is rendered again.
            self._replaced |= self._manifest.stems
            self.waiting = list(plan.stems)
        self.results = {
            stem.name: StemResult(
                name=stem.name,
                status="kept",
                target=Path(stem.target),
                record=self._manifest.stems[stem.name],
            )
            for stem in plan.stems
            if stem not in self.waiting
        }
        self._midi: MidiFile | None = None
        self._heard: HeardStems = {}
        self._scratch_dir = Path()
        self._journal = Journal(self._path)
        self._rendered: dict[str, RenderedStem] = {}
        self._has_begun = False

    def check(
        self,
        songs: _Songs,
        known: KnownCurves,
        tell: Callable[[Progress], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Refuse what cannot work, before anything is written.

        The song's MIDI is read and stems are heard now, once for all plans.
        """
        outputs = [one for stem in self.waiting for one in self._outputs(stem)]
        existing = [path for path, may_replace in outputs if os.path.lexists(path) and not may_replace]
        folder = next((path for path, _ in outputs if path.is_dir()), None)
        if folder is not None:
            raise OutputError(f"{folder}: is a folder, and a stem would have its name; choose another --out")
        if existing:
            more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
            owner = next(stem for stem in self.waiting if (existing[0], False) in self._outputs(stem))
            program, this = self._rendered_by.get(owner.name, ""), program_version()
            by = f", rendered by Reverie {program} (this is {this})" if program not in ("", this) else ""
            raise OutputError(
                f"{existing[0]} exists already{more}{by}; use --overwrite to replace it, or another --out"
            )
        for stem in self.waiting:
            check_before(stem)
        if self.waiting:
            session = self.plan.session
            song = (self.plan.midi, None if session is None else (session.path, session.sha256))
            if song not in songs:
                self.plan.check_song()
                songs[song] = self.plan.load_midi()
                self.plan.check_song()  # once more: what was read is what counts
            self._midi = songs[song]

        def tell_of(stem: StemPlan) -> None:
            tell(Progress(stem=stem.name, target=Path(stem.target), fraction=0.0, phase="hear"))

        for stem in self.waiting[:1]:
            self._heard = hear_stems(self.plan, self.waiting, known, tell=tell_of, is_cancelled=is_cancelled)
            # Every processor is opened once before any output is created.
            open_stem(self.plan, stem, self._midi, RenderHooks(), heard=self._heard).close()

    def begin(self, scratch_dir: Path) -> None:
        """Note what is under way; stems wait in that folder between their chain and their level."""
        self._scratch_dir = scratch_dir
        if self.waiting or not is_settled(self._path):
            write_manifest(self._manifest, self._path)
            self._has_begun = True

    def renders(self, batches: Mapping[str, SharedBatches]) -> list[RenderStem]:
        """Return what can be done stem by stem: all of it, or only the chains where stems share a level."""
        return [
            RenderStem(
                plan=self.plan,
                stem=stem,
                midi=self._midi,
                is_delivered=not self.plan.is_shared,
                batches=batches.get(self.plan.device_for(stem)),
                heard=self._heard,
                scratch=self._scratch_dir / str(index),
            )
            for index, stem in enumerate(self.waiting)
        ]

    def deliveries(self, _batches: object) -> list[DeliverStem]:
        """Return the deliveries that had to wait until every chain was heard."""
        done = [stem for stem in self.waiting if stem.name in self._rendered]
        levels = shared_levels(self.plan, {stem.name: self._rendered[stem.name] for stem in done})
        return [
            DeliverStem(
                plan=self.plan, stem=stem, rendered=self._rendered[stem.name], level=levels[stem.name]
            )
            for stem in done
        ]

    def take(self, stem: StemPlan, result: object) -> StemResult | None:
        """Note what became of a task; return it where that ends the stem."""
        if isinstance(result, RenderedStem):
            self._rendered[stem.name] = result
            return None
        if isinstance(result, WorkerDiedError):
            result = failed_stem(stem, str(result))
        if isinstance(result, DeliveredStem):
            result = self._deliver(stem, result)
        assert isinstance(result, StemResult)
        self.results[result.name] = result
        return result

    def _deliver(self, stem: StemPlan, delivered: DeliveredStem) -> StemResult:
        """Give a finished file its name; what came there meanwhile stays, and fails the stem."""
        record = delivered.result.record
        assert record is not None
        outputs, target = self._outputs(stem), Path(stem.target)
        parts = [delivered.part, *(delivered.rungs[depth] for depth in self.plan.ladder)]
        try:
            # Noted first: a render killed in between finds no such file, and never a file it cannot place.
            self._journal.append(stem.name, record)
            # The stem itself comes last: where it is, all of it is.
            for (target, may_replace), part in reversed(list(zip(outputs, parts, strict=True))):
                give_name(part, target, overwrite=may_replace)
        except OutputError as error:
            return failed_stem(stem, str(error))
        except OSError as error:
            return failed_stem(stem, f"{target}: cannot be written ({error.strerror or error})")
        self._manifest = self._manifest.with_stem(stem.name, record)
        return delivered.result

    def _outputs(self, stem: StemPlan) -> list[tuple[Path, bool]]:
        """Return the files a stem gives, itself first, each with whether one that is there may go."""
        replaced = self._replaced.get(stem.name)
        records = {} if replaced is None else replaced.by_depth
        return [
            (path, self._overwrite or (depth in records and is_replaceable(path, records[depth])))
            for depth, path in stem_outputs(stem, self.plan.ladder).items()
        ]

    def end(self) -> None:
        """Write down what is finished; where nothing is, leave no trace."""
        self._journal.close()
        if not self._has_begun:
            return
        if self._manifest.stems:
            write_manifest(self._manifest, self._path)
            return
        self._path.unlink(missing_ok=True)

    def report(self) -> RenderReport:
        """Return what became of the plan's stems, in their order."""
        ordered = tuple(self.results[stem.name] for stem in self.plan.stems if stem.name in self.results)
        return RenderReport(plan=self.plan, stems=ordered, manifest=self._path)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with private_folder(folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written to ({error.strerror}); choose another --out"
        ) from None


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something, so it stays
        folder.rmdir()
