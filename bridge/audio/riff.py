"""RIFF files out: a WAV that grows into RF64, and the patch that makes others reproducible.

WAV is written here and not by libsndfile for four reasons: libsndfile puts a time of day into the PEAK chunk
of float files, so that the same samples give different bytes; it rounds towards minus infinity; it cannot
place the broadcast chunks in front of the audio, where recorders and DAWs look for them; and it cannot turn a
file into RF64 when it grows beyond 4 GiB.

Source: Microsoft/IBM RIFF (1991), EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

from bridge.audio.containers import walk_chunks

__all__ = ["RIFF_LIMIT", "WavStream", "clear_peak_timestamp"]

RIFF_LIMIT = 0xFFFFFFFF
"""Largest size a plain RIFF file can state, in bytes."""
_DS64_PAYLOAD = 28
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")


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
