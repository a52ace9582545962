"""Reads TensorFlow's checkpoints (format V2) from their bytes, without TensorFlow.

A checkpoint is two files. ``.index`` is a sorted table of LevelDB's format: blocks of entries whose keys
leave out what they share with the key before, then a block of blocks, then a footer. Its values are small
protocol buffers that say where in ``.data-00000-of-00001`` a tensor lies. Nothing in either is believed
before it is checked, each offset and size against the bytes there are; only tensors asked for are read.

Source:
    TensorFlow's ``core/protobuf/tensor_bundle.proto`` and ``core/lib/io/table_format.txt``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dream_core.errors import WeightsError

__all__ = ["read_checkpoint"]

_FOOTER_BYTES = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_BLOCK_TRAILER_BYTES = 5  # its compression, and a checksum
_MAX_INDEX_BYTES = 1 << 20
_MAX_KEY_BYTES = 256
_FLOAT32 = 1
_BYTES_PER_FLOAT = 4


def read_checkpoint(
    index: bytes, data: bytes, shapes: Mapping[str, tuple[int, ...]], origin: str
) -> dict[str, Tensor]:
    """Read named float32 tensors out of a checkpoint of one shard.

    Args:
        index: The bytes of its ``.index``.
        data: The bytes of its ``.data-00000-of-00001``.
        shapes: The tensors that are wanted, with the shapes they must have; others are left alone.
        origin: Begins messages: what was given, such as ``musicnn's checkpoint``.

    Returns:
        The tensors in TensorFlow's layout: kernels ``(height, width, in, out)``.

    Raises:
        WeightsError: The index is damaged, or a tensor is missing, of another shape, or not whole.
    """
    try:
        entries = dict(_entries(index))
    except (ValueError, LookupError, struct.error) as error:
        raise WeightsError(f"{origin}: its .index cannot be read ({error}); it is damaged or none") from None
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        entry = entries.get(name)
        if entry is None:
            raise WeightsError(f"{origin} has no tensor {name!r}; it is of another network, or damaged")
        if entry.shape != shape or entry.dtype != _FLOAT32:
            raise WeightsError(
                f"{origin}: {name!r} has shape {entry.shape[:6]} and type {entry.dtype}, expected {shape} "
                f"and {_FLOAT32} (float32); it is of another network, or damaged"
            )
        n_bytes = math.prod(shape) * _BYTES_PER_FLOAT
        if entry.n_bytes != n_bytes or entry.start + n_bytes > len(data):
            raise WeightsError(
                f"{origin}: {name!r} should lie at bytes {entry.start} to {entry.start + n_bytes} of "
                f".data-00000-of-00001, which has {len(data)}; it is cut short, or not beside its own .index"
            )
        # A copy, which is aligned and whose memory may be written.
        part = bytearray(data[entry.start : entry.start + n_bytes])
        tensors[name] = torch.frombuffer(part, dtype=torch.float32).reshape(shape)
    return tensors


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a tensor lies, and what it is."""

    dtype: int
    shape: tuple[int, ...]
    start: int
    n_bytes: int


def _entries(index: bytes) -> Iterator[tuple[str, _Entry]]:
    if not _FOOTER_BYTES <= len(index) <= _MAX_INDEX_BYTES:
        raise ValueError(f"it has {len(index)} bytes")
    footer = index[-_FOOTER_BYTES:]
    if not footer.endswith(_MAGIC):
        raise ValueError("it does not end as one")
    at = 0
    for _ in range(2):  # where the table's own index of names is, which is not needed
        _, at = _varint(footer, at)
    blocks, at = _handle(footer, at)
    n_left = len(index)
    for _, handle in _block(index, *blocks):
        (start, size), _ = _handle(handle, 0)
        # Blocks lie side by side: all of them hold no more than there is, however often one is named.
        n_left -= size
        if n_left < 0:
            raise ValueError("its blocks overlap")
        for key, value in _block(index, start, size):
            if key:
                yield key.decode(), _entry(value)
            else:
                _check_header(value)


def _block(index: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = start + size
    if end + _BLOCK_TRAILER_BYTES > len(index) - _FOOTER_BYTES:
        raise ValueError("a block lies beyond its end")
    if index[end] != 0:
        raise ValueError("a block is compressed")
    (n_restarts,) = struct.unpack_from("<I", index, end - 4) if size >= 4 else (0,)
    end -= 4 * (n_restarts + 1)
    key, at = b"", start
    while at < end:
        n_shared, at = _varint(index, at)
        n_more, at = _varint(index, at)
        n_value, at = _varint(index, at)
        if n_shared > len(key) or n_shared + n_more > _MAX_KEY_BYTES or at + n_more + n_value > end:
            raise ValueError("an entry does not fit its block")
        key = key[:n_shared] + index[at : at + n_more]
        at += n_more
        yield key, index[at : at + n_value]
        at += n_value


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    start, at = _varint(data, at)
    size, at = _varint(data, at)
    return (start, size), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 64 bits, seven of them a byte, and where the next thing begins."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer: numbers and contents."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        n_bytes = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            n_bytes, at = _varint(message, at)
        if n_bytes is None or at + n_bytes > len(message):
            raise ValueError("a value is cut short")
        yield tag >> 3, message[at : at + n_bytes]
        at += n_bytes


def _messages(message: bytes) -> dict[int, int]:
    return {field: value for field, value in _fields(message) if isinstance(value, int)}


def _check_header(message: bytes) -> None:
    numbers = _messages(message)
    if numbers.get(1, 1) != 1 or numbers.get(2, 0) != 0:
        raise ValueError("its numbers are big-endian, or in several files")


def _entry(message: bytes) -> _Entry:
    numbers = _messages(message)
    shape: list[int] = []
    for field, value in _fields(message):
        if field == 2 and isinstance(value, bytes):
            sizes = (part for number, part in _fields(value) if number == 2 and isinstance(part, bytes))
            shape += [_messages(size).get(1, 0) for size in sizes]
    if numbers.get(3, 0) != 0:
        raise ValueError("a tensor is in another file")
    return _Entry(numbers.get(1, 0), tuple(shape), numbers.get(4, 0), numbers.get(5, 0))
