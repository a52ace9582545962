"""XML of untrusted files: no entities, no document types, and no more in memory than a session needs."""

from __future__ import annotations

import math
import secrets
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final
from xml.etree import ElementTree as ET
from xml.parsers import expat

from bridge.daw.untrusted import parse_number
from bridge.errors import SessionError

__all__ = ["Table", "Verbatim", "parse_xml", "write_xml"]

_MAX_DEPTH: Final = 256
_ELEMENT_WEIGHT: Final = 6  # an attribute takes a sixth of the memory of an element
_MAX_WEIGHT: Final = 1_800_000
_MAX_SKIPPED: Final = 4_000_000
_MAX_ROWS: Final = 500_000
_MAX_TEXT: Final = 16 << 20
_MAX_TAG_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 18
_TRUTHS: Final = {"false": 0.0, "true": 1.0, "hold": 0.0, "linear": 1.0}


class Table(ET.Element):
    """An element whose many like children were read as numbers: a row of them each, NaN where one says none.

    A tree takes half a kilobyte for a note, a row takes 40 bytes.
    """

    rows: array[float]
    has_inner: bool = False
    """Whether there is anything in one of those children, which was not read."""


class Verbatim(ET.Element):
    """An element of which only the start is read; `write_xml` puts its content back byte for byte."""

    content: bytes


def parse_xml(
    chunks: bytes | Iterable[bytes],
    where: str,
    skipped: Collection[str] = (),
    tables: Mapping[str, tuple[str, tuple[str, ...]]] | None = None,
    verbatim: Collection[str] = (),
) -> ET.Element:
    """Parse a document that declares nothing and expands nothing; comments and prefixes are kept.

    Args:
        chunks: The document, whole or in pieces.
        where: Put at the start of an error.
        skipped: Elements that are left out with all that is in them.
        tables: Elements that become a `Table`: which of their children are rows, and the attributes of one.
        verbatim: Elements that become `Verbatim`, where the document is in UTF-8; in another encoding they
            are read like all others.

    Raises:
        SessionError: Not XML, a document type or entity declaration, nested beyond 256 levels, or more in it
            than a session has.
    """
    builder = _Builder(where, skipped, tables or {}, verbatim)
    try:
        for chunk in (chunks,) if isinstance(chunks, bytes) else chunks:
            for start in range(0, len(chunk), _CHUNK_BYTES):
                builder.feed(chunk[start : start + _CHUNK_BYTES])
        return builder.close()
    except expat.ExpatError as error:
        raise SessionError(
            f"{where}: is not well-formed XML ({expat.ErrorString(error.code)} in line {error.lineno}); "
            "save the session again in its own program"
        ) from None
    except (LookupError, ValueError) as error:
        raise SessionError(f"{where}: is in an encoding that cannot be read ({error})") from None


