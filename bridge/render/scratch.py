"""Where a stem waits between its chain and its level: raw 32-bit blocks near its target, read once."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np

from bridge.arrays import AudioArray
from bridge.audio.checks import check_finite, check_space, output_error

__all__ = ["ScratchWriter", "read_scratch"]

_HEADER: Final = struct.Struct("<II")  # channels and samples of the block that follows


class ScratchWriter:
    """Write blocks as they come; leaving the ``with`` block by an exception removes the file.

    Args:
        path: The file; one that is there is replaced.
        n_bytes: How large it is going to be: a disk that is too small is refused at once.

    Raises:
        OutputError: It cannot be written.
        RenderError: A block holds NaN or infinity.
    """

    def __init__(self, path: Path, n_bytes: int) -> None:
        self._path = path
        self._n_bytes = n_bytes
        self._n_samples = 0
        try:
            check_space(path, n_bytes)
            self._file = path.open("wb")
        except OSError as error:
            raise output_error(path, error, n_bytes) from error

    def __enter__(self) -> ScratchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as failure:
            self._path.unlink(missing_ok=True)
            if kind is None:
                raise output_error(self._path, failure, self._n_bytes) from failure
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def write(self, block: AudioArray) -> None:
        """Append (channels, samples)."""
        check_finite(self._path, block, self._n_samples)
        self._n_samples += block.shape[1]
        try:
            self._file.write(_HEADER.pack(*block.shape))
            self._file.write(np.ascontiguousarray(block, np.float32).data)
        except OSError as error:
            raise output_error(self._path, error, self._n_bytes) from error


def read_scratch(path: Path) -> Iterator[AudioArray]:
    """Go through the blocks of a scratch file as they were written."""
    with path.open("rb") as file:
        while header := file.read(_HEADER.size):
            n_channels, n_samples = _HEADER.unpack(header)
            yield np.fromfile(file, np.float32, n_channels * n_samples).reshape(n_channels, n_samples)
