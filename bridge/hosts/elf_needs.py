"""What a Linux program library wants of the system: other libraries, and which version of the C library.

A plugin built on a newer system than this one fails to load with a message about a missing symbol version, or
with none. Its file says beforehand what it wants.

Source: System V Application Binary Interface, "Dynamic Section"; Linux Standard Base, "Symbol Versioning".
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.files import open_regular

__all__ = ["LibraryNeeds", "glibc_here", "read_needs"]

_MAX_BYTES: Final = 16 << 20
_DYNAMIC, _VERSIONS_NEEDED, _NEEDED_TAG = 6, 0x6FFFFFFE, 1
_GLIBC = re.compile(rb"GLIBC_(\d+(?:\.\d+)+)")

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LibraryNeeds:
    """What a library wants.

    Args:
        libraries: Files it is linked to, such as ``libX11.so.6``.
        glibc: Lowest version of the GNU C library it runs with; empty where it does not say.
    """

    libraries: tuple[str, ...] = ()
    glibc: Version = ()


def glibc_here() -> Version:
    """Return the version of this system's GNU C library; empty where it has another or none."""
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ()
    return tuple(int(part) for part in said.removeprefix("glibc ").split(".") if part.isdecimal())


def read_needs(binary: Path) -> LibraryNeeds:
    """Read what a library wants; nothing where it is no 64-bit Linux library, or damaged."""
    try:
        with open_regular(binary) as file:
            data = file.read(64)
            if data[:6] != b"\x7fELF\x02\x01":
                return LibraryNeeds()
            table_offset, entry_bytes, count = struct.unpack_from("<40xQ10xHH", data)
            file.seek(table_offset)
            table = file.read(min(_MAX_BYTES, entry_bytes * count))
            sections = [struct.unpack_from("<IIQQQQIIQQ", table, entry_bytes * i) for i in range(count)]

            def read(index: int) -> bytes:
                file.seek(sections[index][4])
                return file.read(min(_MAX_BYTES, sections[index][5]))

            libraries: list[str] = []
            versions: list[Version] = [()]
            for index, section in enumerate(sections):
                if section[1] == _DYNAMIC:
                    names = read(section[6])
                    entries = struct.iter_unpack("<QQ", read(index)[: section[5] // 16 * 16])
                    libraries += [_string(names, at).decode() for tag, at in entries if tag == _NEEDED_TAG]
                elif section[1] == _VERSIONS_NEEDED:
                    versions += _glibc_versions(read(index), read(section[6]), section[7])
    except (OSError, struct.error, ValueError, IndexError):
        return LibraryNeeds()
    return LibraryNeeds(tuple(libraries), max(versions))


def _glibc_versions(needs: bytes, names: bytes, count: int) -> list[Version]:
    """Walk the list of libraries and, for each, of the versions wanted of it."""
    found: list[Version] = []
    at = 0
    for _ in range(count):
        _, n_versions, _, first, following = struct.unpack_from("<HHIII", needs, at)
        place = at + first
        for _ in range(n_versions):
            _, _, _, name, step = struct.unpack_from("<IHHII", needs, place)
            if match := _GLIBC.fullmatch(_string(names, name)):
                found.append(tuple(int(part) for part in match[1].split(b".")))
            place += step
        at += following
    return found


def _string(names: bytes, at: int) -> bytes:
    return names[at : names.index(b"\0", at)]