class _Builder:
    """Build a tree of limited depth and size: whoever walks it may do so by recursion."""

    def __init__(
        self,
        where: str,
        skipped: Collection[str],
        tables: Mapping[str, tuple[str, tuple[str, ...]]],
        verbatim: Collection[str],
    ) -> None:
        self._where, self._skipped, self._tables = where, frozenset(skipped), tables
        self._verbatim = frozenset(verbatim)
        self._document, self._document_start = bytearray(), 0
        self._element: Verbatim | None = None
        self._element_depth = 0
        self._content_start: int | None = None
        self._depth = self._skip_depth = self._n_skipped = 0
        self._weight = self._n_characters = self._n_fed = self._n_rows = 0
        self._table: Table | None = None
        self._table_depth, self._row_tag = 0, ""
        self._row_names: tuple[str, ...] = ()
        self._tree = ET.TreeBuilder(self._make, insert_comments=True, insert_pis=True)
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declare
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.CommentHandler = self._comment
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(self, chunk: bytes) -> None:
        if self._n_fed == 0 and b"\0" in chunk[:4]:
            self._verbatim = frozenset()  # UTF-16
        if self._verbatim:
            self._document += chunk
        self._parser.Parse(chunk, False)
        self._n_fed += len(chunk)
        if self._content_start is None:  # what came before is not asked for again
            n_past = max(0, self._parser.CurrentByteIndex - self._document_start)
            del self._document[:n_past]
            self._document_start += n_past
        if self._n_fed - self._parser.CurrentByteIndex > _MAX_TAG_BYTES + _CHUNK_BYTES:
            raise self._too_much(f"a tag of more than {_MAX_TAG_BYTES >> 20} MiB")

    def close(self) -> ET.Element:
        self._parser.Parse(b"", True)
        return self._tree.close()

    def _declare(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.upper() not in ("UTF-8", "US-ASCII"):
            self._verbatim = frozenset()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._begin_content()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise SessionError(f"{self._where}: nested deeper than {_MAX_DEPTH} levels, not a session")
        if self._skip_depth or tag in self._skipped:
            if self._table is not None and self._skip_depth == self._table_depth + 1:
                self._table.has_inner = True
            self._skip_depth = self._skip_depth or self._depth
            self._n_skipped += 2 + len(attributes)
            if self._n_skipped > _MAX_SKIPPED:
                raise self._too_much(f"more than {_MAX_SKIPPED} elements and attributes")
            return
        if self._table is not None and self._row_tag == tag and self._table_depth == self._depth - 1:
            self._skip_depth = self._depth
            self._add_row(self._table.rows, attributes)
            return
        self._count(_ELEMENT_WEIGHT + len(attributes), sum(map(len, attributes.values())))
        element = self._tree.start(tag, attributes)
        if isinstance(element, Table):
            self._table, self._table_depth = element, self._depth
            self._row_tag, self._row_names = self._tables[tag]
        elif isinstance(element, Verbatim):
            self._element, self._content_start = element, None
            self._element_depth = self._depth

    def _make(self, tag: str, attributes: dict[str, str]) -> ET.Element:
        if tag in self._verbatim:
            return Verbatim(tag, attributes)
        if tag not in self._tables:
            return ET.Element(tag, attributes)
        table = Table(tag, attributes)
        table.rows = array("d")
        return table

    def _add_row(self, rows: array[float], attributes: dict[str, str]) -> None:
        self._n_rows += 1
        if self._n_rows > _MAX_ROWS:
            raise self._too_much(f"more than {_MAX_ROWS} notes and points")
        for name in self._row_names:
            text = attributes.get(name)
            if text is None:
                rows.append(math.nan)
            elif text in _TRUTHS:
                rows.append(_TRUTHS[text])
            else:
                rows.append(parse_number(text, f"{self._where}: <{self._row_tag} {name}>"))

    def _begin_content(self) -> None:
        """Note where the content of a verbatim element begins: at the first thing in it that is no text."""
        if self._element is not None and self._content_start is None:
            self._content_start = self._parser.CurrentByteIndex
            self._skip_depth = self._skip_depth or self._element_depth

    def _end(self, tag: str) -> None:
        self._begin_content()
        if self._element is not None and self._depth == self._element_depth:
            start, end = self._content_start or 0, self._parser.CurrentByteIndex
            content = self._document[start - self._document_start : end - self._document_start]
            self._element.content = bytes(content)
            self._element, self._content_start, self._skip_depth = None, None, 0
        if not self._skip_depth:
            self._tree.end(tag)
        elif self._skip_depth == self._depth:
            self._skip_depth = 0
        if self._depth == self._table_depth:
            self._table, self._table_depth = None, 0
        self._depth -= 1

    def _text(self, text: str) -> None:
        if not self._skip_depth:
            self._count(0, len(text))
            self._tree.data(text)

    def _comment(self, text: str) -> None:
        self._begin_content()
        if not self._skip_depth:
            self._count(_ELEMENT_WEIGHT, len(text))
            self._tree.comment(text)

    def _instruction(self, target: str, data: str) -> None:
        self._begin_content()
        if not self._skip_depth:
            self._count(_ELEMENT_WEIGHT, len(data))
            self._tree.pi(target, data)

    def _count(self, weight: int, n_characters: int) -> None:
        self._weight += weight
        self._n_characters += n_characters
        if self._weight > _MAX_WEIGHT:
            raise self._too_much(f"more than {_MAX_WEIGHT // _ELEMENT_WEIGHT // 2} elements")
        if self._n_characters > _MAX_TEXT:
            raise self._too_much(f"more than {_MAX_TEXT >> 20} million characters")

    def _refuse_doctype(self, *_: object) -> None:
        raise SessionError(
            f"{self._where}: declares a document type, which sessions do not need and attacks use; "
            "save the session again in its own program"
        )

    def _too_much(self, what: str) -> SessionError:
        return SessionError(
            f"{self._where}: holds {what}, more than a session is read with; save a smaller part of it"
        )


def write_xml(root: ET.Element) -> Iterator[bytes]:
    """Write a tree as UTF-8 in pieces, what was kept verbatim as it stood."""
    contents: list[bytes] = []
    mark = f"verbatim-{secrets.token_hex(16)}"  # nobody can have put it into the document
    for element in root.iter():
        if isinstance(element, Verbatim) and element.content:
            element.append(ET.ProcessingInstruction(mark))
            contents.append(element.content)
    document = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    parts = document.split(f"<?{mark}?>".encode())
    yield parts[0]
    for content, part in zip(contents, parts[1:], strict=True):
        yield content
        yield part
