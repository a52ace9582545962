"""Integers that stand in more bytes than they need, such as 24 bits in four, which libsndfile reads as noise.

The standards put them at the top of their bytes, with zeros below. Some recorders and programs put them at
the bottom, so the samples themselves are looked at.

Source: Microsoft, "Multiple Channel Audio Data and WAVE Files" (2007); Apple Core Audio Format 1.0 (2011).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from bridge.audio.containers import Container
from bridge.errors import AudioFileError

__all__ = ["PcmLayout", "WidePcm", "find_wide_pcm"]

_BLOCK_FRAMES: Final = 65_536
_PCM_GUID: Final = bytes.fromhex("0100000000001000800000aa00389b71")
_FORMATS: Final = {b"RF64": "RF64", b"BW64": "RF64", b"riff": "W64", b"caff": "CAF"}
_CAF_FLOAT: Final = 1
_CAF_LITTLE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmLayout:
    """Say how integers lie in a file.

    Args:
        format: Container: ``WAV``, ``RF64``, ``W64`` or ``CAF``.
        sample_rate: Hz.
        n_channels: Channels.
        bits: Bits of a sample.
        n_bytes: Bytes it stands in, at most 4.
        is_big_endian: Whether the first of them is the highest.
        offset: Where the first sample begins, in bytes.
        n_frames: Samples a channel.
        n_unused_above: Bits above a sample that are none of it: 0 where it stands at the top of its bytes.
    """

    format: str
    sample_rate: int
    n_channels: int
    bits: int
    n_bytes: int
    is_big_endian: bool
    offset: int
    n_frames: int
    n_unused_above: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What a header says: `n_bytes` from the size of a frame, `n_decoded_bytes` what libsndfile takes."""

    sample_rate: int
    n_channels: int
    bits: int
    n_bytes: int
    n_decoded_bytes: int
    is_big_endian: bool


def find_wide_pcm(path: Path, file: BinaryIO, container: Container) -> PcmLayout | None:
    """Return how integers lie that are not where libsndfile looks for them; None for any other file.

    Raises:
        AudioFileError: They are neither at the top nor at the bottom of their bytes.
    """
    stated = _read_caf(file, container) if container.magic == b"caff" else _read_fmt(file, container)
    audio = container.audio
    if stated is None or audio is None or not (1 <= stated.bits < 8 * stated.n_bytes and stated.n_bytes > 1):
        return None
    n_unused = 8 * stated.n_bytes - stated.bits
    layout = PcmLayout(
        format=_FORMATS.get(container.magic, "WAV"),
        sample_rate=stated.sample_rate,
        n_channels=stated.n_channels,
        bits=stated.bits,
        n_bytes=stated.n_bytes,
        is_big_endian=stated.is_big_endian,
        offset=audio.offset,
        n_frames=audio.size // (stated.n_channels * stated.n_bytes),
    )
    is_top, is_bottom = _find_place(file, layout, n_unused)
    is_decoded_otherwise = stated.n_bytes != stated.n_decoded_bytes
    if is_top or not (is_bottom or is_decoded_otherwise):
        return layout if is_decoded_otherwise else None
    if not is_bottom:
        raise AudioFileError(
            f"{path}: its header says that {stated.bits} bits stand in {stated.n_bytes} bytes a sample, but "
            "the samples use other bits too. The header is damaged: export it again."
        )
    return replace(layout, n_unused_above=n_unused)


