"""Archives and numbers of untrusted files: no bombs, climbing paths or infinite numbers."""

from __future__ import annotations

import gzip
import io
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from bridge.errors import SessionError, TempoError
from bridge.files import open_regular

__all__ = [
    "MAX_ITEMS",
    "MAX_TEMPOS",
    "check_count",
    "naming",
    "open_zip",
    "parse_number",
    "read_gzip",
    "read_member",
    "safe_member_names",
]

MAX_XML_BYTES: Final = 128 << 20
MAX_MEMBERS: Final = 20_000
MAX_ITEMS: Final = 20_000
MAX_TEMPOS: Final = 250_000
_MAX_DIRECTORY_BYTES: Final = 4 << 20
_MAX_HOLLOW_BYTES: Final = 256 << 20
_USUAL_RATIO: Final = 100
_CHUNK_BYTES: Final = 1 << 18
_LARGEST_NUMBER: Final = 1e9  # 30 years in seconds, 1900 years of beats at 60 BPM
_PYTHON_BYTES: Final = re.compile(r"""\s*\(?\bb(?:'[^']*'|"[^"]*")\)?""")
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,  # encrypted, or a method that is not known
    ValueError,
    OSError,
)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the session in an error about its tempo, its meter or a musical position in it."""
    try:
        yield
    except TempoError as error:
        raise SessionError(f"{path}: {error}; save the session again in its own program") from None


def check_count(n_items: int, limit: int, what: str, where: str) -> None:
    """Refuse more of something than a session is read with.

    Raises:
        SessionError: There are more.
    """
    if n_items > limit:
        raise SessionError(f"{where}: holds more than {limit} {what}; save a smaller part of the session")


class _Bounded(io.BufferedReader):
    """A file that is not read in one piece of any size: an archive's directory says how long it is itself."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its directory is larger than {_MAX_DIRECTORY_BYTES >> 20} MiB")
        return super().read(size)


@contextmanager
def open_zip(path: Path, kind: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what turns out to be damaged while it is read is said in one line.

    Args:
        path: The file.
        kind: What it should be, such as ``.dawproject``.

    Raises:
        SessionError: Missing, unreadable, no archive, or damaged.
    """
    try:
        file = _Bounded(open_regular(path).detach())
    except OSError as error:
        raise SessionError(f"{path}: cannot be read ({error.strerror or error})") from None
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGE as error:
            raise SessionError(
                f"{path}: is not a {kind} archive that can be read ({_words(error)}); export it again from "
                "the DAW"
            ) from None
        with archive:
            yield archive


def safe_member_names(archive: zipfile.ZipFile, where: str) -> list[str]:
    """Return the names in an archive, after refusing what a session has no use for.

    Raises:
        SessionError: Absolute or climbing names, a name twice, more than 20,000 members, links, encrypted
            members, unknown ways of packing, or members that unpack to far more than they are packed.
    """
    # Not `is_dir`, which looks at the last letter of a name that may have none.
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if len(infos) > MAX_MEMBERS:
        raise SessionError(f"{where}: holds {len(infos)} files; at most {MAX_MEMBERS} are accepted")
    hollow_bytes = 0
    for info in infos:
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
            raise SessionError(
                f"{where}: holds {name!r}, a path that leads out of the archive; do not open it"
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise SessionError(f"{where}: holds {name!r}, a link; do not open it")
        if info.flag_bits & 1:
            raise SessionError(f"{where}: {name} is encrypted; export the session without a password")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SessionError(
                f"{where}: {name} is packed by method {info.compress_type}, which sessions do not use; "
                "export it again from the DAW"
            )
        hollow_bytes += max(0, info.file_size - _USUAL_RATIO * info.compress_size)
    if hollow_bytes > _MAX_HOLLOW_BYTES:
        raise SessionError(f"{where}: unpacks to far more than sound does; do not open it")
    names = [info.filename for info in infos]
    name, count = next(iter(Counter(names).most_common(1)), ("", 0))
    if count > 1:
        raise SessionError(f"{where}: holds {name!r} twice; save the session again in its own program")
    return names


def read_member(
    archive: zipfile.ZipFile, name: str, where: str, limit_bytes: int = MAX_XML_BYTES
) -> Iterator[bytes]:
    """Unpack one file of an archive piece by piece, whatever size it claims, up to a limit.

    Raises:
        SessionError: Not there, damaged, or larger than the limit.
    """
    try:
        with archive.open(name) as member:
            yield from _pieces(member, f"{where}: {name}", limit_bytes)
    except KeyError:
        raise SessionError(f"{where}: holds no {name}; it is not a session of this kind") from None
    except _DAMAGE as error:
        raise SessionError(
            f"{where}: {name} cannot be unpacked ({_words(error)}); copy the file again"
        ) from None


def read_gzip(path: Path, limit_bytes: int = MAX_XML_BYTES) -> Iterator[bytes]:
    """Unpack a gzip file piece by piece, up to a limit.

    Raises:
        SessionError: Not gzip, damaged, unreadable or larger than the limit.
    """
    try:
        with open_regular(path) as packed, gzip.GzipFile(fileobj=packed) as file:
            yield from _pieces(file, f"{path}:", limit_bytes)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SessionError(f"{path}: cannot be unpacked ({_words(error)}); copy the file again") from None
    except OSError as error:
        raise SessionError(f"{path}: cannot be read ({error.strerror or error})") from None


def _words(error: Exception) -> str:
    """Say what is wrong without the numbers and quotes that Python puts around it."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if said.startswith("Not a gzipped file"):
        return "it is no gzip file"
    return _PYTHON_BYTES.sub("", said).strip() or "it ends too early"


def _pieces(file: io.BufferedIOBase | IO[bytes], where: str, limit_bytes: int) -> Iterator[bytes]:
    n_bytes = 0
    while piece := file.read(_CHUNK_BYTES):
        n_bytes += len(piece)
        if n_bytes > limit_bytes:
            raise SessionError(f"{where} unpacks to more than {limit_bytes >> 20} MiB; do not open it")
        yield piece


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
