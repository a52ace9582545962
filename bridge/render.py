"""Render a plan: stems through chains, measured, brought to level, and written whole or not at all.

What is finished stays: the manifest is written after every stem, and a render of the same plan takes up
where the last one stopped. A stem that fails does not touch the others.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path

from bridge.audiofile import PART_SUFFIX, hash_samples
from bridge.delivery import decide_gain, share_gains
from bridge.errors import AudioFileError, OutputError, RenderStoppedError, ReverieError
from bridge.folderlock import lock_folder
from bridge.manifest import Manifest, read_manifest, write_manifest
from bridge.opening import Callbacks, open_stem, read_song
from bridge.plan import Plan, StemPlan, hash_file
from bridge.stemjob import Progress, RenderedStem, StemResult, deliver_stem, render_stem, scratch_path

__all__ = ["Progress", "RenderReport", "StemResult", "render_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderReport:
    """What became of a render."""

    stems: tuple[StemResult, ...]
    manifest: Path

    @property
    def failed(self) -> tuple[StemResult, ...]:
        """The stems that failed."""
        return tuple(stem for stem in self.stems if stem.status == "failed")


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
    out_dir = Path(plan.out_dir)
    with ExitStack() as held:
        is_there = out_dir.is_dir()
        if is_there:
            held.enter_context(lock_folder(out_dir))
        manifest, ours = _begin_manifest(plan, overwrite)
        waiting = [stem for stem in plan.stems if stem.name not in manifest.stems]
        _check_before(plan, waiting, ours)
        if not is_there:  # the check has made it, now that all else is right
            held.enter_context(lock_folder(out_dir))
        if waiting:
            write_manifest(manifest, manifest_path(plan))
        return _render_waiting(plan, manifest, waiting, ours, jobs, on_progress, is_cancelled)


def _render_waiting(
    plan: Plan,
    manifest: Manifest,
    waiting: list[StemPlan],
    ours: frozenset[str],
    jobs: int,
    on_progress: Callable[[Progress], None] | None,
    is_cancelled: Callable[[], bool] | None,
) -> RenderReport:
    """Render what is not finished, writing the manifest after every stem."""
    path = manifest_path(plan)
    results = {
        stem.name: StemResult(
            name=stem.name, status="kept", target=Path(stem.target), record=manifest.stems[stem.name]
        )
        for stem in plan.stems
        if stem.name in manifest.stems
    }

    def keep(result: StemResult) -> None:
        nonlocal manifest
        results[result.name] = result
        if result.record is not None:
            manifest = manifest.with_stem(result.name, result.record)
            write_manifest(manifest, path)

    tell = on_progress or (lambda _progress: None)
    if plan.read_preset().level.common_trim:
        if waiting:
            # One trim for all: a stem that was finished under another gets the new one too.
            ours, waiting = ours | frozenset(results), list(plan.stems)
        _render_together(plan, waiting, ours, tell, is_cancelled, keep)
    elif jobs > 1 and len(waiting) > 1:
        _render_in_pool(plan, waiting, ours, jobs, tell, is_cancelled, keep)
    else:
        for stem in waiting:
            keep(_render_alone(plan, stem, stem.name in ours, tell, is_cancelled))
    ordered = tuple(results[stem.name] for stem in plan.stems if stem.name in results)
    return RenderReport(stems=ordered, manifest=path)


def manifest_path(plan: Plan) -> Path:
    """Return where a plan's manifest is: beside its outputs, one for each preset."""
    return Path(plan.out_dir) / f"{plan.read_preset().slug}.manifest.json"


def _begin_manifest(plan: Plan, overwrite: bool) -> tuple[Manifest, frozenset[str]]:
    """Return what is finished of a plan, and the stems whose targets may be replaced.

    An output appears before the manifest can tell of it. A render killed in between has left its mark when
    it began, so that what it wrote is known as its own and not as a file of the user's.
    """
    fresh = Manifest.begin(plan).model_copy(update={"begun": {s.name: plan.stem_key(s) for s in plan.stems}})
    path = manifest_path(plan)
    if overwrite or not path.exists():
        return fresh, frozenset(fresh.begun if overwrite else ())
    earlier = read_manifest(path)
    for stem in plan.stems:
        record = earlier.stems.get(stem.name)
        if record is None or record.key != plan.stem_key(stem):
            continue
        target = Path(stem.target)
        # Only what is still there, as it was written, counts as done.
        if target.exists() and hash_samples(target) == record.sha256_samples:
            fresh = fresh.with_stem(stem.name, record)
    return fresh, frozenset(name for name, key in fresh.begun.items() if earlier.begun.get(name) == key)


def _check_before(plan: Plan, stems: list[StemPlan], ours: frozenset[str]) -> None:
    existing = [s.target for s in stems if s.name not in ours and Path(s.target).exists()]
    if existing:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise OutputError(
            f"{existing[0]} exists already{more}; use --overwrite to replace it, or another --out"
        )
    for stem in stems:
        if not Path(stem.source).exists() or hash_file(Path(stem.source)) != stem.sha256:
            raise AudioFileError(f"{stem.source}: is gone or has changed since the plan was made; plan again")
    song = read_song(plan)
    for stem in stems[:1]:
        # Every processor is opened once before any output is created.
        open_stem(plan, stem, song, Callbacks()).close()
    out_dir = Path(plan.out_dir)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        probe = out_dir / ".reverie-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{out_dir}: cannot be written to ({error.strerror}); choose another --out"
        ) from None


