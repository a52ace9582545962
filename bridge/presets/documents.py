"""TOML and JSON that anyone may have written: read whole, within limits, or refused in one line."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.errors import InputError
from bridge.files import read_regular

__all__ = ["parse_document", "read_text"]

_MAX_BYTES = 8 << 20
_MAX_MARKS = 300_000
_MAX_DEPTH = 32
_LARGEST_WHOLE = 1 << 63
# A key of so many parts costs that much again in every line below it.
_LONG_KEY = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]+[ \t]*\.[ \t]*){40}")
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def read_text(path: Path, what: str, refuse: Callable[[str], InputError]) -> str:
    """Read a text file.

    Args:
        path: The file, UTF-8.
        what: What it should be, such as ``preset file``.
        refuse: Makes the error of a line of text.

    Raises:
        InputError: It is missing, no regular file, not UTF-8, or larger than 8 MiB.
    """
    try:
        return read_regular(path, _MAX_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise refuse(f"{path}: no such {what}") from None
    except UnicodeDecodeError as error:
        raise refuse(
            f"{path}: cannot be read as text (byte {error.start} is not UTF-8); save it as UTF-8"
        ) from None
    except OSError as error:
        raise refuse(f"{path}: cannot be read as text ({error.strerror or error})") from None


def parse_document(text: str, path: Path, refuse: Callable[[str], InputError]) -> Any:
    """Parse TOML, or JSON where the file's name says so, to plain data without surprises.

    Raises:
        InputError: It is not valid, nested too deeply, too large, or holds a number or a character that
            nothing can be done with.
    """
    kind = "JSON" if path.suffix == ".json" else "TOML"
    if sum(map(text.count, "=,:[{\n")) > _MAX_MARKS or (kind == "TOML" and _LONG_KEY.search(text)):
        raise refuse(f"{path}: holds far more than such a file needs; it is not one, or damaged")
    try:
        data = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise refuse(f"{path}: not valid {kind}: {error}") from None
    except RecursionError:
        raise refuse(f"{path}: is nested deeper than {_MAX_DEPTH} levels; it is damaged") from None
    except ValueError as error:  # a number of thousands of digits, a day that no month has
        raise refuse(f"{path}: not valid {kind}: {str(error).partition(';')[0]}") from None
    _check(data, path, refuse)
    return data


def _check(data: Any, path: Path, refuse: Callable[[str], InputError]) -> None:
    left: list[tuple[Any, int]] = [(data, 0)]
    while left:
        value, depth = left.pop()
        if depth > _MAX_DEPTH:
            raise refuse(f"{path}: is nested deeper than {_MAX_DEPTH} levels; it is damaged")
        if isinstance(value, dict):
            left += ((part, depth + 1) for pair in value.items() for part in pair)
        elif isinstance(value, list):
            left += ((part, depth + 1) for part in value)
        elif isinstance(value, str) and _UNUSABLE.search(value):
            raise refuse(f"{path}: {value[:40]!r} is no text: it holds a NUL or half a character")
        elif isinstance(value, int) and not -_LARGEST_WHOLE <= value < _LARGEST_WHOLE:
            raise refuse(f"{path}: holds a whole number of more than 64 bits; it is damaged")
