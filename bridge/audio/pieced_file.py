"""A file put together from pieces of another one, so that headers can be set right."""

from __future__ import annotations

import bisect
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import BinaryIO

__all__ = ["PiecedFile", "patch"]

_TAIL = 128


class PiecedFile(io.RawIOBase):
    """Read a file whose bytes come from somewhere else.

    Args:
        file: What ranges are taken from; it is closed with this one.
        pieces: In order: bytes as they stand, or ranges of the file's bytes.
        claimed_bytes: Length to claim where that is more than the pieces hold; the last 128 bytes of it read
            as zeros (a tag is looked for there), what lies in front of them as the end of the file.

    >>> whole = PiecedFile(io.BytesIO(b"0123456789"), [b"ab", range(4, 7)])
    >>> whole.read(), whole.seek(-2, os.SEEK_END), whole.read()
    (b'ab456', 3, b'56')
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[bytes | range], *, claimed_bytes: int = 0) -> None:
        self._file = file
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0, *accumulate(len(piece) for piece in self._pieces)]
        self._n_bytes = max(claimed_bytes, self._starts[-1])
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file behind it too."""
        if not self.closed:
            self._file.close()
        super().close()

    def tell(self) -> int:
        """Return the position, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, in bytes; before the beginning means the beginning."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._n_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there are bytes, and return how many there were."""
        view = memoryview(buffer).cast("B")
        n_read = 0
        while n_read < len(view):
            part = self._read_piece(len(view) - n_read)
            if not part:
                break
            view[n_read : n_read + len(part)] = part
            n_read += len(part)
            self._position += len(part)
        return n_read

    def _read_piece(self, n_bytes: int) -> bytes:
        index = bisect.bisect_right(self._starts, self._position) - 1
        if index < len(self._pieces):
            piece, inside = self._pieces[index], self._position - self._starts[index]
            if isinstance(piece, bytes):
                return piece[inside : inside + n_bytes]
            self._file.seek(piece[inside])
            return self._file.read(min(n_bytes, len(piece) - inside))
        if self._n_bytes > self._starts[-1] and self._position >= self._n_bytes - _TAIL:
            return bytes(min(n_bytes, self._n_bytes - self._position))
        return b""


def patch(stop: int, patches: Mapping[int, bytes]) -> Iterable[bytes | range]:
    """Return the pieces of a file's first bytes with some of them replaced, by position."""
    position = 0
    for offset, data in sorted(patches.items()):
        yield range(position, offset)
        yield data
        position = offset + len(data)
    yield range(position, stop)