def _render_alone(
    plan: Plan,
    stem: StemPlan,
    overwrite: bool,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
) -> StemResult:
    try:
        rendered = render_stem(plan, stem, tell, is_cancelled)
        decision = decide_gain(plan.read_preset().level, rendered.before, rendered.after)
        return deliver_stem(plan, stem, rendered, decision, overwrite, tell)
    except RenderStoppedError:
        raise
    except Exception as error:
        return _failed(stem, _reason(error))
    finally:
        _remove_scratch(stem)


def _render_together(
    plan: Plan,
    stems: list[StemPlan],
    ours: frozenset[str],
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
    keep: Callable[[StemResult], None],
) -> None:
    """Render all stems before any is delivered, because they share one trim."""
    policy = plan.read_preset().level
    rendered: dict[str, RenderedStem] = {}
    try:
        for stem in stems:
            try:
                rendered[stem.name] = render_stem(plan, stem, tell, is_cancelled)
            except RenderStoppedError:
                raise
            except Exception as error:
                keep(_failed(stem, _reason(error)))
        done = [stem for stem in stems if stem.name in rendered]
        alone = [decide_gain(policy, rendered[s.name].before, rendered[s.name].after) for s in done]
        for stem, decision in zip(done, share_gains(policy, alone), strict=True):
            try:
                keep(deliver_stem(plan, stem, rendered[stem.name], decision, stem.name in ours, tell))
            except Exception as error:
                keep(_failed(stem, _reason(error)))
    finally:
        for stem in stems:
            _remove_scratch(stem)


def _render_in_pool(
    plan: Plan,
    stems: list[StemPlan],
    ours: frozenset[str],
    jobs: int,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
    keep: Callable[[StemResult], None],
) -> None:
    for stem in _run_pool(plan, stems, ours, jobs, tell, is_cancelled, keep):
        # A worker died and took the pool along. Alone in a pool, the stem it died of names itself.
        if _run_pool(plan, [stem], ours, 1, tell, is_cancelled, keep):
            keep(_failed(stem, "its worker process died (killed, or out of memory); run it again"))


def _run_pool(
    plan: Plan,
    stems: list[StemPlan],
    ours: frozenset[str],
    jobs: int,
    tell: Callable[[Progress], None],
    is_cancelled: Callable[[], bool] | None,
    keep: Callable[[StemResult], None],
) -> list[StemPlan]:
    """Render stems in worker processes; return those that were lost because one of them died."""
    # Spawned, never forked: Torch and pedalboard do not survive a fork.
    context = get_context("spawn")
    stop = context.Event()
    lost: list[StemPlan] = []

    def take(future: Future[StemResult]) -> None:
        try:
            result = future.result()
        except BrokenProcessPool:
            _remove_scratch(futures[future])
            lost.append(futures[future])
            return
        tell(Progress(stem=result.name, fraction=1.0, phase="done"))
        keep(result)

    with ProcessPoolExecutor(
        min(jobs, len(stems)), mp_context=context, initializer=_begin_worker, initargs=(stop,)
    ) as pool:
        futures = {pool.submit(_render_in_worker, plan, stem, stem.name in ours): stem for stem in stems}
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    take(future)
                if is_cancelled is not None and is_cancelled():
                    raise RenderStoppedError("stopped while rendering")
        except BaseException:
            # Workers see the event within a block or a step, and remove what they were writing.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for future in waiting:
                if future.done() and not future.cancelled() and future.exception() is None:
                    keep(future.result())
            raise
    return lost


# A worker process has no other way to keep what it was begun with.
_stop: Event | None = None


def _begin_worker(stop: Event) -> None:
    """Leave Ctrl-C to the parent, which asks its workers to stop."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the parent is gone, however it went: nobody is left to take the result."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _render_in_worker(plan: Plan, stem: StemPlan, overwrite: bool) -> StemResult:
    is_cancelled = None if _stop is None else _stop.is_set
    try:
        return _render_alone(plan, stem, overwrite, lambda _progress: None, is_cancelled)
    except RenderStoppedError as error:
        return _failed(stem, str(error))


def _reason(error: Exception) -> str:
    """Return one line for what went wrong; what nobody foresaw says where it happened, for a report of it."""
    if isinstance(error, ReverieError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return f"an unforeseen error, please report it: {type(error).__name__}: {error} ({where})".replace(
        "\n", " "
    )


def _remove_scratch(stem: StemPlan) -> None:
    scratch = scratch_path(stem)
    scratch.unlink(missing_ok=True)
    scratch.with_name(f".{scratch.name}{PART_SUFFIX}").unlink(missing_ok=True)


def _failed(stem: StemPlan, error: str) -> StemResult:
    return StemResult(name=stem.name, status="failed", target=Path(stem.target), error=error)
