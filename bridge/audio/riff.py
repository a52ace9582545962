"""RIFF containers: find their chunks, write a WAV that grows into RF64, patch what must be reproducible.

WAV is written here and not by libsndfile for four reasons: libsndfile puts a time of day into the PEAK chunk
of float files, so that the same samples give different bytes; it rounds towards minus infinity; it cannot
place the broadcast chunks in front of the audio, where recorders and DAWs look for them; and it cannot turn a
file into RF64 when it grows beyond 4 GiB.

Source: Microsoft/IBM RIFF (1991), EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), Apple AIFF-C (1991), Sony
Wave64 (2003).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

__all__ = ["RIFF_LIMIT", "Chunk", "Container", "WavStream", "clear_peak_timestamp", "walk_chunks"]

_MAX_CHUNKS = 4096
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)
RIFF_LIMIT = 0xFFFFFFFF
"""Largest size a plain RIFF file can state, in bytes."""
_DS64_PAYLOAD = 28
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Locate one chunk of a container.

    Args:
        chunk_id: Four bytes, such as ``b"fmt "``.
        offset: Where the payload begins, in bytes from the start of the file.
        declared_size: What the chunk says of itself, in bytes.
        size: How much of it is really there, in bytes.
    """

    chunk_id: bytes
    offset: int
    declared_size: int
    size: int

    @property
    def is_truncated(self) -> bool:
        """Whether the file ends before the chunk does."""
        return self.size < self.declared_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Tell what kind of container a file is and which chunks it holds.

    Args:
        magic: ``b"RIFF"``, ``b"RIFX"``, ``b"RF64"``, ``b"BW64"``, ``b"riff"`` (W64) or ``b"FORM"``.
        form: ``b"WAVE"``, ``b"AIFF"``, ``b"AIFC"`` ...
        chunks: In file order.
    """

    magic: bytes
    form: bytes
    chunks: tuple[Chunk, ...]

    @property
    def byte_order(self) -> Literal["<", ">"]:
        """The struct prefix for numbers in this container."""
        return ">" if self.magic in (b"RIFX", b"FORM") else "<"

    def find(self, chunk_id: bytes) -> Chunk | None:
        """Return the first chunk of that name, or None."""
        return next((c for c in self.chunks if c.chunk_id == chunk_id), None)


def walk_chunks(file: BinaryIO) -> Container | None:
    """List the chunks of a RIFF, RF64, W64 or AIFF file without believing a size it states.

    Args:
        file: Open for reading, seekable.

    Returns:
        The container, or None where the file is not of this family. At most 4096 chunks are listed.
    """
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(40)
    if head[:16] == _W64_RIFF:
        return Container(magic=head[:4], form=head[24:28], chunks=_walk_w64(file, end))
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
        return None
    magic, form = head[:4], head[8:12]
    order = ">" if magic in (b"RIFX", b"FORM") else "<"
    data_size_64: int | None = None
    chunks: list[Chunk] = []
    offset = 12
    while offset + 8 <= end and len(chunks) < _MAX_CHUNKS:
        file.seek(offset)
        chunk_id, declared = struct.unpack(order + "4sI", file.read(8))
        offset += 8
        if chunk_id == b"ds64" and magic in (b"RF64", b"BW64") and offset + 24 <= end:
            data_size_64 = struct.unpack("<Q", file.read(16)[8:])[0]
        if chunk_id == b"data" and declared in _UNKNOWN_SIZES:
            # A recorder that streamed into a pipe could not know the size: the data goes on to the end.
            declared = end - offset if data_size_64 is None else data_size_64
        chunks.append(
            Chunk(chunk_id=chunk_id, offset=offset, declared_size=declared, size=min(declared, end - offset))
        )
        offset += declared + (declared & 1)
    return Container(magic=magic, form=form, chunks=tuple(chunks))


def _walk_w64(file: BinaryIO, end: int) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    offset = 40
    while offset + 24 <= end and len(chunks) < _MAX_CHUNKS:
        file.seek(offset)
        chunk_id, declared = struct.unpack("<4s12xQ", file.read(24))
        payload, size = offset + 24, max(0, declared - 24)  # a W64 size counts its own header
        chunks.append(
            Chunk(chunk_id=chunk_id, offset=payload, declared_size=size, size=min(size, end - payload))
        )
        offset = payload + size + -size % 8
    return tuple(chunks)


def clear_peak_timestamp(file: BinaryIO) -> None:
    """Zero the time of day inside a PEAK chunk, so that the same samples give the same bytes.

    Args:
        file: Open for reading and writing.
    """
    container = walk_chunks(file)
    peak = container.find(b"PEAK") if container else None
    if peak is not None and peak.size >= 8:
        file.seek(peak.offset + 4)
        file.write(b"\0\0\0\0")


class WavStream:
    """Write a WAV file from blocks of sample bytes; it becomes RF64 where it outgrows 4 GiB.

    Args:
        file: Open for writing, seekable, empty.
        sample_rate: Hz.
        n_channels: Channels.
        bits: Bits a sample: 16, 24 or 32.
        is_float: Whether the samples are IEEE floats.
        chunks: ``(id, payload)`` of further chunks, placed in front of the audio.
        riff_limit: Largest size a plain RIFF may have, in bytes.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        sample_rate: int,
        n_channels: int,
        bits: int,
        is_float: bool,
        chunks: Sequence[tuple[bytes, bytes]] = (),
        riff_limit: int = RIFF_LIMIT,
    ) -> None:
        self._file = file
        self._riff_limit = riff_limit
        self._frame_bytes = n_channels * bits // 8
        self._data_bytes = 0
        file.write(b"RIFF\0\0\0\0WAVE")
        self._write_chunk(b"JUNK", bytes(_DS64_PAYLOAD))  # room for ds64
        for chunk_id, payload in chunks:
            if chunk_id == b"bext":
                self._write_chunk(chunk_id, payload)
        self._write_chunk(b"fmt ", _format_payload(sample_rate, n_channels, bits, is_float))
        self._fact_offset: int | None = None
        if is_float:
            self._fact_offset = file.tell() + 8
            self._write_chunk(b"fact", bytes(4))
        for chunk_id, payload in chunks:
            if chunk_id != b"bext":
                self._write_chunk(chunk_id, payload)
        file.write(b"data\0\0\0\0")
        self._data_offset = file.tell()

    def _write_chunk(self, chunk_id: bytes, payload: bytes) -> None:
        self._file.write(struct.pack("<4sI", chunk_id, len(payload)) + payload + b"\0" * (len(payload) & 1))

    def write(self, samples: bytes) -> None:
        """Append interleaved little-endian samples."""
        self._file.write(samples)
        self._data_bytes += len(samples)

    def finish(self) -> None:
        """Write the sizes; call once, after the last block."""
        if self._data_bytes & 1:
            self._file.write(b"\0")
        riff_bytes = self._file.tell() - 8
        n_frames = self._data_bytes // self._frame_bytes
        is_rf64 = riff_bytes > self._riff_limit
        if is_rf64:
            self._file.seek(0)
            self._file.write(b"RF64" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE")
            self._write_chunk(b"ds64", struct.pack("<QQQI", riff_bytes, self._data_bytes, n_frames, 0))
        else:
            self._patch(4, riff_bytes)
        self._patch(self._data_offset - 4, 0xFFFFFFFF if is_rf64 else self._data_bytes)
        if self._fact_offset is not None:
            self._patch(self._fact_offset, 0xFFFFFFFF if is_rf64 else n_frames)

    def _patch(self, offset: int, value: int) -> None:
        self._file.seek(offset)
        self._file.write(struct.pack("<I", value))


def _format_payload(sample_rate: int, n_channels: int, bits: int, is_float: bool) -> bytes:
    tag = 3 if is_float else 1
    frame_bytes = n_channels * bits // 8
    rest = (n_channels, sample_rate, sample_rate * frame_bytes, frame_bytes, bits)
    if n_channels > 2:  # more than stereo must say how its channels are laid out: here, in no named order
        return (
            struct.pack("<HHIIHHHHI", 0xFFFE, *rest, 22, bits, 0) + struct.pack("<H", tag) + _SUBFORMAT_TAIL
        )
    return struct.pack("<HHIIHH", tag, *rest) + (b"\0\0" if is_float else b"")
