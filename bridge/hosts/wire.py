"""Between parent and child: frames over two pipes, audio in shared memory.

A frame is a fixed header, then JSON, then bytes. Blocks of sound send no JSON: their audio lies in shared
memory, their events are the bytes, and position and latency are two integers beside the audio.

Shared memory has no name anywhere: it is a file descriptor that the child inherits (or, on Windows, a tag
that dies with its last handle), so nothing can be left behind, however the processes end.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import sys
import tempfile
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "ASKING_THE_MODULE",
    "CHUNK_SAMPLES",
    "LONG_MEASUREMENT",
    "Frame",
    "Opcode",
    "SharedAudio",
    "read_frame",
    "write_frame",
]

_HEADER = struct.Struct("<4I")
_MAX_PART_BYTES = 1 << 30

LONG_MEASUREMENT = 4
"""How many timeouts the measurement of a tail may take: it is half a minute of sound."""

ASKING_THE_MODULE = -1
"""What stands in the place of the position while a module is asked about itself."""

CHUNK_SAMPLES = 32768
"""Most samples of two channels handed over at once; more channels, fewer samples."""

_PROGRESS_BYTES = 64
_REGION_FLOATS = 2 * CHUNK_SAMPLES


class Opcode(IntEnum):
    """What a frame asks for, or how it answers."""

    LOAD = 1
    START = 2
    PROCESS = 3
    SET_RAW = 4
    RAW_VALUES = 5
    GET_STATE = 6
    SET_STATE = 7
    SETTLE = 8
    TAIL = 9
    DESCRIBE = 10
    READ_BACK = 11
    DONE = 100
    REFUSED = 101
    """The plugin or the host refuses: JSON `message`, with the channels `accepted` or the `names` to choose
    from where those are the reason."""


class Frame(NamedTuple):
    """One message; a tuple, because two are made for every block of sound.

    Args:
        opcode: What it is.
        samples: How many samples a channel lie in shared memory.
        fields: What travels as JSON.
        data: What travels as bytes.
    """

    opcode: int
    samples: int = 0
    fields: dict[str, Any] | None = None
    data: bytes = b""


def write_frame(descriptor: int, frame: Frame) -> None:
    """Send one frame; raises BrokenPipeError where nobody reads."""
    text = b"" if frame.fields is None else json.dumps(frame.fields).encode()
    message = _HEADER.pack(frame.opcode, frame.samples, len(text), len(frame.data)) + text + frame.data
    n_written = os.write(descriptor, message)
    while n_written < len(message):
        n_written += os.write(descriptor, memoryview(message)[n_written:])


def read_frame(descriptor: int) -> Frame:
    """Wait for one frame; EOFError where the other side is gone, ValueError where its data are invalid."""
    opcode, samples, n_text, n_data = _HEADER.unpack(_read_exactly(descriptor, _HEADER.size))
    if not (n_text or n_data):
        return Frame(opcode, samples)
    if n_text > _MAX_PART_BYTES or n_data > _MAX_PART_BYTES:
        raise ValueError("a frame claims to be larger than 1 GiB")
    fields = json.loads(_read_exactly(descriptor, n_text)) if n_text else None
    return Frame(opcode, samples, fields, _read_exactly(descriptor, n_data))


def _read_exactly(descriptor: int, n_bytes: int) -> bytes:
    if n_bytes == 0:
        return b""
    data = os.read(descriptor, n_bytes)
    while len(data) < n_bytes:
        more = os.read(descriptor, n_bytes - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class SharedAudio:
    """Audio that both processes see: one region to the child, one from it, and the progress of the stream.

    The region from the child is twice as long: where a plugin's latency falls, more comes back than went in.

    Args:
        handle: What `child_argument` said in the process that made it; empty to make one.
    """

    def __init__(self, handle: str = "") -> None:
        n_bytes = _PROGRESS_BYTES + 4 * 3 * _REGION_FLOATS
        self._descriptor = -1
        if sys.platform == "win32":
            self._handle = handle or f"reverie-{os.getpid()}-{os.urandom(8).hex()}"
            self._map = mmap.mmap(-1, n_bytes, tagname=self._handle)
        else:
            self._descriptor = int(handle) if handle else _open_anonymous(n_bytes)
            self._handle = str(self._descriptor)
            self._map = mmap.mmap(self._descriptor, n_bytes)
        self.progress: npt.NDArray[np.int64] = np.frombuffer(self._map, np.int64, 2)
        audio: npt.NDArray[np.float32] = np.frombuffer(
            self._map, np.float32, 3 * _REGION_FLOATS, _PROGRESS_BYTES
        )
        self._to_child, self._from_child = audio[:_REGION_FLOATS], audio[_REGION_FLOATS:]

    @property
    def child_argument(self) -> str:
        """What the child needs to open the same memory."""
        return self._handle

    @property
    def inherited_descriptors(self) -> tuple[int, ...]:
        """Descriptors the child must inherit."""
        return () if self._descriptor < 0 else (self._descriptor,)

    @staticmethod
    def chunk_samples(channels: int) -> int:
        """Return how many samples of so many channels fit at once."""
        return _REGION_FLOATS // max(1, channels)

    def to_child(self, channels: int, samples: int) -> npt.NDArray[np.float32]:
        """Return the input region as (channels, samples)."""
        return self._to_child[: channels * samples].reshape(channels, samples)

    def from_child(self, channels: int, samples: int) -> npt.NDArray[np.float32]:
        """Return the output region as (channels, samples).

        Raises:
            ValueError: It is not that large.
        """
        if channels * samples > len(self._from_child):
            raise ValueError(f"{samples} samples of {channels} channels do not fit")
        return self._from_child[: channels * samples].reshape(channels, samples)

    def close(self) -> None:
        """Let the memory go, once no array looks at it any more."""
        del self.progress, self._to_child, self._from_child
        with contextlib.suppress(BufferError):  # a traceback still looks at a piece; it goes with that
            self._map.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _open_anonymous(n_bytes: int) -> int:
    if sys.platform == "linux":
        descriptor = os.memfd_create("reverie-audio")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, n_bytes)
    return descriptor
