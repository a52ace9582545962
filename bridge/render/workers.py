"""Run tasks here or in worker processes: progress comes back, Ctrl-C reaches all, a dead one costs one task.

Processes are spawned, never forked: Torch and pedalboard do not survive a fork.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing import current_process, get_context, parent_process
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from queue import Empty
from queue import Queue as ThreadQueue
from typing import Any, Protocol, TypeVar

from bridge.errors import RenderError, RenderStoppedError

__all__ = ["Task", "WorkerDiedError", "leave_if_starting", "run_tasks"]

_POLL_S = 0.2
_SAFE_PATH = "PYTHONSAFEPATH"
Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")


class WorkerDiedError(Exception):
    """Stands for the result of a task whose process was killed, twice."""


class Task(Protocol[Result_co]):
    """Something to run, here or elsewhere: it must pickle."""

    def run(self, tell: Callable[[Any], None], is_cancelled: Callable[[], bool]) -> Result_co:
        """Do it.

        Args:
            tell: Takes what is told on the way.
            is_cancelled: Asked often; true stops.
        """
        ...

    def clean_up(self) -> None:
        """Remove what a killed process has left."""
        ...


def leave_if_starting() -> None:
    """End a worker that is about to render instead of to begin; its parent says why.

    A worker imports the script that its parent runs. One that renders on import would render in every worker.
    """
    if getattr(current_process(), "_inheriting", False):  # as multiprocessing itself asks
        raise SystemExit(1)


def run_tasks(
    tasks: Sequence[Task[Result]],
    keep: Callable[[Task[Result], Result | WorkerDiedError], None],
    *,
    jobs: int,
    in_threads: bool = False,
    tell: Callable[[Any], None],
    is_cancelled: Callable[[], bool],
) -> None:
    """Run tasks, in whatever order they get done.

    Args:
        tasks: What to run.
        keep: Takes each task with its result, in this process, as soon as there is one.
        jobs: How many run at the same time; 1 runs them here.
        in_threads: Whether they are threads of this process, so that they can share what is on a GPU, and
            not processes of their own.
        tell: Takes what tasks tell on the way, in this process.
        is_cancelled: Asked often; true stops.

    Raises:
        RenderStoppedError: It was stopped; the results that were ready have been kept.
        RenderError: No worker could begin.
    """
    if jobs <= 1 or len(tasks) <= 1:
        for task in tasks:
            keep(task, task.run(tell, is_cancelled))
        return
    lost: list[Task[Result]] = []

    def sort(task: Task[Result], result: Result | WorkerDiedError) -> None:
        if isinstance(result, WorkerDiedError):
            lost.append(task)
        else:
            keep(task, result)

    n_workers = min(jobs, len(tasks))
    _run_pool(_threads(n_workers) if in_threads else _processes(n_workers), tasks, sort, tell, is_cancelled)
    for task in lost:
        # A worker died and took the pool along. Alone in a pool, the task it died of names itself.
        _run_pool(_processes(1), [task], keep, tell, is_cancelled)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pool:
    """Workers, and what they share with their parent."""

    executor: Executor
    submit: Callable[[Task[Any]], Future[Any]]
    stop: Event | threading.Event
    has_begun: Event | threading.Event
    told: Queue[Any] | ThreadQueue[Any]


@contextmanager
def _processes(n_workers: int) -> Iterator[_Pool]:
    context = get_context("spawn")
    with _safe_path():
        stop, has_begun, told = context.Event(), context.Event(), context.Queue()
        with ProcessPoolExecutor(
            n_workers, mp_context=context, initializer=_begin_worker, initargs=(stop, has_begun, told)
        ) as executor:
            yield _Pool(
                executor=executor,
                submit=lambda task: executor.submit(_run_here, task),
                stop=stop,
                has_begun=has_begun,
                told=told,
            )


@contextmanager
def _safe_path() -> Iterator[None]:
    """Keep the working folder off the path of processes to come: a numpy.py in it must not run in them."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


@contextmanager
def _threads(n_workers: int) -> Iterator[_Pool]:
    stop, told = threading.Event(), ThreadQueue[Any]()
    with ThreadPoolExecutor(n_workers) as executor:
        yield _Pool(
            executor=executor,
            submit=lambda task: executor.submit(task.run, told.put, stop.is_set),
            stop=stop,
            has_begun=threading.Event(),
            told=told,
        )


def _run_pool(
    opened: AbstractContextManager[_Pool],
    tasks: Sequence[Task[Result]],
    keep: Callable[[Task[Result], Result | WorkerDiedError], None],
    tell: Callable[[Any], None],
    is_cancelled: Callable[[], bool],
) -> None:
    with opened as pool:
        futures: dict[Future[Result], Task[Result]] = {pool.submit(task): task for task in tasks}
        waiting = set(futures)
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                _pass_on(pool.told, tell)
                for future in done:
                    keep(futures[future], _result(future, futures[future], pool))
                if is_cancelled():
                    raise RenderStoppedError("stopped while rendering")
        except BaseException:
            # Workers see the event within a block or a step, and remove what they were writing.
            pool.stop.set()
            pool.executor.shutdown(wait=True, cancel_futures=True)
            for future in waiting:
                if future.done() and not future.cancelled() and future.exception() is None:
                    keep(futures[future], future.result())
            raise


def _result(future: Future[Any], task: Task[Any], pool: _Pool) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        task.clean_up()
        if not pool.has_begun.is_set():
            raise RenderError(
                "the worker processes ended before they began: memory is short, or a script renders with "
                'jobs above 1 outside of `if __name__ == "__main__":`, where each worker runs it again'
            ) from None
        return WorkerDiedError("its worker process died (killed, or out of memory); run it again")


def _pass_on(told: Queue[Any] | ThreadQueue[Any], tell: Callable[[Any], None]) -> None:
    try:
        while True:
            tell(told.get_nowait())
    except Empty:
        pass


# A worker process has no other way to keep what it was begun with.
_begun: list[tuple[Event, Queue[Any]]] = []


def _begin_worker(stop: Event, has_begun: Event, told: Queue[Any]) -> None:
    """Leave Ctrl-C to the parent, which asks its workers to stop."""
    has_begun.set()
    _begun.append((stop, told))
    told.cancel_join_thread()  # what nobody reads any more must not keep a worker alive
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the parent is gone, however it went: nobody is left to take the result."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_here(task: Task[Result]) -> Result:
    stop, told = _begun[-1]
    return task.run(told.put, stop.is_set)
