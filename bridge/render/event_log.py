"""What happens in a render, as JSON lines: for programs that watch, and to look up afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from bridge.errors import OutputError
from bridge.plan.model import Plan
from bridge.plan.output_names import manifest_path
from bridge.render.progress import Progress
from bridge.render.results import StemResult

__all__ = ["EventLog"]


class EventLog:
    """Write one JSON object a line: ``time`` (UTC), ``event``, and what belongs to it.

    Events: ``begin`` (a plan: manifest, stems), ``open`` (a stem is taken up), ``done``, ``kept``, ``failed``
    (a stem's result), ``end``. Lines are added to a file that exists.

    Args:
        path: The file.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            self._file = Path(path).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed on exit
        except OSError as error:
            raise OutputError(f"{path}: the event log cannot be written ({error.strerror})") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._write("end", error=None if kind is None else str(error) or kind.__name__)
        self._file.close()

    def begin(self, plans: Sequence[Plan]) -> None:
        """Note what is about to be rendered."""
        for plan in plans:
            stems = [stem.target for stem in plan.stems]
            self._write("begin", plan=plan.name, manifest=str(manifest_path(plan)), targets=stems)

    def on_progress(self, progress: Progress) -> None:
        """Note that a stem is taken up."""
        if progress.phase == "open":
            self._write("open", stem=progress.stem, target=str(progress.target))

    def on_result(self, result: StemResult) -> None:
        """Note what became of a stem."""
        measured = {} if result.record is None else result.record.model_dump(mode="json")
        self._write(
            result.status,
            stem=result.name,
            target=str(result.target),
            error=result.error or None,
            warnings=list(result.warnings),
            **{key: measured[key] for key in ("sha256_samples", "gain_db", "after", "wall_s") if measured},
        )

    def _write(self, event: str, **fields: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(json.dumps({"time": now, "event": event, **fields}) + "\n")
