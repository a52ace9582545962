"""Writes TensorFlow's checkpoints, as small and as wrong as a test wants them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def varint(value: int) -> bytes:
    """Return a number as seven bits a byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def entry(shape: Sequence[int], start: int, n_bytes: int, *, dtype: int = 1, shard: int = 0) -> bytes:
    """Return what an index says of a tensor; zeros are left out, as protocol buffers do."""
    sizes = b"".join(b"\x12" + varint(len(size)) + size for n in shape for size in [b"\x08" + varint(n)])
    numbers = b"".join(tag + varint(n) for tag, n in ((b"\x18", shard), (b"\x20", start)) if n)
    size = b"\x28" + varint(n_bytes)
    checksum = b"\x35" + bytes(4)
    return b"\x08" + varint(dtype) + b"\x12" + varint(len(sizes)) + sizes + numbers + size + checksum


def block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a block of a table; keys leave out what they share with the one before."""
    out, before = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1)


def table(blocks: Sequence[bytes], *, kind: int = 0) -> bytes:
    """Return a table of blocks."""
    out, handles = b"", []
    for content in blocks:
        handles.append(varint(len(out)) + varint(len(content)))
        out += content + bytes([kind]) + bytes(4)
    meta = varint(len(out)) + varint(8)
    out += block([]) + bytes(5)
    top = block([(b"k%03d" % number, handle) for number, handle in enumerate(handles)])
    footer = meta + varint(len(out)) + varint(len(top))
    return out + top + bytes(5) + footer.ljust(40, b"\0") + MAGIC


HEADER = (b"", b"\x08\x01\x1a\x02\x08\x01")


def checkpoint(arrays: Mapping[str, npt.NDArray[np.float32]]) -> tuple[bytes, bytes]:
    """Return the bytes of a whole checkpoint's ``.index`` and of its data."""
    data, entries = b"", [HEADER]
    for name, array in sorted(arrays.items()):
        content = array.astype("<f4").tobytes()
        entries.append((name.encode(), entry(array.shape, len(data), len(content))))
        data += content
    middle = len(entries) // 2
    return table([block(entries[:middle]), block(entries[middle:])]), data
