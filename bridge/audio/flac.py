"""The length of a FLAC whose header does not state one, from the last of its frames.

An encoder that writes to a pipe cannot go back to its header. Each frame says where it stands, and the last
one is known by its checksum, which ends the file.

Source: RFC 9639 (2024).
"""

from __future__ import annotations

import functools
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

from bridge.audio.mpeg import end_of_id3

__all__ = ["StreamInfo", "count_samples", "read_stream_info"]

_MAX_TAIL_BYTES: Final = 1 << 21
_MAX_CHECKED: Final = 16
"""How many frames are checked as a whole: more than one only where data look like the header of a frame."""
_BLOCK_SAMPLES: Final = {
    1: 192,
    **{i: 576 << i - 2 for i in range(2, 6)},
    **{i: 1 << i for i in range(8, 16)},
}
_HEADER: Final = re.compile(rb"\xff[\xf8\xf9]", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """Hold what the first metadata block says of the length.

    Args:
        offset: Where its payload begins, in bytes from the start of the file.
        n_samples: Samples a channel; 0 where it does not say.
        block_samples: Samples in a frame but the last, where they are equal.
    """

    offset: int
    n_samples: int
    block_samples: int

    @property
    def patch_offset(self) -> int:
        """Where the five bytes begin that end in the number of samples."""
        return self.offset + 13

    def patched(self, file: BinaryIO, n_samples: int) -> bytes:
        """Return these five bytes with another number."""
        file.seek(self.patch_offset)
        first = file.read(1)[0] & 0xF0
        return bytes([first | n_samples >> 32]) + struct.pack(">I", n_samples & 0xFFFFFFFF)


def read_stream_info(file: BinaryIO) -> StreamInfo | None:
    """Read what a FLAC says of its length; None where a file is no FLAC."""
    begin = end_of_id3(file)
    file.seek(begin)
    head = file.read(42)
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    most = struct.unpack(">H", head[10:12])[0]
    packed = struct.unpack(">Q", head[18:26])[0]
    return StreamInfo(offset=begin + 8, n_samples=packed & (1 << 36) - 1, block_samples=most)


def count_samples(file: BinaryIO, info: StreamInfo) -> int | None:
    """Return how many samples there are, by the last frame; None where the file ends within one."""
    end = file.seek(0, 2)
    file.seek(max(0, end - 128))
    if file.read(3) == b"TAG":
        end -= 128
    start = max(info.offset + 34, end - _MAX_TAIL_BYTES)
    file.seek(start)
    tail = file.read(max(0, end - start))
    n_checked = 0
    for found in reversed([match.start() for match in _HEADER.finditer(tail)]):
        n_samples = _end_of_frame(tail[found : found + 16], info)
        if n_samples is None:
            continue
        n_checked += 1
        if _crc(tail[found:], 0x8005, 16) == 0:
            return n_samples
        if n_checked == _MAX_CHECKED:
            break
    return None


def _end_of_frame(head: bytes, info: StreamInfo) -> int | None:
    """Return the position behind a frame's last sample, if these bytes begin one."""
    head = head.ljust(16, b"\0")
    if head[3] & 1 or head[2] & 0x0F == 0x0F or head[3] >> 4 > 10:
        return None
    n_number = max(1, 8 - (head[4] ^ 0xFF).bit_length())
    if n_number > 7 or (head[4] & 0xC0) == 0x80:
        return None
    number = head[4] & (0x7F if n_number == 1 else 0x7F >> n_number)
    for byte in head[5 : 4 + n_number]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    offset, code = 4 + n_number, head[2] >> 4
    n_block = _BLOCK_SAMPLES.get(code, 0)
    if code in (6, 7):
        n_bytes = code - 5
        n_block = 1 + int.from_bytes(head[offset : offset + n_bytes], "big")
        offset += n_bytes
    offset += {12: 1, 13: 2, 14: 2}.get(head[2] & 0x0F, 0)
    if not n_block or offset >= len(head) or _crc(head[: offset + 1], 0x07, 8) != 0:
        return None
    is_variable = head[1] & 1
    return n_block + (number if is_variable else number * info.block_samples)


@functools.cache
def _crc_table(polynomial: int, n_bits: int) -> tuple[int, ...]:
    top, mask = 1 << n_bits - 1, (1 << n_bits) - 1
    table = []
    for byte in range(256):
        value = byte << n_bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return tuple(table)


def _crc(data: bytes, polynomial: int, n_bits: int) -> int:
    table, mask, shift = _crc_table(polynomial, n_bits), (1 << n_bits) - 1, n_bits - 8
    value = 0
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value
