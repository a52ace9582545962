"""The frames of an MP3: how many there are and where, whatever a length tag says.

A decoder that finds no tag estimates the length from the size of the file and the bit rate of the first
frame, and errs wherever the bit rate changes or something else stands in front. Every frame says how long it
is, so they are counted.

Source: ISO/IEC 11172-3 (1993), ISO/IEC 13818-3 (1998); Xing VBR header; LAME "MP3 Info Tag revision 1";
ID3v2.4.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

__all__ = ["MpegFrames", "end_of_id3", "scan_frames"]

_BIT_RATES_KBPS: Final = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By MPEG version (2.5 counts as 2) and layer."""
_SAMPLE_RATES_HZ: Final = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
"""By the two bits of the version."""
_WINDOW_BYTES: Final = 1 << 20
_MAX_FRAME_BYTES: Final = 8192
_MAX_SEARCHED_BYTES: Final = 1 << 22
"""How far a first frame is looked for, and how far the next one after damage."""
_MAX_CANDIDATES: Final = 20_000
"""How many places that look like a frame and are none are tried in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MpegFrames:
    """State what frames an MP3 holds.

    Args:
        id3: The first ID3v2 tag, at the beginning of the file; in bytes.
        runs: Where frames stand that hold sound, without what lies between them; in bytes.
        n_frames: How many there are.
        frame_samples: Samples a channel in each.
        is_cut: Whether the file ends within one more frame.
        tag: Where the frame of the Xing or LAME tag is, if there is one that states a length.
        tag_count: Where in the file it states its number of frames.
        tagged_frames: The number itself.
    """

    id3: range
    runs: tuple[range, ...]
    n_frames: int
    frame_samples: int
    is_cut: bool
    tag: range | None = None
    tag_count: int = 0
    tagged_frames: int = 0


def end_of_id3(file: BinaryIO) -> int:
    """Return where the ID3v2 tags at the beginning of a file end; 0 where there are none."""
    offset = 0
    while True:
        file.seek(offset)
        head = file.read(10)
        size = _id3_bytes(head)
        if not size:
            return offset
        offset += size


def scan_frames(file: BinaryIO) -> MpegFrames | None:
    """Count the frames of an MP3 (or MP2, MP1), skipping what stands before, between and after them.

    Args:
        file: Open for reading, seekable.

    Returns:
        None where there are none.
    """
    file.seek(0)
    id3 = range(_id3_bytes(file.read(10)))
    return _Scan(file).run(id3, end_of_id3(file))


class _Header:
    """What all frames of a stream have in common, by the four bytes that begin one."""

    def __init__(self, head: bytes) -> None:
        version_bits, layer_bits = head[1] >> 3 & 3, head[1] >> 1 & 3
        self.layer = 4 - layer_bits
        self.is_mpeg1 = version_bits == 3
        rate = _SAMPLE_RATES_HZ[version_bits][head[2] >> 2 & 3]
        self.frame_samples = {1: 384, 2: 1152, 3: 1152 if self.is_mpeg1 else 576}[self.layer]
        self.has_one_channel = head[3] >> 6 == 3
        marks = bytes(
            {head[1] & 0xFE, head[1] | 1}
        )  # the bit that says whether there is a checksum may change
        self.sizes = [0] * 256
        """Bytes of a frame by its third byte; 0 for a frame of another stream."""
        slot = 4 if self.layer == 1 else 1
        for high, kbps in enumerate(_BIT_RATES_KBPS[1 if self.is_mpeg1 else 2, self.layer]):
            for low in range(16):
                if low >> 2 == head[2] >> 2 & 3 and kbps:
                    n_slots = self.frame_samples // 8 * kbps * 1000 // (rate * slot) + (low >> 1 & 1)
                    self.sizes[high << 4 | low] = n_slots * slot
        is_free = head[2] >> 4 == 0  # no named bit rate: see `set_free_size`
        thirds = bytes(i for i in range(256) if self.sizes[i] or (is_free and i & 0xFC == head[2] & 0xFC))
        self.pattern = re.compile(b"\xff[" + re.escape(marks) + b"][" + re.escape(thirds) + b"]", re.DOTALL)

    def set_free_size(self, third: int, size: int) -> None:
        """Say how long frames of no named bit rate are, which only the distance of two shows."""
        padding = third >> 1 & 1
        slot = 4 if self.layer == 1 else 1
        for low in (third & 0xFD, third | 2):
            for private in (low & 0xFE, low | 1):
                self.sizes[private] = size + ((low >> 1 & 1) - padding) * slot


class _Scan:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._n_bytes = file.seek(0, 2)
        self._base, self._window = 0, b""
        self._n_candidates = 0
        self._header: _Header | None = None

    def run(self, id3: range, begin: int) -> MpegFrames | None:
        """Find the first frame behind all tags and walk on from there."""
        first = self._find_first(begin)
        if first is None:
            return None
        assert self._header is not None
        tag, tag_count, tagged_frames = self._read_tag(first)
        position = first if tag is None else tag.stop
        runs: list[range] = []
        n_frames, is_cut = 0, False
        after: int | None = position
        while after is not None and not is_cut:
            n_frames, position = self._walk(after, n_frames)
            if position > after:
                runs.append(range(after, position))
            is_cut = self._is_cut(position)
            after = self._next_frame(position)
        return MpegFrames(
            id3=id3,
            runs=tuple(runs),
            n_frames=n_frames,
            frame_samples=self._header.frame_samples,
            is_cut=is_cut,
            tag=tag if tagged_frames else None,
            tag_count=tag_count,
            tagged_frames=tagged_frames,
        )

    def _find_first(self, begin: int) -> int | None:
        """Return where the first frame is that two others follow, or where all that follow end the file."""
        position = begin
        stop = min(self._n_bytes, begin + _MAX_SEARCHED_BYTES)
        any_header = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x00-\xef]", re.DOTALL)
        while (found := self._search(any_header, position, stop)) is not None:
            head = self._bytes(found, 4)
            if len(head) == 4 and head[2] & 0x0C != 0x0C and head[1] & 0x06:
                self._header = _Header(head)
                if head[2] >> 4 == 0:
                    self._measure_free(found, head[2])
                if self._begins_run(found, is_expected=found == begin):
                    return found
            position = found + 1
        return None

    def _is_cut(self, position: int) -> bool:
        """Tell whether a frame begins here that the file does not hold to its end."""
        assert self._header is not None
        head = self._bytes(position, 4)
        return bool(self._header.pattern.match(head)) and (
            position + self._header.sizes[head[2]] > self._n_bytes
        )

    def _walk(self, position: int, n_frames: int) -> tuple[int, int]:
        """Go on while frame follows frame; return how many there are now, and where the last one ends."""
        assert self._header is not None
        sizes, stop = self._header.sizes, self._n_bytes
        while True:
            if position + 4 > stop:
                return n_frames, position
            head = self._bytes(position, 4)
            if not self._header.pattern.match(head):
                return n_frames, position
            # From here on within one window, without a call a frame.
            window, inside, marks = self._window, position - self._base, (head[1] & 0xFE, head[1] | 1)
            last = min(len(window), stop - self._base) - 4
            room = stop - self._base
            while inside <= last and window[inside] == 0xFF and window[inside + 1] in marks:
                size = sizes[window[inside + 2]]
                if not size or inside + size > room:
                    return n_frames, self._base + inside
                inside += size
                n_frames += 1
            position = self._base + inside
            if inside <= last:
                return n_frames, position

    def _next_frame(self, position: int) -> int | None:
        """Return where frames go on after something else."""
        assert self._header is not None
        head = self._bytes(position, 10)
        position += _id3_bytes(head)
        stop = min(self._n_bytes, position + _MAX_SEARCHED_BYTES)
        while (found := self._search(self._header.pattern, position, stop)) is not None:
            if self._is_frame(found):
                return found
            position = found + 1
        return None

    def _begins_run(self, position: int, *, is_expected: bool) -> bool:
        """Tell whether frames begin here; where other things come first, three must follow each other."""
        assert self._header is not None
        for _ in range(3):
            if not self._is_frame(position):
                return is_expected and self._is_alone(position)
            position += self._header.sizes[self._bytes(position, 4)[2]]
            if is_expected or position == self._n_bytes:
                return True
        return True

    def _is_alone(self, position: int) -> bool:
        """Tell whether a single frame stands in front of what players put at the end."""
        assert self._header is not None
        head = self._bytes(position, 4)
        end = position + (self._header.sizes[head[2]] if len(head) == 4 else 0)
        return end > position and self._bytes(end, 8)[:3] in (b"TAG", b"APE")

    def _is_frame(self, position: int) -> bool:
        """Tell whether a frame begins here: another one follows, or nothing more."""
        assert self._header is not None
        self._n_candidates += 1
        head = self._bytes(position, 4)
        size = self._header.sizes[head[2]] if len(head) == 4 else 0
        if not size or position + size > self._n_bytes:
            return False
        after = self._bytes(position + size, 4)
        if self._header.pattern.match(after):
            return True
        return position + size == self._n_bytes

    def _measure_free(self, position: int, third: int) -> None:
        assert self._header is not None
        found = self._search(self._header.pattern, position + 24, position + _MAX_FRAME_BYTES)
        if found is not None:
            self._header.set_free_size(third, found - position)

    def _read_tag(self, first: int) -> tuple[range | None, int, int]:
        """Return the frame that holds a tag and no sound, where it states its number of frames, and that."""
        assert self._header is not None
        if self._header.layer != 3:
            return None, 0, 0
        frame = range(first, first + self._header.sizes[self._bytes(first, 4)[2]])
        if self._bytes(first + 36, 4) == b"VBRI":
            return frame, 0, 0
        sides = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
        place = first + 4 + sides[self._header.is_mpeg1, self._header.has_one_channel]
        tag = self._bytes(place, 12)
        if tag[:4] not in (b"Xing", b"Info") or len(tag) < 12:
            return None, 0, 0
        flags, count = struct.unpack(">II", tag[4:])
        return frame, place + 8, count if flags & 1 else 0

    def _search(self, pattern: re.Pattern[bytes], start: int, stop: int) -> int | None:
        position = start
        while position + 4 <= stop and self._n_candidates < _MAX_CANDIDATES:
            self._bytes(position, 4)
            found = pattern.search(self._window, position - self._base)
            if found is not None:
                return self._base + found.start() if self._base + found.start() < stop else None
            position = max(position + 1, self._base + len(self._window) - 2)
        return None

    def _bytes(self, position: int, n_bytes: int) -> bytes:
        """Return bytes of the file; what follows them is then in the window."""
        inside = position - self._base
        if inside < 0 or inside + n_bytes > len(self._window):
            self._file.seek(position)
            self._base, self._window, inside = position, self._file.read(_WINDOW_BYTES), 0
        return self._window[inside : inside + n_bytes]


def _id3_bytes(head: bytes) -> int:
    """Return the size of an ID3v2 tag by its first ten bytes; 0 where they begin none."""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)