class WidePcm:
    """Read such a file as `soundfile.SoundFile` does.

    Args:
        file: Open for reading; it is closed with this.
        layout: How its integers lie.
    """

    def __init__(self, file: BinaryIO, layout: PcmLayout) -> None:
        self._file, self._layout, self._position = file, layout, 0
        self.samplerate, self.channels, self.frames = layout.sample_rate, layout.n_channels, layout.n_frames
        self.format = layout.format
        self.subtype = f"PCM_{8 * max(2, -(-layout.bits // 8))}"

    def read(self, frames: int, **_layout: object) -> npt.NDArray[np.float32]:
        """Return the next (samples, channels); fewer at the end."""
        raw = _read_integers(self._file, self._layout, self._position, frames)
        self._position += len(raw)
        samples: npt.NDArray[np.float32] = (raw << np.int32(self._layout.n_unused_above)).astype(np.float32)
        samples *= np.float32(2.0**-31)
        return samples

    def seek(self, frame: int) -> None:
        """Go to a sample position."""
        self._position = frame

    def copy_metadata(self) -> dict[str, str]:
        """Return no tags: those of WAV are read elsewhere."""
        return {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read_integers(file: BinaryIO, layout: PcmLayout, position: int, n_frames: int) -> npt.NDArray[np.int32]:
    """Return (samples, channels) with the bytes of each at the top of 32 bits."""
    frame_bytes = layout.n_channels * layout.n_bytes
    file.seek(layout.offset + position * frame_bytes)
    data = file.read(max(0, min(n_frames, layout.n_frames - position)) * frame_bytes)
    raw = np.frombuffer(data, np.uint8, len(data) // frame_bytes * frame_bytes)
    raw = raw.reshape(-1, layout.n_channels, layout.n_bytes)
    whole = np.zeros((*raw.shape[:2], 4), np.uint8)
    whole[..., 4 - layout.n_bytes :] = raw[..., ::-1] if layout.is_big_endian else raw
    return whole.view("<i4")[..., 0].astype(np.int32, copy=False)


def _find_place(file: BinaryIO, layout: PcmLayout, n_unused: int) -> tuple[bool, bool]:
    """Tell whether all samples can stand at the top of their bytes, and whether at the bottom."""
    n_below = 32 - layout.bits  # at the top, that many bits of 32 are zero
    is_top = is_bottom = True
    for position in range(0, layout.n_frames, _BLOCK_FRAMES):
        block = _read_integers(file, layout, position, _BLOCK_FRAMES)
        is_top = is_top and not (block & np.int32((1 << n_below) - 1)).any()
        above = block >> np.int32(32 - n_unused)
        sign = (block << np.int32(n_unused)) >> np.int32(31)
        is_bottom = is_bottom and bool(((above == 0) | (above == sign)).all())
        if not is_bottom:
            break
    return is_top, is_bottom


def _read_fmt(file: BinaryIO, container: Container) -> _Stated | None:
    fmt = container.find(b"fmt ")
    if fmt is None or fmt.size < 16:
        return None
    file.seek(fmt.offset)
    head = file.read(min(fmt.size, 40))
    tag, n_channels, rate, byte_rate, frame_bytes, bits = struct.unpack(
        container.byte_order + "HHIIHH", head[:16]
    )
    n_decoded_bytes, valid = -(-bits // 8), bits
    if tag == 0xFFFE and len(head) == 40 and head[24:] == _PCM_GUID:
        valid = struct.unpack(container.byte_order + "H", head[18:20])[0] or bits
    elif tag != 1:
        return None
    if n_channels < 1 or frame_bytes % n_channels or not n_decoded_bytes <= frame_bytes // n_channels <= 4:
        return None
    if frame_bytes != n_channels * n_decoded_bytes and byte_rate == rate * n_channels * n_decoded_bytes:
        return None  # the size of a frame is wrong, not the bits
    return _Stated(
        sample_rate=rate,
        n_channels=n_channels,
        bits=min(valid, bits),
        n_bytes=frame_bytes // n_channels,
        n_decoded_bytes=n_decoded_bytes,
        is_big_endian=container.byte_order == ">",
    )


def _read_caf(file: BinaryIO, container: Container) -> _Stated | None:
    desc = container.find(b"desc")
    if desc is None or desc.size < 32:
        return None
    file.seek(desc.offset)
    fields: tuple[Any, ...] = struct.unpack(">d4sIIIII", file.read(32))
    rate, coding, flags, packet_bytes, packet_frames, n_channels, bits = fields
    if coding != b"lpcm" or flags & _CAF_FLOAT or packet_frames != 1 or not 0 < rate < 1 << 32:
        return None
    n_decoded_bytes = -(-bits // 8)
    if n_channels < 1 or packet_bytes % n_channels or not n_decoded_bytes <= packet_bytes // n_channels <= 4:
        return None
    return _Stated(
        sample_rate=round(rate),
        n_channels=n_channels,
        bits=bits,
        n_bytes=packet_bytes // n_channels,
        n_decoded_bytes=n_decoded_bytes,
        is_big_endian=not flags & _CAF_LITTLE,
    )
