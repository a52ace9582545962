"""XML, archives and numbers of untrusted files: no entities, bombs, climbing paths or infinite numbers."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final
from xml.etree import ElementTree as ET
from xml.parsers import expat

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from bridge.errors import SessionError

__all__ = ["MAX_XML_BYTES", "parse_number", "parse_xml", "read_gzip", "read_member", "safe_member_names"]

MAX_XML_BYTES: Final = 256 << 20
MAX_MEMBERS: Final = 20_000
_MAX_DEPTH: Final = 256
_LARGEST_NUMBER: Final = 1e9  # 30 years in seconds, 1900 years of beats at 60 BPM


def parse_xml(data: bytes, where: str) -> ET.Element:
    """Parse a document that declares nothing and expands nothing; comments are kept.

    Args:
        data: The document.
        where: Put at the start of an error.

    Raises:
        SessionError: Not XML, a document type or entity declaration, or nested beyond 256 levels.
    """
    builder = _ShallowBuilder(where)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True)
    try:
        parser.feed(data)
        root: ET.Element = parser.close()
    except DefusedXmlException:
        raise SessionError(
            f"{where}: declares a document type, which sessions do not need and attacks use; "
            "save the session again in its own program"
        ) from None
    except ParseError as error:
        raise SessionError(
            f"{where}: is not well-formed XML ({expat.ErrorString(error.code)} in line {error.position[0]}); "
            "save the session again in its own program"
        ) from None
    except (LookupError, ValueError) as error:
        raise SessionError(f"{where}: is in an encoding that cannot be read ({error})") from None
    return root


class _ShallowBuilder(ET.TreeBuilder):
    """Build a tree of limited depth: whoever walks it may do so by recursion."""

    def __init__(self, where: str) -> None:
        super().__init__(insert_comments=True, insert_pis=True)
        self._where, self._depth = where, 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise SessionError(f"{self._where}: nested deeper than {_MAX_DEPTH} levels, not a session")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag)


def safe_member_names(archive: zipfile.ZipFile, where: str) -> list[str]:
    """Return the names in an archive, after refusing those that would lead out of it.

    Raises:
        SessionError: Absolute or climbing names, a name twice, or more than 20,000 members.
    """
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if len(names) > MAX_MEMBERS:
        raise SessionError(f"{where}: holds {len(names)} files; at most {MAX_MEMBERS} are accepted")
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
            raise SessionError(
                f"{where}: holds {name!r}, a path that leads out of the archive; do not open it"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SessionError(f"{where}: holds {twice!r} twice; save the session again in its own program")
    return names


def read_member(archive: zipfile.ZipFile, name: str, where: str, limit: int = MAX_XML_BYTES) -> bytes:
    """Read one file of an archive, whatever size it claims, up to a limit.

    Raises:
        SessionError: Not there, damaged, encrypted or larger than the limit.
    """
    try:
        with archive.open(name) as member:
            data = member.read(limit + 1)
    except KeyError:
        raise SessionError(f"{where}: holds no {name}; it is not a session of this kind") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise SessionError(f"{where}: {name} cannot be unpacked ({error}); copy the file again") from None
    if len(data) > limit:
        raise SessionError(f"{where}: {name} unpacks to more than {limit >> 20} MiB; do not open it")
    return data


def read_gzip(path: Path, limit: int = MAX_XML_BYTES) -> bytes:
    """Unpack a gzip file, up to a limit.

    Raises:
        SessionError: Not gzip, damaged, unreadable or larger than the limit.
    """
    try:
        with gzip.open(path) as file:
            data = file.read(limit + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SessionError(f"{path}: cannot be unpacked ({error}); copy the file again") from None
    except OSError as error:
        raise SessionError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) > limit:
        raise SessionError(f"{path}: unpacks to more than {limit >> 20} MiB; do not open it")
    return data


def parse_number(text: str, where: str) -> float:
    """Read a number.

    Args:
        text: As it stands in the file.
        where: Put at the start of an error.

    Raises:
        SessionError: No number, not finite, or beyond a billion.

    >>> parse_number("-63072000", "song.als")
    -63072000.0
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _LARGEST_NUMBER:
        raise SessionError(
            f"{where}: {text[:40]!r} is not a usable number; save the session again in its own program"
        )
    return value
