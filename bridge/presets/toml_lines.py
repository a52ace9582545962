"""Where in a TOML text something stands, so that an error can point at its line.

`tomllib` keeps no places. A full parser is not needed: the text has been read without error, so headers, keys
and the inline tables of arrays are found line by line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["find_line"]

TomlPath = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=(?!=)"""
)
_STRINGS_AND_COMMENTS = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*')


def find_line(text: str, location: Sequence[str | int]) -> int | None:
    r"""Return the 1-based line at which a place of a TOML text stands.

    Args:
        text: Valid TOML.
        location: Keys and 0-based indices from the root; parts that the text does not know (the tags that a
            validator puts in) are passed over. The nearest enclosing place counts where the last parts
            have no line of their own.

    Returns:
        None where not even the first part is there.

    >>> find_line('[[routes]]\nsource = "a"\n[[routes]]\nsource = "b"\n', ("routes", 1, "source"))
    4
    """
    lines = _lines_of_paths(text)
    found: TomlPath = ()
    for part in location:
        if (*found, part) in lines:
            found = (*found, part)
    return lines.get(found)


def _lines_of_paths(text: str) -> dict[TomlPath, int]:
    """Map every table, key and array element to its first line."""
    lines: dict[TomlPath, int] = {}
    counts: dict[TomlPath, int] = {}
    table: TomlPath = ()
    inside: _Array | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if inside is not None:
            inside.take(line, number, lines)
            inside = None if inside.is_closed else inside
            continue
        header = _HEADER.match(line)
        if header:
            table = _resolve(_keys(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                lines.setdefault(table, number)
                table = (*table, counts[table])
            lines.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key:
            place = (*table, *_keys(key[1]))
            lines.setdefault(place, number)
            for length in range(len(table) + 1, len(place)):
                lines.setdefault(place[:length], number)
            inside = _Array(place)
            inside.take(line[key.end() :], number, lines)
            inside = None if inside.is_closed else inside
    return lines


class _Array:
    """Follow a value over its lines, noting where the elements of an array and their keys stand."""

    def __init__(self, place: TomlPath) -> None:
        self._place, self._depth, self._index = place, 0, 0

    @property
    def is_closed(self) -> bool:
        return self._depth <= 0

    def take(self, line: str, number: int, lines: dict[TomlPath, int]) -> None:
        bare = _STRINGS_AND_COMMENTS.sub(lambda match: '""' if match[0][0] in "\"'" else "", line)
        for token in re.finditer(r"[\[\]{},]|([A-Za-z0-9_-]+)\s*=", bare):
            if token[1]:
                where = (*self._place, self._index) if self._is_array else self._place
                lines.setdefault((*where, token[1]), number)
            elif token[0] in "[{":
                if self._depth == 0:
                    self._is_array = token[0] == "["
                if self._depth == 1 and self._is_array:
                    lines.setdefault((*self._place, self._index), number)
                self._depth += 1
            elif token[0] in "]}":
                self._depth -= 1
            elif self._depth == 1 and self._is_array:
                self._index += 1

    _is_array = False


def _keys(dotted: str) -> TomlPath:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", dotted))


def _resolve(keys: TomlPath, counts: dict[TomlPath, int]) -> TomlPath:
    """Put the index of the newest element behind every array of tables on the way."""
    place: TomlPath = ()
    for position, key in enumerate(keys):
        place = (*place, key)
        if position < len(keys) - 1 and place in counts:
            place = (*place, counts[place])
    return place
