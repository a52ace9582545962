"""The text of Reaper's projects as a tree: one element a line, blocks from ``<NAME`` to ``>``.

Lines are kept as they stand, so a project goes through unchanged but for what is added.

Source: Cockos, "State Chunk Definitions", REAPER wiki.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.daw.untrusted import parse_number
from bridge.errors import SessionError
from bridge.files import read_regular

__all__ = ["Block", "Words", "locating", "number", "quoted", "read_versions"]

_MAX_BYTES: Final = 64 << 20
_MAX_LINES: Final = 1_500_000
_MAX_LINE_LENGTH: Final = 1 << 20
_MAX_DEPTH: Final = 64
_SPECIAL: Final = re.compile(r"""["'`\0]""")
_WORD: Final = re.compile(r""""([^"]*)"?|'([^']*)'?|`([^`]*)`?|(\S+)""")
_CP1252: Final = re.compile(rb"[^\x81\x8d\x8f\x90\x9d]*")  # bytes that stand for nothing there
_BEGIN: Final = "<REAPER_PROJECT"


class Words(list[str]):
    """The words of a line after its name, and the line itself."""

    line: str = ""


class _BadNumberError(SessionError):
    """A word that should be a number; it knows its line."""

    def __init__(self, message: str, line: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class Block:
    """Lines and blocks between ``<NAME ...`` and ``>``; a line keeps its carriage return."""

    head: str
    children: list[str | Block] = field(default_factory=list)
    end: str = ""

    @property
    def name(self) -> str:
        """What comes after its ``<``."""
        return self.head.strip()[1:].split(" ", 1)[0]

    @property
    def saved_at(self) -> int:
        """When a project was saved, as its first line says; 0 where it does not."""
        words = self.head_words
        return int(words[2]) if len(words) > 2 and words[2].isdecimal() else 0

    @property
    def head_words(self) -> Words:
        """The words of its first line after the name."""
        return _words(self.head.strip()[1:], self.head)

    def blocks(self, name: str = "") -> Iterator[Block]:
        """Go through the blocks in it, all or those of one name."""
        return (c for c in self.children if isinstance(c, Block) and (not name or c.name == name))

    def values(self, name: str) -> Iterator[Words]:
        """Return the words of every line that begins with a name."""
        for child in self.children:
            if isinstance(child, str) and name in child and _name_of(child) == name:
                yield _words(child.strip(), child)

    def first(self, name: str) -> Words:
        """Return the words of the first line that begins with a name; none where there is no such line."""
        return next(self.values(name), Words())

    def lines(self) -> Iterator[str]:
        """Go through all lines as they are written."""
        yield self.head
        for child in self.children:
            if isinstance(child, Block):
                yield from child.lines()
            else:
                yield child
        yield self.end or self.head[: len(self.head) - len(self.head.lstrip())] + ">"


def _name_of(line: str) -> str:
    return line.strip().split(" ", 1)[0]


def read_versions(path: Path) -> list[Block]:
    """Read a project file as its versions, of which backups may hold several.

    Raises:
        SessionError: Not such a file, or damaged.
    """
    try:
        data = read_regular(path, _MAX_BYTES)
    except OSError as error:
        raise SessionError(f"{path}: cannot be read ({error.strerror or error})") from None
    if data.count(b"\n") > _MAX_LINES:
        raise SessionError(f"{path}: has more than {_MAX_LINES} lines, too many for a project")
    lines = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape").split("\n")
    if not lines[0].startswith(_BEGIN):
        raise SessionError(f"{path}: is not a Reaper project: it does not begin with {_BEGIN}")
    if max(map(len, lines)) > _MAX_LINE_LENGTH:
        raise SessionError(f"{path}: has a line of more than {_MAX_LINE_LENGTH} characters, not a project's")
    versions: list[Block] = []
    stack: list[Block] = []
    for line_number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stack:
            if stripped.startswith(_BEGIN):
                versions.append(Block(line))
                stack = [versions[-1]]
            elif stripped:
                raise SessionError(f"{path}: line {line_number} comes after the end of the project")
        elif stripped == ">":
            stack.pop().end = line
        elif stripped.startswith("<"):
            block = Block(line)
            stack[-1].children.append(block)
            stack.append(block)
            if len(stack) > _MAX_DEPTH:
                raise SessionError(f"{path}: nested deeper than {_MAX_DEPTH} levels in line {line_number}")
        else:
            stack[-1].children.append(line)
    if stack:
        raise SessionError(f"{path}: ends within <{stack[-1].name}: it is truncated; save it again in Reaper")
    return versions


@contextmanager
def locating(path: Path, versions: list[Block]) -> Iterator[None]:
    """Name file and line in an error about a number."""
    try:
        yield
    except _BadNumberError as error:
        lines = (line for one in versions for line in one.lines())
        line_number = next((n for n, line in enumerate(lines, 1) if line is error.line), 0)
        raise SessionError(f"{path}: line {line_number}: {error}") from None


def number(words: Words, index: int, default: float) -> float:
    """Return a word as a number; the default where the line is shorter.

    Raises:
        SessionError: It is none; `locating` names its line.
    """
    if index >= len(words):
        return default
    try:
        return parse_number(words[index], "")
    except SessionError as error:
        raise _BadNumberError(f"{_name_of(words.line)}{error}", words.line) from None


def _words(text: str, line: str) -> Words:
    """Split a line; words with spaces stand in "", '' or ``, whichever they do not hold."""
    if text.isascii() and not _SPECIAL.search(text):
        words = Words(text.split())  # most lines, and in a fifth of the time
    else:
        words = Words(_readable(next(filter(None, found.groups()), "")) for found in _WORD.finditer(text))
    del words[:1]
    words.line = line
    return words


def _readable(word: str) -> str:
    """Return a word as text: what is not UTF-8 was written in the character set of Western Windows."""
    word = word.partition("\0")[0]
    if word.isascii():
        return word
    data = word.encode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252" if _CP1252.fullmatch(data) else "latin-1")


def quoted(text: str) -> str:
    """Write a text as one word."""
    text = " ".join(text.split())
    quote = next((q for q in "\"'`" if q not in text), None)
    return f"{quote}{text}{quote}" if quote else "`" + text.replace("`", "'") + "`"
