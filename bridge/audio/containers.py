"""Containers of chunks: find what a file holds and how much of it is there, without believing what it says.

What is written to a pipe cannot know its size when its header goes out, so the header says 0, -1 or some very
large number, a different one for every program. Such audio goes on to the end of the file.

Source: Microsoft/IBM RIFF (1991), EBU Tech 3306 (RF64), ITU-R BS.2088 (BW64), Apple AIFF-C (1991), Apple Core
Audio Format 1.0 (2011), Sony Wave64 (2003), NeXT/Sun audio (1992).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Literal

__all__ = ["Chunk", "Container", "walk_chunks"]

_MAX_CHUNKS = 4096
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_PLACEHOLDERS: Final = (0x7F000000, 0x7FFFFFFF, 0xFFFFFFFF)
"""Sizes that stand for an unknown one. Programs take some bytes off, for the header or to end on a frame."""
_NEAR_PLACEHOLDER: Final = 8192
_NO_FILE: Final = 1 << 62
"""No file has so many bytes."""
_LEADS: Final = {(b"FORM", b"SSND"): 8, (b"caff", b"data"): 4}
"""Bytes of the audio chunk in front of its samples, by magic and chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Locate one chunk of a container.

    Args:
        chunk_id: Four bytes, such as ``b"fmt "``.
        offset: Where the payload begins, in bytes from the start of the file.
        declared_size: What the chunk says of itself, in bytes; for one that is open, what is there.
        size: How much of it is really there, in bytes.
        is_open: Whether the size was not known when it was written, so that all up to the end belongs to it.
        n_skipped: Bytes between the head of the chunk and its payload that are none of it.
    """

    chunk_id: bytes
    offset: int
    declared_size: int
    size: int
    is_open: bool = False
    n_skipped: int = 0

    @property
    def is_truncated(self) -> bool:
        """Whether the file ends before the chunk does."""
        return self.size < self.declared_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Tell what kind of container a file is and which chunks it holds.

    Args:
        magic: ``b"RIFF"``, ``b"RIFX"``, ``b"RF64"``, ``b"BW64"``, ``b"riff"`` (W64), ``b"FORM"``, ``b"caff"``
            or ``b".snd"``.
        form: ``b"WAVE"``, ``b"AIFF"``, ``b"AIFC"`` ...
        chunks: In file order.
    """

    magic: bytes
    form: bytes
    chunks: tuple[Chunk, ...]

    @property
    def byte_order(self) -> Literal["<", ">"]:
        """The struct prefix for numbers in this container."""
        return ">" if self.magic in (b"RIFX", b"FORM", b"caff", b".snd") else "<"

    @property
    def audio(self) -> Chunk | None:
        """The samples themselves, without what the audio chunk holds in front of them."""
        chunk = self.find(b"SSND" if self.magic == b"FORM" else b"data")
        if chunk is None:
            return None
        lead = _LEADS.get((self.magic, chunk.chunk_id), 0)
        return replace(
            chunk,
            offset=chunk.offset + lead,
            declared_size=max(0, chunk.declared_size - lead),
            size=max(0, chunk.size - lead),
        )

    def find(self, chunk_id: bytes) -> Chunk | None:
        """Return the first chunk of that name, or None."""
        return next((c for c in self.chunks if c.chunk_id == chunk_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How chunks follow each other: their heads, what their sizes count, where the next one begins."""

    magic: bytes
    first: int
    head: struct.Struct
    counted: int = 0
    align: int = 1


def walk_chunks(file: BinaryIO) -> Container | None:
    """List the chunks of a RIFF, RF64, W64, AIFF, CAF or AU file without believing a size it states.

    Args:
        file: Open for reading, seekable.

    Returns:
        The container, or None where the file is not of this family. At most 4096 chunks are listed.
    """
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(40)
    magic = head[:4]
    if head[:16] == _W64_RIFF:
        layout = _Layout(magic=magic, first=40, head=struct.Struct("<4s12xq"), counted=24, align=8)
        return Container(magic=magic, form=head[24:28], chunks=_walk(file, end, layout))
    if magic == b".snd" and len(head) >= 24:
        return Container(magic=magic, form=b"", chunks=_walk_au(head, end))
    if head[:8] == b"caff\0\1\0\0":
        layout = _Layout(magic=magic, first=8, head=struct.Struct(">4sq"))
        return Container(magic=magic, form=b"", chunks=_walk(file, end, layout))
    if len(head) < 12 or magic not in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
        return None
    order = ">" if magic in (b"RIFX", b"FORM") else "<"
    layout = _Layout(magic=magic, first=12, head=struct.Struct(order + "4sI"), align=2)
    return Container(magic=magic, form=head[8:12], chunks=_walk(file, end, layout))


def _walk(file: BinaryIO, end: int, layout: _Layout) -> tuple[Chunk, ...]:
    chunks: list[Chunk] = []
    size_64: int | None = None
    offset = layout.first
    has_audio = False
    while offset + layout.head.size <= end and len(chunks) < _MAX_CHUNKS:
        file.seek(offset)
        chunk_id, declared = layout.head.unpack(file.read(layout.head.size))
        offset += layout.head.size
        declared -= layout.counted
        if chunk_id == b"ds64" and layout.magic in (b"RF64", b"BW64") and offset + 24 <= end:
            size_64 = struct.unpack("<Q", file.read(16)[8:])[0]
        if chunk_id == b"data" and size_64 is not None and declared in (0, 0xFFFFFFFF):
            declared = size_64
        chunk: Chunk | None = None
        if chunk_id in (b"data", b"SSND") and not has_audio:
            has_audio = True
            if _is_open(file, chunk_id, declared, offset, end, layout):
                chunk = _open_chunk(file, chunk_id, offset, end, layout)
        if chunk is None:
            declared = max(0, declared)
            size = min(declared, end - offset)
            chunk = Chunk(chunk_id=chunk_id, offset=offset, declared_size=declared, size=size)
        chunks.append(chunk)
        offset = end if chunk.is_open else offset + declared + -declared % layout.align
    return tuple(chunks)


def _walk_au(head: bytes, end: int) -> tuple[Chunk, ...]:
    offset, declared = struct.unpack(">II", head[4:12])
    there = max(0, end - offset)
    is_open = there > 0 and (declared == 0 or (declared > there and _is_placeholder(declared)))
    declared = there if is_open else declared
    size = min(declared, there)
    return (Chunk(chunk_id=b"data", offset=offset, declared_size=declared, size=size, is_open=is_open),)


def _is_open(file: BinaryIO, chunk_id: bytes, declared: int, offset: int, end: int, layout: _Layout) -> bool:
    """Tell whether an audio chunk goes on to the end of the file, whatever size it states."""
    there = end - offset
    if declared < 0:
        return there > 0
    if declared == 0xFFFFFFFF and layout.head.size == 8:
        return True  # also where more than that follows
    if declared > there:
        return declared >= _NO_FILE or (layout.counted == 0 and _is_placeholder(declared))
    if declared > _LEADS.get((layout.magic, chunk_id), 0):
        return False
    # It states that it is empty: that is true where only chunks follow, up to the end of the file.
    return not _are_chunks(file, offset + declared + -declared % layout.align, end, layout)


def _are_chunks(file: BinaryIO, offset: int, end: int, layout: _Layout) -> bool:
    for _ in range(_MAX_CHUNKS):
        if end - offset < layout.align:
            return True
        file.seek(offset)
        head = file.read(layout.head.size)
        if len(head) < layout.head.size:
            return False
        chunk_id, size = layout.head.unpack(head)
        size -= layout.counted
        offset += layout.head.size
        if not (chunk_id.isascii() and chunk_id.decode().isprintable() and 0 <= size <= end - offset):
            return False
        offset += size + -size % layout.align
    return True


def _is_placeholder(declared: int) -> bool:
    return any(abs(declared - size) <= _NEAR_PLACEHOLDER for size in _PLACEHOLDERS)


def _open_chunk(file: BinaryIO, chunk_id: bytes, offset: int, end: int, layout: _Layout) -> Chunk:
    """Return an audio chunk that goes on to the end, without further copies of the header.

    libsndfile goes back to complete its header; in a pipe it cannot, and the header stands again in front of
    the samples and after them.
    """
    lead = _LEADS.get((layout.magic, chunk_id), 0)
    first = offset + lead
    n_header = first
    while end - first >= n_header and _is_header(file, first):
        first += n_header
    if first > n_header and end - first >= n_header and _is_header(file, end - n_header):
        end -= n_header
    size = max(0, end - first + lead)
    return Chunk(
        chunk_id=chunk_id,
        offset=first - lead,
        declared_size=size,
        size=size,
        is_open=True,
        n_skipped=first - n_header,
    )


def _is_header(file: BinaryIO, offset: int) -> bool:
    file.seek(0)
    own = file.read(16)
    file.seek(offset)
    other = file.read(16)
    return own[:4] == other[:4] and own[12:] == other[12:]  # between them may stand a size
