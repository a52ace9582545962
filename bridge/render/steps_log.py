"""Every step of every window of a render's dreams as a table: for those who look at how a dream went."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bridge.files import check_free, check_writable, write_whole
from bridge.plan.model import Plan
from bridge.render.dream_steps import DreamStep
from bridge.render.results import StemResult

__all__ = ["COLUMNS", "StepsLog"]

COLUMNS = (
    "window",
    "step",
    "start_s",
    "stem",
    "node",
    "each",
    "score",
    "class",
    "probability",
    "change_db",
    "target",
)


class StepsLog:
    """Gather the steps of a render and write them as CSV when it ends, whole.

    Rows stand in the order of the plans, their stems, the nodes of a chain, windows and steps, whatever
    finished first. Stems that failed have none. A log that is there goes on where all its rows are of these
    stems: those of stems that an earlier render finished stay.

    Args:
        path: The file.
        plans: What is rendered.
        overwrite: Whether another file that is there is replaced.

    Raises:
        OutputError: It exists and is another, or cannot be written.
    """

    def __init__(self, path: Path, plans: Sequence[Plan], *, overwrite: bool = False) -> None:
        self._results: dict[str, StemResult | None] = {
            stem.target: None for plan in plans for stem in plan.stems
        }
        self._earlier = _read_log(path, self._results)
        check_free(path, overwrite or self._earlier is not None)
        check_writable(path)
        self._path, self._overwrite = path, overwrite or self._earlier is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is finished is not rendered again, so this is the only time that its steps can be told.
        if kind is None or any(self._results.values()):
            self._write()

    def on_result(self, result: StemResult) -> None:
        """Take what became of a stem."""
        self._results[str(result.target)] = result

    def _write(self) -> None:
        with (
            write_whole(self._path, overwrite=self._overwrite) as part,
            part.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            for target, result in self._results.items():
                if result is not None and result.status == "kept":
                    writer.writerows((self._earlier or {}).get(target, ()))
                elif result is not None:
                    writer.writerows(_row(result, step) for step in result.steps)


def _read_log(path: Path, targets: Collection[str]) -> dict[str, list[list[str]]] | None:
    """Return the rows of a log by their stems' targets; None where there is none, or one of other stems."""
    rows: dict[str, list[list[str]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            if tuple(next(reader, ())) != COLUMNS:
                return None
            for row in reader:
                if len(row) != len(COLUMNS) or row[-1] not in targets:
                    return None
                rows.setdefault(row[-1], []).append(row)
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return rows


def _row(result: StemResult, one: DreamStep) -> list[object]:
    heard = ("", "") if one.heard is None else (one.heard[0], f"{one.heard[1]:.4f}")
    place = (one.window, one.step, f"{one.start_s:.6f}", result.name, one.node, one.each)
    return [*place, f"{one.score:.6g}", *heard, f"{one.change_db:.2f}", str(result.target)]
