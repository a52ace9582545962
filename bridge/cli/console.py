"""The border to the terminal: all that the command line prints goes through here.

What is printed holds names that others gave to files, tracks, presets and plugins. None of them can command
the terminal, is taken for markup, breaks a line in two, or fails where the terminal knows fewer characters.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from bridge.errors import escape

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

__all__ = ["accept_all_text", "minutes", "note", "open_bars", "print_json", "print_table", "say", "warn"]

_MAX_PADDING = 48
"""A column is filled up to so much: one endless name does not make every line endless."""


def accept_all_text() -> None:
    """Have standard output and error spell out what their encoding lacks, instead of failing at it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str = "") -> None:
    """Print one line of the result."""
    _write(sys.stdout, escape(line))


def note(line: str) -> None:
    """Print one line that is not part of the result, on standard error."""
    _write(sys.stderr, escape(line))


def warn(line: str) -> None:
    """Print a warning."""
    note(f"reverie: warning: {line}")


def print_json(data: object) -> None:
    """Print a result for programs: JSON in ASCII, whatever the names in it; what is no number is null."""
    _write(sys.stdout, json.dumps(_finite(data), indent=2).replace("\x7f", r"\u007f"))


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", details: Iterable[str] = ()
) -> None:
    """Print columns as wide as what is in them, so that nothing is cut and a line can be searched for.

    Args:
        headings: One a column.
        rows: What is in the columns.
        title: A line above.
        details: A text for each row, written below it as wide as the terminal.
    """
    from rich.cells import cell_len

    cells = [[escape(str(cell)) for cell in row] for row in (headings, *rows)]
    widths = [min(max(map(cell_len, column)), _MAX_PADDING) for column in zip(*cells, strict=True)]
    width = max(20, shutil.get_terminal_size().columns - 2)
    if title:
        say(title)
    for row, text in itertools.zip_longest(cells, ("", *details), fillvalue=""):
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        say("  ".join(padded).rstrip())
        for line in textwrap.wrap(" ".join(text.split()), width, break_long_words=False):
            say(f"  {line}")


def minutes(duration_s: float) -> str:
    """Return a duration as people read it: seconds, minutes and seconds, or hours.

    >>> minutes(4.25), minutes(75.2), minutes(3725)
    ('4.2 s', '1:15', '1:02:05')
    """
    if duration_s < 59.95:
        return f"{duration_s:.1f} s"
    whole = round(duration_s)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def open_bars(*columns: ProgressColumn) -> Progress:
    """Return progress bars on standard error, each behind its name."""
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class Name(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(escape(task.description))

    return Progress(Name(), *columns, console=Console(stderr=True))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _write(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()
